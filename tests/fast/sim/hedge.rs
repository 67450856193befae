//! Hedges: a second try beside one that is slow. Whoever is faster is the answer, the other is gone at once, the record
//! has both, and there are never more than the budget has.

use serde_json::{Value, json};
use trunkline::{sandbox::dice::Dice, wire::record::Record};

use super::{Setup, client, millis, secs, target::*};
use crate::world::Link;

/// `a`, then `b`, with this hedge; every try earns a whole one.
fn hedged(after: &str) -> Setup {
    Setup::new(1).policy(policy(after, 1.0))
}

fn policy(after: &str, max_ratio: f64) -> Value {
    json!({
        "strategy": {"mode": "fallback"},
        "hedge": {"after": after, "max_ratio": max_ratio},
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
    })
}

/// Target, role and why it was left, of each attempt.
fn attempts(record: &Record) -> Vec<(&str, &str, &str)> {
    record.attempts.iter().map(|a| (&*a.virtual_key, &*a.role, &*a.left)).collect()
}

#[test]
fn a_slow_first_is_overtaken_and_let_go() {
    for stream in [false, true] {
        let gate = hedged("2s").open();
        gate.target("a").is("first_byte=1h");
        gate.target("b").is("first_byte=1s");
        let answer = gate.post(&client::chat("hi", stream));
        assert!(answer.is_whole(), "{answer:?}");
        assert_eq!(answer.served_by(), "b");
        assert!(secs(3) <= answer.took && answer.took < millis(3100), "{answer:?}");
        assert_eq!(answer.header("x-portkey-last-used-option-index"), Some("config.targets[1]"));
        let record = gate.record();
        assert_eq!(attempts(&record), [("a", "", "hedge_lost"), ("b", "hedge", "")]);
        assert!(record.hedged && record.virtual_key == "b" && record.error_kind.is_empty());
        assert_eq!((record.attempts[0].status, record.attempts[1].status), (0, 200));
        let (first, second) = (&record.attempts[0], &record.attempts[1]);
        assert!(first.ended >= second.started && second.ended >= first.ended, "{record:?}");
        assert_eq!(gate.target("a").open(), 0, "the loser was let go");
        gate.close();
    }
}

#[test]
fn a_first_that_is_faster_after_all_wins() {
    for stream in [false, true] {
        let gate = hedged("2s").open();
        gate.target("a").is("first_byte=3s");
        gate.target("b").is("first_byte=1h");
        let answer = gate.post(&client::chat("hi", stream));
        assert_eq!(answer.served_by(), "a");
        assert!(answer.is_whole() && answer.took < millis(3100), "{answer:?}");
        let record = gate.record();
        assert_eq!(attempts(&record), [("b", "hedge", "hedge_lost"), ("a", "", "")]);
        assert!(record.hedged && record.virtual_key == "a");
        assert_eq!(gate.target("b").open(), 0);
        gate.close();
    }
}

#[test]
fn the_first_token_decides_and_not_the_first_byte() {
    let gate = hedged("2s").open();
    let pause = [Act::Wait(secs(60)), Act::say(word("a")), Act::say(ending())];
    let head = [Act::Hear, Act::say(STREAM_HEAD), Act::say(role())];
    gate.target("a").does(head.into_iter().chain(pause));
    let answer = gate.stream("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(answer.is_whole() && answer.took < millis(2100), "{answer:?}");
    let record = gate.record();
    assert_eq!(attempts(&record)[0], ("a", "", "hedge_lost"));
    assert_eq!(record.attempts[0].status, 200, "its head had come");
}

#[test]
fn a_fast_first_is_not_hedged() {
    let gate = hedged("2s").open();
    for _ in 0..5 {
        assert_eq!(gate.stream("hi").served_by(), "a");
    }
    assert_eq!(gate.target("b").connections(), 0);
    assert!(gate.records().iter().all(|record| !record.hedged && record.attempts.len() == 1));
    gate.close();
    // Once content is out, however long the rest takes.
    let gate = hedged("2s").open();
    gate.target("a").is("interval=10s");
    let answer = gate.stream("hi");
    assert!(answer.is_whole() && answer.took > secs(10));
    assert_eq!(gate.target("b").connections(), 0);
    assert_eq!(gate.target("a").connections(), 1, "and its connection is kept");
    gate.close();
}

#[test]
fn without_another_target_the_same_is_asked_again() {
    let policy = json!({"virtual_key": "a", "hedge": {"after": "2s", "max_ratio": 1}});
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").first_is("first_byte=1h");
    let answer = gate.stream("hi");
    assert!(answer.is_whole() && answer.took < millis(2100), "{answer:?}");
    let record = gate.record();
    assert_eq!(attempts(&record), [("a", "", "hedge_lost"), ("a", "hedge", "")]);
    gate.close();
}

#[test]
fn a_first_that_fails_leaves_the_hedge_to_answer() {
    let gate = hedged("2s").open();
    gate.target("a").is("first_byte=3s&status=503");
    gate.target("b").is("first_byte=5s");
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(secs(7) <= answer.took && answer.took < millis(7100), "{answer:?}");
    let record = gate.record();
    assert_eq!(attempts(&record), [("a", "", "status"), ("b", "hedge", "")]);
    assert_eq!(gate.target("b").asked(), 1);
}

#[test]
fn a_hedge_that_fails_changes_nothing() {
    let gate = hedged("2s").open();
    gate.target("a").is("first_byte=9s");
    gate.target("b").is("status=503");
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "a");
    assert!(secs(9) <= answer.took && answer.took < millis(9100), "{answer:?}");
    let record = gate.record();
    assert_eq!(attempts(&record), [("b", "hedge", "status"), ("a", "", "")]);
    gate.close();
}

