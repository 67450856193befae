//! What stands before the gateway and behind it: load balancers, browsers of other origins, an egress proxy.

use std::io::Write;

use crate::harness::{
    Conn, Driver, End, Gateway, Upstream, gateway,
    http::{chat, chat_stream, post},
    on_both_drivers,
    proxy::Proxy,
    tls::{Authority, Front, client, connect, connect_after},
    upstream::json_answer,
};

on_both_drivers!(
    the_record_names_the_client_behind_a_balancer,
    a_balancer_speaks_before_tls,
    an_untrusted_peer_is_not_believed,
    pages_of_listed_origins_may_call,
    upstreams_are_reached_through_a_proxy,
    tls_to_the_upstream_runs_inside_the_tunnel,
    a_proxy_that_is_gone_from_the_file_is_not_used_again,
);

const PROXIED: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";

fn binary() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    let mut block = [0; 36];
    block[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    block[15] = 7;
    block[32..34].copy_from_slice(&4711_u16.to_be_bytes());
    bytes.extend(block);
    bytes
}

fn behind_balancer(driver: Driver, port: u16, more: &str) -> Gateway {
    let config = format!("trusted_proxies: [127.0.0.0/8]\n{more}{}", gateway::simple(port));
    Gateway::new(driver).config(config).start()
}

fn clients(gateway: &Gateway, count: usize) -> Vec<String> {
    let records = gateway.records(count);
    records.iter().map(|r| r["client"].as_str().expect("text").to_owned()).collect()
}

fn the_record_names_the_client_behind_a_balancer(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = behind_balancer(driver, up.port, "");
    let request = post("/v1/chat/completions", "", &chat("m"));
    for header in [PROXIED.to_vec(), binary()] {
        // In one piece, and byte by byte.
        let mut conn = gateway.connect();
        assert_eq!(conn.ask(&[&header[..], &request].concat()).status, 200);
        let mut conn = gateway.connect();
        for byte in &header {
            conn.send(&[*byte]);
        }
        assert_eq!((conn.ask(&request).status, conn.ask(&request).status), (200, 200));
    }
    let forwarded = "x-forwarded-for: 192.0.2.66, 203.0.113.5, 127.0.0.9\r\n";
    let request = post("/v1/chat/completions", forwarded, &chat("m"));
    assert_eq!(gateway.connect().ask(&request).status, 200);
    let found = clients(&gateway, 7);
    assert_eq!(found[..3], ["192.0.2.1:56324"; 3]);
    assert_eq!(found[3..6], ["[2001:db8::7]:4711"; 3]);
    assert_eq!(found[6], "203.0.113.5");
    let mut bad = gateway.connect();
    bad.send(b"PROXY TCP4 nonsense\r\n");
    let got = bad.answer();
    assert_eq!(got.status, 400);
    assert!(got.message().contains("PROXY line"), "{}", got.text());
}

fn a_balancer_speaks_before_tls(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let authority = Authority::new("the test's own");
    let dir = tempfile::tempdir().expect("a directory");
    authority.issue(&["localhost"]).write(dir.path(), "server");
    let config = format!(
        "tls: {{ cert: server.pem, key: server.key }}\ntrusted_proxies: [127.0.0.1]\n{}",
        gateway::simple(up.port)
    );
    let gateway = Gateway::new(driver).config(config).in_dir(dir).tls().start();
    let config = client(&authority, None);
    for header in [PROXIED.to_vec(), binary(), Vec::new()] {
        let mut conn = connect_after(&header, &config, gateway.address);
        assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
    }
    let mut conn = connect(&config, gateway.address);
    conn.stream.sock.write_all(PROXIED).expect("the gateway reads");
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
    let found = clients(&gateway, 4);
    assert_eq!(found[..2], ["192.0.2.1:56324", "[2001:db8::7]:4711"]);
    assert!(found[2].starts_with("127.0.0.1:"), "{found:?}");
    assert_eq!(found[3], "192.0.2.1:56324");
    let mut bad = Conn::to(gateway.address);
    bad.send(b"PROXY TCP4 nonsense\r\n");
    assert_eq!(bad.rest(), b"", "nobody in TLS can read an answer in the clear");
}

fn an_untrusted_peer_is_not_believed(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let config = format!("trusted_proxies: [10.0.0.0/8]\n{}", gateway::simple(up.port));
    let gateway = Gateway::new(driver).config(config).start();
    let header = "x-forwarded-for: 203.0.113.5\r\n";
    let request = post("/v1/chat/completions", header, &chat("m"));
    for header in [PROXIED.to_vec(), binary()] {
        let mut conn = gateway.connect();
        conn.send(&[&header[..], &request].concat());
        assert_eq!(conn.answer().status, 400);
    }
    assert_eq!(gateway.connect().ask(&request).status, 200);
    assert!(clients(&gateway, 1)[0].starts_with("127.0.0.1:"));
}

