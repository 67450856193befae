//! Guardrails of a config: what is denied is not sent and not shown, and what fails and is let through says so.

use serde_json::{Value, json};

use super::{Setup, answer::Answer, client, target::*};

pub fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.text()))
}

/// A fallback over `a` and `b` with these keys at its top.
pub fn guarded(keys: Value) -> Setup {
    let mut policy = json!({
        "strategy": {"mode": "fallback"},
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
    });
    for (key, value) in keys.as_object().expect("a map") {
        policy[key] = value.clone();
    }
    Setup::new(1).policy(policy).target("hook", "openai")
}

/// A guardrail that forbids a word.
pub fn forbids(word: &str, deny: bool) -> Value {
    json!([{"default.contains": {"words": [word], "operator": "none"}, "deny": deny, "id": "words"}])
}

#[test]
fn a_denied_request_is_a_446_and_goes_nowhere() {
    let gate = guarded(json!({"input_guardrails": forbids("secret", true)})).open();
    let answer = gate.ask("a secret");
    assert_eq!((answer.status, answer.complete), (446, true), "{answer:?}");
    let json = json_of(&answer);
    assert_eq!(json["error"]["type"], "hooks_failed");
    assert!(json["error"]["message"].as_str().is_some_and(|text| text.contains("`hook_results`")));
    let hook = &json["hook_results"]["before_request_hooks"][0];
    assert_eq!(
        (&hook["id"], &hook["verdict"], &hook["deny"]),
        (&"words".into(), &false.into(), &true.into())
    );
    assert_eq!(hook["checks"][0]["id"], "default.contains");
    assert_eq!(json["hook_results"]["after_request_hooks"], json!([]));
    assert_eq!(answer.header("x-trunkline-error-source"), Some("gateway"));
    // A fallback without codes goes on at a 446: both targets were guarded alike.
    assert_eq!((gate.target("a").asked(), gate.target("b").asked()), (0, 0));
    let record = gate.record();
    assert_eq!((record.status, record.error_kind.as_str()), (446, "guardrail"));
    assert_eq!(record.attempts[0].left, "guardrail");
    assert_eq!(record.guardrails[0], "config.targets[0] input words denied: default.contains");
    assert_eq!(gate.counters.guardrails.denied.get(), 2);
    gate.close();
}

#[test]
fn every_dialect_gets_a_body_that_it_can_read() {
    let gate = guarded(json!({"input_guardrails": forbids("secret", true)})).open();
    let answer = gate.post(&client::messages("a secret", true));
    let json = json_of(&answer);
    assert_eq!((answer.status, &json["type"]), (446, &"error".into()));
    assert_eq!(json["error"]["type"], "hooks_failed");
    assert!(json["hook_results"]["before_request_hooks"].is_array());
}

#[test]
fn what_passes_has_its_results_beside_the_answer() {
    let gate = guarded(json!({"input_guardrails": forbids("secret", true)})).open();
    let answer = gate.ask("hi");
    assert!(answer.is_whole(), "{answer:?}");
    assert_eq!(answer.said(), "a says five words");
    let json = json_of(&answer);
    assert_eq!(json["hook_results"]["before_request_hooks"][0]["verdict"], true);
    let record = gate.record();
    assert_eq!(record.guardrails, ["config.targets[0] input words passed"]);
    assert!(record.usage.is_some(), "the answer is accounted all the same");
    gate.close();
}

#[test]
fn what_fails_without_deny_is_a_246_with_the_answer() {
    let gate = guarded(json!({"input_guardrails": forbids("secret", false)})).open();
    let answer = gate.ask("a secret");
    assert_eq!((answer.status, answer.complete), (246, true));
    assert_eq!(answer.said(), "a says five words");
    assert_eq!(json_of(&answer)["hook_results"]["before_request_hooks"][0]["verdict"], false);
    let record = gate.record();
    assert_eq!((record.status, record.attempts.len()), (246, 1));
    assert_eq!(record.attempts[0].left, "", "{record:?}");
    assert!(record.error_kind.is_empty());
    gate.close();
}

