//! The receiving side of a connection with its buffer. A read that was begun goes on when nobody waits for it:
//! `fill` may be dropped and called again, so it can be raced against deadlines and other connections.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};

use super::{net::Reader, pages::Pages};
use crate::base::limits;

/// Bytes received and not yet consumed, and the means to get more.
pub struct Inbound<R> {
    reader: Reading<R>,
    /// Where a buffer is handed to the reading loop and comes back filled.
    hatch: Rc<Hatch>,
    /// Whether a read is under way; it has a buffer of its own.
    reading: bool,
    /// Whether the next read goes behind what is there; see [`Inbound::gather`].
    gathering: bool,
    buffer: BytesMut,
    pages: Pages,
    ended: bool,
    received: u64,
    /// What the last read brought, in bytes: what the next one is taken to need.
    usual: usize,
}

/// The reader, or the loop that it was moved into by the first read. One loop a connection: a future made anew for
/// each read would cost an allocation a read.
enum Reading<R> {
    NotYet(R),
    Loop(Pin<Box<dyn Future<Output = ()>>>),
    /// While the loop is polled; for good after a panic in a read.
    Gone,
}

#[derive(Default)]
struct Hatch {
    empty: Cell<Option<BytesMut>>,
    filled: Cell<Option<(io::Result<usize>, BytesMut)>>,
}

impl Hatch {
    async fn empty(&self) -> BytesMut {
        poll_fn(|_| self.empty.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    async fn run<R: Reader>(self: Rc<Hatch>, mut reader: R) {
        loop {
            let buffer = self.empty().await;
            self.filled.set(Some(reader.read(buffer).await));
        }
    }
}

impl<R: Reader> Inbound<R> {
    /// Wraps a reader. No buffer is held until the first read.
    pub fn new(reader: R, pages: Pages) -> Inbound<R> {
        Inbound {
            reader: Reading::NotYet(reader),
            hatch: Rc::default(),
            reading: false,
            gathering: false,
            buffer: BytesMut::new(),
            pages,
            ended: false,
            received: 0,
            usual: 0,
        }
    }

    /// What was received and not consumed. In sight also while a read is under way: a pipelined request must not
    /// wait for bytes that come after it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes the first `length` bytes out of the buffer. What is short is copied: a slice would hold the whole buffer
    /// for as long as the exchange goes on, and a stream may be open for an hour.
    pub fn take(&mut self, length: usize) -> Bytes {
        if length > limits::COPIED_OUT_BYTES {
            return self.buffer.split_to(length).freeze();
        }
        let taken = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        taken
    }

    /// Makes room for `length` bytes in one piece, of which what is there is the beginning: the next read puts the
    /// rest straight behind it, as much as is there at once. Until that read has ended, nothing is in sight.
    pub fn gather(&mut self, length: usize) {
        if self.reading {
            return;
        }
        self.gathering = true;
        if self.buffer.capacity() < length {
            let mut whole = BytesMut::with_capacity(length);
            whole.extend_from_slice(&self.buffer);
            self.pages.give(std::mem::replace(&mut self.buffer, whole));
        }
    }

    /// Whether a read is under way.
    pub fn is_reading(&self) -> bool {
        self.reading
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
    pub fn fill(&mut self) -> impl Future<Output = io::Result<usize>> + Unpin {
        poll_fn(|cx| self.poll_fill(cx))
    }

    /// See [`Inbound::fill`].
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if !self.reading {
            self.begin();
        }
        let Reading::Loop(mut reading) = std::mem::replace(&mut self.reader, Reading::Gone) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        // The loop never ends: what it brings lies in the hatch.
        let _ = reading.as_mut().poll(cx);
        self.reader = Reading::Loop(reading);
        let Some((result, buffer)) = self.hatch.filled.take() else { return Poll::Pending };
        self.reading = false;
        self.pages.read_ended();
        self.join(buffer);
        match &result {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => {
                self.received += *count as u64;
                self.usual = *count;
            }
        }
        Poll::Ready(result)
    }

    /// Whether the peer has gone: a FIN, a reset. Bytes that arrive meanwhile are kept, up to one read buffer; beyond
    /// that the peer must wait, and its going away is not seen before the next `fill`.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.reading || self.buffer.len() < limits::READ_BUFFER_BYTES {
            match self.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
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
        if let Reading::NotYet(_) = self.reader
            && let Reading::NotYet(reader) = std::mem::replace(&mut self.reader, Reading::Gone)
        {
            self.reader = Reading::Loop(Box::pin(Rc::clone(&self.hatch).run(reader)));
        }
        let gathering = std::mem::take(&mut self.gathering);
        let has_room = self.buffer.capacity() > self.buffer.len();
        let buffer = if gathering && has_room {
            self.pages.read_begun();
            std::mem::take(&mut self.buffer)
        } else if self.buffer.is_empty() {
            // The buffer itself serves where it holds nothing: no byte is copied then.
            self.pages.for_read(std::mem::take(&mut self.buffer), self.usual)
        } else {
            self.pages.for_read(BytesMut::new(), self.usual)
        };
        self.hatch.empty.set(Some(buffer));
        self.reading = true;
    }
}

impl<R> Drop for Inbound<R> {
    fn drop(&mut self) {
        if self.reading {
            self.pages.read_ended();
        }
    }
}
