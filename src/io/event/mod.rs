//! The event loop of one core: its tasks, its timers, and a driver that says what has come on which descriptor. Single
//! threaded throughout; another thread rings a descriptor to be heard.
//!
//! A turn polls every task that was woken, sends what they wrote, then asks the driver once, which waits if nothing is
//! left to do. Sent one right after the other, writes wake a peer once and not each time: that saved a tenth of the CPU
//! of a request, and sending by the ring as much again. On a ring a task that is alone in its turn sends what is
//! short at once: its peer need not wait until the record is written.
//!
//! Long messages are begun in the order they came, when nothing else is to be done, and some a turn: so what belongs to
//! those that were begun before is done first, their memory is free again while it is still in the processor's cache,
//! and the next ones are received into it.

mod buffers;
mod epoll;
mod ring;
mod sends;
mod source;
mod stream;
mod tasks;
mod timers;

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    os::fd::OwnedFd,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use slotmap::SlotMap;

use self::{
    epoll::Epoll,
    ring::Ring,
    source::{Due, Source, SourceKey},
    tasks::{TaskId, Tasks},
    timers::Timers,
};
use super::{clock::EventClock, net::Extent, pages::Pages};
use crate::base::{limits, units::Instant};

pub use self::{source::Way, stream::Descriptor};

/// Which event interface a core runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// The word used in flags and log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Uring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// Whether this kernel and container let us use io_uring as we do.
#[must_use]
pub fn uring_works() -> bool {
    Ring::new(Pages::new()).is_ok()
}

/// A handle to the loop of a core.
#[derive(Clone)]
pub struct EventLoop {
    core: Rc<Core>,
}

struct Core {
    tasks: Tasks,
    timers: Timers,
    clock: EventClock,
    pages: Pages,
    watched: RefCell<Watched>,
    /// Tasks polled since the driver was last asked.
    polled: Cell<usize>,
}

/// The descriptors, and who waits for them.
struct Watched {
    sources: SlotMap<SourceKey, Source>,
    driver: Interface,
    due: Due,
    /// Bytes received directly in this turn.
    direct_bytes: usize,
    /// Room to join short writes in.
    joined: Vec<u8>,
}

impl Core {
    /// Whether one task alone was woken in this turn: then nobody is kept waiting if it sends at once, and its peer has
    /// what was sent before what is left to do is done.
    fn is_alone(&self) -> bool {
        self.polled.get() <= 1 && !tasks::any_woken()
    }
}

enum Interface {
    Ring(Box<Ring>),
    Epoll(Epoll),
}

impl EventLoop {
    /// A loop for the thread that calls.
    ///
    /// # Errors
    /// If the system does not grant the driver.
    pub fn new(driver: Driver, clock: EventClock) -> io::Result<EventLoop> {
        let pages = Pages::new();
        let driver = match driver {
            Driver::Uring => Interface::Ring(Box::new(Ring::new(pages.clone())?)),
            Driver::Epoll => Interface::Epoll(Epoll::new()?),
        };
        let core = Core {
            tasks: Tasks::default(),
            timers: Timers::default(),
            clock,
            pages,
            watched: RefCell::new(Watched {
                sources: SlotMap::default(),
                driver,
                due: Due::default(),
                direct_bytes: 0,
                joined: Vec::with_capacity(limits::JOINED_WRITE_BYTES),
            }),
            polled: Cell::new(0),
        };
        Ok(EventLoop { core: Rc::new(core) })
    }

