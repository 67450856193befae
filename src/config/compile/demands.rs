//! What is demanded of a config object as a whole: known keys, and at least one thing to say.

use crate::config::{
    providers::provider_by_name,
    report::{Spot, did_you_mean, wrong},
    tree::Value,
};

use super::{Known, keys, leaf::virtual_key_of_model, node::Compiler, truthy};

impl Compiler<'_, '_> {
    /// In the file, an unknown key is a mistake; a request's are ignored, as Portkey does. What would change the
    /// meaning of a request is refused in both.
    pub fn keys(&mut self, spot: &Spot<'_>) {
        for entry in spot.entries() {
            let key = entry.name();
            if keys::honoured().any(|known| known == key) {
            } else if keys::LATER.contains(&key) {
                self.report.not_yet(&entry);
            } else if let Some((_, effect)) = keys::INERT.iter().find(|(inert, _)| *inert == key) {
                if !entry.tree.is_empty() {
                    self.report.warning(&entry, format!("no effect in this version: {effect}"));
                }
                self.inert(&entry);
            } else if key == "options" && !self.inline {
                let message =
                    "this is the first form of Portkey's configs; write strategy and targets";
                self.report.about_key(&entry, message);
            } else if keys::setting(key).is_none() && !self.inline {
                let known =
                    keys::honoured().chain(keys::SETTINGS.iter().map(|setting| setting.key));
                let hint = did_you_mean(key, known);
                self.report.about_key(&entry, format!("there is no such key{hint}"));
            }
        }
    }

    /// Checks the shape of a key that has no effect.
    fn inert(&mut self, entry: &Spot<'_>) {
        match (entry.name(), &entry.tree.value) {
            (_, Value::Null) if !self.inline => {}
            ("on_status_codes", _) => drop(self.statuses(entry)),
            ("cache", _) => self.cache(entry),
            _ => {}
        }
    }

    fn cache(&mut self, spot: &Spot<'_>) {
        if !self.is_map_of(spot, CACHE_KEYS) {
            return;
        }
        match self.field(spot, "mode") {
            None => self.required(spot, "mode", "write mode: simple"),
            Some(mode) => {
                let found = self.string(&mode, "simple or semantic");
                if found.is_some_and(|mode| !CACHE_MODES.contains(&mode)) {
                    let wire = "Invalid 'cache.mode' value. Must be one of: simple, semantic";
                    let text = wrong("simple or semantic", &mode.tree.shown());
                    self.report.both(&mode, wire, text);
                }
            }
        }
        if let Some(age) = self.field(spot, "max_age") {
            self.number(&age, "a number of seconds; write e.g. 3600");
        }
    }

    /// Portkey's rule that an object must have at least one thing to say.
    pub fn must_name_something(&mut self, spot: &Spot<'_>) {
        if self.says_something(spot) {
            return;
        }
        let text = if spot.get("provider").is_some() {
            "names a provider but no credential; write virtual_key: NAME instead, or add api_key"
        } else {
            "names no provider; write virtual_key: NAME, or strategy and targets"
        };
        self.report.both(spot, NAMES_NOTHING, text.to_owned());
    }

    pub fn says_something(&self, spot: &Spot<'_>) -> bool {
        let has = |key: &str| truthy(spot, key);
        let provider = spot.get("provider");
        let provider_name = provider.as_ref().and_then(|found| match &found.tree.value {
            Value::Text(name) => Some(name.as_str()),
            _ => None,
        });
        let needs_none = provider_name.is_some_and(|name| {
            name.starts_with('@')
                || matches!(name, "ollama" | "triton")
                || provider_by_name(name).is_some_and(|p| p.credential_optional())
        });
        needs_none
            || provider.is_some_and(|found| found.tree.unknown)
            || (provider_name.is_some() && spot.get("api_key").is_some())
            || (spot.get("strategy").is_some() && spot.get("targets").is_some())
            || (!self.inline && (spot.get("strategy").is_some() || spot.get("targets").is_some()))
            || (has("aws_access_key_id") && has("aws_secret_access_key"))
            || (has("vertex_region")
                && (has("vertex_project_id") || has("vertex_service_account_json")))
            || (provider_name == Some("azure-openai") && has("azure_auth_mode"))
            || ["virtual_key", "cache", "retry", "request_timeout", "timeouts"].into_iter().any(has)
            || keys::LATER.iter().chain(keys::GUARDRAILS).any(|key| has(key))
            || (!self.inline && spot.get("options").is_some())
            || names_virtual_key_in_model(spot, self.known)
    }
}

/// Whether `override_params.model` is `@name/model` of a virtual key.
pub fn names_virtual_key_in_model(spot: &Spot<'_>, known: Known<'_>) -> bool {
    let Some(params) = spot.get("override_params") else { return false };
    params.get("model").is_some_and(|model| virtual_key_of_model(&model, known).is_some())
}

const CACHE_KEYS: &[&str] = &["mode", "max_age", "share"];
const CACHE_MODES: [&str; 2] = ["simple", "semantic"];
const NAMES_NOTHING: &str = "Invalid configuration. It must have either 'provider' and 'api_key', \
    or 'strategy' and 'targets', or 'cache', or 'retry', or 'request_timeout'";
