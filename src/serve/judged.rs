//! Guardrails around one try: its request is judged before it is sent, once for all tries of its target.

use std::{borrow::Cow, cell::RefCell, pin::pin, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    Core,
    attempt::note_fault,
    attempts::{Attempts, End, Kept, Turn, begun},
    client::{Client, Interrupted, gone},
    guarded::Found,
    guardrail::{Facts, Judged, Scene},
    question::Question,
    respond::Notes,
    route::Call,
    target::invalid_config,
    verdict,
};
use crate::{
    base::fault::{Fault, Stage},
    config::{
        ApiKey, Config,
        compile::{Known, compile_guardrails},
        guardrail::{Guardrails, Test},
        policy::Leaf,
    },
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::{
        allow::Permit,
        attempt::Outcome,
        guardrail::{GuardrailResult, text},
        plan::LeafRef,
        request_headers::RequestOptions,
        resolve::ResolvedTarget,
    },
    wire::json,
};

/// The guardrails of one try, and what they found in its request.
pub(super) struct Guarding {
    pub(super) guardrails: Arc<Guardrails>,
    pub(super) facts: Rc<Facts>,
    pub(super) input: Rc<[GuardrailResult]>,
    /// What they found in the streams that answered it, until the record has it.
    pub(super) found: Found,
    /// The request, if it was rewritten.
    pub(super) question: Option<Question>,
}

/// What an exchange keeps of guardrails.
pub struct Brought {
    /// Those that came with the request's headers.
    guardrails: Option<Arc<Guardrails>>,
    /// Of the target tried last: its retries are not judged again.
    latest: RefCell<Option<Latest>>,
}

/// A request that was judged.
struct Latest {
    /// The number of its target in the plan.
    index: usize,
    /// The target's own guardrails.
    own: Option<Arc<Guardrails>>,
    guarding: Rc<Guarding>,
}

impl Brought {
    /// With those of the request's headers, which whoever may not bring a config may not bring either.
    pub fn of_headers(
        config: &Config,
        api_key: Option<&ApiKey>,
        options: &RequestOptions<'_>,
    ) -> Result<Brought, Fault> {
        let mut guardrails = None;
        if options.guardrails != [None, None] {
            Permit::new(config, api_key).inline_config()?;
            let compiled = compile_guardrails(options.guardrails, Known::from(config));
            guardrails = Some(Arc::new(compiled.map_err(invalid_config)?));
        }
        Ok(Brought { guardrails, latest: RefCell::default() })
    }

    /// Whether anything looks at the request to a target, or at its answer.
    pub(super) fn any(&self, leaf: &Leaf) -> bool {
        leaf.guardrails.is_some() || self.guardrails.is_some()
    }

    /// What was found in the request, if it was judged by the guardrails that this target has.
    pub(super) fn judged(&self, leaf: &Leaf) -> Option<Rc<Guarding>> {
        if !self.any(leaf) {
            return None;
        }
        let latest = self.latest.borrow();
        let latest =
            latest.as_ref().filter(|latest| are_the_same(&latest.own, &leaf.guardrails))?;
        Some(Rc::clone(&latest.guarding))
    }

    /// What guardrails found in streams since the last time.
    pub(super) fn found(&self) -> Vec<GuardrailResult> {
        let latest = self.latest.borrow();
        latest.as_ref().map_or_else(Vec::new, |latest| latest.guarding.found.take())
    }

    /// Whether what was found for one target holds for the other: they have the same guardrails, and none that asks
    /// for the model.
    pub(super) fn judged_alike(&self, one: &Leaf, other: &Leaf) -> bool {
        if !self.any(one) && !self.any(other) {
            return true;
        }
        let brought = self.guardrails.iter().chain(&one.guardrails);
        let mut all = brought.flat_map(|both| both.input.iter().chain(&both.output));
        let asks = |test: &Test| matches!(test, Test::Models { .. });
        are_the_same(&one.guardrails, &other.guardrails)
            && !all.any(|guardrail| guardrail.checks.iter().any(|check| asks(&check.test)))
    }

    /// Those of a target: its own, and what the request brought.
    pub(super) fn of(&self, leaf: &Leaf) -> Option<Arc<Guardrails>> {
        match (&leaf.guardrails, &self.guardrails) {
            (own, None) => own.clone(),
            (None, brought) => brought.clone(),
            (Some(own), Some(brought)) => Some(Arc::new(Guardrails {
                input: own.input.iter().chain(&brought.input).map(Arc::clone).collect(),
                output: own.output.iter().chain(&brought.output).map(Arc::clone).collect(),
            })),
        }
    }
}

/// Whether guardrails look at such a request.
pub(super) fn is_guarded(call: &Call<'_>, question: &Question) -> bool {
    let known = call.typed && text::request_type(call.endpoint).is_some();
    known && matches!(question, Question::Json { .. })
}

fn are_the_same(one: &Option<Arc<Guardrails>>, other: &Option<Arc<Guardrails>>) -> bool {
    let same = |one: &[Arc<_>], other: &[Arc<_>]| {
        one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
    };
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            same(&one.input, &other.input) && same(&one.output, &other.output)
        }
        _ => false,
    }
}

