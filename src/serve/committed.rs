//! An answer that is the client's: passed on, watched to its end, and accounted for. By then nothing else is left of its
//! exchange but the record: a stream may be open for an hour.

use bytes::Bytes;

use super::{
    account::{Basis, account},
    arriving::Arriving,
    attempt::Tried,
    client::Client,
    connection::{After, Incoming},
    judged_stream::note_stream,
    lesson::Lesson,
    relay::{self, Passage, Passed},
    rescue,
    respond::Notes,
    route::Call,
    upstream,
};
use crate::{
    base::fault::{Fault, Kind},
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    provider::Fit,
};

/// An answer at its commit point. No other try can follow it.
pub struct Committed<N: Net> {
    /// The answer.
    pub(super) tried: Box<Tried<N>>,
    /// Its body, if it was written anew.
    pub(super) text: Option<Bytes>,
    /// What its use is estimated from.
    pub(super) basis: Basis,
    /// What its end teaches; `None`: nobody asks.
    pub(super) lesson: Option<Box<Lesson>>,
}

/// Passes on a committed answer to its end. A fault: nobody knows whether the client has it.
pub(super) async fn pass_on<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    (incoming, call): (&Incoming, &Call<'_>),
    committed: Committed<N>,
    entry: &mut Entry<'_>,
    notes: &mut Notes<'_>,
) -> Result<After, Fault> {
    let Committed { mut tried, text, basis, lesson } = committed;
    notes.timing.now = client.now();
    let after = match text {
        Some(text) => pass_on_text(client, incoming, tried, text, entry, notes).await?,
        None => {
            let status = tried.status();
            let passed = pass_on_body(client, incoming, call, &mut tried, notes).await;
            entry.status = client.answered.unwrap_or(status);
            note_use(&mut tried, &basis, status, passed.fault.is_none(), entry);
            end(client, tried, passed, entry)
        }
    };
    if let Some(lesson) = lesson {
        lesson.learn(entry, || client.now());
    }
    Ok(after)
}

/// Passes on a body as it comes.
async fn pass_on_body<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    call: &Call<'_>,
    tried: &mut Tried<N>,
    notes: &mut Notes<'_>,
) -> Passed {
    let Tried { arriving, fit, stream, .. } = tried;
    if arriving.events {
        client.hold.stream();
    }
    let mut passage = Passage {
        incoming,
        dialect: call.dialect,
        notes,
        content_type: (*fit == Fit::Translate).then_some("text/event-stream"),
        guard: stream.as_deref(),
    };
    relay::relay(client, arriving, &mut passage).await
}

/// Notes when the answer came and what it used. `whole`: it is complete.
fn note_use<N: Net>(
    tried: &mut Tried<N>,
    basis: &Basis,
    status: u16,
    whole: bool,
    entry: &mut Entry<'_>,
) {
    let Arriving { digest, first_token, last_byte, .. } = &mut tried.arriving;
    entry.times.first_token = first_token.map_or(0, |at| entry.at(at));
    entry.times.last_byte = last_byte.map_or(0, |at| entry.at(at));
    let estimate = || basis.estimate(status, digest.output_estimate());
    let usage = digest.usage().or_else(|| if whole { estimate() } else { None });
    account(entry, tried.adapter, usage, digest.model());
}

/// Writes into the record how the answer ended. Its connection may serve another request.
fn end<N: Net, R: Reader, W: Writer>(
    client: &Client<N, R, W>,
    tried: Box<Tried<N>>,
    passed: Passed,
    entry: &mut Entry<'_>,
) -> After {
    let Passed { after, fault } = passed;
    if let Some(guarding) = &tried.guarding {
        note_stream(client, guarding, tried.stream.as_deref(), entry, fault.is_none());
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
    after
}

/// Passes on a body that was written anew.
async fn pass_on_text<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    tried: Box<Tried<N>>,
    text: Bytes,
    entry: &mut Entry<'_>,
    notes: &mut Notes<'_>,
) -> Result<After, Fault> {
    notes.last = client.core.draining.get();
    entry.status = tried.status();
    let at = entry.at(notes.timing.now);
    entry.times.last_byte = tried.arriving.last_byte.map_or(at, |last| entry.at(last));
    if let Some(attempt) = entry.attempt() {
        attempt.ended = at;
    }
    let answer = &tried.arriving.answer;
    let head = (&answer.head, &*answer.bytes);
    let after = rescue::rewritten(client, incoming, head, text, notes).await;
    upstream::recycle(&client.core, &tried.route, tried.arriving.answer);
    after
}
