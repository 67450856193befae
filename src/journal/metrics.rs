//! What one core counts: plain numbers that only their core writes and the control thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A core's counters since its start, and its levels at the moment.
#[derive(Debug, Default)]
pub struct Counters {
    /// Client connections that are open.
    pub connections_open: Gauge,
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
}
