//! Who waits for a time: few, since a core's deadlines share one timer of [`crate::io::wheel`].

use std::{cell::RefCell, collections::BTreeMap, task::Waker};

use crate::base::units::Instant;

/// All waits for a time of one core.
#[derive(Default)]
pub struct Timers {
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// In the order of their times; the number tells those of one time apart.
    by_time: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

/// One wait.
#[derive(Clone, Copy, Debug)]
pub struct TimerKey(Instant, u64);

impl Timers {
    /// Files a wait; it stays until it fires or is taken back.
    pub fn file(&self, at: Instant, waker: &Waker) -> TimerKey {
        let mut waiting = self.waiting.borrow_mut();
        waiting.next += 1;
        let number = waiting.next;
        waiting.by_time.insert((at, number), waker.clone());
        TimerKey(at, number)
    }

    /// Who waits there is polled by another task now. False: it has fired.
    pub fn refile(&self, TimerKey(at, number): TimerKey, waker: &Waker) -> bool {
        match self.waiting.borrow_mut().by_time.get_mut(&(at, number)) {
            Some(held) => {
                held.clone_from(waker);
                true
            }
            None => false,
        }
    }

    /// Takes a wait back.
    pub fn remove(&self, TimerKey(at, number): TimerKey) {
        self.waiting.borrow_mut().by_time.remove(&(at, number));
    }

    /// The time that comes first.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.borrow().by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes all whose time has come.
    pub fn fire(&self, now: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.by_time.first_entry() {
            if first.key().0 > now {
                break;
            }
            first.remove().wake();
        }
    }
}
