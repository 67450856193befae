//! An answer on its way to the client, from its commit point on. After that a break ends in an error event and an
//! unclean close, never in silence.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    arriving::{Arriving, Lost, Patience},
    client::{Client, Sending, gone},
    connection::{After, EXCHANGE_EXTENTS, Incoming},
    digest::{Ended, frame_chunk},
    guarded::StreamGuard,
    rescue,
    respond::{self, Ending, Notes},
};
use crate::{
    base::{
        fault::{Fault, Stage},
        limits,
        units::Instant,
    },
    dialect::Dialect,
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
    },
    wire::{head::Framing, render},
};

/// How an answer is to be passed on.
pub struct Passage<'a, 'n> {
    /// The request that it answers.
    pub incoming: &'a Incoming,
    /// The client's dialect, which an error event is written in.
    pub dialect: Dialect,
    /// What the head says.
    pub notes: &'a mut Notes<'n>,
    /// The content type, if it is not the upstream's.
    pub content_type: Option<&'static str>,
    /// What judges it at its end, unless that was done.
    pub guard: Option<&'a StreamGuard>,
}

/// An answer that was committed to the client.
#[derive(Debug)]
pub struct Passed {
    /// What the connection can do now.
    pub after: After,
    /// Why it was cut, if it was.
    pub fault: Option<Fault>,
}

/// The way of an answer from its commit point.
pub struct Relay<'r, 'a, 'n, N: Net, R: Reader, W: Writer> {
    client: &'r mut Client<N, R, W>,
    arriving: &'r mut Arriving<N>,
    passage: Passage<'a, 'n>,
    /// Set when the head is made.
    ending: Option<Ending>,
    /// What the client has not taken yet, if it has to be waited for.
    unsent: Option<Box<Unsent>>,
}

/// Bytes on their way to the client.
struct Unsent {
    sending: Sending,
    /// When the answer's time is up, if that ends the wait for the client.
    over: Option<Instant>,
}

/// Why an answer does not come to its end.
enum Stop {
    /// The upstream broke, or the gateway is stopped: the client is to be told.
    Broken(Ended),
    /// The client does not take it.
    Client(Fault),
}

