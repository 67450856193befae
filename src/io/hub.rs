//! The only place where cores meet: the published epoch, the ceilings of the process, each core's mailbox, and what
//! they tell each other of the health of targets. A core looks at its mailbox when its bell rings (a byte on a socket
//! pair, which both drivers can wait for), never on the request path.

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use super::{dns::Answer, ledger::Ledger, tls};
use crate::{
    base::{limits, units::Instant},
    config::{Config, health::Watched},
    policy::{
        breaker::{Counts, Half, State},
        health::Latency,
    },
};

/// One immutable state of all configuration, with what was loaded for it.
pub struct Epoch {
    /// Never repeats.
    pub number: u64,
    /// The configuration.
    pub config: Config,
    /// TLS of the client side.
    pub server_tls: Option<Arc<tls::ServerConfig>>,
    /// TLS of the upstream side.
    pub client_tls: tls::Trust,
}

/// Where cores meet.
pub struct Hub {
    /// The number of the published epoch, so that a core can see a change without taking the lock.
    number: AtomicU64,
    epoch: Mutex<Arc<Epoch>>,
    draining: AtomicBool,
    cutting: AtomicBool,
    mailboxes: Vec<Arc<Mailbox>>,
    refusal: Mutex<Option<String>>,
    /// What cores tell each other of targets and credentials; configs that came with requests have a table of their
    /// own, which they may fill.
    health: [Mutex<HashMap<u64, Arc<Shared>>>; 2],
    /// Exchanges that may be in flight.
    pub in_flight: Arc<Ledger>,
    /// Memory that may be accounted, in bytes.
    pub memory: Arc<Ledger>,
}

impl Hub {
    /// A hub for these mailboxes, one a core.
    #[must_use]
    pub fn new(epoch: Arc<Epoch>, mailboxes: Vec<Arc<Mailbox>>) -> Hub {
        let cores = mailboxes.len();
        let ledger = |total, lease_max| Arc::new(Ledger::new(total, cores, lease_max));
        let (in_flight, memory) = ceilings(&epoch.config);
        Hub {
            in_flight: ledger(in_flight, limits::IN_FLIGHT_LEASE_MAX),
            memory: ledger(memory, limits::MEMORY_LEASE_BYTES_MAX),
            number: AtomicU64::new(epoch.number),
            epoch: Mutex::new(epoch),
            draining: AtomicBool::new(false),
            cutting: AtomicBool::new(false),
            mailboxes,
            refusal: Mutex::default(),
            health: Default::default(),
        }
    }

    /// What all cores know of the target or credential of this key. A core asks once and keeps the answer: the lock is
    /// taken when it meets a target for the first time. `None`: too many are known.
    #[must_use]
    pub fn health(&self, key: u64) -> Option<Arc<Shared>> {
        let inline = key & Watched::INLINE != 0;
        let [named_table, inline_table] = &self.health;
        let (table, most) = match inline {
            true => (inline_table, limits::HEALTH_INLINE_TARGETS_MAX),
            false => (named_table, limits::HEALTH_TARGETS_MAX),
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= most && !table.contains_key(&key) {
            table.retain(|_, shared| Arc::strong_count(shared) > 1);
            if table.len() >= most {
                return None;
            }
        }
        Some(Arc::clone(table.entry(key).or_default()))
    }

    /// The same for those who only look: `None` also if no core has met it yet.
    #[must_use]
    pub fn known_health(&self, key: u64) -> Option<Arc<Shared>> {
        let [named_table, inline_table] = &self.health;
        let table = if key & Watched::INLINE != 0 { inline_table } else { named_table };
        table.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Notes how the last reload went: `Some`: what was wrong with the file.
    pub fn reloaded(&self, refusal: Option<String>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// What was wrong with the file at the last reload, if it was refused.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes an epoch: exchanges that begin from here on run on it.
    pub fn publish(&self, epoch: Arc<Epoch>) {
        let number = epoch.number;
        let (in_flight, memory) = ceilings(&epoch.config);
        self.in_flight.resize(in_flight);
        self.memory.resize(memory);
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
        self.number.store(number, Ordering::Release);
    }

    /// The number of the published epoch.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The published epoch.
    #[must_use]
    pub fn epoch(&self) -> Arc<Epoch> {
        Arc::clone(&self.epoch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells all cores to stop accepting and to end when their exchanges have.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Message::Drain));
    }

    /// Whether the process is on its way out.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Tells all cores, which drain, to end now.
    pub fn cut(&self) {
        self.cutting.store(true, Ordering::Release);
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Message::Cut));
    }

    /// Whether they were told so.
    #[must_use]
    pub fn is_cutting(&self) -> bool {
        self.cutting.load(Ordering::Acquire)
    }
}

