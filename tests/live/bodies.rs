//! Bodies in the log: as the client sent them and as it got them, unless someone does not want that.

use serde_json::Value;

use crate::harness::{
    Conn, Driver, Gateway, KEY, Upstream,
    gateway::{CREDENTIAL, Plan, simple},
    http::{chat, chat_stream, post},
    log::trunkline,
    on_both_drivers, pause, sandbox,
    upstream::{DONE, FINISH, STREAM_HEAD, chunk, delta, json_answer},
    wait_for,
};

on_both_drivers!(
    both_bodies_are_logged_byte_for_byte,
    streams_are_logged_as_the_client_got_them,
    a_request_may_forbid_it,
    a_long_body_is_cut_and_says_so,
);

fn with_bodies(config: &str) -> String {
    format!("log: {{ bodies: true }}\n{config}")
}

fn start(driver: Driver, port: u16) -> Gateway {
    Plan::new(driver).config(with_bodies(&simple(port))).start()
}

fn id(record: &Value) -> String {
    record["request_id"].as_str().or(record["id"].as_str()).expect("an id").to_owned()
}

/// What `trunkline dump --id ID --bodies` shows below the exchange itself.
fn bodies(gateway: &Gateway, id: &str) -> String {
    let dir = gateway.log_dir();
    let output = trunkline(&["dump", dir.to_str().expect("text"), "--id", id, "--bodies"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.find("\nrequest body").or(text.find("\nresponse body")).map_or("", |at| &text[at..]).into()
}

fn shown(side: &str, body: &str) -> String {
    format!("\n{side} body, {} bytes\n{body}\n", body.len())
}

/// Waits for both bodies of the record at `at`.
fn both(gateway: &Gateway, at: usize) -> String {
    let id = id(&gateway.records(at + 1)[at]);
    wait_for("both bodies", || {
        let text = bodies(gateway, &id);
        (text.contains("\nrequest body") && text.contains("\nresponse body")).then_some(text)
    })
}

fn both_bodies_are_logged_byte_for_byte(driver: Driver) {
    let answer = "{\"choices\" : [ ],\n \"x\":1e999}\r\n";
    let up = Upstream::answering(json_answer(answer));
    let gateway = start(driver, up.port);
    let asked =
        "{ \"model\":\"m\", \"messages\":[ {\"role\":\"user\",\"content\":\"h\\u00e9\"} ] }";
    // What is logged is what the client sent, not what the target was sent.
    let config = r#"x-portkey-config: {"virtual_key":"up","override_params":{"temperature":0.5}}"#;
    let ask = post("/v1/chat/completions", &format!("{config}\r\n"), asked);
    assert_eq!(gateway.connect().ask(&ask).text(), answer);
    let text = both(&gateway, 0);
    assert_eq!(text, shown("request", asked) + &shown("response", answer));
    for secret in [KEY, CREDENTIAL] {
        assert!(!text.contains(secret), "headers are not logged with bodies");
    }
}

fn streams_are_logged_as_the_client_got_them(driver: Driver) {
    let events = [&delta("Hel"), &delta("lo"), FINISH, DONE];
    let stream: Vec<u8> = events.iter().flat_map(|event| chunk(event)).collect();
    let up = Upstream::answering([STREAM_HEAD, &stream, b"0\r\n\r\n"].concat());
    let gateway = start(driver, up.port);
    let asked = chat_stream("m");
    assert_eq!(gateway.connect().post("/v1/chat/completions", &asked).text(), events.concat());
    let expected = shown("request", &asked) + &shown("response", &events.concat());
    assert_eq!(both(&gateway, 0), expected);
}

#[test]
fn translated_answers_are_logged_in_the_clients_format() {
    let sandbox = sandbox::Box::start();
    let gateway = start(Driver::Epoll, sandbox.port());
    for (at, asked) in [chat("sandbox-chat"), chat_stream("sandbox-chat")].into_iter().enumerate() {
        let ask = post("/v1/chat/completions", "x-portkey-config: anthropic\r\n", &asked);
        let got = gateway.connect().ask(&ask);
        assert_eq!(got.status, 200, "{}", got.text());
        assert_eq!(both(&gateway, at), shown("request", &asked) + &shown("response", got.text()));
    }
}

fn a_request_may_forbid_it(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = start(driver, up.port);
    let private = post("/v1/chat/completions", "x-portkey-debug: false\r\n", &chat("m"));
    assert_eq!(gateway.connect().ask(&private).status, 200);
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
    both(&gateway, 1);
    assert_eq!(bodies(&gateway, &id(&gateway.records(2)[0])), "");
}

#[test]
fn errors_of_known_callers_are_logged_and_strangers_are_not() {
    let gateway = start(Driver::Epoll, 1);
    let stranger = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\
                    authorization: Bearer tl-unknown\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(gateway.connect().ask(stranger.as_bytes()).status, 401);
    let got = gateway.connect().post("/v1/chat/completions", "{ no json");
    assert_eq!(got.status, 400);
    let expected = shown("request", "{ no json") + &shown("response", got.text());
    assert_eq!(both(&gateway, 1), expected);
    assert_eq!(bodies(&gateway, &id(&gateway.records(2)[0])), "");
}

fn a_long_body_is_cut_and_says_so(driver: Driver) {
    let long = "x".repeat(3 << 20);
    let answer = format!("{{\"a\":\"{long}\"}}");
    let up = Upstream::answering(json_answer(&answer));
    let gateway = start(driver, up.port);
    let asked = format!("{{\"model\":\"m\",\"long\":\"{long}\"}}");
    assert_eq!(gateway.connect().post("/v1/chat/completions", &asked).text(), answer);
    let most = 1 << 20;
    let cut =
        |side: &str, body: &str| format!("\n{side} body, {most} bytes, cut\n{}\n", &body[..most]);
    let text = both(&gateway, 0);
    assert!(text == cut("request", &asked) + &cut("response", &answer), "{:.200}", text);
}

#[test]
fn an_upload_is_logged_as_it_passes() {
    let up = Upstream::start(|peer| {
        while peer.request().is_some() {
            peer.send(&json_answer("{\"id\":\"file-1\"}"));
        }
    });
    let gateway = start(Driver::Epoll, up.port);
    let part = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\ntext\r\n--b--\r\n";
    let mut conn = gateway.connect();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nx-portkey-virtual-key: up\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        part.len()
    );
    conn.send(head.as_bytes());
    pause(20);
    assert_eq!(conn.ask(part.as_bytes()).status, 200);
    let expected = shown("request", part) + &shown("response", "{\"id\":\"file-1\"}");
    assert_eq!(both(&gateway, 0), expected);
}

#[test]
fn a_reload_turns_it_off_at_once_and_says_that_on_needs_a_restart() {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = start(Driver::Epoll, up.port);
    gateway.write_config(&simple(up.port));
    gateway.hears("is in force");
    let ask = || Conn::to(gateway.address).post("/v1/chat/completions", &chat("m")).status;
    assert_eq!(ask(), 200);
    let quiet = id(&gateway.records(1)[0]);
    gateway.write_config(&with_bodies(&simple(up.port)));
    wait_for("the third epoch", || (gateway.count_said("is in force") == 2).then_some(()));
    assert_eq!(ask(), 200);
    both(&gateway, 1);
    assert_eq!(bodies(&gateway, &quiet), "");

    let without = Plan::new(Driver::Epoll).config(simple(up.port)).start();
    without.write_config(&with_bodies(&simple(up.port)));
    without.hears("log.bodies need a restart");
}
