//! Guardrails around one try: the request is judged before it is sent, a plain answer before it is passed on. What
//! they find becomes a 446, a 246, and the answer's `hook_results`.

use std::{cell::RefCell, pin::pin, rc::Rc, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    attempts::{Attempts, End, Kept, Tried},
    client::{Client, Interrupted, gone},
    connection::After,
    digest::{Ended, Pieces},
    guarded::{self, Guarded, StreamGuard},
    guardrail::{Facts, Judged, Scene},
    passing::{self, Media},
    question::Question,
    relay::{self, Collected},
    rescue,
    respond::Notes,
    target::invalid_config,
    upstream, verdict,
};
use crate::{
    base::{
        fault::{Fault, Kind, Stage},
        limits,
    },
    config::{
        ApiKey, Config,
        compile::{Known, compile_guardrails},
        guardrail::Guardrails,
        policy::Leaf,
    },
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
    provider::Fit,
    wire::json::{self, Edit},
};

/// The guardrails of one try, and what they found in its request.
pub(super) struct Guarding {
    guardrails: Arc<Guardrails>,
    facts: Rc<Facts>,
    input: Vec<GuardrailResult>,
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
    latest: RefCell<Option<(usize, Rc<Guarding>)>>,
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

    /// Those of a target: its own, and what the request brought.
    fn of(&self, leaf: LeafRef<'_>) -> Option<Arc<Guardrails>> {
        match (&leaf.leaf.guardrails, &self.guardrails) {
            (own, None) => own.clone(),
            (None, brought) => brought.clone(),
            (Some(own), Some(brought)) => Some(Arc::new(Guardrails {
                input: own.input.iter().chain(&brought.input).map(Arc::clone).collect(),
                output: own.output.iter().chain(&brought.output).map(Arc::clone).collect(),
            })),
        }
    }
}

