//! Webhooks of guardrails: what they are told and may answer; one that is slow, dead or lying holds nobody up.

use serde_json::{Value, json};

use super::{
    client,
    guardrails::{guarded, json_of},
    millis, secs,
    target::*,
};

/// Asks about `hook` for a verdict.
fn webhook(more: &[(&str, Value)]) -> Value {
    let mut parameters = json!({"webhookURL": "http://10.0.0.3/check?x=1"});
    for (name, value) in more {
        parameters[*name] = value.clone();
    }
    json!([{"default.webhook": parameters, "deny": true, "id": "hook"}])
}

fn answers(json: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )
}

#[test]
fn a_webhook_judges_and_is_told_what_portkey_tells() {
    let gate =
        guarded(json!({"input_guardrails": webhook(&[("headers", json!({"x-token": "t"}))])}))
            .open();
    gate.target("hook")
        .does([Act::Hear, Act::say(answers(r#"{"verdict":false,"data":{"why":"no"}}"#))]);
    let answer = gate.ask("hi");
    assert_eq!(answer.status, 446, "{answer:?}");
    let check = &json_of(&answer)["hook_results"]["before_request_hooks"][0]["checks"][0];
    assert_eq!(check["data"]["responseData"]["why"], "no");
    let told: Value = serde_json::from_str(&gate.target("hook").bodies()[0]).expect("JSON");
    assert_eq!(told["request"]["text"], "hi");
    assert_eq!(told["request"]["json"]["model"], "m");
    assert_eq!(told["eventType"], "beforeRequestHook");
    assert_eq!(told["requestType"], "chatComplete");
    assert_eq!(told["provider"], "openai");
    assert_eq!(gate.target("a").asked(), 0);
    gate.target("hook").does([Act::Hear, Act::say(answers(r#"{"verdict":true}"#))]);
    assert!(gate.ask("hi").is_whole());
    gate.close();
}

#[test]
fn a_webhook_may_rewrite_but_not_the_model() {
    let gate = guarded(json!({"input_guardrails": webhook(&[])})).open();
    let instead = json!({"verdict": true, "transformedData": {"request": {"json": {
        "model": "dearer", "stream": true, "messages": [{"role": "user", "content": "masked"}]}}}});
    gate.target("hook").does([Act::Hear, Act::say(answers(&instead.to_string()))]);
    let answer = gate.ask("my number is 7");
    assert!(answer.is_whole() && !answer.is_stream(), "{answer:?}");
    let sent: Value = serde_json::from_str(&gate.target("a").bodies()[0]).expect("JSON");
    assert_eq!(sent, json!({"model": "m", "messages": [{"role": "user", "content": "masked"}]}));
    let output = guarded(json!({"output_guardrails": webhook(&[])})).open();
    let instead = json!({"verdict": true, "transformedData": {"response": {"json": {
        "choices": [{"message": {"content": "a cleaned"}}]}}}});
    output.target("hook").does([Act::Hear, Act::say(answers(&instead.to_string()))]);
    assert_eq!(output.ask("hi").said(), "a cleaned");
    let told: Value = serde_json::from_str(&output.target("hook").bodies()[0]).expect("JSON");
    assert_eq!(
        (&told["response"]["text"], &told["response"]["statusCode"]),
        (&"a says five words".into(), &200.into())
    );
}

#[test]
fn a_webhook_that_is_slow_dead_or_lying_counts_as_passed_unless_told_otherwise() {
    let conducts: [(&str, Vec<Act>); 7] = [
        ("slow", vec![Act::Hear, Act::Wait(secs(60))]),
        (
            "drips",
            vec![Act::Hear, Act::say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), Act::Stall],
        ),
        ("resets", vec![Act::HearBytes(10), Act::Reset]),
        ("no http", vec![Act::Hear, Act::say("hello\r\n\r\n")]),
        ("error", vec![Act::Hear, Act::say("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")]),
        ("no json", vec![Act::Hear, Act::say(answers("<html>"))]),
        (
            "floods",
            vec![
                Act::Hear,
                Act::say("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"),
                Act::Repeat("x".repeat(4096).into()),
            ],
        ),
    ];
    for (name, acts) in conducts {
        for fail_on_error in [false, true] {
            let parameters = [("failOnError", json!(fail_on_error)), ("timeout", json!(2000))];
            let gate = guarded(json!({"input_guardrails": webhook(&parameters),
                                      "strategy": {"mode": "fallback", "on_status_codes": [500]}}))
            .open();
            gate.target("hook").does(acts.clone());
            let answer = gate.ask("hi");
            let status = if fail_on_error { 446 } else { 200 };
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            assert!(answer.took < millis(2200), "{name} held it for {:?}", answer.took);
            let check = &json_of(&answer)["hook_results"]["before_request_hooks"][0]["checks"][0];
            assert!(check["error"]["message"].is_string(), "{name}: {check}");
            assert_eq!(check["fail_on_error"], fail_on_error);
            gate.world.run_for(secs(70));
            gate.close();
        }
    }
    let gate = guarded(json!({"input_guardrails": webhook(&[])})).open();
    gate.target("hook").refuses();
    assert_eq!(gate.ask("hi").status, 200);
    // Without a verdict it is an answer all the same, and not a yes.
    for lie in ["{}", "[]", "null", "{\"verdict\":\"true\"}"] {
        let gate = guarded(json!({"input_guardrails": webhook(&[])})).open();
        gate.target("hook").does([Act::Hear, Act::say(answers(lie))]);
        assert_eq!(gate.ask("hi").status, 446, "{lie}");
    }
}

#[test]
fn webhooks_are_asked_side_by_side_and_one_after_the_other_where_it_says_so() {
    let slow = |sequential: bool| {
        let check = |n: u8| json!({"id": "default.webhook", "parameters": {"webhookURL": format!("http://10.0.0.3/{n}")}});
        let hook = json!([{"id": "two", "checks": [check(1), check(2)], "sequential": sequential}]);
        let gate = guarded(json!({"before_request_hooks": hook})).open();
        gate.target("hook").does([
            Act::Hear,
            Act::Wait(secs(1)),
            Act::say(answers("{\"verdict\":true}")),
        ]);
        gate.ask("hi").took
    };
    let (side_by_side, in_turn) = (slow(false), slow(true));
    assert!(side_by_side < millis(1600), "{side_by_side:?}");
    assert!(in_turn > millis(1900), "{in_turn:?}");
}

#[test]
fn a_webhook_judges_a_stream_at_its_end() {
    let gate = guarded(json!({"output_guardrails": webhook(&[])})).open();
    gate.target("hook").does([
        Act::Hear,
        Act::Wait(secs(1)),
        Act::say(answers("{\"verdict\":true}")),
    ]);
    let answer = gate.stream("hi");
    assert!(answer.is_whole(), "{answer:?}");
    let told: Value = serde_json::from_str(&gate.target("hook").bodies()[0]).expect("JSON");
    assert_eq!(told["response"]["text"], "a says five words");
    gate.target("hook").does([Act::Hear, Act::say(answers("{\"verdict\":false}"))]);
    let answer = gate.stream("hi");
    assert_eq!(answer.status, 446, "nothing was out, so that the status is");
    gate.close();
}

#[test]
fn a_webhook_that_nobody_waits_for_goes_on_alone() {
    let mut hook = webhook(&[]);
    hook[0]["async"] = json!(true);
    hook[0]["deny"] = json!(false);
    let gate = guarded(json!({"input_guardrails": hook})).open();
    gate.target("hook").does([
        Act::Hear,
        Act::Wait(secs(2)),
        Act::say(answers("{\"verdict\":false}")),
    ]);
    let answer = gate.ask("hi");
    assert!(answer.is_whole() && answer.took < secs(1), "{answer:?}");
    assert_eq!(gate.record().guardrails, ["config.targets[0] input hook (async) called"]);
    gate.world.run_for(secs(5));
    assert_eq!(gate.counters.guardrails.failed.get(), 1);
    assert_eq!(gate.counters.guardrails.unawaited_bytes.get(), 0);
    gate.close();
}

#[test]
fn what_nobody_waits_for_is_bounded() {
    let mut hook = webhook(&[("timeout", json!(60_000))]);
    hook[0]["async"] = json!(true);
    let gate = guarded(json!({"input_guardrails": hook})).open();
    gate.target("hook").does([
        Act::Hear,
        Act::Wait(secs(50)),
        Act::say(answers("{\"verdict\":true}")),
    ]);
    let long = "x".repeat(1 << 20);
    let lines: Vec<String> = (0..6)
        .map(|_| {
            assert!(gate.ask(&long).is_whole());
            gate.record().guardrails.remove(0)
        })
        .collect();
    let called = |line: &&String| line.ends_with("(async) called");
    assert_eq!(lines.iter().filter(called).count(), 3, "{lines:?}");
    assert_eq!(gate.counters.guardrails.not_called.get(), 3);
    gate.world.run_for(secs(70));
    assert_eq!(gate.counters.guardrails.unawaited_bytes.get(), 0);
    gate.close();
}

#[test]
fn a_client_that_leaves_while_a_webhook_thinks_is_let_go() {
    let gate = guarded(json!({"input_guardrails": webhook(&[("timeout", json!(60_000))])})).open();
    gate.target("hook").does([Act::Hear, Act::Wait(secs(50))]);
    let conn = gate.begin(&client::chat("hi", false), secs(1));
    conn.reset();
    gate.world.run_for(secs(1));
    assert_eq!(gate.target("hook").open(), 0, "the call is ended with it");
    assert!(gate.record().client_gone);
    gate.close();
}
