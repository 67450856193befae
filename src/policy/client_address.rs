//! Which address a request comes from: the connection's, or the one that trusted proxies name in `X-Forwarded-For`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use smallvec::SmallVec;

use crate::{base::limits, config::networks::Networks};

/// An address as a proxy wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The address.
    pub address: IpAddr,
    /// Its port, which few proxies write.
    pub port: Option<u16>,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port)),
            None => write!(f, "{}", self.address),
        }
    }
}

/// IPv4 as IPv4, also where a socket for both kinds shows it inside IPv6 (`::ffff:192.0.2.1`).
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The client behind `peer`, given the values of `X-Forwarded-For` in the order of their lines. `None`: the peer
/// itself. Each proxy appends whom it was called by, so the list is read from its end: the first address that is not
/// a trusted proxy is the client, and whatever stands before it is the client's own word. If all are trusted, it is
/// the first in the list; at an entry that is no address the reading ends, and the last one before it stands.
#[must_use]
pub fn behind<'a>(
    peer: IpAddr,
    forwarded: impl Iterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Option<Hop> {
    if !trusted.contains(peer) {
        return None;
    }
    let lines: SmallVec<[&[u8]; 4]> = forwarded.collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b','));
    let mut client = None;
    for entry in entries.take(limits::FORWARDED_HOPS_MAX) {
        let entry = entry.trim_ascii();
        if entry.is_empty() {
            continue;
        }
        let Some(hop) = parse(entry) else { break };
        client = Some(hop);
        if !trusted.contains(hop.address) {
            break;
        }
    }
    client
}

/// An address, with or without a port, IPv6 with or without brackets.
fn parse(entry: &[u8]) -> Option<Hop> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        // Brackets are for IPv6 alone.
        let fits = bare.len() == text.len() || address.is_ipv6();
        return fits.then_some(Hop { address: address.to_canonical(), port: None });
    }
    let whole: SocketAddr = text.parse().ok()?;
    Some(Hop { address: whole.ip().to_canonical(), port: Some(whole.port()) })
}