fn pages_of_listed_origins_may_call(driver: Driver) {
    let sandbox = crate::harness::sandbox::Box::start();
    let origin = "https://app.example.com";
    let config =
        format!("cors: {{ origins: [\"{origin}\"] }}\n{}", gateway::simple(sandbox.port()));
    let gateway = Gateway::new(driver).config(config).start();
    let mut conn = gateway.connect();
    let asked = conn.ask(
        format!(
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: authorization,content-type\r\n\r\n"
        )
        .as_bytes(),
    );
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, Some(origin)));
    let from = |origin: &str| format!("origin: {origin}\r\n");
    let ask = |conn: &mut Conn, origin: &str, body: &str| {
        conn.ask(&post("/v1/chat/completions", &from(origin), body))
    };
    let got = ask(&mut conn, origin, &chat("m"));
    assert_eq!((got.status, got.header("access-control-allow-origin")), (200, Some(origin)));
    let got = ask(&mut conn, origin, &chat_stream("m"));
    assert_eq!((got.end, got.header("access-control-allow-origin")), (End::Chunked, Some(origin)));
    assert!(got.header("access-control-expose-headers").is_some_and(|names| {
        names.contains("x-portkey-trace-id") && names.contains("x-trunkline-request-id")
    }));
    let got = ask(&mut conn, "https://evil.example", &chat("m"));
    assert_eq!((got.status, got.header("access-control-allow-origin")), (200, None));
    assert_eq!(got.header("vary"), Some("origin"));
    let got = ask(&mut conn, origin, "not JSON");
    assert_eq!((got.status, got.header("access-control-allow-origin")), (400, Some(origin)));
}

/// Virtual keys whose host only the proxy knows.
fn inside(scheme: &str, port: u16, more: &str) -> String {
    gateway::simple(port)
        .replace("http://127.0.0.1", &format!("{scheme}://provider.invalid"))
        .replace("api_key: sk-", &format!("{more}api_key: sk-"))
}

fn upstreams_are_reached_through_a_proxy(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let proxy = Proxy::start(Some("Basic dXNlcjpwQHNz"));
    let section = format!("egress_proxy: http://user:p%40ss@127.0.0.1:{}\n", proxy.port);
    let gateway =
        Gateway::new(driver).config(format!("{section}{}", inside("http", up.port, ""))).start();
    let mut conn = gateway.connect();
    for _ in 0..3 {
        assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
    }
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1, "one tunnel: {asked:?}");
    assert!(asked[0].starts_with(&format!("CONNECT provider.invalid:{} HTTP/1.1\r\n", up.port)));
    assert_eq!((up.connections(), up.requests().len()), (1, 3));
    assert!(!up.last().head.contains("proxy-"), "{}", up.last().head);
    assert_eq!(up.last().header("host"), Some(&*format!("provider.invalid:{}", up.port)));
    // What the epoch's copy and the log keep holds no password.
    gateway.records(3);
    for file in std::fs::read_dir(gateway.log_dir().join("epochs")).expect("epochs") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        assert!(!text.contains("p@ss") && !text.contains("dXNlcjpwQHNz"), "{text}");
    }
    // With another password the proxy takes nobody, and the caller is told.
    gateway
        .write_config(&format!("{section}{}", inside("http", up.port, "")).replace("p%40ss", "x"));
    crate::harness::wait_for("the new password", || {
        let got = gateway.connect().post("/v1/chat/completions", &chat("m"));
        let refused = got.status == 502 && got.message().contains("answered 407");
        refused.then(|| assert_eq!(got.header("x-trunkline-error-source"), Some("network")))
    });
}

fn tls_to_the_upstream_runs_inside_the_tunnel(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.request();
        peer.send(&json_answer("{\"a\":1}"));
    });
    let authority = Authority::new("private");
    let front = Front::start(&authority.issue(&["provider.invalid"]), up.port);
    let other = Front::start(&authority.issue(&["elsewhere.invalid"]), up.port);
    let proxy = Proxy::start(None);
    let ask = |port: u16| {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("private.pem"), &authority.pem).expect("a file");
        let section = format!("egress_proxy: {{ url: \"http://127.0.0.1:{}\" }}\n", proxy.port);
        let config = format!("{section}{}", inside("https", port, "ca: private.pem, "));
        let gateway = Gateway::new(driver).config(config).in_dir(dir).start();
        gateway.connect().post("/v1/chat/completions", &chat("m"))
    };
    let got = ask(front.port);
    assert_eq!((got.status, got.text()), (200, "{\"a\":1}"));
    let got = ask(other.port);
    assert_eq!(got.status, 502);
    assert!(got.message().contains("certificate"), "{}", got.text());
    assert_eq!(proxy.asked().len(), 2);
}

fn a_proxy_that_is_gone_from_the_file_is_not_used_again(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let proxy = Proxy::start(None);
    let section = format!("egress_proxy: http://127.0.0.1:{}\n", proxy.port);
    let config = inside("http", up.port, "");
    let gateway = Gateway::new(driver).config(format!("{section}{config}")).start();
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
    gateway.write_config(&config);
    // The tunnel is still open, and would serve: but nothing leads through it any more.
    crate::harness::wait_for("the direct way", || {
        let got = gateway.connect().post("/v1/chat/completions", &chat("m"));
        (got.status == 502 && got.message().contains("its name has no address")).then_some(())
    });
}
