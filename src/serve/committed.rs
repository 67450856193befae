//! An answer that is the client's: passed on, watched to its end, and accounted for. By then nothing else is left of
//! its exchange but the record: a stream may be open for an hour.

use bytes::Bytes;

use super::{
    account::{Basis, account},
    arriving::Arriving,
    attempt::Tried,
    client::Client,
    connection::{After, Incoming},
    judged_stream::note_stream,
    lesson::Lesson,
    relay::{Passage, Passed, Relay},
    rescue,
    respond::Notes,
    upstream,
};
use crate::{
    base::{fault::Kind, units::Instant},
    dialect::Dialect,
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
    /// Its status at that point.
    pub(super) status: u16,
    /// What its end teaches; `None`: nobody asks.
    pub(super) lesson: Option<Box<Lesson>>,
}

impl<N: Net> Committed<N> {
    /// Whether it holds the request: for what is estimated of it at once, or for guardrails that look at the answer.
    pub(super) fn holds_request(&self) -> bool {
        matches!(self.basis, Basis::Body(_)) || self.tried.guarding.is_some()
    }

    /// Passes it on to its end.
    pub(super) async fn pass_on<R: Reader, W: Writer>(
        &mut self,
        client: &mut Client<N, R, W>,
        incoming: &Incoming,
        dialect: Dialect,
        notes: &mut Notes<'_>,
    ) -> Passed {
        notes.timing.now = client.now();
        let Tried { arriving, fit, stream, .. } = &mut *self.tried;
        if let Some(text) = &mut self.text {
            arriving.last_byte.get_or_insert(notes.timing.now);
            let answer = &arriving.answer;
            let head = (&answer.head, &*answer.bytes);
            let text = std::mem::take(text);
            return rescue::rewritten(client, incoming, head, text, notes).await;
        }
        if arriving.events {
            client.hold.stream();
        }
        let content_type = (*fit == Fit::Translate).then_some("text/event-stream");
        let guard = stream.as_deref();
        let passage = Passage { incoming, dialect, notes, content_type, guard };
        Relay::new(client, arriving, passage).run().await
    }

    /// It was passed on: the record and the target's health learn how, and its connection may serve another request.
    pub(super) fn end<R: Reader, W: Writer>(
        mut self,
        client: &Client<N, R, W>,
        passed: Passed,
        entry: &mut Entry<'_>,
        notes: &Notes<'_>,
    ) -> After {
        let Passed { after, fault } = passed;
        entry.status = client.answered.unwrap_or(self.tried.status());
        let rewritten = self.text.is_some();
        let ended = match rewritten {
            true => notes.timing.now,
            false => {
                self.note_use(client, entry, fault.is_none());
                client.now()
            }
        };
        note_end(&self.tried.arriving, ended, entry);
        if rewritten || fault.is_none() {
            upstream::recycle(&client.core, &self.tried.route, self.tried.arriving.answer);
        }
        if let Some(fault) = fault {
            entry.client_gone = fault.kind == Kind::ClientGone;
            entry.truncated = !entry.client_gone;
            entry.fault = Some(fault);
        }
        if let Some(lesson) = self.lesson {
            lesson.learn(entry, || client.now());
        }
        after
    }

    /// Notes what it used, and what guardrails found in it. `whole`: the client has all of it.
    fn note_use<R: Reader, W: Writer>(
        &mut self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        whole: bool,
    ) {
        let Committed { tried, basis, status, .. } = self;
        let Tried { arriving: Arriving { digest, .. }, adapter, guarding, stream, .. } =
            &mut **tried;
        let estimate = || basis.estimate(*status, digest.output_estimate());
        let usage = digest.usage().or_else(|| if whole { estimate() } else { None });
        account(entry, *adapter, usage, digest.model());
        if let Some(guarding) = guarding {
            note_stream(client, guarding, stream.as_deref(), entry, whole);
        }
    }
}

/// Writes into the record when its parts came. `ended`: when the try was over.
fn note_end<N: Net>(arriving: &Arriving<N>, ended: Instant, entry: &mut Entry<'_>) {
    let Arriving { first_token, last_byte, .. } = arriving;
    entry.times.first_token = first_token.map_or(0, |at| entry.at(at));
    entry.times.last_byte = last_byte.map_or(0, |at| entry.at(at));
    let at = entry.at(ended);
    if let Some(attempt) = entry.attempt() {
        attempt.ended = at;
    }
}
