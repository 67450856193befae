//! An answer on its way to the client. Nothing is sent before the commit point, so that until then another target may
//! take over; after it a break ends in an error event and an unclean close, never in silence.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{
    client::{Client, Interrupted},
    connection::{After, Incoming},
    digest::{Digest, Ended, Pieces, frame_chunk},
    respond::{self, Ending, Notes},
    upstream::{self, AnswerOf},
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
        units::Instant,
    },
    dialect::Dialect,
    io::net::{Net, Reader, Writer},
    wire::{
        body::Pulled,
        head::{Framing, Version},
        render,
    },
};

/// How an answer is to be passed on.
pub struct Passage<'a, 'n> {
    /// The request that it answers.
    pub incoming: &'a Incoming,
    /// The client's dialect, which an error event is written in.
    pub dialect: Dialect,
    /// What the head says.
    pub notes: &'a mut Notes<'n>,
    /// Whether the body is a stream of events.
    pub events: bool,
    /// The content type, if it is not the upstream's.
    pub content_type: Option<&'static str>,
    /// The longest pause between two reads of the answer.
    pub idle: Duration,
    /// The end of the whole exchange.
    pub total_by: Instant,
}

/// An answer that was committed to the client.
#[derive(Debug)]
pub struct Passed {
    /// What the connection can do now.
    pub after: After,
    /// When the first content event was there.
    pub first_token: Option<Instant>,
    /// When the upstream's last byte was there.
    pub last_byte: Option<Instant>,
    /// Why it was cut, if it was.
    pub fault: Option<Fault>,
}

/// Passes an answer on. `Err`: it broke before anything was sent.
pub async fn relay<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    answer: &mut AnswerOf<N>,
    digest: &mut dyn Digest,
    passage: &mut Passage<'_, '_>,
) -> Result<Passed, Ended> {
    let mut relay = Relay {
        client,
        answer,
        digest,
        passage,
        pieces: Pieces::new(),
        scratch: BytesMut::new(),
        ending: None,
        first_token: None,
        last_byte: None,
    };
    relay.run().await
}

struct Relay<'r, 'a, 'n, N: Net, R: Reader, W: Writer> {
    client: &'r mut Client<N, R, W>,
    answer: &'r mut AnswerOf<N>,
    digest: &'r mut dyn Digest,
    passage: &'r mut Passage<'a, 'n>,
    /// On their way to the client; before the commit point, held.
    pieces: Pieces,
    scratch: BytesMut,
    /// Set at the commit point.
    ending: Option<Ending>,
    first_token: Option<Instant>,
    last_byte: Option<Instant>,
}

/// What became of the upstream's body.
enum Body {
    More,
    Complete,
}