impl Attempts<'_> {
    /// Judges the request to one target, once for all tries of it. `None`: nothing looks at it; the inner error: it is
    /// denied.
    pub(super) async fn judge_request<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        leaf: LeafRef<'_>,
        target: &ResolvedTarget<'_>,
        entry: &mut Entry<'_>,
    ) -> Result<Result<Option<Rc<Guarding>>, Fault>, Fault> {
        let Some(guardrails) = self.brought.of(leaf) else { return Ok(Ok(None)) };
        let guarded = self.call.typed && text::request_type(self.call.endpoint).is_some();
        let Question::Json { body, .. } = self.question else { return Ok(Ok(None)) };
        if !guarded {
            return Ok(Ok(None));
        }
        if let Some((index, guarding)) = &*self.brought.latest.borrow()
            && *index == leaf.index
        {
            return Ok(Ok(Some(Rc::clone(guarding))));
        }
        let mut facts = self.facts(target, entry, body);
        let scene = Scene::new(&client.core, &Rc::new(facts.clone()), true);
        let text = scene.text_of(body);
        let judged = RefCell::new(Judged { body: body.clone(), text, ..Judged::default() });
        if guardrails.input.iter().chain(&guardrails.output).any(|one| one.calls()) {
            client.hold.rendered(2 * body.len()); // what a webhook is told
        }
        let mut notes = Vec::new();
        scene.run_unawaited(&guardrails.input, &judged.borrow(), |line| notes.push(line));
        let input = {
            let running = pin!(scene.run(&guardrails.input, &judged));
            match client.unless_gone(self.total_by, running).await {
                Ok(input) => input,
                Err(Interrupted::ClientGone) => {
                    return Err(gone("the client closed while its request was judged"));
                }
                Err(Interrupted::Deadline) => return Err(upstream::total_timeout(Stage::Plan)),
            }
        };
        verdict::note(&client.core, entry, "input", &input);
        self.note_unawaited(entry, "input", notes);
        if input.iter().any(GuardrailResult::denies) {
            return Ok(Err(verdict::denied(Stage::Plan, &input, &[])));
        }
        let judged = judged.into_inner();
        let question = match (judged.rewritten, json::scan(&judged.body)) {
            (true, Ok(fields)) => Some(Question::Json { body: judged.body.clone(), fields }),
            _ => None,
        };
        facts.request_rewritten = judged.rewritten;
        (facts.request, facts.request_text) = (judged.body, judged.text);
        let guarding = Rc::new(Guarding { guardrails, facts: Rc::new(facts), input, question });
        *self.brought.latest.borrow_mut() = Some((leaf.index, Rc::clone(&guarding)));
        Ok(Ok(Some(guarding)))
    }

    fn facts(&self, target: &ResolvedTarget<'_>, entry: &Entry<'_>, body: &Bytes) -> Facts {
        let owned = |text: &str| std::borrow::Cow::Owned(text.to_owned());
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

    fn note_unawaited(&self, entry: &mut Entry<'_>, side: &str, lines: Vec<String>) {
        let target = entry.attempts.last().map_or("config", |attempt| &attempt.target).to_owned();
        entry.guardrails.extend(lines.into_iter().map(|line| format!("{target} {side} {line}")));
    }

    /// An answer to a guarded request, of status 200: judged whole if it is plain.
    pub(super) async fn judge_answer<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        guarding: Rc<Guarding>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<End<N>, Fault> {
        let judges = text::answers_in_text(self.call.endpoint)
            && verdict::any_waited(&guarding.guardrails.output);
        if judges && passing::is_encoded(&tried.answer) {
            return Ok(self.end_of(client, entry, guarded::unreadable()));
        }
        if tried.media == Media::Events || passing::is_encoded(&tried.answer) {
            if guarding.input.iter().any(GuardrailResult::fails) {
                tried.answer.head.status = FAILED_STATUS;
            }
            return match self.pass_on_or_leave(client, tried, entry, notes).await? {
                Ok(after) => Ok(End::Over(after)),
                Err(ended) => Ok(self.end_of(client, entry, ended)),
            };
        }
        let whole = match self.whole(client, &mut tried, entry).await? {
            Ok(whole) => whole,
            Err(ended) => return Ok(self.end_of(client, entry, ended)),
        };
        let scene = Scene::new(&client.core, &guarding.facts, false);
        let text = scene.text_of(&whole);
        let judged = RefCell::new(Judged { body: whole, text, ..Judged::default() });
        let mut output = Vec::new();
        if text::answers_in_text(self.call.endpoint) {
            let running = pin!(scene.run(&guarding.guardrails.output, &judged));
            output = match client.unless_gone(self.total_by, running).await {
                Ok(output) => output,
                Err(Interrupted::ClientGone) => {
                    return Err(gone("the client closed while its answer was judged"));
                }
                Err(Interrupted::Deadline) => return Err(upstream::total_timeout(Stage::Relay)),
            };
            verdict::note(&client.core, entry, "output", &output);
            let mut lines = Vec::new();
            let outputs = &guarding.guardrails.output;
            scene.run_unawaited(outputs, &judged.borrow(), |line| lines.push(line));
            self.note_unawaited(entry, "output", lines);
        }
        if output.iter().any(GuardrailResult::denies) {
            let fault = verdict::denied(Stage::Relay, &guarding.input, &output);
            upstream::recycle(&client.core, &tried.route, tried.answer);
            return Ok(self.left_denied(client, entry, true, fault));
        }
        let failed = guarding.input.iter().chain(&output).any(GuardrailResult::fails);
        let body = with_results(judged.into_inner().body, &guarding.input, &output);
        let status = if failed { FAILED_STATUS } else { tried.answer.head.status };
        tried.verdict = Some(Verdict { body, status });
        if !failed {
            return Ok(End::Over(self.pass_verdict(client, tried, entry, notes).await?));
        }
        // Whether a 246 will do is for the policy to say.
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            (attempt.ended, attempt.left) = (at, FAILED_WORD);
        }
        let outcome = Outcome::Status { code: FAILED_STATUS, retry_after: None };
        Ok(End::Left { outcome, kept: Kept::Answer(tried) })
    }

    /// Passes on an answer that was judged.
    pub(super) async fn pass_verdict<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        let Some(Verdict { body, status }) = tried.verdict.take() else {
            return Ok(After::Close);
        };
        notes.provider = Some(tried.adapter.name());
        notes.timing.now = client.now();
        notes.last = client.core.draining.get();
        notes.dropped_params = tried.outgoing.dropped.join(",");
        entry.dropped_params = tried.outgoing.dropped.iter().cloned().collect();
        entry.status = status;
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt().filter(|attempt| attempt.left == FAILED_WORD) {
            attempt.left = "";
        }
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        tried.answer.head.status = status;
        let head = (&tried.answer.head, &*tried.answer.bytes);
        let after = rescue::rewritten(client, self.incoming, head, body, notes).await;
        upstream::recycle(&client.core, &tried.route, tried.answer);
        after
    }

    /// A plain answer whole, in the client's format.
    async fn whole<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: &mut Tried<N>,
        entry: &mut Entry<'e>,
    ) -> Result<Result<Bytes, Ended>, Fault> {
        let mut body = BytesMut::new();
        let (most, idle) = (limits::REPLY_BYTES_MAX, tried.timeouts.idle);
        let collected =
            relay::collect(client, &mut tried.answer, most, idle, self.total_by, &mut body).await;
        entry.times.last_byte = entry.at(client.now());
        let ended = |kind, why: &str| Ok(Err(Ended::broken(kind, why.to_owned())));
        match collected {
            Ok(true) => {}
            Ok(false) => return ended(Kind::Protocol, "the upstream's answer is too large"),
            Err(Collected::ClientGone) => return Err(gone("the client closed")),
            Err(Collected::TooSlow) => return ended(Kind::Timeout, "the upstream paused"),
            Err(Collected::Broken(why)) => return ended(Kind::Truncated, &why),
        }
        if tried.outgoing.fit == Fit::Translate {
            return Ok(match self.reply_text(tried, &mut body, entry) {
                Ok(text) => Ok(Bytes::from(text)),
                Err(why) => Err(Ended::broken(Kind::Protocol, why)),
            });
        }
        let body = body.freeze();
        let mut digest = self.digest(tried);
        let mut pieces = Pieces::new();
        let taken = digest.piece(body.clone(), &mut pieces).and_then(|()| digest.end(&mut pieces));
        if let Err(ended) = taken {
            return Ok(Err(ended));
        }
        let estimate = || self.estimate(tried, digest.output_estimate());
        let usage = digest.usage().or_else(estimate);
        self.account(entry, tried, usage, digest.model());
        Ok(Ok(body))
    }

    /// A stream under guardrails: what it is judged by, and the digest around its own.
    pub(super) fn guard_stream<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        tried: &Tried<N>,
    ) -> Option<(StreamGuard, Guarded)> {
        let guarding = tried.guarding.as_ref().filter(|_| passing::is_events(tried))?;
        let judged = text::answers_in_text(self.call.endpoint);
        let waited = guarding.guardrails.output.iter().filter(|one| !one.background && judged);
        let waited: Vec<_> = waited.map(Arc::clone).collect();
        let tells = !tried.strict;
        let observed = judged && guarding.guardrails.output.iter().any(|one| one.background);
        if waited.is_empty() && !observed && !(tells && !guarding.input.is_empty()) {
            return None;
        }
        let holding = Holding::new(self.call.endpoint, waited);
        let dialect = self.call.dialect;
        let scene = Scene::new(&client.core, &guarding.facts, false);
        let stream = StreamGuard::new(&scene, holding, guarding.input.clone(), tells, dialect);
        let first = (tells && !guarding.input.is_empty())
            .then(|| guarded::results_event(dialect, "before_request_hooks", &guarding.input));
        let now = client.core.net.unix_now();
        let digest = Guarded::new(self.digest(tried), &stream, first, now);
        Some((stream, digest))
    }

    /// Notes what the guardrails of a stream found, and runs those that nobody waits for.
    pub(super) fn note_stream<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        tried: &Tried<N>,
        stream: &StreamGuard,
        entry: &mut Entry<'_>,
        whole: bool,
    ) {
        verdict::note(&client.core, entry, "output", &stream.results.borrow());
        let Some(guarding) = tried.guarding.as_ref().filter(|_| whole) else { return };
        let mut lines = Vec::new();
        let outputs = &guarding.guardrails.output;
        let scene = Scene::new(&client.core, &guarding.facts, false);
        scene.run_unawaited(outputs, &stream.judged(), |line| lines.push(line));
        self.note_unawaited(entry, "output", lines);
    }

    /// A try that a guardrail ended.
    pub(super) fn left_denied<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        answer: bool,
        fault: Fault,
    ) -> End<N> {
        self.left(client, entry, Outcome::Denied { answer }, fault)
    }
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
