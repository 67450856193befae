//! What Trunkline answers itself, and what it refuses before it looks any further.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    bodies::Bodies,
    client::Client,
    connection::{After, Incoming},
    cors::Sharing,
    rescue,
    respond::{Notes, Timing},
    route::Call,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
    },
    config::{ApiKey, Config, policy::NodeKind},
    io::{
        log::LogSender,
        net::{Net, Reader, Writer},
    },
    journal::entry::Entry,
    policy::{request_headers::RequestOptions, target::Asked},
    provider::Endpoint,
};

/// `GET /` and `/healthz`.
pub async fn alive<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
) -> After {
    let text = concat!(
        r#"{"name":"trunkline","version":""#,
        env!("CARGO_PKG_VERSION"),
        r#"","status":"ok"}"#
    );
    health(client, incoming, 200, text).await
}

/// `GET /readyz`.
pub async fn ready<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
) -> After {
    if client.core.draining.get() {
        return health(client, incoming, 503, r#"{"name":"trunkline","status":"draining"}"#).await;
    }
    health(client, incoming, 200, r#"{"name":"trunkline","status":"ready"}"#).await
}

async fn health<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    status: u16,
    text: &'static str,
) -> After {
    let now = client.now();
    let timing = Timing { accepted: incoming.accepted, now, ..Timing::default() };
    let sharing = Sharing::of(incoming, &client.core.epoch().config);
    let notes = Notes { timing, sharing, ..Notes::default() };
    let text = Bytes::from_static(text.as_bytes());
    rescue::local(client, incoming, status, "application/json", text, &notes, &[]).await
}

/// Whether this request may be looked at at all.
pub fn check_admission(incoming: &Incoming, config: &Config) -> Result<(), Fault> {
    // Other protocols that a client offers, such as h2c, may be ignored (RFC 9110 section 7.8).
    let upgrade = incoming.header("upgrade").filter(|_| incoming.head().upgrade);
    if upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        let message = "WebSocket connections (/v1/realtime) are not in this version of Trunkline";
        let fault = Fault::new(Stage::Head, Source::Client, Kind::NotImplemented, message);
        return Err(fault.at("upgrade"));
    }
    check_host(incoming, config)
}

/// While Trunkline is open, a page in a browser of the same machine must not reach it under a name of its own (DNS
/// rebinding).
fn check_host(incoming: &Incoming, config: &Config) -> Result<(), Fault> {
    if !config.open_on_loopback() {
        return Ok(());
    }
    let host = incoming.head().host(incoming.bytes()).unwrap_or_default();
    if is_loopback_name(host) {
        return Ok(());
    }
    let message = "Trunkline is open on loopback and answers only to localhost and 127.0.0.1: \
                   define api_keys, or call it by one of these names";
    Err(Fault::new(Stage::Auth, Source::Client, Kind::Forbidden, message).at("host"))
}

/// Whether a `Host` header names this machine itself.
pub fn is_loopback_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        || name.eq_ignore_ascii_case("localhost")
        || name.len() > 10 && name.to_ascii_lowercase().ends_with(".localhost")
}

/// Whether `GET /v1/models` is Trunkline's to answer: no target was named.
pub fn lists_models(call: &Call<'_>, asked: &Asked<'_>) -> bool {
    let options = asked.options;
    call.endpoint == Endpoint::Models
        && options.config.is_none()
        && options.virtual_key.is_none()
        && options.provider.is_none()
}

/// The models that this API key may call, as far as the configuration names them.
pub async fn models<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    config: &Config,
    api_key: Option<&ApiKey>,
    notes: &mut Notes<'_>,
    entry: &mut Entry<'_>,
) -> After {
    notes.timing.now = client.now();
    notes.last = client.core.draining.get();
    let models: Vec<serde_json::Value> = known_models(config, api_key)
        .into_iter()
        .map(|(id, owner)| {
            serde_json::json!({"id": id, "object": "model", "created": 0, "owned_by": owner})
        })
        .collect();
    let list = serde_json::json!({"object": "list", "data": models});
    entry.status = 200;
    let text = Bytes::from(list.to_string());
    rescue::local(client, incoming, 200, "application/json", text, notes, &[]).await
}

fn known_models<'c>(config: &'c Config, api_key: Option<&ApiKey>) -> BTreeSet<(String, &'c str)> {
    let allow = api_key.map(|key| &key.allow);
    let mut known = BTreeSet::new();
    for (at, key) in config.virtual_keys.iter().enumerate() {
        let listed = allow.and_then(|allow| allow.virtual_keys.as_ref());
        if listed.is_some_and(|ids| !ids.iter().any(|id| id.0 as usize == at)) {
            continue;
        }
        let exact = key.models.iter().filter(|model| !model.contains('*'));
        known.extend(exact.map(|model| (model.clone(), key.provider.name())));
    }
    for (at, named) in config.configs.iter().enumerate() {
        let listed = allow.and_then(|allow| allow.configs.as_ref());
        if listed.is_none_or(|ids| ids.iter().any(|id| id.0 as usize == at)) {
            collect_models(config, &named.policy.root, &mut known);
        }
    }
    let globs = allow.and_then(|allow| allow.models.as_ref());
    known.retain(|(id, _)| globs.is_none_or(|globs| crate::policy::glob::any_matches(globs, id)));
    known
}

fn collect_models<'c>(
    config: &'c Config,
    node: &'c crate::config::policy::Node,
    known: &mut BTreeSet<(String, &'c str)>,
) {
    match &node.kind {
        NodeKind::Leaf(leaf) => {
            let set = leaf.override_params.iter().find(|(name, _)| name == "model");
            let model = set.and_then(|(_, raw)| serde_json::from_str::<String>(raw).ok());
            let key = leaf.virtual_key.and_then(|id| config.virtual_keys.get(id.0 as usize));
            let adapter = key.map(|key| key.provider).or(leaf.provider);
            if let (Some(model), Some(adapter)) = (model, adapter) {
                known.insert((model, adapter.name()));
            }
        }
        _ => node.children().iter().for_each(|child| collect_models(config, child, known)),
    }
}

/// Where to keep the bodies of an exchange; `None` unless the log takes them, the epoch says so, and the request does
/// not forbid it. Asked once the caller is known: what a stranger sends is not kept.
pub fn keep_bodies<N: Net, R: Reader, W: Writer>(
    client: &Client<N, R, W>,
    incoming: &Incoming,
    config: &Config,
    options: &RequestOptions<'_>,
) -> Option<Box<Bodies>> {
    let wanted = config.log.as_ref().is_some_and(|log| log.bodies) && !options.bodies_private;
    if !wanted || !client.core.log.borrow().as_ref().is_some_and(LogSender::wants_bodies) {
        return None;
    }
    let mut bodies = Box::<Bodies>::default();
    bodies.request.of_type(incoming.header("content-type").unwrap_or_default().as_bytes());
    Some(bodies)
}

/// With `log.on_full: wait` an exchange waits here rather than lose its record.
pub async fn await_log_room<N: Net, R: Reader, W: Writer>(client: &mut Client<N, R, W>) {
    let net = client.core.net.clone();
    while client.core.log.borrow().as_ref().is_some_and(|log| !log.has_room()) {
        net.sleep_until(net.now().after(limits::LOG_ROOM_PAUSE)).await;
    }
}
