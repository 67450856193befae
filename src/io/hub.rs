//! The only place where cores meet: the published epoch, the ceilings of the process, and each core's mailbox. A core
//! looks at its mailbox when its bell rings (a byte on a socket pair, which both drivers can wait for), never on the
//! request path.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{dns::Answer, ledger::Ledger, tls};
use crate::{base::limits, config::Config};

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
    mailboxes: Vec<Arc<Mailbox>>,
    refusal: Mutex<Option<String>>,
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
            mailboxes,
            refusal: Mutex::default(),
        }
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
}

/// How many exchanges may be in flight, and how many bytes be accounted.
fn ceilings(config: &Config) -> (u64, u64) {
    let limits = &config.limits;
    (limits.in_flight.map_or(limits::IN_FLIGHT_AUTO, |count| count as u64), limits.memory_bytes)
}

/// What is said to a core from outside.
pub enum Message {
    /// A name was resolved.
    Resolved(Answer),
    /// Stop accepting; finish what runs.
    Drain,
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
