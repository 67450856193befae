//! When a second target is asked beside a slow one, and how often that may be: what a target's answers took lately, and
//! what its hedges have left to spend.

use std::time::Duration;

use crate::{
    base::limits,
    config::health::{Hedge, HedgeAfter},
};

/// What hedging knows of one target.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Hedges saved up; each try of the target adds its share.
    saved: f64,
    /// Answers by how long they took: see [`slot_of`]. Empty until there is one.
    counts: Vec<u16>,
    answers: u32,
}

impl Pace {
    /// A try of the target begins: it earns its share of a hedge.
    pub fn earn(&mut self, hedge: &Hedge) {
        self.saved = (self.saved + hedge.max_ratio).min(limits::HEDGES_SAVED_MAX);
    }

    /// How long the try may take before it is hedged; `None`: not enough is known of the target.
    #[must_use]
    pub fn after(&self, hedge: &Hedge) -> Option<Duration> {
        match hedge.after {
            HedgeAfter::Fixed(wait) => Some(wait),
            HedgeAfter::P95 => self.p95().map(Duration::from_nanos),
        }
    }

    /// Takes a hedge from what was saved; false: there is none.
    pub fn spend(&mut self) -> bool {
        // What was added up may lack a little of one for being made of fractions.
        let enough = self.saved > 1.0 - 1e-9;
        if enough {
            self.saved -= 1.0;
        }
        enough
    }

    /// A spent hedge was not sent after all.
    pub fn give_back(&mut self) {
        self.saved = (self.saved + 1.0).min(limits::HEDGES_SAVED_MAX);
    }

    /// An answer took so long. Of a try that was given up for its hedge, how long it had before the hedge: that it was
    /// slower is all that counts, and what it would have taken nobody knows.
    pub fn note(&mut self, nanos: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; SLOTS];
        }
        if self.answers >= limits::HEDGE_ANSWERS_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.answers = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
        if let Some(count) = self.counts.get_mut(slot_of(nanos)) {
            *count += 1;
            self.answers += 1;
        }
    }

    /// The time within which 95 of 100 answers came, in nanoseconds: the lower end of what the answers leave open (one
    /// standard error below), as an early hedge costs one request and a late one is of no use.
    fn p95(&self) -> Option<u64> {
        if self.answers < limits::HEDGE_ANSWERS_MIN {
            return None;
        }
        let answers = f64::from(self.answers);
        let rank = 0.95 * answers - (0.95 * 0.05 * answers).sqrt();
        let mut passed = 0_u32;
        let slot = self.counts.iter().position(|count| {
            passed += u32::from(*count);
            f64::from(passed) >= rank
        });
        slot.map(end_of)
    }
}

/// Eight slots an octave, so that a slot's end is at most an eighth above what lies in it.
fn slot_of(nanos: u64) -> usize {
    let units = (nanos / UNIT_NANOS).max(PER_OCTAVE);
    let octave = units.ilog2() - PER_OCTAVE.ilog2();
    let within = (units >> octave) - PER_OCTAVE;
    (octave as usize * PER_OCTAVE as usize + within as usize).min(SLOTS - 1)
}

/// The end of a slot, in nanoseconds, less one: noted again, it falls into the same slot.
fn end_of(slot: usize) -> u64 {
    let (octave, within) = (slot as u64 / PER_OCTAVE, slot as u64 % PER_OCTAVE);
    (((PER_OCTAVE + within + 1) << octave) * UNIT_NANOS) - 1
}

const PER_OCTAVE: u64 = 8;
/// The first slot ends after nine of them: at a little over a millisecond.
const UNIT_NANOS: u64 = 125_000;
/// Twenty octaves from 1 ms: up to 17 minutes.
const SLOTS: usize = 160;

const _: () = assert!(limits::HEDGE_ANSWERS_MAX < u16::MAX as u32);

#[cfg(test)]
mod tests {
    use super::*;

    fn hedge(after: HedgeAfter, max_ratio: f64) -> Hedge {
        Hedge { after, max_ratio }
    }

    fn millis(millis: u64) -> u64 {
        millis * 1_000_000
    }

    #[test]
    fn a_time_is_at_most_an_eighth_below_the_end_of_its_slot() {
        for nanos in (1..2000).map(millis).chain([millis(60_000), millis(600_000)]) {
            let end = end_of(slot_of(nanos));
            assert!(end >= nanos && end as f64 <= nanos as f64 * 1.126, "{nanos}: {end}");
            assert_eq!(slot_of(end), slot_of(nanos));
        }
        assert_eq!((slot_of(0), slot_of(u64::MAX)), (0, SLOTS - 1));
    }

    #[test]
    fn hedges_are_at_most_the_share_that_was_earned() {
        for ratio in [0.001, 0.05, 0.3, 1.0] {
            let hedge = hedge(HedgeAfter::Fixed(Duration::from_millis(1)), ratio);
            let (mut pace, mut spent) = (Pace::default(), 0_u32);
            for tries in 1..=10_000_u32 {
                pace.earn(&hedge);
                spent += u32::from(pace.spend());
                assert!(f64::from(spent) <= f64::from(tries) * ratio + 1e-6);
            }
            assert!(f64::from(spent) >= 10_000.0 * ratio - 1.0, "{ratio}: {spent}");
        }
    }

    #[test]
    fn quiet_times_save_up_a_few_hedges_and_no_more() {
        let hedge = hedge(HedgeAfter::P95, 0.05);
        let mut pace = Pace::default();
        (0..100_000).for_each(|_| pace.earn(&hedge));
        let spent = (0..100).filter(|_| pace.spend()).count();
        assert_eq!(spent as f64, limits::HEDGES_SAVED_MAX);
        pace.give_back();
        assert!(pace.spend() && !pace.spend());
    }

    #[test]
    fn p95_is_known_after_enough_answers_and_follows_the_target() {
        let hedge = hedge(HedgeAfter::P95, 0.05);
        let mut pace = Pace::default();
        for _ in 0..limits::HEDGE_ANSWERS_MIN {
            assert_eq!(pace.after(&hedge), None);
            pace.note(millis(100));
        }
        let near = |pace: &Pace, expected: u64| {
            let after = pace.after(&hedge).expect("known").as_millis() as u64;
            assert!((expected..=expected + expected / 8).contains(&after), "{after}");
        };
        near(&pace, 100);
        // 1 to 1000 ms: the 950th, or a little less.
        let mut pace = Pace::default();
        (1..=1000).for_each(|took| pace.note(millis(took)));
        near(&pace, 925);
        // It became faster: after some thousand answers the old ones count for nothing.
        (0..5000).for_each(|_| pace.note(millis(10)));
        near(&pace, 10);
    }

    #[test]
    fn a_twentieth_that_is_ten_times_as_slow_does_not_move_it() {
        let hedge = hedge(HedgeAfter::P95, 0.05);
        let mut pace = Pace::default();
        for answer in 0..10_000_u64 {
            let slow = answer % 20 == 7;
            let after = pace.after(&hedge).map(|wait| wait.as_nanos() as u64);
            pace.note(if slow { after.unwrap_or(millis(1000)) } else { millis(80 + answer % 40) });
        }
        let after = pace.after(&hedge).expect("known").as_millis();
        assert!((110..140).contains(&after), "{after}");
    }
}
