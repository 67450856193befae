//! What one core counts: plain numbers that only their core writes and the control thread reads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    histogram::{Histogram, LAG_BOUNDS},
    slow::SlowQueue,
    tally::Tally,
};

/// A number that one core writes and others may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; cheap, since only one core writes.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Reads.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that one core sets and others may read.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, level: usize) {
        self.0.store(level as u64, Ordering::Relaxed);
    }

    /// One more.
    pub fn raise(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    /// One less.
    pub fn lower(&self) {
        self.0.store(self.get().saturating_sub(1), Ordering::Relaxed);
    }

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An upstream connection's place in [`Counters::upstream_open`], as long as it lives.
#[derive(Debug)]
pub struct UpstreamPlace(Arc<Counters>);

impl UpstreamPlace {
    /// Takes one.
    #[must_use]
    pub fn take(counters: &Arc<Counters>) -> UpstreamPlace {
        counters.upstream_open.raise();
        UpstreamPlace(Arc::clone(counters))
    }
}

impl Drop for UpstreamPlace {
    fn drop(&mut self) {
        self.0.upstream_open.lower();
    }
}

/// How guardrails ended.
#[derive(Debug, Default)]
pub struct GuardrailCounts {
    /// They held.
    pub passed: Counter,
    /// They failed and let it through.
    pub failed: Counter,
    /// They denied.
    pub denied: Counter,
    /// Checks that could not be made.
    pub errors: Counter,
    /// Calls that nobody waits for and that were not made: too much was under way.
    pub not_called: Counter,
    /// What calls that nobody waits for hold, in bytes.
    pub unawaited_bytes: Gauge,
}

/// How late a core's event loop comes to what is due.
#[derive(Debug)]
pub struct Lag {
    /// All samples.
    pub samples: Histogram,
    /// The longest of late, in nanoseconds.
    pub recent_nanos: Gauge,
}

impl Default for Lag {
    fn default() -> Lag {
        Lag { samples: Histogram::new(LAG_BOUNDS), recent_nanos: Gauge::default() }
    }
}

/// A core's counters since its start, and its levels at the moment. On cache lines of its own: cores do not slow one
/// another by counting.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Client connections that are open.
    pub connections_open: Gauge,
    /// Client connections that may be open.
    pub connections_max: Gauge,
    /// Exchanges under way.
    pub in_flight: Gauge,
    /// Streams of events under way to clients.
    pub streams_open: Gauge,
    /// Memory accounted to exchanges, in bytes.
    pub exchange_bytes: Gauge,
    /// Memory accounted to the log's queues, in bytes.
    pub log_bytes: Gauge,
    /// Connections to upstreams that are open, in use or idle.
    pub upstream_open: Gauge,
    /// Upstream connections that idle in the pool.
    pub upstream_idle: Gauge,
    /// Connections accepted.
    pub connections: Counter,
    /// Connections refused over the cap.
    pub connections_refused: Counter,
    /// TLS handshakes with clients that failed.
    pub tls_failures: Counter,
    /// Heads that were not HTTP.
    pub malformed_heads: Counter,
    /// Exchanges begun.
    pub exchanges: Counter,
    /// Attempts made.
    pub attempts: Counter,
    /// Second tries sent beside slow ones.
    pub hedges: Counter,
    /// Copies sent to mirrors.
    pub mirrors: Counter,
    /// Copies not sent, for want of room.
    pub mirrors_skipped: Counter,
    /// Exchanges whose client went away.
    pub clients_gone: Counter,
    /// Streams that broke after the commit point.
    pub truncated: Counter,
    /// Panics caught.
    pub bugs: Counter,
    /// Metadata headers that were not JSON and so ignored.
    pub metadata_ignored: Counter,
    /// Log records dropped.
    pub records_dropped: Counter,
    /// Upstream connections opened.
    pub upstream_connections: Counter,
    /// Attempts on a pooled connection.
    pub upstream_reused: Counter,
    /// Exchanges refused because `limits.in_flight` was reached.
    pub refused_in_flight: Counter,
    /// Exchanges refused because `limits.memory` was.
    pub refused_memory: Counter,
    /// Guardrails by how they ended, of those that ran.
    pub guardrails: GuardrailCounts,
    /// What is counted when an exchange ends.
    pub ended: Tally,
    /// How late the event loop is.
    pub lag: Lag,
    /// Slow exchanges, on their way to whoever tells of them.
    pub slow: SlowQueue,
}
