//! When each request is due. Fixed before the first one is sent and never moved by an answer: that is what makes the
//! load an open loop. Pure.

use std::{iter::Peekable, sync::Arc};

use trunkline::sandbox::dice::Dice;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// How requests follow one another.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// At equal distances.
    Even {
        /// Requests a second.
        rate: f64,
    },
    /// At random, independent of one another (a Poisson process), as many users make them.
    Random {
        /// Requests a second, on average.
        rate: f64,
        /// The same seed gives the same arrivals.
        seed: u64,
    },
    /// As a log has them: nanoseconds after the start, ascending, and which of the prepared requests.
    Listed(Arc<[(u64, u32)]>),
}

/// One request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Nanoseconds after the start.
    pub at: u64,
    /// Where it goes: 0 the target, 1 the direct upstream.
    pub side: usize,
    /// Which of the prepared requests it is.
    pub request: u32,
}

/// All arrivals of a run, in order. With two sides they take turns: a slice of the load for the one, then the same
/// slice for the other, so that both meet the same weather.
#[derive(Clone, Debug)]
pub struct Schedule {
    sides: Vec<Peekable<Offsets>>,
    slice: u64,
    tick: u64,
    round: u64,
    side: usize,
}

impl Schedule {
    /// `duration` of load for each of the `sides`, in nanoseconds, in turns of `slice`.
    #[must_use]
    pub fn new(arrivals: &Arrivals, duration: u64, sides: usize, slice: u64) -> Schedule {
        let slice = if sides > 1 { slice.max(1) } else { u64::MAX };
        let offsets = Offsets::new(arrivals.clone(), duration);
        let sides = vec![offsets.peekable(); sides];
        Schedule { sides, slice, tick: 1, round: 0, side: 0 }
    }

    /// The same arrivals in bunches: all that fall into one tick are due at its beginning.
    #[must_use]
    pub fn bunched(self, tick: u64) -> Schedule {
        Schedule { tick: tick.max(1), ..self }
    }

    /// The arrivals that thread `number` of `threads` looks after.
    pub fn share(self, number: usize, threads: usize) -> impl Iterator<Item = Arrival> {
        self.skip(number).step_by(threads.max(1))
    }

    fn place(&self, (at, request): (u64, u32)) -> Arrival {
        let turn = self.round * self.sides.len() as u64 + self.side as u64;
        let begun = self.round.saturating_mul(self.slice);
        let at = turn.saturating_mul(self.slice).saturating_add(at - begun);
        Arrival { at: at - at % self.tick, side: self.side, request }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let end = (self.round + 1).saturating_mul(self.slice);
            let offsets = self.sides.get_mut(self.side)?;
            if let Some(offset) = offsets.next_if(|(at, _)| *at < end) {
                return Some(self.place(offset));
            }
            self.side += 1;
            if self.side == self.sides.len() {
                if self.sides.iter_mut().all(|side| side.peek().is_none()) {
                    return None;
                }
                (self.side, self.round) = (0, self.round + 1);
            }
        }
    }
}

/// The arrivals of one side, as if it were alone.
#[derive(Clone, Debug)]
struct Offsets {
    arrivals: Arrivals,
    duration: u64,
    count: u64,
    /// Where a random process stands, in nanoseconds.
    last: f64,
    dice: Dice,
}

impl Offsets {
    fn new(arrivals: Arrivals, duration: u64) -> Offsets {
        let seed = if let Arrivals::Random { seed, .. } = arrivals { seed } else { 0 };
        Offsets { arrivals, duration, count: 0, last: 0.0, dice: Dice::new(seed) }
    }
}

impl Iterator for Offsets {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<(u64, u32)> {
        let next = match &self.arrivals {
            // Counted from the start each time, so that rounding never adds up.
            Arrivals::Even { rate } => ((self.count as f64 * SECOND as f64 / rate) as u64, 0),
            Arrivals::Random { rate, .. } => {
                self.last += -(1.0 - self.dice.unit()).ln() * SECOND as f64 / rate;
                (self.last as u64, 0)
            }
            Arrivals::Listed(listed) => *listed.get(usize::try_from(self.count).ok()?)?,
        };
        self.count += 1;
        (next.0 < self.duration).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(rate: f64, seconds: u64, sides: usize, slice: u64) -> Vec<Arrival> {
        Schedule::new(&Arrivals::Even { rate }, seconds * SECOND, sides, slice).collect()
    }

