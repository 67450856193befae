//! From an upstream's answer to the client's: as it is, watched, translated, or written anew; and what it used.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::{
    arriving::{Arriving, Lost},
    attempt::Tried,
    attempts::Attempts,
    client::{Client, gone},
    connection::After,
    digest::{Digest, Ended, Opaque},
    events::{Translated, Watched},
    outgoing::Outgoing,
    question::Question,
    relay::{self, Passage, Passed},
    rescue,
    respond::Notes,
    route::Call,
    upstream,
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source},
        ids::RequestId,
        limits,
        units::UnixTime,
    },
    chat::{estimate, reply::Reply, usage::Usage},
    dialect::{
        self,
        speak::{self, Meta},
    },
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::{attempt::FAILED_STATUS, price, resolve::ResolvedTarget},
    provider::{Adapter, Endpoint, Fit},
    wire::head::{Framing, Version},
};

impl<'e> Attempts<'_, 'e> {
    /// What the body of an answer is.
    pub(super) fn digest<R, W>(
        &self,
        answer: &upstream::Answer<R, W>,
        media: Media,
        target: &ResolvedTarget<'_>,
        outgoing: &Outgoing,
    ) -> Box<dyn Digest> {
        let model = target.model.as_deref().unwrap_or_default();
        let meta = || self.meta(model, target.strict, outgoing.withhold_usage);
        let asked = (outgoing.fit, outgoing.withhold_usage);
        digest_of(self.call, answer, media, target.adapter, asked, meta)
    }

    /// Whether only a length would tell the client a cut from an end: it speaks HTTP/1.0.
    pub(super) fn needs_length(&self, framing: Framing) -> bool {
        let known = matches!(framing, Framing::None | Framing::Length(_));
        !known && self.incoming.head().version == Version::Http10
    }

    /// Takes a good answer to where the client may be told of it.
    pub(super) async fn hold<N: Net, P: Waiter<N>>(
        &self,
        waiter: &mut P,
        tried: &mut Tried<N>,
    ) -> Result<(), Lost> {
        if self.must_rewrite(tried) {
            return Box::pin(read_reply(waiter, tried)).await;
        }
        tried.arriving.until_commit(waiter).await
    }

    /// Passes on the answer that is left when no target does better.
    pub(super) async fn pass_on_rest<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        if tried.verdict.is_some() {
            return self.pass_verdict(client, tried, entry, notes).await;
        }
        notes.provider = Some(tried.adapter.name());
        notes.error_source = Some(Source::Upstream.as_str());
        let arrived = match self.must_rewrite(&tried) {
            true => return self.pass_on_error(client, tried, entry, notes).await,
            false => tried.arriving.until_commit(client).await,
        };
        match arrived {
            Ok(()) => self.pass_on(client, tried, entry, notes).await,
            Err(Lost::Client) => Err(gone("the client closed")),
            Err(Lost::Upstream(ended)) => Err(ended.fault),
        }
    }

    /// Passes on an answer that is at its commit point.
    pub(super) async fn pass_on<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        notes.dropped_params = tried.dropped.join(",");
        entry.dropped_params = tried.dropped.iter().map(ToString::to_string).collect();
        if let Some(reply) = tried.reply.take() {
            return Box::pin(self.pass_on_reply(client, tried, &reply, entry, notes)).await;
        }
        notes.timing.now = client.now();
        let status = tried.status();
        let Tried { arriving, fit, adapter, stream, .. } = &mut *tried;
        if arriving.events {
            client.hold.stream();
        }
        let mut passage = Passage {
            incoming: self.incoming,
            dialect: self.call.dialect,
            notes,
            content_type: (*fit == Fit::Translate).then_some("text/event-stream"),
            guard: stream.as_ref(),
        };
        let Passed { after, fault } = relay::relay(client, arriving, &mut passage).await;
        entry.status = client.answered.unwrap_or(status);
        let Arriving { digest, first_token, last_byte, .. } = arriving;
        entry.times.first_token = first_token.map_or(0, |at| entry.at(at));
        entry.times.last_byte = last_byte.map_or(0, |at| entry.at(at));
        let estimate = || self.estimate(status, digest.output_estimate());
        let usage = digest.usage().or_else(|| if fault.is_none() { estimate() } else { None });
        self.account(entry, *adapter, usage, digest.model());
        if tried.guarding.is_some() {
            self.note_stream(client, &tried, entry, fault.is_none());
        }
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        if let Some(fault) = fault {
            entry.client_gone = fault.kind == Kind::ClientGone;
            entry.truncated = !entry.client_gone;
            entry.fault = Some(fault);
        } else {
            upstream::recycle(&client.core, &tried.route, tried.arriving.answer);
        }
        Ok(after)
    }

    /// Whether the body must be had whole to be written anew: a translated plain answer, an error in another
    /// dialect, an error that no SDK can read.
    fn must_rewrite<N: Net>(&self, tried: &Tried<N>) -> bool {
        let status = tried.status();
        let translated = tried.fit == Fit::Translate;
        if status < 400 {
            return translated && !tried.arriving.events;
        }
        let json = tried.media == Media::Json;
        translated || (self.call.typed && !json && !is_encoded(&tried.arriving.answer))
    }

    /// Writes an error anew, its status kept.
    async fn pass_on_error<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        notes.dropped_params = tried.dropped.join(",");
        entry.dropped_params = tried.dropped.iter().map(ToString::to_string).collect();
        let mut body = BytesMut::new();
        let most = limits::ERROR_BODY_BYTES_MAX;
        // Of an error that breaks off the status says enough.
        if let Err(Lost::Client) = tried.arriving.collect(client, most, &mut body).await {
            return Err(gone("the client closed"));
        }
        let text = self.error_text(&tried, &body);
        self.pass_on_text(client, tried, text, entry, notes).await
    }

    /// Writes a plain answer anew.
    async fn pass_on_reply<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: Box<Tried<N>>,
        reply: &Reply,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        let model = (!reply.model.is_empty()).then(|| reply.model.clone());
        let estimate = || self.estimate(tried.status(), estimate::of_reply(reply));
        self.account(entry, tried.adapter, reply.usage.or_else(estimate), model);
        let meta = self.meta(&tried.model, tried.strict, tried.withhold_usage);
        let text = speak::write_reply(self.call.dialect, reply, meta);
        self.pass_on_text(client, tried, text, entry, notes).await
    }

    async fn pass_on_text<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: Box<Tried<N>>,
        text: Vec<u8>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        notes.timing.now = client.now();
        notes.last = client.core.draining.get();
        entry.status = tried.status();
        let at = entry.at(notes.timing.now);
        entry.times.last_byte = tried.arriving.last_byte.map_or(at, |last| entry.at(last));
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        let Tried { arriving: Arriving { answer, .. }, route, .. } = *tried;
        let head = (&answer.head, &*answer.bytes);
        let after = rescue::rewritten(client, self.incoming, head, Bytes::from(text), notes).await;
        upstream::recycle(&client.core, &route, answer);
        after
    }

    /// A provider's error in the client's dialect, its status kept.
    fn error_text<N: Net>(&self, tried: &Tried<N>, body: &[u8]) -> Vec<u8> {
        let status = tried.status();
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

    pub(super) fn meta(&self, model: &str, strict: bool, withhold_usage: bool) -> Meta {
        meta_of(self.request_id, model, self.incoming.accepted_unix, strict, withhold_usage)
    }

    /// What a complete answer used, where the provider does not say.
    pub(super) fn estimate(&self, status: u16, output: u64) -> Option<Usage> {
        let Question::Json { body, .. } = self.question else { return None };
        // A response that is made in the background has not been made yet.
        let made = self.question.field("background") != Some(b"true");
        let counted = self.call.typed && is_generated(self.call.endpoint);
        let whole = matches!(status, 200 | FAILED_STATUS);
        (made && counted && whole).then(|| estimate::usage(body, output))
    }

    /// Notes tokens and money.
    pub(super) fn account(
        &self,
        entry: &mut Entry<'e>,
        adapter: &'static dyn Adapter,
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
            let provider = adapter.name();
            let at = self.incoming.accepted_unix;
            entry.cost = Some(price::cost(provider, &entry.served_model, usage, at));
        }
    }
}

