//! One thread, one core, one event loop: pin, build, listen, run what it is given, drain.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
};

use bytes::BytesMut;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder, buf::IoBufMut, io::AsyncReadRent};

use super::{
    clock::{Clock, Dice, EventClock},
    dns::{Question, Resolver},
    hub::{Mailbox, Message},
    inbound::Inbound,
    net::{Net, Reader},
    pages::Pages,
    race::{First, race},
    uring::{Driver, TcpReader, TcpWriter, Uring},
};
use crate::base::limits;

/// What a worker needs to start.
pub struct Start {
    /// Its number, from 0.
    pub number: usize,
    /// The core to pin it to; `None`: wherever the system likes.
    pub core: Option<usize>,
    /// The event interface.
    pub driver: Driver,
    /// The process's clock.
    pub clock: Clock,
    /// Its share of the listening address.
    pub listener: TcpListener,
    /// The resolver threads.
    pub questions: std::sync::mpsc::Sender<Question>,
    /// Its mailbox.
    pub mailbox: Arc<Mailbox>,
    /// The core's end of the bell.
    pub ear: std::os::unix::net::UnixStream,
}

/// What runs on a worker: it is told of each connection and of the drain, and says when it is done.
pub trait Serve: 'static {
    /// Begins to serve one connection; returns at once.
    fn connected(&self, reader: TcpReader, writer: TcpWriter, peer: SocketAddr);
    /// Stop: no further connection will come; idle ones are to be closed.
    fn drain(&self);
    /// Waits until everything has ended, or the drain deadline has passed.
    fn drained(&self) -> impl Future<Output = ()>;
}

/// Whether this kernel and container let us use io_uring.
#[must_use]
pub fn uring_works() -> bool {
    monoio::utils::detect_uring() && io_uring::IoUring::new(8).is_ok()
}

/// The cores that this process may run on: fewer than the machine has under `taskset` or in a container. Fewer still
/// where a quota of CPU time grants no more than that many.
#[must_use]
pub fn granted_cores() -> Vec<usize> {
    let quota = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let Ok(granted) = rustix::thread::sched_getaffinity(None) else { return (0..quota).collect() };
    (0..limits::WORKERS_MAX).filter(|core| granted.is_set(*core)).take(quota).collect()
}

/// Raises the limit on open files to what is allowed, and tells it.
#[must_use]
pub fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Refused, the old limit holds; either way the limit in force is what counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(limits::DESCRIPTORS_UNLIMITED, |limit| {
        usize::try_from(limit).unwrap_or(limits::DESCRIPTORS_UNLIMITED)
    })
}

/// Runs a worker on this thread until it has drained.
pub fn run<S: Serve>(start: Start, make: impl FnOnce(Uring) -> S) -> io::Result<()> {
    if let Some(core) = start.core {
        // A core that the container does not grant is no reason to stop: the worker then floats.
        let _ = monoio::utils::bind_to_cpu_set(Some(core));
    }
    match start.driver {
        Driver::Uring => RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(limits::RING_ENTRIES)
            .uring_builder(ring_builder())
            .enable_timer()
            .build()?
            .block_on(main(start, make)),
        Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new()
            .enable_timer()
            .build()?
            .block_on(main(start, make)),
    }
}

/// Runs one piece of work on this thread's own event loop, without a listener: for programs that only call out. They
/// connect to addresses; names are not resolved here.
pub fn run_alone<W: Future>(
    driver: Driver,
    clock: Clock,
    work: impl FnOnce(Uring) -> W,
) -> io::Result<W::Output> {
    // Nobody listens to the questions, so that a name would be refused at once.
    let (questions, _) = std::sync::mpsc::channel();
    let (mailbox, _ear) = Mailbox::new()?;
    let main = async {
        let clock = EventClock::exact(clock);
        work(Uring::new(driver, clock, Dice::from_system(), Resolver::new(questions, mailbox)))
            .await
    };
    Ok(match driver {
        Driver::Uring => RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(limits::RING_ENTRIES)
            .uring_builder(ring_builder())
            .enable_timer()
            .build()?
            .block_on(main),
        Driver::Epoll => {
            RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(main)
        }
    })
}

