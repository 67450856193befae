//! What a provider does not count is estimated, and marked so; what it counts is never touched.

use serde_json::Value;

use crate::harness::{
    Driver, Gateway, Upstream,
    gateway::simple,
    http::{chat_stream, post},
    upstream::{DONE, FINISH, STREAM_HEAD, USAGE, chunk, delta, json_answer},
};

/// An exchange of this request with an upstream that answers this; its record.
fn record(headers: &str, path: &str, asked: &str, answer: Vec<u8>) -> Value {
    let up = Upstream::answering(answer);
    let gateway = Gateway::new(Driver::Epoll).config(simple(up.port)).start();
    let got = gateway.connect().ask(&post(path, headers, asked));
    assert_eq!(got.status, 200, "{}", got.text());
    gateway.record()
}

fn stream_of(events: &[&str]) -> Vec<u8> {
    let body: Vec<u8> = events.iter().flat_map(|event| chunk(event)).collect();
    [STREAM_HEAD, &body, b"0\r\n\r\n"].concat()
}

fn ask_of(words: usize) -> String {
    let text = "word ".repeat(words);
    format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn is_near(value: &Value, expected: u64) {
    let found = value.as_u64().expect("a number");
    assert!(found.abs_diff(expected) * 10 <= expected, "{found} is not near {expected}");
}

#[test]
fn a_plain_answer_without_usage_is_estimated_and_priced_as_such() {
    let text = "four ".repeat(4000);
    let answer = format!(
        r#"{{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}]}}"#
    );
    let record = record("", "/v1/chat/completions", &ask_of(4000), json_answer(&answer));
    assert_eq!(record["usage"]["estimated"], true);
    is_near(&record["usage"]["input"], 5000);
    is_near(&record["usage"]["output"], 5000);
    assert_eq!(record["cost_status"], "estimated", "{record:#}");
}

#[test]
fn a_stream_without_usage_is_estimated_from_its_events() {
    let tokens: Vec<String> = (0..50).map(|n| delta(&format!("t{n}"))).collect();
    let mut events: Vec<&str> = tokens.iter().map(String::as_str).collect();
    events.extend([FINISH, DONE]);
    let record = record("", "/v1/chat/completions", &chat_stream("m"), stream_of(&events));
    assert_eq!(record["usage"]["estimated"], true);
    assert_eq!(record["usage"]["output"], 50);
}

#[test]
fn a_translated_answer_without_usage_is_estimated_from_its_text() {
    let text = "four ".repeat(400);
    let answer = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn"}}"#
    );
    let headers = "x-portkey-config: anthropic\r\n";
    let record = record(headers, "/v1/chat/completions", &ask_of(400), json_answer(&answer));
    assert_eq!(record["usage"]["estimated"], true, "{record:#}");
    is_near(&record["usage"]["output"], 500);
}

#[test]
fn what_the_provider_counts_is_not_estimated() {
    let events = [&delta("one"), &delta("two"), FINISH, USAGE, DONE];
    let record = record("", "/v1/chat/completions", &chat_stream("m"), stream_of(&events));
    assert_eq!(record["usage"]["estimated"], false);
    assert_eq!((&record["usage"]["input"], &record["usage"]["output"]), (&11.into(), &7.into()));
}

#[test]
fn what_generates_nothing_or_not_yet_is_not_estimated() {
    let embeddings = r#"{"model":"m","input":"text"}"#;
    let answer = json_answer(r#"{"object":"list","data":[]}"#);
    assert_eq!(record("", "/v1/embeddings", embeddings, answer)["usage"], Value::Null);
    let background = r#"{"model":"m","input":"text","background":true}"#;
    let answer = json_answer(r#"{"id":"resp_1","status":"queued","usage":null}"#);
    assert_eq!(record("", "/v1/responses", background, answer)["usage"], Value::Null);
}

#[test]
fn a_truncated_stream_is_not_estimated() {
    let (go_on, went_on) = std::sync::mpsc::channel();
    let went_on = std::sync::Mutex::new(went_on);
    let up = Upstream::start(move |peer| {
        peer.request();
        peer.send(&[STREAM_HEAD, &chunk(&delta("begun"))].concat());
        // Once the client has seen the beginning, the end comes without a finish.
        went_on.lock().expect("a lock").recv().expect("a word");
        peer.send(b"0\r\n\r\n");
    });
    let gateway = Gateway::new(Driver::Epoll).config(simple(up.port)).start();
    let mut conn = gateway.connect();
    conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
    assert_eq!(conn.head().expect("a head").0, 200);
    go_on.send(()).expect("the upstream waits");
    while conn.piece().is_some() {}
    let record = gateway.record();
    assert_eq!((&record["truncated"], &record["usage"]), (&Value::Bool(true), &Value::Null));
}
