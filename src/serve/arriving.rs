//! An answer on its way from its upstream, and what of it is held back: until the commit point, by whoever waits for
//! it; after it, piece by piece as the client takes them.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{
    client::Interrupted,
    digest::{Digest, Ended, Pieces},
    upstream::{AnswerOf, Total, first_token_timeout},
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Deadline, Fault, Kind, Source, Stage},
        limits,
        units::Instant,
    },
    io::net::{Extent, Net},
    wire::{
        body::{BodyReader, Pulled},
        head::Framing,
    },
};

/// An answer whose body is coming.
pub struct Arriving<N: Net> {
    /// Its head and connection.
    pub answer: AnswerOf<N>,
    /// What its body is.
    pub digest: Box<dyn Digest>,
    /// Whether the body is a stream of events.
    pub events: bool,
    /// Whether a plain answer is held to its end: only its length would tell the client a cut from an end.
    pub held_whole: bool,
    /// What came and is not sent.
    pub pieces: Pieces,
    /// The body is complete.
    pub complete: bool,
    /// When the first content event was there.
    pub first_token: Option<Instant>,
    /// When the last byte was there.
    pub last_byte: Option<Instant>,
    /// How long it may take.
    pub patience: Patience,
    /// When the wait under way ends.
    waits_until: Option<Instant>,
}

/// How long an answer's body may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The longest pause between two reads.
    pub idle: Duration,
    /// When the first content of a stream is due, and how long after the request that is.
    pub token: Option<(Instant, Duration)>,
    /// What bounds more than this answer.
    pub total: Total,
}

/// Who was lost while an answer was under way.
#[derive(Debug)]
pub enum Lost {
    /// Whoever waits for it.
    Client,
    /// The upstream.
    Upstream(Ended),
}

impl<N: Net> Arriving<N> {
    /// An answer of which nothing was read yet.
    pub fn new(
        answer: AnswerOf<N>,
        digest: Box<dyn Digest>,
        events: bool,
        patience: Patience,
    ) -> Arriving<N> {
        Arriving {
            answer,
            digest,
            events,
            held_whole: false,
            pieces: Pieces::new(),
            complete: false,
            first_token: None,
            last_byte: None,
            patience,
            waits_until: None,
        }
    }

    /// Takes what comes until the client may be told of it: there is content, or all of it, or as much as may be held.
    pub async fn until_commit<P: Waiter<N>>(&mut self, waiter: &mut P) -> Result<(), Lost> {
        loop {
            let taken = self.take(waiter);
            taken.or_else(|ended| self.forgive(ended, waiter)).map_err(Lost::Upstream)?;
            let held = self.pieces.iter().map(Bytes::len).sum();
            waiter.holds(held + self.digest.held_bytes());
            if self.complete && self.digest.is_broken() {
                let message = "the upstream's answer is not the JSON that it says it is".to_owned();
                return Err(lost(Kind::Protocol, message));
            }
            if self.complete || self.must_commit(held) {
                return Ok(());
            }
            match self.more(waiter).await {
                Err(Lost::Upstream(ended)) => {
                    self.forgive(ended, waiter).map_err(Lost::Upstream)?;
                    return Ok(());
                }
                more => more?,
            }
        }
    }

    /// Takes all of it and keeps nothing.
    pub async fn drain<P: Waiter<N>>(&mut self, waiter: &mut P) -> Result<(), Lost> {
        loop {
            let taken = self.take(waiter);
            taken.or_else(|ended| self.forgive(ended, waiter)).map_err(Lost::Upstream)?;
            self.pieces.clear();
            if self.first_token.is_some() {
                self.patience.token = None;
            }
            if self.complete {
                return Ok(());
            }
            self.more(waiter).await?;
        }
    }

    /// Reads the body whole, up to a bound, past the digest; `Ok(false)`: there is more.
    pub async fn collect<P: Waiter<N>>(
        &mut self,
        waiter: &mut P,
        bytes_max: usize,
        body: &mut BytesMut,
    ) -> Result<bool, Lost> {
        loop {
            match self.answer.body.pull(self.answer.upstream.inbound.buffer()) {
                Ok(Pulled::Data(piece)) => {
                    let room = bytes_max - body.len();
                    body.extend_from_slice(&piece[..piece.len().min(room)]);
                    waiter.holds(body.len());
                    if piece.len() > room {
                        return Ok(false);
                    }
                }
                Ok(Pulled::Done) => {
                    self.last_byte = Some(waiter.now());
                    return Ok(true);
                }
                Ok(Pulled::NeedMore) => self.more(waiter).await?,
                Err(error) => return Err(lost(Kind::Protocol, error.message().to_owned())),
            }
        }
    }

