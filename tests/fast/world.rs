//! A simulated machine: a virtual clock, seeded chance, and in-memory connections of bounded capacity. Everything
//! runs on one thread and in one order, so that a seed is a run; a failure prints its seed.

mod link;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, VecDeque},
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

pub use link::{Link, SimReader, SimWriter};
use trunkline::{
    base::units::{Instant, UnixTime},
    io::net::Net,
    sandbox::dice::Dice,
};

/// The simulated machine. Dropping it drops everything that runs in it.
pub struct World {
    seed: u64,
    state: Rc<State>,
}

/// What the simulated machine lets one task do. Cheap to clone.
#[derive(Clone)]
pub struct SimNet(Rc<State>);

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Accept = Rc<dyn Fn(SimReader, SimWriter) -> Task>;

/// What becomes of looking a name up.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It has these addresses, known after so long.
    Gives(Vec<IpAddr>, Duration),
    /// There is no such name, known after so long.
    Fails(Duration),
    /// Nobody answers the question.
    Stalls,
}

/// Who answers at an address.
#[derive(Clone)]
enum Listener {
    /// Connections are handed to this.
    Serving(Accept, Link),
    /// Connections are never answered: a firewall that drops packets.
    Silent,
}

struct State {
    now: Cell<Instant>,
    dice: RefCell<Dice>,
    /// In a fixed order, so that they are dropped in one too.
    tasks: RefCell<BTreeMap<u64, Task>>,
    next_task: Cell<u64>,
    ready: Arc<Mutex<VecDeque<u64>>>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_timer: Cell<u64>,
    listeners: RefCell<HashMap<SocketAddr, Listener>>,
    names: RefCell<HashMap<String, Lookup>>,
    /// What the civil clock is ahead of its first course, in nanoseconds; below zero: behind.
    clock_ahead: Cell<i64>,
    open: Cell<usize>,
    shuffled: Cell<bool>,
}

/// Wakes one task. `Waker` wants it to be shareable, though only one thread is ever here.
struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<VecDeque<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<TaskWaker>) {
        self.ready.lock().expect("no panic while the queue is held").push_back(self.task);
    }
}

impl World {
    /// A world in which nothing listens yet. The same seed gives the same run.
    pub fn new(seed: u64) -> World {
        let state = State {
            now: Cell::new(Instant { nanos: START_NANOS }),
            dice: RefCell::new(Dice::new(seed)),
            tasks: RefCell::default(),
            next_task: Cell::new(1),
            ready: Arc::default(),
            timers: RefCell::default(),
            next_timer: Cell::new(0),
            listeners: RefCell::default(),
            names: RefCell::default(),
            clock_ahead: Cell::new(0),
            open: Cell::new(0),
            shuffled: Cell::new(false),
        };
        World { seed, state: Rc::new(state) }
    }

    /// The machine as its programs see it.
    pub fn net(&self) -> SimNet {
        SimNet(self.state.clone())
    }

    /// Runs the handler for each connection to this address.
    pub fn listen<F>(
        &self,
        address: SocketAddr,
        handler: impl Fn(SimReader, SimWriter) -> F + 'static,
    ) where
        F: Future<Output = ()> + 'static,
    {
        self.listen_over(address, Link::default(), handler);
    }

    /// The same over a link of this kind.
    pub fn listen_over<F>(
        &self,
        address: SocketAddr,
        link: Link,
        handler: impl Fn(SimReader, SimWriter) -> F + 'static,
    ) where
        F: Future<Output = ()> + 'static,
    {
        self.net().listen_over(address, link, handler);
    }

    /// From now on connections to this address are refused, as they are to all that nothing listens on.
    pub fn refuse(&self, address: SocketAddr) {
        self.net().refuse(address);
    }

    /// From now on connections to this address are never answered.
    pub fn silence(&self, address: SocketAddr) {
        self.net().silence(address);
    }

    /// From now on the dice choose which of the ready tasks goes on first: another seed, another interleaving.
    pub fn shuffle(&self) {
        self.state.shuffled.set(true);
    }

    /// Makes a name resolve to these addresses.
    pub fn name(&self, host: &str, addresses: &[IpAddr]) {
        self.net().name(host, Lookup::Gives(addresses.to_vec(), Duration::ZERO));
    }

    /// Runs until the future is ready. Panics if nothing could ever wake it again.
    pub fn run_until<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let result = Rc::new(RefCell::new(None));
        let slot = result.clone();
        self.state.spawn(Box::pin(async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
        }));
        loop {
            if let Some(value) = result.borrow_mut().take() {
                return value;
            }
            let goes_on = self.state.turn(None);
            assert!(goes_on, "seed {}: everything waits, and nothing will come", self.seed);
        }
    }

    /// Runs for this long, or until nothing is left to do; then it is that much later.
    pub fn run_for(&self, time: Duration) {
        let end = self.state.now.get().after(time);
        while self.state.turn(Some(end)) {}
        self.state.now.set(end);
    }

    /// Connections of which at least one side is open.
    pub fn open_connections(&self) -> usize {
        self.state.open.get()
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.state.tasks.borrow().len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this world had the seed {}", self.seed);
        }
        // Tasks hold the state, which holds the tasks.
        let tasks = self.state.tasks.take();
        drop(tasks);
        self.state.listeners.take();
        self.state.timers.take();
    }
}

impl State {
    fn spawn(&self, task: Task) {
        let id = self.next_task.get();
        self.next_task.set(id + 1);
        self.tasks.borrow_mut().insert(id, task);
        self.ready.lock().expect("no panic while the queue is held").push_back(id);
    }

