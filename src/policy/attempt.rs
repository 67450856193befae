//! What next after this outcome at this time: retries of one target, then the fallbacks around it. Walks a
//! [`Plan`]; makes no attempt itself.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::{
    base::{limits, units::Instant},
    config::policy::Retry,
    provider::HeaderLookup,
};

use super::{
    condition::Refusal,
    plan::{LeafRef, Place, Plan, Route},
};

/// How one try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status came.
    Status {
        /// The upstream's status.
        code: u16,
        /// What [`retry_after`] made of its headers.
        retry_after: Option<Duration>,
    },
    /// Nothing usable came back.
    Network(Network),
    /// `request_timeout` ran out before the answer's head: a 408 of Trunkline's.
    RequestTimeout,
    /// This target cannot take the request; nothing was sent.
    Unfit,
    /// A guardrail denied: a 446 of Trunkline's.
    Denied {
        /// Whether it was the target's answer that was denied: another may do better. The same request would be denied
        /// again.
        answer: bool,
    },
}

/// Why nothing usable came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// No connection: no address, refused, TLS failed.
    Unreachable,
    /// The connect deadline ran out.
    ConnectTimeout,
    /// The first-byte deadline ran out.
    FirstByteTimeout,
    /// The upstream broke HTTP or its own format.
    Protocol,
    /// The answer ended before it was complete and before anything was sent to the client.
    Truncated,
    /// A stream of status 200 began with an error event.
    StreamError {
        /// The status that the provider would have sent before the stream. It decides like that status.
        status: u16,
    },
}

/// What to do now.
#[derive(Clone, Copy, Debug)]
pub enum Step<'p> {
    /// Try this target.
    Try {
        /// The target.
        leaf: LeafRef<'p>,
        /// Not before this time.
        not_before: Instant,
        /// 0: the first try of this target; n: its n-th retry.
        retry_number: u32,
    },
    /// The policy itself refuses the request here: nothing more is tried, and no earlier answer is shown.
    Refuse(Refusal<'p>),
    /// No more tries; [`Walk::shown`] says what the client gets.
    Finish,
}

/// The try whose answer the client gets when the walk ends.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'p> {
    /// The target.
    pub leaf: LeafRef<'p>,
    /// Which try of the exchange it was, from 0, in the order of [`Walk::after`].
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// See [`Walk::retry_attempt_count`].
    pub retry_attempt_count: i32,
}

/// A walk through a plan. Ends after at most the sum of `attempts + 1` over its leaves.
#[derive(Clone, Debug)]
pub struct Walk<'p> {
    route: Route<'p>,
    current: Option<LeafRef<'p>>,
    retry_number: u32,
    waited_for_upstream: Duration,
    attempts: u32,
    answer: Option<Shown<'p>>,
    unfit: Option<Shown<'p>>,
}

