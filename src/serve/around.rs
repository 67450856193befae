//! What goes on around the tries of a target, told before any is made: its hedge, its mirror, its guardrails. By the
//! rules of those, and by what they have at hand without calling anybody.

use std::{borrow::Cow, sync::Arc};

use super::{
    hedge::why_once,
    judged::{Brought, is_guarded},
    question::Question,
    route::Call,
};
use crate::{
    config::{
        Config,
        guardrail::Guardrail,
        health::HedgeAfter,
        policy::{Leaf, Mirror},
    },
    policy::{
        ahead::Ahead,
        attempt::Step,
        balance,
        guardrail::{CheckResult, GuardrailResult, Judged, Matter},
        target::Choice,
    },
};

/// What goes on around the tries of a target.
#[derive(Debug, Default)]
pub struct Around {
    /// Its hedge, if it has one.
    pub hedge: Option<ToldHedge>,
    /// Its mirror, if it has one.
    pub mirror: Option<ToldMirror>,
    /// Its guardrails, and those of the request's own headers; input first.
    pub guardrails: Vec<ToldGuardrail>,
    /// What follows from the 446 that its guardrails answer; `None`: as far as is known, they do not.
    pub denied: Option<String>,
}

/// A second try beside a slow one.
#[derive(Debug)]
pub struct ToldHedge {
    /// How slow.
    pub after: HedgeAfter,
    /// The most hedges a try.
    pub max_ratio: f64,
    /// The target that it would go to.
    pub beside: String,
    /// Why this request gets none.
    pub why_not: Option<&'static str>,
}

/// A copy to another target.
#[derive(Debug)]
pub struct ToldMirror {
    /// Its target's place in the config.
    pub path: String,
    /// Its target's virtual key, else provider, and model.
    pub lead: String,
    /// The share of requests that are copied.
    pub sample: f64,
    /// Whether the seed draws this one.
    pub drawn: bool,
    /// Why this request is not copied, drawn or not.
    pub why_not: Option<&'static str>,
}

/// Why a request is not copied.
impl ToldMirror {
    /// Its target is not the first.
    pub const NOT_FIRST: &str = "only what goes to the first target is";
    /// Its body is not held.
    pub const PASSED_THROUGH: &str = "the request is passed through";
    /// A guardrail says so.
    pub const IS_DENIED: &str = "the request is denied";
}

/// A guardrail.
#[derive(Debug)]
pub struct ToldGuardrail {
    /// What is known of it.
    pub guardrail: Arc<Guardrail>,
    /// `input` or `output`.
    pub side: &'static str,
    /// What it finds in the request: `denied: default.contains`; empty: that is not known.
    pub found: String,
    /// Its checks that are made at run time alone.
    pub at_run_time: Vec<String>,
    /// Why it is not asked at all.
    pub why_not: Option<&'static str>,
}

/// What says it.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a Config,
    pub(super) call: &'a Call<'a>,
    pub(super) question: &'a Question,
    pub(super) choice: &'a Choice<'a>,
    pub(super) brought: &'a Brought,
    pub(super) metadata: &'a [(Cow<'a, str>, Cow<'a, str>)],
    pub(super) seed: u64,
}

