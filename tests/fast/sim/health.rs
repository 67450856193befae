//! What answers teach: breakers that open and try again, slow targets that are left alone, quotas, credentials.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use trunkline::{
    base::{secret::Secret, units::Instant},
    config::{Config, PooledCredential},
    io::hub::{Epoch, Hub},
    policy::breaker::Counts,
    serve::health::Health,
    wire::record::Record,
};

use super::{Gate, Setup, answer::Answer, client, client::Conn, secs, target::*, trust};

fn guarded(mode: &str, breaker: Value) -> Setup {
    Setup::new(5).policy(json!({
        "strategy": {"mode": mode, "cb_config": breaker},
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
    }))
}

fn three_failures() -> Value {
    json!({"failure_threshold": 3, "cooldown_interval": 30_000})
}

#[test]
fn a_target_that_fails_thrice_is_left_alone_and_tried_again_after_the_cooldown() {
    let gate = guarded("fallback", three_failures()).open();
    gate.target("a").is("status=503&keep_alive=off");
    for _ in 0..10 {
        assert_eq!(gate.ask("hi").served_by(), "b");
    }
    assert_eq!(gate.target("a").asked(), 3);
    let records = gate.records();
    assert!(records[2].open_breakers.is_empty());
    assert_eq!(records[3].open_breakers, ["config.targets[0]"]);
    assert_eq!(records[3].attempts.len(), 1);

    gate.world.run_for(secs(31));
    assert_eq!(gate.ask("hi").served_by(), "b", "the probe failed");
    assert_eq!(gate.target("a").asked(), 4);
    assert_eq!(gate.record().balance, [("config.targets[0] half_open".to_owned(), 1)]);
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(gate.target("a").asked(), 4, "open for another cooldown");

    gate.world.run_for(secs(31));
    gate.target("a").is("keep_alive=off");
    assert_eq!(gate.ask("hi").served_by(), "a");
    assert_eq!(gate.ask("hi").served_by(), "a", "closed");
    gate.close();
}

#[test]
fn one_request_at_a_time_tries_a_target_that_is_half_open() {
    let gate = guarded("fallback", three_failures()).open();
    gate.target("a").is("status=503&keep_alive=off");
    for _ in 0..3 {
        gate.ask("hi");
    }
    gate.world.run_for(secs(31));
    gate.target("a").is("first_byte=5s&keep_alive=off");
    let probe = gate.begin(&client::chat("hi", false), secs(1));
    let asked = gate.target("a").asked();
    for _ in 0..5 {
        assert_eq!(gate.ask("hi").served_by(), "b");
    }
    assert_eq!(gate.target("a").asked(), asked);
    assert_eq!(finish(&gate, probe).served_by(), "a");
    gate.target("a").is("keep_alive=off");
    assert_eq!(gate.ask("hi").served_by(), "a");

    // A probe whose client goes away says nothing: the next request tries.
    gate.target("a").is("status=503&keep_alive=off");
    for _ in 0..3 {
        gate.ask("hi");
    }
    gate.world.run_for(secs(31));
    gate.target("a").is("first_byte=5s&keep_alive=off");
    drop(gate.begin(&client::chat("hi", false), secs(1)));
    gate.world.run_for(secs(1));
    gate.target("a").is("keep_alive=off");
    assert_eq!(gate.ask("hi").served_by(), "a");
    gate.close();
}

/// What a target learns from is the end of its answer, and not where the client began to get it.
#[test]
fn a_target_that_is_half_open_is_tried_for_as_long_as_its_stream_is_open() {
    for (script, next) in [("interval=3s", "a"), ("interval=3s&error_event=2", "b")] {
        let gate = guarded("fallback", three_failures()).open();
        gate.target("a").is("status=503&keep_alive=off");
        (0..3).for_each(|_| drop(gate.ask("hi")));
        gate.world.run_for(secs(31));
        gate.target("a").is(&format!("{script}&keep_alive=off"));
        let probe = gate.begin(&client::chat("hi", true), secs(2));
        let asked = gate.target("a").asked();
        (0..3).for_each(|_| assert_eq!(gate.ask("hi").served_by(), "b", "{script}"));
        assert_eq!(gate.target("a").asked(), asked, "the stream is open");
        let answer = finish(&gate, probe);
        assert_eq!((answer.status, answer.is_whole()), (200, next == "a"), "{answer:?}");
        gate.target("a").is("keep_alive=off");
        assert_eq!(gate.ask("hi").served_by(), next, "{script}");
        gate.close();
    }
}

