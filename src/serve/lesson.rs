//! What is still to be learnt of a target once its answer is on its way, and the right to try a target whose breaker is
//! half open. Both outlive the walk over the targets, and nothing else of its care does.

use std::{cell::RefCell, rc::Rc};

use super::health::{Known, Running};
use crate::{
    base::{fault::Kind, limits, units::Instant},
    config::health::Breaker,
    journal::entry::Entry,
    policy::{
        attempt::{Network, Outcome},
        breaker::{self, Verdict},
    },
};

/// What the end of an answer teaches of the target that gives it.
pub(super) struct Lesson {
    pub(super) known: Rc<Known>,
    pub(super) breaker: Option<Breaker>,
    pub(super) probing: Probing,
    /// It is answering.
    pub(super) running: Option<Running>,
}

impl Lesson {
    /// The answer has ended as the record says.
    pub(super) fn learn(self, entry: &Entry<'_>, now: impl FnOnce() -> Instant) {
        if entry.client_gone {
            return;
        }
        let denied = entry.fault.as_ref().is_some_and(|fault| fault.kind == Kind::Guardrail);
        let outcome = match entry.truncated && !denied {
            true => Outcome::Network(Network::Truncated),
            false => Outcome::Status { code: 200, retry_after: None },
        };
        self.probing.learn(&self.known, self.breaker.as_ref(), &outcome, now());
        drop(self.running);
    }
}

/// The target that an exchange alone may try while its breaker is half open. An exchange that ends without a word on
/// it keeps no other from trying.
#[derive(Default)]
pub(super) struct Probing(RefCell<Option<Rc<Known>>>);

impl Probing {
    /// The right to try this one was taken.
    pub(super) fn begin(&self, known: &Rc<Known>) {
        *self.0.borrow_mut() = Some(Rc::clone(known));
    }

    /// Whether it is for this one.
    pub(super) fn is_of(&self, known: &Rc<Known>) -> bool {
        self.0.borrow().as_ref().is_some_and(|probing| Rc::ptr_eq(probing, known))
    }

    /// Hands it over, if it is for this one.
    pub(super) fn hand_over(&self, known: &Rc<Known>) -> Probing {
        let probing = if self.is_of(known) { self.0.take() } else { None };
        Probing(RefCell::new(probing))
    }

    /// A try of a target is over. `breaker`: the one that learns from it.
    pub(super) fn learn(
        &self,
        known: &Rc<Known>,
        breaker: Option<&Breaker>,
        outcome: &Outcome,
        now: Instant,
    ) {
        if matches!(outcome, Outcome::Network(_) | Outcome::RequestTimeout) {
            has_failed(known, now);
        }
        if let Some(breaker) = breaker {
            self.judge(known, breaker, breaker::verdict(breaker, outcome), now);
        }
    }

    fn judge(&self, known: &Rc<Known>, breaker: &Breaker, verdict: Verdict, now: Instant) {
        let probing = self.is_of(known);
        let open_until = known.breaker().open_until;
        let closed = open_until == Instant::default();
        match verdict {
            Verdict::Success if closed => known.did_well(now),
            Verdict::Success if now >= open_until => known.shared.close(),
            Verdict::Failure if closed => count_failure(known, breaker, now),
            Verdict::Failure if probing => known.shared.open(now.after(breaker.cooldown)),
            Verdict::Nothing if probing => known.shared.give_probe_back(),
            _ => {}
        }
        if probing {
            self.0.take();
        }
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(known) = self.0.take() {
            known.shared.give_probe_back();
        }
    }
}

/// What a failure is to those who choose by latency.
pub(super) fn has_failed(known: &Known, now: Instant) {
    known.answered(limits::LATENCY_OF_FAILURE.as_nanos() as u64, now);
}

/// Opens a breaker that was closed, if this failure is one too many.
fn count_failure(known: &Known, breaker: &Breaker, now: Instant) {
    if breaker::trips(breaker, known.failed(now)) {
        known.shared.open(now.after(breaker.cooldown));
    }
}
