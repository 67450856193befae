//! The PROXY protocol, versions 1 (a line of text) and 2 (binary): what a load balancer writes before a connection's
//! first byte, so that the client's address is not lost behind its own. What arrived is looked at, never copied.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::base::limits;

/// What the front of a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// No header: the connection begins with what its client says.
    Absent,
    /// It may become one: there is more to come.
    NeedMore,
    /// A header.
    Header {
        /// Its bytes.
        len: usize,
        /// The client that it names; `None`: the connection is the balancer's own, or not from an address and port.
        client: Option<SocketAddr>,
    },
}

/// What is wrong with a header that had begun as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// The line of version 1 did not end within its longest.
    LineTooLong,
    /// The line of version 1 ends with a line feed alone.
    BareLineFeed,
    /// The line of version 1 is not one.
    BadLine,
    /// A version, command or family of version 2 that there is not.
    BadPreamble,
    /// The header of version 2 is shorter than its addresses.
    BadLength,
    /// More than a header may have.
    TooLong,
}

impl ProxyError {
    /// A sentence for whoever set the balancer up.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            ProxyError::LineTooLong => "the PROXY line does not end within 107 bytes",
            ProxyError::BareLineFeed => {
                "the PROXY line ends with a line feed alone: end it with carriage return and line feed"
            }
            ProxyError::BadLine => {
                "the PROXY line is not one: write e.g. PROXY TCP4 192.0.2.1 192.0.2.2 56324 443"
            }
            ProxyError::BadPreamble => {
                "the PROXY header has a version, command or address family that there is not"
            }
            ProxyError::BadLength => "the PROXY header is shorter than its addresses",
            ProxyError::TooLong => "the PROXY header is longer than any needs to be",
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ProxyError {}

/// Looks at the first bytes of a connection.
pub fn look(bytes: &[u8]) -> Result<Prefix, ProxyError> {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins(bytes, LINE_START) {
        return version_1(bytes);
    }
    Ok(Prefix::Absent)
}

/// Whether `bytes` begin with `start`, or could, once there are more.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

fn version_1(bytes: &[u8]) -> Result<Prefix, ProxyError> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(feed) = memchr::memchr(b'\n', within) else {
        let full = within.len() == LINE_BYTES_MAX;
        return if full { Err(ProxyError::LineTooLong) } else { Ok(Prefix::NeedMore) };
    };
    // Told at once: a balancer that sends such lines would else wait until the line is too long, or for ever.
    let Some(end) = feed.checked_sub(1).filter(|&end| within[end] == b'\r') else {
        return Err(ProxyError::BareLineFeed);
    };
    let line = std::str::from_utf8(&within[LINE_START.len()..end]);
    let client = line.ok().and_then(line_client).ok_or(ProxyError::BadLine)?;
    Ok(Prefix::Header { len: end + 2, client })
}

/// What the rest of the line names; the outer `None`: it is no such line.
fn line_client(rest: &str) -> Option<Option<SocketAddr>> {
    // Whatever follows this word is not to be looked at.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = rest.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _) = (address()?, address()?);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some(SocketAddr::new(source, source_port)))
}

/// A port as the specification writes it: digits, none in front for nothing.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let leading = word.len() > 1 && word.starts_with('0');
    if plain && !leading { word.parse().ok() } else { None }
}

fn version_2(bytes: &[u8]) -> Result<Prefix, ProxyError> {
    let Some(&[version_command, family, high, low]) = bytes.get(SIGNATURE.len()..PREAMBLE_BYTES)
    else {
        return Ok(Prefix::NeedMore);
    };
    let len = PREAMBLE_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > limits::PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let read: fn(&[u8]) -> Result<Option<SocketAddr>, ProxyError> = match (version_command, family)
    {
        // LOCAL: the balancer asks for itself, to see whether we live.
        (0x20, _) => |_| Ok(None),
        (0x21, 0x11) => |body| source_v4(body).map(Some).ok_or(ProxyError::BadLength),
        (0x21, 0x21) => |body| source_v6(body).map(Some).ok_or(ProxyError::BadLength),
        // Unspecified, datagrams, Unix sockets: no address that this connection could come from.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => |_| Ok(None),
        _ => return Err(ProxyError::BadPreamble),
    };
    // What follows the addresses are fields of type, length and value, for others.
    let Some(body) = bytes.get(PREAMBLE_BYTES..len) else { return Ok(Prefix::NeedMore) };
    Ok(Prefix::Header { len, client: read(body)? })
}

/// The source of an address block: both addresses, then both ports.
fn source_v4(body: &[u8]) -> Option<SocketAddr> {
    let [a, b, c, d, _, _, _, _, high, low, _, _] = *body.first_chunk::<12>()?;
    let port = u16::from_be_bytes([high, low]);
    Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port))
}

/// The same of IPv6.
fn source_v6(body: &[u8]) -> Option<SocketAddr> {
    let block = body.first_chunk::<36>()?;
    let source = Ipv6Addr::from(*block.first_chunk::<16>()?);
    let port = u16::from_be_bytes([block[32], block[33]]);
    Some(SocketAddr::new(source.into(), port))
}

/// The twelve bytes that version 2 begins with; no other protocol does.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, length.
const PREAMBLE_BYTES: usize = 16;
/// What version 1 begins with.
const LINE_START: &[u8] = b"PROXY ";
/// The longest line that version 1 can have, its end included.
const LINE_BYTES_MAX: usize = 107;
