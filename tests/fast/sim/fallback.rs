//! Whatever goes wrong before the first content, another target answers, and the record says why the first was left.

use serde_json::json;

use super::{Gate, Setup, client, millis, secs, target::*};

/// Why the first target was left, once the second has answered both a plain and a streamed call.
fn left_for_b(prepare: impl Fn(&Gate)) -> String {
    let mut left = Vec::new();
    for stream in [false, true] {
        let gate = Setup::new(1).file("timeouts: {connect: 5s, first_byte: 20s}").open();
        prepare(&gate);
        let answer = gate.post(&client::chat("hi", stream));
        assert!(answer.is_whole(), "{answer:?}");
        assert_eq!(answer.said(), "b says five words");
        assert_eq!(answer.header("x-portkey-last-used-option-index"), Some("config.targets[1]"));
        assert_eq!(gate.target("b").asked(), 1);
        let record = gate.record();
        assert_eq!((record.attempts.len(), record.status), (2, 200));
        assert_eq!(record.virtual_key, "b");
        assert!(!record.truncated && !record.client_gone && record.error_kind.is_empty());
        left.push(record.attempts[0].left.clone());
        gate.close();
    }
    assert_eq!(left[0], left[1]);
    left.remove(0)
}

#[test]
fn a_target_that_refuses() {
    assert_eq!(left_for_b(|gate| gate.target("a").refuses()), "unreachable");
}

#[test]
fn a_target_whose_connect_is_never_answered() {
    let gate = Setup::new(1).file("timeouts: {connect: 5s}").open();
    gate.target("a").is_silent();
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(secs(5) <= answer.took && answer.took < millis(5100), "{:?}", answer.took);
    assert_eq!(gate.record().attempts[0].left, "timeout_connect");
}

#[test]
fn a_target_that_answers_503() {
    assert_eq!(left_for_b(|gate| gate.target("a").is("status=503")), "status");
}

#[test]
fn a_target_that_answers_any_other_error() {
    for status in [302, 400, 401, 404, 413, 429, 500, 504, 529] {
        let gate = Gate::new(1);
        gate.target("a").is(&format!("status={status}"));
        assert_eq!(gate.ask("hi").served_by(), "b", "{status}");
        assert_eq!(gate.record().attempts[0].status, status);
    }
}

#[test]
fn a_target_that_stalls_before_its_head() {
    let left = left_for_b(|gate| gate.target("a").is("first_byte=1h"));
    assert_eq!(left, "timeout_first_byte");
    let gate = Setup::new(1).file("timeouts: {first_byte: 20s}").open();
    gate.target("a").is("first_byte=1h");
    let took = gate.ask("hi").took;
    assert!(secs(20) <= took && took < millis(20_100), "{took:?}");
    assert_eq!(gate.target("a").open(), 0, "the upstream was let go");
}

#[test]
fn a_target_that_cuts_before_its_head() {
    assert_eq!(left_for_b(|gate| gate.target("a").is("cut=0")), "unreachable");
}

#[test]
fn a_target_that_cuts_in_its_head() {
    assert_eq!(left_for_b(|gate| gate.target("a").is("cut=30")), "unreachable");
}

#[test]
fn a_target_that_resets() {
    let acts = [Act::Hear, Act::say("HTTP/1.1 200 OK\r\ncontent-le"), Act::Reset];
    assert_eq!(left_for_b(|gate| gate.target("a").does(acts.clone())), "unreachable");
}

#[test]
fn a_target_that_speaks_no_http() {
    assert_eq!(left_for_b(|gate| gate.target("a").is("malformed=http")), "protocol");
}

#[test]
fn a_stream_whose_first_event_is_an_error() {
    let gate = Gate::new(1);
    gate.target("a").is("error_event=0");
    let answer = gate.stream("hi");
    assert!(answer.is_whole());
    assert_eq!(answer.served_by(), "b");
    assert_eq!(gate.record().attempts[0].left, "upstream_error");
}

