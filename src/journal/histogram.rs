//! A histogram of times with fixed buckets, written by one core without a lock and read by others.

use std::sync::atomic::{AtomicU64, Ordering};

/// The most buckets that any of them has, the last one without a bound included.
const BUCKETS_MAX: usize = 21;

/// How often a time fell into which bucket, and the sum of all.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: [AtomicU64; BUCKETS_MAX],
    sum_nanos: AtomicU64,
}

/// What one or several histograms of the same buckets say at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Each bucket's upper bound in nanoseconds, and how many times were at most so long.
    pub up_to: Vec<(u64, u64)>,
    /// All times.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub sum_nanos: u64,
}

impl Histogram {
    /// An empty one with these upper bounds, in nanoseconds, ascending.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Histogram {
        debug_assert!(bounds.len() < BUCKETS_MAX && bounds.is_sorted());
        Histogram { bounds, counts: Default::default(), sum_nanos: AtomicU64::new(0) }
    }

    /// Notes a time; cheap, since only one core writes.
    pub fn note(&self, nanos: u64) {
        let at = self.bounds.partition_point(|bound| *bound < nanos).min(BUCKETS_MAX - 1);
        add(&self.counts[at], 1);
        add(&self.sum_nanos, nanos);
    }

    /// What all of these say together.
    pub fn read<'h>(all: impl Iterator<Item = &'h Histogram>) -> Distribution {
        let mut read = Distribution::default();
        for one in all {
            if read.up_to.is_empty() {
                read.up_to = one.bounds.iter().map(|bound| (*bound, 0)).collect();
            }
            let mut below = 0;
            for (at, count) in one.counts.iter().enumerate() {
                below += count.load(Ordering::Relaxed);
                if let Some((_, up_to)) = read.up_to.get_mut(at) {
                    *up_to += below;
                }
            }
            read.count += below;
            read.sum_nanos = read.sum_nanos.saturating_add(one.sum_nanos.load(Ordering::Relaxed));
        }
        read
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

const MICROS: u64 = 1_000;
const MILLIS: u64 = 1_000_000;
const SECONDS: u64 = 1_000_000_000;

/// For times of exchanges: from what a local answer takes to what a reasoning model takes.
pub const EXCHANGE_BOUNDS: &[u64] = &[
    250 * MICROS,
    500 * MICROS,
    MILLIS,
    2_500 * MICROS,
    5 * MILLIS,
    10 * MILLIS,
    25 * MILLIS,
    50 * MILLIS,
    100 * MILLIS,
    250 * MILLIS,
    500 * MILLIS,
    SECONDS,
    2_500 * MILLIS,
    5 * SECONDS,
    10 * SECONDS,
    30 * SECONDS,
    60 * SECONDS,
    120 * SECONDS,
    300 * SECONDS,
    600 * SECONDS,
];

/// For the gateway's own share, which is microseconds as long as all is well.
pub const GATEWAY_BOUNDS: &[u64] = &[
    25 * MICROS,
    50 * MICROS,
    100 * MICROS,
    250 * MICROS,
    500 * MICROS,
    MILLIS,
    2_500 * MICROS,
    5 * MILLIS,
    10 * MILLIS,
    25 * MILLIS,
    50 * MILLIS,
    100 * MILLIS,
    250 * MILLIS,
    SECONDS,
    5 * SECONDS,
    30 * SECONDS,
];

/// For the lag of an event loop. Its timer counts in milliseconds, so one or two are none.
pub const LAG_BOUNDS: &[u64] = &[
    MILLIS,
    2 * MILLIS,
    5 * MILLIS,
    10 * MILLIS,
    20 * MILLIS,
    50 * MILLIS,
    100 * MILLIS,
    200 * MILLIS,
    500 * MILLIS,
    SECONDS,
    5 * SECONDS,
];

const _: () = assert!(EXCHANGE_BOUNDS.len() < BUCKETS_MAX);
const _: () = assert!(GATEWAY_BOUNDS.len() < BUCKETS_MAX && LAG_BOUNDS.len() < BUCKETS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_at_a_bound_is_in_its_bucket_and_one_above_in_the_next() {
        for bounds in [EXCHANGE_BOUNDS, GATEWAY_BOUNDS, LAG_BOUNDS] {
            assert!(bounds.is_sorted());
            for (at, bound) in bounds.iter().enumerate() {
                let histogram = Histogram::new(bounds);
                histogram.note(*bound);
                histogram.note(bound + 1);
                let read = Histogram::read([&histogram].into_iter());
                let counts: Vec<u64> = read.up_to.iter().map(|(_, count)| *count).collect();
                let mut expected = vec![0; at];
                expected.push(1);
                expected.resize(bounds.len(), 2);
                assert_eq!(counts, expected);
                assert_eq!((read.count, read.sum_nanos), (2, 2 * bound + 1));
            }
        }
    }

    #[test]
    fn several_are_added_up() {
        let (one, two) = (Histogram::new(LAG_BOUNDS), Histogram::new(LAG_BOUNDS));
        one.note(0);
        two.note(3 * MILLIS);
        two.note(u64::MAX / 2);
        let read = Histogram::read([&one, &two].into_iter());
        assert_eq!(read.up_to[0], (MILLIS, 1));
        assert_eq!(read.up_to[2], (5 * MILLIS, 2));
        assert_eq!(read.up_to.last(), Some(&(5 * SECONDS, 2)));
        assert_eq!(read.count, 3);
    }
}
