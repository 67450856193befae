//! A connection in memory for codecs that want one: pieces come in when they are due, what goes out is kept. It
//! serves monoio's traits and hyper's.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use monoio::{
    BufResult,
    buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut},
    io::{AsyncReadRent, AsyncWriteRent},
};

/// Both ends of it: clones are the same connection.
#[derive(Clone, Default)]
pub struct Feed(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    taken: usize,
    closed: bool,
    /// The peer closes after so many pieces more.
    closes_after: Option<usize>,
    written: Vec<u8>,
}

impl Feed {
    /// A connection on which these pieces arrive, one a read.
    pub fn of(pieces: impl IntoIterator<Item = Bytes>) -> Feed {
        let feed = Feed::default();
        pieces.into_iter().for_each(|piece| feed.push(piece));
        feed
    }

    /// One more piece arrives.
    pub fn push(&self, piece: Bytes) {
        let mut state = self.0.borrow_mut();
        state.pieces.push_back(piece);
        state.closes_after = state.closes_after.map(|left| left - 1);
        state.closed |= state.closes_after == Some(0);
    }

    /// The peer closes after so many pieces.
    pub fn close_after(&self, pieces: usize) {
        self.0.borrow_mut().closes_after = Some(pieces);
    }

    /// What was sent so far.
    pub fn written(&self) -> Vec<u8> {
        self.0.borrow().written.clone()
    }

    /// Bytes that were read so far.
    pub fn taken(&self) -> usize {
        self.0.borrow().taken
    }

    /// All that arrived and was not read.
    pub fn take_rest(&self) -> Option<Bytes> {
        let mut state = self.0.borrow_mut();
        let piece = state.pieces.pop_front()?;
        state.taken += piece.len();
        Some(piece)
    }

    /// Whether the peer has closed and everything was read.
    pub fn at_end(&self) -> bool {
        let state = self.0.borrow();
        state.closed && state.pieces.is_empty()
    }

    /// Takes at most `room` bytes of the next piece; none at the end.
    fn poll_take(&self, room: usize) -> Poll<Bytes> {
        let mut state = self.0.borrow_mut();
        let Some(piece) = state.pieces.front_mut() else {
            // Nobody is woken: whoever drives this polls again after a push.
            return if state.closed { Poll::Ready(Bytes::new()) } else { Poll::Pending };
        };
        let taken = piece.split_to(piece.len().min(room));
        if !piece.has_remaining() {
            state.pieces.pop_front();
        }
        state.taken += taken.len();
        Poll::Ready(taken)
    }

    /// Sends.
    pub fn put(&self, bytes: &[u8]) {
        self.0.borrow_mut().written.extend_from_slice(bytes);
    }
}

/// Polls once.
pub fn poll_once<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls some times, as what a runtime would wake is not told here; `None`: it waits for something.
pub fn settle<T>(mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    for _ in 0..POLLS {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return Some(value);
        }
    }
    None
}

/// Enough for a codec that lets others go first after some messages.
const POLLS: usize = 1000;

impl AsyncReadRent for Feed {
    async fn read<T: IoBufMut>(&mut self, mut buffer: T) -> BufResult<usize, T> {
        let room = buffer.bytes_total();
        let taken = poll_fn(|_| self.poll_take(room)).await;
        // SAFETY: `taken` is no longer than the buffer, whose first bytes it becomes.
        unsafe {
            std::ptr::copy_nonoverlapping(taken.as_ptr(), buffer.write_ptr(), taken.len());
            buffer.set_init(taken.len());
        }
        (Ok(taken.len()), buffer)
    }

    async fn readv<T: IoVecBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), buffer)
    }
}

impl AsyncWriteRent for Feed {
    async fn write<T: IoBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
        // SAFETY: the trait says that so many bytes from there on are initialised.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.read_ptr(), buffer.bytes_init()) };
        self.put(bytes);
        (Ok(bytes.len()), buffer)
    }

    async fn writev<T: IoVecBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl hyper::rt::Read for Feed {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_take(buffer.remaining()).map(|taken| {
            buffer.put_slice(&taken);
            Ok(())
        })
    }
}

impl hyper::rt::Write for Feed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
