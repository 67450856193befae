//! Networks in CIDR form, and whether an address is in one of them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address; IPv4 also where it was written as an IPv6 address that holds one.
    first: IpAddr,
    /// How many leading bits its addresses share.
    prefix: u8,
}

/// Some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone. `Err`: what to write instead.
    pub fn parse(text: &str) -> Result<Network, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let advice = || "write e.g. 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7".to_owned();
        let address: IpAddr = address.parse().map_err(|_| advice())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.parse().ok().filter(|&prefix| prefix <= bits),
            None => Some(bits),
        };
        let network = Network { first: address, prefix: prefix.ok_or_else(advice)? };
        let masked = network.masked(address);
        if masked != address {
            let meant = Network { first: masked, ..network };
            return Err(format!("write {meant} for the network, or {address} for the address"));
        }
        Ok(network.canonical())
    }

    /// IPv4 networks that were written as IPv6: addresses are compared as what they are.
    fn canonical(self) -> Network {
        match (self.first.to_canonical(), self.prefix) {
            (first @ IpAddr::V4(_), 96..=128) if self.first.is_ipv6() => {
                Network { first, prefix: self.prefix - 96 }
            }
            _ => self,
        }
    }

    /// Whether every address of its kind is in it.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// The address without the bits that the network leaves open.
    fn masked(&self, address: IpAddr) -> IpAddr {
        let keep = u32::from(self.prefix);
        match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - keep).unwrap_or(0);
                IpAddr::from((u32::from(ip) & mask).to_be_bytes())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - keep).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask))
            }
        }
    }

    /// Whether an address, which must be canonical, is in it.
    fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.masked(address) == self.first
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Networks {
    /// Whether there are none: the one question where nothing is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of them. An IPv4 address that came as IPv6 is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Networks {
        Networks(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| Network::parse(text).expect("a network")).collect()
    }

    #[test]
    fn an_address_is_in_a_network_by_its_leading_bits() {
        let known = networks(&["10.0.0.0/8", "192.0.2.128/25", "203.0.113.7", "2001:db8::/33"]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.128",
            "192.0.2.255",
            "203.0.113.7",
            "::ffff:10.1.2.3",
            "2001:db8::1",
            "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(known.contains(inside.parse().expect("an address")), "{inside}");
        }
        for outside in [
            "11.0.0.0",
            "9.255.255.255",
            "192.0.2.127",
            "203.0.113.6",
            "::10.1.2.3",
            "2001:db8:8000::",
            "::1",
        ] {
            assert!(!known.contains(outside.parse().expect("an address")), "{outside}");
        }
    }

    #[test]
    fn whole_families_are_networks_too_and_do_not_mix() {
        let (v4, v6) = (networks(&["0.0.0.0/0"]), networks(&["::/0"]));
        let (one, other) = (IpAddr::from([8, 8, 8, 8]), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert!(v4.contains(one) && !v4.contains(other));
        assert!(v6.contains(other) && !v6.contains(one));
        let mapped = networks(&["::ffff:10.0.0.0/104"]);
        assert!(mapped.contains(IpAddr::from([10, 9, 9, 9])));
        assert_eq!(mapped.iter().next().expect("one").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_network_is_told_what_to_write() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "host", "10.0.0.0/-1"] {
            let advice = Network::parse(bad).expect_err(bad);
            assert!(advice.starts_with("write e.g. 10.0.0.0/8"), "{bad}: {advice}");
        }
        let meant = Network::parse("10.1.2.3/8").expect_err("an address with a mask");
        assert_eq!(meant, "write 10.0.0.0/8 for the network, or 10.1.2.3 for the address");
    }
}