    /// Runs `main` and with it all that is spawned, until `main` is done; the others are dropped then.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let waker = tasks::waker(TaskId::MAIN);
        waker.wake_by_ref();
        let output = loop {
            match self.next() {
                Some(TaskId::MAIN) => {
                    self.core.clock.event();
                    let polled = main.as_mut().poll(&mut Context::from_waker(&waker));
                    if let Poll::Ready(output) = polled {
                        break output;
                    }
                }
                Some(task) => {
                    self.core.clock.event();
                    self.core.tasks.poll(task);
                }
                None => self.wait(),
            }
        };
        self.core.tasks.clear();
        tasks::forget_woken();
        output
    }

    /// The task whose turn it is; `None`: it is the driver's.
    fn next(&self) -> Option<TaskId> {
        let polled = self.core.polled.get();
        let direct_bytes = self.core.watched.borrow().direct_bytes;
        if polled >= limits::TASKS_A_TURN || direct_bytes >= limits::DIRECT_BYTES_A_TURN {
            return None;
        }
        self.core.polled.set(polled + 1);
        tasks::next_woken().or_else(|| {
            self.core.watched.borrow_mut().begin_long();
            tasks::next_woken()
        })
    }

    /// Asks the driver, which waits if no task is to be polled, and fires what is due.
    fn wait(&self) {
        self.core.polled.set(0);
        let watched = &mut *self.core.watched.borrow_mut();
        watched.direct_bytes = 0;
        watched.send_all();
        let is_busy = tasks::any_woken() || !watched.due.long.is_empty();
        let timeout = match (is_busy, self.core.timers.next()) {
            (true, _) => Some(Duration::ZERO),
            (false, None) => None,
            (false, Some(next)) => {
                self.core.clock.event();
                Some(next.since(self.core.clock.now()))
            }
        };
        let Watched { sources, driver, due, .. } = watched;
        match driver {
            Interface::Ring(ring) => ring.wait(timeout, sources, due),
            Interface::Epoll(epoll) => epoll.wait(timeout, sources, due),
        }
        // One at least, however much else there is to do in each turn.
        watched.begin_long();
        if timeout.is_some() {
            self.core.clock.event();
            self.core.timers.fire(self.core.clock.now());
        }
        self.core.tasks.fetch_next();
    }

    /// Runs a task on this core.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.core.tasks.spawn(Box::pin(task));
    }

    /// See [`Net::expect`](super::net::Net::expect).
    pub fn expect(&self, kept: usize, extents: &[Extent]) {
        self.core.tasks.expect(kept, extents);
    }

    /// The clock, which stands still while a task is polled.
    #[must_use]
    pub fn clock(&self) -> &EventClock {
        &self.core.clock
    }

    /// Waits until then. May be dropped.
    pub async fn sleep_until(&self, at: Instant) {
        if at.nanos == u64::MAX {
            return std::future::pending().await;
        }
        let mut sleep = Sleep { core: &self.core, at, filed: None };
        poll_fn(|cx| sleep.poll(cx)).await;
    }

    /// Takes a descriptor in. `connected`: bytes may be sent at once; else it is told when.
    ///
    /// # Errors
    /// If it cannot be waited for, or there are too many.
    pub fn add(&self, fd: OwnedFd, connected: bool) -> io::Result<Descriptor> {
        let Watched { sources, driver, .. } = &mut *self.core.watched.borrow_mut();
        if sources.len() >= limits::SOURCES_MAX {
            return Err(rustix::io::Errno::MFILE.into());
        }
        let key = sources.insert(Source::new(fd, connected));
        if let Interface::Epoll(epoll) = driver
            && let Err(error) = epoll.add(key, &sources[key])
        {
            sources.remove(key);
            return Err(error);
        }
        Ok(Descriptor::new(self.clone(), key))
    }
}

/// A wait for a time.
struct Sleep<'a> {
    core: &'a Core,
    at: Instant,
    filed: Option<timers::TimerKey>,
}

impl Sleep<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.core.clock.now() >= self.at {
            return Poll::Ready(());
        }
        match self.filed {
            Some(key) if self.core.timers.refile(key, cx.waker()) => {}
            _ => self.filed = Some(self.core.timers.file(self.at, cx.waker())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.filed {
            self.core.timers.remove(key);
        }
    }
}
