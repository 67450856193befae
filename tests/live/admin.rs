//! The admin interface as an operator meets it: who may come in, what it tells, reloading, its end.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, process::Command, time::Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Conn, DEADLINE, Driver, Gateway, Upstream,
    gateway::{CREDENTIAL, Plan, simple},
    http::{Answer, chat},
    on_both_drivers,
    upstream::{STREAM_HEAD, chunk, delta, json_answer},
    wait_for,
};

on_both_drivers!(metrics_and_health_tell_of_traffic, it_answers_while_the_gateway_drains);

const TOKEN: &str = "the-token-of-the-tests";

/// [`simple`] with the token of the tests.
pub fn config(port: u16) -> String {
    format!("admin: {{ token: {TOKEN} }}\n{}", simple(port))
}

pub fn admin_address(gateway: &Gateway) -> SocketAddr {
    let line = gateway.hears("the admin interface listens on http://");
    let (_, rest) = line.split_once("http://").expect("an address");
    rest.split(',').next().and_then(|text| text.parse().ok()).expect("an address")
}

fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    Conn::to(admin_address(gateway)).ask(request.as_bytes())
}

fn with_token(gateway: &Gateway, method: &str, path: &str) -> Answer {
    ask(gateway, method, path, &format!("authorization: Bearer {TOKEN}\r\n"))
}

pub fn get(gateway: &Gateway, path: &str) -> Value {
    let got = with_token(gateway, "GET", path);
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    got.json()
}

/// The sum of a metric over all workers.
pub fn metric(gateway: &Gateway, name: &str) -> f64 {
    let text = with_token(gateway, "GET", "/metrics").text().to_owned();
    let samples = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let values: Vec<f64> = samples
        .map(|line| line.rsplit(' ').next().expect("a value").parse().expect("a number"))
        .collect();
    assert!(!values.is_empty(), "{name} is in\n{text}");
    values.iter().sum()
}

/// The same of the samples with this label.
pub fn labelled(gateway: &Gateway, name: &str, label: &str) -> f64 {
    let text = with_token(gateway, "GET", "/metrics").text().to_owned();
    let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    samples
        .map(|line| line.rsplit(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0))
        .fold(0.0, |a, b: f64| a + b)
}

