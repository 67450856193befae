//! What a config object hands down to its targets: each level's own settings over those of its parent.

use std::{sync::Arc, time::Duration};

use crate::config::{
    Origin,
    health::{Balance, Breaker, Hedge},
    hosts::{self, INVALID_CUSTOM_HOST},
    policy::{DropPath, Mirror, Part, Retry, TimeoutOverrides},
    report::Spot,
};

use super::{guardrails::HandedGuardrails, node::Compiler};

/// What a level hands down to its targets.
#[derive(Clone, Default)]
pub struct Handed {
    /// Parameters, as raw JSON.
    pub override_params: Vec<(String, String)>,
    /// The same, for where the client sent none.
    pub default_params: Vec<(String, String)>,
    /// What is taken out of the body.
    pub drop_params: Vec<DropPath>,
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
    /// The parts around with a total of their own.
    pub parts: Vec<Part>,
    /// When a second target is asked as well.
    pub hedge: Option<Hedge>,
    /// Where a copy of the request goes.
    pub mirror: Option<Arc<Mirror>>,
    /// `strict_open_ai_compliance`.
    pub strict: Option<bool>,
    /// The circuit breaker of each target.
    pub breaker: Option<Breaker>,
    /// Whether targets are passed over while they are out of quota.
    pub rate_limit_aware: bool,
    /// Whether the strategy just above chooses by health: a conditional one does not.
    pub chosen: bool,
    /// Whether a strategy above chooses by latency or running requests.
    pub measured: bool,
    /// What is checked of requests and answers.
    pub guardrails: HandedGuardrails,
}

impl Handed {
    /// What a strategy hands to its targets.
    pub fn to_targets(&self, balance: &Balance, chosen: bool) -> Handed {
        let measures = match balance {
            Balance::Weight => false,
            Balance::Hash(by) => by.bounded,
            Balance::Latency => true,
        };
        Handed { chosen, measured: self.measured || measures, ..self.clone() }
    }
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
        if let Some(found) = self.field(spot, "default_params") {
            self.default_params(&found, &mut handed);
        }
        if let Some(found) = self.field(spot, "drop_params") {
            self.drop_params(&found, &mut handed);
        }
        let strategy = self.field(spot, "strategy");
        let of_strategy = strategy.as_ref().and_then(|found| self.field(found, "cb_config"));
        if let Some(found) = of_strategy.or_else(|| self.field(spot, "cb_config")) {
            handed.breaker = self.breaker(&found);
        }
        if let Some(aware) = self.flag(spot, "rate_limit_aware") {
            handed.rate_limit_aware = aware;
        }
        if let Some(found) = self.field(spot, "retry") {
            handed.retry = self.retry(&found);
        }
        if let Some(found) = self.field(spot, "request_timeout") {
            handed.request_timeout = self.request_timeout(&found);
        }
        if let Some(found) = self.field(spot, "timeouts") {
            self.deadlines(&found, &mut handed, depth);
        }
        if let Some(found) = self.field(spot, "hedge") {
            handed.hedge = self.hedge(&found);
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
        self.handed_guardrails(spot, &mut handed, depth);
        handed
    }

    /// `timeouts`. The total of the root bounds the exchange; that of another level, all of that level.
    fn deadlines(&mut self, spot: &Spot<'_>, handed: &mut Handed, depth: usize) {
        let parents = handed.timeouts.total.take();
        handed.timeouts = self.timeouts(spot, handed.timeouts);
        match handed.timeouts.total {
            None => handed.timeouts.total = parents,
            Some(total) if depth == 0 => self.total = Some(total),
            Some(total) => {
                handed.parts.push(Part { index: self.parts, total });
                self.parts += 1;
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
