//! A ceiling that all cores share and hardly ever meet at: each takes some of it at a time, spends that without anybody
//! else's memory, and gives back what it has too much of.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::base::limits;

/// What is left of a ceiling.
#[derive(Debug)]
pub struct Ledger {
    total: AtomicI64,
    /// Not with any core; below zero after more was taken than there was.
    free: AtomicI64,
    /// How much a core takes at a time: little enough that what idles on some cores does not starve the others.
    lease: AtomicI64,
    cores: i64,
    lease_max: i64,
}

impl Ledger {
    /// A ceiling for so many cores, each of which takes at most `lease_max` at a time beyond what it needs.
    #[must_use]
    pub fn new(total: u64, cores: usize, lease_max: u64) -> Ledger {
        let ledger = Ledger {
            total: AtomicI64::new(0),
            free: AtomicI64::new(0),
            lease: AtomicI64::new(0),
            cores: signed(cores as u64).max(1),
            lease_max: signed(lease_max),
        };
        ledger.resize(total);
        ledger
    }

    /// The ceiling.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed).unsigned_abs()
    }

    /// A core's part of it, if all had the same.
    #[must_use]
    pub fn share(&self) -> u64 {
        self.total() / self.cores.unsigned_abs()
    }

    /// Sets another ceiling. What is over it goes on, and nothing is added until it is below.
    pub fn resize(&self, total: u64) {
        let total = signed(total);
        let before = self.total.swap(total, Ordering::AcqRel);
        let parts = self.cores.saturating_mul(signed(limits::LEASE_DIVISOR));
        self.lease.store((total / parts).min(self.lease_max), Ordering::Relaxed);
        self.free.fetch_add(total - before, Ordering::AcqRel);
    }

    fn lease(&self) -> i64 {
        self.lease.load(Ordering::Relaxed)
    }

    /// Takes what is needed, and up to `wish` if there is so much; `None`: there is less than needed.
    fn take(&self, need: i64, wish: i64) -> Option<i64> {
        let grant =
            |free: i64| if free < need { None } else { Some(free - free.min(wish.max(need))) };
        let before = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, grant).ok()?;
        Some(before.min(wish.max(need)))
    }

    fn add(&self, amount: i64) {
        if amount != 0 {
            self.free.fetch_add(amount, Ordering::AcqRel);
        }
    }
}

/// A core's part of a ledger.
#[derive(Debug)]
pub struct Purse {
    ledger: Arc<Ledger>,
    used: Cell<i64>,
    /// Taken from the ledger and not in use.
    change: Cell<i64>,
}

