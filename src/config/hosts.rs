//! Which upstream hosts may be named, and by whom: base URLs of the file, custom hosts of requests, and the
//! guard that keeps a request from reaching what only Trunkline's own machine can reach.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use url::{Host, Url};

use crate::base::limits;

use super::{CustomHosts, Origin};

/// The message of a refused custom host, as clients of Portkey's gateway know it.
pub const INVALID_CUSTOM_HOST: &str = "Invalid custom host";

/// A host that a request may not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRefused {
    /// Why.
    pub reason: &'static str,
}

impl fmt::Display for HostRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INVALID_CUSTOM_HOST}: {}", self.reason)
    }
}

/// Reads a base URL: http or https, without credentials, query and fragment. `Err`: what is wrong with it.
pub fn parse_origin(text: &str) -> Result<Origin, &'static str> {
    if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\' || b == b'"' || b == b'<') {
        return Err("a URL has no spaces, backslashes, quotes or characters beyond ASCII");
    }
    let url = Url::parse(text).map_err(|_| "it is not a URL; write e.g. https://host/v1")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http:// and https:// URLs lead to a provider");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL may not carry a user name or password; use api_key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no query and no fragment");
    }
    origin_of(&url).ok_or("the URL names no host or no usable port")
}

fn origin_of(url: &Url) -> Option<Origin> {
    let port = url.port_or_known_default().filter(|&port| port != 0)?;
    let host = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let in_brackets = url.host_str()?;
    let authority = match url.port() {
        Some(port) => format!("{in_brackets}:{port}"),
        None => in_brackets.to_owned(),
    };
    let path = url.path().trim_end_matches('/').to_owned();
    Some(Origin { tls: url.scheme() == "https", host, port, path, authority })
}

/// Checks a custom host that came with a request, by its name. Where it is a name, every address that it
/// resolves to still has to pass [`check_address`].
pub fn check_custom_host(
    url: &str,
    rules: &CustomHosts,
    open_on_loopback: bool,
) -> Result<Origin, HostRefused> {
    let origin = parse_origin(url).map_err(|reason| HostRefused { reason })?;
    if url.contains('@') {
        return refused("a URL may not carry a user name or password");
    }
    let raw_host = written_host(url).ok_or(HostRefused { reason: "the URL names no host" })?;
    if !raw_host.eq_ignore_ascii_case(bracketed(&origin).as_str()) {
        return refused(
            "write the host as a plain name or address, nothing encoded or abbreviated",
        );
    }
    let trusted = is_trusted(&origin.host, rules, open_on_loopback);
    match origin.host.parse::<IpAddr>() {
        Ok(ip) => check_address(ip, rules, trusted)?,
        Err(_) if trusted => {}
        Err(_) => check_name(&origin.host, rules)?,
    }
    Ok(origin)
}

/// The host as written between `//` and the port, path or end.
fn written_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split(['/', '?', '#']).next()?;
    match rest.find(']') {
        Some(end) => Some(&rest[..=end]),
        None => rest.split(':').next(),
    }
}

fn bracketed(origin: &Origin) -> String {
    if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() }
}

fn check_name(host: &str, rules: &CustomHosts) -> Result<(), HostRefused> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    if host.is_empty() || host.len() > limits::HOST_BYTES_MAX || !host.bytes().all(fine) {
        return refused("a host name has letters, digits, dots and hyphens only");
    }
    if host.split('.').any(|label| {
        label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-')
    }) {
        return refused("a part of the host name is empty, too long or begins or ends in a hyphen");
    }
    if host.split('.').count() > limits::HOST_LABELS_MAX {
        return refused("the host name has too many parts");
    }
    if host.starts_with("api.portkey") {
        return refused("another gateway is no provider");
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    if METADATA_NAMES.contains(&host) || DEAD_DOMAINS.contains(&last) {
        return refused("this name never leads to a provider");
    }
    if INNER_DOMAINS.contains(&last) && !rules.allow_private {
        return refused("names of a private network are refused; the operator may trust this one");
    }
    Ok(())
}

