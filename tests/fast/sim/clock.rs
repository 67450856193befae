//! The civil clock is set while requests are under way: it says when they were, never how long they took.

use serde_json::json;

use super::{Gate, Setup, client, millis, secs};

/// Ahead by a year, and back by more than a year: before the world began.
const JUMPS: [i64; 2] = [31_536_000, -50_000_000];

#[test]
fn a_stream_and_its_record_do_not_notice() {
    for jump in JUMPS {
        let gate = Gate::new(1);
        gate.target("a").is("chunks=10&interval=1s");
        let mut conn = gate.begin(&client::chat("hi", true), millis(2500));
        gate.world.net().set_clock_by(jump);
        let answer = gate.run(async move { conn.answer().await });
        assert!(answer.is_whole(), "{answer:?}");
        let record = gate.record();
        let seconds = record.times.flushed / 1_000_000_000;
        assert!((8..12).contains(&seconds), "{jump}: {record:?}");
        assert!(record.times.first_token < record.times.last_byte, "{record:?}");
        gate.close();
    }
}

#[test]
fn deadlines_and_back_off_do_not_notice() {
    for jump in JUMPS {
        let policy = json!({"retry": {"attempts": 1}, "virtual_key": "a"});
        let gate = Setup::new(1).policy(policy).file("timeouts: {first_byte: 20s}").open();
        gate.target("a").first_is("status=503");
        gate.target("a").is("first_byte=1h");
        let mut conn = gate.begin(&client::chat("hi", false), millis(500));
        let begun = gate.now();
        gate.world.net().set_clock_by(jump);
        let answer = gate.run(async move { conn.answer().await });
        assert_eq!(answer.status, 408, "{answer:?}");
        let took = gate.now().since(begun);
        assert!(secs(20) < took && took < secs(22), "{jump}: {took:?}");
        gate.close();
    }
}

#[test]
fn idle_upstream_connections_neither_age_nor_grow_young() {
    for jump in JUMPS {
        let gate = Gate::new(1);
        gate.ask("hi");
        gate.world.net().set_clock_by(jump);
        gate.ask("hi");
        assert_eq!(gate.target("a").connections(), 1, "{jump}");
        gate.world.run_for(secs(70));
        assert_eq!(gate.target("a").open(), 0, "{jump}");
    }
}

#[test]
fn an_api_key_expires_by_the_civil_clock() {
    // The SHA-256 of "test".
    let keys = "api_keys: [{name: k, expires: 2026-06-01T00:00:00Z, config: main, key_sha256: \
                9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}]";
    let gate = Setup::new(1).file(keys).open();
    let body = client::chat_body("hi", false);
    let request = client::post("/v1/chat/completions", "authorization: Bearer test\r\n", &body);
    assert_eq!(gate.post(&request).status, 200);
    gate.world.net().set_clock_by(JUMPS[0]);
    assert_eq!(gate.post(&request).status, 401);
    gate.world.net().set_clock_by(-JUMPS[0]);
    assert_eq!(gate.post(&request).status, 200);
    gate.close();
}

#[test]
fn the_record_says_when_by_the_clock_of_that_moment() {
    let gate = Gate::new(1);
    gate.ask("hi");
    gate.world.net().set_clock_by(JUMPS[1]);
    gate.ask("hi");
    let at: Vec<_> = gate.records().iter().map(|r| r.accepted_unix_nanos / 1_000_000_000).collect();
    assert_eq!(at[0] as i64 - at[1] as i64, -JUMPS[1]);
}
