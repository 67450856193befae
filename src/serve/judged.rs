//! Guardrails around one try: the request is judged before it is sent, a plain answer before it is passed on. What
//! they find becomes a 446, a 246, and the answer's `hook_results`.

use std::{borrow::Cow, cell::RefCell, pin::pin, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    Core,
    arriving::Lost,
    attempt::{Tried, note_fault},
    attempts::{Attempts, End, Kept, Turn, begun},
    client::{Client, Interrupted, gone},
    connection::After,
    digest::{Digest, Ended},
    guarded::{self, Found, Guarded, StreamGuard},
    guardrail::{Facts, Judged, Scene},
    passing,
    question::Question,
    rescue,
    respond::Notes,
    target::invalid_config,
    upstream::{self, Failed},
    verdict,
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Fault, Kind, Stage},
        limits,
    },
    chat::estimate,
    config::{
        ApiKey, Config,
        compile::{Known, compile_guardrails},
        guardrail::{Guardrails, Test},
        policy::Leaf,
    },
    dialect::speak,
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::{
        allow::Permit,
        attempt::{FAILED_STATUS, Outcome},
        guardrail::{GuardrailResult, results_json, stream::Holding, text},
        plan::LeafRef,
        request_headers::RequestOptions,
        resolve::ResolvedTarget,
    },
    wire::json::{self, Edit},
};

/// The guardrails of one try, and what they found in its request.
pub(super) struct Guarding {
    guardrails: Arc<Guardrails>,
    facts: Rc<Facts>,
    input: Rc<[GuardrailResult]>,
    /// What they found in the streams that answered it, until the record has it.
    found: Found,
    /// The request, if it was rewritten.
    pub(super) question: Option<Question>,
}

/// An answer that was judged whole: what the client gets, unless another does better.
pub(super) struct Verdict {
    body: Bytes,
    status: u16,
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
    fn of(&self, leaf: &Leaf) -> Option<Arc<Guardrails>> {
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
        let guarded = self.call.typed && text::request_type(self.call.endpoint).is_some();
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

    /// An answer of status 200 to a guarded request, at its commit point: a plain one is judged whole.
    pub(super) async fn judge_answer<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        leaf: LeafRef<'l>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<End<'l, N>, Fault> {
        let Some(guarding) = tried.guarding.clone() else { return Err(no_guardrails()) };
        let judges = text::answers_in_text(self.call.endpoint);
        let encoded = passing::is_encoded(&tried.arriving.answer);
        if judges && encoded && verdict::any_waited(&guarding.guardrails.output) {
            return Ok(self.left(client, entry, Err(Failed::Broken(guarded::unreadable()))));
        }
        if tried.arriving.events || encoded {
            if guarding.input.iter().any(GuardrailResult::fails) {
                tried.arriving.answer.head.status = FAILED_STATUS;
            }
            let Tried { arriving, stream, .. } = &mut *tried;
            if let (true, Some(stream)) = (arriving.complete, stream)
                && let Err(ended) = stream.finish(client, arriving).await
            {
                self.note_found(client, entry);
                return Ok(self.left(client, entry, Err(Failed::Broken(ended))));
            }
            return Ok(End::Over(self.pass_on(client, tried, entry, notes).await?, leaf));
        }
        let whole = match self.whole(client, &mut tried, entry).await? {
            Ok(whole) => whole,
            Err(ended) => return Ok(self.left(client, entry, Err(Failed::Broken(ended)))),
        };
        let scene = Scene::new(&client.core, &guarding.facts, false);
        let text = scene.text_of(&whole);
        let judged = RefCell::new(Judged { body: whole, text, ..Judged::default() });
        let mut output = Vec::new();
        if judges {
            output = self.judge_output(client, &scene, &guarding, &judged, (&tried, entry)).await?;
        }
        if output.iter().any(GuardrailResult::denies) {
            let fault = verdict::denied(Stage::Relay, &guarding.input, &output);
            upstream::recycle(&client.core, &tried.route, tried.arriving.answer);
            let ended = guarded::denied_end(fault);
            return Ok(self.left(client, entry, Err(Failed::Broken(ended))));
        }
        let failed = guarding.input.iter().chain(&output).any(GuardrailResult::fails);
        let body = with_results(judged.into_inner().body, &guarding.input, &output);
        let status = if failed { FAILED_STATUS } else { tried.status() };
        tried.verdict = Some(Verdict { body, status });
        if !failed {
            return Ok(End::Over(self.pass_verdict(client, tried, entry, notes).await?, leaf));
        }
        // Whether a 246 will do is for the policy to say.
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            (attempt.ended, attempt.left) = (at, FAILED_WORD);
        }
        let outcome = Outcome::Status { code: FAILED_STATUS, retry_after: None };
        Ok(End::Left { outcome, kept: Kept::Answer(tried) })
    }

