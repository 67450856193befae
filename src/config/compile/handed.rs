//! What a config object hands down to its targets: each level's own settings over those of its parent.

use std::time::Duration;

use crate::config::{
    Origin,
    hosts::{self, INVALID_CUSTOM_HOST},
    policy::{Retry, TimeoutOverrides},
    report::Spot,
};

use super::{leaf::virtual_key_of_model, node::Compiler};

/// What a level hands down to its targets.
#[derive(Clone, Default)]
pub struct Handed {
    /// Parameters, as raw JSON.
    pub override_params: Vec<(String, String)>,
    /// The virtual key that `override_params.model` names.
    pub model_key: Option<String>,
    /// Client headers passed on.
    pub forward_headers: Option<Vec<String>>,
    /// Where to go.
    pub custom_host: Option<Host>,
    /// Bound on a try.
    pub request_timeout: Option<Duration>,
    /// Retries.
    pub retry: Option<Retry>,
    /// Deadlines.
    pub timeouts: TimeoutOverrides,
    /// `strict_open_ai_compliance`.
    pub strict: Option<bool>,
}

/// A custom host.
#[derive(Clone)]
pub struct Host {
    /// Where to go.
    pub origin: Origin,
    /// Anyone may name it; otherwise only a virtual key that allows it.
    pub checked: bool,
    /// Its addresses need not pass the guard.
    pub trusted: bool,
}

impl Compiler<'_, '_> {
    /// What this level hands down: its own settings over those of its parent.
    pub fn handed(&mut self, spot: &Spot<'_>, parent: &Handed, depth: usize) -> Handed {
        let mut handed = parent.clone();
        if let Some(found) = self.field(spot, "override_params") {
            self.override_params(&found, &mut handed);
        }
        if let Some(found) = self.field(spot, "retry") {
            handed.retry = self.retry(&found);
        }
        if let Some(found) = self.field(spot, "request_timeout") {
            handed.request_timeout = self.request_timeout(&found);
        }
        if let Some(found) = self.field(spot, "timeouts") {
            handed.timeouts = self.timeouts(&found, handed.timeouts);
            if let (true, Some(total)) = (depth > 0, self.field(&found, "total")) {
                let message = "total bounds the whole exchange; write it at the top of the config";
                self.report.about_key(&total, message);
            }
        }
        if let Some(found) = self.field(spot, "custom_host") {
            handed.custom_host = self.custom_host(&found, spot);
        }
        if let Some(found) = self.field(spot, "forward_headers") {
            handed.forward_headers = self.forward_headers(&found);
        }
        if let Some(strict) = self.flag(spot, "strict_open_ai_compliance") {
            handed.strict = Some(strict);
        }
        handed
    }

    /// Parameters, merged into the parent's key by key.
    fn override_params(&mut self, spot: &Spot<'_>, handed: &mut Handed) {
        if !self.is_map(spot) {
            return;
        }
        if !self.inline {
            self.report.map(spot);
        }
        for entry in spot.entries() {
            let mut value = entry.tree.to_json();
            if entry.name() == "model"
                && let Some((key, model)) = virtual_key_of_model(&entry, self.known)
            {
                handed.model_key = Some(key.to_owned());
                value = serde_json::Value::String(model.to_owned());
            } else if entry.name() == "model" {
                handed.model_key = None;
            }
            let raw = value.to_string();
            match handed.override_params.iter_mut().find(|(name, _)| name == entry.name()) {
                Some((_, slot)) => *slot = raw,
                None => handed.override_params.push((entry.name().to_owned(), raw)),
            }
        }
    }

    /// A host to go to instead of the provider's. A request may only name hosts that pass the guard, or that a
    /// virtual key allows: then only that key's targets may go there.
    fn custom_host(&mut self, spot: &Spot<'_>, object: &Spot<'_>) -> Option<Host> {
        let url = self.string(spot, "a URL; write e.g. https://host/v1")?;
        let origin = match hosts::parse_origin(url) {
            Ok(origin) => origin,
            Err(reason) if self.inline => {
                self.report.both(object, INVALID_CUSTOM_HOST, reason.to_owned());
                return None;
            }
            Err(reason) => {
                // The URL may carry a password: it is not shown.
                self.report.mistake(spot, reason);
                return None;
            }
        };
        let (rules, open) = (self.known.custom_hosts, self.known.open_on_loopback);
        let checked = !self.inline || hosts::check_custom_host(url, rules, open).is_ok();
        if !checked && !self.known.virtual_keys.iter().any(|key| key.may_go_to(&origin)) {
            self.report.both(object, INVALID_CUSTOM_HOST, INVALID_CUSTOM_HOST.to_owned());
            return None;
        }
        let trusted = !self.inline || hosts::is_trusted(&origin.host, rules, open);
        Some(Host { origin, checked, trusted })
    }
}