    /// Polls one task that is ready, else lets time pass to the next timer. False: neither is there before `end`.
    fn turn(&self, end: Option<Instant>) -> bool {
        match self.next_ready() {
            Some(task) => self.poll(task),
            None => return self.pass_time(end),
        }
        true
    }

    fn next_ready(&self) -> Option<u64> {
        let mut ready = self.ready.lock().expect("no panic while the queue is held");
        if self.shuffled.get() && ready.len() > 1 {
            let last = ready.len() - 1;
            ready.swap(0, self.roll() as usize % (last + 1));
        }
        ready.pop_front()
    }

    fn poll(&self, id: u64) {
        // Out of the table while it runs: it may spawn others.
        let Some(mut task) = self.tasks.borrow_mut().remove(&id) else { return };
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: self.ready.clone() }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.borrow_mut().insert(id, task);
        }
    }

    fn pass_time(&self, end: Option<Instant>) -> bool {
        let mut timers = self.timers.borrow_mut();
        let Some(((at, _), _)) = timers.first_key_value() else { return false };
        if end.is_some_and(|end| *at > end) {
            return false;
        }
        self.now.set(self.now.get().max(*at));
        if let Some((_, waker)) = timers.pop_first() {
            waker.wake();
        }
        true
    }

    /// Waits until it is so late. Wakes nobody once dropped.
    async fn sleep_until(self: &Rc<State>, at: Instant) {
        let mut timer = Timer::new(self, at);
        poll_fn(|cx| timer.poll(cx)).await;
    }

    fn roll(&self) -> u64 {
        self.dice.borrow_mut().roll()
    }
}

struct Timer {
    state: Rc<State>,
    at: Instant,
    key: Option<u64>,
}

impl Timer {
    fn new(state: &Rc<State>, at: Instant) -> Timer {
        Timer { state: state.clone(), at, key: None }
    }

    fn is_for(&self, at: Instant) -> bool {
        self.at == at
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= self.state.now.get() {
            return Poll::Ready(());
        }
        let key = *self.key.get_or_insert_with(|| {
            self.state.next_timer.set(self.state.next_timer.get() + 1);
            self.state.next_timer.get()
        });
        self.state.timers.borrow_mut().insert((self.at, key), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.state.timers.borrow_mut().remove(&(self.at, key));
        }
    }
}

impl SimNet {
    /// See [`World::listen_over`].
    pub fn listen_over<F>(
        &self,
        address: SocketAddr,
        link: Link,
        handler: impl Fn(SimReader, SimWriter) -> F + 'static,
    ) where
        F: Future<Output = ()> + 'static,
    {
        let accept: Accept = Rc::new(move |reader, writer| Box::pin(handler(reader, writer)));
        self.0.listeners.borrow_mut().insert(address, Listener::Serving(accept, link));
    }

    /// See [`World::refuse`].
    pub fn refuse(&self, address: SocketAddr) {
        self.0.listeners.borrow_mut().remove(&address);
    }

    /// From now on a look-up of this name ends so.
    pub fn name(&self, host: &str, lookup: Lookup) {
        self.0.names.borrow_mut().insert(host.to_owned(), lookup);
    }

    /// Sets the civil clock by so many seconds, back if below zero. The monotonic clock does not notice.
    pub fn set_clock_by(&self, seconds: i64) {
        self.0.clock_ahead.set(self.0.clock_ahead.get() + seconds * 1_000_000_000);
    }

    /// See [`World::silence`].
    pub fn silence(&self, address: SocketAddr) {
        self.0.listeners.borrow_mut().insert(address, Listener::Silent);
    }
}

impl Net for SimNet {
    type Reader = SimReader;
    type Writer = SimWriter;

    fn now(&self) -> Instant {
        self.0.now.get()
    }

    fn unix_now(&self) -> UnixTime {
        let nanos = UNIX_START_NANOS + self.0.now.get().nanos;
        UnixTime { nanos: nanos.saturating_add_signed(self.0.clock_ahead.get()) }
    }

    fn random(&self) -> u64 {
        self.0.roll()
    }

    async fn sleep_until(&self, at: Instant) {
        self.0.sleep_until(at).await;
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<(SimReader, SimWriter)> {
        let listener = self.0.listeners.borrow().get(&address).cloned();
        match listener {
            None => Err(io::ErrorKind::ConnectionRefused.into()),
            Some(Listener::Silent) => std::future::pending().await,
            Some(Listener::Serving(accept, link)) => {
                self.sleep_until(self.now().after(link.latency * 2)).await;
                let (client, server) = link::connection(&self.0, link);
                self.0.spawn(accept(server.0, server.1));
                Ok(client)
            }
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(literal, port)]);
        }
        let lookup = self.0.names.borrow().get(host).cloned();
        let unknown = || Err(io::ErrorKind::NotFound.into());
        match lookup {
            None => unknown(),
            Some(Lookup::Stalls) => std::future::pending().await,
            Some(Lookup::Fails(after)) => {
                self.sleep_until(self.now().after(after)).await;
                unknown()
            }
            Some(Lookup::Gives(addresses, after)) => {
                self.sleep_until(self.now().after(after)).await;
                Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(Box::pin(task));
    }
}

/// Not zero, so that a time of zero is seen to be a mistake.
const START_NANOS: u64 = 1_000_000_000;
/// 2026-01-01 00:00 UTC, less the monotonic start.
const UNIX_START_NANOS: u64 = 1_767_225_599_000_000_000;
