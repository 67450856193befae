//! One connection to the target: sends a request, reads its answer, and tells how that went.

use std::{
    cell::RefCell,
    future::Future,
    future::poll_fn,
    io, mem,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
};

use bytes::{Buf, BytesMut};
use trunkline::{
    base::units::Instant,
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
        wheel::Timer,
    },
};

use crate::{
    request::Prepared,
    response::{Head, ResponseReader},
    stream::{EventWatch, Kind},
    tally::{Fault, Outcome, Tally},
};

/// A connection that is opened again whenever it was closed.
pub struct Connection<N: Net> {
    timer: Timer,
    line: Line<N>,
}

/// One request and its times.
pub struct Ask<'a> {
    /// What is sent.
    pub request: &'a Prepared,
    /// When it was due.
    pub due: Instant,
    /// When it is given up.
    pub deadline: Instant,
}

impl<N: Net> Connection<N> {
    /// A connection that is not open yet.
    pub fn new(net: N, address: SocketAddr, timer: Timer) -> Connection<N> {
        let line = Line { net, address, link: None, events: EventWatch::default() };
        Connection { timer, line }
    }

    /// Opens it ahead of the first request. A failure shows at that request.
    pub async fn open(&mut self, deadline: Instant) {
        let net = self.line.net.clone();
        let opened = self.timer.within(&net, deadline, pin!(self.line.connect())).await;
        if let Ok(Ok(link)) = opened {
            self.line.link = Some(link);
        }
    }

    /// Sends a request and reads the answer. Tokens of a stream go to the tally as they come.
    pub async fn ask(&mut self, ask: &Ask<'_>, tally: &RefCell<Tally>) -> Outcome {
        let net = self.line.net.clone();
        let now = net.now();
        let mut seen = Seen::default();
        let (mut begun, mut result) = (None, Err(Fault::Timeout));
        if now < ask.deadline {
            begun = Some(now);
            let work = pin!(self.line.attempt(ask, tally, &mut seen));
            let done = self.timer.within(&net, ask.deadline, work).await;
            // Out of time, the connection that the work held is dropped with it, as a read cut short requires.
            result = done.unwrap_or(Err(Fault::Timeout));
        }
        let (status, bytes) = (seen.head.map(|head| head.status), seen.bytes);
        // An answer ended with its last read, whose time is known.
        let ended = if result.is_ok() { seen.last_read } else { net.now() };
        Outcome { due: ask.due, begun, ended, status, bytes, result }
    }
}

struct Line<N: Net> {
    net: N,
    address: SocketAddr,
    link: Option<Box<Link<N>>>,
    events: EventWatch,
}

/// An open connection.
struct Link<N: Net> {
    reader: N::Reader,
    writer: N::Writer,
    buffer: BytesMut,
    list: WriteList,
}

impl<N: Net> Link<N> {
    /// Writes the list and reads for the first time, both at once: one turn of the event loop less. What became of
    /// the write shows in what is read.
    async fn exchange(&mut self) -> io::Result<usize> {
        let Link { reader, writer, buffer, list } = self;
        let writing = pin!(writer.write(mem::take(list)));
        let reading = pin!(reader.read(mem::take(buffer)));
        let ((_, mut emptied), (result, received)) = both(writing, reading).await;
        emptied.clear();
        (*list, *buffer) = (emptied, received);
        result
    }

    async fn read(&mut self) -> io::Result<usize> {
        let (result, received) = self.reader.read(mem::take(&mut self.buffer)).await;
        self.buffer = received;
        result
    }
}

/// What of an answer has been seen.
#[derive(Default)]
struct Seen {
    bytes: u64,
    last_read: Instant,
    head: Option<Head>,
    last_token: Option<Instant>,
    end_mark: bool,
    error_event: bool,
}

impl<N: Net> Line<N> {
    async fn connect(&self) -> Result<Box<Link<N>>, Fault> {
        let (reader, writer) = self.net.connect(self.address).await.map_err(|_| Fault::Connect)?;
        let (buffer, list) = (BytesMut::new(), WriteList::new());
        Ok(Box::new(Link { reader, writer, buffer, list }))
    }

