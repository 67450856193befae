//! The sections of the file that hold keys: virtual keys (what Trunkline shows to providers) and API keys (what
//! applications show to Trunkline).

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::{
    base::{
        ids::{ApiKeyId, ConfigId, VirtualKeyId},
        limits,
    },
    provider::Adapter,
};

use super::{
    Allow, ApiKey, Origin, VirtualKey,
    compile::keys::{Kind, SETTINGS, setting},
    credentials::credentials,
    hosts::parse_origin,
    providers::{provider_by_name, provider_names},
    report::{Report, Spot, did_you_mean},
    tree::Value,
    values,
};

/// Names to ids. Callers look names up and add none, so the fast hasher will do.
pub type Ids<Id> = HashMap<String, Id, RandomState>;

/// The virtual keys of a file. One with mistakes is there too, so that references to it are no second mistake.
#[derive(Default)]
pub struct VirtualKeys {
    /// By id.
    pub keys: Vec<VirtualKey>,
    /// Names to ids.
    pub ids: Ids<VirtualKeyId>,
}

/// What an API key may refer to.
pub struct References<'a> {
    /// Names of virtual keys.
    pub virtual_key_ids: &'a Ids<VirtualKeyId>,
    /// Names of configs.
    pub config_ids: &'a Ids<ConfigId>,
}

/// Reads `virtual_keys`.
pub fn virtual_keys(root: &Spot<'_>, report: &mut Report) -> VirtualKeys {
    let mut all = VirtualKeys::default();
    let Some(section) = root.get("virtual_keys").filter(|section| report.map(section)) else {
        return all;
    };
    for entry in section.entries() {
        values::name(&entry, report);
        let Some(key) = virtual_key(&entry, report) else { continue };
        let Ok(index) = u32::try_from(all.keys.len()) else { break };
        all.ids.entry(key.name.clone()).or_insert(VirtualKeyId(index));
        all.keys.push(key);
    }
    all
}

fn virtual_key(spot: &Spot<'_>, report: &mut Report) -> Option<VirtualKey> {
    let settings = |honoured| {
        SETTINGS.iter().filter(move |s| s.honoured == honoured).map(|setting| setting.key)
    };
    let known: Vec<&str> = VIRTUAL_KEY_KEYS.iter().copied().chain(settings(true)).collect();
    let later: Vec<&str> = VIRTUAL_KEY_KEYS_LATER.iter().copied().chain(settings(false)).collect();
    let is_map = report.keys(spot, &known, &later);
    let provider = is_map.then(|| provider(spot, report)).flatten();
    let any_provider = provider.or_else(|| provider_names().find_map(provider_by_name))?;
    let credentials = credentials(spot, report);
    let credential = match credentials.first() {
        Some(first) => Some(first.secret.clone()),
        None => spot.get("api_key").and_then(|found| values::secret(&found, report)),
    };
    if let Some(provider) = provider
        && spot.get("api_key").or(spot.get("api_keys")).is_none()
        && !provider.credential_optional()
    {
        let advice = "write the provider's key, or ${NAME} for a variable that holds it";
        report.missing(spot, "api_key", advice);
    }
    Some(VirtualKey {
        name: spot.name().to_owned(),
        provider: any_provider,
        credential,
        credentials,
        base: base(spot, provider, report).unwrap_or_else(nowhere),
        models: spot
            .get("models")
            .map(|found| values::texts(&found, report, "model name"))
            .unwrap_or_default(),
        allow_custom_host: allow_custom_host(spot, report),
        ca: spot.get("ca").and_then(|found| values::path(&found, report, "the path of a PEM file")),
        options: options(spot, report),
    })
}