fn finish(gate: &Gate, mut conn: Conn) -> Answer {
    gate.run(async move { conn.answer().await })
}

#[test]
fn when_all_are_open_none_is_left_out() {
    let gate = guarded("fallback", three_failures()).open();
    gate.target("a").is("status=503&keep_alive=off");
    gate.target("b").is("status=500&keep_alive=off");
    for _ in 0..5 {
        assert_eq!(gate.ask("hi").status, 500);
    }
    assert_eq!((gate.target("a").asked(), gate.target("b").asked()), (5, 5));
    let records = gate.records();
    assert_eq!(records[4].open_breakers, ["config.targets[0]", "config.targets[1]"]);
    gate.target("b").is("keep_alive=off");
    assert_eq!(gate.ask("hi").served_by(), "b");
}

#[test]
fn a_share_of_failures_opens_from_enough_requests_on() {
    let share = json!({
        "failure_threshold_percentage": 50, "minimum_requests": 8, "cooldown_interval": 30_000,
        "failure_status_codes": [429],
    });
    let gate = guarded("fallback", share).open();
    gate.target("a").is("keep_alive=off");
    for round in 0..4 {
        gate.target("a").first_is("status=429");
        gate.ask("hi");
        assert_eq!(gate.ask("hi").served_by(), "a", "round {round}");
        gate.world.run_for(secs(1));
    }
    gate.target("a").first_is("status=429");
    gate.ask("hi");
    assert_eq!(gate.ask("hi").served_by(), "b", "5 of 9");
    let other = guarded("fallback", three_failures()).open();
    other.target("a").is("status=429");
    (0..6).for_each(|_| drop(other.ask("hi")));
    assert_eq!(other.target("a").asked(), 6, "a 429 is no failure unless it is listed");
}

#[test]
fn retries_of_one_request_are_one_failure() {
    let policy = json!({
        "strategy": {"mode": "fallback"}, "cb_config": three_failures(),
        "targets": [{"virtual_key": "a", "retry": {"attempts": 2}}, {"virtual_key": "b"}],
    });
    let gate = Setup::new(5).policy(policy).open();
    gate.target("a").is("status=503&keep_alive=off");
    gate.ask("hi");
    gate.ask("hi");
    assert_eq!(gate.target("a").asked(), 6);
    gate.ask("hi");
    gate.ask("hi");
    assert_eq!(gate.target("a").asked(), 9);
}

#[test]
fn the_slow_target_gets_little_until_it_is_fast_again() {
    let gate = Setup::new(9)
        .policy(json!({
            "strategy": {"mode": "latency"},
            "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
        }))
        .open();
    gate.target("a").is("first_byte=2s");
    gate.target("b").is("first_byte=100ms");
    for _ in 0..60 {
        gate.ask("hi");
    }
    let slow = gate.target("a").asked();
    assert!((1..=12).contains(&slow), "{slow} of 60 went to the slow one");
    let record = gate.records().pop().expect("a record");
    let labels: Vec<&str> = record.balance.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["config.targets[0] latency", "config.targets[1] latency"]);
    gate.target("a").is("first_byte=10ms");
    gate.world.run_for(secs(60));
    for _ in 0..60 {
        gate.ask("hi");
    }
    assert!(gate.target("a").asked() >= slow + 40, "it is the faster one now");
    gate.close();
}

#[test]
fn a_target_that_fails_fast_does_not_look_fast() {
    let gate = Setup::new(9)
        .policy(json!({
            "strategy": {"mode": "latency"},
            "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
        }))
        .open();
    gate.target("a").refuses();
    gate.target("b").is("first_byte=300ms");
    let failed = (0..50).filter(|_| gate.ask("hi").status != 200).count();
    assert!(failed <= 3, "{failed} of 50");
}

