//! What a client is told when something is wrong: with its request, with the upstream, with a deadline.

use crate::harness::{
    Conn, Driver, End, Gateway, KEY, Upstream, gateway,
    http::{Answer, bare, chat, chat_stream, get, post},
    on_both_drivers,
    upstream::{STREAM_HEAD, chunk, delta, error_answer, json_answer},
};

on_both_drivers!(
    a_dead_upstream_is_a_502,
    an_upstream_that_takes_no_connection_is_a_504,
    an_upstream_that_answers_no_handshake_is_told_so,
    each_deadline_is_a_408_that_says_which,
    an_idle_stream_ends_in_an_error_event,
    an_upstream_that_breaks_http_is_a_502,
    errors_of_the_upstream_pass_untouched,
    errors_that_no_sdk_can_read_are_wrapped,
    malformed_heads_are_answered_and_closed,
    heads_and_bodies_have_limits,
    routes_methods_and_types_are_checked,
    who_is_not_known_is_a_401,
    errors_speak_the_clients_dialect,
);

/// The simple configuration with further lines.
fn with(port: u16, lines: &str) -> String {
    format!("{lines}\n{}", gateway::simple(port))
}

fn ask(gateway: &Gateway) -> Answer {
    gateway.connect().post("/v1/chat/completions", &chat("m"))
}

#[track_caller]
fn assert_error(got: &Answer, status: u16, kind: &str, source: &str) {
    let found = (got.status, got.error_type());
    assert_eq!(found, (status, kind.to_owned()), "{}\n{}", got.head, got.text());
    assert_eq!(got.header("x-trunkline-error-source"), Some(source), "{}", got.head);
    assert!(!got.message().is_empty(), "{}", got.text());
}

/// A port where nobody listens.
fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn a_dead_upstream_is_a_502(driver: Driver) {
    let port = dead_port();
    let gateway = Gateway::in_front_of(driver, port);
    let got = ask(&gateway);
    assert_error(&got, 502, "upstream_error", "network");
    assert!(got.message().contains(&port.to_string()), "{}", got.text());
    let record = gateway.record();
    assert_eq!((&record["status"], &record["error"]), (&502.into(), &"unreachable".into()));
    assert_eq!(record["attempts"][0]["left"], "unreachable");
}

/// A port that takes no connection, and refuses none either.
pub struct FullQueue {
    address: std::net::SocketAddr,
    _sockets: Vec<socket2::Socket>,
}

impl FullQueue {
    pub fn new() -> FullQueue {
        use socket2::{Domain, Socket, Type};
        let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = tcp();
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&loopback.into()).expect("a free port");
        listener.listen(0).expect("a queue of one");
        let address = listener.local_addr().expect("an address").as_socket().expect("an address");
        let mut sockets = vec![listener];
        // These fill the queue; the kernel then drops what asks for a connection.
        for _ in 0..4 {
            let filler = tcp();
            filler.set_nonblocking(true).expect("a socket");
            let _ = filler.connect(&address.into());
            sockets.push(filler);
        }
        FullQueue { address, _sockets: sockets }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn an_upstream_that_takes_no_connection_is_a_504(driver: Driver) {
    let full = FullQueue::new();
    let config = with(full.port(), "timeouts: { connect: 300ms }");
    let gateway = Gateway::new(driver).config(config).start();
    let got = ask(&gateway);
    assert_error(&got, 504, "timeout_error", "network");
    assert!(got.message().contains("timeouts.connect"), "{}", got.text());
    assert_eq!(gateway.record()["error"], "timeout_connect");
}

fn an_upstream_that_answers_no_handshake_is_told_so(driver: Driver) {
    // The kernel takes its connections; nobody reads them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let config = with(port, "timeouts: { connect: 300ms }").replace("http://", "https://");
    let gateway = Gateway::new(driver).config(config).start();
    let got = ask(&gateway);
    assert_error(&got, 504, "timeout_error", "network");
    let message = got.message();
    assert!(message.contains("did not answer the TLS handshake"), "{message}");
    assert!(message.contains("timeouts.connect (300 ms)"), "{message}");
    let record = gateway.record();
    assert_eq!(record["error"], "timeout_connect");
    assert_eq!(record["error_message"], *message);
}

fn each_deadline_is_a_408_that_says_which(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.request();
        peer.wait_for_close();
    });
    let gateway =
        Gateway::new(driver).config(with(up.port, "timeouts: { first_byte: 250ms }")).start();
    let got = ask(&gateway);
    assert_error(&got, 408, "timeout_error", "network");
    assert!(got.message().contains("250 ms"), "{}", got.text());
    up.sees_close(0);
    assert_eq!(gateway.record()["attempts"][0]["left"], "timeout_first_byte");

    let timed = post("/v1/chat/completions", "x-portkey-request-timeout: 150\r\n", &chat("m"));
    let got = gateway.connect().ask(&timed);
    assert_error(&got, 408, "timeout_error", "network");
    assert_eq!(got.message(), "Request exceeded the timeout sent in the request: 150ms");

    let gateway = Gateway::new(driver).config(with(up.port, "timeouts: { total: 250ms }")).start();
    let got = ask(&gateway);
    assert_error(&got, 408, "timeout_error", "gateway");
    assert!(got.message().contains("timeouts.total"), "{}", got.text());
}

