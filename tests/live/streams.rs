//! Streams: flushed as they come, complete or explicitly broken, committed at the first content, bounded in memory.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicU64, Ordering},
};

use serde_json::Value;

use crate::harness::{
    Driver, End, Gateway, Upstream, gateway, http,
    http::{chat_stream, post},
    on_both_drivers, pause,
    upstream::{DONE, FINISH, Peer, STREAM_HEAD, USAGE, chunk, delta},
    wait_for,
};

on_both_drivers!(
    each_read_is_flushed_at_once,
    an_error_before_content_falls_over,
    an_error_after_content_does_not,
    usage_is_captured_and_the_extra_chunk_withheld,
    a_stream_that_breaks_is_never_a_silent_end,
    a_slow_client_slows_the_upstream,
);

/// A door that the test opens for the upstream's script.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().expect("a lock") += 1;
        self.0.1.notify_all();
    }

    /// Waits for an opening that nobody has used.
    pub fn pass(&self) {
        let mut count = self.0.0.lock().expect("a lock");
        while *count == 0 {
            let waited = self.0.1.wait_timeout(count, crate::harness::DEADLINE);
            let (guard, timeout) = waited.expect("a lock");
            assert!(!timeout.timed_out(), "nobody opened the gate");
            count = guard;
        }
        *count -= 1;
    }
}

/// Two targets: the first is `port`, the second `other`.
pub fn fallback(port: u16, other: u16) -> String {
    let base = |name: &str, port: u16| {
        format!(
            "  {name}: {{ provider: openai, base_url: \"http://127.0.0.1:{port}/v1\", api_key: sk }}\n"
        )
    };
    format!(
        "virtual_keys:\n{}{}configs:\n  both:\n    strategy: {{ mode: fallback }}\n    targets:\n      \
         - {{ virtual_key: one }}\n      - {{ virtual_key: two }}\n{}",
        base("one", port),
        base("two", other),
        gateway::api_keys("both")
    )
}

fn streaming(events: &[&str]) -> Upstream {
    let body: Vec<u8> = events.iter().flat_map(|event| chunk(event)).collect();
    Upstream::answering([STREAM_HEAD, &body, b"0\r\n\r\n"].concat())
}

fn each_read_is_flushed_at_once(driver: Driver) {
    let gate = Gate::default();
    let inner = gate.clone();
    let up = Upstream::start(move |peer| {
        peer.request();
        peer.send(STREAM_HEAD);
        for word in ["one", "two", "three"] {
            peer.send(&chunk(&delta(word)));
            inner.pass();
        }
        // Half an event, and the rest of it only when the test asks.
        let (half, rest) = FINISH.split_at(30);
        peer.send(&chunk(half));
        inner.pass();
        peer.send(&chunk(&format!("{rest}{USAGE}{DONE}")));
        peer.send(b"0\r\n\r\n");
        peer.wait_for_close();
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
    assert_eq!(conn.head().expect("a head").0, 200);
    let mut held = Vec::new();
    for word in ["one", "two", "three"] {
        assert_eq!(conn.event(&mut held), Some(delta(word)));
        gate.open();
    }
    gate.open();
    assert_eq!(conn.event(&mut held).as_deref(), Some(FINISH));
    assert_eq!(conn.event(&mut held).as_deref(), Some(DONE));
    assert_eq!((conn.event(&mut held), conn.end()), (None, End::Chunked));
}

fn an_error_before_content_falls_over(driver: Driver) {
    let error =
        "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":503}}\n\n";
    let role =
        "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    for first in [vec![error], vec![role, error], vec![role], vec![": ping\n\n", role, DONE]] {
        let one = streaming(&first);
        let two = streaming(&[&delta("two"), FINISH, DONE]);
        let gateway = Gateway::new(driver).config(fallback(one.port, two.port)).start();
        let got = gateway.connect().post("/v1/chat/completions", &chat_stream("m"));
        if first.contains(&DONE) {
            // Empty, but complete by its own account: that is an answer.
            assert_eq!(got.text(), first.concat());
            continue;
        }
        assert_eq!((got.status, got.end), (200, End::Chunked), "{first:?}");
        assert_eq!(got.text(), [&*delta("two"), FINISH, DONE].concat(), "{first:?}");
        assert_eq!(got.header("x-portkey-last-used-option-index"), Some("config.targets[1]"));
        let record = gateway.record();
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2), "{record}");
        assert_eq!(record["truncated"], false);
    }
}

fn an_error_after_content_does_not(driver: Driver) {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    let gate = Gate::default();
    let inner = gate.clone();
    let one = Upstream::start(move |peer| {
        peer.request();
        peer.send(&[STREAM_HEAD, &chunk(&delta("one"))].concat());
        inner.pass();
        peer.send(&[&chunk(error), b"0\r\n\r\n".as_slice()].concat());
        peer.wait_for_close();
    });
    let two = streaming(&[&delta("two"), FINISH, DONE]);
    let gateway = Gateway::new(driver).config(fallback(one.port, two.port)).start();
    let mut conn = gateway.connect();
    conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
    conn.head().expect("a head");
    let mut held = Vec::new();
    assert_eq!(conn.event(&mut held), Some(delta("one")));
    gate.open();
    assert_eq!(conn.event(&mut held).as_deref(), Some(error));
    assert_eq!((conn.event(&mut held), conn.end()), (None, End::CutShort), "an unclean end");
    assert!(two.requests().is_empty());
    assert_eq!(gateway.record()["truncated"], true);
}

