//! Shadow traffic: a copy goes to another target, and whatever becomes of it, the client never notices.

use serde_json::{Value, json};
use trunkline::{base::limits, wire::record::Record};

use super::{Gate, Setup, client, millis, secs};

/// Served by `a`, copied to `c`.
fn mirrored(provider: &'static str, sample: f64) -> Setup {
    let policy = json!({
        "virtual_key": "a",
        "mirror": {"target": {"virtual_key": "c", "override_params": {"model": "shadow"}}, "sample": sample},
    });
    Setup::new(1).target("c", provider).policy(policy)
}

/// The record of the exchange and that of its copy.
fn both(gate: &Gate) -> (Record, Record) {
    let mut records = gate.records();
    assert_eq!(records.len(), 2, "{records:?}");
    records.sort_by_key(|record| record.mirror);
    let copy = records.remove(1);
    (records.remove(0), copy)
}

#[test]
fn a_copy_goes_to_it_and_has_a_record_of_its_own() {
    for stream in [false, true] {
        for provider in ["openai", "anthropic"] {
            let gate = mirrored(provider, 1.0).open();
            let answer = gate.post(&client::chat("hi", stream));
            assert!(answer.is_whole() && answer.served_by() == "a", "{answer:?}");
            gate.world.run_for(secs(5));
            assert_eq!((gate.target("a").asked(), gate.target("c").asked()), (1, 1));
            let body: Value = serde_json::from_str(&gate.target("c").bodies()[0]).expect("JSON");
            assert_eq!(body["model"], "shadow");
            let (record, copy) = both(&gate);
            assert!(!record.mirror && record.virtual_key == "a" && record.attempts.len() == 1);
            assert!(copy.mirror && copy.virtual_key == "c" && copy.status == 200, "{copy:?}");
            assert_eq!(copy.trace_id, format!("{:032x}", record.request_id));
            assert_ne!(copy.request_id, record.request_id);
            assert_eq!(copy.attempts[0].target, "config.mirror.target");
            assert_eq!((copy.config.as_str(), copy.stream), ("main", stream));
            assert!(copy.usage.is_some() && copy.error_kind.is_empty(), "{copy:?}");
            assert_eq!((copy.client_bytes_in, copy.client_bytes_out), (0, 0));
            gate.close();
        }
    }
}

#[test]
fn a_slow_one_delays_nobody_and_is_given_up_in_time() {
    let gate = mirrored("openai", 1.0).file("timeouts: {first_byte: 20s}").open();
    gate.target("c").is("first_byte=1h");
    let answer = gate.stream("hi");
    assert!(answer.is_whole() && answer.took < millis(1), "{answer:?}");
    let record = gate.record();
    assert!(!record.mirror && record.error_kind.is_empty());
    gate.world.run_for(secs(25));
    let copy = gate.record();
    assert!(copy.mirror && copy.attempts[0].left == "timeout_first_byte", "{copy:?}");
    assert_eq!(gate.target("c").open(), 0);
    gate.close();
}

#[test]
fn a_broken_one_fails_nobody() {
    let prepares: [fn(&Gate); 5] = [
        |gate| gate.target("c").refuses(),
        |gate| gate.target("c").is("status=500"),
        |gate| gate.target("c").is("malformed=http"),
        |gate| gate.target("c").is("cut=300"),
        |gate| gate.target("c").is("error_event=1"),
    ];
    for (at, prepare) in prepares.into_iter().enumerate() {
        let gate = mirrored("openai", 1.0).open();
        prepare(&gate);
        let answer = gate.stream("hi");
        assert!(answer.is_whole() && answer.served_by() == "a", "{at}: {answer:?}");
        gate.world.run_for(secs(5));
        let (record, copy) = both(&gate);
        assert!(record.error_kind.is_empty() && record.status == 200, "{at}: {record:?}");
        assert!(copy.status == 500 || !copy.error_kind.is_empty(), "{at}: {copy:?}");
        gate.close();
    }
}

#[test]
fn only_the_share_that_is_asked_for_is_copied() {
    let gate = mirrored("openai", 0.25).open();
    for _ in 0..400 {
        assert!(gate.ask("hi").is_whole());
    }
    let copied = gate.target("c").asked();
    assert!((70..130).contains(&copied), "{copied} of 400");
    let none = mirrored("openai", 0.0).open();
    assert!((0..50).all(|_| none.ask("hi").is_whole()));
    assert_eq!(none.target("c").connections(), 0);
}

#[test]
fn no_more_than_a_bound_are_under_way() {
    let gate = mirrored("openai", 1.0).open();
    gate.target("c").is("first_byte=1h");
    for _ in 0..limits::MIRRORS_IN_FLIGHT_MAX + 5 {
        assert!(gate.ask("hi").is_whole());
    }
    assert_eq!(gate.target("c").open(), limits::MIRRORS_IN_FLIGHT_MAX);
    assert_eq!(gate.counters.mirrors_skipped.get(), 5);
    gate.world.run_for(secs(700));
    assert!(gate.ask("hi").is_whole());
    assert_eq!(gate.target("c").open(), 1, "there is room again");
    gate.close();
}

#[test]
fn without_memory_for_it_there_is_no_copy() {
    let setup = mirrored("openai", 1.0);
    let gate =
        setup.change(|config| config.limits.memory_bytes = limits::EXCHANGE_BYTES * 3 / 2).open();
    assert!(gate.ask("hi").is_whole());
    assert_eq!((gate.target("c").connections(), gate.counters.mirrors_skipped.get()), (0, 1));
    gate.close();
}

#[test]
fn a_client_that_leaves_and_a_drain_that_begins() {
    let gate = mirrored("openai", 1.0).open();
    gate.target("a").is("first_byte=1h");
    gate.target("c").is("first_byte=10s");
    let conn = gate.begin(&client::chat("hi", false), secs(1));
    drop(conn);
    gate.world.run_for(secs(1));
    assert!(gate.record().client_gone);
    assert_eq!(gate.target("c").open(), 1, "the copy is nobody's to cancel");
    gate.close();
    let copy = gate.record();
    assert!(copy.mirror && copy.error_kind == "overloaded", "{copy:?}");
}

#[test]
fn what_cannot_be_copied_is_not() {
    let gate = mirrored("openai", 1.0).open();
    gate.post(&client::post("/v1/files", "", &json!({"a": 1})));
    assert_eq!(gate.target("c").connections(), 0, "a route that Trunkline does not know");
    gate.records();
    let gate = mirrored("anthropic", 1.0).open();
    let mut body = client::chat_body("hi", false);
    body["n"] = json!(2);
    let answer = gate.post(&client::post("/v1/chat/completions", "", &body));
    assert_eq!(answer.status, 200);
    let (_, copy) = both(&gate);
    assert_eq!((copy.error_kind.as_str(), copy.attempts[0].left.as_str()), ("unfit", "unfit"));
    assert_eq!(gate.target("c").connections(), 0);
    gate.close();
}
