//! The end of a gateway: streams finish, idle connections are closed, nothing new is kept.

use super::{
    Gate,
    answer::Ended,
    client::{Conn, chat},
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
    let policy = serde_json::json!({"retry": {"attempts": 2}, "virtual_key": "a"});
    let gate = super::Setup::new(1).policy(policy).open();
    gate.target("a").first_is("status=503");
    let mut conn = gate.begin(&chat("hi", false), millis(100));
    gate.gateway.drain();
    let answer = gate.run(async move { conn.answer().await });
    assert!(answer.is_whole());
    assert_eq!(gate.target("a").asked(), 2);
    gate.close();
}

#[test]
fn a_stream_without_end_is_cut_at_the_deadline() {
    let gate = Gate::new(1);
    gate.target("a").is("chunks=1000000&interval=1s");
    let _conn = gate.begin(&chat("hi", true), secs(1));
    gate.gateway.drain();
    let begun = gate.now();
    let gateway = std::rc::Rc::clone(&gate.gateway);
    gate.run(async move { gateway.drained().await });
    assert_eq!(gate.now().since(begun), secs(30));
}
