//! Plans that know of their targets' health: breakers, quotas, latency, affinity; against random policies too.

use std::{collections::HashMap, time::Duration};

use trunkline::{
    base::{limits, units::Instant},
    config::{
        condition::Fact,
        health::{Balance, Breaker, HashBy, HashField, Watch},
        policy::{Node, NodeKind, Policy},
    },
    policy::{
        attempt::{Network, Outcome},
        balance::{Candidate, belongs_to, better_of_two, hash_of},
        breaker::{Counts, Half, Stage, State, Verdict, trips, verdict},
        condition::Facts,
        credential::{Usable, another_helps, choose},
        health::{Latency, Load, Seen, Snapshot},
        plan::{Plan, Unhealthy, plan, plan_with},
    },
    wire::json,
};

use super::{
    make::{
        Dice, balance, fallback, fallback_on, leaf, paths, policy, single, status, target, walk,
    },
    walks::{random_policy, reachable},
};

fn breaker() -> Breaker {
    Breaker {
        failure_threshold: Some(3),
        failure_percentage: None,
        minimum_requests: 10,
        cooldown: Duration::from_secs(30),
        failure_status_codes: None,
    }
}

/// A target whose breaker and quota are asked for.
fn watched() -> Node {
    let watch = Watch { index: 0, breaker: Some(breaker()), rate_limit_aware: true, hedge: None };
    leaf(trunkline::config::policy::Leaf { watch: Some(watch), ..Default::default() })
}

fn open() -> Seen {
    Seen { breaker: Stage::Open, ..Seen::default() }
}

fn out(nanos: u64) -> Seen {
    Seen { out_for_nanos: nanos, ..Seen::default() }
}

fn order(plan: &Plan<'_>) -> Vec<String> {
    plan.leaves().map(|leaf| leaf.path.to_owned()).collect()
}

fn planned(policy: &Policy, seen: &[Seen]) -> Vec<String> {
    let snapshot = Snapshot::of(seen.iter().copied());
    let plan = plan_with(policy, 1, &Facts::default(), &snapshot);
    plan.leaves().map(|leaf| leaf.path.trim_start_matches("config.").to_owned()).collect()
}

#[test]
fn an_open_target_is_left_out_unless_all_are_open() {
    let policy = policy(fallback(vec![watched(), watched(), watched()]));
    let fine = Seen::default();
    assert_eq!(planned(&policy, &[fine, open(), fine]), ["targets[0]", "targets[2]"]);
    assert_eq!(planned(&policy, &[open(), open(), fine]), ["targets[2]"]);
    assert_eq!(planned(&policy, &[open(); 3]).len(), 3, "all open: none is left out");
    let half_open = Seen { breaker: Stage::HalfOpen, ..fine };
    assert_eq!(planned(&policy, &[half_open, open(), fine]), ["targets[0]", "targets[2]"]);
    let snapshot = Snapshot::of([fine, open(), fine]);
    let plan = plan_with(&policy, 1, &Facts::default(), &snapshot);
    let skipped: Vec<_> = plan.skipped().iter().map(|it| (it.path, it.why)).collect();
    assert_eq!(skipped, [("config.targets[1]", Unhealthy::Open)]);
}

#[test]
fn a_group_is_open_when_all_of_it_is() {
    let group = || fallback(vec![watched(), watched()]);
    let policy = policy(fallback(vec![group(), single(group()), watched()]));
    let fine = Seen::default();
    let all = planned(&policy, &[open(), open(), open(), fine, fine]);
    assert_eq!(all, ["targets[1].targets[0].targets[1]", "targets[2]"]);
    let last = planned(&policy, &[open(), open(), open(), open(), fine]);
    assert_eq!(last, ["targets[2]"]);
    assert_eq!(planned(&policy, &[open(); 5]).len(), 5);
}