/// What the body of an answer is: events, watched or translated, or bytes. `asked`: how the provider serves the
/// request, and whether usage is to be kept from the client.
pub(super) fn digest_of<R, W>(
    call: &Call<'_>,
    answer: &upstream::Answer<R, W>,
    media: Media,
    adapter: &'static dyn Adapter,
    asked: (Fit, bool),
    meta: impl FnOnce() -> Meta,
) -> Box<dyn Digest> {
    let (fit, withhold_usage) = asked;
    let generated = is_generated(call.endpoint);
    let good = answer.head.status < 300;
    let clear = !is_encoded(answer);
    if good && media == Media::Events && fit == Fit::Translate {
        let writer = speak::writer(call.dialect, meta());
        return Box::new(Translated::new(adapter.translate(), writer));
    }
    if good && media == Media::Events && clear {
        let watch = adapter.watch(call.endpoint, withhold_usage);
        return Box::new(Watched::new(watch, generated));
    }
    let tapped = media == Media::Json && clear && good;
    let framing = answer.head.framing;
    let ends_anywhere = framing == Framing::UntilClose;
    let object = call.typed && generated && framing != Framing::None;
    Box::new(Opaque::new(adapter, call.endpoint, tapped, ends_anywhere, object))
}

/// What an answer that is written anew says of itself.
pub(super) fn meta_of(
    id: RequestId,
    model: &str,
    accepted: UnixTime,
    strict: bool,
    withhold_usage: bool,
) -> Meta {
    Meta {
        id: format!("chatcmpl-{id}"),
        model: model.to_owned(),
        created: accepted.seconds(),
        include_usage: !withhold_usage,
        strict,
    }
}

/// Reads a plain answer whole and understands it, to be written anew.
async fn read_reply<N: Net, P: Waiter<N>>(
    waiter: &mut P,
    tried: &mut Tried<N>,
) -> Result<(), Lost> {
    let mut body = BytesMut::new();
    let broken = |why: &str| Lost::Upstream(Ended::broken(Kind::Protocol, why.to_owned()));
    let most = limits::REPLY_BYTES_MAX;
    if !tried.arriving.collect(waiter, most, &mut body).await? {
        return Err(broken("the upstream's answer is too large"));
    }
    tried.reply = Some(tried.adapter.reply(&mut body).map_err(|why| broken(&why))?);
    Ok(())
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

/// Endpoints whose answers a model writes token by token: their streams say themselves when they are complete.
fn is_generated(endpoint: Endpoint) -> bool {
    use Endpoint::{ChatCompletions, Completions, Messages, Responses};
    matches!(endpoint, ChatCompletions | Completions | Messages | Responses)
}
