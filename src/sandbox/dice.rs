//! Reproducible chance: a seed in, a sequence of numbers out.

use std::time::Duration;

/// A sequence of pseudo-random numbers (SplitMix64), fixed by its seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts the sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from 0 up to, not including, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.roll() % end }
    }

    /// Whether an event of this probability happens.
    pub fn strikes(&mut self, probability: f64) -> bool {
        probability >= 1.0 || self.unit() < probability
    }

    /// A duration between two, evenly spread.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// A duration with this mean, exponentially spread: mostly short, sometimes many times the mean.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }

    /// An identifier: the prefix and `length` letters and digits.
    pub fn id(&mut self, prefix: &str, length: usize) -> String {
        let mut id = String::with_capacity(prefix.len() + length);
        id.push_str(prefix);
        for _ in 0..length {
            let index = self.below(ALPHABET.len() as u64) as usize;
            id.push(char::from(*ALPHABET.get(index).unwrap_or(&b'0')));
        }
        id
    }
}

const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_sequence() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        assert!((0..100).all(|_| one.roll() == other.roll()));
        assert_ne!(Dice::new(8).roll(), Dice::new(7).roll());
    }

    #[test]
    fn shares_come_out_as_asked() {
        let mut dice = Dice::new(1);
        let struck = (0..10_000).filter(|_| dice.strikes(0.25)).count();
        assert!((2300..2700).contains(&struck), "{struck}");
        assert!((0..1000).all(|_| dice.strikes(1.0)));
        assert!((0..1000).all(|_| !dice.strikes(0.0)));
    }

    #[test]
    fn exponential_waits_have_the_mean() {
        let mut dice = Dice::new(2);
        let total: Duration =
            (0..10_000).map(|_| dice.exponential(Duration::from_millis(100))).sum();
        let mean_millis = total.as_millis() / 10_000;
        assert!((95..105).contains(&mean_millis), "{mean_millis}");
    }
}