#[test]
fn when_both_fail_the_walk_goes_on_as_without_a_hedge() {
    let gate = hedged("2s").open();
    gate.target("a").is("first_byte=4s&status=500");
    gate.target("b").is("first_byte=1s&status=503");
    let answer = gate.ask("hi");
    assert_eq!(answer.status, 503, "the last answer: {answer:?}");
    let record = gate.record();
    let all = attempts(&record);
    assert_eq!(all, [("b", "hedge", "status"), ("a", "", "status"), ("b", "", "status")]);
    gate.close();
}

#[test]
fn the_total_bounds_both() {
    for policy in
        [policy("2s", 1.0), json!({"virtual_key": "a", "hedge": {"after": "2s", "max_ratio": 1}})]
    {
        let gate = Setup::new(1).file("timeouts: {total: 5s}").policy(policy).open();
        gate.target("a").is("first_byte=1h");
        gate.target("b").is("first_byte=1h");
        let answer = gate.stream("hi");
        assert_eq!((answer.status, answer.error().as_deref()), (408, Some("timeout_error")));
        assert!(secs(5) <= answer.took && answer.took < millis(5100), "{answer:?}");
        let record = gate.record();
        assert_eq!(record.error_kind, "timeout_total");
        assert!(record.attempts.iter().all(|one| one.left == "timeout_total"), "{record:?}");
        assert_eq!(record.attempts.len(), 2);
        gate.close();
    }
}

#[test]
fn a_client_that_leaves_takes_both_with_it() {
    let far = Link { latency: millis(10), ..Link::default() };
    let gate = hedged("2s").links(far, far).open();
    gate.target("a").is("first_byte=1h");
    gate.target("b").is("first_byte=1h");
    let conn = gate.begin(&client::chat("hi", true), secs(3));
    assert_eq!((gate.target("a").open(), gate.target("b").open()), (1, 1));
    drop(conn);
    gate.world.run_for(millis(50));
    assert_eq!((gate.target("a").open(), gate.target("b").open()), (0, 0));
    let record = gate.record();
    assert!(record.client_gone && record.attempts.len() == 2, "{record:?}");
    gate.close();
}

#[test]
fn the_loser_hears_of_it_within_a_round_trip() {
    let far = Link { latency: millis(20), ..Link::default() };
    let gate = hedged("2s").links(Link::default(), far).open();
    gate.target("a").is("first_byte=1h");
    // Its head is back 80 ms after the hedge began: a connect and a request, each there and back.
    let mut conn = gate.begin(&client::chat("hi", true), millis(2070));
    assert_eq!((gate.target("a").open(), gate.target("b").open()), (1, 1));
    gate.world.run_for(millis(10 + 5 + 40));
    assert_eq!(gate.target("a").open(), 0);
    let answer = gate.run(async move { conn.answer().await });
    assert_eq!(answer.served_by(), "b");
}