impl<N: Net, R: Reader, W: Writer> Relay<'_, '_, '_, N, R, W> {
    async fn run(&mut self) -> Result<Passed, Ended> {
        loop {
            let taken = self.take();
            if self.first_token.is_none() && self.digest.has_content() {
                self.first_token = Some(self.client.now());
            }
            match taken {
                Ok(Body::More) => {}
                Ok(Body::Complete) => return Ok(self.complete().await),
                Err(ended) => return self.broken(ended).await,
            }
            if let Err(gone) = self.flush(false).await {
                return Ok(self.passed(After::Close, Some(gone)));
            }
            match self.more().await {
                Ok(()) => {}
                Err(Lost::Client) => {
                    let gone =
                        super::client::gone("the client closed before the answer was complete");
                    return Ok(self.passed(After::Close, Some(gone)));
                }
                Err(Lost::Upstream(ended)) => return self.broken(ended).await,
            }
        }
    }

    /// Everything is there: sends the rest.
    async fn complete(&mut self) -> Passed {
        match self.flush(true).await {
            Ok(()) => {
                let after = self.ending.map_or(After::Close, |e| e.after(self.passage.incoming));
                self.passed(after, None)
            }
            Err(gone) => self.passed(After::Close, Some(gone)),
        }
    }

    /// Takes what has arrived through the digest.
    fn take(&mut self) -> Result<Body, Ended> {
        loop {
            let pulled = self.answer.body.pull(self.answer.upstream.inbound.buffer());
            match pulled {
                Ok(Pulled::Data(piece)) => self.digest.piece(piece, &mut self.pieces)?,
                Ok(Pulled::NeedMore) => return Ok(Body::More),
                Ok(Pulled::Done) => {
                    self.last_byte = Some(self.client.now());
                    self.digest.end(&mut self.pieces)?;
                    return Ok(Body::Complete);
                }
                Err(error) => return Err(ended(Kind::Protocol, error.message().to_owned())),
            }
        }
    }

    /// Sends what is due: all of it, once committed.
    async fn flush(&mut self, complete: bool) -> Result<(), Fault> {
        if self.ending.is_none() && !complete {
            let held = self.pieces.iter().map(Bytes::len).sum();
            self.client.hold.answer(held);
            if !self.must_commit(held) {
                return Ok(());
            }
        }
        let mut list = self.client.list();
        if self.ending.is_none() {
            list.push(self.commit(complete));
        }
        self.keep_for_log();
        match self.ending {
            Some(Ending::NoBody(_)) => self.pieces.clear(),
            Some(Ending::Chunked) => {
                frame_chunk(&mut self.pieces, &mut self.scratch, &mut list);
                if complete {
                    list.push(Bytes::from_static(render::LAST_CHUNK));
                }
            }
            _ => list.extend(self.pieces.drain(..)),
        }
        if list.is_empty() {
            return Ok(());
        }
        // The upstream's pauses are no measure of how slow a client may be.
        let within = self.passage.idle.max(limits::CLIENT_TAKES_WITHIN);
        let deadline = self.client.now().after(within).min(self.passage.total_by);
        self.client.send(list, deadline).await
    }

    /// Keeps what the client is sent, if bodies are logged.
    fn keep_for_log(&mut self) {
        if let (Some(bodies), Some(ending)) = (&mut self.client.bodies, self.ending)
            && !matches!(ending, Ending::NoBody(_))
        {
            self.pieces.iter().for_each(|piece| bodies.answer.add(piece));
            self.client.hold.answer(bodies.answer.kept_bytes());
        }
    }

    /// Whether the commit point is reached: content, or as much held as may be.
    fn must_commit(&self, held: usize) -> bool {
        let most =
            if self.needs_length() { limits::REPLY_BYTES_MAX } else { limits::COMMIT_BYTES_MAX };
        self.digest.has_content()
            || held >= most
            || self.digest.events() >= limits::COMMIT_EVENTS_MAX
    }

    /// To a client of HTTP/1.0 only a length tells a cut from an end.
    fn needs_length(&self) -> bool {
        let known = matches!(self.answer.head.framing, Framing::None | Framing::Length(_));
        !known && !self.passage.events && self.passage.incoming.head().version == Version::Http10
    }

    /// Decides how the body will end and makes the head.
    fn commit(&mut self, complete: bool) -> Bytes {
        let held = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        let length = match self.answer.head.framing {
            Framing::None => self.answer.head.announced_length,
            Framing::Length(length) if !self.passage.events => Some(length),
            _ => (complete && !self.passage.events).then_some(held),
        };
        let ending = match self.answer.head.framing {
            Framing::None if self.answer.head.status == 204 => Ending::NoBody(None),
            Framing::None => Ending::NoBody(length),
            _ => Ending::of(self.passage.incoming, length),
        };
        self.ending = Some(ending);
        self.client.hold.answer(0);
        self.client.answered = Some(self.answer.head.status);
        if let Some(bodies) = &mut self.client.bodies {
            let own = self.passage.content_type.map(str::as_bytes);
            let theirs = || self.answer.head.find(&self.answer.bytes, "content-type");
            bodies.answer.of_type(own.or_else(theirs).unwrap_or_default());
        }
        let timing = &mut self.passage.notes.timing;
        timing.first_token = self.first_token.filter(|_| self.passage.events);
        self.passage.notes.last = self.client.core.draining.get();
        let Passage { incoming, content_type, ref notes, .. } = *self.passage;
        respond::passed_on(
            incoming,
            &self.answer.head,
            &self.answer.bytes,
            content_type,
            ending,
            notes,
        )
    }

    /// The upstream broke. Before the commit point that is the next target's chance; after it the client is told.
    async fn broken(&mut self, ended: Ended) -> Result<Passed, Ended> {
        // A connection that breaks behind the end marker takes nothing away.
        let by_connection = ended.status.is_none();
        if by_connection && self.digest.is_done() && self.digest.end(&mut self.pieces).is_ok() {
            self.last_byte = Some(self.client.now());
            return Ok(self.complete().await);
        }
        if self.ending.is_none() {
            return Err(ended);
        }
        if self.passage.events {
            if !ended.told {
                let event = super::rescue::error_event(self.passage.dialect, &ended.fault);
                self.pieces.push(Bytes::from(event));
            }
            // Whether or not this arrives, the close without a last chunk says that the answer is not complete.
            let _ = self.flush(false).await;
        }
        Ok(self.passed(After::Close, Some(ended.fault)))
    }

    /// Waits for more of the answer.
    async fn more(&mut self) -> Result<(), Lost> {
        let deadline = self.idle_by();
        let inbound = &mut self.answer.upstream.inbound;
        match self.client.unless_gone(deadline, inbound.fill()).await {
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
            Err(Interrupted::Deadline) if deadline >= self.passage.total_by => {
                let fault = upstream::total_timeout(Stage::Relay);
                Err(Lost::Upstream(Ended { fault, status: None, told: false }))
            }
            Err(Interrupted::Deadline) => {
                let message = format!("the upstream sent nothing for {:?}", self.passage.idle);
                let fault = Fault::new(Stage::Relay, Source::Network, Kind::Timeout, message);
                Err(Lost::Upstream(Ended { fault, status: None, told: false }))
            }
        }
    }

    /// A body that ends where the connection does has ended: from here on it reads as complete.
    fn until_close_is_over(&mut self) -> Result<(), Lost> {
        self.answer.body = crate::wire::body::BodyReader::new(Framing::None);
        Ok(())
    }

    fn idle_by(&self) -> Instant {
        self.client.now().after(self.passage.idle).min(self.passage.total_by)
    }

    fn passed(&self, after: After, fault: Option<Fault>) -> Passed {
        Passed { after, first_token: self.first_token, last_byte: self.last_byte, fault }
    }
}

