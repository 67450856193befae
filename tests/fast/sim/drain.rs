//! The end of a gateway: streams finish, idle connections are closed, nothing new is kept.

use std::{rc::Rc, time::Duration};

use serde_json::json;

use super::{
    Gate, Setup,
    answer::{Answer, Ended},
    client::{Conn, chat, messages, responses},
    millis, secs,
};

#[test]
fn a_running_stream_finishes() {
    let gate = Gate::new(1);
    gate.target("a").is("chunks=10&interval=1s&text=a b c");
    let mut conn = gate.begin(&chat("hi", true), secs(2));
    gate.gateway.drain();
    let (answer, conn) = gate.run(async move {
        let answer = conn.answer().await;
        while conn.fill(100).await {}
        (answer, conn)
    });
    assert!(answer.is_whole(), "{answer:?}");
    assert_eq!(conn.ended, Some(Ended::Closed));
    drop(conn);
    gate.close();
    assert!(!gate.record().truncated);
}

#[test]
fn a_running_plain_call_is_answered_and_told_that_it_is_the_last() {
    let gate = Gate::new(1);
    gate.target("a").is("first_byte=5s");
    let mut conn = gate.begin(&chat("hi", false), secs(1));
    gate.gateway.drain();
    let answer = gate.run(async move { conn.answer().await });
    assert!(answer.is_whole());
    assert_eq!(answer.header("connection"), Some("close"));
    gate.close();
}

#[test]
fn idle_connections_are_closed_at_once() {
    let gate = Gate::new(1);
    let net = gate.world.net();
    let mut conn = gate.run(async move {
        let mut conn = Conn::open(&net).await;
        conn.send(&chat("hi", false)).await;
        conn.answer().await;
        conn
    });
    let fresh = gate.begin(b"", millis(1));
    assert_eq!(gate.target("a").open(), 1);
    gate.gateway.drain();
    gate.world.run_for(millis(10));
    assert_eq!(gate.target("a").open(), 0, "idle upstream connections");
    let ended = gate.run(async move {
        conn.fill(100).await;
        conn.ended
    });
    assert_eq!(ended, Some(Ended::Closed));
    drop(fresh);
    gate.close();
}

#[test]
fn a_waiting_retry_goes_on() {
    let policy = json!({"retry": {"attempts": 2}, "virtual_key": "a"});
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").first_is("status=503");
    let mut conn = gate.begin(&chat("hi", false), millis(100));
    gate.gateway.drain();
    let answer = gate.run(async move { conn.answer().await });
    assert!(answer.is_whole());
    assert_eq!(gate.target("a").asked(), 2);
    gate.close();
}

/// Waits until it has drained.
fn drained(gate: &Gate) -> Duration {
    let begun = gate.now();
    let gateway = Rc::clone(&gate.gateway);
    gate.run(async move { gateway.drained().await });
    gate.now().since(begun)
}

fn answer(gate: &Gate, mut conn: Conn) -> Answer {
    gate.run(async move { conn.answer().await })
}

/// A stream that was cut says so, and so does its record.
fn was_cut(gate: &Gate, conn: Conn) {
    let answer = answer(gate, conn);
    assert_eq!((answer.status, answer.complete), (200, false), "{answer:?}");
    let (_, last) = answer.events().pop().expect("an event");
    assert!(last.contains("overloaded_error") && last.contains("was stopped"), "{last}");
    let record = gate.record();
    assert_eq!((record.status, record.truncated, record.client_gone), (200, true, false));
    assert_eq!((&*record.error_source, &*record.error_kind), ("gateway", "overloaded"));
}

#[test]
fn a_stream_without_end_is_cut_at_the_deadline_and_told_so() {
    let gate = Gate::new(1);
    gate.target("a").is("chunks=1000000&interval=1s");
    let conn = gate.begin(&chat("hi", true), secs(1));
    gate.gateway.drain();
    let took = drained(&gate);
    assert!(took >= secs(30) && took < secs(31), "{took:?}");
    was_cut(&gate, conn);
    gate.close();
}

#[test]
fn a_cut_ends_streams_of_every_dialect_at_once() {
    for request in [chat("hi", true), messages("hi", true), responses("hi", true)] {
        for provider in ["openai", "anthropic"] {
            let gate = Setup::new(1).target("a", provider).open();
            // Where `a` is unfit, it is `b`.
            for name in ["a", "b"] {
                gate.target(name).is("chunks=1000000&interval=20s");
            }
            let conn = gate.begin(&request, secs(30));
            gate.gateway.drain();
            gate.world.run_for(secs(1));
            gate.gateway.cut();
            assert!(drained(&gate) < secs(1));
            was_cut(&gate, conn);
            gate.close();
        }
    }
}

#[test]
fn a_cut_answers_what_is_not_answered_and_tries_nothing_more() {
    for script in ["first_byte=1m", "status=503"] {
        let policy = json!({"retry": {"attempts": 3}, "virtual_key": "a"});
        let gate = Setup::new(1).policy(policy).open();
        gate.target("a").is(script);
        let conn = gate.begin(&chat("hi", false), secs(1));
        let asked = gate.target("a").asked();
        gate.gateway.drain();
        gate.gateway.cut();
        assert!(drained(&gate) < secs(1), "{script}");
        let answer = answer(&gate, conn);
        assert_eq!((answer.status, answer.complete), (503, true), "{script}: {answer:?}");
        assert!(answer.header("retry-after").is_some() && answer.text().contains("was stopped"));
        assert_eq!(gate.target("a").asked(), asked, "{script}");
        let record = gate.record();
        assert_eq!((record.status, &*record.error_kind), (503, "overloaded"), "{script}");
        gate.close();
    }
}

#[test]
fn a_cut_waits_for_no_client_and_each_has_its_record() {
    let gate = Gate::new(1);
    gate.target("a").is("chunks=100000&chunk_bytes=10000");
    let reads_nothing = gate.begin(&chat("hi", true), secs(1));
    let request = chat("hi", false);
    let sends_half = gate.begin(&request[..request.len() - 3], secs(1));
    let has_half_a_head = gate.begin(&request[..20], secs(1));
    gate.gateway.drain();
    gate.gateway.cut();
    let took = drained(&gate);
    assert!(took < secs(1), "{took:?}");
    let records = gate.records();
    let mut statuses: Vec<u16> = records.iter().map(|record| record.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert!(records.iter().all(|record| record.error_kind == "overloaded"), "{records:?}");
    drop((reads_nothing, sends_half, has_half_a_head));
    gate.close();
}