#[test]
fn a_denied_answer_falls_over_to_the_next_target() {
    let gate = guarded(json!({"output_guardrails": forbids("a says", true)})).open();
    for stream in [false, true] {
        let answer = gate.post(&client::chat("hi", stream));
        assert!(answer.is_whole(), "{stream}: {answer:?}");
        assert_eq!(answer.said(), "b says five words", "{stream}");
        let record = gate.record();
        assert_eq!(record.attempts[0].left, "guardrail", "{stream}");
        assert_eq!(
            record.guardrails,
            [
                "config.targets[0] output words denied: default.contains",
                "config.targets[1] output words passed"
            ],
            "{stream}"
        );
    }
    gate.close();
}

#[test]
fn the_last_denied_answer_is_a_446_that_does_not_quote_it() {
    let guard = json!([{"default.regexMatch": {"rule": "says", "not": true}, "deny": true}]);
    let gate = guarded(json!({"output_guardrails": guard})).open();
    for stream in [false, true] {
        let answer = gate.post(&client::chat("hi", stream));
        assert_eq!((answer.status, answer.is_stream()), (446, false), "{answer:?}");
        assert!(!answer.text().contains("five words"), "{}", answer.text());
        let hook = &json_of(&answer)["hook_results"]["after_request_hooks"][0];
        assert_eq!(hook["checks"][0]["verdict"], false);
        assert_eq!(gate.record().attempts.len(), 2);
    }
    gate.close();
}

#[test]
fn codes_decide_on_446_and_246_as_on_any_status() {
    for (deny, codes, asked) in [
        (true, json!([446]), 1),
        (true, json!([500]), 0),
        (false, json!([246]), 1),
        (false, json!([446]), 0),
        (false, Value::Null, 0),
    ] {
        let mut policy = json!({"output_guardrails": forbids("a says", deny)});
        policy["strategy"] = json!({"mode": "fallback"});
        if !codes.is_null() {
            policy["strategy"]["on_status_codes"] = codes.clone();
        }
        let gate = guarded(policy).open();
        let answer = gate.ask("hi");
        assert_eq!(gate.target("b").asked(), asked, "{deny} {codes}");
        let status = if asked == 1 { 200 } else { [246, 446][usize::from(deny)] };
        assert_eq!(answer.status, status, "{deny} {codes}");
        gate.close();
    }
}

#[test]
fn retries_may_name_446_for_answers_and_judge_a_request_once() {
    let retry = json!({"attempts": 2, "on_status_codes": [446, 246]});
    let policy = json!({"virtual_key": "a", "retry": retry, "output_guardrails": forbids("bad", true),
                        "input_guardrails": forbids("x", false)});
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").first_is("text=bad");
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.said().as_str()), (200, "a says five words"));
    assert_eq!(answer.header("x-portkey-retry-attempt-count"), Some("1"));
    let record = gate.record();
    let judged = record.guardrails.iter().filter(|line| line.contains(" input "));
    assert_eq!(judged.count(), 1, "{:?}", record.guardrails);
    // A request that is denied would be denied again.
    let policy =
        json!({"virtual_key": "a", "retry": retry, "input_guardrails": forbids("hi", true)});
    let gate = Setup::new(1).policy(policy).open();
    let answer = gate.ask("hi");
    assert_eq!((answer.status, gate.record().attempts.len()), (446, 1));
}

#[test]
fn guardrails_are_inherited_as_portkey_inherits_them() {
    let policy = json!({
        "strategy": {"mode": "fallback"},
        "input_guardrails": forbids("one", true),
        "default_input_guardrails": forbids("all", true),
        "targets": [
            {"virtual_key": "a", "input_guardrails": forbids("two", true)},
            {"virtual_key": "b"},
        ],
    });
    let gate = Setup::new(1).policy(policy).open();
    for (words, served) in [("one", "a"), ("two", "b"), ("one two", ""), ("all", "")] {
        let answer = gate.ask(words);
        assert_eq!(answer.served_by(), served, "{words}: {answer:?}");
    }
}

