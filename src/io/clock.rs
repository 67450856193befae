//! The process's clocks and the dice of a core: where time and chance enter the program.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::base::{
    limits,
    units::{Instant, UnixTime},
};

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

/// The clock of one core: it stands still between two events, so that however often it is asked while one is worked
/// on, the system is asked once.
#[derive(Debug)]
pub struct EventClock {
    clock: Clock,
    now: Cell<Instant>,
    /// A moment in both times; civil time is reckoned from it.
    unix: Cell<(Instant, UnixTime)>,
    stale: Cell<bool>,
    /// It never stands still.
    exact: bool,
}

impl EventClock {
    /// A clock that stands still between events.
    #[must_use]
    pub fn new(clock: Clock) -> EventClock {
        let now = clock.now();
        let unix = Cell::new((now, clock.unix_now()));
        EventClock { clock, now: Cell::new(now), unix, stale: Cell::new(true), exact: false }
    }

    /// A clock that asks the system each time: for those who measure.
    #[must_use]
    pub fn exact(clock: Clock) -> EventClock {
        EventClock { exact: true, ..EventClock::new(clock) }
    }

    /// Something has happened.
    pub fn event(&self) {
        self.stale.set(true);
    }

    /// Nanoseconds since the start, at the last event.
    #[must_use]
    pub fn now(&self) -> Instant {
        if self.stale.replace(self.exact) {
            self.now.set(self.clock.now());
        }
        self.now.get()
    }

    /// Civil time at the last event. The system is asked about it once a second.
    #[must_use]
    pub fn unix_now(&self) -> UnixTime {
        let now = self.now();
        let (since, unix) = self.unix.get();
        let passed = now.nanos.saturating_sub(since.nanos);
        if passed < limits::CIVIL_TIME_FOR.as_nanos() as u64 {
            return UnixTime { nanos: unix.nanos + passed };
        }
        let unix = self.clock.unix_now();
        self.unix.set((now, unix));
        unix
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