impl<'e> Attempts<'_, 'e> {
    /// Judges the request to one target, once for all tries of it. `Some`: it is denied.
    pub(super) async fn judge_request<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        turn: &Turn<'l>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Option<End<'l, N>>, Fault> {
        let leaf = turn.leaf;
        let guarded = is_guarded(self.call, self.question);
        let (Some(guardrails), Question::Json { body, .. }, true) =
            (self.brought.of(leaf.leaf), self.question, guarded)
        else {
            return Ok(None);
        };
        if self.brought.latest.borrow().as_ref().is_some_and(|latest| latest.index == leaf.index) {
            return Ok(None);
        }
        *self.brought.latest.borrow_mut() = None;
        // Why it cannot be resolved is said where it is to be sent.
        let Ok(target) = self.choice.resolve(leaf.leaf) else { return Ok(None) };
        let mut facts = self.facts(&target, entry, body);
        let scene = Scene::new(&client.core, &Rc::new(facts.clone()), true);
        let text = scene.text_of(body);
        let judged = RefCell::new(Judged { body: body.clone(), text, ..Judged::default() });
        if guardrails.input.iter().chain(&guardrails.output).any(|one| one.calls()) {
            client.hold.rendered(2 * body.len()); // what a webhook is told
        }
        let mut lines = Vec::new();
        scene.run_unawaited(&guardrails.input, &judged.borrow(), |line| lines.push(line));
        let input = {
            let running = pin!(scene.run(&guardrails.input, &judged));
            match client.unless_gone(turn.total.by, running).await {
                Ok(input) => input,
                Err(Interrupted::ClientGone) => {
                    return Err(gone("the client closed while its request was judged"));
                }
                Err(Interrupted::Deadline) => return Err(turn.total.ran_out(Stage::Plan)),
            }
        };
        verdict::note(&client.core, entry, (leaf.path, "input"), &input);
        verdict::note_lines(entry, (leaf.path, "input"), lines);
        if input.iter().any(GuardrailResult::denies) {
            let fault = verdict::denied(Stage::Plan, &input, &[]);
            return Ok(Some(self.denied(client, leaf, &target, fault, (entry, notes))));
        }
        let judged = judged.into_inner();
        let question = match (judged.rewritten, json::scan(&judged.body)) {
            (true, Ok(fields)) => Some(Question::Json { body: judged.body.clone(), fields }),
            _ => None,
        };
        facts.request_rewritten = judged.rewritten;
        (facts.request, facts.request_text) = (judged.body, judged.text);
        let (facts, input, found) = (Rc::new(facts), Rc::from(input), Found::default());
        let guarding = Rc::new(Guarding { guardrails, facts, input, found, question });
        let own = leaf.leaf.guardrails.clone();
        *self.brought.latest.borrow_mut() = Some(Latest { index: leaf.index, own, guarding });
        self.mirror_judged(&client.core, leaf, entry);
        Ok(None)
    }

    /// A request that may go is copied as it goes, if its mirror's target has the same guardrails.
    fn mirror_judged<N: Net>(&self, core: &Rc<Core<N>>, leaf: LeafRef<'_>, entry: &Entry<'e>) {
        match &leaf.leaf.mirror {
            Some(mirror) if leaf.index == 0 => {
                match self.brought.judged_alike(leaf.leaf, &mirror.leaf) {
                    true => self.mirror_of(core, leaf, entry),
                    false => core.counters.mirrors_skipped.add(1),
                }
            }
            _ => {}
        }
    }

    /// A request that may not go: the record has an attempt that was none.
    fn denied<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        leaf: LeafRef<'l>,
        target: &ResolvedTarget<'_>,
        fault: Fault,
        (entry, notes): (&mut Entry<'e>, &mut Notes<'e>),
    ) -> End<'l, N> {
        let mut attempt = begun(entry, leaf, client.now());
        self.note_target(&mut attempt, target);
        attempt.ended = attempt.started;
        note_fault(&mut attempt, &fault);
        notes.provider = Some(attempt.provider);
        notes.option_index = Some(Rc::clone(&attempt.target));
        entry.attempts.push(attempt);
        End::Left { outcome: Outcome::Denied { answer: false }, kept: Kept::Fault(fault) }
    }

    fn facts(&self, target: &ResolvedTarget<'_>, entry: &Entry<'_>, body: &Bytes) -> Facts {
        let owned = |text: &str| Cow::Owned(text.to_owned());
        let pairs = entry.metadata.iter().map(|(name, value)| (owned(name), owned(value)));
        Facts {
            endpoint: self.call.endpoint,
            provider: target.adapter.name(),
            model: target.model.as_deref().unwrap_or_default().to_owned(),
            stream: self.question.field("stream") == Some(b"true"),
            request: body.clone(),
            request_text: String::new(),
            request_rewritten: false,
            metadata: pairs.collect(),
        }
    }
}
