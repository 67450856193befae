//! Guardrails of a config: what is denied is not sent and not shown, what fails and is let through says so, and a
//! webhook that is slow, dead or lying holds nobody up.

use serde_json::{Value, json};

use super::{Setup, answer::Answer, client, millis, secs, target::*};

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.text()))
}

/// A fallback over `a` and `b` with these keys at its top.
fn guarded(keys: Value) -> Setup {
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
fn forbids(word: &str, deny: bool) -> Value {
    json!([{"default.contains": {"words": [word], "operator": "none"}, "deny": deny, "id": "words"}])
}

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
fn a_redacted_answer_comes_without_what_was_found_also_as_a_stream() {
    let guard = json!([{"default.regexReplace": {"rule": "five \\w+", "redactText": "***"}}]);
    let gate = guarded(json!({"output_guardrails": guard})).open();
    for stream in [false, true] {
        let answer = gate.post(&client::chat("hi", stream));
        assert!(answer.is_whole(), "{answer:?}");
        assert_eq!(answer.said(), "a says ***", "{stream}");
        assert!(!answer.text().contains("five"), "{}", answer.text());
    }
    gate.close();
}

#[test]
fn a_stream_that_is_held_shows_nothing_before_it_is_judged() {
    let gate = guarded(json!({"output_guardrails": forbids("bad", true)})).open();
    let stream = |words: &[&str]| {
        let mut acts = vec![Act::Hear, Act::say(STREAM_HEAD), Act::say(role())];
        for one in words {
            acts.extend([Act::say(word(one)), Act::Wait(secs(1))]);
        }
        acts.push(Act::say(ending()));
        acts
    };
    gate.target("a").does(stream(&["a good ", "and then b", "ad thing"]));
    let answer = gate.stream("hi");
    assert_eq!(answer.served_by(), "b", "{answer:?}");
    gate.target("a").does(stream(&["a good ", "thing"]));
    let answer = gate.stream("hi");
    assert!(answer.is_whole() && answer.took >= secs(2), "{answer:?}");
    assert_eq!(answer.said(), "a good thing");
    gate.close();
}

#[test]
fn a_stream_over_the_bound_is_judged_as_it_goes_and_denied_with_an_event() {
    let gate = guarded(json!({"output_guardrails": forbids("bad word", true)})).open();
    // Long past what is held as a whole; then the word, cut in two.
    let filler: String = (0..4000).map(|at| word(&format!("filler {at} "))).collect();
    let rest = word("a ba") + &word("d word") + &filler + &ending();
    gate.target("a").does([Act::Hear, Act::say(STREAM_HEAD), Act::say(filler + &rest)]);
    for request in [client::chat("hi", true), client::messages("hi", true)] {
        let answer = gate.post(&request);
        let tail = answer.text().split_off(answer.body.len() - 600);
        assert!(answer.status == 200 && answer.is_error(), "{}: {tail}", answer.status);
        assert!(answer.said().contains("filler 1000 ") && !answer.said().contains("bad"));
        assert!(!answer.said().contains("a ba"), "not even its beginning");
        assert!(!answer.says_done());
        let record = gate.record();
        assert_eq!((record.error_kind.as_str(), record.truncated), ("guardrail", true));
        assert_eq!(record.attempts.len(), 1);
        assert_eq!(gate.target("a").open(), 0, "the upstream is let go");
    }
    gate.close();
}

#[test]
fn a_window_streams_on_and_holds_the_last_text() {
    let mut guard = forbids("bad word", true);
    guard[0]["stream"] = json!("window");
    let gate = guarded(json!({"output_guardrails": guard})).open();
    let filler: String = (0..200).map(|at| word(&format!("filler number {at} "))).collect();
    let acts = [
        Act::Hear,
        Act::say(STREAM_HEAD),
        Act::say(role() + &filler),
        Act::Wait(secs(10)),
        Act::say(word("a bad") + &word(" word") + &ending()),
    ];
    gate.target("a").does(acts);
    let mut conn = gate.begin(&client::chat("hi", true), secs(5));
    let seen = {
        let net = gate.world.net();
        gate.run(async move {
            use trunkline::io::net::Net;
            let quiet = net.now().after(millis(1));
            let read = async { while conn.fill(100_000).await {} };
            trunkline::io::race::race(std::pin::pin!(read), std::pin::pin!(net.sleep_until(quiet)))
                .await;
            conn
        })
    };
    let early = String::from_utf8_lossy(&seen.buffer).into_owned();
    assert!(early.contains("filler number 50 "), "it streams while it is judged");
    assert!(!early.contains("filler number 199 "), "the last text is held back");
    drop(seen);
    let answer = gate.stream("hi");
    assert!(answer.is_error() && !answer.said().contains("bad"), "{}", answer.said());
}

#[test]
fn a_stream_judged_at_its_end_passes_and_is_told_before_the_end_mark() {
    let mut guard = forbids("says", false);
    let gate =
        guarded(json!({"output_guardrails": guard.clone(), "strict_open_ai_compliance": false,
                              "input_guardrails": forbids("x", false)}))
        .open();
    let answer = gate.stream("hi");
    assert!(answer.is_whole(), "{answer:?}");
    let events = answer.events();
    assert!(events[0].1.contains("before_request_hooks"), "{events:?}");
    let last = &events[events.len() - 2].1;
    assert!(last.contains("after_request_hooks") && last.contains("\"verdict\":false"), "{last}");
    assert_eq!(events[events.len() - 1].1, "[DONE]");
    // To a strict client nothing of it is said.
    let strict = guarded(json!({"output_guardrails": guard.clone()})).open();
    let answer = strict.stream("hi");
    assert!(answer.is_whole() && !answer.text().contains("hook_results"));
    assert_eq!(
        strict.record().guardrails,
        ["config.targets[0] output words failed: default.contains"]
    );
    // One that denies says so instead of the end mark.
    guard[0]["deny"] = json!(true);
    guard[0]["stream"] = json!("end");
    let denies = guarded(json!({"output_guardrails": guard})).open();
    let answer = denies.stream("hi");
    assert_eq!(answer.said(), "a says five words");
    assert!(answer.is_error() && !answer.says_done(), "{answer:?}");
    assert_eq!(answer.error().as_deref(), Some("hooks_failed"));
    for gate in [gate, strict, denies] {
        gate.close();
    }
}

#[test]
fn a_failed_request_makes_a_246_of_a_stream_too() {
    let gate = guarded(json!({"input_guardrails": forbids("hi", false)})).open();
    let answer = gate.stream("hi");
    assert_eq!((answer.status, answer.complete), (246, true));
    assert_eq!(answer.said(), "a says five words");
    assert_eq!(gate.record().status, 246);
    gate.close();
}

#[test]
fn a_translated_answer_is_judged_in_the_clients_format() {
    let policy = json!({"virtual_key": "a", "output_guardrails": forbids("five", true)});
    let gate = Setup::new(1).target("a", "anthropic").policy(policy).open();
    for stream in [false, true] {
        let answer = gate.post(&client::chat("hi", stream));
        assert_eq!(answer.status, 446, "{answer:?}");
    }
    gate.close();
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