fn provider(spot: &Spot<'_>, report: &mut Report) -> Option<&'static dyn Adapter> {
    let Some(found) = spot.get("provider") else {
        report.missing(spot, "provider", "write e.g. provider: openai");
        return None;
    };
    let name = values::text(&found, report, "a provider; write e.g. openai")?;
    let provider = provider_by_name(name);
    if provider.is_none() {
        let hint = did_you_mean(name, provider_names());
        let hint = match hint.is_empty() {
            true => "; for a server that speaks OpenAI's format write openai-compatible".to_owned(),
            false => hint,
        };
        let shown = found.tree.shown();
        report.mistake(&found, format!("there is no provider {shown} in this version{hint}"));
    }
    provider
}

/// The file's base URL, else the provider's own.
fn base(
    spot: &Spot<'_>,
    provider: Option<&'static dyn Adapter>,
    report: &mut Report,
) -> Option<Origin> {
    if let Some(found) = spot.get("base_url") {
        let text = values::text(&found, report, "a URL; write e.g. https://host/v1")?;
        return match parse_origin(text) {
            Ok(origin) => Some(origin),
            Err(reason) => {
                // The URL may carry a password: it is not shown.
                report.mistake(&found, reason);
                None
            }
        };
    }
    let provider = provider?;
    match provider.base_url() {
        Some(base) => parse_origin(base).ok(),
        None => {
            let advice = "this provider has no address of its own; write e.g. https://host/v1";
            report.missing(spot, "base_url", advice);
            None
        }
    }
}

/// Stands in for a base URL that is a mistake; no configuration with one is ever used.
fn nowhere() -> Origin {
    let (host, authority) = ("invalid".to_owned(), "invalid".to_owned());
    Origin { tls: true, host, port: 443, path: String::new(), authority }
}

fn allow_custom_host(spot: &Spot<'_>, report: &mut Report) -> Vec<String> {
    let Some(found) = spot.get("allow_custom_host") else { return Vec::new() };
    let hosts = values::texts(&found, report, "host");
    for item in found.items() {
        let Value::Text(text) = &item.tree.value else { continue };
        let origin = parse_origin(&format!("https://{text}"));
        if !origin.is_ok_and(|origin| origin.path.is_empty() && !text.ends_with('/')) {
            report.expected(&item, "a host, or host:port; write e.g. llm.example.com");
        }
    }
    hosts
}

fn options(spot: &Spot<'_>, report: &mut Report) -> Vec<(String, String)> {
    let mut options = Vec::new();
    for entry in spot.entries() {
        let Some(setting) = setting(entry.name()).filter(|setting| setting.honoured) else {
            continue;
        };
        if matches!(entry.tree.value, Value::Null) {
            continue;
        }
        let Some(value) = values::text(&entry, report, "text") else { continue };
        if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            report.mistake(&entry, "holds a character that no header may carry");
        }
        debug_assert!(setting.kind == Kind::Plain, "what this version honours is harmless");
        options.push((setting.header.to_owned(), value.to_owned()));
    }
    options
}

/// Reads `api_keys`.
pub fn api_keys(root: &Spot<'_>, refer: &References<'_>, report: &mut Report) -> Vec<ApiKey> {
    let Some(section) = root.get("api_keys") else { return Vec::new() };
    if !matches!(section.tree.value, Value::List(_)) {
        report.expected(&section, "a list of API keys, each `- name: …`");
        return Vec::new();
    }
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    let mut keys = Vec::new();
    for item in section.items() {
        let Some(key) = api_key(&item, refer, report) else { continue };
        if !names.insert(key.name.clone()) {
            let message = format!("a second API key of the name {:?}; rename one", key.name);
            report.mistake(&item.get("name").unwrap_or(item), message);
        }
        if !hashes.insert(key.sha256) {
            let at = item.get("key_sha256").unwrap_or(item);
            report.mistake(&at, "this key is listed twice; make another with `trunkline key new`");
        }
        keys.push(key);
    }
    keys
}

/// Hashes to ids.
#[must_use]
pub fn api_key_ids(keys: &[ApiKey]) -> HashMap<[u8; 32], ApiKeyId> {
    (0..).map(ApiKeyId).zip(keys).map(|(id, key)| (key.sha256, id)).collect()
}

fn api_key(spot: &Spot<'_>, refer: &References<'_>, report: &mut Report) -> Option<ApiKey> {
    if !report.keys(spot, API_KEY_KEYS, API_KEY_KEYS_LATER) {
        return None;
    }
    let name = match spot.get("name") {
        Some(found) => api_key_name(&found, report),
        None => {
            report.missing(spot, "name", "write a name for the log, e.g. name: support-team");
            None
        }
    };
    let sha256 = match spot.get("key_sha256") {
        Some(found) => values::sha256(&found, report),
        None => {
            report.missing(spot, "key_sha256", "make one with `trunkline key new`");
            None
        }
    };
    let expires = spot.get("expires").and_then(|found| values::time(&found, report));
    let config = spot.get("config").and_then(|found| config_named(&found, refer, report));
    let metadata = spot.get("metadata").map(|found| metadata(&found, report)).unwrap_or_default();
    let allow = spot.get("allow").map(|found| allow(&found, refer, report)).unwrap_or_default();
    if let (Some(config), Some(allowed), Some(at)) = (config, &allow.configs, spot.get("config"))
        && !allowed.contains(&config)
    {
        report.warning(
            &at,
            "allow.configs does not list this config: requests that name none get 403",
        );
    }
    Some(ApiKey { name: name?, sha256: sha256?, expires, config, metadata, allow })
}

