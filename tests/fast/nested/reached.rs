//! Every target is reached, none of weight 0 is, and each gets its share.

use std::collections::HashSet;

use trunkline::{config::policy::Policy, policy::plan::plan};

use super::{Nested, compiled, facts, file, metadata, nested};
use crate::policy::make::Dice;

/// How many targets a config has, how deep the deepest is.
pub(super) fn check(nested: &Nested, policy: &Policy, seed: u64) -> (usize, usize) {
    let mut dice = Dice(seed);
    let mut reached: HashSet<String> = HashSet::new();
    for made in &nested.leaves {
        let mut draws = 0;
        while made.reachable && !reached.contains(&made.path) {
            let metadata = metadata(made, &mut dice);
            let plan = plan(policy, dice.roll(), &facts(&metadata));
            reached.extend(plan.leaves().map(|leaf| leaf.path.to_owned()));
            draws += 1;
            assert!(draws < DRAWS_MAX, "seed {seed}: {} is never reached", made.path);
        }
    }
    let reachable = nested.leaves.iter().filter(|made| made.reachable);
    let expected: HashSet<String> = reachable.map(|made| made.path.clone()).collect();
    assert_eq!(reached, expected, "seed {seed}: a target of weight 0 was reached");
    let depths = nested.leaves.iter().map(|made| made.path.matches(".targets").count());
    (nested.leaves.len(), depths.max().unwrap_or(0))
}

/// Each target's number of draws is binomial. Of many, one in 370 is further from its mean than three sigma by chance,
/// none further than five.
#[test]
fn nested_weights_are_drawn_within_three_sigma() {
    const DRAWS: u64 = 4_000;
    let file = file();
    let (mut compared, mut outside) = (0, 0);
    for seed in 0..60 {
        let nested = nested(seed, true);
        let policy = compiled(&file, &nested);
        let mut counts = std::collections::HashMap::new();
        let mut dice = Dice(seed);
        for _ in 0..DRAWS {
            let plan = plan(&policy, dice.roll(), &facts(&[]));
            let leaf = plan.leaves().next().expect("a balance draws one");
            *counts.entry(leaf.path.to_owned()).or_insert(0_u64) += 1;
        }
        for made in nested.leaves.iter().filter(|made| (0.001..0.999).contains(&made.share)) {
            let count = counts.get(&made.path).copied().unwrap_or(0) as f64;
            let mean = DRAWS as f64 * made.share;
            let sigmas = (count - mean).abs() / (mean * (1.0 - made.share)).sqrt();
            assert!(sigmas < 5.0, "seed {seed}: {} {count} of {mean}: {sigmas} sigma", made.path);
            compared += 1;
            outside += usize::from(sigmas > 3.0);
        }
    }
    assert!(compared > 200 && outside * 100 <= compared, "{outside} of {compared}");
}

/// The rarest target of a depth of five has about a chance in ten thousand.
const DRAWS_MAX: usize = 300_000;