/// An answer with these further header lines.
fn with_headers(status: &str, headers: &str) -> String {
    let body = plain_body("a says so");
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}connection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_target_without_quota_is_passed_over_until_its_reset() {
    let aware = json!({
        "strategy": {"mode": "fallback"}, "rate_limit_aware": true,
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
    });
    let used_up = "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m0s\r\n";
    for (answer, served) in [
        (with_headers("200 OK", used_up), "a"),
        (with_headers("429 Too Many", "retry-after: 60\r\n"), "b"),
        (
            with_headers(
                "200 OK",
                "anthropic-ratelimit-tokens-remaining: 0\r\nanthropic-ratelimit-tokens-reset: 2026-01-01T00:01:00Z\r\n",
            ),
            "a",
        ),
    ] {
        let gate = Setup::new(5).policy(aware.clone()).open();
        gate.target("a").first_does([Act::Hear, Act::say(&*answer)]);
        assert_eq!(gate.ask("hi").served_by(), served, "{answer}");
        gate.records();
        gate.world.run_for(secs(50));
        assert_eq!(gate.ask("hi").served_by(), "b");
        let record = gate.record();
        assert_eq!(record.attempts.len(), 1);
        assert_eq!(record.balance[0].0, "config.targets[0] out_for");
        gate.world.run_for(secs(11));
        assert_eq!(gate.ask("hi").served_by(), "a");
        gate.close();
    }
}

#[test]
fn when_all_are_out_of_quota_the_first_to_have_some_is_tried() {
    let gate = Setup::new(5)
        .policy(json!({
            "strategy": {"mode": "fallback"}, "rate_limit_aware": true,
            "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
        }))
        .open();
    let limited =
        |seconds: u32| with_headers("429 Too Many", &format!("retry-after: {seconds}\r\n"));
    gate.target("a").first_does([Act::Hear, Act::say(limited(90))]);
    gate.target("b").first_does([Act::Hear, Act::say(limited(30))]);
    assert_eq!(gate.ask("hi").status, 429);
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(gate.target("a").asked(), 1);
}

/// Gives the virtual key `a` three credentials.
fn pooled(config: &mut Config) {
    let credential = |at: u64| PooledCredential {
        secret: Secret::new(format!("sk-number-{at}")),
        weight: 1.0,
        id: at,
    };
    config.virtual_keys[0].credentials = (1..=3).map(credential).collect();
}

fn credentials(record: &Record) -> Vec<&str> {
    record.attempts.iter().map(|attempt| attempt.credential.as_str()).collect()
}

#[test]
fn a_refused_credential_is_replaced_at_once_and_left_alone() {
    let single = json!({"virtual_key": "a"});
    for status in [401, 403, 429] {
        let gate = Setup::new(5).policy(single.clone()).change(pooled).open();
        gate.target("a").is("keep_alive=off");
        gate.target("a").first_is(&format!("status={status}"));
        let answer = gate.ask("hi");
        assert_eq!(answer.served_by(), "a", "{status}");
        assert!(answer.took < secs(1), "without a back-off");
        let record = gate.record();
        let used = credentials(&record);
        assert_eq!(used.len(), 2);
        assert_ne!(used[0], used[1]);
        let sent: Vec<String> =
            used.iter().map(|used| format!("Bearer sk-number-{}", &used[1..])).collect();
        assert_eq!(gate.target("a").authorizations(), sent);
        let dead = used[0].to_owned();
        let mut counts = HashMap::new();
        for _ in 0..40 {
            gate.ask("hi");
            let record = gate.record();
            *counts.entry(credentials(&record).concat()).or_insert(0) += 1;
            assert!(!format!("{record:?}").contains("sk-number"));
        }
        let left_alone = if status == 429 { secs(5) } else { secs(60) };
        assert!(!counts.contains_key(&dead), "{counts:?}");
        assert_eq!(counts.len(), 2, "{counts:?}");
        gate.world.run_for(left_alone);
        for _ in 0..40 {
            gate.ask("hi");
        }
        let again = gate.records().iter().any(|record| credentials(record) == [dead.as_str()]);
        assert!(again, "{status}: it is tried again");
    }
}

