//! Guardrails and streams: held, judged as they go, or at their end; denied with an event, never in silence.

use serde_json::json;

use super::{
    Setup, client,
    guardrails::{forbids, guarded},
    millis, secs,
    target::*,
};

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
