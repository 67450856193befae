//! Upstream connections that are used again: what may be, what may not, and what happens when one has died.

use super::{Gate, client::chat, millis, secs, target::*};

#[test]
fn one_connection_serves_many_requests() {
    let gate = Gate::new(1);
    for _ in 0..3 {
        assert_eq!(gate.ask("hi").served_by(), "a");
        assert!(gate.stream("hi").is_whole());
    }
    assert_eq!((gate.target("a").connections(), gate.target("a").asked()), (1, 6));
    assert_eq!(gate.counters.upstream_reused.get(), 5);
    gate.close();
}

#[test]
fn one_that_said_close_does_not() {
    let gate = Gate::new(1);
    gate.target("a").is("keep_alive=off");
    gate.ask("hi");
    gate.ask("hi");
    assert_eq!(gate.target("a").connections(), 2);
    assert_eq!(gate.counters.upstream_reused.get(), 0);
}

#[test]
fn one_that_died_while_it_idled_is_replaced() {
    let gate = Gate::new(1);
    gate.target("a").is("keep_alive=drop");
    for _ in 0..3 {
        assert_eq!(gate.ask("hi").served_by(), "a");
        gate.world.run_for(secs(1));
    }
    assert_eq!(gate.records().iter().map(|record| record.attempts.len()).max(), Some(1));
}

#[test]
fn one_that_dies_under_the_request_is_replaced_once() {
    let gate = Gate::new(1);
    // The second request meets a peer that closes without a word: it may have been closing when it was sent.
    gate.target("a").first_does([Act::Hear, Act::say(plain("a first")), Act::Hear]);
    assert_eq!(gate.ask("hi").said(), "a first");
    assert_eq!(gate.ask("hi").said(), "a says five words");
    assert_eq!(gate.target("a").connections(), 2);
    assert_eq!(gate.records()[1].attempts.len(), 1);
    gate.close();
}

#[test]
fn one_that_fails_after_long_work_is_a_failure() {
    let gate = Gate::new(1);
    let acts = [Act::Hear, Act::say(plain("a first")), Act::Hear, Act::Wait(secs(60))];
    gate.target("a").first_does(acts);
    assert_eq!(gate.ask("hi").said(), "a first");
    // It had the request and worked on it: to send it once more is the policy's decision.
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!((gate.target("a").asked(), gate.target("a").connections()), (2, 1));
}

#[test]
fn unsolicited_bytes_are_nobodys_answer() {
    let gate = Gate::new(1);
    let acts =
        [Act::Hear, Act::say(plain("a first")), Act::Wait(secs(1)), Act::say(plain("a evil"))];
    gate.target("a").first_does(acts.into_iter().chain([Act::Stall]));
    assert_eq!(gate.ask("hi").said(), "a first");
    gate.world.run_for(secs(2));
    assert_eq!(gate.ask("hi").said(), "a says five words");
    gate.close();
}

#[test]
fn bytes_behind_an_answer_are_nobodys_answer() {
    let gate = Gate::new(1);
    gate.target("a").first_does([
        Act::Hear,
        Act::say(plain("a first") + &plain("a evil")),
        Act::Stall,
    ]);
    assert_eq!(gate.ask("hi").said(), "a first");
    assert_eq!(gate.ask("hi").said(), "a says five words");
    assert_eq!(gate.target("a").open(), 1);
}

#[test]
fn idle_ones_are_closed_after_a_while() {
    let gate = Gate::new(1);
    gate.ask("hi");
    gate.world.run_for(secs(50));
    assert_eq!(gate.target("a").open(), 1);
    gate.world.run_for(secs(15));
    assert_eq!(gate.target("a").open(), 0);
}

#[test]
fn the_connection_of_an_error_that_was_passed_on_serves_again() {
    let gate = Gate::new(1);
    for name in ["a", "b"] {
        gate.target(name).is("status=429");
    }
    gate.ask("hi");
    gate.ask("hi");
    assert_eq!((gate.target("b").asked(), gate.target("b").connections()), (2, 1));
}

#[test]
fn one_whose_client_left_does_not_serve_again() {
    let gate = Gate::new(1);
    gate.target("a").is("interval=1s");
    drop(gate.begin(&chat("hi", true), millis(1500)));
    gate.world.run_for(millis(10));
    assert_eq!(gate.target("a").open(), 0);
    assert!(gate.stream("hi").is_whole());
    assert_eq!(gate.target("a").connections(), 2);
}
