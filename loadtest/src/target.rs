//! Where the load goes, and whether it may go there: loopback, unless the user says otherwise.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use url::{Host, Url};

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the user wrote it.
    pub url: String,
    /// Host and port, as in the `Host` header.
    pub authority: String,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query; empty if the URL names none.
    pub path: String,
}

/// Takes a URL apart.
///
/// # Errors
/// A sentence that says what is wrong and what to write.
pub fn parse(text: &str) -> Result<Place, String> {
    let example = "write it like http://127.0.0.1:8787/v1/chat/completions";
    let url =
        Url::parse(text).map_err(|error| format!("`{text}` is no URL ({error}); {example}"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err(format!(
                "`{text}`: the load tester speaks plain HTTP only; give a port without TLS"
            ));
        }
        other => return Err(format!("`{text}`: `{other}` is no scheme for a load; {example}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name in the URL is not sent; use --header 'authorization: …'".into());
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(format!("`{text}` names no host; {example}")),
    };
    let port = url.port_or_known_default().unwrap_or(80);
    let mut path = if url.path() == "/" { String::new() } else { url.path().to_owned() };
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    Ok(Place { url: text.to_owned(), authority, host, port, path })
}

/// The addresses of a place. Blocks on DNS: for before the load begins.
///
/// # Errors
/// If the name has none.
#[expect(
    clippy::disallowed_methods,
    reason = "the load has not begun: there is no event loop to hold up"
)]
pub fn resolve(place: &Place) -> Result<Vec<SocketAddr>, String> {
    use std::net::ToSocketAddrs;
    let found = (place.host.as_str(), place.port).to_socket_addrs();
    match found.map(Iterator::collect::<Vec<_>>) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(format!("{}: the name `{}` has no address", place.url, place.host)),
        Err(error) => Err(format!("{}: cannot resolve `{}`: {error}", place.url, place.host)),
    }
}

/// Lets loopback through, and everything else only on the user's word.
///
/// # Errors
/// What to think of first, and how to say it.
pub fn admit(place: &Place, addresses: &[SocketAddr], allow_remote: bool) -> Result<(), String> {
    let Some(remote) = addresses.iter().find(|address| !address.ip().is_loopback()) else {
        return Ok(());
    };
    if allow_remote {
        return Ok(());
    }
    Err(format!(
        "{} is not on this machine ({}). A load test of somebody else's server is an attack on it, and every\n\
         request to a model provider costs money. If the machine is yours and nobody else's traffic runs there,\n\
         say so with --allow-remote",
        place.url,
        remote.ip()
    ))
}

/// The first address at which somebody listens.
///
/// # Errors
/// If nobody does.
pub fn find_listener(place: &Place, addresses: &[SocketAddr]) -> Result<SocketAddr, String> {
    let mut reason = String::from("no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT_WITHIN) {
            Ok(_) => return Ok(*address),
            Err(error) => reason = format!("{address}: {error}"),
        }
    }
    Err(format!("{}: nobody listens there ({reason}); start the target first", place.url))
}

/// How long the look for a listener may take, for one address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let place = parse("http://[::1]:8787/v1/messages?beta=true").expect("a URL");
        assert_eq!((place.host.as_str(), place.port), ("::1", 8787));
        assert_eq!(place.authority, "[::1]:8787");
        assert_eq!(place.path, "/v1/messages?beta=true");
        let place = parse("http://localhost").expect("a URL");
        assert_eq!((place.authority.as_str(), place.path.as_str()), ("localhost", ""));
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_with_advice() {
        for (url, advice) in [
            ("127.0.0.1:8787", "write it like http://"),
            ("https://localhost/", "plain HTTP only"),
            ("ftp://localhost/", "no scheme for a load"),
            ("http://me:secret@localhost/", "--header"),
        ] {
            let said = parse(url).expect_err("refused");
            assert!(said.contains(advice), "{url}: {said}");
            assert!(!said.contains("secret"));
        }
    }

    #[test]
    fn only_loopback_is_loaded_unless_told() {
        let place = |host: &str| parse(&format!("http://{host}/")).expect("a URL");
        let addresses = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|each| each.parse().expect("an address")).collect()
        };
        for (list, local) in [
            (&["127.0.0.1:80"] as &[&str], true),
            (&["127.8.9.1:80", "[::1]:80"], true),
            (&["192.168.0.1:80"], false),
            (&["127.0.0.1:80", "10.0.0.1:80"], false),
            (&["0.0.0.0:80"], false),
            (&["[2001:db8::1]:80"], false),
        ] {
            let place = place("host.example");
            let admitted = admit(&place, &addresses(list), false);
            assert_eq!(admitted.is_ok(), local, "{list:?}");
            if let Err(said) = admitted {
                assert!(said.contains("--allow-remote") && said.contains("costs money"), "{said}");
            }
            assert_eq!(admit(&place, &addresses(list), true), Ok(()));
        }
    }
}
