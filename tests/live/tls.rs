//! TLS on both sides: the listener, client certificates, new certificates while it runs, private roots upstream.

use std::{io::Read, io::Write, sync::atomic::Ordering};

use crate::harness::{
    Conn, Driver, End, Gateway, KEY, Upstream, gateway,
    http::{chat, chat_stream, post},
    on_both_drivers,
    tls::{Authority, Front, client, connect},
    upstream::json_answer,
    wait_for,
};

on_both_drivers!(
    the_listener_speaks_tls,
    clients_need_a_certificate_where_that_is_said,
    a_new_certificate_is_taken_up,
    upstreams_are_checked_against_a_private_root,
    large_bodies_pass_both_ways,
);

const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// An upstream for one request a connection.
fn once(answer: Vec<u8>) -> Upstream {
    Upstream::start(move |peer| {
        peer.request();
        peer.send(&answer);
    })
}

fn listening(driver: Driver, port: u16, client_ca: Option<&Authority>) -> (Gateway, Authority) {
    let authority = Authority::new("the test's own");
    let dir = tempfile::tempdir().expect("a directory");
    authority.issue(&["localhost"]).write(dir.path(), "server");
    let mut tls = "cert: server.pem, key: server.key".to_owned();
    if let Some(ca) = client_ca {
        std::fs::write(dir.path().join("clients.pem"), &ca.pem).expect("a file");
        tls.push_str(", client_ca: clients.pem");
    }
    let config = format!("tls: {{ {tls} }}\n{}", gateway::simple(port));
    (Gateway::new(driver).config(config).in_dir(dir).tls().start(), authority)
}

