//! The sections of the file that say how Trunkline itself runs: listeners, workers, log, hosts.

use std::{path::PathBuf, time::Duration};

use crate::base::limits as bounds;

use super::{
    Admin, Config, CustomHosts, Log, OnFull, TlsFiles, Workers,
    report::{NOT_YET, Report, Spot},
    tree::Value,
    values,
};

/// `listen`, `tls` and `admin`.
pub fn listeners(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    if let Some(spot) = root.get("listen")
        && let Some(address) = values::address(&spot, report)
    {
        config.listen = address;
    }
    config.tls = root.get("tls").and_then(|spot| tls(&spot, report));
    if let Some(spot) = root.get("admin") {
        config.admin = admin(&spot, report);
    }
    if let (Some(admin), Some(spot)) = (&config.admin, root.get("admin").or(root.get("listen")))
        && admin.listen == config.listen
        && config.listen.port() != 0
    {
        report.mistake(&spot, "listen and admin.listen are the same; give admin another port");
    }
}

fn tls(spot: &Spot<'_>, report: &mut Report) -> Option<TlsFiles> {
    if !report.keys(spot, TLS_KEYS, &[]) {
        return None;
    }
    let mut file = |key: &str| match spot.get(key) {
        Some(found) => values::path(&found, report, "the path of a PEM file"),
        None => {
            report.missing(spot, key, "write the path of a PEM file");
            None
        }
    };
    let (cert, key) = (file("cert"), file("key"));
    let client_ca = spot
        .get("client_ca")
        .and_then(|found| values::path(&found, report, "the path of a PEM file"));
    Some(TlsFiles { cert: cert?, key: key?, client_ca })
}

fn admin(spot: &Spot<'_>, report: &mut Report) -> Option<Admin> {
    if matches!(&spot.tree.value, Value::Text(text) if text == "off") {
        return None;
    }
    let mut admin = Admin::default();
    if !matches!(spot.tree.value, Value::Map(_)) {
        report.expected(spot, "a map, or off; write e.g. { listen: 127.0.0.1:8788 }");
        return Some(admin);
    }
    report.keys(spot, ADMIN_KEYS, &[]);
    if let Some(address) = spot.get("listen").and_then(|found| values::address(&found, report)) {
        admin.listen = address;
    }
    admin.token = spot.get("token").and_then(|found| values::secret(&found, report));
    admin.insecure =
        spot.get("insecure").and_then(|found| values::flag(&found, report)).unwrap_or(false);
    if let Some(metrics) = spot.get("metrics") {
        admin.metrics_open = choice(&metrics, report, &[("open", true), ("token", false)]);
    }
    admin_beyond_loopback(spot, &admin, report);
    Some(admin)
}

fn admin_beyond_loopback(spot: &Spot<'_>, admin: &Admin, report: &mut Report) {
    let listen = spot.get("listen").unwrap_or(*spot);
    if admin.listen.ip().is_loopback() {
        return;
    }
    if spot.get("token").is_none() {
        report.mistake(&listen, "the admin port is not on loopback: set admin.token as well");
    }
    if !admin.insecure {
        report.mistake(
            &listen,
            "the admin port has no TLS and is not on loopback: listen on 127.0.0.1, or accept the \
             risk with insecure: true",
        );
    }
}

/// One of a few words, each with what it means; the first if it is none of them.
fn choice<T: Copy>(spot: &Spot<'_>, report: &mut Report, words: &[(&str, T)]) -> T {
    let found = match &spot.tree.value {
        Value::Text(text) => words.iter().find(|(word, _)| word == text),
        _ => None,
    };
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        report.expected(spot, &names.join(" or "));
    }
    found.unwrap_or(&words[0]).1
}

/// `workers` and `state`.
pub fn machine(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    if let Some(spot) = root.get("workers")
        && let Some(workers) = workers(&spot, report)
    {
        config.workers = workers;
    }
    if let Some(spot) = root.get("state")
        && let Some(path) = values::path(&spot, report, "the path of a directory")
    {
        config.state = path;
    }
}

fn workers(spot: &Spot<'_>, report: &mut Report) -> Option<Workers> {
    let most = bounds::WORKERS_MAX;
    match (&spot.tree.value, &spot.tree.written) {
        (Value::Text(text), _) if text == "auto" => Some(Workers::Auto),
        (Value::Number(_), _) | (Value::Text(_), Some(_)) => {
            let count = values::whole(spot, report, 1, most as u64)?;
            usize::try_from(count).ok().map(Workers::Count)
        }
        (Value::List(items), _) if !items.is_empty() => {
            let mut cores = Vec::new();
            for item in spot.items() {
                let core = values::whole(&item, report, 0, most as u64 - 1)?;
                let core = usize::try_from(core).ok()?;
                if cores.contains(&core) {
                    report.mistake(&item, "this core is named twice; one worker runs on a core");
                    return None;
                }
                cores.push(core);
            }
            Some(Workers::Cores(cores))
        }
        _ => {
            report.expected(spot, "auto, a number of workers, or a list of cores; write e.g. auto");
            None
        }
    }
}