fn an_idle_stream_ends_in_an_error_event(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.request();
        peer.send(&[STREAM_HEAD, &chunk(&delta("one"))].concat());
        peer.wait_for_close();
    });
    let gateway = Gateway::new(driver).config(with(up.port, "timeouts: { idle: 250ms }")).start();
    let got = gateway.connect().post("/v1/chat/completions", &chat_stream("m"));
    let text = got.text().strip_prefix(&*delta("one")).expect("what came before");
    assert!(text.starts_with("data: {\"error\""), "{text}");
    assert!(text.contains("timeout_error") && text.ends_with("\n\n"), "{text}");
    assert_eq!((got.status, got.end), (200, End::CutShort));
    up.sees_close(0);
    let record = gateway.record();
    assert_eq!((&record["truncated"], &record["status"]), (&true.into(), &200.into()));
    assert_eq!(record["error"], "timeout_idle");
}

fn an_upstream_that_breaks_http_is_a_502(driver: Driver) {
    let broken: [&[u8]; 6] = [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ];
    for bytes in broken {
        let up = Upstream::start(move |peer| {
            peer.request();
            peer.send(bytes);
            peer.wait_for_close();
        });
        let gateway = Gateway::new(driver)
            .config(with(up.port, "timeouts: { first_byte: 1s, idle: 1s }"))
            .start();
        let got = ask(&gateway);
        assert_eq!(got.status, 502, "{}: {}", String::from_utf8_lossy(bytes), got.text());
        assert_eq!(got.error_type(), "upstream_error");
        up.sees_close(0);
    }
}