/// Whether a name or address literal is one that the operator trusts; while Trunkline serves nobody but its own
/// machine, and the file names no others, that is the machine itself.
#[must_use]
pub fn is_trusted(host: &str, rules: &CustomHosts, open_on_loopback: bool) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let matches = |pattern: &str| match pattern.strip_prefix("*.") {
        Some(suffix) => host
            .strip_suffix(suffix)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|rest| !rest.is_empty()),
        None => host == pattern.trim_start_matches('[').trim_end_matches(']'),
    };
    match rules.trusted.as_slice() {
        [] => open_on_loopback && LOOPBACK_NAMES.iter().any(|pattern| matches(pattern)),
        trusted => trusted.iter().any(|pattern| matches(&pattern.to_ascii_lowercase())),
    }
}

/// Checks one address that a request's host is or resolves to. To be asked before every connect, and the
/// connection made to that very address.
pub fn check_address(
    ip: IpAddr,
    rules: &CustomHosts,
    trusted_name: bool,
) -> Result<(), HostRefused> {
    match reach(ip) {
        Reach::Public => Ok(()),
        Reach::Loopback if trusted_name => Ok(()),
        Reach::Loopback => refused("it leads to the machine that Trunkline runs on"),
        Reach::Private if trusted_name || rules.allow_private => Ok(()),
        Reach::Private => refused("it leads into a private network"),
        Reach::Never => refused("no provider can live at this address"),
    }
}

/// Checks that an address is not one of Trunkline's own listeners, which would make a loop. `local` are the
/// addresses of this machine, for listeners on all of them.
pub fn check_own_port(
    to: SocketAddr,
    listeners: &[SocketAddr],
    local: &[IpAddr],
) -> Result<(), HostRefused> {
    let ip = to.ip().to_canonical();
    let own = |listener: &SocketAddr| {
        let everywhere = listener.ip().is_unspecified();
        let here = ip.is_loopback() || ip.is_unspecified() || local.contains(&ip);
        listener.port() == to.port() && (listener.ip() == ip || (everywhere && here))
    };
    if listeners.iter().any(own) { refused("it leads back to Trunkline itself") } else { Ok(()) }
}

fn refused<T>(reason: &'static str) -> Result<T, HostRefused> {
    Err(HostRefused { reason })
}

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Anyone.
    Public,
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// Metadata services, multicast, unassigned and documentation ranges: nobody with good intent.
    Never,
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [100, 100, 100, 200] | [168, 63, 129, 16] => Reach::Never, // metadata of two clouds
        [127, ..] => Reach::Loopback,
        [10, ..] | [192, 168, ..] => Reach::Private,
        [172, b, ..] if (16..32).contains(&b) => Reach::Private,
        [100, b, ..] if (64..128).contains(&b) => Reach::Private, // carrier-grade NAT
        [0, ..] | [169, 254, ..] => Reach::Never,                 // this network, link-local
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never, // documentation
        [192, 88, 99, _] => Reach::Never,                         // relay anycast
        [198, 18 | 19, ..] => Reach::Never,                       // benchmarks
        [224..=255, ..] => Reach::Never,                          // multicast, reserved, broadcast
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let s = ip.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        _ if ip == Ipv6Addr::LOCALHOST => Reach::Loopback,
        [0, 0, 0, 0, 0, 0xffff, high, low] => inner(high, low), // IPv4-mapped
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low), // NAT64
        [0x2002, high, low, ..] => inner(high, low),            // 6to4
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Reach::Never,  // metadata of a cloud
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Reach::Never,   // metadata of a cloud
        [0xfc00..=0xfdff, ..] => Reach::Private,                // unique local
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => Reach::Never, // Teredo, documentation
        [0x3fff, 0..=0xfff, ..] => Reach::Never,                // documentation
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never, // unspecified, IPv4-compatible, link- and site-local, multicast
    }
}

/// Trusted while Trunkline is open on loopback, unless the file names others.
const LOOPBACK_NAMES: [&str; 5] =
    ["localhost", "127.0.0.1", "::1", "host.docker.internal", "*.localhost"];
/// Names of the clouds' metadata services.
const METADATA_NAMES: [&str; 5] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "metadata.azure.internal",
];
/// Top-level domains that never lead to a provider.
const DEAD_DOMAINS: [&str; 4] = ["test", "invalid", "onion", "localhost"];
/// Top-level domains of private networks.
const INNER_DOMAINS: [&str; 7] =
    ["local", "localdomain", "internal", "intranet", "lan", "home", "corp"];
