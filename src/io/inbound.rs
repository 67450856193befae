//! The receiving side of a connection with its buffer. A read that was begun goes on when nobody waits for it:
//! `fill` may be dropped and called again, so it can be raced against deadlines and other connections.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;

use super::{net::Reader, pages::Pages};
use crate::base::limits;

type Pending<R> = Pin<Box<dyn Future<Output = (R, io::Result<usize>, BytesMut)>>>;

enum State<R> {
    /// No read under way.
    Idle(R),
    /// A read is under way and holds the reader and a buffer of its own.
    Reading(Pending<R>),
    /// Between the two; also after a panic in a read.
    Gone,
}

/// Bytes received and not yet consumed, and the means to get more.
pub struct Inbound<R> {
    state: State<R>,
    buffer: BytesMut,
    pages: Pages,
    ended: bool,
    received: u64,
}

impl<R: Reader> Inbound<R> {
    /// Wraps a reader. No buffer is held until the first read.
    pub fn new(reader: R, pages: Pages) -> Inbound<R> {
        Inbound {
            state: State::Idle(reader),
            buffer: BytesMut::new(),
            pages,
            ended: false,
            received: 0,
        }
    }

    /// What was received and not consumed. In sight also while a read is under way: a pipelined request must not
    /// wait for bytes that come after it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether a read is under way.
    pub fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    /// Whether the peer has said that it will send no more.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// All bytes ever received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Waits for more bytes; `Ok(0)`: the peer will send no more.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// See [`Inbound::fill`].
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if let State::Idle(_) = self.state {
            self.begin();
        }
        let State::Reading(pending) = &mut self.state else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let (reader, result, buffer) = ready!(pending.as_mut().poll(cx));
        self.state = State::Idle(reader);
        self.join(buffer);
        match &result {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => self.received += *count as u64,
        }
        Poll::Ready(result)
    }

    /// Waits until the peer has gone: a FIN, a reset. Bytes that arrive meanwhile are kept, up to one read buffer;
    /// beyond that the peer must wait, and its going away is not seen before the next `fill`.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// See [`Inbound::gone`].
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.is_reading() || self.buffer.len() < limits::READ_BUFFER_BYTES {
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Whether nothing has arrived on a connection that idles, not even its end. Begins the read that will bring what
    /// comes next, so that the answer costs nothing.
    pub fn is_quiet(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.buffer.is_empty() && self.poll_fill(&mut nobody).is_pending()
    }

    /// Gives the buffer back to the core if it holds nothing: an idle connection costs no buffer.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.pages.give(std::mem::take(&mut self.buffer));
        }
    }

    /// Puts what a read brought behind what is still there.
    fn join(&mut self, read: BytesMut) {
        if self.buffer.is_empty() {
            self.buffer = read;
            return;
        }
        self.buffer.extend_from_slice(&read);
        self.pages.give(read);
    }

    fn begin(&mut self) {
        let State::Idle(mut reader) = std::mem::replace(&mut self.state, State::Gone) else {
            return;
        };
        // The buffer itself serves where it holds nothing: no byte is copied then.
        let mut buffer = match self.buffer.is_empty() {
            true => std::mem::take(&mut self.buffer),
            false => self.pages.take(),
        };
        self.pages.make_room(&mut buffer);
        self.state = State::Reading(Box::pin(async move {
            let (result, buffer) = reader.read(buffer).await;
            (reader, result, buffer)
        }));
    }
}