    async fn attempt(
        &mut self,
        ask: &Ask<'_>,
        tally: &RefCell<Tally>,
        seen: &mut Seen,
    ) -> Result<(), Fault> {
        loop {
            let (mut link, reused) = match self.link.take() {
                Some(link) => (link, true),
                None => (self.connect().await?, false),
            };
            self.events.reset();
            let mut answer =
                Answer { seen, events: &mut self.events, reader: ResponseReader::default() };
            match answer.fetch(&self.net, &mut link, ask, tally).await {
                // A server may close a connection that idles; any client would just open another.
                Err(Fault::Closed) if reused && answer.seen.bytes == 0 => {
                    tally.borrow_mut().reconnects += 1;
                }
                Err(fault) => return Err(fault),
                Ok(()) => {
                    if answer.seen.head.is_some_and(|head| head.keep_alive) {
                        self.link = Some(link);
                    }
                    return answer.verdict(ask);
                }
            }
        }
    }
}

/// One answer, while it arrives.
struct Answer<'a> {
    seen: &'a mut Seen,
    events: &'a mut EventWatch,
    reader: ResponseReader,
}

impl Answer<'_> {
    async fn fetch<N: Net>(
        &mut self,
        net: &N,
        link: &mut Link<N>,
        ask: &Ask<'_>,
        tally: &RefCell<Tally>,
    ) -> Result<(), Fault> {
        link.buffer.clear();
        link.list.extend(ask.request.parts.iter().cloned());
        let mut result = link.exchange().await;
        loop {
            if !self.take(result, &mut link.buffer, net.now(), ask, tally)? {
                return Ok(());
            }
            result = link.read().await;
        }
    }

    /// Takes in what a read gave; false: the answer is complete.
    fn take(
        &mut self,
        result: io::Result<usize>,
        buffer: &mut BytesMut,
        now: Instant,
        ask: &Ask<'_>,
        tally: &RefCell<Tally>,
    ) -> Result<bool, Fault> {
        let count = result.unwrap_or(0);
        self.seen.last_read = now;
        if count == 0 {
            let complete = self.reader.end();
            return if complete { Ok(false) } else { Err(self.cut_short()) };
        }
        self.seen.bytes += count as u64;
        let mut tally = tally.borrow_mut();
        let (seen, events) = (&mut *self.seen, &mut *self.events);
        let taken = self.reader.take(buffer, |data| {
            events.take(data, |kind| match kind {
                Kind::Token => {
                    tally.note_token(ask.due, seen.last_token, now);
                    seen.last_token = Some(now);
                }
                Kind::End => seen.end_mark = true,
                Kind::Error => seen.error_event = true,
                Kind::Other => {}
            });
        });
        let taken = taken.map_err(|_| Fault::Protocol)?;
        if self.seen.head.is_none() {
            self.seen.head = self.reader.head();
            tally.streams += u64::from(self.is_stream());
        }
        if taken == buffer.len() {
            // Keeps its capacity, which advancing would use up.
            buffer.clear();
        } else {
            buffer.advance(taken);
        }
        match self.reader.is_done() {
            true if !buffer.is_empty() => Err(Fault::Protocol),
            done => Ok(!done),
        }
    }

    fn is_stream(&self) -> bool {
        self.seen.head.is_some_and(|head| head.event_stream)
    }

    fn cut_short(&self) -> Fault {
        match self.seen.head {
            _ if self.seen.bytes == 0 => Fault::Closed,
            Some(head) if head.event_stream => Fault::Truncated,
            _ => Fault::ShortBody,
        }
    }

    /// What a complete answer is worth.
    fn verdict(&self, ask: &Ask<'_>) -> Result<(), Fault> {
        match self.seen.head.map_or(0, |head| head.status) {
            200..=299 => {}
            400..=499 => return Err(Fault::Client),
            500..=599 => return Err(Fault::Server),
            _ => return Err(Fault::Redirect),
        }
        match (self.is_stream(), ask.request.stream) {
            (true, _) if self.seen.error_event => Err(Fault::ErrorEvent),
            (true, _) if !self.seen.end_mark => Err(Fault::Truncated),
            (false, true) => Err(Fault::NoStream),
            _ => Ok(()),
        }
    }
}

/// Runs both to their end.
async fn both<A, B>(
    mut left: Pin<&mut impl Future<Output = A>>,
    mut right: Pin<&mut impl Future<Output = B>>,
) -> (A, B) {
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(value) = left.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = right.as_mut().poll(cx)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