impl Purse {
    /// An empty one.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>) -> Purse {
        Purse { ledger, used: Cell::new(0), change: Cell::new(0) }
    }

    /// What this core uses.
    pub fn used(&self) -> u64 {
        self.used.get().unsigned_abs()
    }

    /// Takes so much into use; false: that would be over the ceiling, and nothing was taken.
    pub fn take(&self, amount: u64) -> bool {
        let amount = signed(amount);
        let need = amount - self.change.get();
        if need > 0 {
            let Some(granted) = self.ledger.take(need, self.ledger.lease()) else { return false };
            self.change.set(self.change.get() + granted);
        }
        self.spend(amount);
        true
    }

    /// Takes so much into use though it may be over the ceiling: for what has been begun and must go on.
    pub fn take_anyway(&self, amount: u64) {
        let amount = signed(amount);
        let need = amount - self.change.get();
        if need > 0 {
            self.ledger.add(-need);
            self.change.set(amount);
        }
        self.spend(amount);
    }

    fn spend(&self, amount: i64) {
        self.change.set(self.change.get() - amount);
        self.used.set(self.used.get() + amount);
    }

    /// Gives back so much of what is in use. While more is in use than there is, nothing is kept for later.
    pub fn give(&self, amount: u64) {
        self.spend(-signed(amount));
        if self.ledger.free.load(Ordering::Relaxed) < 0 {
            return self.settle();
        }
        let lease = self.ledger.lease();
        if self.change.get() > 2 * lease {
            self.ledger.add(self.change.get() - lease);
            self.change.set(lease);
        }
    }

    /// Gives back all that is not in use: the ceiling may have changed.
    pub fn settle(&self) {
        self.ledger.add(self.change.take());
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.ledger.add(self.change.get() + self.used.get());
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(total: u64, cores: usize, lease_max: u64) -> Arc<Ledger> {
        Arc::new(Ledger::new(total, cores, lease_max))
    }

    #[test]
    fn the_ceiling_is_reached_exactly_and_what_is_given_back_is_there_again() {
        for total in [1, 2, 3, 64, 1000, 1_000_000] {
            let purse = Purse::new(ledger(total, 1, 64));
            for round in 0..3 {
                let taken = (0..=total).take_while(|_| purse.take(1)).count() as u64;
                assert_eq!((taken, purse.used()), (total, total), "round {round}");
                assert!(!purse.take(1));
                (0..total).for_each(|_| purse.give(1));
                assert_eq!(purse.used(), 0);
            }
        }
    }

    #[test]
    fn a_small_ceiling_of_several_cores_is_exact_and_a_large_one_to_an_eighth() {
        for (total, exact) in [(3, true), (31, true), (10_000, false)] {
            let ledger = ledger(total, 2, 64);
            let (idle, busy) = (Purse::new(Arc::clone(&ledger)), Purse::new(ledger));
            // One core used all of it, and keeps its change.
            while idle.take(1) {}
            (0..total).for_each(|_| idle.give(1));
            let taken = (0..=total).take_while(|_| busy.take(1)).count() as u64;
            assert!(taken <= total && taken >= total - total / 8, "{taken} of {total}");
            assert!(!exact || taken == total, "{taken} of {total}");
            idle.settle();
            let rest = (0..=total).take_while(|_| busy.take(1)).count() as u64;
            assert_eq!(taken + rest, total);
        }
    }

    #[test]
    fn what_must_go_on_is_counted_and_holds_others_up() {
        let purse = Purse::new(ledger(100, 1, 10));
        assert!(purse.take(90));
        purse.take_anyway(50);
        assert_eq!(purse.used(), 140);
        purse.give(40);
        assert!(!purse.take(1));
        purse.give(1);
        assert!(purse.take(1) && !purse.take(1));
    }

    #[test]
    fn another_ceiling_holds_at_once_for_what_comes() {
        let ledger = ledger(1000, 1, 64);
        let purse = Purse::new(Arc::clone(&ledger));
        assert!(purse.take(500));
        ledger.resize(400);
        purse.settle();
        assert!(!purse.take(1));
        purse.give(101);
        assert!(purse.take(1) && !purse.take(1));
        ledger.resize(401);
        assert!(purse.take(1) && !purse.take(1));
        assert_eq!(ledger.total(), 401);
    }

    #[test]
    fn a_core_that_ends_leaves_nothing_behind() {
        let ledger = ledger(100, 2, 10);
        let purse = Purse::new(Arc::clone(&ledger));
        assert!(purse.take(70));
        drop(purse);
        assert!(Purse::new(ledger).take(100));
    }

    #[test]
    fn threads_never_have_more_than_there_is() {
        let ledger = ledger(500, 4, 8);
        let most = Arc::new(AtomicI64::new(0));
        std::thread::scope(|scope| {
            for seed in 0..4_u64 {
                let (ledger, most) = (Arc::clone(&ledger), Arc::clone(&most));
                scope.spawn(move || {
                    let purse = Purse::new(ledger);
                    for step in 0..20_000_u64 {
                        let amount = (step * 7 + seed) % 13;
                        if purse.take(amount) {
                            let now = most.fetch_add(signed(amount), Ordering::SeqCst);
                            assert!(now + signed(amount) <= 500);
                            most.fetch_sub(signed(amount), Ordering::SeqCst);
                            purse.give(amount);
                        }
                    }
                });
            }
        });
        assert!(Purse::new(ledger).take(500));
    }
}
