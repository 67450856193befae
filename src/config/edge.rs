//! The sections of the file about what stands before Trunkline and behind it: trusted proxies, browsers of other
//! origins, and the proxy through which upstreams are reached.

use std::{
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::base::{limits, secret::Secret};

use super::{
    Config,
    networks::{Network, Networks},
    report::{Report, Spot},
    tree::Value,
    values,
};

/// What stands before Trunkline and behind it.
#[derive(Debug, Default)]
pub struct Edge {
    /// Whose `X-Forwarded-For` and PROXY protocol are believed.
    pub trusted_proxies: Networks,
    /// Which pages of other origins may call from a browser; `None`: none.
    pub cors: Option<Cors>,
    /// The proxy through which upstreams are reached; `None`: directly.
    pub egress_proxy: Option<Arc<EgressProxy>>,
}

/// Which pages of other origins may call Trunkline from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Those of any.
    Any,
    /// Those of these, as browsers write them.
    Origins(Vec<String>),
}

impl Cors {
    /// Whether a page of this origin may.
    #[must_use]
    pub fn admits(&self, origin: &str) -> bool {
        match self {
            Cors::Any => true,
            Cors::Origins(origins) => origins.iter().any(|known| known == origin),
        }
    }
}

/// The HTTP proxy through which upstream connections go.
#[derive(Debug, PartialEq, Eq)]
pub struct EgressProxy {
    /// Its name, or an address literal (IPv6 without brackets).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Host and port as a message shows them.
    pub authority: String,
    /// The value of `proxy-authorization`.
    pub credential: Option<Secret>,
    /// Names that are reached without it: exact, or `*.suffix`.
    pub direct_names: Vec<String>,
    /// Addresses that are reached without it, where a host is written as one.
    pub direct_networks: Networks,
}

impl Hash for EgressProxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.host, self.port).hash(state);
    }
}

impl EgressProxy {
    /// Whether connections to this host go through it. What is on this machine never does.
    #[must_use]
    pub fn leads_to(&self, host: &str) -> bool {
        if let Ok(address) = host.parse() {
            return self.leads_to_address(address);
        }
        let is = |name: &str| host.eq_ignore_ascii_case(name);
        let below = |suffix: &str| {
            let at = host.len().checked_sub(suffix.len() + 1);
            at.and_then(|at| host.get(at..))
                .is_some_and(|end| end.starts_with('.') && end[1..].eq_ignore_ascii_case(suffix))
        };
        let listed = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(suffix) => below(suffix),
            None => is(pattern),
        };
        !is("localhost") && !below("localhost") && !self.direct_names.iter().any(listed)
    }

    /// Whether connections to this address go through it.
    #[must_use]
    pub fn leads_to_address(&self, address: IpAddr) -> bool {
        !address.to_canonical().is_loopback() && !self.direct_networks.contains(address)
    }
}

/// `trusted_proxies`, `cors` and `egress_proxy`.
pub fn edge(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    if let Some(spot) = root.get("trusted_proxies") {
        config.edge.trusted_proxies = trusted_proxies(&spot, report);
    }
    if let Some(spot) = root.get("cors") {
        config.edge.cors = cors(&spot, report);
    }
    if let Some(spot) = root.get("egress_proxy") {
        config.edge.egress_proxy = egress_proxy(&spot, report).map(Arc::new);
    }
}

fn trusted_proxies(spot: &Spot<'_>, report: &mut Report) -> Networks {
    let listed = values::texts(spot, report, "network");
    most(spot, report, listed.len(), limits::TRUSTED_PROXIES_MAX);
    let parsed = spot.items().filter_map(|item| {
        let Value::Text(text) = &item.tree.value else { return None };
        match Network::parse(text) {
            Ok(network) => {
                if network.is_everything() {
                    report.warning(&item, EVERYBODY);
                }
                Some(network)
            }
            Err(advice) => {
                report.expected(&item, &format!("a network or an address; {advice}"));
                None
            }
        }
    });
    parsed.collect()
}

fn most(spot: &Spot<'_>, report: &mut Report, count: usize, most: usize) {
    if count > most {
        report.mistake(spot, format!("has {count} entries; at most {most} are looked through"));
    }
}

fn cors(spot: &Spot<'_>, report: &mut Report) -> Option<Cors> {
    if !report.keys(spot, CORS_KEYS, &[]) {
        return None;
    }
    let origins = spot.get("origins")?;
    let listed = values::texts(&origins, report, "origin");
    most(&origins, report, listed.len(), limits::CORS_ORIGINS_MAX);
    let any = listed.iter().any(|origin| origin == "*");
    if any && listed.len() > 1 {
        report.mistake(&origins, "* stands for all origins; keep it alone, or leave it out");
    }
    for item in origins.items() {
        let Value::Text(text) = &item.tree.value else { continue };
        if !is_origin(text) && text != "*" && !text.is_empty() {
            report.expected(
                &item,
                "an origin as browsers send it, in lower case, without a path or the scheme's own \
                 port; write e.g. https://app.example.com, http://localhost:3000 or *",
            );
        }
    }
    match any {
        true => Some(Cors::Any),
        false if listed.is_empty() => None,
        false => Some(Cors::Origins(listed)),
    }
}