#[test]
fn a_stream_whose_first_content_is_an_error_after_the_role() {
    let gate = Gate::new(1);
    let error = chunk(r#"{"error":{"message":"overloaded","type":"server_error"}}"#);
    gate.target("a").does([
        Act::Hear,
        Act::say(STREAM_HEAD),
        Act::say(role()),
        Act::Wait(secs(1)),
        Act::say(error),
    ]);
    let answer = gate.stream("hi");
    assert_eq!(answer.said(), "b says five words");
    assert_eq!(gate.record().attempts[0].left, "upstream_error");
}

#[test]
fn a_stream_without_an_event() {
    for body in ["0\r\n\r\n", "4\r\n: x\n\r\n0\r\n\r\n"] {
        let gate = Gate::new(1);
        gate.target("a").does([Act::Hear, Act::say(STREAM_HEAD), Act::say(body)]);
        let answer = gate.stream("hi");
        assert_eq!(answer.served_by(), "b");
        assert_eq!(gate.record().attempts[0].left, "truncated");
    }
}

#[test]
fn a_stream_that_stalls_before_its_content() {
    let gate = Setup::new(1).file("timeouts: {idle: 30s}").open();
    gate.target("a").does([Act::Hear, Act::say(STREAM_HEAD), Act::say(role()), Act::Stall]);
    let answer = gate.stream("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(secs(30) <= answer.took && answer.took < secs(31));
    assert_eq!(gate.record().attempts[0].left, "timeout_idle");
}

#[test]
fn a_plain_answer_that_is_cut() {
    let gate = Gate::new(1);
    let whole = plain("a says what nobody will read");
    gate.target("a").does([Act::Hear, Act::say(&whole[..whole.len() - 3])]);
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(gate.record().attempts[0].left, "truncated");
}

#[test]
fn a_200_whose_json_is_broken() {
    assert_eq!(left_for_b(|gate| gate.target("a").is("malformed=json")), "protocol");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for body in ["", "{\"choices\":[", "<html>", "[]", "{}}"] {
        for framing in [
            format!("content-length: {}\r\n\r\n{body}", body.len()),
            format!("connection: close\r\n\r\n{body}"),
        ] {
            let gate = Gate::new(1);
            gate.target("a").does([Act::Hear, Act::say(format!("{head}{framing}"))]);
            assert_eq!(gate.ask("hi").served_by(), "b", "{framing}");
        }
    }
}

#[test]
fn a_200_whose_json_is_broken_is_passed_on_once_it_is_too_long_to_hold() {
    let gate = Gate::new(1);
    let body = format!("{{\"x\":\"{}", "x".repeat(100_000));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    gate.target("a").does([Act::Hear, Act::say(answer)]);
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.body.len(), answer.complete), (200, body.len(), true));
    assert_eq!(gate.target("b").connections(), 0);
}

#[test]
fn a_stream_whose_first_event_is_no_json() {
    for event in [chunk("{\"choices\":["), chunk("oops"), role() + &chunk("{")] {
        let gate = Gate::new(1);
        let rest = word("a") + &ending();
        gate.target("a").does([
            Act::Hear,
            Act::say(STREAM_HEAD),
            Act::say(event),
            Act::Wait(secs(1)),
            Act::say(rest),
        ]);
        let answer = gate.stream("hi");
        assert!(answer.is_whole() && answer.served_by() == "b", "{answer:?}");
        assert_eq!(gate.record().attempts[0].left, "protocol");
        gate.close();
    }
    // Behind content it is the client's to judge.
    let gate = Gate::new(1);
    let acts = [word("a"), chunk("oops"), ending()].map(Act::say);
    gate.target("a").does([Act::Hear, Act::say(STREAM_HEAD)].into_iter().chain(acts));
    assert!(gate.stream("hi").text().contains("oops"));
}

#[test]
fn without_a_target_left_the_last_answer_is_passed_on() {
    let gate = Gate::new(1);
    gate.target("a").refuses();
    gate.target("b").first_is("status=429&retry_after=7");
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.header("x-trunkline-error-source"), Some("upstream"));
    assert!(answer.is_error());
    gate.target("b").refuses();
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_error")));
    assert_eq!(answer.header("x-trunkline-error-source"), Some("network"));
}

#[test]
fn a_listed_status_falls_through_and_no_other() {
    let policy = json!({
        "strategy": {"mode": "fallback", "on_status_codes": [429]},
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
    });
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").first_is("status=500");
    assert_eq!(gate.ask("hi").status, 500);
    assert_eq!(gate.target("b").asked(), 0);
    gate.target("a").is("status=429");
    assert_eq!(gate.ask("hi").served_by(), "b");
}

#[test]
fn an_early_refusal_of_a_large_body_is_heard() {
    let gate = Gate::new(1);
    let body = r#"{"error":{"message":"no","type":"too_large"}}"#;
    let refusal = format!(
        "HTTP/1.1 413 Payload Too Large\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    for name in ["a", "b"] {
        // Closes on unread bytes: to the gateway's write that is a reset.
        gate.target(name).does([Act::Wait(millis(1)), Act::say(&*refusal)]);
    }
    let answer = gate.ask(&"x".repeat(300_000));
    assert_eq!((answer.status, answer.error().as_deref()), (413, Some("too_large")), "{answer:?}");
    assert_eq!(gate.record().attempts[0].status, 413);
}

#[test]
fn an_interim_answer_before_the_body_is_taken_is_no_answer() {
    let gate = Gate::new(1);
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let acts = [Act::Wait(millis(1)), Act::say(interim), Act::Wait(millis(1)), Act::Hear];
    gate.target("a").does(acts.into_iter().chain([Act::say(plain("a heard it all"))]));
    assert_eq!(gate.ask(&"x".repeat(300_000)).said(), "a heard it all");
    // Without end, it is a broken upstream.
    let gate = Gate::new(1);
    gate.target("a").does([Act::Repeat(interim.into())]);
    assert_eq!(gate.ask(&"x".repeat(300_000)).served_by(), "b");
    assert_eq!(gate.record().attempts[0].left, "protocol");
}
