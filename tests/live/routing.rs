//! Which target answers: fallback, retries, weights, nesting, and the ways a request can name one.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    harness::{
        Driver, End, Gateway, Upstream, gateway, http,
        http::{bare, chat, chat_stream, get, post},
        on_both_drivers, sandbox,
        upstream::{error_answer, json_answer},
    },
    streams::fallback,
};

on_both_drivers!(
    a_fallback_translates,
    retries_back_off_and_are_counted,
    retry_after_is_honoured_where_asked,
    weights_are_kept,
    nested_strategies_work,
    a_target_can_be_named_in_every_way,
    bring_your_own_key,
    traces_and_metadata_are_logged,
    models_are_listed,
    uploads_are_streamed,
    headers_are_forwarded_where_named,
);

const INDEX: &str = "x-portkey-last-used-option-index";
const RETRIES: &str = "x-portkey-retry-attempt-count";

/// A plain call under an inline config.
fn under(config: &str, body: &str) -> Vec<u8> {
    post("/v1/chat/completions", &format!("x-portkey-config: {config}\r\n"), body)
}

fn a_fallback_translates(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let gateway = Gateway::in_front_of(driver, sandbox.port());
    let config = r#"{"strategy":{"mode":"fallback"},"targets":[{"virtual_key":"up","override_params":{"model":"sandbox-fail-503"}},{"virtual_key":"claude","override_params":{"model":"sandbox-chat"}}]}"#;
    let got = gateway.connect().ask(&under(config, &chat("gpt")));
    assert_eq!((got.status, got.header(INDEX)), (200, Some("config.targets[1]")));
    assert_eq!(got.header("x-portkey-provider"), Some("anthropic"));
    let json = got.json();
    assert_eq!(json["object"], "chat.completion");
    assert!(json["choices"][0]["message"]["content"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    let got = gateway.connect().ask(&under(config, &chat_stream("gpt")));
    assert_eq!((got.status, got.end), (200, End::Chunked));
    let events: Vec<&str> = got.text().split("\n\n").collect();
    assert!(events.iter().any(|event| event.contains("\"content\":")), "{}", got.text());
    assert!(got.text().ends_with("data: [DONE]\n\n"), "{}", got.text());
    for record in gateway.records(2) {
        let attempts = record["attempts"].as_array().expect("attempts");
        let seen: Vec<(&Value, &Value)> =
            attempts.iter().map(|a| (&a["status"], &a["provider"])).collect();
        let expected =
            [(Value::from(503), Value::from("openai")), (Value::from(200), "anthropic".into())];
        assert_eq!(seen, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
        assert!(record["usage"]["output"].as_u64().is_some_and(|tokens| tokens > 0), "{record}");
    }
}

fn retries_back_off_and_are_counted(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            let gives_in = heard.text().contains("gives-in") && peer.count() == 2;
            peer.send(&if gives_in { json_answer("{}") } else { error_answer(503, "") });
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let config = r#"{"virtual_key":"up","retry":{"attempts":1}}"#;
    let begun = Instant::now();
    let got = gateway.connect().ask(&under(config, &chat("gives-in")));
    assert_eq!((got.status, got.header(RETRIES)), (200, Some("1")));
    assert!(begun.elapsed() >= Duration::from_secs(1), "the first wait is a second");
    let got = gateway.connect().ask(&under(config, &chat("never")));
    assert_eq!((got.status, got.header(RETRIES)), (503, Some("-1")));
    assert_eq!(got.message(), "scripted 503");
    let never = r#"{"virtual_key":"up","retry":{"attempts":5,"on_status_codes":[500]}}"#;
    let got = gateway.connect().ask(&under(never, &chat("never")));
    assert_eq!((got.status, got.header(RETRIES)), (503, Some("0")));
    assert_eq!(up.requests().len(), 5);
    let records = gateway.records(3);
    let counts: Vec<_> = records.iter().map(|r| r["attempts"].as_array().map(Vec::len)).collect();
    assert_eq!(counts, [Some(2), Some(2), Some(1)]);
}

fn retry_after_is_honoured_where_asked(driver: Driver) {
    let up = Upstream::start(|peer| {
        while peer.request().is_some() {
            let first = peer.count() % 2 == 1;
            let limited = error_answer(429, "retry-after-ms: 20\r\n");
            peer.send(&if first { limited } else { json_answer("{}") });
        }
    });
    for spelling in ["use_retry_after_header", "use_retry_after_headers"] {
        let gateway = Gateway::in_front_of(driver, up.port);
        let config =
            format!(r#"{{"virtual_key":"up","retry":{{"attempts":2,"{spelling}":true}}}}"#);
        let begun = Instant::now();
        let got = gateway.connect().ask(&under(&config, &chat("m")));
        assert_eq!((got.status, got.header(RETRIES)), (200, Some("1")));
        assert!(begun.elapsed() < Duration::from_secs(1), "it waited its own second");
    }
    let up = Upstream::answering(error_answer(429, "retry-after: 61\r\n"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let config = r#"{"virtual_key":"up","retry":{"attempts":2,"use_retry_after_header":true}}"#;
    let got = gateway.connect().ask(&under(config, &chat("m")));
    assert_eq!((got.status, got.header(RETRIES)), (429, Some("-1")), "too long a wait is none");
    assert_eq!(up.requests().len(), 1);
}

fn weights_are_kept(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let config = r#"{"strategy":{"mode":"loadbalance"},"targets":[{"virtual_key":"up","weight":3},{"virtual_key":"up","weight":1},{"virtual_key":"up","weight":0}]}"#;
    let mut conn = gateway.connect();
    let mut counts = [0_usize; 3];
    for _ in 0..400 {
        let got = conn.ask(&under(config, &chat("m")));
        let index = got.header(INDEX).and_then(|path| path.strip_prefix("config.targets["));
        let index = index.and_then(|rest| rest.strip_suffix(']')?.parse::<usize>().ok());
        counts[index.expect("an index")] += 1;
    }
    // 300 to 100, and more than seven standard deviations of room.
    assert!((230..370).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[2], 0, "a weight of 0 is never");
}

fn nested_strategies_work(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let gateway = Gateway::in_front_of(driver, sandbox.port());
    let bad = r#"{"virtual_key":"up","override_params":{"model":"sandbox-fail-500"}}"#;
    let good = r#"{"virtual_key":"up"}"#;
    let config = format!(
        r#"{{"strategy":{{"mode":"fallback"}},"override_params":{{"temperature":0.5}},"targets":[{{"strategy":{{"mode":"loadbalance"}},"targets":[{bad},{bad}]}},{{"strategy":{{"mode":"fallback"}},"targets":[{bad},{good}]}}]}}"#
    );
    let got = gateway.connect().ask(&under(&config, &chat("m")));
    assert_eq!((got.status, got.header(INDEX)), (200, Some("config.targets[1].targets[1]")));
    let bodies: Vec<Value> = sandbox
        .requests()
        .iter()
        .map(|request| serde_json::from_str(request["body"].as_str().unwrap_or("")).expect("JSON"))
        .collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| body["temperature"] == 0.5), "inherited: {bodies:?}");
    // A status that a strategy does not name ends it.
    let config = format!(
        r#"{{"strategy":{{"mode":"fallback","on_status_codes":[429]}},"targets":[{bad},{good}]}}"#
    );
    let got = gateway.connect().ask(&under(&config, &chat("m")));
    assert_eq!((got.status, got.header(INDEX)), (500, Some("config.targets[0]")));
}

fn a_target_can_be_named_in_every_way(driver: Driver) {
    let one = Upstream::answering(json_answer("{\"n\":1}"));
    let two = Upstream::answering(json_answer("{\"n\":2}"));
    let config = fallback(one.port, two.port)
        .replace("configs:\n", "configs:\n  second: { virtual_key: two }\n");
    let gateway = Gateway::new(driver).config(config).start();
    let mut conn = gateway.connect();
    let mut ask = |headers: &str, model: &str| {
        let got = conn.ask(&post("/v1/chat/completions", headers, &chat(model)));
        assert_eq!(got.status, 200, "{headers}: {}", got.text());
        got.text().to_owned()
    };
    assert_eq!(ask("", "m"), "{\"n\":1}", "the API key's own");
    assert_eq!(ask("x-portkey-config: second\r\n", "m"), "{\"n\":2}");
    assert_eq!(ask("x-trunkline-config: second\r\n", "m"), "{\"n\":2}");
    assert_eq!(ask("x-portkey-config: {\"virtual_key\":\"two\"}\r\n", "m"), "{\"n\":2}");
    assert_eq!(ask("x-portkey-virtual-key: two\r\n", "m"), "{\"n\":2}");
    assert_eq!(ask("x-portkey-provider: @two\r\n", "m"), "{\"n\":2}");
    assert_eq!(ask("", "@two/gpt"), "{\"n\":2}");
    assert_eq!(two.last().text(), chat("gpt"), "the prefix is Trunkline's");
    assert_eq!(ask("x-portkey-virtual-key: one\r\nx-portkey-config: second\r\n", "m"), "{\"n\":2}");
    let twice = "x-portkey-config: second\r\nx-trunkline-config: both\r\n";
    let got = gateway.connect().ask(&post("/v1/chat/completions", twice, &chat("m")));
    assert_eq!(got.status, 400);
    let labels: Vec<Value> = gateway.records(9).iter().map(|r| r["config"].clone()).collect();
    assert_eq!(labels[..2], ["both", "second"]);
    assert!(labels[3].as_str().is_some_and(|label| label.starts_with("inline:")), "{labels:?}");
}

fn bring_your_own_key(driver: Driver) {
    let sandbox = sandbox::Box::start();
    // Without a file and without a key: open on loopback.
    let gateway = Gateway::new(driver).start();
    let host = format!("http://127.0.0.1:{}/v1", sandbox.port());
    let own = format!(
        "x-portkey-provider: openai\r\nx-portkey-custom-host: {host}\r\nx-portkey-api-key: ignored\r\n\
         authorization: Bearer sk-the-callers-own\r\n"
    );
    let ask = |own: &str, path: &str| {
        let body = chat("m").replacen('{', "{\"max_tokens\":9,", 1);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{own}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        gateway.connect().ask(request.as_bytes())
    };
    assert_eq!(ask(&own, "/v1/chat/completions").status, 200);
    let anthropic =
        own.replace("openai", "anthropic").replace("authorization: Bearer", "x-api-key:");
    assert_eq!(ask(&anthropic, "/v1/messages").status, 200);
    let headers: Vec<Value> = sandbox.requests().iter().map(|r| r["headers"].clone()).collect();
    assert_eq!(headers[0]["authorization"], "…-own");
    assert_eq!(headers[0]["x-portkey-api-key"], Value::Null);
    assert_eq!(headers[1]["x-api-key"], "…-own");
    assert_eq!(headers[1]["authorization"], Value::Null);
    let none = own.replace("authorization: Bearer sk-the-callers-own\r\n", "");
    let got = ask(&none, "/v1/chat/completions");
    assert_eq!(got.status, 401, "{}", got.text());
    assert!(got.message().contains("credential"), "{}", got.text());
}

fn traces_and_metadata_are_logged(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let keyed = gateway::simple(up.port)
        .replace("config: plain }", "config: plain, metadata: { team: house } }");
    let gateway = Gateway::new(driver).config(keyed).start();
    let headers = "x-portkey-trace-id: my-trace\r\n\
                   x-portkey-metadata: {\"team\":\"forged\",\"user\":\"ann\"}\r\n";
    let got = gateway.connect().ask(&post("/v1/chat/completions", headers, &chat("m")));
    assert_eq!(got.header("x-portkey-trace-id"), Some("my-trace"));
    let id = got.header("x-trunkline-request-id").expect("an id");
    let record = gateway.record();
    assert_eq!((&record["trace"], &record["id"]), (&"my-trace".into(), &id.into()));
    assert_eq!(record["meta"], serde_json::json!({"team": "house", "user": "ann"}));
    let plain = gateway.connect().post("/v1/chat/completions", &chat("m"));
    assert!(plain.header("x-portkey-trace-id").is_some_and(|id| !id.is_empty()), "made if absent");
    let odd = "x-portkey-metadata: not json\r\n";
    let got = gateway.connect().ask(&post("/v1/chat/completions", odd, &chat("m")));
    assert_eq!(got.status, 200, "ignored and counted");
    let heard = up.last();
    assert!(
        !heard.head.contains("metadata") && !heard.head.contains("x-portkey"),
        "{}",
        heard.head
    );
}

fn models_are_listed(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let config = gateway::simple(sandbox.port()).replace(
        "plain: { virtual_key: up }",
        "plain: { virtual_key: up, override_params: { model: gpt-4o } }",
    );
    let gateway = Gateway::new(driver).config(config).start();
    let mut conn = gateway.connect();
    let listed = conn.ask(&get("/v1/models", "")).json();
    assert_eq!(listed["object"], "list");
    assert_eq!(listed["data"][0]["id"], "gpt-4o");
    assert_eq!(listed["data"][0]["owned_by"], "openai");
    let theirs = conn.ask(&get("/v1/models", "x-portkey-virtual-key: up\r\n")).json();
    assert_eq!(theirs["data"][0]["owned_by"], "sandbox");
}

fn uploads_are_streamed(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            peer.send(&json_answer(&format!("{{\"bytes\":{}}}", heard.body.len())));
        }
    });
    let config = format!("limits: {{ body: 64KiB, upload: 1MiB }}\n{}", gateway::simple(up.port));
    let gateway = Gateway::new(driver).config(config).start();
    let head = |length: usize| {
        let media = "content-type: multipart/form-data; boundary=x\r\nexpect: 100-continue\r\n";
        bare("POST", "/v1/files", &format!("{media}content-length: {length}\r\n"))
    };
    let mut conn = gateway.connect();
    conn.send(&head(500_000));
    assert_eq!(conn.head().expect("an invitation").0, 100);
    let body: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
    conn.send(&body);
    assert_eq!(conn.answer().text(), "{\"bytes\":500000}");
    assert_eq!(up.last().body, body);
    let got = gateway.connect().ask(&head(2_000_000));
    assert_eq!(got.status, 413);
    assert!(got.message().contains("limits.upload"), "{}", got.text());
    // Without a length the bound is found on the way.
    let chunked = bare(
        "POST",
        "/v1/files",
        "content-type: multipart/form-data; boundary=x\r\ntransfer-encoding: chunked\r\n",
    );
    let mut conn = gateway.connect();
    conn.send(&chunked);
    conn.send(&[b"a\r\n0123456789\r\n".as_slice(), b"0\r\n\r\n"].concat());
    assert_eq!(conn.answer().status, 200);
    assert_eq!(http::show(&up.last().body), "a\r\n0123456789\r\n0\r\n\r\n");
}

fn headers_are_forwarded_where_named(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let headers = "x-tenant: 7\r\nx-other: 8\r\ncookie: c=1\r\ntraceparent: 00-ab-cd-01\r\n\
                   x-portkey-forward-headers: x-tenant\r\nuser-agent: me\r\naccept-encoding: gzip\r\n";
    let ask = post("/v1/chat/completions", headers, &chat("m"));
    assert_eq!(gateway.connect().ask(&ask).status, 200);
    let heard = up.last();
    assert_eq!(heard.header("x-tenant"), Some("7"));
    assert_eq!(heard.header("traceparent"), Some("00-ab-cd-01"));
    assert_eq!(heard.header("accept-encoding"), Some("identity"));
    for kept in ["x-other", "cookie", "user-agent", "x-portkey-forward-headers"] {
        assert_eq!(heard.header(kept), None, "{kept}");
    }
}