/// Whether a browser could send this as an `Origin`.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let host_fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    let own_port = match scheme {
        "https" => host.ends_with(":443"),
        "http" => host.ends_with(":80"),
        _ => false,
    };
    !scheme.is_empty()
        && !host.is_empty()
        && scheme.bytes().all(scheme_fine)
        && host.bytes().all(host_fine)
        && !own_port
}

/// The URL alone, or a map with it. What stands there may hold a password, and is never shown.
fn egress_proxy(spot: &Spot<'_>, report: &mut Report) -> Option<EgressProxy> {
    match &spot.tree.value {
        Value::Text(_) if came_out_empty(spot) => None,
        Value::Text(text) => proxy_at(spot, text, report),
        Value::Map(_) => {
            report.keys(spot, EGRESS_PROXY_KEYS, &[]);
            let proxy = match spot.get("url") {
                None => {
                    report.missing(spot, "url", "write e.g. http://proxy.example.com:3128");
                    None
                }
                Some(url) => match &url.tree.value {
                    Value::Text(_) if came_out_empty(&url) => None,
                    Value::Text(text) => proxy_at(&url, text, report),
                    _ => wrong_proxy(&url, report),
                },
            };
            let mut proxy = proxy?;
            if let Some(direct) = spot.get("no_proxy") {
                no_proxy(&direct, &mut proxy, report);
            }
            Some(proxy)
        }
        _ => wrong_proxy(spot, report),
    }
}

/// Whether variables stand here that have nothing to say, as in `"${PROXY:-}"`: then there is no proxy.
fn came_out_empty(spot: &Spot<'_>) -> bool {
    let tree = spot.tree;
    tree.written.is_some()
        && !tree.unknown
        && matches!(&tree.value, Value::Text(text) if text.is_empty())
}

fn wrong_proxy<T>(spot: &Spot<'_>, report: &mut Report) -> Option<T> {
    report.expected_secret(
        spot,
        "the URL of an HTTP proxy without a path; write e.g. http://proxy.example.com:3128 or \
         http://user:${PROXY_PASSWORD}@proxy.example.com:3128",
    );
    None
}

fn proxy_at(spot: &Spot<'_>, text: &str, report: &mut Report) -> Option<EgressProxy> {
    let Some(url) = Url::parse(text).ok().filter(|_| text.bytes().all(|b| b.is_ascii_graphic()))
    else {
        return wrong_proxy(spot, report);
    };
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default().filter(|&p| p != 0))
    else {
        return wrong_proxy(spot, report);
    };
    if url.scheme() != "http" || !bare {
        return wrong_proxy(spot, report);
    }
    let authority = format!("{host}:{port}");
    let host = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let Ok(credential) = credential(&url) else {
        report.mistake(
            spot,
            "the user name or password cannot be sent: write them percent-encoded, the name without \
             a colon",
        );
        return None;
    };
    let (direct_names, direct_networks) = (Vec::new(), Networks::default());
    Some(EgressProxy { host, port, authority, credential, direct_names, direct_networks })
}

/// The value of `proxy-authorization`, after RFC 7617.
fn credential(url: &Url) -> Result<Option<Secret>, ()> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |part| percent_decode_str(part).decode_utf8().map_err(|_| ());
    let user = decode(url.username())?;
    let password = decode(url.password().unwrap_or_default())?;
    let both = Secret::new(format!("{user}:{password}"));
    if user.contains(':') || both.reveal().chars().any(char::is_control) {
        return Err(());
    }
    Ok(Some(Secret::new(format!("Basic {}", STANDARD.encode(both.reveal())))))
}

fn no_proxy(spot: &Spot<'_>, proxy: &mut EgressProxy, report: &mut Report) {
    let listed = values::texts(spot, report, "host");
    most(spot, report, listed.len(), limits::NO_PROXY_MAX);
    let mut networks = Vec::new();
    for item in spot.items() {
        let Value::Text(text) = &item.tree.value else { continue };
        let name = text.strip_prefix("*.").unwrap_or(text);
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
        let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match Network::parse(text) {
            Ok(network) => networks.push(network),
            Err(_) if !numeric && !name.starts_with('.') && name.bytes().all(fine) => {
                proxy.direct_names.push(text.to_ascii_lowercase());
            }
            Err(_) => report.expected(
                &item,
                "a host name, *.suffix, an address or a network; write e.g. *.internal, 10.0.0.0/8",
            ),
        }
    }
    proxy.direct_networks = networks.into_iter().collect();
}

/// An open gateway that any web page may call.
pub fn warn_of_open_cors(root: &Spot<'_>, config: &Config, report: &mut Report) {
    if let Some(spot) = root.get("cors")
        && config.open
        && config.edge.cors == Some(Cors::Any)
    {
        report.warning(
            &spot,
            "any web page that a user of this machine opens may spend your credentials: name the \
             origins, or define api_keys",
        );
    }
}

const EVERYBODY: &str = "believes every client: whoever connects may say what address it comes from; list the \
                         networks of your own proxies alone";
/// Keys of `cors`.
pub const CORS_KEYS: &[&str] = &["origins"];
/// Keys of `egress_proxy`.
pub const EGRESS_PROXY_KEYS: &[&str] = &["url", "no_proxy"];
