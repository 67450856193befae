//! Compiles what a config says of the health of its targets: circuit breakers, how a balance chooses, and what has to
//! be watched for it.

use std::time::Duration;

use serde_json::Number;
use sha2::{Digest, Sha256};

use crate::{
    base::limits,
    config::{
        VirtualKey,
        condition::Fact,
        health::{Balance, Breaker, HashBy, HashField, Watch, Watched},
        policy::Leaf,
        report::{Spot, wrong},
    },
};

use super::{handed::Handed, node::Compiler};

impl Compiler<'_, '_> {
    /// `cb_config`: a breaker, or none where it is empty.
    pub fn breaker(&mut self, spot: &Spot<'_>) -> Option<Breaker> {
        if !self.is_map_of(spot, BREAKER_KEYS) || spot.tree.is_empty() {
            return None;
        }
        let count = |most: u64| (1.0, most as f64);
        let most = u64::from(limits::BREAKER_REQUESTS_MAX);
        let failures = self.bounded(spot, "failure_threshold", count(most), "5");
        let percentage = self.bounded(spot, "failure_threshold_percentage", (0.001, 100.0), "20");
        let minimum = self.bounded(spot, "minimum_requests", count(most), "10");
        let (least, longest) = (limits::BREAKER_COOLDOWN_MIN, limits::TIMEOUT_MAX);
        let bounds = (least.as_millis() as f64, longest.as_millis() as f64);
        let cooldown = self.bounded(spot, "cooldown_interval", bounds, "30000 (milliseconds)");
        let codes = self.field(spot, "failure_status_codes").map(|found| self.statuses(&found));
        if ["failure_threshold", "failure_threshold_percentage"]
            .iter()
            .all(|key| self.field(spot, key).is_none())
        {
            self.required(spot, "failure_threshold", "write e.g. failure_threshold: 5");
            return None;
        }
        Some(Breaker {
            failure_threshold: failures.map(whole),
            failure_percentage: percentage,
            minimum_requests: minimum.map_or(limits::BREAKER_REQUESTS_MIN, whole),
            cooldown: cooldown.map_or(least, |millis| Duration::from_secs_f64(millis / 1000.0)),
            failure_status_codes: codes,
        })
    }

    /// A number within bounds.
    pub fn bounded(
        &mut self,
        spot: &Spot<'_>,
        key: &str,
        (least, most): (f64, f64),
        example: &str,
    ) -> Option<f64> {
        let found = self.field(spot, key)?;
        let what = format!("a number from {least} to {most}; write e.g. {example}");
        let value = self.number(&found, &what).and_then(Number::as_f64)?;
        if !(least..=most).contains(&value) {
            let text = wrong(&what, &found.tree.shown());
            self.report.both(&found, &format!("Number must be from {least} to {most}"), text);
            return None;
        }
        Some(value)
    }

    /// How a balance chooses: by weight, unless the config says more.
    pub fn balance(&mut self, spot: &Spot<'_>, strategy: &Spot<'_>, latency: bool) -> Balance {
        let sticky = self.field(strategy, "sticky").and_then(|found| self.sticky(&found));
        let affinity = self.field(spot, "affinity");
        let by_affinity = affinity.as_ref().and_then(|found| self.affinity(found));
        match (sticky, by_affinity, affinity) {
            (sticky, _, Some(at)) if latency || sticky.is_some() => {
                self.report.about_key(&at, "stands beside another way to choose; keep one");
                Balance::Weight
            }
            (Some(_), _, _) if latency => {
                let at = strategy.get("sticky").unwrap_or(*strategy);
                self.report.about_key(&at, "mode latency chooses anew each time; keep one");
                Balance::Weight
            }
            _ if latency => Balance::Latency,
            (sticky, affinity, _) => match sticky.or(affinity) {
                Some(by) => Balance::Hash(by),
                None => Balance::Weight,
            },
        }
    }

    /// `strategy.sticky`, if it is enabled.
    fn sticky(&mut self, spot: &Spot<'_>) -> Option<HashBy> {
        if !self.is_map_of(spot, STICKY_KEYS) || !self.flag(spot, "enabled").unwrap_or(false) {
            return None;
        }
        let most = limits::TIMEOUT_MAX.as_secs_f64() * 365.0;
        self.bounded(spot, "ttl", (1.0, most), "3600 (seconds)");
        let fields = match self.field(spot, "hash_fields") {
            Some(found) => self.hash_fields(&found),
            None => {
                self.required(spot, "hash_fields", "write e.g. [metadata.user_id]");
                Vec::new()
            }
        };
        let bytes_max = limits::HASH_BYTES_DEFAULT;
        (!fields.is_empty()).then_some(HashBy { fields, bytes_max, bounded: false })
    }

