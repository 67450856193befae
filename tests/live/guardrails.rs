//! Guardrails with a webhook that is a server of its own: what it denies goes nowhere, what it lets pass is answered,
//! and one that is slow or not there holds nobody up.

use std::time::{Duration, Instant};

use crate::harness::{
    Driver, Gateway,
    gateway::api_keys,
    http::Conn,
    on_both_drivers,
    upstream::{Upstream, json_answer},
};

on_both_drivers!(a_webhook_decides_and_one_that_is_slow_or_gone_holds_nobody_up,);

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}]}"#;

fn config(up: u16, hook: u16) -> String {
    format!(
        "virtual_keys: {{ up: {{ provider: openai, base_url: \"http://127.0.0.1:{up}/v1\", api_key: k }} }}\n\
         configs:\n  plain:\n    virtual_key: up\n    input_guardrails:\n      \
           - {{ id: hook, deny: true, webhook: {{ webhookURL: \"http://127.0.0.1:{hook}/check\", timeout: 1000, \
                headers: {{ x-token: t0ken }} }} }}\n{}",
        api_keys("plain"),
    )
}

fn body(words: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{words}"}}]}}"#)
}

fn a_webhook_decides_and_one_that_is_slow_or_gone_holds_nobody_up(driver: Driver) {
    let up = Upstream::answering(json_answer(ANSWER));
    // What speaks of a secret it refuses; what is slow it does not answer in time.
    let hook = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            let told: serde_json::Value = serde_json::from_str(&heard.text()).expect("JSON");
            let text = told["request"]["text"].as_str().unwrap_or_default().to_owned();
            if text == "slow" {
                std::thread::sleep(Duration::from_secs(4));
            }
            let answer = format!(r#"{{"verdict":{},"data":"seen"}}"#, !text.contains("secret"));
            if !peer.send(&json_answer(&answer)) {
                return;
            }
        }
    });
    let gateway = Gateway::new(driver).config(config(up.port, hook.port)).start();
    let ask = |client: &mut Conn, words: &str| client.post("/v1/chat/completions", &body(words));
    let mut client = gateway.connect();

    let denied = ask(&mut client, "a secret");
    assert_eq!(denied.status, 446, "{}", denied.text());
    assert_eq!(denied.json()["error"]["type"], "hooks_failed");
    assert_eq!(up.requests().len(), 0, "what was denied went nowhere");
    assert!(hook.last().first_line().starts_with("POST /check HTTP/1.1"));
    assert_eq!(hook.last().header("x-token"), Some("t0ken"));

    let passed = ask(&mut client, "hello");
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(passed.json()["hook_results"]["before_request_hooks"][0]["verdict"], true);
    assert_eq!(hook.connections(), 1, "its connection is used again");

    let slow = ask(&mut client, "slow");
    let check = &slow.json()["hook_results"]["before_request_hooks"][0]["checks"][0];
    assert_eq!((slow.status, check["verdict"].as_bool()), (200, Some(false)), "{check}");
    assert!(check["error"]["message"].as_str().is_some_and(|m| m.contains("1000 ms")), "{check}");

    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gone = unused.local_addr().expect("an address").port();
    drop(unused);
    gateway.write_config(&config(up.port, gone));
    gateway.hears("is in force");
    let begun = Instant::now();
    let got = ask(&mut client, "a secret");
    assert_eq!(got.status, 200, "a webhook that is gone counts as passed: {}", got.text());
    assert!(begun.elapsed() < Duration::from_secs(10));

    let records = gateway.records(4);
    assert_eq!(records[0]["guardrails"][0], "config input hook denied: default.webhook");
    assert_eq!(records[1]["guardrails"][0], "config input hook passed");
    assert_eq!(
        records[2]["guardrails"][0],
        "config input hook passed with errors: default.webhook"
    );
}