#[test]
fn when_every_credential_is_refused_the_answer_is_passed_on() {
    let gate = Setup::new(5).policy(json!({"virtual_key": "a"})).change(pooled).open();
    gate.target("a").is("status=401&keep_alive=off");
    assert_eq!(gate.ask("hi").status, 401);
    assert_eq!(gate.record().attempts.len(), 3, "each once");
    assert_eq!(gate.ask("hi").status, 401);
    assert_eq!(gate.record().attempts.len(), 1, "none is known to work: one is tried");
    gate.target("a").is("keep_alive=off");
    assert_eq!(gate.ask("hi").served_by(), "a");
    assert_eq!(gate.ask("hi").served_by(), "a");
    let records = gate.records();
    assert_eq!(credentials(&records[0]), credentials(&records[1]), "that one works");
}

#[test]
fn other_errors_keep_the_credential() {
    let gate = Setup::new(5).policy(json!({"virtual_key": "a"})).change(pooled).open();
    for status in [400, 404, 500, 503] {
        gate.target("a").first_is(&format!("status={status}"));
        assert_eq!(gate.ask("hi").status, status);
        assert_eq!(gate.record().attempts.len(), 1);
    }
}

#[test]
fn a_conversation_stays_with_its_target() {
    let gate = Setup::new(5)
        .target("c", "openai")
        .policy(json!({
            "strategy": {"mode": "loadbalance"}, "affinity": {},
            "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}, {"virtual_key": "c"}],
        }))
        .open();
    let mut homes = HashMap::new();
    for turn in 0..4 {
        for conversation in 0..12 {
            let mut messages = vec![json!({"role": "user", "content": format!("{conversation}")})];
            for word in 0..turn {
                messages.push(json!({"role": "assistant", "content": "yes"}));
                messages.push(json!({"role": "user", "content": format!("and {word}")}));
            }
            let body = json!({"model": "m", "messages": messages});
            let served = gate.post(&client::post("/v1/chat/completions", "", &body)).served_by();
            assert_eq!(homes.entry(conversation).or_insert_with(|| served.clone()), &served);
        }
    }
    let used: std::collections::HashSet<_> = homes.values().collect();
    assert_eq!(used.len(), 3);
    let record = gate.records().pop().expect("a record");
    assert_eq!(record.balance[0].0, "config hash");
}

#[test]
fn sticky_users_move_only_while_their_target_is_open() {
    let gate = Setup::new(5)
        .policy(json!({
            "strategy": {"mode": "fallback"},
            "targets": [{
                "strategy": {
                    "mode": "loadbalance", "cb_config": three_failures(),
                    "sticky": {"enabled": true, "hash_fields": ["metadata.user"], "ttl": 600},
                },
                "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
            }],
        }))
        .open();
    let ask = |user: u32| {
        let metadata = format!("x-portkey-metadata: {{\"user\":\"{user}\"}}\r\n");
        let body = client::chat_body("hi", false);
        gate.post(&client::post("/v1/chat/completions", &metadata, &body))
    };
    ["a", "b"].iter().for_each(|name| gate.target(name).is("keep_alive=off"));
    let homes: Vec<String> = (0..20).map(|user| ask(user).served_by()).collect();
    assert!(homes.contains(&"a".to_owned()) && homes.contains(&"b".to_owned()));
    let of_a = homes.iter().position(|home| home == "a").expect("one") as u32;
    gate.target("a").is("status=503&keep_alive=off");
    (0..3).for_each(|_| assert_eq!(ask(of_a).status, 503));
    assert_eq!(ask(of_a).served_by(), "b", "the breaker wins");
    gate.target("a").is("keep_alive=off");
    gate.world.run_for(secs(31));
    let again: Vec<String> = (0..20).map(|user| ask(user).served_by()).collect();
    assert_eq!(homes, again);
}

