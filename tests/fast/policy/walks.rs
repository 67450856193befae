//! Plans and walks: order, fallback levels, weights, and agreement with a reference model on random policies.

use std::{collections::HashSet, time::Duration};

use trunkline::{
    base::{fault::Fault, limits},
    config::{
        condition::{Clause, Then},
        policy::{Node, NodeKind, Policy, Retry},
    },
    policy::{
        attempt::{Network, Outcome},
        condition::{Facts, Refusal},
        plan::{draw, plan},
    },
};

use super::make::{
    Dice, Tried, balance, condition, conditional, fallback, fallback_on, leaf, paths, policy,
    retrying, single, status, target, walk, walk_or_refusal,
};

#[test]
fn a_leaf_alone_is_tried_once() {
    let policy = policy(target());
    let plan = plan(&policy, 1, &Facts::default());
    let (tried, shown) = walk(&plan, 0, |_, _| status(500));
    assert_eq!(paths(&tried), ["config"]);
    assert_eq!(shown.map(|shown| (shown.attempt, shown.retry_attempt_count)), Some((0, 0)));
}

#[test]
fn without_codes_everything_but_2xx_falls_through() {
    let policy = policy(fallback(vec![target(), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    for (outcome, falls) in [
        (status(200), false),
        (status(204), false),
        (status(246), false),
        (status(299), false),
        (status(300), true),
        (status(400), true),
        (status(401), true),
        (status(446), true),
        (status(500), true),
        (Outcome::RequestTimeout, true),
        (Outcome::Unfit, true),
        (Outcome::Denied { answer: false }, true),
        (Outcome::Denied { answer: true }, true),
        (Outcome::Network(Network::Unreachable), true),
        (Outcome::Network(Network::ConnectTimeout), true),
        (Outcome::Network(Network::FirstByteTimeout), true),
        (Outcome::Network(Network::Protocol), true),
        (Outcome::Network(Network::Truncated), true),
        (Outcome::Network(Network::StreamError { status: 529 }), true),
        (Outcome::Network(Network::StreamError { status: 200 }), true),
    ] {
        let (tried, _) = walk(&plan, 0, |_, _| outcome);
        assert_eq!(tried.len() == 2, falls, "{outcome:?}");
    }
}

#[test]
fn codes_replace_the_default() {
    let policy = policy(fallback_on(&[429, 504], vec![target(), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    for (outcome, falls) in [
        (status(429), true),
        (status(500), false),
        (status(401), false),
        (Outcome::Unfit, true),
        (Outcome::RequestTimeout, false),
        (Outcome::Network(Network::Unreachable), false),
        (Outcome::Network(Network::ConnectTimeout), true),
        (Outcome::Network(Network::FirstByteTimeout), true),
        (Outcome::Network(Network::StreamError { status: 429 }), true),
        (Outcome::Network(Network::StreamError { status: 529 }), false),
    ] {
        let (tried, _) = walk(&plan, 0, |_, _| outcome);
        assert_eq!(tried.len() == 2, falls, "{outcome:?}");
    }
}

#[test]
fn an_unreachable_target_counts_as_500_and_as_502() {
    for codes in [[500], [502]] {
        let policy = policy(fallback_on(&codes, vec![target(), target()]));
        let unreachable = Outcome::Network(Network::Unreachable);
        assert_eq!(
            walk(&plan(&policy, 1, &Facts::default()), 0, |_, _| unreachable).0.len(),
            2,
            "{codes:?}"
        );
    }
}

#[test]
fn an_outcome_climbs_outward_until_a_level_lets_it_fall() {
    let inner = fallback_on(&[429], vec![target(), target()]);
    let policy = policy(fallback(vec![single(inner), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let answer = |code| walk(&plan, 0, move |_, _| status(code)).0;
    let last = "config.targets[1]";
    let inner =
        ["config.targets[0].targets[0].targets[0]", "config.targets[0].targets[0].targets[1]"];
    assert_eq!(paths(&answer(429)), [inner[0], inner[1], last]);
    assert_eq!(paths(&answer(500)), [inner[0], last]);
    assert_eq!(paths(&answer(200)), [inner[0]]);
}

#[test]
fn the_last_response_is_shown() {
    let policy = policy(fallback(vec![target(), target(), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let (_, shown) = walk(&plan, 0, |path, _| match path {
        "config.targets[0]" => status(429),
        _ => status(503),
    });
    assert_eq!(shown.map(|shown| (shown.leaf.path, shown.attempt)), Some(("config.targets[2]", 2)));
}

#[test]
fn a_real_answer_is_shown_before_an_unfit_target() {
    let policy = policy(fallback(vec![target(), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let (tried, shown) = walk(&plan, 0, |path, _| match path {
        "config.targets[0]" => status(503),
        _ => Outcome::Unfit,
    });
    assert_eq!(tried.len(), 2);
    assert_eq!(shown.map(|shown| (shown.attempt, shown.outcome)), Some((0, status(503))));
}

#[test]
fn if_all_are_unfit_the_last_one_says_why() {
    let policy = policy(fallback_on(&[429], vec![target(), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let (_, shown) = walk(&plan, 0, |_, _| Outcome::Unfit);
    assert_eq!(shown.map(|shown| (shown.attempt, shown.outcome)), Some((1, Outcome::Unfit)));
}

#[test]
fn a_balance_without_weight_is_passed_over() {
    let dead = || balance(vec![(0.0, target()), (f64::NAN, target()), (-1.0, target())]);
    let alone = policy(dead());
    assert!(walk(&plan(&alone, 1, &Facts::default()), 0, |_, _| status(200)).0.is_empty());
    let among = policy(fallback(vec![dead(), target(), dead(), target(), dead()]));
    let plan = plan(&among, 1, &Facts::default());
    let (tried, _) = walk(&plan, 0, |_, _| status(500));
    assert_eq!(paths(&tried), ["config.targets[1]", "config.targets[3]"]);
}

#[test]
fn weights_are_drawn_within_three_sigma() {
    const DRAWS: u64 = 30_000;
    let weights = [5.0, 3.0, 0.0, 1.0, 0.25];
    let sum: f64 = weights.iter().sum();
    let mut counts = [0_u64; 5];
    for seed in 0..DRAWS {
        counts[draw(seed, "config", weights.iter().copied()).unwrap()] += 1;
    }
    for (weight, count) in weights.iter().zip(counts) {
        let share = weight / sum;
        let sigma = (DRAWS as f64 * share * (1.0 - share)).sqrt();
        let off = (count as f64 - DRAWS as f64 * share).abs();
        assert!(off <= 3.0 * sigma, "weight {weight}: {count} of {DRAWS}, {off} off");
    }
}

#[test]
fn sibling_balances_of_one_request_draw_independently() {
    const DRAWS: u64 = 20_000;
    let even = || balance(vec![(1.0, target()), (1.0, target())]);
    let policy = policy(fallback(vec![even(), even()]));
    let both_first = (0..DRAWS)
        .filter(|seed| {
            plan(&policy, *seed, &Facts::default())
                .leaves()
                .all(|leaf| leaf.path.ends_with(".targets[0]"))
        })
        .count() as f64;
    let sigma = (DRAWS as f64 * 0.25 * 0.75).sqrt();
    assert!((both_first - DRAWS as f64 * 0.25).abs() <= 3.0 * sigma, "{both_first} of {DRAWS}");
}

#[test]
fn every_weighted_leaf_is_reached_and_no_other() {
    for seed in 0..200 {
        let policy = random_policy(seed, 3);
        let mut expected = HashSet::new();
        reachable(&policy.root, &mut expected);
        let mut seen = HashSet::new();
        let mut dice = Dice(seed);
        for _ in 0..20_000 {
            let plan = plan(&policy, dice.roll(), &Facts::default());
            for leaf in plan.leaves() {
                assert!(expected.contains(leaf.path), "seed {seed}: weight 0 drawn: {}", leaf.path);
                seen.insert(leaf.path.to_owned());
            }
            if seen.len() == expected.len() {
                break;
            }
        }
        assert_eq!(seen.len(), expected.len(), "policy seed {seed}: some leaf was never drawn");
    }
}

#[test]
fn walks_agree_with_the_reference_model() {
    for seed in 0..10_000 {
        let policy = random_policy(seed, 5);
        let plan_seed = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let drawn = plan(&policy, plan_seed, &Facts::default());
        let (tried, end) =
            walk_or_refusal(&drawn, 0, |path, retry| random_outcome(seed, path, retry));
        let mut oracle = Oracle { seed, plan_seed, tried: Vec::new(), answer: None, unfit: None };
        let thrown = oracle.try_recursively(&policy.root).err();
        assert_eq!(tried, oracle.tried, "policy seed {seed}");
        let end = end
            .map(|shown| shown.map(|it| (it.leaf.path.to_owned(), it.retry_attempt_count)))
            .map_err(|refusal| Fault::from(refusal).message.into_owned());
        let expected = thrown.map_or(Ok(oracle.answer.or(oracle.unfit)), Err);
        assert_eq!(end, expected, "policy seed {seed}");

        let bound: u32 = drawn.leaves().map(|leaf| leaf.leaf.retry.attempts + 1).sum();
        assert!(tried.len() <= bound as usize, "policy seed {seed}: {} tries", tried.len());
        let again = plan(&policy, plan_seed, &Facts::default());
        let order = |plan: &trunkline::policy::plan::Plan<'_>| -> Vec<String> {
            plan.leaves().map(|leaf| leaf.path.to_owned()).collect()
        };
        assert_eq!(order(&drawn), order(&again), "policy seed {seed}: one seed, two plans");
    }
}

#[test]
fn a_conditional_is_exactly_one_of_its_children() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let width = 1 + dice.below(4);
        let node = random_conditional(&mut dice, (0..width).map(|_| target()).collect());
        let policy = policy(node);
        let drawn = plan(&policy, dice.roll(), &Facts::default());
        let (tried, end) = walk_or_refusal(&drawn, 0, |_, _| status(500));
        match chosen(&policy.root) {
            Ok(target) => assert_eq!(paths(&tried), [&*target.path], "seed {seed}"),
            Err(_) => assert!(tried.is_empty() && end.is_err(), "seed {seed}"),
        }
        assert_eq!(drawn.decided().len(), tried.len(), "seed {seed}");
    }
}

#[test]
fn a_refusal_ends_the_chain_where_it_is_reached_and_nowhere_else() {
    let refusing = || conditional(Some(vec![]), None, vec![target()]);
    let first = policy(fallback(vec![refusing(), target()]));
    let first = plan(&first, 1, &Facts::default());
    assert_eq!(walk_or_refusal(&first, 0, |_, _| status(200)).1.unwrap_err(), Refusal::NoTarget);

    let second = policy(fallback(vec![target(), refusing(), target()]));
    let second = plan(&second, 1, &Facts::default());
    assert_eq!(paths(&walk(&second, 0, |_, _| status(200)).0), ["config.targets[0]"]);
    let (tried, end) = walk_or_refusal(&second, 0, |_, _| status(500));
    assert_eq!(paths(&tried), ["config.targets[0]"]);
    assert!(end.is_err(), "an earlier answer was shown: {end:?}");

    let passed_by =
        policy(fallback(vec![fallback_on(&[429], vec![target(), refusing()]), target()]));
    let passed_by = plan(&passed_by, 1, &Facts::default());
    let (tried, _) = walk(&passed_by, 0, |_, _| status(500));
    assert_eq!(paths(&tried), ["config.targets[0].targets[0]", "config.targets[1]"]);
}

#[test]
fn a_walk_asked_again_after_its_end_stays_finished() {
    let policy = policy(target());
    let plan = plan(&policy, 1, &Facts::default());
    let mut walk = trunkline::policy::attempt::Walk::new(&plan);
    for _ in 0..3 {
        let step = walk.after(&status(500), Default::default(), 0);
        assert!(matches!(step, trunkline::policy::attempt::Step::Finish));
    }
}

/// The semantics written down a second time, recursively, as the reference document tells them.
struct Oracle {
    seed: u64,
    plan_seed: u64,
    tried: Vec<Tried>,
    answer: Option<(String, i32)>,
    unfit: Option<(String, i32)>,
}

impl Oracle {
    /// `Err`: thrown, through every level around it.
    fn try_recursively(&mut self, node: &Node) -> Result<Option<Outcome>, String> {
        match &node.kind {
            NodeKind::Leaf(leaf) => Ok(Some(self.try_leaf(&node.path, &leaf.retry))),
            NodeKind::Single(child) => self.try_recursively(child),
            NodeKind::LoadBalance { targets, .. } => {
                let weights = targets.iter().map(|target| target.weight);
                let Some(at) = draw(self.plan_seed, &node.path, weights) else { return Ok(None) };
                self.try_recursively(&targets[at])
            }
            NodeKind::Conditional { .. } => self.try_recursively(chosen(node)?),
            NodeKind::Fallback { on_status_codes, targets } => {
                let mut last = None;
                for target in targets {
                    let Some(outcome) = self.try_recursively(target)? else { continue };
                    last = Some(outcome);
                    if outcome == Outcome::Unfit {
                        continue;
                    }
                    let statuses = statuses_of(outcome);
                    let stop = match on_status_codes {
                        Some(codes) => !statuses.iter().any(|status| codes.contains(status)),
                        None => statuses.iter().all(|status| status / 100 == 2),
                    };
                    if stop {
                        break;
                    }
                }
                Ok(last)
            }
        }
    }

    fn try_leaf(&mut self, path: &str, retry: &Retry) -> Outcome {
        let mut remaining = Duration::from_secs(60);
        let mut wait = Duration::ZERO;
        let mut number = 0;
        loop {
            self.tried.push(Tried {
                path: path.to_owned(),
                retry_number: number,
                waited_nanos: wait.as_nanos() as u64,
            });
            let outcome = random_outcome(self.seed, path, number);
            wait = Duration::from_secs(1 << number);
            let mut retryable = retry.attempts > 0
                && match outcome {
                    Outcome::Unfit | Outcome::Denied { answer: false } => false,
                    Outcome::Denied { answer: true } => retry.on_status_codes.contains(&446),
                    Outcome::Network(Network::StreamError { .. }) | Outcome::RequestTimeout => {
                        retry.on_status_codes.contains(&statuses_of(outcome)[0])
                    }
                    Outcome::Network(_) => true,
                    Outcome::Status { code, .. } => {
                        !(200..=204).contains(&code) && retry.on_status_codes.contains(&code)
                    }
                };
            let mut exhausted = retryable && number == retry.attempts;
            if let Outcome::Status { code: 429, retry_after: Some(asked) } = outcome
                && retry.use_retry_after
                && retryable
            {
                wait = asked;
                if asked >= Duration::from_secs(60) || asked > remaining {
                    exhausted = true;
                } else {
                    remaining -= asked;
                }
            }
            retryable &= !exhausted;
            let count = if exhausted { -1 } else { number as i32 };
            let place = if outcome == Outcome::Unfit { &mut self.unfit } else { &mut self.answer };
            *place = Some((path.to_owned(), count));
            if !retryable {
                return outcome;
            }
            number += 1;
        }
    }
}

/// The child of a conditional node that is to be tried.
fn chosen(node: &Node) -> Result<&Node, String> {
    let NodeKind::Conditional { conditions, default, targets } = &node.kind else {
        panic!("not conditional: {node:?}");
    };
    let Some(conditions) = conditions else {
        return Err("No conditions passed in the query router".into());
    };
    let mut then = default.as_ref();
    for condition in conditions {
        match condition.query.as_slice() {
            [] => {
                then = Some(&condition.then);
                break;
            }
            [Clause::Tests(..)] => {
                return Err("Unsupported operator used in the query router: $x".into());
            }
            _ => {}
        }
    }
    match then {
        Some(Then::Target(at)) => Ok(&targets[*at]),
        Some(Then::Unknown(name)) => {
            Err(format!("Invalid target name found in the query router: {name}"))
        }
        None => Err("Query router did not resolve to any valid target".into()),
    }
}

/// The statuses an outcome counts as.
fn statuses_of(outcome: Outcome) -> Vec<u16> {
    match outcome {
        Outcome::Status { code, .. } => vec![code],
        Outcome::RequestTimeout => vec![408],
        Outcome::Unfit => vec![],
        Outcome::Denied { .. } => vec![446],
        Outcome::Network(Network::ConnectTimeout) => vec![503, 504],
        Outcome::Network(Network::FirstByteTimeout) => vec![408, 504],
        Outcome::Network(Network::StreamError { status }) => vec![status],
        Outcome::Network(_) => vec![500, 502],
    }
}

fn random_outcome(seed: u64, path: &str, retry: u32) -> Outcome {
    let mut dice = Dice(seed ^ u64::from(retry) << 32);
    for byte in path.bytes() {
        dice.0 ^= u64::from(byte);
        dice.roll();
    }
    let seconds = dice.pick(&[0, 1, 7, 30, 40, 59, 60, 61, 3_600]);
    match dice.below(12) {
        0 => status(dice.pick(&[200, 201, 204, 206, 246])),
        1 => Outcome::RequestTimeout,
        2 => Outcome::Unfit,
        3 => Outcome::Network(dice.pick(&[
            Network::Unreachable,
            Network::ConnectTimeout,
            Network::FirstByteTimeout,
            Network::Protocol,
            Network::Truncated,
        ])),
        4 => Outcome::Network(Network::StreamError { status: dice.pick(&[400, 429, 500, 529]) }),
        5..=7 => Outcome::Status { code: 429, retry_after: Some(Duration::from_secs(seconds)) },
        _ => status(dice.pick(&[300, 400, 401, 408, 429, 446, 500, 502, 503, 529])),
    }
}

pub fn random_policy(seed: u64, depth: usize) -> Policy {
    policy(random_node(&mut Dice(seed ^ 0x5eed), depth))
}

fn random_node(dice: &mut Dice, depth: usize) -> Node {
    if depth == 0 || dice.chance(20) {
        return random_leaf(dice);
    }
    let width = 1 + dice.below(3);
    match dice.below(12) {
        10.. => {
            let targets: Vec<_> = (0..width).map(|_| random_node(dice, depth - 1)).collect();
            random_conditional(dice, targets)
        }
        0 => single(random_node(dice, depth - 1)),
        1..=3 => {
            let mut targets: Vec<_> = (0..width)
                .map(|_| (dice.pick(&[0.0, 0.5, 1.0, 3.0]), random_node(dice, depth - 1)))
                .collect();
            targets[0].0 = 1.0;
            balance(targets)
        }
        kind => {
            let targets = (0..width).map(|_| random_node(dice, depth - 1)).collect();
            if kind < 7 { fallback(targets) } else { fallback_on(&random_codes(dice), targets) }
        }
    }
}

/// Mostly one that chooses; now and then one that refuses.
fn random_conditional(dice: &mut Dice, targets: Vec<Node>) -> Node {
    let width = targets.len();
    let then = |dice: &mut Dice| match dice.chance(5) {
        true => Then::Unknown("nobody".into()),
        false => Then::Target(dice.below(width)),
    };
    let conditions = (0..dice.below(4))
        .map(|_| {
            let holds = if dice.chance(5) { None } else { Some(dice.chance(40)) };
            condition(holds, then(dice))
        })
        .collect();
    let default = dice.chance(90).then(|| then(dice));
    conditional((!dice.chance(3)).then_some(conditions), default, targets)
}

fn random_leaf(dice: &mut Dice) -> Node {
    if dice.chance(30) {
        return leaf(Default::default());
    }
    retrying(Retry {
        attempts: dice.below(4) as u32,
        on_status_codes: random_codes(dice),
        use_retry_after: dice.chance(60),
        jitter: false,
    })
}

fn random_codes(dice: &mut Dice) -> Vec<u16> {
    let all = [200, 206, 246, 400, 401, 408, 429, 446, 500, 502, 503, 504, 529];
    all.into_iter().filter(|_| dice.chance(40)).collect()
}

pub fn reachable(node: &Node, into: &mut HashSet<String>) {
    match &node.kind {
        NodeKind::Leaf(_) => {
            into.insert(node.path.clone());
        }
        NodeKind::Single(child) => reachable(child, into),
        NodeKind::Fallback { targets, .. } => {
            targets.iter().for_each(|target| reachable(target, into));
        }
        NodeKind::LoadBalance { targets, .. } => targets
            .iter()
            .filter(|target| target.weight > 0.0)
            .for_each(|target| reachable(target, into)),
        NodeKind::Conditional { .. } => {
            if let Ok(target) = chosen(node) {
                reachable(target, into);
            }
        }
    }
}

#[test]
fn attempts_beyond_the_bound_are_clamped() {
    let retry = Retry { attempts: u32::MAX, ..Retry::default() };
    let policy = policy(retrying(retry));
    let (tried, _) = walk(&plan(&policy, 1, &Facts::default()), 0, |_, _| status(500));
    assert_eq!(tried.len(), limits::RETRY_ATTEMPTS_MAX as usize + 1);
}