    fn affinity(&mut self, spot: &Spot<'_>) -> Option<HashBy> {
        if !self.is_map_of(spot, AFFINITY_KEYS) {
            return None;
        }
        let fields = match self.field(spot, "fields") {
            Some(found) => self.hash_fields(&found),
            None => vec![HashField::Conversation],
        };
        let bounds = (16.0, limits::HASH_BYTES_MAX as f64);
        let bytes = self.bounded(spot, "prefix_bytes", bounds, "4096");
        let bytes_max = bytes.map_or(limits::HASH_BYTES_DEFAULT, |bytes| whole(bytes) as usize);
        (!fields.is_empty()).then_some(HashBy { fields, bytes_max, bounded: true })
    }

    fn hash_fields(&mut self, spot: &Spot<'_>) -> Vec<HashField> {
        const WHAT: &str = "metadata.NAME, params.NAME, url.pathname or conversation; write e.g. \
                            metadata.user_id";
        if !self.is_list(spot, "a list of fields; write e.g. [metadata.user_id]") {
            return Vec::new();
        }
        let mut fields = Vec::new();
        for item in spot.items() {
            let Some(text) = self.string(&item, WHAT) else { continue };
            match hash_field(text) {
                Some(field) if fields.len() < limits::HASH_FIELDS_MAX => fields.push(field),
                _ => self.report.both(&item, "Invalid field", wrong(WHAT, &item.tree.shown())),
            }
        }
        if spot.items().next().is_none() {
            self.report.expected(spot, "at least one field; write e.g. [metadata.user_id]");
        }
        fields
    }

    /// Tells of health settings that no choice of this strategy, or none at all, ever asks.
    pub fn warn_of_idle_health(&mut self, spot: &Spot<'_>, why: &str) {
        let strategy = spot.get("strategy");
        let inner = strategy.as_ref().and_then(|found| found.get("cb_config"));
        let outer = ["cb_config", "rate_limit_aware"].into_iter().filter_map(|key| spot.get(key));
        for entry in outer.chain(inner).filter(|entry| !entry.tree.is_empty()) {
            self.report.warning(&entry, format!("no effect: {why}"));
        }
    }

    /// `affinity` where no balance is that could follow it.
    pub fn refuse_affinity(&mut self, spot: &Spot<'_>) {
        if let Some(found) = self.field(spot, "affinity").filter(|found| !found.tree.is_empty()) {
            self.report.about_key(&found, "belongs beside strategy: { mode: loadbalance }");
        }
    }

    /// What of a target's health is asked for, noted in the policy's list.
    pub fn watch(
        &mut self,
        leaf: &Leaf,
        key: Option<&VirtualKey>,
        path: &str,
        handed: &Handed,
    ) -> Option<Watch> {
        let breaker = handed.breaker.clone().filter(|_| handed.chosen);
        let rate_limit_aware = handed.rate_limit_aware && handed.chosen;
        let hedge = handed.hedge;
        if breaker.is_none() && !rate_limit_aware && !handed.measured && hedge.is_none() {
            return None;
        }
        let mut hash = Sha256::new();
        let model = leaf.override_params.iter().find(|(name, _)| name == "model");
        for part in [
            self.scope.as_str(),
            path,
            key.map_or("", |key| &key.name),
            leaf.provider.map_or("", |provider| provider.name()),
            leaf.custom_host.as_ref().map_or("", |host| &host.authority),
            model.map_or("", |(_, raw)| raw),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let number = digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let key = match self.inline {
            true => number | Watched::INLINE,
            false => number & !Watched::INLINE,
        };
        let index = self.watched.len();
        let (path, measured) = (path.to_owned(), handed.measured);
        self.watched.push(Watched { key, path, measured });
        Some(Watch { index, breaker, rate_limit_aware, hedge })
    }
}

fn hash_field(text: &str) -> Option<HashField> {
    Some(match text.split_once('.') {
        None if text == "conversation" => HashField::Conversation,
        Some(("url", "pathname")) => HashField::Fact(Fact::Pathname),
        Some(("metadata", name)) if !name.is_empty() => {
            HashField::Fact(Fact::Metadata(name.to_owned()))
        }
        Some(("params", name)) if !name.is_empty() => HashField::Fact(Fact::Param(name.to_owned())),
        _ => return None,
    })
}

/// A number that is within bounds, rounded down.
fn whole(number: f64) -> u32 {
    number as u32
}

const BREAKER_KEYS: &[&str] = &[
    "failure_threshold",
    "failure_threshold_percentage",
    "minimum_requests",
    "cooldown_interval",
    "failure_status_codes",
];
const STICKY_KEYS: &[&str] = &["enabled", "hash_fields", "ttl"];
const AFFINITY_KEYS: &[&str] = &["fields", "prefix_bytes"];
