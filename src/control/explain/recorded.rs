//! What went on around the tries of a logged exchange: the hedge, the mirror and the guardrails of its targets, by the
//! configuration that it ran on, with what its record says came of them.

use std::sync::Arc;

use crate::{
    config::{
        guardrail::Guardrail,
        policy::{Leaf, Mirror},
        recall::Lead,
    },
    policy::{ahead::Ahead, balance},
    serve::{
        around::{Around, ToldGuardrail, ToldHedge, ToldMirror, then},
        route::{Route, route},
    },
    wire::{head::Method, record::Record},
};

/// Of one target.
pub fn around(ahead: &Ahead<'_>, leads: &[(String, Lead)], record: &Record) -> Around {
    let leaf = ahead.leaf.leaf;
    let guardrails = guardrails(ahead.leaf.path, leaf, record);
    let denies = guardrails.iter().any(|told| told.side == INPUT && told.found.starts_with(DENIED));
    let mirror = leaf.mirror.as_deref().map(|mirror| ToldMirror {
        path: mirror.path.clone(),
        lead: lead(mirror, leads),
        sample: mirror.sample,
        drawn: balance::is_drawn(record.seed, &mirror.path, mirror.sample),
        why_not: why_not_copied(ahead, record, denies),
    });
    Around { hedge: hedge(ahead), mirror, guardrails, denied: denies.then(|| then(&ahead.denied)) }
}

/// Whether there was one is told by the attempts.
fn hedge(ahead: &Ahead<'_>) -> Option<ToldHedge> {
    let hedge = ahead.leaf.leaf.watch.as_ref()?.hedge?;
    let beside = ahead.beside?.path.to_owned();
    Some(ToldHedge { after: hedge.after, max_ratio: hedge.max_ratio, beside, why_not: None })
}

/// As far as the record knows: a copy has a record of its own, and that of its exchange does not speak of it.
fn why_not_copied(ahead: &Ahead<'_>, record: &Record, denies: bool) -> Option<&'static str> {
    let call = route(Method::of(record.method.as_bytes()), &record.path);
    if ahead.leaf.index != 0 {
        Some(ToldMirror::NOT_FIRST)
    } else if !matches!(call, Route::Api(call) if call.typed) {
        Some(ToldMirror::PASSED_THROUGH)
    } else if denies {
        Some(ToldMirror::IS_DENIED)
    } else {
        None
    }
}

fn lead(mirror: &Mirror, leads: &[(String, Lead)]) -> String {
    let Some((_, lead)) = leads.iter().find(|(path, _)| *path == mirror.path) else {
        return String::new();
    };
    let Lead { virtual_key, provider, model } = lead;
    let by = if virtual_key.is_empty() { provider } else { virtual_key };
    if model.is_empty() { by.clone() } else { format!("{by}/{model}") }
}

fn guardrails(path: &str, leaf: &Leaf, record: &Record) -> Vec<ToldGuardrail> {
    let Some(all) = &leaf.guardrails else { return Vec::new() };
    let told = |guardrail: &Arc<Guardrail>, side: &'static str| ToldGuardrail {
        found: found(record, &format!("{path} {side} {}", guardrail.id)),
        guardrail: Arc::clone(guardrail),
        side,
        at_run_time: Vec::new(),
        why_not: None,
    };
    let input = all.input.iter().map(|one| told(one, INPUT));
    input.chain(all.output.iter().map(|one| told(one, "output"))).collect()
}

/// What the lines of a record that begin so say, one a try; empty: there is none, so nobody asked that guardrail.
fn found(record: &Record, begins: &str) -> String {
    let outcomes = record.guardrails.iter().filter_map(|line| {
        let rest = line.strip_prefix(begins)?;
        let rest = rest.strip_prefix(" (async)").unwrap_or(rest).strip_prefix(' ')?;
        // Another guardrail's name may begin with this one's.
        OUTCOMES.iter().any(|outcome| rest.starts_with(outcome)).then_some(rest)
    });
    let outcomes: Vec<&str> = outcomes.collect();
    outcomes.join(", then ")
}

const INPUT: &str = "input";
const DENIED: &str = "denied";
const OUTCOMES: [&str; 4] = ["passed", "failed", DENIED, "called"];
