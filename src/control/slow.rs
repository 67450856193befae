//! Slow requests, from the cores' queues to stderr, where each is a line, and to the admin interface, which is told of
//! the last ones. A core leaves them and goes on; only the threads that tell wait for anybody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    base::{limits, units::Instant},
    journal::{metrics::Counters, slow::SlowRequest},
};

/// The slow requests of all cores.
pub struct SlowRequests {
    cores: Vec<Arc<Counters>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// The last ones, each with its core, the newest last.
    kept: VecDeque<(usize, Arc<SlowRequest>)>,
    /// Those that are not on stderr yet.
    unsaid: VecDeque<(usize, Arc<SlowRequest>)>,
    /// Those that will not be said.
    passed_over: u64,
    /// When the span began that [`limits::SLOW_SAID_MAX`] counts for.
    span_began: Instant,
    /// Said in that span.
    said: usize,
}

impl SlowRequests {
    /// Of these cores.
    #[must_use]
    pub fn new(cores: Vec<Arc<Counters>>) -> SlowRequests {
        SlowRequests { cores, told: Mutex::default() }
    }

    /// The last ones, each with its core, the newest first.
    pub fn last(&self) -> Vec<(usize, Arc<SlowRequest>)> {
        self.collect().kept.iter().rev().cloned().collect()
    }

    /// The lines that are due on stderr.
    pub fn lines(&self, now: Instant) -> Vec<String> {
        let mut told = self.collect();
        if now.since(told.span_began) >= limits::SLOW_SAID_EVERY {
            (told.span_began, told.said) = (now, 0);
        }
        let room = limits::SLOW_SAID_MAX - told.said;
        let due = told.unsaid.len().min(room);
        told.said += due;
        let mut lines: Vec<String> = told
            .unsaid
            .drain(..due)
            .map(|(core, slow)| format!("trunkline: {slow}, worker {core}"))
            .collect();
        told.passed_over += told.unsaid.len() as u64;
        told.unsaid.clear();
        // Once a span, with the first that is said again.
        if due > 0 && told.passed_over > 0 && told.said == due {
            let count = std::mem::take(&mut told.passed_over);
            lines.push(format!("trunkline: {count} more slow requests were not shown"));
        }
        lines
    }

    /// Takes over what the cores left.
    fn collect(&self) -> MutexGuard<'_, Told> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (core, counters) in self.cores.iter().enumerate() {
            told.passed_over += counters.slow.take_lost();
            // No more than its queue holds, so that a busy core does not keep this going.
            for _ in 0..limits::SLOW_WAITING_MAX {
                let Some(slow) = counters.slow.pop() else { break };
                let slow: Arc<SlowRequest> = Arc::from(slow);
                let Told { kept, unsaid, passed_over, .. } = &mut *told;
                kept.push_back((core, Arc::clone(&slow)));
                if kept.len() > limits::SLOW_KEPT_MAX {
                    kept.pop_front();
                }
                if unsaid.len() < limits::SLOW_SAID_MAX {
                    unsaid.push_back((core, slow));
                } else {
                    *passed_over += 1;
                }
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant { nanos: seconds * 1_000_000_000 }
    }

    fn leave(counters: &Counters, statuses: std::ops::Range<u16>) {
        for status in statuses {
            counters.slow.push(SlowRequest { status, ..SlowRequest::default() });
        }
    }

    #[test]
    fn so_many_are_said_in_a_span_and_the_others_counted() {
        let counters = Arc::new(Counters::default());
        let slow = SlowRequests::new(vec![Arc::clone(&counters)]);
        let most = limits::SLOW_SAID_MAX;
        leave(&counters, 0..most as u16 + 5);
        let lines = slow.lines(at(100));
        assert_eq!(lines.len(), most + 1);
        assert!(lines[most].contains(" 5 more slow requests"), "{lines:?}");
        leave(&counters, 0..3);
        assert!(slow.lines(at(101)).is_empty());
        leave(&counters, 7..8);
        let lines = slow.lines(at(111));
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("status 7") && lines[0].ends_with("worker 0"), "{lines:?}");
        assert!(lines[1].contains(" 3 more slow requests"), "{lines:?}");
    }

    #[test]
    fn the_last_ones_are_kept_though_nobody_says_them() {
        let counters = Arc::new(Counters::default());
        let slow = SlowRequests::new(vec![Arc::default(), Arc::clone(&counters)]);
        let most = limits::SLOW_KEPT_MAX as u16;
        for status in 0..most + 2 {
            leave(&counters, status..status + 1);
            assert!(!slow.last().is_empty());
        }
        let last = slow.last();
        assert_eq!((last.len(), last[0].0), (usize::from(most), 1));
        let statuses: Vec<u16> = last.iter().map(|(_, slow)| slow.status).collect();
        assert!(statuses.is_sorted_by(|a, b| a > b));
        assert_eq!(slow.lines(at(1)).len(), limits::SLOW_SAID_MAX + 1);
    }
}
