//! The receiving side of a connection with its buffer. What has come and was not asked for stays with the connection:
//! `fill` may be dropped and called again, so it can be raced against deadlines and other connections.

use std::{
    future::{Future, poll_fn},
    io,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};

use super::net::Reader;
use crate::base::limits;

/// Bytes received and not yet consumed, and the means to get more.
pub struct Inbound<R> {
    reader: R,
    buffer: BytesMut,
    ended: bool,
    received: u64,
}

impl<R: Reader> Inbound<R> {
    /// Wraps a reader. No buffer is held while nothing has come.
    pub fn new(reader: R) -> Inbound<R> {
        Inbound { reader, buffer: BytesMut::new(), ended: false, received: 0 }
    }

    /// What was received and not consumed.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes the first `length` bytes out of the buffer. What is short is copied: a slice would hold the whole buffer
    /// for as long as the exchange goes on, and a stream may be open for an hour. What is long is not held by the rest.
    pub fn take(&mut self, length: usize) -> Bytes {
        if length > limits::COPIED_OUT_BYTES {
            let taken = self.buffer.split_to(length).freeze();
            // A shorter one with room left goes back to the core's own once the body is freed.
            if self.buffer.capacity() == 0 || length > limits::LONG_BUFFER_BYTES {
                self.buffer = BytesMut::from(&self.buffer[..]);
            }
            return taken;
        }
        let taken = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        taken
    }

    /// Makes room for `length` bytes in one piece, of which what is there is the beginning: reads put the rest straight
    /// behind it.
    pub fn gather(&mut self, length: usize) {
        if self.buffer.capacity() < length {
            let mut whole = BytesMut::with_capacity(length);
            whole.extend_from_slice(&self.buffer);
            self.buffer = whole;
        }
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
        let result = ready!(self.reader.poll_read(cx, &mut self.buffer));
        match &result {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => self.received += *count as u64,
        }
        Poll::Ready(result)
    }

    /// Whether the peer has gone: a FIN, a reset. Bytes that arrive meanwhile are kept, up to one read buffer; beyond
    /// that the peer must wait, and its going away is not seen before the next `fill`.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.buffer.len() < limits::READ_BUFFER_BYTES {
            match self.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
        Poll::Pending
    }

    /// Whether nothing has arrived on a connection that idles, not even its end, as far as that was looked for.
    pub fn is_quiet(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.buffer.is_empty() && self.poll_fill(&mut nobody).is_pending()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing ever comes.
    struct Silence;

    impl Reader for Silence {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_long_body_is_freed_by_whoever_took_it() {
        for (length, rest) in
            [(limits::READ_BUFFER_BYTES + 1, ""), (1 << 20, ""), (1 << 20, "more")]
        {
            let mut inbound = Inbound::new(Silence);
            inbound.gather(length + rest.len());
            inbound.buffer().resize(length, 1);
            inbound.buffer().extend_from_slice(rest.as_bytes());
            let body = inbound.take(length);
            assert_eq!((body.len(), &inbound.buffer()[..]), (length, rest.as_bytes()));
            assert!(
                body.is_unique(),
                "the connection holds {length} bytes, and {} more",
                rest.len()
            );
        }
    }
}