    /// Takes what has arrived through the digest.
    pub fn take<P: Waiter<N>>(&mut self, waiter: &P) -> Result<(), Ended> {
        let outcome = loop {
            match self.answer.body.pull(self.answer.upstream.inbound.buffer()) {
                Ok(Pulled::Data(piece)) => {
                    if let Err(ended) = self.digest.piece(piece, &mut self.pieces) {
                        break Err(ended);
                    }
                }
                Ok(Pulled::NeedMore) => break Ok(()),
                Ok(Pulled::Done) => {
                    self.last_byte = Some(waiter.now());
                    let end = self.digest.end(&mut self.pieces);
                    self.complete = end.is_ok();
                    break end;
                }
                Err(error) => break Err(ended(Kind::Protocol, error.message().to_owned())),
            }
        };
        if self.first_token.is_none() && self.digest.has_content() {
            self.first_token = Some(waiter.now());
        }
        outcome
    }

    /// A connection that breaks behind the end marker takes nothing away: then the answer is complete.
    pub fn forgive<P: Waiter<N>>(&mut self, ended: Ended, waiter: &P) -> Result<(), Ended> {
        let by_connection = ended.status.is_none();
        if by_connection && self.digest.is_done() && self.digest.end(&mut self.pieces).is_ok() {
            self.last_byte = Some(waiter.now());
            self.complete = true;
            return Ok(());
        }
        Err(ended)
    }

    /// Whether the commit point is reached: content, or as much held as may be.
    fn must_commit(&self, held: usize) -> bool {
        let most = if self.held_whole { limits::REPLY_BYTES_MAX } else { limits::COMMIT_BYTES_MAX };
        self.digest.has_content()
            || held >= most
            || self.digest.events() >= limits::COMMIT_EVENTS_MAX
    }

    /// Where that lies which an event changes.
    pub fn extents(&self) -> [Extent; 4] {
        let [digest, watch] = self.digest.extents();
        [Extent::of(self), Extent::of(&*self.answer), digest, watch]
    }

    /// Waits for more of it.
    pub fn more<P: Waiter<N>>(
        &mut self,
        waiter: &mut P,
    ) -> impl Future<Output = Result<(), Lost>> + Unpin {
        self.waits_until = None; // a wait that was given up has no say
        poll_fn(|cx| self.poll_more(cx, waiter))
    }

    /// See [`Arriving::more`].
    pub fn poll_more<P: Waiter<N>>(
        &mut self,
        cx: &mut Context<'_>,
        waiter: &mut P,
    ) -> Poll<Result<(), Lost>> {
        let deadline = *self.waits_until.get_or_insert_with(|| self.patience.until(waiter.now()));
        let mut wait = waiter.unless_gone(deadline, self.answer.upstream.inbound.fill());
        let filled = ready!(Pin::new(&mut wait).poll(cx));
        drop(wait);
        self.waits_until = None;
        Poll::Ready(self.filled(filled, deadline))
    }

    /// What has come of a wait.
    fn filled(
        &mut self,
        filled: Result<io::Result<usize>, Interrupted>,
        deadline: Instant,
    ) -> Result<(), Lost> {
        match filled {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0)) => match self.answer.body.end_of_input() {
                Ok(()) => self.until_close_is_over(),
                Err(error) => Err(lost(Kind::Truncated, error.message().to_owned())),
            },
            Ok(Err(error)) => {
                let message = format!("the upstream's connection broke: {error}");
                Err(lost(Kind::Truncated, message))
            }
            Err(Interrupted::ClientGone) => Err(Lost::Client),
            Err(Interrupted::Deadline) => {
                let fault = self.patience.ran_out(deadline);
                Err(Lost::Upstream(Ended { fault, status: None, told: false }))
            }
        }
    }

    /// A body that ends where the connection does has ended: from here on it reads as complete.
    fn until_close_is_over(&mut self) -> Result<(), Lost> {
        self.answer.body = BodyReader::new(Framing::None);
        Ok(())
    }
}

impl Patience {
    /// When a wait that begins now ends.
    fn until(&self, now: Instant) -> Instant {
        let idle_by = now.after(self.idle).min(self.total.by);
        self.token.map_or(idle_by, |(by, _)| by.min(idle_by))
    }

    /// Which of its deadlines ran out at `deadline`.
    fn ran_out(&self, deadline: Instant) -> Fault {
        match self.token {
            _ if deadline >= self.total.by => self.total.ran_out(Stage::Relay),
            Some((by, within)) if deadline >= by => {
                first_token_timeout("the upstream", Stage::Relay, within)
            }
            _ => self.paused(),
        }
    }

    /// The upstream paused too long.
    pub fn paused(&self) -> Fault {
        let millis = self.idle.as_millis();
        let message = format!("the upstream sent nothing for timeouts.idle ({millis} ms)");
        Fault::new(Stage::Relay, Source::Network, Kind::Timeout(Deadline::Idle), message)
    }
}

fn ended(kind: Kind, message: String) -> Ended {
    Ended::broken(kind, message)
}

fn lost(kind: Kind, message: String) -> Lost {
    Lost::Upstream(ended(kind, message))
}