#[test]
fn no_more_than_the_budget_has() {
    let gate = Setup::new(1).policy(policy("1s", 0.05)).open();
    gate.target("a").is("first_byte=2s");
    for _ in 0..200 {
        assert!(gate.ask("hi").is_whole());
    }
    let records = gate.records();
    let hedged = records.iter().filter(|record| record.hedged).count();
    assert_eq!((hedged, gate.target("b").asked()), (10, 10), "a twentieth of 200");
    assert!(!records[..19].iter().any(|record| record.hedged), "the first is earned by then");
    gate.close();
}

#[test]
fn what_stays_at_an_upstream_is_not_sent_twice() {
    for (path, extra) in [
        ("/v1/chat/completions", json!({"store": true})),
        ("/v1/responses", json!({"input": "hi"})),
        ("/v1/responses", json!({"input": "hi", "store": false, "background": true})),
        ("/v1/files", json!({"input": "hi"})),
    ] {
        let gate = hedged("2s").open();
        gate.target("a").is("first_byte=3s");
        let mut body = client::chat_body("hi", false);
        for (key, value) in extra.as_object().expect("a map") {
            body[key] = value.clone();
        }
        gate.post(&client::post(path, "", &body));
        assert!(!gate.record().hedged, "{path} {extra}");
    }
}

#[test]
fn a_target_that_is_open_is_no_hedge() {
    let breaker = json!({"failure_threshold": 1, "cooldown_interval": 60_000});
    let mut policy = policy("1s", 1.0);
    policy["cb_config"] = breaker;
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").is("first_byte=2s");
    gate.target("b").is("status=503");
    assert_eq!(gate.ask("hi").served_by(), "a");
    assert_eq!(gate.target("b").asked(), 1, "its failure opens its breaker");
    assert_eq!(gate.ask("hi").served_by(), "a");
    assert_eq!(gate.target("b").asked(), 1);
    gate.close();
}

#[test]
fn p95_is_learnt_from_the_targets_own_answers() {
    let gate = Setup::new(1).policy(policy("p95", 1.0)).open();
    gate.target("a").first_is("first_byte=5s");
    assert!(gate.ask("hi").took >= secs(5), "nothing is known yet");
    gate.target("a").is("first_byte=100ms");
    for _ in 0..30 {
        assert!(gate.ask("hi").is_whole());
    }
    assert_eq!(gate.target("b").connections(), 0);
    gate.world.run_for(secs(300)); // its connection is not kept as long
    gate.target("a").is("first_byte=5s");
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(millis(100) <= answer.took && answer.took < millis(150), "{answer:?}");
}

/// The figure: an upstream whose slowest twentieth takes ten times as long. Time to the first token of 4000 streams, one
/// after another, and what the upstream was asked for each.
fn first_tokens(hedge: Option<Value>) -> (Vec<u64>, f64) {
    let mut policy = json!({"virtual_key": "a"});
    if let Some(hedge) = hedge {
        policy["hedge"] = hedge;
    }
    let gate = Setup::new(7).policy(policy).open();
    let a = gate.target("a");
    let mut dice = Dice::new(99);
    // One connection a request, each with a wait of its own.
    let mut drawn = 0;
    let mut times: Vec<u64> = (0..STREAMS)
        .map(|_| {
            while drawn < a.connections() + 2 {
                let usual = 80 + dice.below(40);
                let wait = if dice.strikes(0.05) { usual * 10 } else { usual };
                a.first_is(&format!("first_byte={wait}ms"));
                drawn += 1;
            }
            assert!(gate.stream("hi").is_whole());
            gate.record().times.first_token
        })
        .collect();
    times.sort_unstable();
    (times, a.asked() as f64 / STREAMS as f64)
}

#[test]
fn the_slowest_of_a_hundred_come_in_two_fifths_of_the_time_for_a_twentieth_more_requests() {
    let p99 = |times: &[u64]| times[times.len() * 99 / 100];
    let (plain, one_each) = first_tokens(None);
    assert_eq!(one_each, 1.0);
    for after in ["200ms", "p95"] {
        let (hedged, asked) = first_tokens(Some(json!({"after": after, "max_ratio": 0.05})));
        let (before, now) = (p99(&plain) / 1_000_000, p99(&hedged) / 1_000_000);
        println!("after {after}: p99 {before} ms without, {now} ms with; {asked} requests each");
        assert!(now * 10 <= before * 4, "after {after}: {before} ms without, {now} ms with");
        assert!(asked <= 1.06, "after {after}: {asked} requests each");
        assert!(hedged[hedged.len() / 2] <= plain[plain.len() / 2] * 11 / 10);
    }
}

const STREAMS: usize = 4000;
