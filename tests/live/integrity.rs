//! Every byte arrives, in order, however slow either side is; and what does not arrive whole says so.

use crate::harness::{
    Driver, End, Gateway, KEY, Upstream, gateway,
    http::{bare, chat, chat_stream, post},
    on_both_drivers, pause,
    tls::{Authority, client, connect},
    upstream::{Peer, STREAM_HEAD, chunk, delta, json_answer},
};

on_both_drivers!(
    a_client_that_reads_slowly_gets_every_byte,
    the_same_under_tls,
    an_upstream_that_reads_slowly_gets_every_byte,
    plain_answers_that_break_are_cut_short,
    connections_are_closed_where_either_side_asks,
    many_exchanges_at_once_do_not_mix,
);

/// An event whose place in the stream can be told from every part of it.
fn numbered(number: usize) -> String {
    delta(&format!("{number:07}-").repeat(1 + number % 200))
}

const EVENTS: usize = 4000;

fn many_events(peer: &mut Peer) {
    peer.request();
    peer.send(STREAM_HEAD);
    for number in 0..EVENTS {
        peer.send(&chunk(&numbered(number)));
    }
    peer.send(&chunk("data: [DONE]\n\n"));
    peer.send(b"0\r\n\r\n");
    peer.wait_for_close();
}

fn read_slowly<S: std::io::Read + std::io::Write>(conn: &mut crate::harness::Conn<S>) {
    conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
    assert_eq!(conn.head().expect("a head").0, 200);
    let mut held = Vec::new();
    for number in 0..EVENTS {
        if number % 500 == 0 {
            pause(40);
        }
        let event = conn.event(&mut held).expect("an event more");
        assert!(event == numbered(number), "event {number} is {event}");
    }
    assert_eq!(conn.event(&mut held).as_deref(), Some("data: [DONE]\n\n"));
    assert_eq!((conn.event(&mut held), conn.end()), (None, End::Chunked));
}

fn a_client_that_reads_slowly_gets_every_byte(driver: Driver) {
    let up = Upstream::start(many_events);
    let gateway = Gateway::in_front_of(driver, up.port);
    read_slowly(&mut gateway.connect());
}

fn the_same_under_tls(driver: Driver) {
    let up = Upstream::start(many_events);
    let authority = Authority::new("the test's own");
    let dir = tempfile::tempdir().expect("a directory");
    authority.issue(&["localhost"]).write(dir.path(), "server");
    let config =
        format!("tls: {{ cert: server.pem, key: server.key }}\n{}", gateway::simple(up.port));
    let gateway = Gateway::new(driver).config(config).in_dir(dir).tls().start();
    read_slowly(&mut connect(&client(&authority, None), gateway.address));
}

fn an_upstream_that_reads_slowly_gets_every_byte(driver: Driver) {
    let up = Upstream::start(|peer| {
        pause(300);
        while peer.request().is_some() {
            peer.send(&json_answer("{}"));
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let filler: String = (0..2_000_000).map(|n| format!("{n:06} ")).take(1_500_000).collect();
    let body = chat(&filler[..9_000_000]);
    let got = gateway.connect().post("/v1/chat/completions", &body);
    assert_eq!(got.status, 200, "{}", got.text());
    assert!(up.last().text() == body, "the buffered body changed on its way");
    let head = format!(
        "content-type: multipart/form-data; boundary=x\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut conn = gateway.connect();
    conn.send(&bare("POST", "/v1/files", &head));
    conn.send(body.as_bytes());
    assert_eq!(conn.answer().status, 200);
    assert!(up.last().text() == body, "the streamed body changed on its way");
}

fn plain_answers_that_break_are_cut_short(driver: Driver) {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let filler = "x".repeat(100_000);
    let cases = [
        format!("{json}content-length: 200000\r\n\r\n{{\"a\":\"{filler}"),
        format!("{json}transfer-encoding: chunked\r\n\r\n186a0\r\n{filler}\r\n"),
        format!("{json}transfer-encoding: chunked\r\n\r\n200000\r\n{filler}"),
    ];
    for case in cases {
        let bytes = case.clone();
        let up = Upstream::start(move |peer| {
            peer.request();
            peer.send(bytes.as_bytes());
            pause(100);
        });
        let gateway = Gateway::in_front_of(driver, up.port);
        let mut conn = gateway.connect();
        let got = conn.post("/v1/chat/completions", &chat("m"));
        // Either nothing was out yet, and it is an error, or the break is seen.
        assert!(got.status == 502 || got.end == End::CutShort, "{} {:?}", got.status, got.end);
        let record = gateway.record();
        assert_eq!(record["error"], "truncated", "{record}");
        assert_eq!(record["truncated"], got.status == 200, "{record}");
    }
}

fn connections_are_closed_where_either_side_asks(driver: Driver) {
    let mut closing = json_answer("{}");
    let at = crate::harness::http::find(&closing, b"\r\n").expect("a line") + 2;
    closing.splice(at..at, b"connection: close\r\n".iter().copied());
    let up = Upstream::start(move |peer| while peer.request().is_some() && peer.send(&closing) {});
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    for number in 0..3 {
        assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
        up.sees_close(number);
    }
    assert_eq!(up.connections(), 3, "an upstream that says close is not asked again");
    let got = conn.ask(&post("/v1/chat/completions", "connection: close\r\n", &chat("m")));
    assert_eq!((got.status, got.header("connection")), (200, Some("close")));
    assert_eq!(conn.rest(), b"");
    let old = format!("GET /v1/models HTTP/1.0\r\nauthorization: Bearer {KEY}\r\n\r\n");
    let mut conn = gateway.connect();
    assert_eq!(conn.ask(old.as_bytes()).status, 200);
    assert_eq!(conn.rest(), b"");
}

fn many_exchanges_at_once_do_not_mix(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            let text = heard.text();
            let asked: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let model = asked["model"].as_str().expect("a model").to_owned();
            if asked["stream"] == true {
                peer.send(STREAM_HEAD);
                for _ in 0..20 {
                    peer.send(&chunk(&delta(&model)));
                }
                peer.send(&chunk("data: [DONE]\n\n"));
                peer.send(b"0\r\n\r\n");
            } else {
                peer.send(&json_answer(&text));
            }
        }
    });
    let gateway = Gateway::new(driver).workers(2).config(gateway::simple(up.port)).start();
    let address = gateway.address;
    let clients: Vec<_> = (0..12)
        .map(|client| {
            std::thread::spawn(move || {
                let mut conn = crate::harness::Conn::to(address);
                for round in 0..25 {
                    let model = format!("model-{client}-{round}");
                    if round % 2 == 0 {
                        let got = conn.post("/v1/chat/completions", &chat(&model));
                        assert_eq!(got.text(), chat(&model));
                    } else {
                        let got = conn.post("/v1/chat/completions", &chat_stream(&model));
                        let expected = delta(&model).repeat(20) + "data: [DONE]\n\n";
                        assert!(got.text() == expected, "{model}: {}", got.text());
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("answers of its own"));
    gateway.records(300);
}