impl<'p> Walk<'p> {
    /// At the start of `plan`.
    #[must_use]
    pub fn new(plan: &'p Plan<'_>) -> Walk<'p> {
        Walk {
            route: plan.route(),
            current: None,
            retry_number: 0,
            waited_for_upstream: Duration::ZERO,
            attempts: 0,
            answer: None,
            unfit: None,
        }
    }

    /// The first target, at once. A plan without targets finishes here.
    pub fn first(&mut self) -> Step<'p> {
        self.begin(self.route.places.first(), Instant::default())
    }

    /// What to do after the last handed-out try ended with `outcome`. `dice`: 64 random bits for the jitter.
    pub fn after(&mut self, outcome: &Outcome, now: Instant, dice: u64) -> Step<'p> {
        let Some(leaf) = self.current else { return Step::Finish };
        let again = self.again(&leaf.leaf.retry, outcome, dice);
        self.note(leaf, *outcome, again);
        if let Again::After(wait) = again {
            self.retry_number += 1;
            let retry_number = self.retry_number;
            return Step::Try { leaf, not_before: now.after(wait), retry_number };
        }
        let next = self.route.next_after(leaf, |codes| falls_through(outcome, codes));
        self.begin(next, now)
    }

    /// After a try that ended with `outcome`: the same target at once, with another credential. No retry of its own.
    pub fn again_at_once(&mut self, outcome: &Outcome, now: Instant) -> Step<'p> {
        let Some(leaf) = self.current else { return Step::Finish };
        self.note(leaf, *outcome, Again::No);
        Step::Try { leaf, not_before: now, retry_number: self.retry_number }
    }

    /// Passes the target over that is to be tried now, if there is another behind it.
    pub fn pass_over(&mut self, now: Instant) -> Option<Step<'p>> {
        let next = self.route.next_after(self.current?, |_| true)?;
        Some(self.begin(Some(next), now))
    }

    /// Where a second try goes beside the one that was handed out last: to the target that a failure would lead to, or
    /// if there is none, to the same.
    #[must_use]
    pub fn beside(&self) -> Option<LeafRef<'p>> {
        match self.route.next_after(self.current?, |_| true) {
            Some(Place::Leaf(leaf)) => Some(leaf),
            Some(Place::Refused(_)) | None => self.current,
        }
    }

    /// The try whose answer the client gets: the last one that brought a real answer or a network fault. Only if
    /// every target was unfit it is the last unfit one, and the client gets the 400 that names the field: while some
    /// target could express the request, what that target said is the more useful answer.
    #[must_use]
    pub fn shown(&self) -> Option<Shown<'p>> {
        self.answer.or(self.unfit)
    }

    /// The value of `x-portkey-retry-attempt-count` for the shown try: 0 first try, n the n-th retry, -1 retries
    /// exhausted with a retryable outcome, or cut short by a long `retry-after`.
    #[must_use]
    pub fn retry_attempt_count(&self) -> i32 {
        self.shown().map_or(0, |shown| shown.retry_attempt_count)
    }

    fn begin(&mut self, place: Option<&'p Place<'p>>, not_before: Instant) -> Step<'p> {
        self.retry_number = 0;
        self.waited_for_upstream = Duration::ZERO;
        self.current = None;
        match place {
            Some(Place::Leaf(leaf)) => {
                self.current = Some(leaf);
                Step::Try { leaf, not_before, retry_number: 0 }
            }
            Some(Place::Refused(refusal)) => Step::Refuse(*refusal),
            None => Step::Finish,
        }
    }

    /// Whether the same target is tried again.
    fn again(&mut self, retry: &Retry, outcome: &Outcome, dice: u64) -> Again {
        let attempts = retry.attempts.min(limits::RETRY_ATTEMPTS_MAX);
        if attempts == 0 || !retryable(retry, outcome) {
            return Again::No;
        }
        if self.retry_number >= attempts {
            return Again::Exhausted;
        }
        let Outcome::Status { code: 429, retry_after: Some(wait) } = *outcome else {
            return Again::After(back_off(self.retry_number, retry.jitter, dice));
        };
        if !retry.use_retry_after {
            return Again::After(back_off(self.retry_number, retry.jitter, dice));
        }
        self.wait_for_upstream(wait)
    }

    /// The upstream said how long to wait: that long, unless it is too long to keep a client waiting.
    fn wait_for_upstream(&mut self, wait: Duration) -> Again {
        let total = self.waited_for_upstream.saturating_add(wait);
        if wait >= limits::RETRY_AFTER_MAX || total > limits::RETRY_AFTER_MAX {
            return Again::Exhausted;
        }
        self.waited_for_upstream = total;
        Again::After(wait)
    }

    fn note(&mut self, leaf: LeafRef<'p>, outcome: Outcome, again: Again) {
        let retry_attempt_count = match again {
            Again::Exhausted => -1,
            Again::No | Again::After(_) => i32::try_from(self.retry_number).unwrap_or(i32::MAX),
        };
        let shown = Shown { leaf, attempt: self.attempts, outcome, retry_attempt_count };
        self.attempts += 1;
        match outcome {
            Outcome::Unfit => self.unfit = Some(shown),
            _ => self.answer = Some(shown),
        }
    }
}

