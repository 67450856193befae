//! What `explain` says is what is planned, also from a record and the copy of its epoch alone.

use std::collections::HashSet;

use trunkline::{
    config::{Config, policy::Policy, recall::recall},
    policy::{
        attempt::Outcome,
        condition::Facts,
        explain::{Explanation, Reason, explain},
        health::Snapshot,
        plan::{Plan, plan_with},
    },
};

use super::{Nested, PATH, compiled, facts, file, metadata, nested, random_health};
use crate::policy::make::{Dice, add_config, status, walk_or_refusal};

/// The reasons that were told are added to those of others.
pub(super) fn check(
    nested: &Nested,
    policy: &Policy,
    seed: u64,
    reasons: &mut HashSet<&'static str>,
) {
    let mut dice = Dice(seed ^ 0xe9);
    let health = random_health(policy, &mut dice);
    let made = &nested.leaves[dice.below(nested.leaves.len())];
    let metadata = match dice.chance(85) {
        true => metadata(made, &mut dice),
        false => Vec::new(), // no condition holds
    };
    let (facts, plan_seed) = (facts(&metadata), dice.roll());
    let plan = plan_with(policy, plan_seed, &facts, &health);
    let told = explain(policy, plan_seed, &facts, &health);
    assert_is_planned(&plan, &told, nested, seed);
    reasons.extend(told.targets.iter().map(|target| target.reason.as_str()));
    assert_ends(&plan, &told, seed);
    assert_is_recalled(policy, &plan, &told, (&health, plan_seed), seed);
}

/// The same targets in the same places, each of the config once, and the same refusals.
fn assert_is_planned(plan: &Plan<'_>, told: &Explanation<'_>, nested: &Nested, seed: u64) {
    let planned: Vec<_> = plan.leaves().map(|leaf| (leaf.path, Some(leaf.index))).collect();
    let tried = told.targets.iter().filter(|target| target.order.is_some());
    let tried: Vec<_> = tried.map(|target| (target.path, target.order)).collect();
    assert_eq!(tried, planned, "seed {seed}: {}", nested.config);
    let mut paths: Vec<&str> = told.targets.iter().map(|target| target.path).collect();
    paths.sort_unstable();
    let mut all: Vec<&str> = nested.leaves.iter().map(|made| made.path.as_str()).collect();
    all.sort_unstable();
    assert_eq!(paths, all, "seed {seed}");
    for target in &told.targets {
        assert!(!target.why.is_empty(), "seed {seed}: {}", target.path);
        let first = target.order == Some(0);
        assert_eq!(first, target.reason == Reason::First && target.order.is_some(), "{target:?}");
    }
    let chosen: Vec<_> = told
        .choices
        .iter()
        .filter(|choice| choice.strategy == "conditional" && choice.chose.is_some())
        .map(|choice| choice.path)
        .collect();
    let decided: Vec<_> = plan.decided().iter().map(|decided| decided.path).collect();
    assert_eq!(chosen, decided, "seed {seed}");
}

/// Whatever comes back, the walk ends within the bound and tries only what was told, in that order.
fn assert_ends(plan: &Plan<'_>, told: &Explanation<'_>, seed: u64) {
    let mut dice = Dice(seed ^ 0x0dd);
    for _ in 0..3 {
        let mut outcome = || -> Outcome { status(dice.pick(&[200, 400, 401, 429, 500, 503])) };
        let (tried, _) = walk_or_refusal(plan, 0, |_, _| outcome());
        let bound: u32 = plan.leaves().map(|leaf| leaf.leaf.retry.attempts + 1).sum();
        assert!(tried.len() <= bound as usize, "seed {seed}: {} tries", tried.len());
        let place = |path: &str| told.targets.iter().find(|one| one.path == path).unwrap().order;
        let places: Vec<_> = tried.iter().map(|one| place(&one.path)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "seed {seed}: {tried:?}");
    }
}

/// What a record and the epoch's copy hold is enough, without request, file or virtual keys.
fn assert_is_recalled(
    policy: &Policy,
    plan: &Plan<'_>,
    told: &Explanation<'_>,
    (health, plan_seed): (&Snapshot, u64),
    seed: u64,
) {
    if !told.refusals.is_empty() || !seed.is_multiple_of(8) {
        return; // a refusal is in a record as a message
    }
    let noted = health.noted(policy, plan.hashed());
    let conditions: Vec<String> = plan.decided().iter().map(ToString::to_string).collect();
    let copy = copy_of(policy, seed);
    let recalled = recall(&copy).expect("the copy is understood");
    let health =
        Snapshot::recalled(&recalled.policy, &noted.open_breakers, &noted.balance, &conditions);
    let facts = Facts { path: PATH, ..Facts::default() };
    let again = plan_with(&recalled.policy, plan_seed, &facts, &health);
    let order = |plan: &Plan<'_>| -> Vec<String> {
        plan.leaves().map(|leaf| leaf.path.to_owned()).collect()
    };
    assert_eq!(order(&again), order(plan), "seed {seed}: {noted:?} {conditions:?}");
    let told_again = explain(&recalled.policy, plan_seed, &facts, &health);
    let reasons = |told: &Explanation<'_>| -> Vec<_> {
        told.targets.iter().map(|one| (one.path.to_owned(), one.reason, one.why.clone())).collect()
    };
    assert_eq!(reasons(&told_again), reasons(told), "seed {seed}");
}

/// What is kept beside the log of a config like this one.
fn copy_of(policy: &Policy, seed: u64) -> serde_json::Value {
    let mut file: Config = file();
    let again = compiled(&file, &nested(seed, false));
    assert_eq!(again.watched, policy.watched);
    add_config(&mut file, "kept", again);
    file.without_secrets()["configs"]["kept"].take()
}