fn api_key_name(spot: &Spot<'_>, report: &mut Report) -> Option<String> {
    let name = values::text(spot, report, "a name")?;
    if name.len() > limits::NAME_BYTES_MAX || name.chars().any(char::is_control) {
        report.expected(spot, &format!("a name of at most {} bytes", limits::NAME_BYTES_MAX));
        return None;
    }
    Some(name.to_owned())
}

fn config_named(spot: &Spot<'_>, refer: &References<'_>, report: &mut Report) -> Option<ConfigId> {
    let name = values::text(spot, report, "the name of a config")?;
    let found = refer.config_ids.get(name).copied();
    if found.is_none() {
        let hint = did_you_mean(name, refer.config_ids.keys().map(String::as_str));
        report.mistake(spot, format!("there is no config {}{hint}", spot.tree.shown()));
    }
    found
}

fn metadata(spot: &Spot<'_>, report: &mut Report) -> Vec<(String, String)> {
    if !report.map(spot) {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    for entry in spot.entries() {
        let Some(value) = values::text(&entry, report, "text") else { continue };
        let most = limits::METADATA_CHARS_MAX;
        if entry.name().chars().count() > most || value.chars().count() > most {
            report.about_key(&entry, format!("a key and its value have at most {most} characters"));
        }
        pairs.push((entry.name().to_owned(), value.to_owned()));
    }
    if pairs.len() > limits::METADATA_PAIRS_MAX {
        report.expected(spot, &format!("at most {} pairs", limits::METADATA_PAIRS_MAX));
    }
    pairs
}

fn allow(spot: &Spot<'_>, refer: &References<'_>, report: &mut Report) -> Allow {
    if !report.keys(spot, ALLOW_KEYS, &[]) {
        return Allow::default();
    }
    Allow {
        configs: spot.get("configs").map(|found| {
            report_list(&found, report);
            found.items().filter_map(|item| config_named(&item, refer, report)).collect()
        }),
        virtual_keys: spot.get("virtual_keys").map(|found| {
            report_list(&found, report);
            found.items().filter_map(|item| virtual_key_named(&item, refer, report)).collect()
        }),
        providers: spot.get("providers").map(|found| providers(&found, report)),
        models: spot.get("models").map(|found| values::texts(&found, report, "model name")),
        inline: spot.get("inline").and_then(|found| values::flag(&found, report)),
    }
}

fn report_list(spot: &Spot<'_>, report: &mut Report) {
    if !matches!(spot.tree.value, Value::List(_)) {
        report.expected(spot, "a list of names in [ ]");
    }
}

fn virtual_key_named(
    spot: &Spot<'_>,
    refer: &References<'_>,
    report: &mut Report,
) -> Option<VirtualKeyId> {
    let name = values::text(spot, report, "the name of a virtual key")?;
    let found = refer.virtual_key_ids.get(name).copied();
    if found.is_none() {
        let hint = did_you_mean(name, refer.virtual_key_ids.keys().map(String::as_str));
        report.mistake(spot, format!("there is no virtual key {}{hint}", spot.tree.shown()));
    }
    found
}

/// Provider names, each in the spelling that its adapter gives itself, so that aliases compare equal.
fn providers(spot: &Spot<'_>, report: &mut Report) -> Vec<String> {
    report_list(spot, report);
    let mut names = Vec::new();
    for item in spot.items() {
        let Some(name) = values::text(&item, report, "a provider") else { continue };
        match provider_by_name(name) {
            Some(provider) => names.push(provider.name().to_owned()),
            None => {
                let hint = did_you_mean(name, provider_names());
                let shown = item.tree.shown();
                report.mistake(&item, format!("there is no provider {shown}{hint}"));
            }
        }
    }
    names
}

/// Keys of a virtual key, besides provider settings.
pub const VIRTUAL_KEY_KEYS: &[&str] =
    &["provider", "api_key", "api_keys", "base_url", "models", "ca", "allow_custom_host"];
/// Keys of a virtual key that a later version will honour.
pub const VIRTUAL_KEY_KEYS_LATER: &[&str] = &["limits", "egress_proxy"];
/// Keys of an API key.
pub const API_KEY_KEYS: &[&str] = &["name", "key_sha256", "expires", "config", "metadata", "allow"];
/// Keys of an API key that a later version will honour.
pub const API_KEY_KEYS_LATER: &[&str] = &["limits"];
/// Keys of `allow`.
pub const ALLOW_KEYS: &[&str] = &["configs", "virtual_keys", "providers", "models", "inline"];
