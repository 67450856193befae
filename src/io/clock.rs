//! The process's clocks and the dice of a core: where time and chance enter the program.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::units::{Instant, UnixTime};

/// The monotonic clock, counted from the start of the process, and civil time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Starts the count.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the monotonic clock"
    )]
    pub fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant { nanos: u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Civil time; the epoch if the machine's clock stands before it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for civil time")]
    pub fn unix_now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime { nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) }
    }
}

/// A generator of random numbers for routing and ids (SplitMix64, Steele et al., 2014); not for keys.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Dice {
        Dice { state: seed }
    }

    /// Seeded by the operating system.
    #[must_use]
    pub fn from_system() -> Dice {
        Dice::seeded(getrandom::u64().unwrap_or_else(|_| Clock::start().unix_now().nanos))
    }

    /// 64 random bits.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
