//! What guardrails found, in the shape of Portkey's `hook_results`, and in the few words of the record.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::check::{Finding, QUOTES};
use crate::{
    base::units::UnixTime,
    config::guardrail::{Feedback, Guardrail, GuardrailKind},
};

/// What one check found.
#[derive(Clone, Debug, Default)]
pub struct CheckResult {
    /// Its index in its guardrail.
    pub check: usize,
    /// What it found.
    pub finding: Finding,
    /// How long it took.
    pub took_millis: u64,
    /// When it began.
    pub created: UnixTime,
}

/// What one guardrail found.
#[derive(Clone, Debug)]
pub struct GuardrailResult {
    /// The guardrail.
    pub guardrail: Arc<Guardrail>,
    /// Its checks, in order.
    pub checks: Vec<CheckResult>,
    /// How long it took.
    pub took_millis: u64,
    /// When it began.
    pub created: UnixTime,
}

impl GuardrailResult {
    /// Whether it holds. What only rewrites always does.
    #[must_use]
    pub fn verdict(&self) -> bool {
        self.guardrail.kind == GuardrailKind::Mutator
            || self.checks.iter().all(|one| self.passes(one))
    }

    /// Whether it refuses.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.guardrail.deny && !self.guardrail.background && !self.verdict()
    }

    /// Whether it makes a 246 of a 200.
    #[must_use]
    pub fn fails(&self) -> bool {
        !self.guardrail.background && !self.verdict()
    }

    /// Whether a check of it could not be made.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.checks.iter().any(|one| one.finding.error.is_some())
    }

    fn passes(&self, result: &CheckResult) -> bool {
        result.finding.passes(self.fail_on_error(result))
    }

    fn fail_on_error(&self, result: &CheckResult) -> bool {
        self.guardrail.checks.get(result.check).is_some_and(|check| check.fail_on_error)
    }

    fn id(&self, result: &CheckResult) -> &str {
        self.guardrail.checks.get(result.check).map_or("", |check| &check.id)
    }

    fn ids(&self, wanted: impl Fn(&CheckResult) -> bool) -> String {
        let ids: Vec<&str> =
            self.checks.iter().filter(|one| wanted(one)).map(|one| self.id(one)).collect();
        ids.join(", ")
    }

    /// For the record: the name, the outcome, and the checks that did not pass.
    #[must_use]
    pub fn in_words(&self) -> String {
        let outcome = match (self.verdict(), self.denies()) {
            (true, _) if self.has_error() => "passed with errors",
            (true, _) => "passed",
            (false, true) => "denied",
            (false, false) => "failed",
        };
        let id = &self.guardrail.id;
        let background = if self.guardrail.background { " (async)" } else { "" };
        let ids = self.ids(|one| !one.finding.verdict);
        match ids.is_empty() {
            true => format!("{id}{background} {outcome}"),
            false => format!("{id}{background} {outcome}: {ids}"),
        }
    }

    /// `may_quote`: whether it may show what was judged.
    fn json(&self, may_quote: bool) -> Value {
        let checks: Vec<Value> =
            self.checks.iter().map(|one| self.check_json(one, may_quote)).collect();
        json!({
            "verdict": self.verdict(),
            "id": self.guardrail.id,
            "transformed": self.checks.iter().any(|one| one.finding.transformed),
            "checks": checks,
            "feedback": self.feedback(),
            "execution_time": self.took_millis,
            "async": self.guardrail.background,
            "type": self.guardrail.kind.as_str(),
            "created_at": rfc3339(self.created),
            "deny": self.denies(),
        })
    }

    fn check_json(&self, result: &CheckResult, may_quote: bool) -> Value {
        let finding = &result.finding;
        let mut data = finding.data.clone();
        if let (Value::Object(map), false) = (&mut data, may_quote) {
            QUOTES.iter().for_each(|key| drop(map.shift_remove(*key)));
        }
        let mut json = json!({
            "data": data,
            "verdict": finding.verdict,
            "id": self.id(result),
        });
        if let Some(error) = &finding.error {
            json["error"] = json!({ "name": "Error", "message": error });
        }
        json["execution_time"] = result.took_millis.into();
        json["transformed"] = finding.transformed.into();
        json["created_at"] = rfc3339(result.created).into();
        json["log"] = Value::Null;
        json["fail_on_error"] = self.fail_on_error(result).into();
        json
    }

    fn feedback(&self) -> Value {
        let wanted =
            if self.verdict() { &self.guardrail.on_success } else { &self.guardrail.on_fail };
        let Some(Feedback { value, weight, metadata }) = wanted else { return Value::Null };
        let raw = |text: &String| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut all: Map<String, Value> =
            metadata.iter().map(|(name, text)| (name.clone(), raw(text))).collect();
        let errored = |one: &CheckResult| one.finding.error.is_some();
        let failed = |one: &CheckResult| !one.finding.verdict && !errored(one);
        all.insert("successfulChecks".into(), self.ids(|one| one.finding.verdict).into());
        all.insert("failedChecks".into(), self.ids(failed).into());
        all.insert("erroredChecks".into(), self.ids(errored).into());
        json!({
            "value": value.as_ref().map(raw),
            "weight": weight.as_ref().map(raw),
            "metadata": all,
        })
    }
}

/// The value of `hook_results`. What a denied answer holds is not quoted: it would be told after all.
#[must_use]
pub fn results_json(input: &[GuardrailResult], output: &[GuardrailResult]) -> Value {
    let denied = output.iter().any(GuardrailResult::denies);
    let list = |results: &[GuardrailResult], may_quote: bool| {
        results.iter().map(|result| result.json(may_quote)).collect::<Vec<_>>()
    };
    json!({
        "before_request_hooks": list(input, true),
        "after_request_hooks": list(output, !denied),
    })
}

/// One side of it alone, for an event of a stream.
#[must_use]
pub fn side_json(name: &str, results: &[GuardrailResult]) -> Value {
    let may_quote = !results.iter().any(GuardrailResult::denies);
    let list: Vec<Value> = results.iter().map(|result| result.json(may_quote)).collect();
    json!({ "hook_results": { name: list } })
}

/// To the millisecond, as JavaScript writes it.
fn rfc3339(at: UnixTime) -> String {
    let nanos = i128::from(at.nanos / 1_000_000 * 1_000_000);
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// The answer of a refusal.
pub const DENIED: &str = "The guardrail checks defined in the config failed. You can find more information in the `hook_results` object.";