impl Surroundings<'_> {
    /// Of one target.
    pub(super) fn of(&self, ahead: &Ahead<'_>) -> Around {
        let leaf = ahead.leaf.leaf;
        let (guardrails, denies) = self.guardrails(leaf);
        let denied = denies.then(|| then(&ahead.denied));
        let mirror = leaf.mirror.as_deref();
        let mirror = mirror.map(|mirror| self.mirror(mirror, ahead, denies));
        Around { hedge: self.hedge(ahead), mirror, guardrails, denied }
    }

    fn hedge(&self, ahead: &Ahead<'_>) -> Option<ToldHedge> {
        let hedge = ahead.leaf.leaf.watch.as_ref()?.hedge?;
        let beside = ahead.beside?;
        Some(ToldHedge {
            after: hedge.after,
            max_ratio: hedge.max_ratio,
            beside: beside.path.to_owned(),
            why_not: why_once(self.call, self.question, self.brought, (ahead.leaf, beside)),
        })
    }

    fn mirror(&self, mirror: &Mirror, ahead: &Ahead<'_>, denies: bool) -> ToldMirror {
        let leaf = ahead.leaf.leaf;
        let guarded = self.brought.any(leaf);
        let why_not = if ahead.leaf.index != 0 {
            Some(ToldMirror::NOT_FIRST)
        } else if !self.call.typed || !matches!(self.question, Question::Json { .. }) {
            Some(ToldMirror::PASSED_THROUGH)
        } else if guarded && !is_guarded(self.call, self.question) {
            Some(UNGUARDED)
        } else if denies {
            Some(ToldMirror::IS_DENIED)
        } else if guarded && !self.brought.judged_alike(leaf, &mirror.leaf) {
            Some("its target has other guardrails, or one that asks for the model")
        } else {
            None
        };
        ToldMirror {
            path: mirror.path.clone(),
            lead: self.lead(&mirror.leaf),
            sample: mirror.sample,
            drawn: balance::is_drawn(self.seed, &mirror.path, mirror.sample),
            why_not,
        }
    }

    fn lead(&self, leaf: &Leaf) -> String {
        let known = self.choice.leads_to(leaf);
        let by = known.map_or("", |(virtual_key, provider)| {
            let key = virtual_key.and_then(|id| self.config.virtual_keys.get(id.0 as usize));
            key.map_or(provider.name(), |key| &key.name)
        });
        match self.choice.resolve(leaf).ok().and_then(|target| target.model) {
            Some(model) => format!("{by}/{model}"),
            None => by.to_owned(),
        }
    }

    /// The guardrails around a target, and whether one is known to deny the request.
    fn guardrails(&self, leaf: &Leaf) -> (Vec<ToldGuardrail>, bool) {
        let Some(guardrails) = self.brought.of(leaf) else { return (Vec::new(), false) };
        let resolved = self.choice.resolve(leaf);
        let (body, target) = match (self.question, &resolved) {
            (Question::Json { body, .. }, Ok(target)) if is_guarded(self.call, self.question) => {
                (body, target)
            }
            (_, resolved) => {
                let guarded = is_guarded(self.call, self.question) && resolved.is_err();
                let why = if guarded { "the request cannot go there" } else { UNGUARDED };
                let all = guardrails.input.iter().map(|one| told(one, "input", Some(why)));
                let output = guardrails.output.iter().map(|one| told(one, "output", Some(why)));
                return (all.chain(output).collect(), false);
            }
        };
        let matter = Matter {
            endpoint: self.call.endpoint,
            before: true,
            model: target.model.as_deref().unwrap_or_default(),
            metadata: self.metadata,
        };
        let asked = Judged { body: body.clone(), text: matter.text_of(body), ..Judged::default() };
        let mut judged = asked.clone();
        let mut denies = false;
        let input = guardrails.input.iter().map(|one| {
            // Those that nobody waits for see the request as it came.
            let (result, at_run_time) = match one.background {
                true => found(one, &matter, &mut asked.clone()),
                false => found(one, &matter, &mut judged),
            };
            denies |= result.denies();
            let known = at_run_time.is_empty() || !result.verdict();
            let found = if known { outcome(&result) } else { String::new() };
            ToldGuardrail { found, at_run_time, ..told(one, "input", None) }
        });
        let mut all: Vec<ToldGuardrail> = input.collect();
        all.extend(guardrails.output.iter().map(|one| told(one, "output", None)));
        (all, denies)
    }
}

/// What follows from a 446.
#[must_use]
pub fn then(step: &Step<'_>) -> String {
    match step {
        Step::Try { leaf, .. } => format!("then {} is tried", leaf.path),
        Step::Refuse(refusal) => format!("then the policy refuses: {refusal}"),
        Step::Finish => "the client gets it".to_owned(),
    }
}

fn told(
    guardrail: &Arc<Guardrail>,
    side: &'static str,
    why_not: Option<&'static str>,
) -> ToldGuardrail {
    let guardrail = Arc::clone(guardrail);
    ToldGuardrail { guardrail, side, found: String::new(), at_run_time: Vec::new(), why_not }
}

/// What the checks find that call nobody; and which ones are left. In a sequence, what stands behind a call sees what
/// that makes of the request.
fn found(
    guardrail: &Arc<Guardrail>,
    matter: &Matter<'_>,
    judged: &mut Judged,
) -> (GuardrailResult, Vec<String>) {
    let (mut checks, mut left) = (Vec::new(), Vec::new());
    for (at, check) in guardrail.checks.iter().enumerate() {
        if check.test.is_call() || (guardrail.sequential && !left.is_empty()) {
            left.push(check.id.clone());
        } else {
            let finding = matter.check(check, judged);
            checks.push(CheckResult { check: at, finding, ..CheckResult::default() });
        }
    }
    let guardrail = Arc::clone(guardrail);
    let result = GuardrailResult { guardrail, checks, took_millis: 0, created: Default::default() };
    (result, left)
}

/// The words of the record without the name.
fn outcome(result: &GuardrailResult) -> String {
    let words = result.in_words();
    let words = words.strip_prefix(&*result.guardrail.id).unwrap_or(&words);
    words.strip_prefix(" (async)").unwrap_or(words).trim_start().to_owned()
}

const UNGUARDED: &str = "guardrails do not look at such a request";