/// How many exchanges may be in flight, and how many bytes be accounted.
fn ceilings(config: &Config) -> (u64, u64) {
    let limits = &config.limits;
    (limits.in_flight.map_or(limits::IN_FLIGHT_AUTO, |count| count as u64), limits.memory_bytes)
}

/// What cores tell each other of one target or credential. Read without a lock, field by field: what is read together
/// need not have been written together, which only ever costs a decision that is a moment old.
#[derive(Debug, Default)]
pub struct Shared {
    halves: [AtomicU64; 2],
    open_until: AtomicU64,
    probe_until: AtomicU64,
    out_until: AtomicU64,
    latency_nanos: AtomicU64,
    latency_at: AtomicU64,
    in_flight: AtomicI64,
}

impl Shared {
    /// Counts requests, and returns all counts of the window.
    pub fn count(&self, now: Instant, more: Counts) -> Counts {
        let number = Half::number(now);
        let [even, odd] = &self.halves;
        let (this, other) = if number.is_multiple_of(2) { (even, odd) } else { (odd, even) };
        let plus = |word| Some(Half(word).plus(number, more).0);
        // The closure always gives a word, so that this always stores one.
        let _ = this.fetch_update(Ordering::Relaxed, Ordering::Relaxed, plus);
        let this = Half(this.load(Ordering::Relaxed)).counts(number);
        this.and(Half(other.load(Ordering::Relaxed)).counts(number - 1))
    }

    /// Where the breaker stands.
    #[must_use]
    pub fn breaker(&self) -> State {
        let at = |nanos: &AtomicU64| Instant { nanos: nanos.load(Ordering::Acquire) };
        State { open_until: at(&self.open_until), probe_until: at(&self.probe_until) }
    }

    /// Opens the breaker. What was counted before counts no more.
    pub fn open(&self, until: Instant) {
        self.halves.iter().for_each(|half| half.store(0, Ordering::Relaxed));
        self.probe_until.store(0, Ordering::Release);
        self.open_until.store(until.nanos, Ordering::Release);
    }

    /// Closes the breaker.
    pub fn close(&self) {
        self.halves.iter().for_each(|half| half.store(0, Ordering::Relaxed));
        self.open_until.store(0, Ordering::Release);
        self.probe_until.store(0, Ordering::Release);
    }

    /// Takes the right to try while the breaker is half open; false: another has it.
    pub fn take_probe(&self, now: Instant, until: Instant) -> bool {
        let held = self.probe_until.load(Ordering::Acquire);
        let exchange = |held| {
            let (taken, failed) = (Ordering::AcqRel, Ordering::Relaxed);
            self.probe_until.compare_exchange(held, until.nanos, taken, failed).is_ok()
        };
        held <= now.nanos && exchange(held)
    }

    /// Gives the right back: nothing was learnt.
    pub fn give_probe_back(&self) {
        self.probe_until.store(0, Ordering::Release);
    }

    /// Until when it is out of quota, or a credential refused; in the past: it is not.
    #[must_use]
    pub fn out_until(&self) -> Instant {
        Instant { nanos: self.out_until.load(Ordering::Relaxed) }
    }

    /// Sets that.
    pub fn be_out(&self, until: Instant) {
        self.out_until.store(until.nanos, Ordering::Relaxed);
    }

    /// The latency that was told last.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let at = Instant { nanos: self.latency_at.load(Ordering::Acquire) };
        Latency { nanos: self.latency_nanos.load(Ordering::Relaxed), at }
    }

    /// Tells a latency.
    pub fn tell_latency(&self, latency: Latency) {
        self.latency_nanos.store(latency.nanos, Ordering::Relaxed);
        self.latency_at.store(latency.at.nanos, Ordering::Release);
    }

    /// Requests that cores told of.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Tells that so many more are running, or fewer.
    pub fn tell_in_flight(&self, more: i64) {
        self.in_flight.fetch_add(more, Ordering::Relaxed);
    }
}

/// What is said to a core from outside.
pub enum Message {
    /// A name was resolved.
    Resolved(Answer),
    /// Stop accepting; finish what runs.
    Drain,
    /// Do not wait for what runs any longer.
    Cut,
}

/// A core's mailbox: other threads post, the core is woken by its bell.
pub struct Mailbox {
    messages: Mutex<Vec<Message>>,
    bell: UnixStream,
}

impl Mailbox {
    /// A mailbox, and the end of the bell that the core listens to.
    pub fn new() -> io::Result<(Arc<Mailbox>, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        Ok((Arc::new(Mailbox { messages: Mutex::default(), bell }), ear))
    }

    /// Leaves a message and rings.
    pub fn post(&self, message: Message) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        // A full socket means that the core has been rung already and will look.
        let _ = io::Write::write(&mut &self.bell, &[1]);
    }

    /// Takes all messages.
    pub fn collect(&self) -> Vec<Message> {
        std::mem::take(&mut self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
