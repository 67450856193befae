//! What follows from what guardrails found: counts, lines of the record, a refusal.

use std::{rc::Rc, sync::Arc};

use super::Core;
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        units::UnixTime,
    },
    config::guardrail::Guardrail,
    io::net::Net,
    journal::entry::Entry,
    policy::guardrail::{
        CheckResult, GuardrailResult,
        results::{DENIED, results_json},
        stream::Denied,
    },
};

/// Counts a guardrail that ran.
pub fn count<N: Net>(core: &Core<N>, result: &GuardrailResult) {
    let counts = &core.counters.guardrails;
    match (result.verdict(), result.denies()) {
        (true, _) => counts.passed.add(1),
        (false, true) => counts.denied.add(1),
        (false, false) => counts.failed.add(1),
    }
    let errors = result.checks.iter().filter(|check| check.finding.error.is_some()).count();
    counts.errors.add(errors as u64);
}

/// Writes into the record what guardrails found, of this target and side.
pub fn note<N: Net>(
    core: &Core<N>,
    entry: &mut Entry<'_>,
    (target, side): (&str, &str),
    results: &[GuardrailResult],
) {
    for result in results {
        count(core, result);
        entry.guardrails.push(format!("{target} {side} {}", result.in_words()));
    }
}

/// The same for those that nobody waited for.
pub fn note_lines(entry: &mut Entry<'_>, (target, side): (&str, &str), lines: Vec<String>) {
    entry.guardrails.extend(lines.into_iter().map(|line| format!("{target} {side} {line}")));
}

/// The refusal.
pub fn denied(stage: Stage, input: &[GuardrailResult], output: &[GuardrailResult]) -> Fault {
    let results = results_json(input, output).to_string();
    let mut fault = Fault::new(stage, Source::Gateway, Kind::Guardrail, DENIED);
    fault.hook_results = Some(results.into_boxed_str());
    fault
}

/// A guardrail that denied what was said so far.
pub fn early_result(denied: Denied, created: UnixTime) -> GuardrailResult {
    let check =
        CheckResult { check: denied.check, finding: denied.finding, took_millis: 0, created };
    GuardrailResult { guardrail: denied.guardrail, checks: vec![check], took_millis: 0, created }
}

/// Whether these guardrails have something to do for an answer that is judged.
pub fn any_waited(guardrails: &[Arc<Guardrail>]) -> bool {
    guardrails.iter().any(|guardrail| !guardrail.background)
}

/// The target of the attempt under way.
pub fn target_of(entry: &Entry<'_>) -> Rc<str> {
    entry.attempts.last().map_or_else(|| Rc::from("config"), |attempt| Rc::clone(&attempt.target))
}
