//! The client's connection as an exchange sees it: what it sends, what it is sent, and whether it is still there.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Core, admission::Hold, bodies::Bodies};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        units::Instant,
    },
    io::{
        buffer::WriteList,
        inbound::Inbound,
        net::{Net, Reader, Writer},
        race::{First, race},
        wheel::Timer,
    },
};

/// One client connection.
pub struct Client<N: Net, R: Reader, W: Writer> {
    /// The core it lives on.
    pub core: Rc<Core<N>>,
    /// The hash of its last head, by which the core knows that again.
    pub head_hash: u64,
    /// What it sends.
    pub inbound: Inbound<R>,
    /// The connection's one deadline.
    pub timer: Timer,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The same as text.
    pub address: Rc<str>,
    /// Bytes written to it.
    pub sent: u64,
    /// The status of the answer to the current request, once its head is on its way.
    pub answered: Option<u16>,
    /// Whether the body of the current request is still to be read.
    pub body_pending: bool,
    /// Bytes of the current request's body that were taken.
    pub body_taken: u64,
    /// What is kept of the bodies for the log; `None`: they are not logged.
    pub bodies: Option<Box<Bodies>>,
    /// What the current exchange holds of the core's ceilings.
    pub hold: Hold,
    writer: W,
}

impl<N: Net, R: Reader, W: Writer> Client<N, R, W> {
    /// A connection just accepted.
    pub fn new(core: Rc<Core<N>>, reader: R, writer: W, peer: SocketAddr) -> Client<N, R, W> {
        let inbound = Inbound::new(reader);
        let timer = core.wheel.timer();
        let hold = Hold::new(Rc::clone(&core.admission));
        Client {
            core,
            head_hash: 0,
            inbound,
            timer,
            peer,
            address: Rc::from(peer.to_string()),
            sent: 0,
            answered: None,
            body_pending: false,
            body_taken: 0,
            bodies: None,
            hold,
            writer,
        }
    }

    /// The monotonic clock.
    pub fn now(&self) -> Instant {
        self.core.net.now()
    }

    /// An empty list to fill and `send`.
    pub fn list(&self) -> WriteList {
        self.core.lists.take()
    }

    /// Writes to the client until `deadline`. A client that does not take it in time is treated as gone.
    pub async fn send(&mut self, list: WriteList, deadline: Instant) -> Result<(), Fault> {
        let mut sending = Sending::new(list, deadline);
        let sent = poll_fn(|cx| self.poll_send(cx, &mut sending)).await;
        self.core.lists.give(sending.list);
        sent
    }

    /// See [`Client::send`].
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
    ) -> Poll<Result<(), Fault>> {
        let written = match self.writer.poll_write(cx, &mut sending.list) {
            Poll::Pending => {
                let late = self.timer.poll_due(&self.core.net, sending.deadline, cx);
                return late.map(|_| Err(gone("the client did not take its answer in time")));
            }
            Poll::Ready(written) => written,
        };
        self.timer.clear();
        Poll::Ready(match written {
            Ok(()) => {
                self.sent += sending.bytes;
                Ok(())
            }
            Err(error) => Err(gone(format!("the client's connection broke: {error}"))),
        })
    }

    /// Writes one part.
    pub async fn send_bytes(&mut self, part: Bytes, deadline: Instant) -> Result<(), Fault> {
        let mut list = self.list();
        list.push(part);
        self.send(list, deadline).await
    }

    /// Keeps a piece of the request's body for the log, if that is asked for.
    pub fn note_request(&mut self, piece: &Bytes) {
        if let Some(bodies) = &mut self.bodies {
            bodies.request.add(piece);
        }
    }

    /// Keeps the answer's body for the log, if that is asked for.
    pub fn note_answer(&mut self, content_type: &str, body: &Bytes) {
        if let Some(bodies) = &mut self.bodies {
            bodies.answer.of_type(content_type.as_bytes());
            bodies.answer.add(body);
        }
    }

    /// Runs `work`, which is taken pinned, until `deadline`, or until the client goes away or is cut off.
    pub fn unless_gone<T>(
        &mut self,
        deadline: Instant,
        mut work: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Result<T, Interrupted>> + Unpin {
        let Client { core, inbound, timer, .. } = self;
        poll_fn(move |cx| {
            if let Poll::Ready(value) = Pin::new(&mut work).poll(cx) {
                timer.clear();
                return Poll::Ready(Ok(value));
            }
            // A cut wakes every wait, and so has this looked at again.
            if inbound.poll_gone(cx).is_ready() || core.cutting.get() {
                timer.clear();
                return Poll::Ready(Err(Interrupted::ClientGone));
            }
            timer.poll_due(&core.net, deadline, cx).map(|_| Err(Interrupted::Deadline))
        })
    }

    /// Waits for more bytes of the request until `deadline`.
    pub async fn fill(&mut self, deadline: Instant) -> Result<io::Result<usize>, Interrupted> {
        let filled = self.timer.within(&self.core.net, deadline, self.inbound.fill()).await;
        filled.map_err(|_| Interrupted::Deadline)
    }

    /// The same between requests, when a drain is a reason to stop waiting; an error then.
    pub async fn fill_unless_draining(
        &mut self,
        deadline: Instant,
    ) -> Result<io::Result<usize>, Interrupted> {
        let core = Rc::clone(&self.core);
        // A drain wakes every wait, and so has this looked at again.
        let drain = poll_fn(|_| if core.draining.get() { Poll::Ready(()) } else { Poll::Pending });
        let raced = race(self.inbound.fill(), drain);
        match self.timer.within(&self.core.net, deadline, raced).await {
            Ok(First::Left(filled)) => Ok(filled),
            _ => Err(Interrupted::Deadline),
        }
    }

    /// Why its exchange ends now, if the core has cut it: any wait may have ended for that.
    pub fn cut(&self) -> Option<Fault> {
        self.core.cutting.get().then(|| {
            let message = "the gateway was stopped before the answer was complete; try again";
            Fault::new(Stage::Relay, Source::Gateway, Kind::Overloaded, message)
        })
    }

    /// Says that nothing more will be written, once the client has taken what was, but waits no longer than `deadline`.
    pub async fn shutdown(&mut self, deadline: Instant) {
        let Client { core, writer, timer, .. } = self;
        // The connection is on its way out: an error here has nobody to go to.
        let _ = timer.within(&core.net, deadline, pin!(writer.shutdown())).await;
    }
}

/// Bytes on their way to a client.
pub struct Sending {
    /// What the connection has not taken yet.
    pub list: WriteList,
    bytes: u64,
    deadline: Instant,
}

impl Sending {
    /// To be taken until `deadline`.
    pub fn new(list: WriteList, deadline: Instant) -> Sending {
        Sending { bytes: list.len() as u64, list, deadline }
    }
}

/// Why a wait ended without its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The client went away, or was cut off by the end of the core.
    ClientGone,
    /// The deadline passed.
    Deadline,
}

/// The fault of a client that is not there any more.
pub fn gone(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Stage::Relay, Source::Client, Kind::ClientGone, message)
}