    #[test]
    fn even_arrivals_keep_their_distance_and_their_number() {
        let arrivals = even(1000.0, 3, 1, 1);
        assert_eq!(arrivals.len(), 3000);
        assert!(arrivals.iter().enumerate().all(|(i, each)| each.at == i as u64 * 1_000_000));
    }

    #[test]
    fn rates_that_divide_nothing_do_not_drift() {
        let arrivals = even(7.0, 1000, 1, 1);
        assert_eq!(arrivals.len(), 7000);
        assert_eq!(arrivals[6993].at, 999 * SECOND);
    }

    #[test]
    fn two_sides_take_turns_and_get_the_same_load() {
        let arrivals = even(10.0, 2, 2, SECOND);
        let of = |side| arrivals.iter().filter(move |each| each.side == side).map(|each| each.at);
        assert_eq!((of(0).count(), of(1).count()), (20, 20));
        assert!(of(0).zip(of(1)).all(|(target, direct)| direct == target + SECOND));
        assert!(arrivals.is_sorted_by_key(|each| each.at));
        assert!(of(0).all(|at| (at / SECOND).is_multiple_of(2)));
    }

    #[test]
    fn random_arrivals_have_their_rate_and_repeat_with_their_seed() {
        let arrivals = Arrivals::Random { rate: 1000.0, seed: 7 };
        let all: Vec<_> = Schedule::new(&arrivals, 20 * SECOND, 1, 1).collect();
        assert!((19_400..20_600).contains(&all.len()), "{}", all.len());
        let again: Vec<_> = Schedule::new(&arrivals, 20 * SECOND, 1, 1).collect();
        assert_eq!(all, again);
        // Independent arrivals: the squared deviation of the gaps is that of the mean.
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1].at - pair[0].at) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((square.sqrt() / mean - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_list_is_followed_up_to_the_duration() {
        let listed = Arrivals::Listed(Arc::from([(0, 2), (5, 0), (5, 1), (80, 3)]));
        let all: Vec<_> = Schedule::new(&listed, 50, 1, 1).collect();
        let wanted = [(0, 2), (5, 0), (5, 1)].map(|(at, request)| Arrival { at, side: 0, request });
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_list_with_a_long_pause_takes_turns_too() {
        let listed = Arrivals::Listed(Arc::from([(0, 0), (95, 1)]));
        let all: Vec<_> =
            Schedule::new(&listed, 100, 2, 10).map(|each| (each.at, each.side)).collect();
        assert_eq!(all, [(0, 0), (10, 1), (185, 0), (195, 1)]);
    }

    #[test]
    fn bunches_keep_the_number_and_the_order() {
        let arrivals = Arrivals::Random { rate: 5000.0, seed: 3 };
        let exact = Schedule::new(&arrivals, SECOND, 1, 1);
        let tick = 1_000_000;
        let bunched: Vec<_> = exact.clone().bunched(tick).map(|each| each.at).collect();
        assert!(bunched.is_sorted() && bunched.iter().all(|at| at.is_multiple_of(tick)));
        let floors: Vec<_> = exact.map(|each| each.at / tick * tick).collect();
        assert_eq!(bunched, floors);
    }

    #[test]
    fn threads_share_all_arrivals() {
        let arrivals = Arrivals::Even { rate: 100.0 };
        let whole = Schedule::new(&arrivals, SECOND, 2, SECOND / 4);
        let mut together: Vec<_> =
            (0..3).flat_map(|number| whole.clone().share(number, 3)).collect();
        together.sort_by_key(|each| (each.at, each.side));
        assert_eq!(together, whole.collect::<Vec<_>>());
    }
}
