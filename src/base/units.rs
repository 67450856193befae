//! Numbers that cannot be mixed up: two clocks, token counts and money.

use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Nanoseconds since the clock's start.
    pub nanos: u64,
}

impl Instant {
    /// The later point; saturates at the end of time, so a huge time-out never wraps.
    #[must_use]
    pub fn after(self, wait: Duration) -> Instant {
        let wait_nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Instant { nanos: self.nanos.saturating_add(wait_nanos) }
    }

    /// How long it is since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

/// A point in civil time: nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime {
    /// Nanoseconds since the epoch.
    pub nanos: u64,
}

impl UnixTime {
    /// Whole seconds since the epoch.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.nanos / 1_000_000_000
    }

    /// The earlier point; saturates at 1970.
    #[must_use]
    pub fn before(self, wait: Duration) -> UnixTime {
        let wait_nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        UnixTime { nanos: self.nanos.saturating_sub(wait_nanos) }
    }

    /// The later point; saturates at the end of time.
    #[must_use]
    pub fn after(self, wait: Duration) -> UnixTime {
        let wait_nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        UnixTime { nanos: self.nanos.saturating_add(wait_nanos) }
    }
}

/// Money in units of 10⁻¹² US dollars: a price of 1 USD a million tokens is exactly 1,000,000 a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PicoUsd(pub u64);

/// A count with its noun: `1 process`, `2 processes`.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
