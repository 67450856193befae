//! Guardrails around an answer: a plain one is judged whole before it is passed on, a complete stream before its head.

use std::{cell::RefCell, pin::pin};

use bytes::Bytes;

use super::{
    arriving::Lost,
    attempt::Tried,
    attempts::{Attempts, End, Kept},
    client::{Client, Interrupted, gone},
    connection::After,
    digest::Ended,
    guarded,
    guardrail::{Judged, Scene},
    judged::Guarding,
    passing, rescue,
    respond::Notes,
    upstream::{self, Failed},
    verdict::{self, target_of},
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Fault, Kind, Stage},
        limits,
    },
    chat::estimate,
    dialect::speak,
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::{
        attempt::{FAILED_STATUS, Outcome},
        guardrail::{GuardrailResult, results_json, text},
        plan::LeafRef,
    },
    wire::json::{self, Edit},
};

/// An answer that was judged whole: what the client gets, unless another does better.
pub(super) struct Verdict {
    body: Bytes,
    status: u16,
}

impl<'e> Attempts<'_, 'e> {
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
        entry.dropped_params = tried.dropped.iter().map(ToString::to_string).collect();
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
