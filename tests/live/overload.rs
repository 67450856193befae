//! Ceilings of the real process: what is over them is told so and logged, what is under way goes on, and places come
//! back; and slow requests, which are told on stderr and on the admin port.

use crate::{
    admin::{config, get, labelled, metric},
    harness::{
        Conn, Driver, End, Gateway, Upstream,
        gateway::{CREDENTIAL, KEY, Plan},
        http::{Answer, chat, chat_stream, post},
        on_both_drivers, pause,
        upstream::{DONE, FINISH, STREAM_HEAD, chunk, delta, json_answer},
        wait_for,
    },
};

on_both_drivers!(
    requests_over_the_cap_are_told_and_places_come_back,
    a_body_without_room_is_refused_before_it_is_sent,
    a_slow_request_is_told_of,
);

const PATH: &str = "/v1/chat/completions";

/// Streams that say a word and go on when the file is there; plain answers at once.
fn upstream(go: std::path::PathBuf) -> Upstream {
    Upstream::start(move |peer| {
        while let Some(heard) = peer.request() {
            if !heard.text().contains("\"stream\":true") {
                peer.send(&json_answer("{}"));
                continue;
            }
            peer.send(&[STREAM_HEAD, &chunk(&delta("begun"))].concat());
            while !go.exists() {
                pause(5);
            }
            peer.send(&[&chunk(FINISH)[..], &chunk(DONE), b"0\r\n\r\n"].concat());
        }
    })
}

fn assert_is_refused(got: &Answer) {
    assert_eq!((got.status, got.error_type()), (503, "overloaded_error".into()), "{}", got.text());
    assert_eq!(got.header("x-trunkline-error-source"), Some("gateway"));
    assert!(got.header("retry-after").is_some_and(|wait| ["1", "2", "3"].contains(&wait)));
}

fn begin_stream(gateway: &Gateway) -> Conn {
    let mut conn = gateway.connect();
    conn.send(&post(PATH, "", &chat_stream("m")));
    assert_eq!(conn.head().expect("a head").0, 200);
    conn
}

fn requests_over_the_cap_are_told_and_places_come_back(driver: Driver) {
    let dir = tempfile::tempdir().expect("a directory");
    let go = dir.path().join("go");
    let up = upstream(go.clone());
    let capped = format!("limits: {{ in_flight: 2 }}\n{}", config(up.port));
    let gateway = Plan::new(driver).admin().workers(2).config(capped).start();
    let mut first = begin_stream(&gateway);
    let second = begin_stream(&gateway);
    assert_eq!(metric(&gateway, "trunkline_streams_open"), 2.0);
    assert_is_refused(&gateway.connect().post(PATH, &chat("m")));
    let alive = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(gateway.connect().ask(alive).status, 200);
    assert_eq!(gateway.connect().ask(&post("/v1/nowhere", "", "{}")).status, 503, "any API call");
    assert_eq!(labelled(&gateway, "trunkline_exchanges_refused_total", "in_flight"), 2.0);
    assert_eq!(metric(&gateway, "trunkline_in_flight_limit"), 2.0);
    let refused = gateway.records(2);
    for record in refused {
        assert_eq!((&record["status"], &record["api_key"]), (&503.into(), &"tests".into()));
    }

    drop(second);
    std::fs::write(&go, "").expect("a file");
    let mut rest = Vec::new();
    while let Some(piece) = first.piece() {
        rest.extend(piece);
    }
    assert!(first.end() == End::Chunked && rest.ends_with(DONE.as_bytes()), "{rest:?}");
    wait_for("free places", || (metric(&gateway, "trunkline_in_flight") == 0.0).then_some(()));
    assert_eq!(gateway.connect().post(PATH, &chat("m")).status, 200);

    // The cap follows a reload.
    std::fs::remove_file(&go).expect("the file");
    gateway.write_config(&format!("limits: {{ in_flight: 1 }}\n{}", config(up.port)));
    wait_for("the new cap", || {
        (metric(&gateway, "trunkline_in_flight_limit") == 1.0).then_some(())
    });
    let _first = begin_stream(&gateway);
    assert_is_refused(&gateway.connect().post(PATH, &chat("m")));
    gateway.write_config(&config(up.port));
    wait_for("no cap", || (gateway.connect().post(PATH, &chat("m")).status == 200).then_some(()));
}

fn a_body_without_room_is_refused_before_it_is_sent(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let most = 8 << 20;
    let limited = format!("limits: {{ memory: 16MiB, body: 8MiB }}\n{}", config(up.port));
    let gateway = Plan::new(driver).admin().config(limited).start();
    let head = |length: usize| {
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut first = gateway.connect();
    first.send(head(most).as_bytes());
    let accounted = || metric(&gateway, "trunkline_memory_accounted_bytes");
    wait_for("the body's room", || (accounted() >= most as f64).then_some(()));
    let got = gateway.connect().ask(head(most).as_bytes());
    assert_is_refused(&got);
    assert!(got.message().contains("limits.memory"), "{}", got.message());
    assert_eq!(labelled(&gateway, "trunkline_exchanges_refused_total", "memory"), 1.0);
    assert_eq!(gateway.connect().post(PATH, &chat("m")).status, 200, "a small one has room");

    let whole = format!("{{\"model\":\"m\",\"messages\":[]{}}}", " ".repeat(most - 27));
    assert_eq!(whole.len(), most);
    first.send(whole.as_bytes());
    assert_eq!(first.answer().status, 200);
    drop(first);
    let mut gone = gateway.connect();
    gone.send(head(most).as_bytes());
    wait_for("the body's room", || (accounted() >= most as f64).then_some(()));
    drop(gone);
    wait_for("room again", || (accounted() < 1e6).then_some(()));
    assert_eq!(gateway.connect().post(PATH, &whole).status, 200);
}

fn a_slow_request_is_told_of(driver: Driver) {
    let up = Upstream::start(|peer| {
        while peer.request().is_some() {
            pause(100);
            peer.send(&json_answer("{}"));
        }
    });
    let slow = format!("slow_request: 20ms\n{}", config(up.port));
    let gateway = Plan::new(driver).admin().config(slow).start();
    let got = gateway.connect().post(PATH, &chat("a-model"));
    assert_eq!(got.status, 200);
    let id = got.header("x-trunkline-request-id").expect("an id").to_owned();
    let line = gateway.hears(&format!("slow request {id}"));
    for part in ["model \"a-model\"", "key \"tests\"", "first_byte ", "\"up\"", "event-loop lag"] {
        assert!(line.contains(part), "{part} is in {line}");
    }
    assert!(!line.contains(CREDENTIAL) && !line.contains(KEY), "{line}");
    let told = get(&gateway, "/admin/v1/slow");
    assert_eq!(told["slow_request_ms"], 20.0);
    let slow = &told["data"][0];
    assert_eq!((&slow["request_id"], &slow["status"]), (&id.into(), &200.into()));
    assert!(slow["stages_ms"]["first_byte"].as_f64() >= Some(100.0), "{slow}");
    assert_eq!(slow["attempts"][0]["virtual_key"], "up");
    assert_eq!(metric(&gateway, "trunkline_slow_requests_total"), 1.0);
}