#[test]
fn params_are_set_where_there_are_none_and_taken_out_byte_for_byte() {
    let gate = Setup::new(5)
        .policy(json!({
            "strategy": {"mode": "single"},
            "default_params": {"temperature": 0.5, "user": "d", "top_p": 1},
            "override_params": {"user": "o"},
            "drop_params": ["messages[*].name", "seed"],
            "targets": [{"virtual_key": "a", "default_params": {"top_p": 0.9}, "drop_params": ["metadata.x"]}],
        }))
        .open();
    gate.target("a").does([Act::Hear, Act::say(plain("a heard it"))]);
    let body = r#"{"model":"m", "seed":7, "temperature": 1.00,"metadata":{ "x":1, "y" : 2 },"messages":[{"role":"user","name":"n","content":"h\u0069"} , {"name":1}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-portkey-config: main\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(gate.post(request.as_bytes()).served_by(), "a");
    assert_eq!(
        gate.target("a").bodies(),
        [
            r#"{"user":"o","top_p":0.9,"model":"m", "temperature": 1.00,"metadata":{ "y" : 2 },"messages":[{"role":"user","content":"h\u0069"} , {}]}"#
        ]
    );
}

/// Two cores of one node.
fn two_cores() -> (Health, Health) {
    let config = Config::open_defaults();
    let epoch = Arc::new(Epoch { number: 1, config, server_tls: None, client_tls: trust() });
    let hub = Arc::new(Hub::new(epoch, Vec::new()));
    (Health::new(Arc::clone(&hub)), Health::new(hub))
}

fn at(millis: u64) -> Instant {
    Instant { nanos: (1_000 + millis) * 1_000_000 }
}

#[test]
fn cores_share_what_they_learn() {
    let (one, other) = two_cores();
    let here = one.of(7, at(0)).expect("room");
    let there = other.of(7, at(0)).expect("room");
    let seen = |millis| there.seen(at(millis));
    // Failures at once, successes a moment later.
    here.failed(at(1));
    assert_eq!(there.failed(at(1)), Counts { failures: 2, requests: 2 });
    (0..50).for_each(|_| here.did_well(at(2)));
    assert_eq!(there.failed(at(3)).requests, 3);
    here.did_well(at(150));
    assert_eq!(there.failed(at(160)), Counts { failures: 4, requests: 55 });
    here.shared.open(at(40_000));
    assert_eq!(there.breaker().open_until, at(40_000));
    assert!(here.shared.take_probe(at(40_000), at(70_000)));
    assert!(!there.shared.take_probe(at(40_001), at(70_000)), "one at a time over all cores");
    there.shared.close();
    assert_eq!(here.breaker().open_until, Instant::default());
    // Running requests: told after a while, and at once when the last is over.
    let running: Vec<_> = (0..3).map(|_| here.run(at(200))).collect();
    let more = here.run(at(400));
    assert_eq!(seen(401).in_flight, 4);
    drop((running, more));
    assert_eq!(seen(402).in_flight, 0);
    // A peak of latency at once.
    here.answered(5_000_000, at(500));
    assert_eq!(seen(500).latency_nanos, 5_000_000);
}

#[test]
fn requests_cannot_fill_the_table_of_the_file() {
    let (one, _) = two_cores();
    let inline = 1_u64 << 63;
    let most = trunkline::base::limits::HEALTH_INLINE_TARGETS_MAX as u64;
    let held: Vec<_> = (0..most).map(|key| one.of(inline | key, at(0)).expect("room")).collect();
    assert!(one.of(inline | most, at(0)).is_none(), "all are in use");
    assert!(one.of(7, at(0)).is_some(), "the file has a table of its own");
    drop(held);
    assert!(one.of(inline | most, at(1)).is_some(), "the unused made room");
}

#[test]
fn a_policy_that_asks_for_nothing_notes_nothing() {
    let gate = Gate::new(1);
    gate.ask("hi");
    let record = gate.record();
    assert!(record.balance.is_empty() && record.open_breakers.is_empty());
    assert!(record.attempts[0].credential.is_empty());
}
