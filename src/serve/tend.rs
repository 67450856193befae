//! What a core does beside its connections, ten times a second: it times its own event loop, looks whether there is a
//! new epoch, counts what the log's queues hold, and now and then closes upstream connections that idled too long.

use std::{rc::Rc, time::Duration};

use super::{Core, client::Client};
use crate::{
    base::{limits, units::Instant},
    io::{
        hub::Epoch,
        net::{Net, Reader, Writer},
    },
    journal::{
        entry::Entry,
        metrics::Lag,
        slow::{CoreState, SlowRequest, waited_nanos},
    },
};

/// Runs as long as the core does.
pub async fn tend<N: Net>(core: Rc<Core<N>>) {
    let mut recent = Recent::default();
    let mut sweep_at = core.net.now().after(limits::POOL_SWEEP_EVERY);
    loop {
        let due = core.net.now().after(limits::LAG_SAMPLE_EVERY);
        core.net.sleep_until(due).await;
        let now = core.net.now();
        recent.note(now, now.since(due), &core.counters.lag);
        // An idle core would hold on to an old epoch, and to its part of the ceilings.
        drop(core.epoch());
        let queued = core.log.borrow().as_ref().map_or(0, |log| log.queued_bytes());
        core.admission.note_log(queued);
        if now >= sweep_at {
            core.pool.borrow_mut().sweep(now);
            core.health.sweep(now);
            core.note_pool();
            sweep_at = now.after(limits::POOL_SWEEP_EVERY);
        }
    }
}

/// The longest lag of this span and of the one before.
#[derive(Default)]
struct Recent {
    began: Instant,
    longest: u64,
    before: u64,
}

impl Recent {
    fn note(&mut self, now: Instant, late: Duration, lag: &Lag) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        lag.samples.note(nanos);
        if now.since(self.began) >= limits::LAG_RECENT_FOR {
            (self.began, self.before, self.longest) = (now, self.longest, 0);
        }
        self.longest = self.longest.max(nanos);
        let shown = self.longest.max(self.before);
        lag.recent_nanos.set(usize::try_from(shown).unwrap_or(usize::MAX));
    }
}

/// Counts an exchange that has ended, and tells of it if it was slow.
pub fn ended<N: Net, R: Reader, W: Writer>(
    client: &Client<N, R, W>,
    entry: &Entry<'_>,
    epoch: &Epoch,
) {
    let Core { counters, admission, .. } = &*client.core;
    counters.clients_gone.add(u64::from(entry.client_gone));
    counters.truncated.add(u64::from(entry.truncated));
    counters.ended.note(entry);
    let Some(slow) = epoch.config.slow_request else { return };
    if u128::from(waited_nanos(entry)) > slow.as_nanos() {
        counters.ended.slow.add(1);
        let lag_nanos = counters.lag.recent_nanos.get();
        let core = CoreState { lag_nanos, in_flight: admission.in_flight() };
        counters.slow.push(SlowRequest::of(entry, core));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lag_is_shown_for_one_span_at_least_and_two_at_most() {
        let lag = Lag::default();
        let mut recent = Recent::default();
        let span = limits::LAG_RECENT_FOR;
        let start = Instant::default().after(span * 10);
        let mut shown = |at: Duration, late: u64| {
            recent.note(start.after(at), Duration::from_nanos(late), &lag);
            lag.recent_nanos.get()
        };
        assert_eq!(shown(Duration::ZERO, 3), 3);
        assert_eq!(shown(span / 2, 500), 500);
        assert_eq!(shown(span, 1), 500, "of the span before");
        assert_eq!(shown(span * 3 / 2, 7), 500);
        assert_eq!(shown(span * 2, 2), 7, "two spans later it is forgotten");
    }
}