#[test]
fn without_quota_anywhere_the_one_that_has_some_first_is_tried() {
    let policy = policy(fallback(vec![watched(), watched(), watched()]));
    let fine = Seen::default();
    assert_eq!(planned(&policy, &[out(9), fine, out(5)]), ["targets[1]"]);
    assert_eq!(planned(&policy, &[out(9), out(7), out(8)]), ["targets[1]"]);
    assert_eq!(planned(&policy, &[open(), out(7), out(5)]), ["targets[2]"]);
    let unaware = leaf(trunkline::config::policy::Leaf::default());
    let mixed = super::make::policy(fallback(vec![watched(), unaware]));
    assert_eq!(planned(&mixed, &[out(9)]), ["targets[1]"]);
}

#[test]
fn a_balance_draws_among_the_healthy_by_weight() {
    const DRAWS: u64 = 20_000;
    let weights = [5.0, 3.0, 1.0, 0.0];
    let policy = policy(balance(weights.map(|weight| (weight, watched())).into()));
    let snapshot = Snapshot::of([open(), Seen::default(), out(1), Seen::default()]);
    for seed in 0..100 {
        let plan = plan_with(&policy, seed, &Facts::default(), &snapshot);
        assert_eq!(order(&plan), ["config.targets[1]"]);
    }
    let snapshot = Snapshot::of([Seen::default(), open(), Seen::default(), Seen::default()]);
    let first = (0..DRAWS).filter(|seed| {
        order(&plan_with(&policy, *seed, &Facts::default(), &snapshot)) == ["config.targets[0]"]
    });
    within_three_sigma(first.count(), DRAWS, 5.0 / 6.0);
}

fn within_three_sigma(count: usize, of: u64, share: f64) {
    let expected = of as f64 * share;
    let sigma = (expected * (1.0 - share)).sqrt();
    assert!((count as f64 - expected).abs() <= 3.0 * sigma, "{count} of {of}, share {share}");
}

#[test]
fn a_breaker_opens_by_number_or_by_share() {
    let by_number = breaker();
    let counts = |failures, requests| Counts { failures, requests };
    assert!(!trips(&by_number, counts(2, 2)) && trips(&by_number, counts(3, 1_000)));
    let by_share = Breaker { failure_threshold: None, failure_percentage: Some(20.0), ..breaker() };
    assert!(!trips(&by_share, counts(9, 9)), "too few to tell");
    assert!(trips(&by_share, counts(2, 10)) && !trips(&by_share, counts(19, 100)));
    let both = Breaker { failure_percentage: Some(50.0), ..breaker() };
    assert!(trips(&both, counts(3, 100)) && trips(&both, counts(5, 10)));
}

#[test]
fn what_counts_as_a_failure() {
    let usual = breaker();
    let listed = Breaker { failure_status_codes: Some(vec![408, 429]), ..breaker() };
    for (outcome, usually, if_listed) in [
        (status(200), Verdict::Success, Verdict::Success),
        (status(429), Verdict::Success, Verdict::Failure),
        (status(500), Verdict::Failure, Verdict::Success),
        (status(503), Verdict::Failure, Verdict::Success),
        (Outcome::Unfit, Verdict::Nothing, Verdict::Nothing),
        (Outcome::Denied { answer: true }, Verdict::Nothing, Verdict::Nothing),
        (Outcome::RequestTimeout, Verdict::Success, Verdict::Failure),
        (Outcome::Network(Network::Unreachable), Verdict::Failure, Verdict::Success),
        (Outcome::Network(Network::FirstByteTimeout), Verdict::Failure, Verdict::Failure),
        (
            Outcome::Network(Network::StreamError { status: 529 }),
            Verdict::Failure,
            Verdict::Success,
        ),
    ] {
        assert_eq!(verdict(&usual, &outcome), usually, "{outcome:?}");
        assert_eq!(verdict(&listed, &outcome), if_listed, "{outcome:?}");
    }
}

#[test]
fn a_breaker_stands_open_then_half_open() {
    let at = |seconds: u64| Instant { nanos: seconds * 1_000_000_000 };
    let closed = State::default();
    assert_eq!(closed.stage(at(5)), Stage::Closed);
    let open = State { open_until: at(30), ..State::default() };
    assert_eq!((open.stage(at(29)), open.stage(at(30))), (Stage::Open, Stage::HalfOpen));
    let tried = State { open_until: at(30), probe_until: at(60) };
    assert_eq!((tried.stage(at(59)), tried.stage(at(60))), (Stage::Open, Stage::HalfOpen));
}

