//! What a core knows of the health of targets, and when it tells the other cores. Nothing of it is touched by a
//! policy that asks for no health.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use smallvec::SmallVec;

use crate::{
    base::{limits, units::Instant},
    config::{health::Watched, policy::Policy},
    io::hub::{Hub, Shared},
    policy::{
        breaker::{Counts, State},
        health::{Latency, Seen, Snapshot},
        hedge::Pace,
    },
};

/// The targets and credentials that a core has met.
pub struct Health {
    hub: Arc<Hub>,
    known: RefCell<HashMap<u64, Rc<Known>>>,
}

/// One of them.
pub struct Known {
    /// What all cores know of it.
    pub shared: Arc<Shared>,
    /// Requests of this core that it is answering, and how many of them the others were told of.
    in_flight: Cell<i64>,
    told_in_flight: Cell<i64>,
    /// Requests that did well since the others were told.
    untold: Cell<u32>,
    latency: Cell<Latency>,
    /// What hedging knows of it: of this core's requests alone.
    pub pace: RefCell<Pace>,
    told_at: Cell<Instant>,
    used_at: Cell<Instant>,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(hub: Arc<Hub>) -> Health {
        Health { hub, known: RefCell::default() }
    }

    /// What is known of the target or credential of this key; `None`: too many are known.
    pub fn of(&self, key: u64, now: Instant) -> Option<Rc<Known>> {
        let mut known = self.known.borrow_mut();
        if let Some(found) = known.get(&key) {
            found.used_at.set(now);
            return Some(Rc::clone(found));
        }
        let inline = |key: &u64| key & Watched::INLINE != 0;
        if inline(&key) && known.len() >= limits::HEALTH_INLINE_TARGETS_MAX {
            // Those of requests make room; those of the file are as many as the file says.
            known.retain(|key, one| !inline(key) || Rc::strong_count(one) > 1);
        }
        let found = Rc::new(Known {
            shared: self.hub.health(key)?,
            in_flight: Cell::new(0),
            told_in_flight: Cell::new(0),
            untold: Cell::new(0),
            latency: Cell::default(),
            pace: RefCell::default(),
            told_at: Cell::new(now),
            used_at: Cell::new(now),
        });
        known.insert(key, Rc::clone(&found));
        Some(found)
    }

    /// Tells the others what they were not told yet, and forgets what no epoch in force can name any more.
    pub fn sweep(&self, now: Instant) {
        self.known.borrow_mut().retain(|key, known| {
            known.tell(now, true);
            let most = match key & Watched::INLINE {
                0 => limits::RATE_LIMIT_MAX,
                _ => limits::HEALTH_INLINE_FOR,
            };
            let idle = now.since(known.used_at.get()) > most;
            !(idle && Rc::strong_count(known) == 1)
        });
    }

    /// What is known of the targets that a policy asks for.
    pub fn watch(&self, policy: &Policy, now: Instant) -> Targets {
        policy.watched.iter().map(|watched| self.of(watched.key, now)).collect()
    }
}

/// The targets of a policy, by their index; `None`: nothing is kept of one.
pub type Targets = SmallVec<[Option<Rc<Known>>; 4]>;

/// What is known of them, for a plan: as much as the policy asks for.
pub fn snapshot(policy: &Policy, targets: &Targets, now: Instant) -> Snapshot {
    Snapshot::of(policy.watched.iter().zip(targets).map(|(watched, known)| match known {
        Some(known) if watched.measured => known.seen(now),
        Some(known) => Seen { latency_nanos: 0, in_flight: 0, ..known.seen(now) },
        None => Seen::default(),
    }))
}

impl Known {
    /// What is known now.
    pub fn seen(&self, now: Instant) -> Seen {
        let told = self.shared.latency();
        if told.at > self.latency.get().at {
            self.latency.set(told);
        }
        // Those of the others as they told, one's own as they are.
        let others = self.shared.in_flight() - self.told_in_flight.get();
        Seen {
            breaker: self.breaker().stage(now),
            out_for_nanos: self.out_for_nanos(now),
            latency_nanos: self.latency.get().faded(now),
            in_flight: u64::try_from(others + self.in_flight.get()).unwrap_or(0),
        }
    }

    /// Where its breaker stands.
    pub fn breaker(&self) -> State {
        self.shared.breaker()
    }

    /// For how long it is out of quota or refused; 0: it is not.
    pub fn out_for_nanos(&self, now: Instant) -> u64 {
        self.shared.out_until().nanos.saturating_sub(now.nanos)
    }

    /// Begins a request; it runs until what is returned is dropped.
    pub fn run(self: &Rc<Known>, now: Instant) -> Running {
        self.in_flight.set(self.in_flight.get() + 1);
        self.tell(now, false);
        Running(Rc::clone(self))
    }

    /// An answer came after so long, or none did.
    pub fn answered(&self, latency_nanos: u64, now: Instant) {
        let before = self.latency.get();
        let after = before.after(latency_nanos, now);
        self.latency.set(after);
        // A peak is told at once.
        self.tell(now, after.nanos > before.nanos.saturating_mul(2));
    }

    /// A request did well.
    pub fn did_well(&self, now: Instant) {
        self.untold.set(self.untold.get().saturating_add(1));
        self.tell(now, false);
    }

    /// A request failed: told at once. Returns what is counted of all cores.
    pub fn failed(&self, now: Instant) -> Counts {
        let more = Counts { failures: 1, requests: self.untold.take().saturating_add(1) };
        self.shared.count(now, more)
    }

    /// Tells the others, unless they were told a moment ago.
    fn tell(&self, now: Instant, at_once: bool) {
        if !at_once && now.since(self.told_at.get()) < limits::HEALTH_TOLD_EVERY {
            return;
        }
        self.told_at.set(now);
        if self.untold.get() > 0 {
            self.shared.count(now, Counts { failures: 0, requests: self.untold.take() });
        }
        if self.latency.get().at > self.shared.latency().at {
            self.shared.tell_latency(self.latency.get());
        }
        self.tell_in_flight();
    }

    fn tell_in_flight(&self) {
        let more = self.in_flight.get() - self.told_in_flight.get();
        if more != 0 {
            self.shared.tell_in_flight(more);
            self.told_in_flight.set(self.in_flight.get());
        }
    }
}

/// A request that a target is answering.
pub struct Running(Rc<Known>);

impl Drop for Running {
    fn drop(&mut self) {
        let left = self.0.in_flight.get() - 1;
        self.0.in_flight.set(left);
        // The last one is told, so that nobody counts with requests of a core that has none.
        if left == 0 {
            self.0.tell_in_flight();
        }
    }
}
