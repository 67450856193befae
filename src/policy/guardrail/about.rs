//! Checks of what is asked and by whom, whatever the text says.

use serde_json::json;

use super::check::{Finding, Subject};
use crate::config::guardrail::{Check, ModelRule, Operator};

pub(super) fn allowed_model(
    check: &Check,
    models: &[String],
    rules: &[ModelRule],
    subject: &Subject<'_>,
) -> Finding {
    if subject.model.is_empty() {
        return Finding::error("Missing model in request");
    }
    let applies = |rule: &&ModelRule| {
        subject.metadata(&rule.key).is_some_and(|value| rule.values.iter().any(|one| one == value))
    };
    let by_rule: Vec<&String> =
        rules.iter().filter(applies).flat_map(|rule| &rule.models).collect();
    let allowed = if by_rule.is_empty() { models.iter().collect() } else { by_rule };
    if allowed.is_empty() {
        return Finding::error("No allowed models resolved from rules");
    }
    let listed = allowed.iter().any(|model| *model == subject.model);
    let verdict = listed != check.not;
    let explanation = match listed {
        true => "The model is in the list.",
        false => "The model is not in the list.",
    };
    Finding::of(
        verdict,
        json!({
            "verdict": verdict, "not": check.not, "explanation": explanation,
            "requestedModel": subject.model, "allowedModels": allowed,
        }),
    )
}

pub(super) fn allowed_type(allowed: &[String], blocked: &[String], asked: &str) -> Finding {
    let is = |list: &[String]| list.iter().any(|one| one == asked);
    let verdict = !is(blocked) && (allowed.is_empty() || is(allowed));
    let mode = match (allowed.is_empty(), blocked.is_empty()) {
        (true, true) => "unrestricted",
        (true, false) => "blocklist",
        (false, true) => "allowlist",
        (false, false) => "combined",
    };
    Finding::of(
        verdict,
        json!({
            "currentRequestType": asked, "allowedTypes": allowed, "blockedTypes": blocked,
            "verdict": verdict, "mode": mode,
        }),
    )
}

pub(super) fn has_metadata(keys: &[String], operator: Operator, subject: &Subject<'_>) -> Finding {
    let (found, missing): (Vec<&String>, Vec<&String>) =
        keys.iter().partition(|key| subject.metadata(key).is_some());
    let verdict = operator.holds(found.len(), missing.len());
    let (outcome, operator) = (if verdict { "passed" } else { "failed" }, operator.as_str());
    Finding::of(
        verdict,
        json!({
            "explanation": format!("Check {outcome} for '{operator}' metadata keys."),
            "missing_metadata_keys": missing,
            "found_metadata_keys": found,
            "operator": operator,
        }),
    )
}