fn usage_is_captured_and_the_extra_chunk_withheld(driver: Driver) {
    let up = streaming(&[&delta("a"), FINISH, USAGE, DONE]);
    let gateway = Gateway::in_front_of(driver, up.port);
    let got = gateway.connect().post("/v1/chat/completions", &chat_stream("m"));
    assert_eq!(got.text(), [&*delta("a"), FINISH, DONE].concat());
    let sent: Value = serde_json::from_str(&up.last().text()).expect("JSON");
    assert_eq!(sent["stream_options"]["include_usage"], true);
    let record = gateway.record();
    assert_eq!((&record["usage"]["input"], &record["usage"]["output"]), (&11.into(), &7.into()));
    assert!(record["ttft_ns"].as_u64().is_some_and(|nanos| nanos > 0));
}

/// A short stream of each format, as (path of the client, body, config, stream of the upstream).
fn cases() -> Vec<(&'static str, String, &'static str, String)> {
    let openai = [&*delta("Hello"), &delta(" you"), FINISH, USAGE, DONE].concat();
    let anthropic = ANTHROPIC.to_owned();
    let messages = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let (chat, messages) = (chat_stream("m"), messages.to_owned());
    vec![
        ("/v1/chat/completions", chat.clone(), "plain", openai.clone()),
        ("/v1/messages", messages.clone(), "anthropic", anthropic.clone()),
        ("/v1/chat/completions", chat, "anthropic", anthropic),
        ("/v1/messages", messages, "plain", openai),
    ]
}

fn a_stream_that_breaks_is_never_a_silent_end(driver: Driver) {
    for (path, body, config, stream) in cases() {
        let wire = [STREAM_HEAD, &chunk(&stream), b"0\r\n\r\n"].concat();
        let length = wire.len();
        let cut = Arc::new(AtomicU64::new(0));
        let at = Arc::clone(&cut);
        let up = Upstream::start(move |peer: &mut Peer| {
            peer.request();
            let offset = at.load(Ordering::SeqCst) as usize;
            peer.send(&wire[..offset]);
            if offset % 2 == 1 {
                peer.reset();
            }
        });
        let gateway = Gateway::new(driver).config(gateway::simple(up.port)).without_log().start();
        let ask = post(path, &format!("x-portkey-config: {config}\r\n"), &body);
        let mut conn = gateway.connect();
        for offset in 0..=length {
            cut.store(offset as u64, Ordering::SeqCst);
            if !conn.try_send(&ask) {
                conn = gateway.connect();
                conn.send(&ask);
            }
            let Some(got) = conn.try_answer() else {
                conn = gateway.connect();
                conn.send(&ask);
                let got = conn.answer();
                assert_explicit(&got, path, offset, length);
                continue;
            };
            assert_explicit(&got, path, offset, length);
            if got.end == End::CutShort {
                conn = gateway.connect();
            }
        }
    }
}

/// Complete, or an error that the client cannot overlook.
fn assert_explicit(got: &http::Answer, path: &str, offset: usize, length: usize) {
    let place = format!("{path} cut at {offset} of {length}: {} {:?}\n", got.status, got.end);
    let text = got.text();
    if got.status != 200 {
        assert_eq!(got.status, 502, "{place}{text}");
        assert!(!got.message().is_empty(), "{place}{text}");
        assert_ne!(got.end, End::CutShort, "{place}{text}");
        return;
    }
    let complete = match path {
        "/v1/messages" => text.contains("event: message_stop"),
        _ => text.ends_with(DONE) || text.contains("\"finish_reason\":\"stop\""),
    };
    let told = text.contains("\"error\"");
    match got.end {
        End::Chunked => assert!(complete, "{place}{text}"),
        End::CutShort => assert!(told, "{place}{text}"),
        _ => panic!("{place}{text}"),
    }
    assert!(offset < length || complete, "{place}{text}");
}

fn a_slow_client_slows_the_upstream(driver: Driver) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let up = Upstream::start(move |peer| {
        peer.request();
        peer.send(STREAM_HEAD);
        let piece = chunk(&delta(&"x".repeat(32 * 1024)));
        while count.load(Ordering::SeqCst) < (256 << 20) && peer.send(&piece) {
            count.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let before = resident(gateway.pid());
    let mut conn = gateway.connect();
    conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
    // The kernel's buffers fill, then nothing moves any more.
    let stalled = wait_for("the upstream to stall", || {
        let seen = sent.load(Ordering::SeqCst);
        pause(500);
        (seen > 0 && sent.load(Ordering::SeqCst) == seen).then_some(seen)
    });
    assert!(stalled < (64 << 20), "{stalled} bytes were taken from the upstream");
    let grown = resident(gateway.pid()).saturating_sub(before);
    assert!(grown < (8 << 20), "{grown} bytes more for one client that does not read");
    drop(conn);
    up.sees_close(0);
    assert_eq!(gateway.record()["client_gone"], true);
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

const ANTHROPIC: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":7}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