/// Who was lost while the answer was under way.
enum Lost {
    Client,
    Upstream(Ended),
}

fn ended(kind: Kind, message: String) -> Ended {
    let fault = Fault::new(Stage::Relay, Source::Upstream, kind, message);
    Ended { fault, status: None, told: false }
}

fn lost(kind: Kind, message: String) -> Lost {
    Lost::Upstream(ended(kind, message))
}

/// Reads an answer's body whole, up to a bound; `Ok(false)`: there is more.
pub async fn collect<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    answer: &mut AnswerOf<N>,
    bytes_max: usize,
    idle: Duration,
    total_by: Instant,
    body: &mut BytesMut,
) -> Result<bool, Collected> {
    loop {
        match answer.body.pull(answer.upstream.inbound.buffer()) {
            Ok(Pulled::Data(piece)) => {
                if body.len() + piece.len() > bytes_max {
                    body.extend_from_slice(&piece[..bytes_max - body.len()]);
                    return Ok(false);
                }
                body.extend_from_slice(&piece);
                client.hold.answer(body.len());
                continue;
            }
            Ok(Pulled::Done) => return Ok(true),
            Ok(Pulled::NeedMore) => {}
            Err(error) => return Err(Collected::Broken(error.message().to_owned())),
        }
        let deadline = client.now().after(idle).min(total_by);
        match client.unless_gone(deadline, answer.upstream.inbound.fill()).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) => match answer.body.end_of_input() {
                Ok(()) => return Ok(true),
                Err(error) => return Err(Collected::Broken(error.message().to_owned())),
            },
            Ok(Err(error)) => return Err(Collected::Broken(error.to_string())),
            Err(Interrupted::ClientGone) => return Err(Collected::ClientGone),
            Err(Interrupted::Deadline) => return Err(Collected::TooSlow),
        }
    }
}

/// Why a body could not be collected.
#[derive(Debug)]
pub enum Collected {
    /// The client went away.
    ClientGone,
    /// The upstream paused too long.
    TooSlow,
    /// The upstream broke off.
    Broken(String),
}
