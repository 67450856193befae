//! A core's deadlines: one entry a connection, moved forward for free. An entry that was moved to a later time stays
//! where it is and is looked at again when its old time comes, so the usual case, pushing a deadline out, costs a
//! store.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::net::Net;
use crate::base::units::Instant;

/// How coarse deadlines are: they fire at most this much late.
const TICK: Duration = Duration::from_millis(5);

/// The deadline ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// All deadlines of a core.
#[derive(Clone, Default)]
pub struct Wheel {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    slots: RefCell<BTreeMap<u64, Vec<Rc<Entry>>>>,
    /// Wakes the ticking task when an earlier deadline came in than the one it sleeps for.
    ticker: RefCell<Option<Waker>>,
    asleep_until: Cell<u64>,
    /// Every wait ends by then, if it was to end later.
    ends: Cell<Option<Instant>>,
}

struct Entry {
    /// The tick at which it fires; `u64::MAX` is never.
    due: Cell<u64>,
    /// The tick of the earliest slot it stands in; `u64::MAX`: in none.
    filed: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// One deadline, reusable. Belongs to one connection.
pub struct Timer {
    wheel: Wheel,
    entry: Rc<Entry>,
}

impl Wheel {
    /// A timer that is not set.
    #[must_use]
    pub fn timer(&self) -> Timer {
        let entry = Entry {
            due: Cell::new(u64::MAX),
            filed: Cell::new(u64::MAX),
            waker: RefCell::new(None),
        };
        Timer { wheel: self.clone(), entry: Rc::new(entry) }
    }

    /// Fires deadlines as they come; runs as long as the core does.
    pub async fn run<N: Net>(self, net: N) {
        loop {
            let next = self.next_slot();
            self.shared.asleep_until.set(next);
            let mut sleep = pin!(net.sleep_until(instant_of(next)));
            poll_fn(|cx| {
                if self.shared.asleep_until.get() < next {
                    return Poll::Ready(());
                }
                *self.shared.ticker.borrow_mut() = Some(cx.waker().clone());
                if next == u64::MAX {
                    return Poll::Pending;
                }
                sleep.as_mut().poll(cx)
            })
            .await;
            self.fire(net.now());
        }
    }

    /// From now on no wait outlasts this time, also of those under way.
    pub fn end_by(&self, last: Instant) {
        self.shared.ends.set(Some(last));
        self.wake_all();
    }

    /// Has every wait that is under way look at the world again: a drain has begun.
    pub fn wake_all(&self) {
        for entry in self.shared.slots.borrow().values().flatten() {
            if let Some(waker) = entry.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    fn next_slot(&self) -> u64 {
        self.shared.slots.borrow().keys().next().copied().unwrap_or(u64::MAX)
    }

    fn fire(&self, now: Instant) {
        let now_tick = now.nanos / tick_nanos();
        loop {
            let slot = {
                let mut slots = self.shared.slots.borrow_mut();
                match slots.first_entry() {
                    Some(first) if *first.key() <= now_tick => first.remove_entry(),
                    _ => return,
                }
            };
            for entry in slot.1 {
                self.settle(entry, slot.0, now_tick);
            }
        }
    }

    /// Decides about an entry whose slot came: fire it, file it again, or forget it.
    fn settle(&self, entry: Rc<Entry>, slot: u64, now_tick: u64) {
        if entry.filed.get() != slot || Rc::strong_count(&entry) == 1 {
            return;
        }
        entry.filed.set(u64::MAX);
        let due = entry.due.get();
        if due == u64::MAX {
            return;
        }
        if due > now_tick {
            self.file(&entry, due);
        } else if let Some(waker) = entry.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn file(&self, entry: &Rc<Entry>, tick: u64) {
        entry.filed.set(tick);
        self.shared.slots.borrow_mut().entry(tick).or_default().push(Rc::clone(entry));
        if tick < self.shared.asleep_until.get() {
            self.shared.asleep_until.set(tick);
            if let Some(ticker) = self.shared.ticker.borrow_mut().take() {
                ticker.wake();
            }
        }
    }
}

/// A timer that is let go leaves nothing behind: its slot may be ten minutes away, and a waker keeps its task's memory.
impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
        self.entry.waker.take();
        if let Some(slot) = self.wheel.shared.slots.borrow_mut().get_mut(&self.entry.filed.get())
            && let Some(at) = slot.iter().position(|entry| Rc::ptr_eq(entry, &self.entry))
        {
            slot.swap_remove(at);
        }
    }
}

impl Timer {
    /// Runs `work`, which is taken pinned (see [`super::race`]), until `deadline`.
    pub fn within<N: Net, T>(
        &self,
        net: &N,
        deadline: Instant,
        mut work: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Result<T, Elapsed>> + Unpin {
        poll_fn(move |cx| {
            if let Poll::Ready(value) = Pin::new(&mut work).poll(cx) {
                self.clear();
                return Poll::Ready(Ok(value));
            }
            self.poll_due(net, deadline, cx).map(Err)
        })
    }

    /// Whether `deadline` has passed; else it is set, and the task is woken when it comes. `now` is compared on each
    /// poll of an expired timer, so a late tick is no error.
    pub fn poll_due<N: Net>(
        &self,
        net: &N,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Elapsed> {
        let deadline = self.wheel.shared.ends.get().map_or(deadline, |last| last.min(deadline));
        if self.is_due(net, deadline) {
            self.clear();
            return Poll::Ready(Elapsed);
        }
        self.set(deadline, cx.waker());
        Poll::Pending
    }

    /// What was waited for has come: the deadline holds no more.
    pub fn clear(&self) {
        self.entry.due.set(u64::MAX);
    }

    fn is_due<N: Net>(&self, net: &N, deadline: Instant) -> bool {
        // The clock is asked only if the tick has fired or the timer was never set.
        let fired = self.entry.due.get() == u64::MAX || self.entry.waker.borrow().is_none();
        fired && net.now() >= deadline
    }

    fn set(&self, deadline: Instant, waker: &Waker) {
        let tick = deadline.nanos.div_ceil(tick_nanos());
        self.entry.due.set(tick);
        let mut held = self.entry.waker.borrow_mut();
        if !held.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *held = Some(waker.clone());
        }
        drop(held);
        if tick < self.entry.filed.get() {
            self.wheel.file(&self.entry, tick);
        }
    }
}

fn tick_nanos() -> u64 {
    u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX)
}

fn instant_of(tick: u64) -> Instant {
    Instant { nanos: tick.saturating_mul(tick_nanos()) }
}
