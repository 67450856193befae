//! Scripted faults, and time: what a gateway under test would meet.

use serde_json::{Value, json};
use trunkline::sandbox::Sandbox;

use super::{Got, Reply, Stage, millis, post, user};

fn ask(model: &str, stream: bool) -> Got {
    let body = json!({"model": model, "messages": user("one two three"), "stream": stream});
    Stage::new(Sandbox::new()).send(post("/v1/chat/completions", "", &body))
}

fn error_of(reply: &Reply) -> Value {
    reply.json()["error"].clone()
}

#[test]
fn scripted_errors_have_status_shape_and_retry_after() {
    let reply = ask("script?status=429&retry_after=7", true).reply();
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (429, "7"));
    assert_eq!(error_of(&reply)["code"], "rate_limit_exceeded");
    assert_eq!(ask("sandbox-fail-500", false).reply().status, 500);
    let page = ask("m?status=502&error_body=html", false).reply();
    assert_eq!((page.status, page.headers["content-type"].as_str()), (502, "text/html"));
    assert!(ask("m?status=503&error_body=empty", false).reply().body.is_empty());
    assert!(ask("m?status=302", false).reply().headers.contains_key("location"));
}

#[test]
fn the_header_overrules_the_model_and_serves_every_path() {
    let stage = Stage::new(Sandbox::new());
    let body = json!({"model": "m?status=500", "messages": user("x")});
    let request = post("/v1/chat/completions", "x-sandbox-script: status=429\r\n", &body);
    assert_eq!(stage.send(request).reply().status, 429);
    let request = post("/v1/batches", "x-sandbox-script: status=503\r\n", &json!({}));
    assert_eq!(stage.send(request).reply().status, 503);
}

#[test]
fn errors_strike_at_their_rate() {
    let stage =
        Stage::new(Sandbox::new().scripted("status=503&rate=0.3".parse().expect("a script")));
    let body = json!({"model": "m", "messages": user("x")});
    let failed =
        (0..300).filter(|_| stage.post("/v1/chat/completions", &body).status == 503).count();
    assert!((60..120).contains(&failed), "{failed} of 300");
}

#[test]
fn only_the_expected_key_is_let_in() {
    let stage = Stage::new(Sandbox::new().expecting("sk-right"));
    let body = json!({"model": "m", "max_tokens": 9, "messages": user("x")});
    let ask = |path: &str, header: &str| stage.send(post(path, header, &body)).reply();
    let chat = "/v1/chat/completions";
    assert_eq!(ask(chat, "authorization: Bearer sk-right\r\n").status, 200);
    let wrong = ask(chat, "authorization: Bearer sk-wrong\r\n");
    assert_eq!((wrong.status, &error_of(&wrong)["code"]), (401, &json!("invalid_api_key")));
    assert!(!String::from_utf8_lossy(&wrong.body).contains("sk-"), "keys are not repeated");
    assert_eq!(ask(chat, "").status, 401);
    assert_eq!(ask("/v1/messages", "x-api-key: sk-right\r\n").status, 200);
    let wrong = ask("/v1/messages", "x-api-key: sk-wrong\r\n");
    assert_eq!((wrong.status, &error_of(&wrong)["type"]), (401, &json!("authentication_error")));
}

#[test]
fn chunks_come_on_an_absolute_schedule() {
    let got = ask("m?first_byte=100ms&interval=20ms&chunks=5", true);
    let arrived: Vec<u128> = got.arrivals.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(arrived, [100, 120, 140, 160, 180]);
    assert_eq!(got.ended, millis(180));
}

#[test]
fn a_plain_answer_comes_at_its_first_byte() {
    let got = ask("m?first_byte=250ms&interval=1s", false);
    assert_eq!(got.arrivals[0].0, millis(250));
    let spread = ask("m?first_byte=10ms..20ms", false).arrivals[0].0;
    assert!((millis(10)..=millis(20)).contains(&spread), "{spread:?}");
}

#[test]
fn a_cut_answer_ends_at_that_byte() {
    let whole = ask("m?chunks=4&interval=10ms", true);
    for cut in [0, 1, 200, 400, whole.raw.len() - 1] {
        let got = ask(&format!("m?chunks=4&interval=10ms&cut={cut}"), true);
        assert_eq!(got.raw.len(), cut);
        assert!(Reply::parse(&got.raw).is_none(), "cut at {cut} and yet complete");
        assert!(got.ended <= whole.ended);
    }
}

#[test]
fn a_stall_that_ends_delays_and_loses_nothing() {
    let whole = ask("m?chunks=4&interval=10ms", true);
    let stalled = ask("m?chunks=4&interval=10ms&stall=500&stall_for=2s", true);
    assert_eq!(stalled.reply().chunks().len(), whole.reply().chunks().len());
    assert!(stalled.ended >= millis(2000), "{:?}", stalled.ended);
}

#[test]
fn an_error_event_ends_a_stream() {
    let first = ask("m?error_event=0", true).reply();
    let events = first.events();
    assert_eq!((first.status, events.len()), (200, 1));
    assert!(events[0].1.starts_with(r#"{"error":{"#), "{events:?}");
    let later = ask("m?error_event=2", true).reply();
    let chunks = later.chunks();
    assert_eq!(chunks.len(), 4, "a role, two words, an error");
    assert_eq!(chunks[3]["error"]["type"], "server_error");
    assert!(later.events().iter().all(|(_, data)| data != "[DONE]"));
}

#[test]
fn broken_answers_are_broken() {
    let plain = ask("m?malformed=json", false).reply();
    assert_eq!(plain.status, 200);
    assert!(serde_json::from_slice::<Value>(&plain.body).is_err());
    let stream = ask("m?malformed=json", true).reply();
    assert!(serde_json::from_str::<Value>(&stream.events()[1].1).is_err());
    assert!(Reply::parse(&ask("m?malformed=http", false).raw).is_none());
}

#[test]
fn harmless_oddities_change_nothing_of_the_answer() {
    let plain = ask("m", false).reply().json()["choices"].clone();
    for odd in ["interim=2", "framing=chunked", "framing=close", "split=1"] {
        assert_eq!(ask(&format!("m?{odd}"), false).reply().json()["choices"], plain, "{odd}");
    }
    let stream = ask("m", true).reply().events().len();
    for odd in ["comments=3", "framing=close", "split=7"] {
        assert_eq!(ask(&format!("m?{odd}"), true).reply().events().len(), stream, "{odd}");
    }
}

#[test]
fn sizes_are_as_scripted_and_bounded() {
    let reply = ask("m?chunk_bytes=100&chunks=7", false).reply().json();
    let text = reply["choices"][0]["message"]["content"].as_str().expect("text");
    assert_eq!(text.len(), 700);
    assert_eq!(reply["usage"]["completion_tokens"], 175);
    let refused = ask("m?chunk_bytes=1048576&chunks=1000", false).reply();
    assert_eq!(refused.status, 400);
    let said = error_of(&refused)["message"].clone();
    let expected = "script: a plain answer may have 67108864 bytes of text, not 1048576000; a stream may be longer";
    assert_eq!(said, expected);
}
