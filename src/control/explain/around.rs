//! Hedges, mirrors and guardrails of an explanation, as people read them and as programs do.

use serde_json::{Value, json};

use crate::{
    config::{guardrail::Guardrail, health::HedgeAfter},
    serve::around::{Around, ToldGuardrail, ToldHedge, ToldMirror},
};

/// Each in a line.
pub fn lines(around: &Around) -> Vec<String> {
    let mut lines: Vec<String> = around.hedge.iter().map(hedge).collect();
    lines.extend(around.mirror.iter().map(mirror));
    lines.extend(around.guardrails.iter().map(guardrail));
    lines.extend(around.denied.iter().map(|then| format!("denied with 446: {then}")));
    lines
}

fn hedge(hedge: &ToldHedge) -> String {
    let ToldHedge { after, max_ratio, beside, why_not } = hedge;
    if let Some(why) = why_not {
        return format!("not hedged: {why}");
    }
    let after = match after {
        HedgeAfter::Fixed(wait) => format!("{} ms", wait.as_millis()),
        HedgeAfter::P95 => "its own p95".to_owned(),
    };
    format!("hedge: after {after} also {beside}, over the long run for at most {max_ratio} a try")
}

fn mirror(mirror: &ToldMirror) -> String {
    let ToldMirror { path, lead, sample, drawn, why_not } = mirror;
    let drawn = match (why_not, drawn) {
        (Some(why), _) => format!("not copied: {why}"),
        (None, true) => "this seed draws it".to_owned(),
        (None, false) => "this seed does not draw it".to_owned(),
    };
    format!("mirror: {path}  {lead}, a share of {sample}: {drawn}")
}

fn guardrail(told: &ToldGuardrail) -> String {
    let ToldGuardrail { guardrail, side, found, at_run_time, why_not } = told;
    let Guardrail { id, deny, background, sequential, .. } = &**guardrail;
    let traits = [(*deny, "deny"), (*background, "async"), (*sequential, "sequential")];
    let traits = traits.iter().filter(|(has, _)| *has).map(|(_, word)| *word);
    let mut line = format!("{side} guardrail {id}");
    let traits: Vec<&str> = traits.collect();
    if !traits.is_empty() {
        line.push_str(&format!(" ({})", traits.join(", ")));
    }
    let mut parts = Vec::new();
    parts.extend(why_not.map(|why| format!("not asked: {why}")));
    parts.extend(Some(found).filter(|found| !found.is_empty()).cloned());
    if !at_run_time.is_empty() {
        parts.push(format!("asked at run time: {}", at_run_time.join(", ")));
    }
    if !parts.is_empty() {
        line.push_str(&format!(": {}", parts.join("; ")));
    }
    line
}

/// `hedge`, `mirror`, `guardrails` and `denied`.
pub fn members(around: &Around) -> [(&'static str, Value); 4] {
    let hedge = around.hedge.as_ref().map(|hedge| {
        json!({
            "after_ms": match hedge.after {
                HedgeAfter::Fixed(wait) => Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                HedgeAfter::P95 => None,
            },
            "after_p95": hedge.after == HedgeAfter::P95,
            "max_ratio": hedge.max_ratio,
            "beside": hedge.beside,
            "why_not": hedge.why_not,
        })
    });
    let mirror = around.mirror.as_ref().map(|mirror| {
        json!({
            "target": mirror.path,
            "lead": mirror.lead,
            "sample": mirror.sample,
            "drawn": mirror.drawn,
            "why_not": mirror.why_not,
        })
    });
    let guardrails = around.guardrails.iter().map(|told| {
        json!({
            "id": told.guardrail.id,
            "side": told.side,
            "deny": told.guardrail.deny,
            "async": told.guardrail.background,
            "sequential": told.guardrail.sequential,
            "found": (!told.found.is_empty()).then_some(&told.found),
            "at_run_time": told.at_run_time,
            "why_not": told.why_not,
        })
    });
    let guardrails = Value::Array(guardrails.collect());
    [
        ("hedge", hedge.unwrap_or_default()),
        ("mirror", mirror.unwrap_or_default()),
        ("guardrails", guardrails),
        ("denied", around.denied.clone().into()),
    ]
}
