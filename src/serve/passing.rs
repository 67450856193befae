//! From an upstream's answer to the client's: as it is, watched, translated, or written anew; and what it used.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::{
    attempts::{Attempts, Tried},
    client::{Client, gone},
    connection::After,
    digest::{Digest, Ended, Opaque},
    events::{Translated, Watched},
    question::Question,
    relay::{self, Collected, Passage},
    rescue,
    respond::Notes,
    upstream,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
    },
    chat::{estimate, usage::Usage},
    config::Timeouts,
    dialect::{
        self,
        speak::{self, Meta},
    },
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::{attempt::FAILED_STATUS, price},
    provider::{Endpoint, Fit},
    wire::head::Framing,
};

impl Attempts<'_> {
    /// Passes on the answer that is left when no target does better.
    pub(super) async fn pass_on<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        if tried.verdict.is_some() {
            return self.pass_verdict(client, tried, entry, notes).await;
        }
        notes.provider = Some(tried.adapter.name());
        notes.error_source = Some(Source::Upstream.as_str());
        match self.pass_on_or_leave(client, tried, entry, notes).await? {
            Ok(after) => Ok(after),
            Err(ended) => Err(ended.fault),
        }
    }

    /// Passes an answer on. The inner error: it broke before anything was sent.
    pub(super) async fn pass_on_or_leave<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Result<After, Ended>, Fault> {
        let dropped = &tried.outgoing.dropped;
        notes.dropped_params = dropped.join(",");
        entry.dropped_params = dropped.iter().cloned().collect();
        let status = tried.answer.head.status;
        if self.must_rewrite(&tried) {
            return Box::pin(self.rewrite(client, tried, entry, notes)).await;
        }
        notes.timing.now = client.now();
        notes.last = client.core.draining.get();
        let guarded = self.guard_stream(client, &tried);
        let (guard, mut digest) = match guarded {
            Some((guard, digest)) => (Some(guard), Box::new(digest) as Box<dyn Digest>),
            None => (None, self.digest(&tried)),
        };
        if is_events(&tried) {
            client.hold.stream();
        }
        let mut passage = Passage {
            incoming: self.incoming,
            dialect: self.call.dialect,
            notes,
            events: is_events(&tried),
            content_type: (tried.outgoing.fit == Fit::Translate).then_some("text/event-stream"),
            idle: tried.timeouts.idle,
            total_by: self.total_by,
            guard: guard.as_ref(),
        };
        let relayed = relay::relay(client, &mut tried.answer, &mut *digest, &mut passage).await;
        if let Some(guard) = &guard {
            let whole = matches!(&relayed, Ok(passed) if passed.fault.is_none());
            self.note_stream(client, &tried, guard, entry, whole);
        }
        let passed = match relayed {
            Ok(passed) => passed,
            Err(ended) => return Ok(Err(ended)),
        };
        entry.status = client.answered.unwrap_or(status);
        entry.times.first_token = passed.first_token.map_or(0, |at| entry.at(at));
        entry.times.last_byte = passed.last_byte.map_or(0, |at| entry.at(at));
        let estimate = || self.estimate(&tried, digest.output_estimate());
        let whole = passed.fault.is_none();
        let usage = digest.usage().or_else(|| if whole { estimate() } else { None });
        self.account(entry, &tried, usage, digest.model());
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        if let Some(fault) = passed.fault {
            entry.client_gone = fault.kind == Kind::ClientGone;
            entry.truncated = !entry.client_gone;
            entry.fault = Some(fault);
        } else {
            upstream::recycle(&client.core, &tried.route, tried.answer);
        }
        Ok(Ok(passed.after))
    }

    pub(super) fn digest<N: Net>(&self, tried: &Tried<N>) -> Box<dyn Digest> {
        let Tried { adapter, outgoing, answer, .. } = tried;
        if is_events(tried) && outgoing.fit == Fit::Translate {
            let writer = speak::writer(self.call.dialect, self.meta(tried));
            return Box::new(Translated::new(adapter.translate(), writer));
        }
        if is_events(tried) && !is_encoded(answer) {
            let watch = adapter.watch(self.call.endpoint, outgoing.withhold_usage);
            return Box::new(Watched::new(watch, is_generated(self.call.endpoint)));
        }
        let json = tried.media == Media::Json;
        let tapped = json && !is_encoded(answer) && answer.head.status < 300;
        let ends_anywhere = answer.head.framing == Framing::UntilClose;
        Box::new(Opaque::new(*adapter, self.call.endpoint, tapped, ends_anywhere))
    }

    /// Whether the body must be had whole to be written anew: a translated plain answer, an error in another
    /// dialect, an error that no SDK can read.
    fn must_rewrite<N: Net>(&self, tried: &Tried<N>) -> bool {
        let status = tried.answer.head.status;
        let translated = tried.outgoing.fit == Fit::Translate;
        if status < 400 {
            return translated && !is_events(tried);
        }
        let json = tried.media == Media::Json;
        translated || (self.call.typed && !json && !is_encoded(&tried.answer))
    }

    async fn rewrite<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Result<After, Ended>, Fault> {
        let status = tried.answer.head.status;
        let most =
            if status < 400 { limits::REPLY_BYTES_MAX } else { limits::ERROR_BODY_BYTES_MAX };
        let mut body = BytesMut::new();
        let Timeouts { idle, .. } = tried.timeouts;
        let collected =
            relay::collect(client, &mut tried.answer, most, idle, self.total_by, &mut body).await;
        entry.times.last_byte = entry.at(client.now());
        let whole = match collected {
            Ok(whole) => whole,
            Err(Collected::ClientGone) => return Err(gone("the client closed")),
            // Of an error the status says enough.
            Err(_) if status >= 400 => true,
            Err(Collected::TooSlow) => return Ok(Err(ended(Kind::Timeout, "the upstream paused"))),
            Err(Collected::Broken(why)) => return Ok(Err(ended(Kind::Truncated, &why))),
        };
        let text = if status >= 400 {
            self.error_text(&tried, &body)
        } else if !whole {
            return Ok(Err(ended(Kind::Protocol, "the upstream's answer is too large")));
        } else {
            match self.reply_text(&tried, &mut body, entry) {
                Ok(text) => text,
                Err(why) => return Ok(Err(ended(Kind::Protocol, &why))),
            }
        };
        notes.timing.now = client.now();
        notes.last = client.core.draining.get();
        entry.status = status;
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        let head = (&tried.answer.head, &*tried.answer.bytes);
        let after = rescue::rewritten(client, self.incoming, head, Bytes::from(text), notes).await;
        upstream::recycle(&client.core, &tried.route, tried.answer);
        after.map(Ok)
    }

    /// A provider's error in the client's dialect, its status kept.
    fn error_text<N: Net>(&self, tried: &Tried<N>, body: &[u8]) -> Vec<u8> {
        let status = tried.answer.head.status;
        let told = tried.adapter.error(status, body);
        let (kind, message) = match told {
            Some(error) => {
                (error.kind, format!("{} error: {}", tried.adapter.name(), error.message))
            }
            None => {
                let text = String::from_utf8_lossy(body);
                let text: String = text.chars().take(limits::ERROR_EXCERPT_CHARS_MAX).collect();
                let name = tried.adapter.name();
                ("upstream_error".to_owned(), format!("{name} answered {status}: {}", text.trim()))
            }
        };
        dialect::error_body(self.call.dialect, status, &kind, &message, None, None)
    }

    pub(super) fn reply_text<'e, N: Net>(
        &self,
        tried: &Tried<N>,
        body: &mut BytesMut,
        entry: &mut Entry<'e>,
    ) -> Result<Vec<u8>, String> {
        let reply = tried.adapter.reply(body)?;
        let model = (!reply.model.is_empty()).then(|| reply.model.clone());
        let estimate = || self.estimate(tried, estimate::of_reply(&reply));
        self.account(entry, tried, reply.usage.or_else(estimate), model);
        Ok(speak::write_reply(self.call.dialect, &reply, self.meta(tried)))
    }

    fn meta<N: Net>(&self, tried: &Tried<N>) -> Meta {
        Meta {
            id: format!("chatcmpl-{}", self.request_id),
            model: tried.model.clone(),
            created: self.incoming.accepted_unix.seconds(),
            include_usage: !tried.outgoing.withhold_usage,
            strict: tried.strict,
        }
    }

    /// What a complete answer used, where the provider does not say.
    pub(super) fn estimate<N: Net>(&self, tried: &Tried<N>, output: u64) -> Option<Usage> {
        let Question::Json { body, .. } = self.question else { return None };
        // A response that is made in the background has not been made yet.
        let made = self.question.field("background") != Some(b"true");
        let counted = self.call.typed && is_generated(self.call.endpoint);
        let whole = matches!(tried.answer.head.status, 200 | FAILED_STATUS);
        (made && counted && whole).then(|| estimate::usage(body, output))
    }

    /// Notes tokens and money.
    pub(super) fn account<'e, N: Net>(
        &self,
        entry: &mut Entry<'e>,
        tried: &Tried<N>,
        usage: Option<Usage>,
        model: Option<String>,
    ) {
        if let Some(model) = model {
            entry.served_model = Cow::Owned(model);
        } else if let Some(attempt) = entry.attempts.last() {
            entry.served_model = attempt.model.clone();
        }
        entry.usage = usage;
        if let Some(usage) = &entry.usage {
            let provider = tried.adapter.name();
            let at = self.incoming.accepted_unix;
            entry.cost = Some(price::cost(provider, &entry.served_model, usage, at));
        }
    }
}