#[test]
fn counts_of_a_window_are_forgotten_and_never_wrap() {
    let one = Counts { failures: 1, requests: 1 };
    let half = Half::default().plus(7, one).plus(7, one);
    assert_eq!(half.counts(7), Counts { failures: 2, requests: 2 });
    assert_eq!(half.counts(8), Counts::default());
    assert_eq!(half.plus(9, one).counts(9), one);
    let many = Counts { failures: u32::MAX, requests: u32::MAX };
    let full = half.plus(7, many).plus(7, many).counts(7);
    assert_eq!(full.failures, full.requests);
    assert!(full.requests > limits::BREAKER_REQUESTS_MAX);
    assert_eq!(Half::default().counts(1 << 22), Counts::default());
}

fn candidates<'n>(names: &'n [String], weights: &[f64], loads: &[Load]) -> Vec<Candidate<'n>> {
    let all = names.iter().zip(weights).zip(loads);
    all.map(|((name, weight), load)| Candidate { name, weight: *weight, load: *load }).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("config.targets[{at}]")).collect()
}

#[test]
fn hashes_fall_to_targets_by_weight_and_stay_when_others_go() {
    const KEYS: u64 = 30_000;
    let (names, weights) = (names(4), [4.0, 3.0, 2.0, 1.0]);
    let all = candidates(&names, &weights, &[Load::default(); 4]);
    let mut counts = [0; 4];
    for key in 0..KEYS {
        let at = belongs_to(key, &all, false).unwrap();
        counts[at] += 1;
        let without_last = belongs_to(key, &all[..3], false).unwrap();
        assert!(at == 3 || at == without_last, "key {key} moved without need");
    }
    for (weight, count) in weights.iter().zip(counts) {
        within_three_sigma(count, KEYS, weight / 10.0);
    }
    assert_eq!(belongs_to(1, &[], false), None);
}

#[test]
fn one_that_runs_more_than_its_share_passes_on() {
    let names = names(4);
    let even = Load { in_flight: 8, ..Load::default() };
    let first = belongs_to(5, &candidates(&names, &[1.0; 4], &[even; 4]), true).unwrap();
    let mut loads = [even; 4];
    loads[first].in_flight = 12;
    let passed_on = belongs_to(5, &candidates(&names, &[1.0; 4], &loads), true).unwrap();
    assert_ne!(first, passed_on);
    assert_eq!(belongs_to(5, &candidates(&names, &[1.0; 4], &loads), false), Some(first));
    let alone = Load { in_flight: 1_000, ..Load::default() };
    assert_eq!(belongs_to(5, &candidates(&names[..1], &[1.0], &[alone]), true), Some(0));
}

