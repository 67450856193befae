//! What a caller cannot do: learn or redirect a credential, reach what only this machine can reach, write lines of
//! its own into heads and logs.

use serde_json::json;

use crate::harness::{
    Conn, Driver, Gateway, KEY, Upstream, gateway,
    gateway::CREDENTIAL,
    http::{Answer, bare, chat, get, post},
    log, on_both_drivers,
    upstream::json_answer,
};

on_both_drivers!(
    what_authenticated_never_goes_upstream,
    a_held_credential_stays_with_its_host,
    custom_hosts_are_guarded,
    own_ports_are_refused,
    own_addresses_are_refused_where_all_are_listened_on,
    redirects_are_not_followed,
    injection_attempts_stay_data,
    an_open_gateway_answers_to_loopback_names_only,
    an_open_gateway_listens_on_loopback_only,
    keys_are_held_to_what_they_allow,
);

fn what_authenticated_never_goes_upstream(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let carriers = [
        "x-portkey-api-key: ",
        "x-trunkline-api-key: ",
        "authorization: Bearer ",
        "Authorization: bearer ",
        "x-api-key: ",
        "api-key: ",
        "x-goog-api-key: ",
    ];
    let mut sent = 0;
    for carrier in carriers {
        for path in
            ["/v1/chat/completions", "/v1/files", "/v1/fine_tuning/jobs?key=1", "/v1/images/edits"]
        {
            let body = chat("m");
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\n{carrier}{KEY}\r\nx-portkey-virtual-key: up\r\n\
                 x-extra: 1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let got = gateway.connect().ask(request.as_bytes());
            assert_eq!(got.status, 200, "{carrier} {path}: {}", got.text());
            sent += 1;
            let heard = up.last();
            assert!(!heard.head.contains(KEY), "{}", heard.head);
            assert_eq!(heard.header("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
            assert!(!heard.head.contains("x-portkey") && !heard.head.contains("x-trunkline"));
            let extra = heard.header("x-extra");
            assert_eq!(extra.is_some(), path != "/v1/chat/completions", "{}", heard.head);
        }
    }
    // Not even where the caller asks for it.
    for name in ["authorization", "Authorization", "x-portkey-api-key"] {
        let headers = format!("x-portkey-forward-headers: x-extra, {name}\r\nx-extra: 1\r\n");
        let got = gateway.connect().ask(&post("/v1/chat/completions", &headers, &chat("m")));
        if got.status == 200 {
            sent += 1;
            assert!(!up.last().head.contains(KEY), "{}", up.last().head);
        } else {
            assert_eq!(got.status, 400, "{name}: {}", got.text());
        }
    }
    for name in ["host", "content-length", "transfer-encoding", "connection"] {
        let headers = format!("x-portkey-forward-headers: {name}\r\n");
        let got = gateway.connect().ask(&post("/v1/chat/completions", &headers, &chat("m")));
        assert!(matches!(got.status, 200 | 400), "{name}: {}", got.text());
        sent += usize::from(got.status == 200);
        assert_eq!(up.last().head.matches("content-length").count(), 1);
    }
    assert_eq!(up.requests().len(), sent);
    let records = log::records(&gateway.log_dir());
    assert!(!json!(records).to_string().contains(CREDENTIAL));
}

fn a_held_credential_stays_with_its_host(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let thief = Upstream::answering(json_answer("{}"));
    let host = format!("http://127.0.0.1:{}/v1", thief.port);
    let allowed = format!("allow_custom_host: [\"127.0.0.1:{}\"]", thief.port);
    let other = format!(
        "{{ provider: openai, base_url: \"http://127.0.0.1:{}/v1\", api_key: x, {allowed} }}",
        up.port
    );
    let config =
        gateway::simple(up.port).replace("configs:\n", &format!("  lent: {other}\nconfigs:\n"));
    let config = format!("custom_hosts: {{ trusted: [\"127.0.0.1\"] }}\n{config}");
    let gateway = Gateway::new(driver).config(config).start();
    let ask =
        |headers: &str| gateway.connect().ask(&post("/v1/chat/completions", headers, &chat("m")));
    let by_header = format!("x-portkey-custom-host: {host}\r\n");
    for named in [
        "",
        "x-portkey-virtual-key: up\r\n",
        "x-portkey-provider: @up\r\n",
        "x-portkey-config: plain\r\n",
    ] {
        let got = ask(&format!("{by_header}{named}"));
        assert_eq!((got.status, got.error_type()), (403, "permission_error".into()), "{named}");
    }
    for inline in [
        json!({"virtual_key": "up", "custom_host": host}),
        json!({"custom_host": host, "strategy": {"mode": "fallback"}, "targets": [{"virtual_key": "up"}]}),
        json!({"provider": "@up", "custom_host": host}),
        json!({"virtual_key": "up", "azure_resource_name": "thief"}),
    ] {
        let got = ask(&format!("x-portkey-config: {inline}\r\n"));
        assert!(matches!(got.status, 400 | 403), "{inline}: {}", got.text());
    }
    assert_eq!(thief.connections(), 0);
    assert_eq!(ask(&format!("{by_header}x-portkey-virtual-key: lent\r\n")).status, 200, "allowed");
    assert_eq!(thief.requests().len(), 1);
    assert_eq!(up.requests().len(), 0);
}

/// A call with a credential of the caller's own to a host that it names.
fn to_host(gateway: &Gateway, host: &str) -> Answer {
    let headers = format!(
        "x-portkey-provider: openai\r\nx-portkey-custom-host: {host}\r\nx-api-key: sk-own\r\n"
    );
    gateway.connect().ask(&post("/v1/chat/completions", &headers, &chat("m")))
}

fn custom_hosts_are_guarded(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let port = up.port;
    let gateway = Gateway::in_front_of(driver, port);
    for host in [
        "http://127.0.0.1",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://[::1]",
        "http://[::ffff:127.0.0.1]",
        "http://[::127.0.0.1]",
        "http://0.0.0.0",
        "http://[::]",
        "http://localhost",
        "http://LOCALHOST",
        "http://localhost.",
        "http://a.localhost",
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://metadata.google.internal",
        "http://10.0.0.1",
        "http://192.168.0.1",
        "http://172.16.0.1",
        "http://100.64.0.1",
        "http://[fd00::1]",
        "http://[fe80::1]",
        "http://224.0.0.1",
        "http://user:pass@127.0.0.1",
        "http://example.com@127.0.0.1",
        "http://127.0.0.1#@example.com",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "//127.0.0.1",
        "http://127.0.0.1\\@example.com",
        "http://x.internal",
        "http://x.local",
        "http://%31%32%37.0.0.1",
    ] {
        let with_port = match host.matches(':').count() {
            1 if !host.contains('@') && !host.contains('#') => format!("{host}:{port}"),
            _ if host.ends_with(']') => format!("{host}:{port}"),
            _ => host.to_owned(),
        };
        let got = to_host(&gateway, &with_port);
        assert_eq!(got.status, 400, "{with_port}: {}", got.text());
        assert!(got.message().starts_with("Invalid custom host"), "{with_port}: {}", got.text());
    }
    assert_eq!(up.connections(), 0);
    // Names that the operator trusts are reached.
    let config = format!("custom_hosts: {{ trusted: [localhost] }}\n{}", gateway::simple(port));
    let gateway = Gateway::new(driver).config(config).start();
    assert_eq!(to_host(&gateway, &format!("http://localhost:{port}/v1")).status, 200);
    assert_eq!(to_host(&gateway, &format!("http://127.0.0.1:{port}/v1")).status, 400);
    assert_eq!(up.last().header("authorization"), Some("Bearer sk-own"));
}

fn own_ports_are_refused(driver: Driver) {
    let gateway = Gateway::new(driver).admin().start();
    let admin = crate::admin::admin_address(&gateway);
    let ports = [gateway.address.port(), admin.port()];
    for port in ports {
        for host in ["127.0.0.1", "localhost", "[::1]", "127.0.0.2"] {
            let headers = format!(
                "x-portkey-provider: openai\r\nx-portkey-custom-host: http://{host}:{port}/v1\r\n"
            );
            let got = gateway.connect().ask(&post("/v1/chat/completions", &headers, &chat("m")));
            if host == "127.0.0.1" || host == "localhost" {
                assert_eq!(got.status, 400, "{host}:{port}: {}", got.text());
            }
            assert!(matches!(got.status, 400 | 502), "{host}:{port}: {}", got.text());
        }
    }
}

fn own_addresses_are_refused_where_all_are_listened_on(driver: Driver) {
    // No packet is sent: connecting a datagram socket only asks which address would be used.
    let own = |bind: &str, to: &str| {
        let socket = std::net::UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found = [own("0.0.0.0:0", "192.0.2.1:9"), own("[::]:0", "[2001:db8::1]:9")];
    for address in found.into_iter().flatten().filter(|address| !address.is_loopback()) {
        let listen = if address.is_ipv4() { "0.0.0.0:0" } else { "'[::]:0'" };
        let config = format!(
            "listen: {listen}\ncustom_hosts: {{ allow_private: true }}\n{}",
            gateway::simple(9)
        );
        let gateway = Gateway::new(driver).without_flags().config(config).start();
        let host = std::net::SocketAddr::new(address, gateway.address.port());
        let got = to_host(&gateway, &format!("http://{host}/v1"));
        assert_eq!(got.status, 400, "{host}: {}", got.text());
        println!("{host}: {}", got.message());
    }
}

fn redirects_are_not_followed(driver: Driver) {
    let thief = Upstream::answering(json_answer("{}"));
    let to = format!("http://127.0.0.1:{}/", thief.port);
    let up = Upstream::answering(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
    ));
    let gateway = Gateway::in_front_of(driver, up.port);
    let got = gateway.connect().post("/v1/chat/completions", &chat("m"));
    assert_eq!(got.status, 307);
    assert_eq!(thief.connections(), 0);
}

fn injection_attempts_stay_data(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    let evil = "m\\r\\nx-injected: 1\\r\\n\\r\\nGET / HTTP/1.1\\u001b[31m\\u202e";
    assert_eq!(conn.post("/v1/chat/completions", &chat(evil)).status, 200);
    let metadata = "x-portkey-metadata: {\"a\":\"b\\r\\nc: d\\u0000\\u001b]0;x\\u0007\"}\r\n";
    assert_eq!(conn.ask(&post("/v1/chat/completions", metadata, &chat("m"))).status, 200);
    for bad in ["a b", "a\tb", "\u{e9}", &"x".repeat(129)] {
        let header = format!("x-portkey-trace-id: {bad}\r\n");
        let got = gateway.connect().ask(&post("/v1/chat/completions", &header, &chat("m")));
        assert_eq!(got.status, 400, "{bad:?}");
        assert!(got.header("x-injected").is_none());
    }
    // A bare line feed or a NUL in a head ends the connection, not a header.
    for raw in ["x: a\nx-injected: 1\r\n", "x: a\0b\r\n", "x: a\rb\r\n"] {
        let got = gateway.connect().ask(&post("/v1/chat/completions", raw, &chat("m")));
        assert_eq!(got.status, 400, "{raw:?}");
    }
    for path in ["/v1/files/..%2f..%2fadmin", "/v1/files/a%0d%0ax-injected:%201"] {
        let got = gateway.connect().ask(&get(path, "x-portkey-virtual-key: up\r\n"));
        assert!(got.status == 200 || got.status == 400, "{path}");
    }
    assert!(up.requests().iter().all(|heard| heard.header("x-injected").is_none()));
    gateway.records(8);
    let table = log::trunkline(&["dump", gateway.log_dir().to_str().expect("text")]).stdout;
    let bad = |byte: &u8| *byte < 0x20 && *byte != b'\n';
    assert!(!table.iter().any(bad), "{}", String::from_utf8_lossy(&table));
    assert!(!String::from_utf8_lossy(&table).contains('\u{202e}'));
}

fn an_open_gateway_answers_to_loopback_names_only(driver: Driver) {
    let gateway = Gateway::new(driver).start();
    let ask = |host: &str| {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Conn::to(gateway.address).ask(request.as_bytes()).status
    };
    for host in ["localhost", "127.0.0.1:8787", "[::1]:8787", "LOCALHOST:1", "x.localhost"] {
        assert_eq!(ask(host), 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8787", "8.8.8.8"]
    {
        assert_eq!(ask(host), 403, "{host}");
    }
}

fn an_open_gateway_listens_on_loopback_only(driver: Driver) {
    let run = |config: &str, arguments: &[&str]| {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("trunkline.yaml"), config).expect("a file");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.current_dir(dir.path()).args([
            "serve",
            "--driver",
            driver.flag(),
            "--admin",
            "off",
        ]);
        let output = command.args(arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let open = "virtual_keys: { up: { provider: openai, api_key: x } }\n";
    let (code, said) = run(open, &["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("api_keys") && said.contains("auth: open"), "{said}");
    let (code, said) = run(&format!("listen: 0.0.0.0:0\n{open}"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("auth: open"), "{said}");
    // Said on purpose, it is done.
    let up = Upstream::answering(json_answer("{}"));
    let config = format!("listen: 0.0.0.0:0\nauth: open\n{}", gateway::simple(up.port));
    let config = config.split("api_keys:").next().expect("a part").to_owned();
    let gateway = Gateway::new(driver).without_flags().config(config).start();
    let got = gateway.connect().ask(&bare("GET", "/v1/models", ""));
    assert_eq!(got.status, 200);
}

fn keys_are_held_to_what_they_allow(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let config = gateway::simple(up.port).replace(
        "config: plain }",
        "config: plain, allow: { configs: [plain], virtual_keys: [up], models: [\"gpt-*\"] } }",
    );
    let gateway = Gateway::new(driver).config(config).start();
    let ask = |headers: &str, model: &str| {
        gateway.connect().ask(&post("/v1/chat/completions", headers, &chat(model))).status
    };
    assert_eq!(ask("", "gpt-4o"), 200);
    assert_eq!(ask("", "claude-3"), 403);
    assert_eq!(ask("x-portkey-config: anthropic\r\n", "gpt-4o"), 403);
    assert_eq!(ask("x-portkey-config: {\"virtual_key\":\"up\"}\r\n", "gpt-4o"), 403);
    assert_eq!(ask("x-portkey-virtual-key: up\r\n", "gpt-4o"), 200);
    assert_eq!(ask("x-portkey-virtual-key: claude\r\n", "gpt-4o"), 403);
    assert_eq!(ask("x-portkey-provider: @claude\r\n", "gpt-4o"), 403);
    assert_eq!(ask("x-portkey-virtual-key: up\r\n", "@up/claude-3"), 403);
    // The same model under a second spelling of the key, which a careless server might take.
    let twice = r#"{"model":"gpt-4o","Model":"claude-3","messages":[]}"#;
    assert_eq!(gateway.connect().post("/v1/chat/completions", twice).status, 400);
    let escaped = r#"{"mod\u0065l":"claude-3","messages":[]}"#;
    assert_eq!(gateway.connect().post("/v1/chat/completions", escaped).status, 403);
}
