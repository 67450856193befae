//! What an upstream's answer is on its way to the client: passed as it is, watched, translated, or written anew.

use bytes::BytesMut;

use super::{
    arriving::Lost,
    attempt::Tried,
    attempts::Attempts,
    digest::{Digest, Ended, Opaque},
    events::{Translated, Watched},
    outgoing::Outgoing,
    route::Call,
    upstream,
    waiter::Waiter,
};
use crate::{
    base::{fault::Kind, ids::RequestId, limits, units::UnixTime},
    dialect::speak::{self, Meta},
    io::net::Net,
    policy::resolve::ResolvedTarget,
    provider::{Adapter, Endpoint, Fit},
    wire::head::{Framing, Version},
};

impl Attempts<'_, '_> {
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

    /// Whether the body must be had whole to be written anew: a translated plain answer, an error in another
    /// dialect, an error that no SDK can read.
    pub(super) fn must_rewrite<N: Net>(&self, tried: &Tried<N>) -> bool {
        let status = tried.status();
        let translated = tried.fit == Fit::Translate;
        if status < 400 {
            return translated && !tried.arriving.events;
        }
        let json = tried.media == Media::Json;
        translated || (self.call.typed && !json && !is_encoded(&tried.arriving.answer))
    }

    pub(super) fn meta(&self, model: &str, strict: bool, withhold_usage: bool) -> Meta {
        meta_of(self.request_id, model, self.incoming.accepted_unix, strict, withhold_usage)
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
    tried.reply = Some(Box::new(tried.adapter.reply(&mut body).map_err(|why| broken(&why))?));
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
pub(super) fn is_generated(endpoint: Endpoint) -> bool {
    use Endpoint::{ChatCompletions, Completions, Messages, Responses};
    matches!(endpoint, ChatCompletions | Completions | Messages | Responses)
}