/// A world of conversations over targets that each keep a prompt cache: `choose` gets the hash, the dice and the loads.
/// The longest prefix of a conversation is where its last turn went. Returns the share of turns that found it, the most
/// that ran on one target over what may run there, and the most turns of one target over the mean.
fn cached(targets: usize, choose: impl Fn(u64, u64, &[Candidate<'_>]) -> usize) -> (f64, f64, f64) {
    const CONVERSATIONS: usize = 4000;
    const AT_ONCE: usize = 1000;
    const TURNS: usize = 60_000;
    let (names, weights) = (names(targets), vec![1.0; targets]);
    let mut dice = Dice(7);
    let keys: Vec<u64> = (0..CONVERSATIONS).map(|_| dice.roll()).collect();
    let mut homes: Vec<Option<usize>> = vec![None; CONVERSATIONS];
    let (mut running, mut loads) = (Vec::new(), vec![0_u64; targets]);
    let (mut turns, mut hits, mut peak, mut counts) =
        (0_usize, 0_usize, 0.0_f64, vec![0_usize; targets]);
    for _ in 0..TURNS {
        if running.len() == AT_ONCE {
            let done: usize = running.swap_remove(dice.below(AT_ONCE));
            loads[done] -= 1;
        }
        let seen: Vec<Load> =
            loads.iter().map(|&in_flight| Load { in_flight, latency_nanos: 1 }).collect();
        let conversation = dice.below(CONVERSATIONS);
        let at = choose(keys[conversation], dice.roll(), &candidates(&names, &weights, &seen));
        if let Some(home) = homes[conversation].replace(at) {
            turns += 1;
            hits += usize::from(home == at);
        }
        running.push(at);
        loads[at] += 1;
        counts[at] += 1;
        // A whole request more than five fourths is what rounding up allows.
        let allowed = (running.len() as f64 / targets as f64 * 1.25).ceil();
        peak = peak.max(loads[at] as f64 / allowed);
    }
    let most = counts.iter().max().copied().unwrap_or_default() as f64;
    (hits as f64 / turns as f64, peak, most * targets as f64 / TURNS as f64)
}

#[test]
fn affinity_keeps_prompt_caches_warm_and_loads_even_where_chance_keeps_one_in_n() {
    for targets in [2, 4, 8] {
        let (by_chance, ..) = cached(targets, |_, dice, all| dice as usize % all.len());
        let one_in_n = 1.0 / targets as f64;
        assert!((by_chance - one_in_n).abs() < 0.02, "{targets} targets: {by_chance}");
        let (hits, peak, imbalance) =
            cached(targets, |key, _, all| belongs_to(key, all, true).unwrap());
        assert!(hits >= 0.95, "{targets} targets: {hits}");
        assert!(peak <= 1.0, "{targets} targets: {peak} of what may run at once");
        assert!(imbalance <= 1.25, "{targets} targets: {imbalance} times the mean");
    }
}

#[test]
fn the_better_of_two_is_the_faster_or_the_less_busy() {
    let names = names(2);
    let load = |latency_nanos, in_flight| Load { latency_nanos, in_flight };
    let chosen = |loads: [Load; 2]| {
        let all = candidates(&names, &[1.0, 1.0], &loads);
        let firsts = (0..100).filter(|seed| better_of_two(*seed, "c", &all) == Some(0)).count();
        match firsts {
            100 => 0,
            0 => 1,
            _ => 2,
        }
    };
    assert_eq!(chosen([load(100, 0), load(200, 0)]), 0);
    assert_eq!(chosen([load(100, 3), load(200, 0)]), 1, "busy");
    assert_eq!(chosen([load(100, 0), load(0, 0)]), 1, "nobody knows: it is tried");
    assert_eq!(chosen([load(100, 0), load(0, 1)]), 0, "but by one at a time");
    assert_eq!(chosen([load(5, 1), load(5, 1)]), 2, "equal: both");
    let alone = candidates(&names[..1], &[1.0], &[load(9, 9)]);
    assert_eq!(better_of_two(3, "c", &alone), Some(0));
    assert_eq!(better_of_two(3, "c", &[]), None);
}

#[test]
fn latency_peaks_at_once_and_fades() {
    let at = |seconds: u64| Instant { nanos: seconds * 1_000_000_000 };
    let slow = Latency::default().after(100, at(1)).after(9_000, at(1));
    assert_eq!(slow.nanos, 9_000);
    let better = slow.after(100, at(2));
    assert!((7_000..9_000).contains(&better.nanos), "{better:?}");
    assert!(slow.faded(at(31)) < 9_000 / 15, "{}", slow.faded(at(31)));
    assert!(slow.faded(at(100_000)) >= 1, "known stays known");
    assert_eq!(Latency::default().faded(at(9)), 0);
    assert_eq!(slow.after(8_999, at(60)).nanos, 8_999, "above what is left of the peak");
}

fn body_facts(body: &str, by: &HashBy) -> Option<u64> {
    let fields = json::scan(body.as_bytes()).unwrap();
    hash_of(by, &Facts { params: Some((body.as_bytes(), &fields)), ..Facts::default() })
}

#[test]
fn a_conversation_has_one_hash_while_it_goes_on() {
    let by = HashBy { fields: vec![HashField::Conversation], bytes_max: 4096, bounded: true };
    let hash = |body: &str| body_facts(body, &by);
    let first =
        hash(r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}]}"#);
    let later = hash(
        r#"{"temperature":1,"messages":[ {"role":"system","content":"s"},{"role":"user","content":"hi"},
            {"role":"assistant","content":"yes"},{"role":"user","content":"more"}],"model":"m"}"#,
    );
    assert!(first.is_some());
    assert_eq!(first, later);
    for other in [
        r#"{"messages":[{"role":"system","content":"t"},{"role":"user","content":"hi"}]}"#,
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"ho"}]}"#,
        r#"{"system":"s","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"input":"hi"}"#,
        r#"{"messages":[1,2,}"#,
        r#"{"messages":[]}"#,
    ] {
        let Ok(fields) = json::scan(other.as_bytes()) else { continue };
        let facts = Facts { params: Some((other.as_bytes(), &fields)), ..Facts::default() };
        assert_ne!(hash_of(&by, &facts), first, "{other}");
    }
    assert_eq!(hash(r#"{"model":"m"}"#), None);
    let short = HashBy { bytes_max: 16, ..by };
    let long =
        |tail: &str| body_facts(&format!(r#"{{"system":"the same long prompt {tail}"}}"#), &short);
    assert_eq!(long("a"), long("b"), "only the prefix counts");
}

#[test]
fn fields_are_hashed_apart_and_missing_ones_are_none() {
    let field = |name: &str| HashField::Fact(Fact::Metadata(name.into()));
    let by = HashBy { fields: vec![field("a"), field("b")], bytes_max: 99, bounded: false };
    let hash = |pairs: &[(&str, &str)]| {
        let metadata: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        hash_of(&by, &Facts { metadata: &metadata, ..Facts::default() })
    };
    assert_eq!(hash(&[]), None);
    assert_eq!(hash(&[("c", "x")]), None);
    assert!(hash(&[("a", "x")]).is_some());
    assert_ne!(hash(&[("a", "x")]), hash(&[("b", "x")]));
    assert_ne!(hash(&[("a", "xy"), ("b", "z")]), hash(&[("a", "x"), ("b", "yz")]));
    assert_eq!(hash(&[("b", "z"), ("a", "x")]), hash(&[("a", "x"), ("b", "z")]));
}

#[test]
fn credentials_are_used_by_weight_and_the_refused_are_left_out() {
    const DRAWS: u64 = 20_000;
    let usable = |weight, out_for_nanos, tried| Usable { weight, out_for_nanos, tried };
    let all = [usable(3.0, 0, false), usable(1.0, 0, false), usable(0.0, 0, false)];
    let first = (0..DRAWS).filter(|seed| choose(*seed, "vk", &all) == 0).count();
    within_three_sigma(first, DRAWS, 0.75);
    for seed in 0..100 {
        let one_left = [usable(3.0, 9, false), usable(1.0, 0, false), usable(1.0, 0, true)];
        assert_eq!(choose(seed, "vk", &one_left), 1);
        assert_eq!(choose(seed, "vk", &[usable(1.0, 9, false), usable(0.0, 0, false)]), 1);
        assert_eq!(choose(seed, "vk", &[usable(1.0, 9, false), usable(1.0, 5, false)]), 1);
        assert_eq!(choose(seed, "vk", &[usable(1.0, 9, false), usable(1.0, 0, true)]), 0);
    }
    assert_eq!(choose(1, "vk", &[]), 0);
    assert!(another_helps(401, &all) && another_helps(429, &all) && another_helps(403, &all));
    assert!(!another_helps(500, &all) && !another_helps(200, &all));
    assert!(!another_helps(401, &[usable(1.0, 0, true), usable(1.0, 5, false)]));
}

/// Gives a random policy random balances and watches.
fn enliven(policy: Policy, dice: &mut Dice) -> Policy {
    let mut root = policy.root;
    enliven_node(&mut root, dice, false);
    super::make::policy(root)
}

fn enliven_node(node: &mut Node, dice: &mut Dice, chosen: bool) {
    let conditional = matches!(node.kind, NodeKind::Conditional { .. });
    match &mut node.kind {
        NodeKind::Leaf(leaf) => {
            let breaker = (chosen && dice.chance(60)).then(breaker);
            let rate_limit_aware = chosen && dice.chance(40);
            leaf.watch = dice.chance(80).then_some(Watch {
                index: 0,
                breaker,
                rate_limit_aware,
                hedge: None,
            });
        }
        NodeKind::Single(child) => enliven_node(child, dice, true),
        NodeKind::LoadBalance { balance, targets } => {
            let by = |bounded| HashBy {
                fields: vec![HashField::Fact(Fact::Metadata("user".into()))],
                bytes_max: 64,
                bounded,
            };
            *balance = match dice.below(4) {
                0 => Balance::Weight,
                1 => Balance::Latency,
                kind => Balance::Hash(by(kind == 2)),
            };
            targets.iter_mut().for_each(|target| enliven_node(target, dice, true));
        }
        NodeKind::Fallback { targets, .. } | NodeKind::Conditional { targets, .. } => {
            targets.iter_mut().for_each(|target| enliven_node(target, dice, !conditional));
        }
    }
}

fn random_seen(dice: &mut Dice) -> Seen {
    Seen {
        breaker: dice.pick(&[Stage::Closed, Stage::Closed, Stage::HalfOpen, Stage::Open]),
        out_for_nanos: dice.pick(&[0, 0, 0, 5, 7, u64::MAX]),
        latency_nanos: dice.pick(&[0, 1, 1_000, 2_000, u64::MAX]),
        in_flight: dice.pick(&[0, 0, 1, 5, 1 << 40]),
    }
}

fn user(seed: u64) -> Vec<(String, String)> {
    vec![("user".to_owned(), seed.to_string())]
}

#[test]
fn random_policies_plan_alike_end_and_can_be_recalled() {
    for seed in 0..10_000 {
        let mut dice = Dice(seed ^ 0xca5e);
        let policy = enliven(random_policy(seed, 5), &mut dice);
        let snapshot = Snapshot::of(policy.watched.iter().map(|_| random_seen(&mut dice)));
        let (plan_seed, metadata) = (dice.roll(), user(dice.roll()));
        let facts = Facts { metadata: &metadata, ..Facts::default() };
        let drawn = plan_with(&policy, plan_seed, &facts, &snapshot);
        let again = plan_with(&policy, plan_seed, &facts, &snapshot);
        assert_eq!(order(&drawn), order(&again), "seed {seed}");

        // What the record holds is enough, without the request.
        let noted = snapshot.noted(&policy, drawn.hashed());
        let recalled = Snapshot::recalled(&policy, &noted.open_breakers, &noted.balance, &[]);
        let from_record = plan_with(&policy, plan_seed, &Facts::default(), &recalled);
        assert_eq!(order(&drawn), order(&from_record), "seed {seed}: {noted:?}");
        assert_eq!(drawn.skipped(), from_record.skipped(), "seed {seed}");

        let (tried, _) = super::make::walk_or_refusal(&drawn, 0, |_, _| status(500));
        let bound: u32 = drawn.leaves().map(|leaf| leaf.leaf.retry.attempts + 1).sum();
        assert!(tried.len() <= bound as usize, "seed {seed}: {} tries", tried.len());
        check_health(&policy.root, &drawn, &snapshot, seed);
    }
}

/// No target is planned whose breaker is open, or that is out of quota, while one beside it is better.
fn check_health(node: &Node, plan: &Plan<'_>, snapshot: &Snapshot, seed: u64) {
    let is_planned = |node: &Node| {
        let below = format!("{}.", node.path);
        plan.leaves().any(|leaf| leaf.path == node.path || leaf.path.starts_with(&below))
    };
    let conditional = matches!(node.kind, NodeKind::Conditional { .. });
    let balance = matches!(node.kind, NodeKind::LoadBalance { .. });
    let all: Vec<&Node> =
        node.children().iter().filter(|child| !balance || child.weight > 0.0).collect();
    for child in node.children() {
        if !conditional && is_planned(child) {
            let passable = |one: &&&Node| !snapshot.is_open(one);
            if snapshot.is_open(child) {
                assert_eq!(all.iter().filter(passable).count(), 0, "seed {seed}: {}", child.path);
            }
            let wait = snapshot.out_for_nanos(child);
            let others = all.iter().filter(passable).map(|one| snapshot.out_for_nanos(one));
            let least = others.min().unwrap_or(wait);
            assert!(wait == 0 || wait <= least, "seed {seed}: {} waits {wait}", child.path);
        }
        check_health(child, plan, snapshot, seed);
    }
}

#[test]
fn every_leaf_of_a_healthy_random_policy_is_reached_and_no_other() {
    for seed in 0..150 {
        let mut dice = Dice(seed ^ 0xbea7);
        let policy = enliven(random_policy(seed, 3), &mut dice);
        let mut expected = std::collections::HashSet::new();
        reachable(&policy.root, &mut expected);
        let mut seen = std::collections::HashSet::new();
        let healthy = Snapshot::of(policy.watched.iter().map(|_| Seen::default()));
        for _ in 0..20_000 {
            let metadata = user(dice.roll());
            let facts = Facts { metadata: &metadata, ..Facts::default() };
            let plan = plan_with(&policy, dice.roll(), &facts, &healthy);
            for path in order(&plan) {
                assert!(expected.contains(&path), "seed {seed}: {path}");
                seen.insert(path);
            }
            if seen.len() == expected.len() {
                break;
            }
        }
        assert_eq!(seen.len(), expected.len(), "seed {seed}: some leaf was never drawn");
    }
}

#[test]
fn what_asks_for_no_health_plans_as_before() {
    for seed in 0..1_000 {
        let policy = random_policy(seed, 4);
        assert!(policy.watched.is_empty());
        let plain = plan(&policy, seed, &Facts::default());
        let with = plan_with(&policy, seed, &Facts::default(), &Snapshot::default());
        assert_eq!(order(&plain), order(&with));
        assert!(with.skipped().is_empty() && with.hashed().is_empty());
    }
}

#[test]
fn a_walk_passes_over_and_repeats_at_once() {
    let policy = policy(fallback_on(&[429], vec![target(), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let mut walk_over = trunkline::policy::attempt::Walk::new(&plan);
    let now = Instant { nanos: 5 };
    walk_over.first();
    let step = walk_over.again_at_once(&status(401), now);
    let trunkline::policy::attempt::Step::Try { leaf, not_before, retry_number: 0 } = step else {
        panic!("{step:?}")
    };
    assert_eq!((leaf.path, not_before), ("config.targets[0]", now));
    assert!(walk_over.pass_over(now).is_some(), "whatever the codes say");
    assert!(walk_over.pass_over(now).is_none(), "there is none behind the last");
    walk_over.after(&status(503), now, 0);
    let shown = walk_over.shown().unwrap();
    assert_eq!((shown.leaf.path, shown.attempt), ("config.targets[1]", 1));
    let (tried, _) = walk(&plan, 0, |_, _| status(200));
    assert_eq!(paths(&tried), ["config.targets[0]"]);
}

#[test]
fn equal_hashes_land_on_equal_targets_whatever_the_seed() {
    let by = HashBy {
        fields: vec![HashField::Fact(Fact::Metadata("user".into()))],
        bytes_max: 64,
        bounded: false,
    };
    let mut root = balance((0..5).map(|_| (1.0, target())).collect());
    let NodeKind::LoadBalance { balance, .. } = &mut root.kind else { panic!() };
    *balance = Balance::Hash(by);
    let policy = policy(root);
    let mut homes = HashMap::new();
    for seed in 0..2_000 {
        let metadata = user(seed % 50);
        let facts = Facts { metadata: &metadata, ..Facts::default() };
        let home = order(&plan(&policy, seed, &facts));
        assert_eq!(homes.entry(seed % 50).or_insert_with(|| home.clone()), &home);
    }
    let drawn: std::collections::HashSet<_> =
        (0..200).map(|seed| order(&plan(&policy, seed, &Facts::default()))).collect();
    assert_eq!(drawn.len(), 5, "without the field each request is drawn anew");
}