#[test]
fn a_token_is_made_once_shown_once_and_asked_for() {
    let gateway = Plan::new(Driver::Epoll).admin().start();
    let line = gateway.hears("made a token");
    let token = line.rsplit(' ').next().expect("the token").to_owned();
    let file = gateway.dir().join("state/admin-token");
    assert_eq!(std::fs::read_to_string(&file).expect("the file").trim(), token);
    let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for wrong in ["", "authorization: Bearer x\r\n", "authorization: Basic eA==\r\n"] {
        for path in ["/metrics", "/admin/v1/health", "/nowhere"] {
            let got = ask(&gateway, "GET", path, wrong);
            assert_eq!((got.status, got.error_type()), (401, "authentication_error".into()));
            assert!(got.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer")));
        }
    }
    let right = format!("authorization: Bearer {token}\r\n");
    assert_eq!(ask(&gateway, "GET", "/admin/v1/health", &right).status, 200);

    let again = Plan::new(Driver::Epoll).admin().in_dir(gateway.leave()).start();
    assert_eq!(ask(&again, "GET", "/admin/v1/health", &right).status, 200);
    assert!(!again.said().contains(&token), "{}", again.said());
}

#[test]
fn a_foreign_name_is_refused_before_the_token_is_looked_at() {
    let config = "admin: { metrics: open }\n".to_owned() + &simple(1);
    let gateway = Plan::new(Driver::Epoll).admin().config(config).start();
    assert_eq!(ask(&gateway, "GET", "/metrics", "").status, 200, "metrics are open");
    assert_eq!(ask(&gateway, "GET", "/admin/v1/health", "").status, 401, "the rest is not");
    let foreign = b"GET /metrics HTTP/1.1\r\nhost: rebound.example:8788\r\n\r\n";
    let got = Conn::to(admin_address(&gateway)).ask(foreign);
    assert_eq!((got.status, got.error_type()), (403, "permission_error".into()));
}

fn metrics_and_health_tell_of_traffic(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Plan::new(driver).admin().workers(2).config(config(up.port)).start();
    let before = metric(&gateway, "trunkline_exchanges_total");
    let mut conn = gateway.connect();
    for _ in 0..3 {
        assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
    }
    gateway.records(3);
    assert_eq!(metric(&gateway, "trunkline_exchanges_total") - before, 3.0);
    assert_eq!(metric(&gateway, "trunkline_attempts_total"), 3.0);
    assert_eq!(metric(&gateway, "trunkline_upstream_connections_total"), 1.0);
    assert_eq!(metric(&gateway, "trunkline_upstream_reused_total"), 2.0);
    assert_eq!(metric(&gateway, "trunkline_upstream_idle"), 1.0);
    assert_eq!(metric(&gateway, "trunkline_log_queued_total"), 3.0);
    assert_eq!(metric(&gateway, "trunkline_log_dropped_total"), 0.0);
    assert_eq!(metric(&gateway, "trunkline_bugs_total"), 0.0);
    assert_eq!(metric(&gateway, "trunkline_upstream_open"), 1.0);
    assert_eq!(labelled(&gateway, "trunkline_exchanges_ended_total", "status=\"2xx\""), 3.0);
    assert_eq!(metric(&gateway, "trunkline_exchange_duration_seconds_count"), 3.0);
    assert_eq!(metric(&gateway, "trunkline_gateway_duration_seconds_count"), 3.0);
    assert!(metric(&gateway, "trunkline_client_sent_bytes_total") > 100.0);
    wait_for("the end", || (metric(&gateway, "trunkline_in_flight") == 0.0).then_some(()));
    assert!(metric(&gateway, "trunkline_log_queue_limit_bytes") > 1e6);
    wait_for("a sample of each worker's lag", || {
        (metric(&gateway, "trunkline_event_loop_lag_seconds_count") > 2.0).then_some(())
    });
    let open = || metric(&gateway, "trunkline_connections_open");
    wait_for("one open connection", || (open() == 1.0).then_some(()));
    let health = get(&gateway, "/admin/v1/health");
    assert_eq!(health["status"], "ok");
    assert_eq!(health["driver"], driver.flag());
    assert_eq!(health["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!((&health["connections"], &health["pooled"]), (&Value::from(1), &Value::from(1)));
    drop(conn);
    wait_for("no open connection", || (open() == 0.0).then_some(()));
}

#[test]
fn the_metrics_page_keeps_to_the_text_format() {
    let gateway = Plan::new(Driver::Epoll).admin().workers(2).config(config(1)).start();
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 502);
    let got = with_token(&gateway, "GET", "/metrics");
    assert_eq!(got.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(got.text().ends_with('\n'));
    let mut family = "";
    let mut families = Vec::new();
    for line in got.text().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            (family, _) = rest.split_once(' ').expect("a help text");
            assert!(!families.contains(&family), "{family} comes twice");
            families.push(family);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let kind = rest.strip_prefix(family).expect("the type of the same family").trim();
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let name = name.split('{').next().expect("a name");
            let part = name.strip_prefix(family).expect("a sample of the family");
            let histogram = got.text().contains(&format!("# TYPE {family} histogram\n"));
            let parts: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(parts.contains(&part), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn a_reload_is_asked_for_and_its_outcome_told() {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Plan::new(Driver::Epoll).admin().config(config(up.port)).start();
    let reload = || with_token(&gateway, "POST", "/admin/v1/reload");
    let got = reload();
    assert_eq!((got.status, &got.json()["changed"]), (200, &Value::Bool(false)));

    // Only the credential changes: that is a new epoch too.
    let first = get(&gateway, "/admin/v1/epochs")["current"]["epoch"].as_u64().expect("a number");
    gateway.write_config(&config(up.port).replace(CREDENTIAL, "sk-rotated-credential"));
    assert_eq!(reload().status, 200);
    wait_for("the new epoch", || {
        let now = get(&gateway, "/admin/v1/epochs")["current"]["epoch"].as_u64();
        (now > Some(first)).then_some(())
    });
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
    assert_eq!(up.last().header("authorization"), Some("Bearer sk-rotated-credential"));

    gateway.write_config("listen: nowhere\nno_such_key: 1\n");
    let got = reload();
    assert_eq!((got.status, got.error_type()), (422, "invalid_configuration".into()));
    let mistakes = got.json()["mistakes"].as_array().expect("a list").len();
    assert_eq!(mistakes, 2, "{}", got.text());
    let epochs = get(&gateway, "/admin/v1/epochs");
    assert_eq!(epochs["refused_now"]["mistakes"].as_array().map(Vec::len), Some(2));
    assert_eq!(epochs["past"][0]["epoch"].as_u64(), Some(first));
    assert_eq!(metric(&gateway, "trunkline_reload_refused"), 1.0);
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);

    gateway.write_config(&format!("state: ./elsewhere\n{}", config(up.port)));
    wait_for("what needs a restart", || {
        let got = reload();
        gateway.count_said("state need a restart").checked_sub(1)?;
        (got.status == 200).then_some(())
    });
    assert_eq!(get(&gateway, "/admin/v1/epochs")["refused_now"], Value::Null);
}

#[test]
fn a_token_that_the_file_changes_counts_at_once() {
    let gateway = Plan::new(Driver::Epoll).admin().config(config(1)).start();
    gateway.write_config(&config(1).replace(TOKEN, "another-token-of-the-tests"));
    assert!([200, 401].contains(&with_token(&gateway, "POST", "/admin/v1/reload").status));
    wait_for("the old token's end", || {
        (with_token(&gateway, "GET", "/admin/v1/health").status == 401).then_some(())
    });
    let new = "authorization: Bearer another-token-of-the-tests\r\n";
    assert_eq!(ask(&gateway, "GET", "/admin/v1/health", new).status, 200);
}

#[test]
fn lists_name_everything_and_show_no_credential() {
    let gateway = Plan::new(Driver::Epoll).admin().config(config(1)).start();
    let keys = get(&gateway, "/admin/v1/virtual-keys");
    assert_eq!(keys["data"].as_array().map(Vec::len), Some(2));
    let up = keys["data"].as_array().expect("a list").iter().find(|key| key["name"] == "up");
    let up = up.expect("the virtual key");
    assert_eq!(up["provider"], "openai");
    assert_eq!(up["credential"]["last4"], CREDENTIAL[CREDENTIAL.len() - 4..]);
    assert_eq!(get(&gateway, "/admin/v1/configs")["data"][1]["name"], "plain");
    let api_keys = get(&gateway, "/admin/v1/api-keys");
    assert_eq!(api_keys["data"][0]["name"], "tests");
    assert_eq!(api_keys["data"][0]["config"], "plain");
    for path in ["virtual-keys", "configs", "api-keys", "epochs", "health", "slow"] {
        let text = get(&gateway, &format!("/admin/v1/{path}")).to_string();
        assert!(!text.contains(&CREDENTIAL[..CREDENTIAL.len() - 4]), "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn what_is_not_there_says_so() {
    let gateway = Plan::new(Driver::Epoll).admin().config(config(1)).start();
    for (method, path, status) in [
        ("GET", "/", 501),
        ("GET", "/admin/v1/logs?where=status%3E500", 501),
        ("GET", "/admin/v1/usage", 501),
        ("GET", "/admin/v1/explain", 405),
        ("POST", "/admin/v1/api-keys", 501),
        ("DELETE", "/admin/v1/virtual-keys/up", 501),
        ("GET", "/admin/v1/configs/plain/versions", 501),
        ("GET", "/admin/v1", 404),
        ("GET", "/admin/v1/health/", 404),
        ("GET", "/v1/models", 404),
        ("POST", "/admin/v1/health", 405),
        ("GET", "/admin/v1/reload", 405),
    ] {
        let got = with_token(&gateway, method, path);
        assert_eq!(got.status, status, "{method} {path}: {}", got.text());
        assert!(!got.message().is_empty(), "{method} {path}");
        assert_eq!(got.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn heads_and_bodies_are_bounded() {
    let gateway = Plan::new(Driver::Epoll).admin().config(config(1)).start();
    let long = format!("x-long: {}\r\n", "x".repeat(64 * 1024));
    let mut conn = Conn::to(admin_address(&gateway));
    conn.try_send(format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\n{long}\r\n").as_bytes());
    assert!(conn.try_answer().is_none_or(|got| got.status == 431));
    let many = "x-many: 1\r\n".repeat(200);
    assert_eq!(ask(&gateway, "GET", "/metrics", &many).status, 431);
    let body = "content-length: 99999999\r\n";
    assert_eq!(ask(&gateway, "POST", "/admin/v1/reload", body).status, 413);
    assert_eq!(get(&gateway, "/admin/v1/health")["status"], "ok");
}

fn it_answers_while_the_gateway_drains(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.request();
        peer.send(&[STREAM_HEAD, &chunk(&delta("begun"))].concat());
        peer.wait_for_close();
    });
    let mut gateway = Plan::new(driver).admin().config(config(up.port)).start();
    let mut conn = gateway.connect();
    conn.send(&crate::harness::http::post(
        "/v1/chat/completions",
        "",
        &crate::harness::http::chat_stream("m"),
    ));
    assert_eq!(conn.head().expect("a head").0, 200);
    gateway.signal(Signal::TERM);
    wait_for("the drain", || {
        (get(&gateway, "/admin/v1/health")["status"] == "draining").then_some(())
    });
    assert_eq!(metric(&gateway, "trunkline_draining"), 1.0);
    assert_eq!(with_token(&gateway, "POST", "/admin/v1/reload").status, 503);
    let address = admin_address(&gateway);
    let idle = Conn::to(address);
    drop(conn);
    let from = Instant::now();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.said());
    assert!(from.elapsed() < DEADLINE, "an idle admin connection holds nothing up");
    assert!(Conn::try_to(address).is_none(), "the port is closed");
    drop(idle);
}

#[test]
fn a_port_in_use_and_an_open_address_are_refused_with_a_remedy() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("an address");
    let run = |config: &str, admin: &[&str]| {
        std::fs::write(dir.path().join("c.yaml"), config).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(["serve", "--config", "c.yaml", "--log", "off"])
            .args(admin)
            .current_dir(dir.path())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let config = "listen: 127.0.0.1:0\n";
    let said = run(config, &["--admin", &taken.1]);
    assert!(said.contains("is in use") && said.contains("--admin off"), "{said}");
    let said = run(config, &["--admin", "0.0.0.0:0"]);
    assert!(said.contains("not on loopback") && said.contains("admin.token"), "{said}");
    let with_token = format!("{config}admin: {{ token: some-token-of-length }}\n");
    let said = run(&with_token, &["--admin", "0.0.0.0:0"]);
    assert!(said.contains("insecure: true"), "{said}");
    let said = run("", &["--admin", "127.0.0.1:19999", "--listen", "127.0.0.1:19999"]);
    assert!(said.contains("cannot both listen"), "{said}");
    std::fs::write(dir.path().join("state"), "no directory").expect("a file");
    let said = run(config, &["--admin", "127.0.0.1:0"]);
    assert!(said.contains("cannot be read or kept"), "{said}");
}
