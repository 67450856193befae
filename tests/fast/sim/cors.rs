//! Calls from web pages: what answers, streams and errors say to which origin, and preflights.

use super::{
    Gate, Setup,
    answer::Answer,
    client::{chat_body, post},
    target::Act,
};

fn gate(origins: &str) -> Gate {
    Setup::new(1).file(&format!("cors: {{ origins: [{origins}] }}")).open()
}

fn ask(gate: &Gate, origin: &str, stream: bool) -> Answer {
    let header = format!("origin: {origin}\r\n");
    gate.post(&post("/v1/chat/completions", &header, &chat_body("hi", stream)))
}

fn preflight(gate: &Gate, path: &str, origin: &str) -> Answer {
    gate.post(
        format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: authorization,content-type,x-portkey-config\r\n\r\n"
        )
        .as_bytes(),
    )
}

/// The headers of an answer that are for browsers.
fn said(answer: &Answer) -> Vec<(&str, &str)> {
    let ours = |name: &str| name == "vary" || name.starts_with("access-control-");
    let headers = answer.headers.iter().filter(|(name, _)| ours(name));
    headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

const APP: &str = "https://app.example.com";

#[test]
fn a_listed_origin_may_read_answers_streams_and_errors() {
    let gate = gate(APP);
    for stream in [false, true] {
        let answer = ask(&gate, APP, stream);
        assert!(answer.is_whole());
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.header("vary"), Some("origin"));
        let exposed = answer.header("access-control-expose-headers").expect("names");
        for (name, _) in answer
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-portkey-") || name.starts_with("x-trunkline-"))
        {
            assert!(exposed.contains(name.as_str()), "{name}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let health =
        gate.post(format!("GET /healthz HTTP/1.1\r\nhost: a\r\norigin: {APP}\r\n\r\n").as_bytes());
    assert_eq!(health.header("access-control-allow-origin"), Some(APP));
    let lost =
        gate.post(format!("GET /nowhere HTTP/1.1\r\nhost: a\r\norigin: {APP}\r\n\r\n").as_bytes());
    assert_eq!((lost.status, lost.header("access-control-allow-origin")), (404, Some(APP)));
    gate.close();
}

#[test]
fn a_listed_origin_may_read_why_nothing_answered() {
    let gate = gate(APP);
    gate.target("a").refuses();
    gate.target("b").refuses();
    let failed = ask(&gate, APP, false);
    assert_eq!((failed.status, failed.header("access-control-allow-origin")), (502, Some(APP)));
}

#[test]
fn others_are_told_nothing() {
    let gate = gate(APP);
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "null",
        "",
    ] {
        assert_eq!(said(&ask(&gate, origin, false)), [("vary", "origin")], "{origin}");
        let asked = preflight(&gate, "/v1/chat/completions", origin);
        assert_eq!((asked.status, said(&asked)), (405, vec![("vary", "origin")]), "{origin}");
    }
    assert_eq!(said(&gate.ask("hi")), [("vary", "origin")]);
}

#[test]
fn a_preflight_is_answered_and_recorded() {
    let gate = gate(APP);
    for path in ["/v1/chat/completions", "/v1/files/x?a=b", "/healthz", "/nowhere"] {
        let asked = preflight(&gate, path, APP);
        assert_eq!(
            (asked.status, asked.text().as_str(), asked.complete),
            (200, "", true),
            "{path}"
        );
        assert_eq!(asked.header("access-control-allow-origin"), Some(APP));
        assert_eq!(
            asked.header("access-control-allow-headers"),
            Some("authorization,content-type,x-portkey-config")
        );
        let methods = asked.header("access-control-allow-methods").expect("methods");
        assert!(methods.contains("POST") && methods.contains("DELETE"));
        assert_eq!(asked.header("access-control-max-age"), Some("600"));
        assert_eq!(gate.record().status, 200);
    }
    assert_eq!(gate.target("a").asked(), 0);
    // An OPTIONS that asks nothing of the kind is what it always was.
    let plain = gate
        .post(format!("OPTIONS /v1/files HTTP/1.1\r\nhost: a\r\norigin: {APP}\r\n\r\n").as_bytes());
    assert_eq!((plain.status, plain.header("allow").is_some()), (405, true));
    gate.close();
}

#[test]
fn any_origin_is_a_star() {
    let gate = gate("'*'");
    assert_eq!(
        ask(&gate, "https://anyone.example", true).header("access-control-allow-origin"),
        Some("*")
    );
    assert_eq!(preflight(&gate, "/v1/x", "null").header("access-control-allow-origin"), Some("*"));
    assert_eq!(said(&gate.ask("hi")), [("vary", "origin")], "no page asked");
}

#[test]
fn an_upstream_does_not_speak_for_the_gateway_where_it_speaks_itself() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nvary: accept\r\n\
        Access-Control-Allow-Origin: *\r\naccess-control-expose-headers: X-Request-ID\r\n\
        content-length: 2\r\n\r\n{}";
    let on = gate(APP);
    on.target("a").does([Act::Hear, Act::say(answer)]);
    let got = ask(&on, "https://evil.example", false);
    assert_eq!(said(&got), [("vary", "accept"), ("vary", "origin")]);
    // Where nothing is configured, what the upstream says passes as ever.
    for off in [Gate::new(1), gate("")] {
        off.target("a").does([Act::Hear, Act::say(answer)]);
        let got = ask(&off, APP, false);
        assert_eq!(got.header("access-control-allow-origin"), Some("*"));
        assert_eq!(got.header("vary"), Some("accept"));
        assert_eq!(preflight(&off, "/v1/x", APP).status, 405);
    }
}
