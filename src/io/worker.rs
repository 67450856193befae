//! One thread, one core, one event loop: pin, build, listen, run what it is given, drain.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use rustix::thread::CpuSet;

use super::{
    clock::{Clock, Dice, EventClock},
    dns::{Question, Resolver},
    event::{Descriptor, Driver, EventLoop, Way},
    hub::{Mailbox, Message},
    kernel::{Kernel, Listener, TcpReader, TcpWriter},
    net::Net,
    race::{First, race},
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
    /// What runs is not waited for any longer.
    fn cut(&self);
    /// Waits until everything has ended, or was cut.
    fn drained(&self) -> impl Future<Output = ()>;
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
pub fn run<S: Serve>(start: Start, make: impl FnOnce(Kernel) -> S) -> io::Result<()> {
    if let Some(core) = start.core {
        let mut cores = CpuSet::new();
        cores.set(core);
        // A core that the container does not grant is no reason to stop: the worker then floats.
        let _ = rustix::thread::sched_setaffinity(None, &cores);
    }
    let events = EventLoop::new(start.driver, EventClock::new(start.clock))?;
    events.run(main(start, events.clone(), make))
}

/// Runs one piece of work on this thread's own event loop, without a listener: for programs that only call out. They
/// connect to addresses; names are not resolved here.
pub fn run_alone<W: Future>(
    driver: Driver,
    clock: Clock,
    work: impl FnOnce(Kernel) -> W,
) -> io::Result<W::Output> {
    // Nobody listens to the questions, so that a name would be refused at once.
    let (questions, _) = std::sync::mpsc::channel();
    let (mailbox, _ear) = Mailbox::new()?;
    let events = EventLoop::new(driver, EventClock::exact(clock))?;
    let resolver = Resolver::new(questions, mailbox);
    Ok(events.run(work(Kernel::new(events.clone(), Dice::from_system(), resolver))))
}

async fn main<S: Serve>(
    start: Start,
    events: EventLoop,
    make: impl FnOnce(Kernel) -> S,
) -> io::Result<()> {
    let resolver = Resolver::new(start.questions, Arc::clone(&start.mailbox));
    let kernel = Kernel::new(events, Dice::from_system(), resolver.clone());
    let serve = make(kernel.clone());
    let listener = Listener::new(&kernel, start.listener)?;
    start.ear.set_nonblocking(true)?;
    let bell = kernel.events().add(start.ear.into(), true)?;
    let (mailbox, kept) = (start.mailbox, kernel.clone());
    let mut letters = Letters { bell, mailbox, resolver, kernel: kept, cut: false };
    accept_until_drain(&kernel, &listener, &serve, &mut letters).await;
    drop(listener);
    serve.drain();
    let letters = pin!(async {
        loop {
            if std::mem::take(&mut letters.cut) {
                serve.cut();
            }
            letters.next().await;
        }
    });
    race(pin!(serve.drained()), letters).await;
    Ok(())
}

async fn accept_until_drain<S: Serve>(
    kernel: &Kernel,
    listener: &Listener,
    serve: &S,
    letters: &mut Letters,
) {
    let mut draining = false;
    let mut accepted = 0;
    loop {
        let closing = draining;
        let next = async {
            if closing {
                pause(kernel, limits::ACCEPT_DRAIN).await;
                Next::End
            } else if letters.next().await {
                Next::Drain
            } else {
                Next::Nothing
            }
        };
        match race(pin!(listener.accept()), pin!(next)).await {
            First::Left(Ok((reader, writer, peer))) => {
                serve.connected(reader, writer, peer);
                accepted += 1;
                if accepted % limits::ACCEPTS_A_TURN == 0 {
                    let_others().await;
                }
            }
            // Out of descriptors, or a connection reset in the queue: let others finish first.
            First::Left(Err(_)) => pause(kernel, limits::ACCEPT_PAUSE).await,
            First::Right(Next::Nothing) => {}
            // Closing the listener resets what waits in its queue: that is accepted first.
            First::Right(Next::Drain) => draining = true,
            First::Right(Next::End) => return,
        }
    }
}

/// Waits until all others have had a turn.
async fn let_others() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn pause(kernel: &Kernel, wait: std::time::Duration) {
    kernel.sleep_until(kernel.now().after(wait)).await;
}

enum Next {
    Nothing,
    Drain,
    End,
}

/// The core's side of its mailbox.
struct Letters {
    bell: Descriptor,
    mailbox: Arc<Mailbox>,
    resolver: Resolver,
    kernel: Kernel,
    /// Whether a cut was asked for and not made.
    cut: bool,
}

impl Letters {
    /// Waits for the bell and handles what came; true: drain. May be dropped.
    async fn next(&mut self) -> bool {
        let mut rings = [0; limits::BELL_READ_BYTES];
        let mut read = |fd: std::os::fd::BorrowedFd<'_>| rustix::io::read(fd, &mut rings);
        // An error or the end of the bell: nobody is left who could ring it.
        if !matches!(poll_fn(|cx| self.bell.poll_io(Way::In, cx, &mut read)).await, Ok(1..)) {
            return std::future::pending().await;
        }
        let mut drain = false;
        for message in self.mailbox.collect() {
            match message {
                Message::Resolved(answer) => self.resolver.answered(answer, self.kernel.now()),
                Message::Drain => drain = true,
                Message::Cut => self.cut = true,
            }
        }
        drain
    }
}
