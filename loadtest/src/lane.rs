//! One thread of the load: it wakes for each arrival, hands it to a connection, and ends when all are over.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use trunkline::{
    base::units::Instant,
    io::{
        alarm::Alarm, clock::Clock, event::Driver, kernel::Kernel, net::Net, wheel::Wheel, worker,
    },
};

use crate::{
    connection::{Ask, Connection},
    queue::Queue,
    request::Prepared,
    schedule::{Arrival, Schedule},
    tally::Tally,
};

/// What a thread needs; shared by all of them.
#[derive(Clone)]
pub struct Job {
    /// The target and, if wanted, the direct upstream.
    pub sides: Vec<Destination>,
    /// All arrivals.
    pub schedule: Schedule,
    /// How many threads share them.
    pub threads: usize,
    /// How long a request may take, from when it is due.
    pub timeout: Duration,
    /// The event interface.
    pub driver: Driver,
    /// The one clock of all threads.
    pub clock: Clock,
    /// Where the threads meet before they begin.
    pub gate: Arc<Gate>,
    /// For the progress bar.
    pub live: Arc<Live>,
}

/// Where requests of one side go.
#[derive(Clone)]
pub struct Destination {
    /// The address.
    pub address: SocketAddr,
    /// What the schedule's numbers stand for.
    pub requests: Arc<[Prepared]>,
    /// Connections of one thread.
    pub connections: usize,
}

/// What has been done so far.
#[derive(Debug, Default)]
pub struct Live {
    /// Requests that are over.
    pub done: AtomicU64,
    /// Those of them that failed.
    pub failed: AtomicU64,
}

/// All threads begin at one time, when the last of them has its connections.
#[derive(Debug)]
pub struct Gate {
    missing: AtomicUsize,
    start_nanos: AtomicU64,
}

impl Gate {
    /// A gate for so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Gate {
        Gate { missing: AtomicUsize::new(threads), start_nanos: AtomicU64::new(0) }
    }

    /// When the load began, if it has.
    #[must_use]
    pub fn start(&self) -> Option<Instant> {
        let nanos = self.start_nanos.load(Ordering::Acquire);
        (nanos > 0).then_some(Instant { nanos })
    }

    async fn pass(&self, net: &Kernel) -> Instant {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            let start = net.now().after(START_DELAY);
            self.start_nanos.store(start.nanos, Ordering::Release);
        }
        loop {
            match self.start() {
                Some(start) => return start,
                None => net.sleep_until(net.now().after(GATE_EVERY)).await,
            }
        }
    }
}

/// Runs thread `number` to the end: a tally for each side.
///
/// # Errors
/// If the event loop cannot be had.
pub fn run(job: Job, number: usize) -> io::Result<Vec<Tally>> {
    worker::run_alone(job.driver, job.clock, |net| drive(net, job, number))?
}

async fn drive(net: Kernel, job: Job, number: usize) -> io::Result<Vec<Tally>> {
    let alarm = Alarm::new(net.events())?;
    let wheel = Wheel::default();
    net.spawn(wheel.clone().run(net.clone()));
    let lane = Lane::open(&net, &job, &wheel).await;
    let start = job.gate.pass(&net).await;
    lane.start.set(start);
    let mut now = net.now();
    for arrival in job.schedule.clone().share(number, job.threads) {
        let due = start.after(Duration::from_nanos(arrival.at));
        // What is due already at the time of the last wake needs no look at the clock.
        if now < due {
            now = net.now();
        }
        while now < due {
            alarm.wait(due.since(now)).await?;
            now = net.now();
        }
        lane.put(arrival, due, now);
    }
    lane.finish(&net).await;
    Ok(lane.sides.iter().map(|side| side.tally.take()).collect())
}

/// The connections of this thread.
struct Lane {
    sides: Vec<Rc<Side>>,
    start: Rc<Cell<Instant>>,
    open: Rc<Cell<usize>>,
}

struct Side {
    queue: RefCell<Queue>,
    tally: RefCell<Tally>,
    requests: Arc<[Prepared]>,
    timeout: Duration,
    live: Arc<Live>,
}

impl Lane {
    async fn open(net: &Kernel, job: &Job, wheel: &Wheel) -> Lane {
        let (start, open) = (Rc::new(Cell::new(Instant::default())), Rc::new(Cell::new(0)));
        let ready = Rc::new(Cell::new(0));
        let mut lane = Lane { sides: Vec::new(), start, open };
        let deadline = net.now().after(OPEN_WITHIN);
        for to in &job.sides {
            let side = Rc::new(Side {
                queue: RefCell::new(Queue::new(to.connections)),
                tally: RefCell::default(),
                requests: Arc::clone(&to.requests),
                timeout: job.timeout,
                live: Arc::clone(&job.live),
            });
            for number in 0..to.connections {
                let mut connection = Connection::new(net.clone(), to.address, wheel.timer());
                let (side, start) = (Rc::clone(&side), Rc::clone(&lane.start));
                let (open, ready) = (Rc::clone(&lane.open), Rc::clone(&ready));
                open.set(open.get() + 1);
                net.spawn(async move {
                    connection.open(deadline).await;
                    ready.set(ready.get() + 1);
                    side.serve(number, connection, &start).await;
                    open.set(open.get() - 1);
                });
            }
            lane.sides.push(side);
        }
        while ready.get() < lane.open.get() {
            net.sleep_until(net.now().after(GATE_EVERY)).await;
        }
        lane
    }

    fn put(&self, arrival: Arrival, due: Instant, now: Instant) {
        if let Some(side) = self.sides.get(arrival.side) {
            let waiting = side.queue.borrow_mut().put(arrival);
            side.tally.borrow_mut().note_due(due, now, waiting);
        }
    }

    /// Waits for what is under way. It ends: each request has its deadline.
    async fn finish(&self, net: &Kernel) {
        self.sides.iter().for_each(|side| side.queue.borrow_mut().close());
        while self.open.get() > 0 {
            net.sleep_until(net.now().after(GATE_EVERY)).await;
        }
    }
}

impl Side {
    /// One connection's life.
    async fn serve(
        &self,
        number: usize,
        mut connection: Connection<Kernel>,
        start: &Cell<Instant>,
    ) {
        while let Some(arrival) = self.next(number).await {
            let Some(request) = self.requests.get(arrival.request as usize) else { continue };
            let due = start.get().after(Duration::from_nanos(arrival.at));
            let ask = Ask { request, due, deadline: due.after(self.timeout) };
            let outcome = connection.ask(&ask, &self.tally).await;
            self.tally.borrow_mut().note(&outcome);
            self.live.done.fetch_add(1, Ordering::Relaxed);
            if outcome.result.is_err() {
                self.live.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn next(&self, number: usize) -> Option<Arrival> {
        poll_fn(|cx| self.queue.borrow_mut().poll_next(number, cx)).await
    }
}

/// From the last thread's readiness to the first arrival.
const START_DELAY: Duration = Duration::from_millis(5);
/// How often threads look whether others are ready or done.
const GATE_EVERY: Duration = Duration::from_millis(1);
/// How long connections may take to open before the load begins without them.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