impl<'r, 'a, 'n, N: Net, R: Reader, W: Writer> Relay<'r, 'a, 'n, N, R, W> {
    /// For an answer that has come to its commit point.
    pub fn new(
        client: &'r mut Client<N, R, W>,
        arriving: &'r mut Arriving<N>,
        passage: Passage<'a, 'n>,
    ) -> Relay<'r, 'a, 'n, N, R, W> {
        arriving.patience.token = None; // from here on a pause is a pause
        Relay { client, arriving, passage, ending: None, unsent: None }
    }

    /// Passes it on.
    pub async fn run(&mut self) -> Passed {
        match self.pass_on().await {
            Ok(()) => {
                let after = self.ending.map_or(After::Close, |e| e.after(self.passage.incoming));
                Passed { after, fault: None }
            }
            Err(Stop::Client(fault)) => Passed { after: After::Close, fault: Some(fault) },
            Err(Stop::Broken(ended)) => Box::pin(self.broken(ended)).await,
        }
    }

    async fn pass_on(&mut self) -> Result<(), Stop> {
        if self.arriving.events {
            self.client.core.net.expect(EXCHANGE_EXTENTS, &self.arriving.extents());
        }
        poll_fn(|cx| self.poll_arrived(cx)).await?;
        if let Some(guard) = self.passage.guard {
            let judged = Box::pin(guard.finish(self.client, self.arriving)).await;
            judged.map_err(Stop::Broken)?;
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Passes on all that comes but what comes last. This runs for every event of every stream: one function, whose
    /// state is the relay itself, since each level of futures costs a look at memory that has not been seen for long.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        while !self.arriving.complete {
            ready!(self.poll_flush(cx))?;
            let more = match ready!(self.arriving.poll_more(cx, self.client)) {
                Ok(()) => self.arriving.take(self.client),
                Err(Lost::Upstream(ended)) => Err(ended),
                Err(Lost::Client) => return Poll::Ready(Err(self.client_lost())),
            };
            if let Err(ended) = more.or_else(|ended| self.arriving.forgive(ended, self.client)) {
                return Poll::Ready(Err(Stop::Broken(ended)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The client has gone, or was cut off.
    fn client_lost(&self) -> Stop {
        match self.client.cut() {
            Some(fault) => Stop::Broken(Ended { fault, status: None, told: false }),
            None => Stop::Client(gone("the client closed before the answer was complete")),
        }
    }

    /// Sends what is there, behind the head if that is not out.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if let Some(unsent) = &mut self.unsent {
            let sent = ready!(self.client.poll_send(cx, &mut unsent.sending));
            let unsent = self.unsent.take();
            return Poll::Ready(unsent.map_or(Ok(()), |unsent| self.sent(sent, *unsent)));
        }
        let list = self.gather();
        if list.is_empty() {
            self.client.core.lists.give(list);
            return Poll::Ready(Ok(()));
        }
        let mut unsent = self.begin(list);
        match self.client.poll_send(cx, &mut unsent.sending) {
            Poll::Ready(sent) => Poll::Ready(self.sent(sent, unsent)),
            Poll::Pending => {
                self.unsent = Some(Box::new(unsent));
                Poll::Pending
            }
        }
    }

    /// What is to be sent now.
    fn gather(&mut self) -> WriteList {
        let mut list = self.client.list();
        if self.ending.is_none() {
            list.push(self.commit());
        }
        self.keep_for_log();
        let Arriving { pieces, complete, .. } = &mut *self.arriving;
        match self.ending {
            Some(Ending::NoBody(_)) => pieces.clear(),
            Some(Ending::Chunked) => {
                frame_chunk(pieces, &mut list);
                if *complete {
                    list.push(Bytes::from_static(render::LAST_CHUNK));
                }
            }
            _ => list.extend(pieces.drain(..)),
        }
        list
    }

    /// The list on its way, and how long that may take.
    fn begin(&self, list: WriteList) -> Unsent {
        // The upstream's pauses are no measure of how slow a client may be.
        let Patience { idle, total, .. } = self.arriving.patience;
        let within = idle.max(limits::CLIENT_TAKES_WITHIN);
        let now = self.client.now();
        // Who is slow is still to be told that the time is up, and a write that is cut short ends its connection.
        let grace = total.by.max(now).after(limits::TOTAL_GRACE);
        let deadline = now.after(within).min(grace);
        let over = (deadline == grace).then_some(grace);
        Unsent { sending: Sending::new(list, deadline), over }
    }

    /// The client has taken it all, or will not.
    fn sent(&self, sent: Result<(), Fault>, unsent: Unsent) -> Result<(), Stop> {
        self.client.core.lists.give(unsent.sending.list);
        sent.map_err(|gone| {
            // The client was there; it was the time that was not.
            let late = unsent.over.is_some_and(|over| self.client.now() >= over);
            let fault =
                if late { self.arriving.patience.total.ran_out(Stage::Relay) } else { gone };
            Stop::Client(self.client.cut().unwrap_or(fault))
        })
    }

    /// Keeps what the client is sent, if bodies are logged.
    fn keep_for_log(&mut self) {
        if let (Some(bodies), Some(ending)) = (&mut self.client.bodies, self.ending)
            && !matches!(ending, Ending::NoBody(_))
        {
            self.arriving.pieces.iter().for_each(|piece| bodies.answer.add(piece));
            self.client.hold.answer(bodies.answer.kept_bytes());
        }
    }

    /// Decides how the body will end and makes the head.
    fn commit(&mut self) -> Bytes {
        let Arriving { events, complete, first_token, ref answer, .. } = *self.arriving;
        let held = self.arriving.pieces.iter().map(|piece| piece.len() as u64).sum();
        let length = match answer.head.framing {
            Framing::None => answer.head.announced_length,
            Framing::Length(length) if !events => Some(length),
            _ => (complete && !events).then_some(held),
        };
        let ending = match answer.head.framing {
            Framing::None if answer.head.status == 204 => Ending::NoBody(None),
            Framing::None => Ending::NoBody(length),
            _ => Ending::of(self.passage.incoming, length),
        };
        self.ending = Some(ending);
        self.client.hold.answer(0);
        self.client.answered = Some(answer.head.status);
        if let Some(bodies) = &mut self.client.bodies {
            let own = self.passage.content_type.map(str::as_bytes);
            let theirs = || answer.head.find(&answer.bytes, "content-type");
            bodies.answer.of_type(own.or_else(theirs).unwrap_or_default());
        }
        let timing = &mut self.passage.notes.timing;
        timing.first_token = first_token.filter(|_| events);
        self.passage.notes.last = self.client.core.draining.get();
        let Passage { incoming, content_type, ref notes, .. } = self.passage;
        let head =
            respond::passed_on(incoming, &answer.head, &answer.bytes, content_type, ending, notes);
        if !complete {
            self.arriving.answer.forget_head();
        }
        head
    }

    /// The upstream broke, or the gateway is stopped: the client is told.
    async fn broken(&mut self, ended: Ended) -> Passed {
        // An upstream may have sent all of what guardrails deny: the client is not to take it for whole.
        self.arriving.complete = false;
        if self.arriving.events {
            if !ended.told {
                let event = rescue::error_event(self.passage.dialect, &ended.fault);
                self.arriving.pieces.push(Bytes::from(event));
            }
            // Whether or not this arrives, the close without a last chunk says that the answer is not complete.
            let _ = poll_fn(|cx| self.poll_flush(cx)).await;
        }
        Passed { after: After::Close, fault: Some(ended.fault) }
    }
}
