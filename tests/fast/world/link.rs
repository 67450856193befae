//! Simulated connections: two pipes with latency, bounded capacity and torn reads, closed as sockets are.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::BytesMut;
use trunkline::{
    base::{limits::READ_BUFFER_BYTES, units::Instant},
    io::{
        buffer::WriteList,
        net::{Reader, Writer},
    },
};

use super::{State, Timer};

/// How the connections to one address behave.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// From a write to the moment when its bytes can be read.
    pub latency: Duration,
    /// Bytes that may be under way in one direction; a writer waits for room.
    pub capacity: usize,
    /// The most that one read gives; each read gives a random part of that. `None`: all there is.
    pub fragment: Option<usize>,
}

impl Default for Link {
    fn default() -> Link {
        Link { latency: Duration::ZERO, capacity: 64 * 1024, fragment: None }
    }
}

/// The receiving half of a simulated connection.
pub struct SimReader {
    end: Rc<End>,
    /// Until what is under way arrives.
    arrival: Option<Timer>,
}

/// The sending half of a simulated connection.
pub struct SimWriter(Rc<End>);

/// One side of a connection; gone when both of its halves are.
struct End {
    state: Rc<State>,
    /// The connection itself: open while one of its sides is.
    _open: Rc<Open>,
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

/// Counts a connection.
struct Open(Rc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// One direction of a connection.
struct Pipe {
    link: Link,
    /// What is under way, and when it can be read.
    segments: VecDeque<(Instant, BytesMut)>,
    bytes: usize,
    /// The writer will send no more; the reader sees that then.
    finished: Option<Instant>,
    /// The writer closed without having read all: the reader gets a reset after the bytes.
    reset: bool,
    /// The reader has gone; the writer sees that then.
    abandoned: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A new connection: the halves of the one who connects, and of the one who is connected to.
pub(super) fn connection(
    state: &Rc<State>,
    link: Link,
) -> ((SimReader, SimWriter), (SimReader, SimWriter)) {
    let (there, back) = (Pipe::new(link), Pipe::new(link));
    state.open.set(state.open.get() + 1);
    let open = Rc::new(Open(state.clone()));
    let end = |incoming: &Rc<RefCell<Pipe>>, outgoing: &Rc<RefCell<Pipe>>| {
        let end = End {
            state: state.clone(),
            _open: open.clone(),
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
        };
        let end = Rc::new(end);
        (SimReader { end: end.clone(), arrival: None }, SimWriter(end))
    };
    (end(&back, &there), end(&there, &back))
}

impl Reader for SimReader {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let state = &self.end.state;
        loop {
            let due = self.end.incoming.borrow().due();
            if let Some(due) = due
                && due > state.now.get()
            {
                let arrival = self.arrival.get_or_insert_with(|| Timer::new(state, due));
                if arrival.is_for(due) {
                    ready!(arrival.poll(cx));
                }
            }
            self.arrival = None;
            let now = state.now.get();
            let read = self.end.incoming.borrow_mut().read(now, state, buffer, cx);
            if let Some(result) = ready!(read) {
                return Poll::Ready(result);
            }
        }
    }
}

impl SimWriter {
    /// Whether the other side has gone, known before any news of it could be.
    pub fn is_abandoned(&self) -> bool {
        self.0.outgoing.borrow().abandoned.is_some()
    }

    /// Resets the connection: the other side sees that after the bytes that are under way.
    pub fn reset(&mut self) {
        self.0.outgoing.borrow_mut().finish(self.0.state.now.get(), true);
    }
}

impl Writer for SimWriter {
    fn poll_write(&mut self, cx: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>> {
        let now = self.0.state.now.get();
        while let Some(part) = list.rest().first() {
            let count = ready!(self.0.outgoing.borrow_mut().write(now, part, cx))?;
            list.advance(count);
        }
        list.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.outgoing.borrow_mut().finish(self.0.state.now.get(), false);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let now = self.state.now.get();
        let unread = self.incoming.borrow_mut().abandon(now);
        self.outgoing.borrow_mut().finish(now, unread);
    }
}

impl Pipe {
    fn new(link: Link) -> Rc<RefCell<Pipe>> {
        Rc::new(RefCell::new(Pipe {
            link,
            segments: VecDeque::new(),
            bytes: 0,
            finished: None,
            reset: false,
            abandoned: None,
            reader: None,
            writer: None,
        }))
    }

    /// When the oldest bytes can be read, or the end be seen.
    fn due(&self) -> Option<Instant> {
        self.segments.front().map(|(due, _)| *due).or(self.finished)
    }

    /// `None`: something is under way, wait for it first.
    fn read(
        &mut self,
        now: Instant,
        state: &State,
        buffer: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<usize>>> {
        if self.due().is_some_and(|due| due > now) {
            return Poll::Ready(None);
        }
        match self.segments.front_mut() {
            Some((_, segment)) => {
                let mut count = segment.len().min(READ_BUFFER_BYTES);
                if let Some(most) = self.link.fragment {
                    count = count.min(1 + state.roll() as usize % most.max(1));
                }
                buffer.extend_from_slice(&segment.split_to(count));
                if segment.is_empty() {
                    self.segments.pop_front();
                }
                self.bytes -= count;
                wake(&mut self.writer);
                Poll::Ready(Some(Ok(count)))
            }
            None if self.reset => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            None if self.finished.is_some() => Poll::Ready(Some(Ok(0))),
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn write(
        &mut self,
        now: Instant,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self.abandoned {
            _ if self.finished.is_some() => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Some(seen_at) if seen_at <= now => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            // The news is still under way: what is written meanwhile is lost.
            Some(_) => return Poll::Ready(Ok(bytes.len())),
            None => {}
        }
        let count = bytes.len().min(self.link.capacity - self.bytes);
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.segments.push_back((now.after(self.link.latency), bytes[..count].into()));
        self.bytes += count;
        wake(&mut self.reader);
        Poll::Ready(Ok(count))
    }

    /// The writer sends no more.
    fn finish(&mut self, now: Instant, reset: bool) {
        self.finished.get_or_insert(now.after(self.link.latency));
        self.reset |= reset;
        wake(&mut self.reader);
    }

    /// The reader goes. True: bytes were left unread.
    fn abandon(&mut self, now: Instant) -> bool {
        self.abandoned = Some(now.after(self.link.latency));
        wake(&mut self.writer);
        self.bytes > 0
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
