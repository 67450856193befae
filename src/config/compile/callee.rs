//! Compiles the hosts that checks call: a request may only name those that it could also name as a custom host.

use std::time::Duration;

use crate::{
    base::{limits, secret::Secret},
    config::{
        guardrail::Callee,
        hosts::{self, INVALID_CUSTOM_HOST},
        report::Spot,
        tree::Value,
    },
};

use super::node::Compiler;

impl Compiler<'_, '_> {
    /// The URL under `key`, `headers` and `timeout`.
    pub fn callee(&mut self, spot: &Spot<'_>, key: &str, judges: bool) -> Option<Callee> {
        let advice = format!("write e.g. {key}: https://guard.example.com/check");
        let Some(found) = self.field(spot, key) else {
            self.required(spot, key, &advice);
            return None;
        };
        let url = self.string(&found, &format!("a URL; {advice}"))?;
        // The query may hold a token: it is not shown.
        let (base, query) = url.split_once('?').map_or((url, ""), |(base, query)| (base, query));
        let origin = match hosts::parse_origin(base) {
            Ok(origin) => origin,
            Err(reason) => {
                self.report.both(&found, INVALID_CUSTOM_HOST, reason.to_owned());
                return None;
            }
        };
        let (rules, open) = (self.known.custom_hosts, self.known.open_on_loopback);
        if self.inline && hosts::check_custom_host(base, rules, open).is_err() {
            self.report.both(&found, INVALID_CUSTOM_HOST, INVALID_CUSTOM_HOST.to_owned());
            return None;
        }
        if !query.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            self.report.mistake(&found, "the query of the URL holds what no URL may");
            return None;
        }
        let headers = match self.field(spot, "headers") {
            Some(headers) => self.call_headers(&headers)?,
            None => Vec::new(),
        };
        Some(Callee {
            judges,
            target: target(base, query),
            origin,
            headers,
            timeout: self.call_timeout(spot)?,
            guarded: self.inline,
        })
    }

    fn call_timeout(&mut self, spot: &Spot<'_>) -> Option<Duration> {
        let default = u64::try_from(limits::WEBHOOK_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let millis = self.whole(spot, "timeout", default)?;
        let timeout = Duration::from_millis(millis);
        if timeout.is_zero() || timeout > limits::WEBHOOK_WITHIN_MAX {
            let most = limits::WEBHOOK_WITHIN_MAX.as_millis();
            let found = self.field(spot, "timeout")?;
            let text = format!("a number of milliseconds from 1 to {most}; write e.g. 3000");
            self.report.expected(&found, &text);
            return None;
        }
        Some(timeout)
    }

    /// A map, or Portkey's JSON text of one.
    fn call_headers(&mut self, spot: &Spot<'_>) -> Option<Vec<(String, Secret)>> {
        const WHAT: &str = "a map of header names and texts; write e.g. { x-token: \"${TOKEN}\" }";
        let written: Vec<(String, String)> = match &spot.tree.value {
            Value::Map(_) => {
                let mut pairs = Vec::new();
                for entry in spot.entries() {
                    pairs.push((entry.name().to_owned(), self.secret(&entry)?.to_owned()));
                }
                pairs
            }
            Value::Text(text) => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(serde_json::Value::Object(map)) => {
                    let text = |value: serde_json::Value| value.as_str().map(str::to_owned);
                    map.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
                }
                _ => {
                    self.report.expected_secret(spot, WHAT);
                    return None;
                }
            },
            _ => {
                self.report.expected_secret(spot, WHAT);
                return None;
            }
        };
        if written.len() > limits::WEBHOOK_HEADERS_MAX {
            let most = limits::WEBHOOK_HEADERS_MAX;
            self.report.mistake(spot, format!("a check sends at most {most} headers"));
            return None;
        }
        for (name, value) in &written {
            if !is_name(name) || KEPT.contains(&name.to_ascii_lowercase().as_str()) {
                let text = format!("a call may not send the header {}", name.escape_debug());
                self.report.mistake(spot, text);
                return None;
            }
            if value.bytes().any(|b| b.is_ascii_control()) {
                let text = format!("{name} holds a control character; no header may carry it");
                self.report.mistake(spot, text);
                return None;
            }
        }
        Some(written.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    }
}

/// Path and query as written: unlike a base URL, a webhook may end in a slash.
fn target(base: &str, query: &str) -> String {
    let path = url::Url::parse(base).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned());
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

fn is_name(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= limits::HEADER_NAME_BYTES_MAX && name.bytes().all(token)
}

/// What belongs to the message itself.
const KEPT: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "expect",
    "te",
    "trailer",
    "upgrade",
    "accept-encoding",
];