/// Whether and when the same target is tried again.
#[derive(Clone, Copy, Debug)]
enum Again {
    /// After this wait.
    After(Duration),
    /// The outcome would be tried again, but there are no tries left or the wait is too long.
    Exhausted,
    /// This outcome is not tried again.
    No,
}

/// Network faults always, `request_timeout` and statuses if the codes name them.
fn retryable(retry: &Retry, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Status { code: 200..=204, .. } | Outcome::Unfit => false,
        Outcome::Denied { answer } => *answer && retry.on_status_codes.contains(&DENIED_STATUS),
        Outcome::Network(fault) => match fault {
            Network::StreamError { status } => retry.on_status_codes.contains(&stands_for(*status)),
            _ => true,
        },
        Outcome::Status { code, .. } => retry.on_status_codes.contains(code),
        Outcome::RequestTimeout => retry.on_status_codes.contains(&408),
    }
}

/// Whether a fallback of these codes lets an outcome fall through to its next target. Without codes: everything
/// but a 2xx. A network fault has no status of its own: it counts as the status that Trunkline answers it with and,
/// for configs written for Portkey, as the one that Portkey makes of it.
fn falls_through(outcome: &Outcome, on_status_codes: Option<&[u16]>) -> bool {
    if *outcome == Outcome::Unfit {
        return true;
    }
    let statuses = statuses(outcome);
    match on_status_codes {
        None => !statuses.iter().all(|code| (200..300).contains(code)),
        Some(codes) => statuses.iter().any(|code| codes.contains(code)),
    }
}

/// The statuses that an outcome counts as; none where nothing was sent.
pub(super) fn statuses(outcome: &Outcome) -> SmallVec<[u16; 2]> {
    match outcome {
        Outcome::Unfit => smallvec![],
        Outcome::Status { code, .. } => smallvec![*code],
        Outcome::RequestTimeout => smallvec![408],
        Outcome::Denied { .. } => smallvec![DENIED_STATUS],
        Outcome::Network(fault) => match fault {
            Network::Unreachable | Network::Protocol | Network::Truncated => smallvec![500, 502],
            Network::ConnectTimeout => smallvec![503, 504],
            Network::FirstByteTimeout => smallvec![408, 504],
            Network::StreamError { status } => smallvec![stands_for(*status)],
        },
    }
}

/// An error event is an error whatever status it was given.
fn stands_for(status: u16) -> u16 {
    if status < 400 { 500 } else { status }
}

/// 1, 2, 4, 8, 16 s and 16 from then on, with 0 to 20 % on top unless jitter is off.
fn back_off(retries_made: u32, jitter: bool, dice: u64) -> Duration {
    let factor = 1_u32.checked_shl(retries_made).unwrap_or(u32::MAX);
    let wait = limits::BACK_OFF_FIRST.saturating_mul(factor).min(limits::BACK_OFF_LONGEST);
    if !jitter {
        return wait;
    }
    let span_nanos = wait.as_nanos() / u128::from(limits::BACK_OFF_JITTER_DIVISOR);
    let extra_nanos = (span_nanos * u128::from(dice)) >> u64::BITS;
    wait.saturating_add(Duration::from_nanos(u64::try_from(extra_nanos).unwrap_or(u64::MAX)))
}

/// The status of what a guardrail denied.
pub const DENIED_STATUS: u16 = 446;
/// The status of what a guardrail failed and let through.
pub const FAILED_STATUS: u16 = 246;

/// How long an upstream asks to wait: the first of `retry-after-ms`, `x-ms-retry-after-ms` and `retry-after` that is
/// there decides. Whole numbers only: HTTP dates are ignored, as Portkey does.
#[must_use]
pub fn retry_after(headers: HeaderLookup<'_, '_>) -> Option<Duration> {
    let (text, unit_millis) =
        [("retry-after-ms", 1), ("x-ms-retry-after-ms", 1), ("retry-after", 1000)]
            .into_iter()
            .find_map(|(name, unit)| headers(name).map(|text| (text.trim(), unit)))?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = text.parse().unwrap_or(u64::MAX); // digits alone: only too large a number fails
    Some(Duration::from_millis(number.saturating_mul(unit_millis)))
}