/// DEFER_TASKRUN (Linux 6.1) lets completions wait for our own turn instead of interrupting it: 6 % less CPU a
/// request. An older kernel gets a plain ring.
fn ring_builder() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_cqsize(limits::RING_COMPLETIONS);
    let plain = builder.clone();
    builder.setup_single_issuer().setup_defer_taskrun();
    match builder.build(8) {
        Ok(_) => builder,
        Err(_) => plain,
    }
}

async fn main<S: Serve>(start: Start, make: impl FnOnce(Uring) -> S) -> io::Result<()> {
    let blocking = start.driver == Driver::Uring;
    let resolver = Resolver::new(start.questions, Arc::clone(&start.mailbox));
    let clock = EventClock::new(start.clock);
    let net = Uring::new(start.driver, clock, Dice::from_system(), resolver.clone());
    let serve = make(net.clone());
    start.listener.set_nonblocking(!blocking)?;
    let listener = monoio::net::TcpListener::from_std(start.listener)?;
    start.ear.set_nonblocking(!blocking)?;
    let bell = Inbound::new(Bell(monoio::net::UnixStream::from_std(start.ear)?), Pages::new());
    let mut letters = Letters { bell, mailbox: start.mailbox, resolver, net: net.clone() };
    accept_until_drain(&net, &listener, &serve, &mut letters).await;
    drop(listener);
    serve.drain();
    let letters = pin!(async {
        loop {
            letters.next().await;
        }
    });
    race(pin!(serve.drained()), letters).await;
    Ok(())
}

async fn accept_until_drain<S: Serve>(
    net: &Uring,
    listener: &monoio::net::TcpListener,
    serve: &S,
    letters: &mut Letters,
) {
    // An accept future that is dropped leaks the connection that it was given, so one is kept across letters.
    let mut accept = Box::pin(listener.accept());
    let mut draining = false;
    loop {
        let closing = draining;
        let next = async {
            if closing {
                monoio::time::sleep(limits::ACCEPT_DRAIN).await;
                Next::End
            } else if letters.next().await {
                Next::Drain
            } else {
                Next::Nothing
            }
        };
        match race(accept.as_mut(), pin!(next)).await {
            First::Left(accepted) => {
                accept = Box::pin(listener.accept());
                match accepted {
                    Ok((stream, peer)) => {
                        let (reader, writer) = net.halves(stream);
                        serve.connected(reader, writer, peer);
                    }
                    // Out of descriptors, or a connection reset in the queue: let others finish first.
                    Err(_) => monoio::time::sleep(limits::ACCEPT_PAUSE).await,
                }
            }
            First::Right(Next::Nothing) => {}
            // Closing the listener resets what waits in its queue: that is accepted first.
            First::Right(Next::Drain) => draining = true,
            First::Right(Next::End) => return,
        }
    }
}

enum Next {
    Nothing,
    Drain,
    End,
}

/// The core's side of its mailbox.
struct Letters {
    bell: Inbound<Bell>,
    mailbox: Arc<Mailbox>,
    resolver: Resolver,
    net: Uring,
}

impl Letters {
    /// Waits for the bell and handles what came; true: drain. May be dropped.
    async fn next(&mut self) -> bool {
        if self.bell.fill().await.is_ok() {
            self.bell.buffer().clear();
        }
        self.net.event();
        let mut drain = false;
        for message in self.mailbox.collect() {
            match message {
                Message::Resolved(answer) => self.resolver.answered(answer, self.net.now()),
                Message::Drain => drain = true,
            }
        }
        drain
    }
}

/// The receiving end of the bell.
struct Bell(monoio::net::UnixStream);

impl Reader for Bell {
    async fn read(&mut self, buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
        let (filled, room) = (buffer.len(), buffer.capacity());
        let (result, slice) = self.0.read(buffer.slice_mut(filled..room)).await;
        (result, slice.into_inner())
    }
}
