//! Clients whose heads are the same each time: nothing that has changed meanwhile is taken for what it was.

use serde_json::json;
use trunkline::base::limits::SEEN_HEADS_MAX;

use super::{Gate, Setup, answer::Answer, client, client::Conn};

/// Sends each request on one connection, once the one before it is answered.
fn one_after_the_other(gate: &Gate, requests: Vec<Vec<u8>>) -> Vec<Answer> {
    let net = gate.world.net();
    gate.run(async move {
        let mut conn = Conn::open(&net).await;
        let mut answers = Vec::new();
        for request in requests {
            conn.send(&request).await;
            answers.push(conn.answer().await);
        }
        answers
    })
}

#[test]
fn each_request_has_its_own_body() {
    let gate = Gate::new(1);
    let words = ["a", "a longer text", "", "a", "one that is longer by far than those before it"];
    let answers =
        one_after_the_other(&gate, words.iter().map(|words| client::chat(words, false)).collect());
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let asked: Vec<_> = words.map(|words| client::chat_body(words, false).to_string()).into();
    assert_eq!(gate.target("a").bodies(), asked);
    let lengths: Vec<_> = gate.records().iter().map(|record| record.client_bytes_in).collect();
    let sent: Vec<_> = words.map(|words| client::chat(words, false).len() as u64).into();
    assert_eq!(lengths, sent);
    gate.close();
}

#[test]
fn streams_and_plain_calls_take_turns() {
    let gate = Gate::new(1);
    let requests = [false, true, true, false, true].map(|stream| client::chat("hi", stream));
    let answers = one_after_the_other(&gate, requests.into());
    assert!(answers.iter().all(Answer::is_whole), "{answers:?}");
    gate.close();
}

#[test]
fn a_new_credential_takes_the_place_of_the_old_one() {
    let policy = |key: &str| json!({"provider": "openai", "api_key": key, "custom_host": "http://a.test/v1"});
    let gate = Setup::new(1).policy(policy("sk-old")).named().open();
    for _ in 0..3 {
        gate.ask("hi");
    }
    gate.hub.publish(gate.next_epoch(2, &policy("sk-new")));
    for _ in 0..3 {
        gate.ask("hi");
    }
    let [old, new] = ["Bearer sk-old", "Bearer sk-new"];
    assert_eq!(gate.target("a").authorizations(), [old, old, old, new, new, new]);
    gate.close();
}

#[test]
fn each_target_of_a_chain_gets_its_own_head() {
    let target = |name: &str| {
        let host = format!("http://{name}.test/v1");
        json!({"provider": "openai", "api_key": format!("sk-{name}"), "custom_host": host})
    };
    let gate = Setup::new(1)
        .policy(json!({"strategy": {"mode": "fallback"}, "targets": [target("a"), target("b")]}))
        .named()
        .open();
    for _ in 0..3 {
        gate.target("a").first_is("status=503");
        assert_eq!(gate.ask("hi").served_by(), "b");
    }
    assert_eq!(gate.target("a").authorizations(), ["Bearer sk-a"; 3]);
    assert_eq!(gate.target("b").authorizations(), ["Bearer sk-b"; 3]);
    gate.close();
}

#[test]
fn more_heads_than_are_kept_are_told_apart() {
    let gate = Gate::new(1);
    let body = client::chat_body("hi", false);
    let traces: Vec<_> = (0..3 * SEEN_HEADS_MAX).map(|n| format!("trace-{}", n % 100)).collect();
    let request = |trace: &String| {
        let header = format!("x-portkey-trace-id: {trace}\r\n");
        client::post("/v1/chat/completions", &header, &body)
    };
    let answers = one_after_the_other(&gate, traces.iter().map(request).collect());
    assert!(answers.iter().all(|answer| answer.status == 200));
    let logged: Vec<_> = gate.records().into_iter().map(|record| record.trace_id).collect();
    assert_eq!(logged, traces);
    gate.close();
}