fn the_listener_speaks_tls(driver: Driver) {
    let sandbox = crate::harness::sandbox::Box::start();
    let (gateway, authority) = listening(driver, sandbox.port(), None);
    let config = client(&authority, None);
    let mut conn = connect(&config, gateway.address);
    assert_eq!(conn.ask(ALIVE).status, 200);
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
    let got = conn.post("/v1/chat/completions", &chat_stream("m"));
    assert_eq!((got.status, got.end), (200, End::Chunked));
    assert!(got.text().ends_with("data: [DONE]\n\n"));
    // Pipelined, so that a record holds more than one request.
    let two = post("/v1/chat/completions", "", &chat("m")).repeat(2);
    conn.send(&two);
    assert_eq!((conn.answer().status, conn.answer().status), (200, 200));
    drop(conn);
    // A second connection resumes the session of the first.
    let mut again = connect(&config, gateway.address);
    assert_eq!(again.ask(ALIVE).status, 200);
    assert_eq!(again.stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    // One who does not trust the authority, and one who does not speak TLS.
    let stranger = client(&Authority::new("another"), None);
    assert!(!connect(&stranger, gateway.address).try_send(ALIVE));
    let mut plain = Conn::to(gateway.address);
    plain.send(ALIVE);
    assert!(!plain.rest().starts_with(b"HTTP/1.1 200"));
    assert_eq!(gateway.records(4).len(), 4);
}

fn clients_need_a_certificate_where_that_is_said(driver: Driver) {
    let clients = Authority::new("clients");
    let (gateway, authority) = listening(driver, 9, Some(&clients));
    let known = clients.issue(&["a-client"]);
    let mut conn = connect(&client(&authority, Some(&known)), gateway.address);
    assert_eq!(conn.ask(ALIVE).status, 200);
    let unknown = Authority::new("strangers").issue(&["a-client"]);
    for own in [None, Some(&unknown)] {
        let mut conn = connect(&client(&authority, own), gateway.address);
        // In TLS 1.3 the client is done before the server has looked: the refusal comes with the first read.
        let sent = conn.stream.write_all(ALIVE).and_then(|()| conn.stream.flush());
        let read = conn.stream.read(&mut [0; 64]);
        assert!(sent.is_err() || !matches!(read, Ok(1..)), "it was served without a certificate");
    }
}

fn a_new_certificate_is_taken_up(driver: Driver) {
    let (gateway, authority) = listening(driver, 9, None);
    let old = client(&authority, None);
    let mut kept = connect(&old, gateway.address);
    assert_eq!(kept.ask(ALIVE).status, 200);
    let next = Authority::new("the next");
    // The two files cannot change at once: between them they do not fit, and that is refused, not served.
    next.issue(&["localhost"]).write(gateway.dir(), "server");
    let new = client(&next, None);
    wait_for("the new certificate", || {
        let mut conn = connect(&new, gateway.address);
        conn.try_send(ALIVE).then(|| conn.answer().status == 200)
    });
    assert_eq!(kept.ask(ALIVE).status, 200, "a connection that was there lives on");
    std::fs::write(gateway.dir().join("server.pem"), "no certificate").expect("a file");
    gateway.hears("stays in force");
    assert_eq!(connect(&new, gateway.address).ask(ALIVE).status, 200);
}

fn upstreams_are_checked_against_a_private_root(driver: Driver) {
    let up = once(json_answer("{\"a\":1}").to_vec());
    let authority = Authority::new("private");
    let front = Front::start(&authority.issue(&["localhost", "127.0.0.1"]), up.port);
    let other_name = Front::start(&authority.issue(&["elsewhere.example"]), up.port);
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("private.pem"), &authority.pem).expect("a file");
    std::fs::write(dir.path().join("wrong.pem"), Authority::new("wrong").pem).expect("a file");
    let key = |name: &str, host: &str, port: u16, more: &str| {
        format!(
            "  {name}: {{ provider: openai, base_url: \"https://{host}:{port}/v1\", api_key: x{more} }}\n"
        )
    };
    let config = format!(
        "virtual_keys:\n{}{}{}{}{}{}",
        key("good", "localhost", front.port, ", ca: private.pem"),
        key("address", "127.0.0.1", front.port, ", ca: private.pem"),
        key("wrong", "localhost", front.port, ", ca: wrong.pem"),
        key("none", "localhost", front.port, ""),
        key("name", "localhost", other_name.port, ", ca: private.pem"),
        gateway::api_keys("~").replace(", config: ~", ""),
    );
    let gateway = Gateway::new(driver).config(config).in_dir(dir).start();
    let ask = |name: &str| {
        let header = format!("x-portkey-virtual-key: {name}\r\n");
        gateway.connect().ask(&post("/v1/chat/completions", &header, &chat("m")))
    };
    for _ in 0..3 {
        let got = ask("good");
        assert_eq!((got.status, got.text()), (200, "{\"a\":1}"));
    }
    assert_eq!(front.full.load(Ordering::SeqCst), 1, "the first handshake is a full one");
    assert_eq!(front.resumed.load(Ordering::SeqCst), 2, "the others resume its session");
    assert_eq!(ask("address").status, 200);
    for refused in ["wrong", "none", "name"] {
        let got = ask(refused);
        assert_eq!((got.status, got.error_type()), (502, "upstream_error".into()), "{refused}");
        assert_eq!(got.header("x-trunkline-error-source"), Some("network"));
        assert!(got.message().contains("certificate"), "{}", got.text());
    }
    assert_eq!(up.requests().len(), 4);
}

fn large_bodies_pass_both_ways(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            peer.send(&json_answer(&heard.text()));
        }
    });
    let (gateway, authority) = listening(driver, up.port, None);
    let body = chat(&"m".repeat(3 << 20));
    let mut conn = connect(&client(&authority, None), gateway.address);
    for _ in 0..3 {
        let got = conn.post("/v1/chat/completions", &body);
        assert_eq!(got.status, 200);
        assert!(got.text() == body, "{} bytes came back", got.body.len());
    }
    assert!(up.last().head.contains("Bearer") && !up.last().head.contains(KEY));
}
