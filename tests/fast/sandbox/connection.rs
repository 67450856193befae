//! Connections of the sandbox: kept, pipelined, slow, cut, and left by their client.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::json;
use trunkline::{
    io::net::{Net, Reader},
    sandbox::Sandbox,
};

use super::{Got, Reply, Stage, address, get, millis, post, user, write};
use crate::world::Link;

fn echo(text: &str, extra: &str) -> Vec<u8> {
    let body = json!({"model": "sandbox-echo", "messages": user(text)});
    let request = post("/v1/chat/completions", extra, &body);
    String::from_utf8(request).expect("text").replace("connection: close\r\n", "").into_bytes()
}

fn echoed(reply: &Reply) -> String {
    reply.json()["choices"][0]["message"]["content"].as_str().expect("text").to_owned()
}

/// All answers in what one connection gave.
fn replies(mut raw: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some(reply) = Reply::parse(raw) {
        let body_at = raw.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        raw = &raw[body_at + reply.body.len()..];
        replies.push(reply);
    }
    replies
}

#[test]
fn a_connection_serves_one_request_after_the_other_also_pipelined() {
    let stage = Stage::new(Sandbox::new().recording());
    let mut requests = echo("one", "");
    requests.extend(echo("two", ""));
    requests.extend(get("/v1/models", ""));
    let replies = replies(&stage.send(requests).raw);
    assert_eq!(replies.len(), 3);
    assert_eq!([echoed(&replies[0]), echoed(&replies[1])], ["one", "two"]);
    let recorder = stage.sandbox.recorder.as_ref().expect("recording").borrow();
    assert_eq!((recorder.connections_opened, recorder.requests_total), (1, 3));
}

#[test]
fn requests_cut_at_any_byte_arrive_the_same() {
    let chunked = "POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\
        connection: close\r\n\r\n21\r\n{\"model\":\"sandbox-echo\",\"messages\r\n2a;x\r\n\
        \":[{\"role\":\"user\",\"content\":\"piecemeal\"}]}\r\n0\r\n\r\n";
    let plain = json!({"model": "sandbox-echo", "messages": user("piecemeal")});
    for request in [post("/v1/chat/completions", "", &plain), chunked.into()] {
        for cut in 1..request.len() {
            let stage = Stage::new(Sandbox::new());
            let (before, after) = (request[..cut].to_vec(), request[cut..].to_vec());
            let net = stage.world.net();
            let got = stage.world.run_until(async move {
                let (mut reader, mut writer) = net.connect(address()).await.expect("it listens");
                write(&mut writer, before).await;
                net.sleep_until(net.now().after(millis(5))).await;
                write(&mut writer, after).await;
                let mut got = Got { start: net.now(), ..Got::default() };
                got.read_to_end(&net, &mut reader).await;
                got
            });
            assert_eq!(echoed(&got.reply()), "piecemeal", "cut at {cut}");
        }
    }
}

#[test]
fn tiny_reads_and_narrow_links_change_nothing() {
    for capacity in [1, 7, 1000] {
        let link = Link { capacity, fragment: Some(3), latency: millis(1) };
        let stage = Stage::over(link, Sandbox::new());
        assert_eq!(
            echoed(&stage.post(
                "/v1/chat/completions",
                &json!({"model": "sandbox-echo",
            "messages": user("narrow")})
            )),
            "narrow"
        );
    }
}

#[test]
fn a_client_that_goes_away_is_noticed_at_once() {
    let stage = Stage::new(Sandbox::new().recording());
    for (model, at) in [("m?first_byte=1h", 40), ("m?interval=1h", 40), ("m?stall=100", 40)] {
        let net = stage.world.net();
        let body = json!({"model": model, "messages": user("x"), "stream": true});
        let start = stage.world.run_until(async move {
            let (reader, mut writer) = net.connect(address()).await.expect("it listens");
            let start = net.now();
            write(&mut writer, post("/v1/chat/completions", "", &body)).await;
            net.sleep_until(start.after(millis(at))).await;
            drop((reader, writer));
            start
        });
        stage.world.run_for(millis(1));
        let recorder = stage.sandbox.recorder.as_ref().expect("recording").borrow();
        let gone = recorder.gone.back().expect("it is noticed");
        assert_eq!(
            (gone.at.since(start), gone.path.as_str()),
            (millis(at), "/v1/chat/completions"),
            "{model}"
        );
        assert_eq!(recorder.connections_closed, recorder.connections_opened);
    }
    assert_eq!((stage.world.open_connections(), stage.world.tasks()), (0, 0));
}

#[test]
fn a_client_that_goes_away_while_writes_wait_is_noticed() {
    let link = Link { capacity: 1000, ..Link::default() };
    let stage = Stage::over(link, Sandbox::new().recording());
    let net = stage.world.net();
    let body = json!({"model": "m?chunks=1000", "messages": user("x"), "stream": true});
    stage.world.run_until(async move {
        let (_reader, mut writer) = net.connect(address()).await.expect("it listens");
        write(&mut writer, post("/v1/chat/completions", "", &body)).await;
        net.sleep_until(net.now().after(millis(10))).await;
    });
    stage.world.run_for(millis(1));
    let recorder = stage.sandbox.recorder.as_ref().expect("recording").borrow();
    assert_eq!(recorder.gone_total, 1);
    assert!(recorder.gone[0].sent_bytes < 3000, "{:?}", recorder.gone[0]);
}

