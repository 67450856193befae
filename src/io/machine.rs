//! What this machine is on the network.

use std::net::{IpAddr, UdpSocket};

/// Whether this machine itself has that address, now: only then can a socket be bound to it. Nothing is sent.
#[must_use]
pub fn has_address(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_a_public_address_is_not() {
        assert!(has_address(IpAddr::from([127, 0, 0, 1])));
        assert!(!has_address(IpAddr::from([8, 8, 8, 8])));
    }
}
