//! Retries of one target: how many, and when, in virtual time.

use std::time::Duration;

use serde_json::json;

use super::{Gate, Setup, millis, secs, target::*};

fn retrying(attempts: u32) -> Setup {
    Setup::new(3).policy(json!({"retry": {"attempts": attempts}, "virtual_key": "a"}))
}

/// The pauses between the requests that a target saw.
fn pauses(target: &Target) -> Vec<Duration> {
    target.times().windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

fn assert_backs_off(pauses: &[Duration], waits: &[u64]) {
    assert_eq!(pauses.len(), waits.len(), "{pauses:?}");
    for (pause, wait) in pauses.iter().zip(waits) {
        let (least, most) = (secs(*wait), secs(*wait).mul_f64(1.2) + millis(10));
        assert!((least..=most).contains(pause), "{pauses:?}");
    }
}

#[test]
fn tries_again_after_one_two_and_four_seconds() {
    let gate = retrying(3).open();
    gate.target("a").is("status=503");
    let answer = gate.ask("hi");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-portkey-retry-attempt-count"), Some("-1"));
    assert_backs_off(&pauses(gate.target("a")), &[1, 2, 4]);
    assert_eq!(gate.record().attempts.len(), 4);
    gate.close();
}

#[test]
fn stops_at_the_first_good_answer() {
    let gate = retrying(5).open();
    gate.target("a").first_is("status=500");
    gate.target("a").first_is("cut=0");
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "a");
    assert_eq!(answer.header("x-portkey-retry-attempt-count"), Some("2"));
    assert_backs_off(&pauses(gate.target("a")), &[1, 2]);
    gate.close();
}

#[test]
fn a_stream_that_breaks_before_its_content_is_tried_again() {
    let gate = retrying(2).open();
    gate.target("a").first_is("error_event=0");
    gate.target("a").first_does([Act::Hear, Act::say(STREAM_HEAD), Act::say(role())]);
    let answer = gate.stream("hi");
    assert!(answer.is_whole());
    assert_eq!(answer.said(), "a says five words");
    assert_eq!(gate.target("a").asked(), 3);
}

#[test]
fn a_refusal_that_no_retry_mends_is_not_tried_again() {
    let gate = retrying(3).open();
    gate.target("a").is("status=400");
    assert_eq!(gate.ask("hi").status, 400);
    assert_eq!(gate.target("a").asked(), 1);
}

#[test]
fn retry_after_sets_the_wait_where_the_config_says_so() {
    let retry = json!({"attempts": 2, "use_retry_after_header": true});
    let gate = Setup::new(3).policy(json!({"retry": retry, "virtual_key": "a"})).open();
    gate.target("a").first_is("status=429&retry_after=17");
    assert_eq!(gate.ask("hi").served_by(), "a");
    let pauses = pauses(gate.target("a"));
    assert!((secs(17)..secs(18)).contains(&pauses[0]), "{pauses:?}");
}

#[test]
fn each_target_of_a_fallback_has_its_own_retries() {
    let gate = Setup::new(3)
        .policy(json!({
            "strategy": {"mode": "fallback"},
            "targets": [
                {"virtual_key": "a", "retry": {"attempts": 2}},
                {"virtual_key": "b", "retry": {"attempts": 1}},
            ],
        }))
        .open();
    gate.target("a").refuses();
    gate.target("b").first_is("status=502");
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "b");
    let targets: Vec<_> = gate.record().attempts.into_iter().map(|a| a.virtual_key).collect();
    assert_eq!(targets, ["a", "a", "a", "b", "b"]);
    assert!((secs(4)..secs(6)).contains(&answer.took), "1 + 2 + 1 s: {:?}", answer.took);
}

#[test]
fn the_total_deadline_bounds_the_chain() {
    let gate = Setup::new(3)
        .file("timeouts: {total: 10s, first_byte: 4s}")
        .policy(json!({
            "strategy": {"mode": "fallback"},
            "targets": [
                {"virtual_key": "a", "retry": {"attempts": 1}},
                {"virtual_key": "b"}, {"virtual_key": "a"}, {"virtual_key": "b"},
            ],
        }))
        .open();
    gate.target("a").is("first_byte=1h");
    gate.target("b").is("first_byte=1h");
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.error().as_deref()), (408, Some("timeout_error")));
    assert!((secs(10)..millis(10_100)).contains(&answer.took), "{:?}", answer.took);
    // 4 s, 1 s of back-off, 4 s, and the rest of the ten: then no further target is asked.
    let (a, b) = (gate.target("a").asked(), gate.target("b").asked());
    assert_eq!((a, b), (2, 1));
    assert_eq!(gate.record().attempts.len(), 3);
    gate.close();
}

#[test]
fn the_total_deadline_bounds_a_wait_for_a_retry() {
    let gate = retrying(5).file("timeouts: {total: 5s}").open();
    gate.target("a").is("status=503");
    let answer = gate.ask("hi");
    assert!((secs(1)..millis(5100)).contains(&answer.took), "{:?}", answer.took);
    assert!(answer.is_error());
    assert_eq!(gate.target("a").asked(), 3, "after 1 and 2 s, the wait of 4 s is too long");
}

#[test]
fn the_total_deadline_bounds_a_stream() {
    let gate = Setup::new(3).file("timeouts: {total: 10s}").open();
    gate.target("a").is("chunks=100&interval=1s");
    let answer = gate.stream("hi");
    assert!(answer.is_error() && !answer.is_whole(), "{answer:?}");
    assert!((secs(10)..millis(10_100)).contains(&answer.took), "{:?}", answer.took);
    assert_eq!(gate.target("b").asked(), 0);
    assert!(gate.record().truncated);
    gate.close();
}

#[test]
fn a_worlds_retries_are_the_same_for_a_seed() {
    let run = |seed| {
        let gate = Setup { seed, ..retrying(3) }.open();
        gate.target("a").is("status=503");
        gate.ask("hi");
        pauses(gate.target("a"))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let _ = Gate::new(1);
}