pub(super) fn is_events<N: Net>(tried: &Tried<N>) -> bool {
    tried.answer.head.status < 300 && tried.media == Media::Events
}

/// What kind of body an answer says it has, as far as the relay tells kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Events,
    Json,
    Other,
}

impl Media {
    pub(super) fn of<R, W>(answer: &upstream::Answer<R, W>) -> Media {
        let value = answer.head.find(&answer.bytes, "content-type").unwrap_or_default();
        let starts = |prefix: &[u8]| {
            value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if starts(b"text/event-stream") {
            Media::Events
        } else if starts(b"application/json") || contains_json(value) {
            Media::Json
        } else {
            Media::Other
        }
    }
}

fn contains_json(media: &[u8]) -> bool {
    media.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"))
}

pub(super) fn is_encoded<R, W>(answer: &upstream::Answer<R, W>) -> bool {
    let coding = answer.head.find(&answer.bytes, "content-encoding");
    coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

fn ended(kind: Kind, why: &str) -> Ended {
    let fault = Fault::new(Stage::Relay, Source::Upstream, kind, why.to_owned());
    Ended { fault, status: None, told: false }
}

/// Endpoints whose answers a model writes token by token: their streams say themselves when they are complete.
fn is_generated(endpoint: Endpoint) -> bool {
    use Endpoint::{ChatCompletions, Completions, Messages, Responses};
    matches!(endpoint, ChatCompletions | Completions | Messages | Responses)
}