fn errors_of_the_upstream_pass_untouched(driver: Driver) {
    for status in [400, 401, 404, 429, 500, 503] {
        let up = Upstream::answering(error_answer(status, "retry-after: 7\r\nx-request-id: r\r\n"));
        let gateway = Gateway::in_front_of(driver, up.port);
        let got = ask(&gateway);
        assert_eq!(got.status, status);
        let expected =
            format!(r#"{{"error":{{"message":"scripted {status}","type":"server_error"}}}}"#);
        assert_eq!(got.text(), expected);
        assert_eq!(got.header("retry-after"), Some("7"));
        assert_eq!(got.header("x-request-id"), Some("r"));
        assert_eq!(got.header("x-trunkline-error-source"), Some("upstream"));
    }
}

fn errors_that_no_sdk_can_read_are_wrapped(driver: Driver) {
    let page = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 17\r\n\r\n<h1>sorry</h1>\r\n\r\n";
    let up = Upstream::answering(page);
    let gateway = Gateway::in_front_of(driver, up.port);
    let got = ask(&gateway);
    assert_eq!(got.status, 502);
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert!(got.message().contains("<h1>sorry</h1>"), "{}", got.text());
}

fn malformed_heads_are_answered_and_closed(driver: Driver) {
    let gateway = Gateway::in_front_of(driver, 9);
    let heads = [
        "GET\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nbad name: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1} a TLS hello\r\n\r\n",
    ];
    for head in heads {
        let mut conn = gateway.connect();
        // What follows would be answered if the connection were kept.
        conn.send(format!("{head}GET / HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        let got = conn.answer();
        assert_eq!(got.status, 400, "{head:?}: {}", got.head);
        assert_eq!(got.error_type(), "invalid_request_error", "{head:?}");
        assert_eq!(conn.rest(), b"", "{head:?}");
    }
}

fn heads_and_bodies_have_limits(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let config = with(up.port, "limits: { head: 8KiB, body: 4KiB }");
    let gateway = Gateway::new(driver).config(config).start();

    let long = format!("x-long: {}\r\n", "x".repeat(9000));
    let mut conn = gateway.connect();
    let got = conn.ask(&post("/v1/chat/completions", &long, &chat("m")));
    assert_error(&got, 431, "invalid_request_error", "client");
    assert_eq!(conn.rest(), b"");

    let fields = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let own = 4; // host, authorization, content-type, content-length
    let got = gateway.connect().ask(&post("/v1/chat/completions", &fields(100 - own), &chat("m")));
    assert_eq!(got.status, 200, "100 header lines pass");
    let got = gateway.connect().ask(&post("/v1/chat/completions", &fields(101 - own), &chat("m")));
    assert_eq!(got.status, 431, "101 do not");

    let body = chat(&"m".repeat(5000));
    let mut conn = gateway.connect();
    let got = conn.post("/v1/chat/completions", &body);
    assert_error(&got, 413, "invalid_request_error", "client");
    assert!(got.message().contains("limits.body"), "{}", got.text());
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(gateway.connect().ask(chunked.as_bytes()).status, 413);
    assert_eq!(up.requests().len(), 1);
}

fn routes_methods_and_types_are_checked(driver: Driver) {
    let gateway = Gateway::in_front_of(driver, dead_port());
    let mut conn = gateway.connect();
    for path in ["/nowhere", "/v2/chat/completions", "/v1", "/admin/v1/epochs", "/metrics"] {
        assert_error(&conn.ask(&get(path, "")), 404, "invalid_request_error", "client");
    }
    let got = conn.ask(&get("/v1/messages", ""));
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    assert_eq!(conn.ask(&bare("DELETE", "/healthz", "")).status, 405);
    let body = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer tl-live-test-key\r\n";
    let typed = |media: &str| {
        let request = format!("{body}content-type: {media}\r\ncontent-length: 2\r\n\r\n{{}}");
        Conn::to(gateway.address).ask(request.as_bytes())
    };
    let got = typed("text/plain");
    assert_eq!((got.status, got.message()), (400, "Invalid content type passed".into()));
    assert_eq!(got.json()["status"], "failure");
    assert_eq!(typed("multipart/form-data; boundary=x").status, 415);
    for broken in ["", "{", "[]", "{\"model\":\"a\",\"model\":\"b\"}", "{\"model\":\"m\"} x"] {
        let got = Conn::to(gateway.address).post("/v1/chat/completions", broken);
        assert_error(&got, 400, "invalid_request_error", "client");
    }
}

fn who_is_not_known_is_a_401(driver: Driver) {
    let gateway = Gateway::in_front_of(driver, dead_port());
    let ask = |headers: &str| {
        let body = chat("m");
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Conn::to(gateway.address).ask(request.as_bytes())
    };
    assert_error(&ask(""), 401, "authentication_error", "client");
    for carrier in ["x-portkey-api-key: ", "authorization: Bearer ", "x-api-key: ", "api-key: "] {
        assert_error(
            &ask(&format!("{carrier}tl-wrong\r\n")),
            401,
            "authentication_error",
            "client",
        );
        assert_eq!(ask(&format!("{carrier}{KEY}\r\n")).status, 502, "{carrier}");
    }
    // The first carrier decides; there is no trying of the next.
    let two = format!("x-portkey-api-key: tl-wrong\r\nauthorization: Bearer {KEY}\r\n");
    assert_eq!(ask(&two).status, 401);
    let text = std::fs::read(gateway.log_dir().join("000000000001.tlog")).expect("the log");
    assert!(crate::harness::http::find(&text, KEY.as_bytes()).is_none(), "a key in the log");
}

fn errors_speak_the_clients_dialect(driver: Driver) {
    let gateway = Gateway::in_front_of(driver, dead_port());
    let got = gateway.connect().post("/v1/messages", &chat("m"));
    assert_eq!(got.status, 400, "this dialect requires a field more");
    assert!(got.message().contains("max_tokens"), "{}", got.text());
    let body = chat("m").replacen('{', "{\"max_tokens\":9,", 1);
    let json = gateway.connect().post("/v1/messages", &body).json();
    assert_eq!(json["type"], "error", "{json}");
    assert_eq!(json["error"]["type"], "api_error", "{json}");
    let got = gateway.connect().post("/v1/chat/completions", &chat("m"));
    let error = &got.json()["error"];
    let names: Vec<&str> = error.as_object().expect("an object").keys().map(|k| &**k).collect();
    assert_eq!(names, ["message", "type", "param", "code"], "{error}");
    let wrong =
        b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: no\r\ncontent-length: 2\r\n\r\n{}";
    let got = gateway.connect().ask(wrong);
    assert_eq!((got.status, got.error_type()), (401, "authentication_error".into()));
    assert_eq!(got.json()["type"], "error");
}
