//! Circuit breakers: what is counted, when one opens, and who may try while it is neither open nor closed.
//!
//! A breaker opens when its failures, or their share, reach what the config says within a window. It is open for the
//! cooldown; then one request at a time may try, and the first success closes it.

use std::time::Duration;

use crate::{
    base::{limits, units::Instant},
    config::health::Breaker,
};

use super::attempt::{Outcome, statuses};

/// Where a breaker stands, as a plan sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Requests pass.
    #[default]
    Closed,
    /// The cooldown is over: the next request may try.
    HalfOpen,
    /// No request passes: the cooldown is not over, or another request is trying.
    Open,
}

/// What is known of a breaker: since when it is open and who is trying. Zero: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The end of the cooldown; zero while it is closed.
    pub open_until: Instant,
    /// Until then another request may be trying; zero: none is.
    pub probe_until: Instant,
}

impl State {
    /// Where it stands now.
    #[must_use]
    pub fn stage(self, now: Instant) -> Stage {
        if self.open_until == Instant::default() {
            Stage::Closed
        } else if now < self.open_until || now < self.probe_until {
            Stage::Open
        } else {
            Stage::HalfOpen
        }
    }
}

/// What one request through a breaker comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target did its work.
    Success,
    /// It did not.
    Failure,
    /// Nothing was learnt of it.
    Nothing,
}

/// What an outcome says of its target. A network fault counts as each status that it stands for.
#[must_use]
pub fn verdict(breaker: &Breaker, outcome: &Outcome) -> Verdict {
    if matches!(outcome, Outcome::Unfit | Outcome::Denied { .. }) {
        return Verdict::Nothing;
    }
    let fails = |status: &u16| match &breaker.failure_status_codes {
        Some(codes) => codes.contains(status),
        None => *status >= 500,
    };
    if statuses(outcome).iter().any(fails) { Verdict::Failure } else { Verdict::Success }
}

/// Whether a breaker that is closed opens at these counts.
#[must_use]
pub fn trips(breaker: &Breaker, counts: Counts) -> bool {
    let Counts { failures, requests } = counts;
    let by_number = breaker.failure_threshold.is_some_and(|most| failures >= most);
    let by_share = breaker.failure_percentage.is_some_and(|most| {
        let enough = failures > 0 && requests >= breaker.minimum_requests;
        enough && f64::from(failures) * 100.0 >= f64::from(requests) * most
    });
    by_number || by_share
}

/// How long a request that tries keeps others from trying: longer than that, it is taken for lost.
#[must_use]
pub fn probe_lease(breaker: &Breaker) -> Duration {
    breaker.cooldown
}

/// Requests within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that failed.
    pub failures: u32,
    /// All of them.
    pub requests: u32,
}

/// The counts of one half of a window, in one word so that cores can share them: 22 bits of the half's number, 21 of
/// failures, 21 of requests. Two such words, taken in turn, are a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Half(pub u64);

impl Half {
    /// The number of the half of a window that a point in time is in.
    #[must_use]
    pub fn number(now: Instant) -> u64 {
        now.nanos / (limits::BREAKER_WINDOW.as_nanos() as u64 / 2) + 1
    }

    /// With so many more, in the half of that number. Counts of an older half are forgotten.
    #[must_use]
    pub fn plus(self, number: u64, more: Counts) -> Half {
        let old = self.counts(number);
        let add = |old: u32, more: u32| u64::from(old.saturating_add(more)).min(COUNT_MAX);
        let failures = add(old.failures, more.failures);
        let requests = add(old.requests, more.requests);
        Half((number & NUMBER_MAX) << (2 * COUNT_BITS) | failures << COUNT_BITS | requests)
    }

    /// The counts, if they are those of the half of that number.
    #[must_use]
    pub fn counts(self, number: u64) -> Counts {
        if self.0 >> (2 * COUNT_BITS) != number & NUMBER_MAX {
            return Counts::default();
        }
        let failures = u32::try_from(self.0 >> COUNT_BITS & COUNT_MAX).unwrap_or(u32::MAX);
        let requests = u32::try_from(self.0 & COUNT_MAX).unwrap_or(u32::MAX);
        Counts { failures, requests }
    }
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        Counts {
            failures: self.failures.saturating_add(other.failures),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

const COUNT_BITS: u32 = 21;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const NUMBER_MAX: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;
const _: () = assert!((limits::BREAKER_REQUESTS_MAX as u64) < COUNT_MAX);