    /// Runs the guardrails of a plain answer.
    async fn judge_output<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        scene: &Scene<N>,
        guarding: &Guarding,
        judged: &RefCell<Judged>,
        (tried, entry): (&Tried<N>, &mut Entry<'e>),
    ) -> Result<Vec<GuardrailResult>, Fault> {
        let guardrails = &guarding.guardrails.output;
        let total = tried.arriving.patience.total;
        let running = pin!(scene.run(guardrails, judged));
        let output = match client.unless_gone(total.by, running).await {
            Ok(output) => output,
            Err(Interrupted::ClientGone) => {
                return Err(gone("the client closed while its answer was judged"));
            }
            Err(Interrupted::Deadline) => return Err(total.ran_out(Stage::Relay)),
        };
        let path = target_of(entry);
        verdict::note(&client.core, entry, (&path, "output"), &output);
        let mut lines = Vec::new();
        scene.run_unawaited(guardrails, &judged.borrow(), |line| lines.push(line));
        verdict::note_lines(entry, (&path, "output"), lines);
        Ok(output)
    }

    /// Passes on an answer that was judged.
    pub(super) async fn pass_verdict<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        let Some(Verdict { body, status }) = tried.verdict.take() else {
            return Err(no_guardrails());
        };
        notes.provider = Some(tried.adapter.name());
        notes.timing.now = client.now();
        notes.last = client.core.draining.get();
        notes.dropped_params = tried.dropped.join(",");
        entry.dropped_params = tried.dropped.iter().cloned().collect();
        entry.status = status;
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt().filter(|attempt| attempt.left == FAILED_WORD) {
            attempt.left = "";
        }
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        let answer = &mut tried.arriving.answer;
        answer.head.status = status;
        let head = (&answer.head, &*answer.bytes);
        let after = rescue::rewritten(client, self.incoming, head, body, notes).await;
        upstream::recycle(&client.core, &tried.route, tried.arriving.answer);
        after
    }

    /// A plain answer whole, in the client's format.
    async fn whole<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: &mut Tried<N>,
        entry: &mut Entry<'e>,
    ) -> Result<Result<Bytes, Ended>, Fault> {
        if let Some(reply) = tried.reply.take() {
            let model = (!reply.model.is_empty()).then(|| reply.model.clone());
            let estimate = || self.estimate(200, estimate::of_reply(&reply));
            self.account(entry, tried.adapter, reply.usage.or_else(estimate), model);
            let meta = self.meta(&tried.model, tried.strict, tried.withhold_usage);
            return Ok(Ok(Bytes::from(speak::write_reply(self.call.dialect, &reply, meta))));
        }
        let arriving = &mut tried.arriving;
        while !arriving.complete {
            let more = match arriving.more(client).await {
                Ok(()) => arriving.take(client),
                Err(Lost::Upstream(ended)) => Err(ended),
                Err(Lost::Client) => return Err(gone("the client closed")),
            };
            if let Err(ended) = more.or_else(|ended| arriving.forgive(ended, client)) {
                return Ok(Err(ended));
            }
            let held: usize = arriving.pieces.iter().map(Bytes::len).sum();
            client.holds(held);
            if held > limits::REPLY_BYTES_MAX {
                let why = "the upstream's answer is too large to be judged".to_owned();
                return Ok(Err(Ended::broken(Kind::Protocol, why)));
            }
        }
        if arriving.digest.is_broken() {
            let why = "the upstream's answer is not the JSON that it says it is".to_owned();
            return Ok(Err(Ended::broken(Kind::Protocol, why)));
        }
        entry.times.last_byte = arriving.last_byte.map_or(0, |at| entry.at(at));
        let estimate = || self.estimate(200, arriving.digest.output_estimate());
        let usage = arriving.digest.usage().or_else(estimate);
        let model = arriving.digest.model();
        self.account(entry, tried.adapter, usage, model);
        let pieces = std::mem::take(&mut tried.arriving.pieces);
        Ok(Ok(pieces.iter().flat_map(|piece| piece.iter().copied()).collect()))
    }

    /// A stream under guardrails: the digest around its own, and what it is judged by.
    pub(super) fn guard_stream<N: Net>(
        &self,
        core: &Rc<Core<N>>,
        guarding: &Guarding,
        strict: bool,
        inner: Box<dyn Digest>,
    ) -> (Box<dyn Digest>, Option<StreamGuard>) {
        let judged = text::answers_in_text(self.call.endpoint);
        let outputs = &guarding.guardrails.output;
        let waited = outputs.iter().filter(|one| !one.background && judged);
        let waited: Vec<_> = waited.map(Arc::clone).collect();
        let first = !strict && !guarding.input.is_empty();
        let observed = judged && outputs.iter().any(|one| one.background);
        if waited.is_empty() && !observed && !first {
            return (inner, None);
        }
        let dialect = self.call.dialect;
        let scene = Scene::new(core, &guarding.facts, false);
        let known = (Rc::clone(&guarding.input), Rc::clone(&guarding.found));
        let holding = Holding::new(self.call.endpoint, waited);
        let stream = StreamGuard::new(&scene, holding, known, !strict, dialect);
        let results = || guarded::results_event(dialect, "before_request_hooks", &guarding.input);
        let digest = Guarded::new(inner, &stream, first.then(results), core.net.unix_now());
        (Box::new(digest), Some(stream))
    }

    /// Notes what the guardrails of a stream found, and runs those that nobody waits for.
    pub(super) fn note_stream<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        tried: &Tried<N>,
        entry: &mut Entry<'e>,
        whole: bool,
    ) {
        self.note_found(client, entry);
        let (Some(guarding), Some(stream), true) = (&tried.guarding, &tried.stream, whole) else {
            return;
        };
        let mut lines = Vec::new();
        let outputs = &guarding.guardrails.output;
        let scene = Scene::new(&client.core, &guarding.facts, false);
        scene.run_unawaited(outputs, &stream.judged(), |line| lines.push(line));
        let path = target_of(entry);
        verdict::note_lines(entry, (&path, "output"), lines);
    }

    /// Notes what guardrails found in streams so far.
    pub(super) fn note_found<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'e>,
    ) {
        let latest = self.brought.latest.borrow();
        let Some(latest) = &*latest else { return };
        let found = std::mem::take(&mut *latest.guarding.found.borrow_mut());
        let path = target_of(entry);
        verdict::note(&client.core, entry, (&path, "output"), &found);
    }
}

fn target_of(entry: &Entry<'_>) -> Rc<str> {
    entry.attempts.last().map_or_else(|| Rc::from("config"), |attempt| Rc::clone(&attempt.target))
}

/// Who calls these functions has guardrails.
fn no_guardrails() -> Fault {
    rescue::bug("serve/judged.rs")
}

/// The body with `hook_results` at its end; what is no object stays as it is.
fn with_results(body: Bytes, input: &[GuardrailResult], output: &[GuardrailResult]) -> Bytes {
    if input.is_empty() && output.is_empty() {
        return body;
    }
    let Ok(fields) = json::scan(&body) else { return body };
    let results = results_json(input, output).to_string();
    let edit = Edit::Set { name: "hook_results", raw_json: results.as_bytes() };
    let spliced = json::splice(&body, &fields, &[edit]);
    spliced.pieces.iter().flat_map(|piece| piece.iter().copied()).collect()
}

/// Why a try was left whose answer failed a guardrail that lets pass.
const FAILED_WORD: &str = "guardrail_failed";
