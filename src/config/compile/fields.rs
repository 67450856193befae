//! Readers of a config object's fields. A wrong type is told in the words of Portkey's schema to a request, and
//! in plain ones with advice to whoever wrote the file.

use std::time::Duration;

use serde_json::Number;

use crate::{
    base::limits,
    config::{
        policy::{RETRY_CODES_DEFAULT, Retry, TimeoutOverrides},
        report::{Spot, a_map, wrong},
        tree::Value,
        values,
    },
};

use super::node::Compiler;

impl Compiler<'_, '_> {
    /// The value of a key. In the file, null is the same as absent; Portkey's schema refuses it.
    pub fn field<'s>(&self, spot: &'s Spot<'s>, key: &str) -> Option<Spot<'s>> {
        if self.inline { spot.get_or_null(key) } else { spot.get(key) }
    }

    /// Notes a wrong type, which also means that nothing more is demanded of the object around it.
    fn wrong_type(&mut self, spot: &Spot<'_>, json_type: &str, what: &str, found: &str) {
        self.type_errors += 1;
        let wire = format!("Expected {json_type}, received {}", spot.tree.json_type());
        self.report.both(spot, &wire, wrong(what, found));
    }

    /// Text.
    pub fn string<'s>(&mut self, spot: &Spot<'s>, what: &str) -> Option<&'s str> {
        match &spot.tree.value {
            Value::Text(text) => Some(text),
            _ => {
                self.wrong_type(spot, "string", what, &spot.tree.shown());
                None
            }
        }
    }

    /// Text that is never shown.
    pub fn secret<'s>(&mut self, spot: &Spot<'s>) -> Option<&'s str> {
        match &spot.tree.value {
            Value::Text(text) => Some(text),
            _ => {
                self.wrong_type(spot, "string", "text; put it in quotes", spot.tree.kind());
                None
            }
        }
    }

    /// A number.
    pub fn number<'s>(&mut self, spot: &Spot<'s>, what: &str) -> Option<&'s Number> {
        match &spot.tree.value {
            Value::Number(number) => Some(number),
            _ => {
                self.wrong_type(spot, "number", what, &spot.tree.shown());
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&mut self, spot: &Spot<'_>) -> Option<bool> {
        match spot.tree.value {
            Value::Bool(truth) => Some(truth),
            _ => {
                self.wrong_type(spot, "boolean", "true or false", &spot.tree.shown());
                None
            }
        }
    }

    /// Whether this is a list.
    pub fn is_list(&mut self, spot: &Spot<'_>, what: &str) -> bool {
        let fine = matches!(spot.tree.value, Value::List(_));
        if !fine {
            self.wrong_type(spot, "array", what, &spot.tree.shown());
        }
        fine
    }

    /// Whether this is a map.
    pub fn is_map(&mut self, spot: &Spot<'_>) -> bool {
        let fine = matches!(spot.tree.value, Value::Map(_));
        if !fine {
            self.wrong_type(spot, "object", &a_map(spot), &spot.tree.shown());
        }
        fine
    }

    /// The same; in the file its keys are checked too.
    pub fn is_map_of(&mut self, spot: &Spot<'_>, known: &[&str]) -> bool {
        let fine = self.is_map(spot);
        if fine && !self.inline {
            self.report.keys(spot, known, &[]);
        }
        fine
    }

    /// Notes that a key is missing.
    pub fn required(&mut self, spot: &Spot<'_>, key: &str, what: &str) {
        self.type_errors += 1;
        self.report.missing(spot, key, what);
    }

    /// A list of HTTP statuses.
    pub fn statuses(&mut self, spot: &Spot<'_>) -> Vec<u16> {
        const WHAT: &str = "an HTTP status from 100 to 599; write e.g. 429";
        if !self.is_list(spot, "a list of HTTP statuses; write e.g. [429, 503]") {
            return Vec::new();
        }
        let mut statuses = Vec::new();
        for item in spot.items() {
            let Some(number) = self.number(&item, WHAT) else { continue };
            match number.as_u64().and_then(|n| u16::try_from(n).ok()) {
                Some(status @ 100..=599) if !statuses.contains(&status) => statuses.push(status),
                Some(100..=599) => {}
                _ => self.report.expected(&item, WHAT),
            }
        }
        statuses
    }

    /// `retry`, which replaces a parent's as a whole.
    pub fn retry(&mut self, spot: &Spot<'_>) -> Option<Retry> {
        if !self.is_map_of(spot, RETRY_KEYS) {
            return None;
        }
        let attempts = match self.field(spot, "attempts") {
            Some(found) => self.attempts(&found),
            None => {
                self.required(
                    spot,
                    "attempts",
                    "write the number of extra tries, e.g. attempts: 2",
                );
                0
            }
        };
        let on_status_codes = match self.field(spot, "on_status_codes") {
            Some(found) => self.statuses(&found),
            None => RETRY_CODES_DEFAULT.to_vec(),
        };
        let singular = self.flag(spot, "use_retry_after_header").unwrap_or(false);
        let plural = self.flag(spot, "use_retry_after_headers").unwrap_or(false);
        let jitter = self.flag(spot, "jitter").unwrap_or(true);
        Some(Retry { attempts, on_status_codes, use_retry_after: singular || plural, jitter })
    }

    fn attempts(&mut self, spot: &Spot<'_>) -> u32 {
        const WHAT: &str = "a number of extra tries from 0 to 10; write e.g. 2";
        let Some(number) = self.number(spot, WHAT) else { return 0 };
        let most = limits::RETRY_ATTEMPTS_MAX;
        if self.inline {
            let clamped = number.as_f64().unwrap_or(0.0).clamp(0.0, f64::from(most));
            return (0..=most).rev().find(|&n| f64::from(n) <= clamped).unwrap_or(0);
        }
        match number.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|&n| n <= most) {
            Some(attempts) => attempts,
            None => {
                self.report.expected(spot, WHAT);
                0
            }
        }
    }

    /// An optional true or false.
    pub fn flag(&mut self, spot: &Spot<'_>, key: &str) -> Option<bool> {
        let found = self.field(spot, key)?;
        self.boolean(&found)
    }

    /// `request_timeout`, in milliseconds; 0 is none.
    pub fn request_timeout(&mut self, spot: &Spot<'_>) -> Option<Duration> {
        const WHAT: &str = "a number of milliseconds of 0 or more; write e.g. 10000";
        let millis = self.number(spot, WHAT)?.as_f64().unwrap_or(-1.0);
        if millis < 0.0 || millis > limits::TIMEOUT_MAX.as_secs_f64() * 1000.0 {
            self.report.expected(spot, WHAT);
            return None;
        }
        (millis > 0.0).then(|| Duration::from_secs_f64(millis / 1000.0))
    }

    /// `timeouts`, on top of what a parent set.
    pub fn timeouts(&mut self, spot: &Spot<'_>, handed: TimeoutOverrides) -> TimeoutOverrides {
        let mut timeouts = handed;
        if !self.is_map_of(spot, TIMEOUT_KEYS) {
            return timeouts;
        }
        for (key, slot) in [
            ("connect", &mut timeouts.connect),
            ("first_byte", &mut timeouts.first_byte),
            ("first_token", &mut timeouts.first_token),
            ("idle", &mut timeouts.idle),
            ("total", &mut timeouts.total),
        ] {
            let Some(found) = self.field(spot, key) else { continue };
            let least = Duration::from_millis(1);
            if let Some(set) = values::duration(&found, self.report, least, limits::TIMEOUT_MAX) {
                *slot = Some(set);
            }
        }
        timeouts
    }

    /// `weight`: 1 if not given.
    pub fn weight(&mut self, spot: &Spot<'_>) -> f64 {
        const WHAT: &str = "a number of 0 or more; write e.g. 0.5";
        let Some(found) = self.field(spot, "weight") else { return 1.0 };
        let Some(number) = self.number(&found, WHAT) else { return 1.0 };
        let weight = number.as_f64().unwrap_or(-1.0);
        if !(0.0..=limits::WEIGHT_MAX).contains(&weight) {
            let wire = "Number must be greater than or equal to 0";
            self.report.both(&found, wire, wrong(WHAT, &found.tree.shown()));
            return 1.0;
        }
        weight
    }

    /// `forward_headers`, in lower case.
    pub fn forward_headers(&mut self, spot: &Spot<'_>) -> Option<Vec<String>> {
        if !self.is_list(spot, "a list of header names; write e.g. [x-request-id]") {
            return None;
        }
        let mut headers = Vec::new();
        for item in spot.items() {
            let Some(name) = self.string(&item, "the name of a header") else { continue };
            let name = name.trim().to_ascii_lowercase();
            if FORWARDS_ITSELF_NAMES.contains(&name.as_str()) {
                self.forwards_itself = true;
            } else if !is_header_name(&name) || headers.len() >= limits::FORWARD_HEADERS_MAX {
                self.report.expected(&item, "the name of a header, at most 64 of them");
            } else if NEVER_FORWARDED.contains(&name.as_str()) {
                self.report.mistake(&item, format!("{name} is never passed on; remove it"));
            } else if !headers.contains(&name) {
                headers.push(name);
            }
        }
        Some(headers)
    }
}

/// Whether a text can be the name of a header.
fn is_header_name(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= limits::HEADER_NAME_BYTES_MAX && name.bytes().all(token)
}

const RETRY_KEYS: &[&str] =
    &["attempts", "on_status_codes", "use_retry_after_header", "use_retry_after_headers", "jitter"];
const TIMEOUT_KEYS: &[&str] = &["connect", "first_byte", "first_token", "idle", "total"];
const FORWARDS_ITSELF_NAMES: [&str; 2] =
    ["x-portkey-forward-headers", "x-trunkline-forward-headers"];
/// Framing, routing and hop-by-hop headers belong to one connection.
const NEVER_FORWARDED: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
];