#[test]
fn a_slow_reader_does_not_shift_the_schedule() {
    let link = Link { capacity: 400, ..Link::default() };
    let stage = Stage::over(link, Sandbox::new());
    let net = stage.world.net();
    let body =
        json!({"model": "m?interval=100ms&chunks=10", "messages": user("x"), "stream": true});
    let ended = stage.world.run_until(async move {
        let (mut reader, mut writer) = net.connect(address()).await.expect("it listens");
        let start = net.now();
        write(&mut writer, post("/v1/chat/completions", "", &body)).await;
        net.sleep_until(start.after(millis(550))).await;
        let mut got = Got { start, ..Got::default() };
        got.read_to_end(&net, &mut reader).await;
        got
    });
    let at_once = ended.arrivals.iter().filter(|(at, _)| *at == millis(550)).count();
    assert!(at_once >= 4, "what was late comes at once: {:?}", ended.arrivals);
    assert_eq!(ended.ended, millis(900), "and the end is where it would have been");
}

#[test]
fn bodies_are_read_slowly_where_scripted() {
    let stage = Stage::over(Link { capacity: 100, ..Link::default() }, Sandbox::new());
    let text = "x".repeat(10_000);
    let got = stage.send({
        let body = json!({"model": "sandbox-echo", "messages": user(&text)});
        post("/v1/chat/completions", "x-sandbox-script: slow_read=5000\r\n", &body)
    });
    assert_eq!(echoed(&got.reply()), text);
    assert!((1900..2200).contains(&got.ended.as_millis()), "{:?}", got.ended);
}

#[test]
fn a_client_that_waits_for_a_go_ahead_gets_it() {
    let stage = Stage::new(Sandbox::new());
    let body = json!({"model": "sandbox-echo", "messages": user("later")});
    let request = post("/v1/chat/completions", "expect: 100-continue\r\n", &body);
    let head_end = request.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, body) = (request[..head_end].to_vec(), request[head_end..].to_vec());
    let net = stage.world.net();
    let got = stage.world.run_until(async move {
        let (mut reader, mut writer) = net.connect(address()).await.expect("it listens");
        write(&mut writer, head).await;
        let (_, go_ahead) = reader.read(BytesMut::with_capacity(100)).await;
        assert_eq!(&go_ahead[..], b"HTTP/1.1 100 Continue\r\n\r\n");
        write(&mut writer, body).await;
        let mut got = Got { start: net.now(), ..Got::default() };
        got.read_to_end(&net, &mut reader).await;
        got
    });
    assert_eq!(echoed(&got.reply()), "later");
}

#[test]
fn connections_are_closed_as_scripted() {
    let stage = Stage::new(Sandbox::new());
    let closed = stage.send(echo("x", "x-sandbox-script: keep_alive=off\r\n"));
    assert_eq!(closed.reply().headers["connection"], "close");
    let dropped = stage.send(echo("x", "x-sandbox-script: keep_alive=drop\r\n"));
    assert!(!dropped.reply().headers.contains_key("connection"));
}

#[test]
fn what_is_no_request_is_refused_and_the_refusal_arrives() {
    let stage = Stage::over(Link { capacity: 50, ..Link::default() }, Sandbox::new());
    let long =
        format!("POST /v1/x HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n{}", "y".repeat(100));
    for (request, status) in [("nonsense\r\n\r\n", 400), ("GET / HTTP/1.1\r\na b: c\r\n\r\n", 400)]
    {
        let got = stage.send(request.into());
        assert_eq!(got.reply().status, status, "{request}");
        assert!(!got.reset);
    }
    let net = stage.world.net();
    stage.world.run_until(async move {
        let (_reader, mut writer) = net.connect(address()).await.expect("it listens");
        write(&mut writer, long.into_bytes()).await;
    });
    stage.world.run_for(Duration::from_secs(3));
    assert_eq!(stage.world.open_connections(), 0, "an upload given up is forgotten");
}

#[test]
fn the_recorder_tells_what_came_also_over_http() {
    let stage = Stage::new(Sandbox::new().recording());
    stage.send(post(
        "/v1/chat/completions",
        "authorization: Bearer sk-0123456789abcdef\r\n",
        &json!({"model": "m", "messages": user("remember me")}),
    ));
    {
        let recorder = stage.sandbox.recorder.as_ref().expect("recording").borrow();
        let request = &recorder.requests[0].request;
        assert_eq!(request.header("authorization"), Some("Bearer sk-0123456789abcdef"));
        assert_eq!(request.body_bytes, request.body.len() as u64);
    }
    let journal = stage.send(get("/sandbox/journal", "")).reply().json();
    let request = &journal["requests"][0];
    assert_eq!(
        (&request["method"], &request["path"]),
        (&json!("POST"), &json!("/v1/chat/completions"))
    );
    assert!(request["body"].as_str().expect("a body").contains("remember me"));
    assert_eq!(request["headers"]["authorization"], "…cdef");
    let forgetful = Stage::new(Sandbox::new());
    assert_eq!(forgetful.send(get("/sandbox/journal", "")).reply().status, 404);
}

#[test]
fn the_lively_sandbox_streams_visibly() {
    let stage = Stage::new(Sandbox::lively());
    let body = json!({"model": "m", "messages": user("x"), "stream": true});
    let got = stage.send(post("/v1/chat/completions", "", &body));
    assert_eq!(got.arrivals[0].0, millis(150));
    assert!(got.arrivals.len() > 10);
}
