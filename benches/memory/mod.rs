//! A machine in memory, as cheap as one can be: connections are byte queues, time stands still until it is moved on,
//! and nothing is allocated once it has warmed up, so that what a measurement shows is the gateway's own doing.
//! It simulates no fault and no latency: `tests/fast/world.rs` does.

mod pipe;
pub mod rig;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

pub use pipe::{MemoryReader, MemoryWriter, Peer};
use trunkline::{
    base::units::{Instant, UnixTime},
    io::net::Net,
};

/// What the machine lets its programs do. Cheap to clone; the one who drives it holds the same.
#[derive(Clone)]
pub struct Memory(Rc<Shared>);

struct Shared {
    now: Cell<Instant>,
    dice: Cell<u64>,
    tasks: RefCell<Vec<Task>>,
    ready: Arc<Ready>,
    sleepers: RefCell<Vec<(u64, Instant, Waker)>>,
    next_sleeper: Cell<u64>,
    dialled: RefCell<Option<Peer>>,
    calls: Cell<Calls>,
}

/// What the gateway asked of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// Looks at the monotonic clock.
    pub now: u64,
    /// Looks at civil time.
    pub unix_now: u64,
    /// Random numbers.
    pub random: u64,
    /// Tasks begun.
    pub spawn: u64,
    /// Tasks polled.
    pub poll: u64,
    /// Reads that brought bytes.
    pub read: u64,
    /// Writes.
    pub write: u64,
    /// Parts of these writes.
    pub parts: u64,
}

impl Calls {
    /// What came since `earlier`.
    pub fn since(self, earlier: Calls) -> Calls {
        Calls {
            now: self.now - earlier.now,
            unix_now: self.unix_now - earlier.unix_now,
            random: self.random - earlier.random,
            spawn: self.spawn - earlier.spawn,
            poll: self.poll - earlier.poll,
            read: self.read - earlier.read,
            write: self.write - earlier.write,
            parts: self.parts - earlier.parts,
        }
    }
}

/// One task; its place is kept, empty, when it has ended.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
    bell: Arc<Bell>,
}

/// The places of tasks that want to be polled. `Waker` wants it to be shareable, though only one thread is ever here.
#[derive(Default)]
struct Ready(Mutex<Vec<usize>>);

/// Wakes one task.
struct Bell {
    place: usize,
    rung: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.ready.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.place);
        }
    }
}

impl Memory {
    /// A machine on which nothing runs.
    pub fn idle() -> Memory {
        Memory(Rc::new(Shared {
            now: Cell::new(Instant { nanos: START_NANOS }),
            dice: Cell::new(1),
            tasks: RefCell::default(),
            ready: Arc::default(),
            sleepers: RefCell::default(),
            next_sleeper: Cell::new(0),
            dialled: RefCell::default(),
            calls: Cell::default(),
        }))
    }

    /// Polls tasks until all of them wait.
    pub fn run(&self) {
        loop {
            let next = self.0.ready.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(place) = next else { return };
            self.poll(place);
        }
    }

    /// Moves the clock on and wakes whom that concerns.
    pub fn pass(&self, time: Duration) {
        let now = self.0.now.get().after(time);
        self.0.now.set(now);
        for (_, at, waker) in self.0.sleepers.borrow().iter() {
            if *at <= now {
                waker.wake_by_ref();
            }
        }
    }

    /// The other side of the connection that the gateway made last.
    pub fn dialled(&self) -> Option<Peer> {
        self.0.dialled.borrow_mut().take()
    }

    /// What was asked of the machine so far.
    pub fn calls(&self) -> Calls {
        self.0.calls.get()
    }

    fn count(&self, count: impl FnOnce(&mut Calls)) {
        let mut calls = self.0.calls.get();
        count(&mut calls);
        self.0.calls.set(calls);
    }

    fn poll(&self, place: usize) {
        // Out of the table while it runs: it may spawn others.
        let (future, waker) = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(place) else { return };
            task.bell.rung.store(false, Ordering::Relaxed);
            (task.future.take(), task.waker.clone())
        };
        let Some(mut future) = future else { return };
        self.count(|calls| calls.poll += 1);
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            && let Some(task) = self.0.tasks.borrow_mut().get_mut(place)
        {
            task.future = Some(future);
        }
    }
}

impl Net for Memory {
    type Reader = MemoryReader;
    type Writer = MemoryWriter;

    fn now(&self) -> Instant {
        self.count(|calls| calls.now += 1);
        self.0.now.get()
    }

    fn unix_now(&self) -> UnixTime {
        self.count(|calls| calls.unix_now += 1);
        UnixTime { nanos: UNIX_START_NANOS + self.0.now.get().nanos }
    }

    fn random(&self) -> u64 {
        self.count(|calls| calls.random += 1);
        let next = self.0.dice.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.0.dice.set(next);
        next
    }

    async fn sleep_until(&self, at: Instant) {
        let id = self.0.next_sleeper.get();
        self.0.next_sleeper.set(id + 1);
        let sleeper = Sleeper { shared: &self.0, id };
        poll_fn(|cx| sleeper.poll(at, cx)).await;
    }

    /// At once, and whatever the address: there is one upstream.
    async fn connect(&self, _: SocketAddr) -> io::Result<(MemoryReader, MemoryWriter)> {
        let (reader, writer, peer) = pipe::connection(self);
        *self.0.dialled.borrow_mut() = Some(peer);
        Ok((reader, writer))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = host.parse().map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(vec![SocketAddr::new(address, port)])
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.count(|calls| calls.spawn += 1);
        let mut tasks = self.0.tasks.borrow_mut();
        let place = tasks.len();
        let ready = Arc::clone(&self.0.ready);
        let bell = Arc::new(Bell { place, rung: AtomicBool::new(false), ready });
        bell.wake_by_ref();
        let waker = Waker::from(Arc::clone(&bell));
        tasks.push(Task { future: Some(Box::pin(task)), waker, bell });
    }
}

/// A place among those who wait for a time.
struct Sleeper<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Sleeper<'_> {
    fn poll(&self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.now.get() >= at {
            return Poll::Ready(());
        }
        self.leave();
        self.shared.sleepers.borrow_mut().push((self.id, at, cx.waker().clone()));
        Poll::Pending
    }

    fn leave(&self) {
        self.shared.sleepers.borrow_mut().retain(|(id, ..)| *id != self.id);
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Not zero, so that a time of zero is seen to be a mistake.
const START_NANOS: u64 = 1_000_000_000;
/// 2026-01-01 00:00 UTC, less the monotonic start.
const UNIX_START_NANOS: u64 = 1_767_225_599_000_000_000;
