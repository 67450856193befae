//! What the client is told besides the body: the head of every answer, with Trunkline's own headers.

use std::{borrow::Cow, rc::Rc};

use bytes::{Bytes, BytesMut};

use super::{
    connection::{After, Incoming},
    cors::Sharing,
};
use crate::{
    base::{ids::RequestId, units::Instant},
    wire::{
        head::{Method, ResponseHead, Version},
        render::{HeadWriter, RenderError},
    },
};

/// How the body of an answer to the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is none; the length that one would have, if it is known.
    NoBody(Option<u64>),
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// Where the connection closes: all that HTTP/1.0 has.
    Close,
}

impl Ending {
    /// The ending for a body whose length is known or not.
    pub fn of(incoming: &Incoming, length: Option<u64>) -> Ending {
        match (incoming.head().method, length, incoming.head().version) {
            (Method::Head, length, _) => Ending::NoBody(length),
            (_, Some(length), _) => Ending::Length(length),
            (_, None, Version::Http11) => Ending::Chunked,
            (_, None, Version::Http10) => Ending::Close,
        }
    }

    /// What the connection can do after it.
    pub fn after(self, incoming: &Incoming) -> After {
        if incoming.keep_alive && self != Ending::Close { After::KeepAlive } else { After::Close }
    }
}

/// What Trunkline says about an exchange in its answer's head.
#[derive(Debug, Default)]
pub struct Notes<'a> {
    /// The request's id.
    pub request_id: RequestId,
    /// The trace id that the client gave; empty: the request's id serves as one.
    pub trace_id: Cow<'a, str>,
    /// The provider that answered.
    pub provider: Option<&'static str>,
    /// Its place in the config.
    pub option_index: Option<Rc<str>>,
    /// See [`crate::policy::attempt::Walk::retry_attempt_count`].
    pub retry_count: i32,
    /// Parameters dropped in translation, joined with commas.
    pub dropped_params: String,
    /// Who is to blame, if it is an error.
    pub error_source: Option<&'static str>,
    /// Whether no further request will be served on the connection, whatever the client says.
    pub last: bool,
    /// Whether a page of another origin may read it.
    pub sharing: Sharing<'a>,
    /// When what happened.
    pub timing: Timing,
}

/// The points that `server-timing` is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// The request's first byte.
    pub accepted: Instant,
    /// The request was out to the upstream.
    pub sent: Option<Instant>,
    /// The answer's first byte was in.
    pub first_byte: Option<Instant>,
    /// The stream's first content event.
    pub first_token: Option<Instant>,
    /// Now.
    pub now: Instant,
}

/// The head of an answer that comes from an upstream.
pub fn passed_on(
    incoming: &Incoming,
    answer: &ResponseHead,
    bytes: &[u8],
    content_type: Option<&str>,
    ending: Ending,
    notes: &Notes<'_>,
) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 512);
    let write = |out: &mut BytesMut| -> Result<(), RenderError> {
        let mut head = HeadWriter::response(out, answer.status)?;
        let keep = |name: &[u8]| {
            !is_withheld(name, content_type.is_some()) && !notes.sharing.withholds(name)
        };
        answer.end_to_end_runs(bytes, keep, |lines| head.known_lines(lines));
        if let Some(content_type) = content_type {
            head.header("content-type", content_type)?;
        }
        finish(head, incoming, ending, notes)
    };
    match write(&mut out) {
        Ok(()) => out.freeze(),
        // The parser let nothing through that cannot be written; if it ever does, no half head gets out.
        Err(_) => local(incoming, 502, "text/plain", ending, notes, &[]),
    }
}

/// The head of an answer that Trunkline gives itself.
pub fn local(
    incoming: &Incoming,
    status: u16,
    content_type: &str,
    ending: Ending,
    notes: &Notes<'_>,
    extra: &[(&str, &str)],
) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    let write = |out: &mut BytesMut| -> Result<(), RenderError> {
        let mut head = HeadWriter::response(out, status)?;
        head.header("content-type", content_type)?;
        for (name, value) in extra {
            head.header(name, value)?;
        }
        finish(head, incoming, ending, notes)
    };
    if write(&mut out).is_err() {
        return Bytes::from_static(
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        );
    }
    out.freeze()
}