/// `log`.
pub fn log(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    let Some(spot) = root.get("log") else { return };
    if matches!(&spot.tree.value, Value::Text(text) if text == "off") {
        config.log = None;
        return;
    }
    if !matches!(spot.tree.value, Value::Map(_)) {
        report.expected(&spot, "a map, or off; write e.g. { dir: ./log }");
        return;
    }
    report.keys(&spot, LOG_KEYS, &[]);
    let mut log = Log::default();
    if let Some(found) = spot.get("dir") {
        let dir = values::path(&found, report, "the path of a directory");
        log.dir = dir.unwrap_or_else(|| PathBuf::from("./log"));
    }
    if let Some(bodies) = spot.get("bodies").and_then(|found| values::flag(&found, report)) {
        log.bodies = bodies;
    }
    if let Some(found) = spot.get("retention") {
        retention(&found, &mut log, report);
    }
    let (least, most) = (bounds::LOG_SYNC_MIN, bounds::LOG_SYNC_MAX);
    if let Some(found) = spot.get("sync")
        && let Some(every) = values::duration(&found, report, least, most)
    {
        log.sync_every = every;
    }
    if let Some(found) = spot.get("on_full") {
        log.on_full = choice(&found, report, &[("drop", OnFull::Drop), ("wait", OnFull::Wait)]);
    }
    config.log = Some(log);
}

/// `log.retention`: a key that is null keeps without that bound.
fn retention(spot: &Spot<'_>, log: &mut Log, report: &mut Report) {
    if !report.keys(spot, RETENTION_KEYS, &[]) {
        return;
    }
    if let Some(days) = spot.get_or_null("days") {
        log.retain_for = match days.tree.value {
            Value::Null => None,
            _ => values::whole(&days, report, 1, 36_500)
                .map(|days| Duration::from_secs(days * 86_400)),
        };
    }
    if let Some(size) = spot.get_or_null("size") {
        log.retain_bytes = match size.tree.value {
            Value::Null => None,
            _ => values::bytes(&size, report, 1 << 20, bounds::UPLOAD_BYTES_MAX),
        };
    }
}

/// `custom_hosts`.
pub fn custom_hosts(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    let Some(spot) = root.get("custom_hosts") else { return };
    if !report.keys(&spot, CUSTOM_HOST_KEYS, &[]) {
        return;
    }
    let trusted = spot.get("trusted").map(|found| hosts(&found, report)).unwrap_or_default();
    let allow_private = spot.get("allow_private").and_then(|found| values::flag(&found, report));
    config.custom_hosts = CustomHosts { trusted, allow_private: allow_private.unwrap_or(false) };
}

/// Host names and addresses without scheme, port and path.
fn hosts(spot: &Spot<'_>, report: &mut Report) -> Vec<String> {
    let names = values::texts(spot, report, "host");
    for item in spot.items() {
        let Value::Text(text) = &item.tree.value else { continue };
        let name = text.strip_prefix("*.").unwrap_or(text);
        let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if name.parse::<std::net::IpAddr>().is_err() && !name.bytes().all(letters) {
            report.expected(
                &item,
                "a host name or address; write e.g. llm.example.com or *.example.com",
            );
        }
    }
    names
}

/// `auth`, and whether requests without an API key are served.
pub fn open(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    let said = root.get("auth").is_some_and(|spot| {
        let open = matches!(&spot.tree.value, Value::Text(text) if text == "open");
        if !open {
            report.expected(&spot, "open; leave auth out to demand API keys once any are defined");
        }
        open
    });
    let no_keys = root.get("api_keys").is_none_or(|spot| spot.tree.is_empty());
    if let Some(listen) = root.get("listen")
        && no_keys
        && !said
        && !config.listen.ip().is_loopback()
    {
        report.mistake(
            &listen,
            "without API keys anyone who reaches this address could spend your credentials: define \
             api_keys (`trunkline key new` makes one), listen on 127.0.0.1, or write auth: open",
        );
    }
    config.open = said || no_keys;
    config.open_on_purpose = said;
}

/// `prices`: only what asks for nothing.
pub fn prices(root: &Spot<'_>, report: &mut Report) {
    let Some(spot) = root.get("prices") else { return };
    if !report.keys(&spot, PRICE_KEYS, &["file"]) {
        return;
    }
    let Some(unpriced) = spot.get("unpriced") else { return };
    if choice(&unpriced, report, &[("allow", false), ("deny", true)]) {
        report.about_key(&unpriced, NOT_YET);
    }
}

/// Keys of `tls`.
pub const TLS_KEYS: &[&str] = &["cert", "key", "client_ca"];
/// Keys of `admin`.
pub const ADMIN_KEYS: &[&str] = &["listen", "token", "insecure", "metrics"];
/// Keys of `log`.
pub const LOG_KEYS: &[&str] = &["dir", "bodies", "retention", "sync", "on_full"];
/// Keys of `log.retention`.
pub const RETENTION_KEYS: &[&str] = &["days", "size"];
/// Keys of `custom_hosts`.
pub const CUSTOM_HOST_KEYS: &[&str] = &["trusted", "allow_private"];
/// Keys of `prices`.
pub const PRICE_KEYS: &[&str] = &["unpriced"];