#[test]
fn guardrails_of_a_header_are_added() {
    let gate = Setup::new(1).policy(json!({"virtual_key": "a"})).open();
    let header = format!("x-portkey-default-input-guardrails: {}\r\n", forbids("secret", true));
    let ask = |words: &str, header: &str| {
        gate.post(&client::post("/v1/chat/completions", header, &client::chat_body(words, false)))
    };
    assert_eq!(ask("a secret", &header).status, 446);
    assert_eq!(ask("hi", &header).status, 200);
    for bad in ["[{\"default.contians\":{}}]", "{", "[]x"] {
        let answer = ask("hi", &format!("x-portkey-default-output-guardrails: {bad}\r\n"));
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
}

#[test]
fn what_nobody_waits_for_is_in_the_record_alone() {
    let mut input = forbids("hi", true);
    input[0]["async"] = json!(true);
    let mut output = forbids("says", false);
    output[0]["async"] = json!(true);
    let gate = guarded(json!({"input_guardrails": input, "output_guardrails": output})).open();
    for stream in [false, true] {
        let answer = gate.post(&client::chat("hi", stream));
        assert!(answer.is_whole(), "{answer:?}");
        assert!(!answer.text().contains("hook_results"));
        assert_eq!(
            gate.record().guardrails,
            [
                "config.targets[0] input words (async) failed: default.contains",
                "config.targets[0] output words (async) failed: default.contains"
            ]
        );
    }
    gate.close();
}

#[test]
fn a_redacted_request_goes_out_without_what_was_found() {
    let guard = json!([{"default.redactPii": {"patterns": ["email"]}, "id": "pii"}]);
    let gate = guarded(json!({"input_guardrails": guard})).open();
    let answer = gate.ask("write to joe@example.com");
    assert_eq!(answer.status, 200);
    let sent = gate.target("a").bodies().remove(0);
    assert!(sent.contains("write to [EMAIL_ADDRESS]") && !sent.contains("joe"), "{sent}");
    let hook = &json_of(&answer)["hook_results"]["before_request_hooks"][0];
    assert_eq!((&hook["transformed"], &hook["verdict"]), (&true.into(), &true.into()));
    gate.close();
}

#[test]
fn urls_are_looked_for_where_requests_may_lead_and_nowhere_else() {
    let guard = json!([{"default.validUrls": {"onlyDNS": true}, "deny": true}]);
    let gate = guarded(json!({"input_guardrails": guard}))
        .file("custom_hosts: { allow_private: true }")
        .open();
    gate.world.name("good.example", &["10.0.0.3".parse().expect("an address")]);
    for (words, status) in [
        ("see http://good.example/x?y=1.", 200),
        ("see http://good.example and http://nowhere.example", 446),
        ("no url", 446),
        ("http://169.254.169.254/latest", 446),
    ] {
        assert_eq!(gate.ask(words).status, status, "{words}");
    }
    let guard = json!([{"default.validUrls": {"onlyDNS": false}, "deny": true}]);
    let gate = guarded(json!({"input_guardrails": guard}))
        .file("custom_hosts: { allow_private: true }")
        .open();
    gate.world.name("good.example", &["10.0.0.3".parse().expect("an address")]);
    for (status, wanted) in [(200, 200), (301, 200), (404, 446)] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        gate.target("hook").does([Act::HearBytes(40), Act::say(head)]);
        assert_eq!(gate.ask("see http://good.example/x").status, wanted, "{status}");
    }
}

#[test]
fn endpoints_without_a_text_are_not_looked_at() {
    let gate = guarded(json!({"input_guardrails": forbids("secret", true)})).open();
    let body = json!({"model": "m", "input": "a secret"});
    assert_eq!(gate.post(&client::post("/v1/embeddings", "", &body)).status, 446);
    assert_eq!(gate.post(&client::post("/v1/responses", "", &body)).status, 446);
    assert_eq!(gate.post(&client::post("/v1/moderations", "", &body)).status, 404);
}