fn finish(
    mut head: HeadWriter<'_>,
    incoming: &Incoming,
    ending: Ending,
    notes: &Notes<'_>,
) -> Result<(), RenderError> {
    note(&mut head, notes)?;
    notes.sharing.write(&mut head)?;
    match ending {
        Ending::NoBody(None) => {}
        Ending::NoBody(Some(length)) | Ending::Length(length) => head.length(length)?,
        Ending::Chunked => head.chunked()?,
        Ending::Close => {}
    }
    match (ending.after(incoming), incoming.head().version) {
        (After::KeepAlive, _) if notes.last => head.header("connection", "close")?,
        (After::Close, _) => head.header("connection", "close")?,
        (After::KeepAlive, Version::Http10) => head.header("connection", "keep-alive")?,
        (After::KeepAlive, Version::Http11) => {}
    }
    head.finish();
    Ok(())
}

fn note(head: &mut HeadWriter<'_>, notes: &Notes<'_>) -> Result<(), RenderError> {
    let id = notes.request_id.digits();
    let id = id.as_bytes();
    head.known_line([b"x-trunkline-request-id: ", id]);
    if notes.trace_id.is_empty() {
        head.known_line([b"x-portkey-trace-id: ", id]);
    } else {
        head.own("x-portkey-trace-id", &*notes.trace_id)?;
    }
    if let Some(provider) = notes.provider {
        head.known_line([b"x-portkey-provider: ", provider.as_bytes()]);
        head.own(
            "x-portkey-last-used-option-index",
            notes.option_index.as_deref().unwrap_or("config"),
        )?;
        let mut digits = itoa::Buffer::new();
        let retries = digits.format(notes.retry_count).as_bytes();
        head.known_line([b"x-portkey-retry-attempt-count: ", retries]);
        head.known_line([b"x-portkey-cache-status: DISABLED"]);
    }
    if !notes.dropped_params.is_empty() {
        head.own("x-trunkline-dropped-params", &notes.dropped_params)?;
    }
    if let Some(source) = notes.error_source {
        head.own("x-trunkline-error-source", source)?;
    }
    server_timing(head, &notes.timing);
    Ok(())
}

/// `gw`: what Trunkline took before the request was out; `upstream`: from then to the answer's first byte; `ttft`:
/// from the request's first byte to the first token. Milliseconds.
fn server_timing(head: &mut HeadWriter<'_>, timing: &Timing) {
    const OWN: &[u8] = b"server-timing: gw;dur=";
    const UPSTREAM: &[u8] = b", upstream;dur=";
    let own = Millis::between(timing.accepted, timing.sent.unwrap_or(timing.now));
    let (Some(sent), Some(first_byte)) = (timing.sent, timing.first_byte) else {
        return head.known_line([OWN, own.text()]);
    };
    let upstream = Millis::between(sent, first_byte);
    let Some(token) = timing.first_token else {
        return head.known_line([OWN, own.text(), UPSTREAM, upstream.text()]);
    };
    let token = Millis::between(timing.accepted, token);
    let parts = [OWN, own.text(), UPSTREAM, upstream.text(), b", ttft;dur=", token.text()];
    head.known_line(parts);
}

/// Milliseconds to the microsecond as text: in integers, a tenth of what formatting a float costs.
struct Millis {
    text: [u8; MILLIS_BYTES_MAX],
    length: usize,
}

/// The longest number of 64 bits, with its point.
const MILLIS_BYTES_MAX: usize = 21;

impl Millis {
    fn between(from: Instant, to: Instant) -> Millis {
        let micros = to.nanos.saturating_sub(from.nanos) / 1000;
        let digit = |number: u64| b"0123456789"[(number % 10) as usize];
        let mut number = itoa::Buffer::new();
        let whole = number.format(micros / 1000).as_bytes();
        let mut text = [0; MILLIS_BYTES_MAX];
        text[..whole.len()].copy_from_slice(whole);
        text[whole.len()..whole.len() + 4].copy_from_slice(&[
            b'.',
            digit(micros / 100),
            digit(micros / 10),
            digit(micros),
        ]);
        Millis { text, length: whole.len() + 4 }
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// Upstream headers that are not passed on: those that Trunkline writes itself, and those that would let an upstream
/// speak in its name.
fn is_withheld(name: &[u8], has_content_type: bool) -> bool {
    let starts = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'x') => starts("x-portkey-") || starts("x-trunkline-"),
        Some(b's') => is("server-timing"),
        Some(b'c') => {
            is("content-length")
                || (has_content_type && (is("content-type") || is("content-encoding")))
        }
        _ => false,
    }
}
