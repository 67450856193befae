//! The ceilings of exchanges in flight and of memory: what is over them is told so at once, what is under way goes on,
//! and whatever way an exchange ends, its place is free again.

use serde_json::json;
use trunkline::{base::limits, wire::record::Record};

use super::{
    Gate, Setup,
    answer::Answer,
    client::{self, Conn, chat},
    guardrails::{forbids, guarded},
    millis, secs,
    target::*,
};
use crate::world::Link;

/// A gate with room for so many.
fn with_places(in_flight: usize) -> Gate {
    Setup::new(1).file(&format!("limits: {{in_flight: {in_flight}}}")).open()
}

/// A gate with so many bytes.
fn with_bytes(bytes: u64) -> Gate {
    Setup::new(1).change(move |config| config.limits.memory_bytes = bytes).open()
}

fn assert_is_refused(gate: &Gate, answer: &Answer, named: &str) {
    assert_eq!((answer.status, answer.error().as_deref()), (503, Some("overloaded_error")));
    assert_eq!(answer.header("x-trunkline-error-source"), Some("gateway"));
    let wait: u64 = answer.header("retry-after").and_then(|it| it.parse().ok()).expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");
    assert!(answer.complete && answer.text().contains(named), "{}", answer.text());
    assert!(answer.took < millis(100), "at once, not after {:?}", answer.took);
    let records = gate.records();
    let of = |record: &&Record| record.status == 503;
    let record = records.iter().find(of).unwrap_or_else(|| panic!("no record: {records:?}"));
    assert_eq!((&*record.error_source, &*record.error_kind), ("gateway", "overloaded"));
    assert!(record.attempts.is_empty());
}

fn post_with_length(length: usize) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-portkey-config: main\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// A body of this length.
fn body(length: usize) -> String {
    let start = client::chat_body("hi", false).to_string();
    format!("{start}{}", " ".repeat(length - start.len()))
}

#[test]
fn exactly_as_many_as_there_are_places_are_served() {
    let gate = with_places(3);
    gate.target("a").is("first_byte=10s");
    let three: Vec<Conn> = (0..3).map(|_| gate.begin(&chat("hi", false), millis(10))).collect();
    assert_eq!(gate.counters.in_flight.get(), 3);
    assert_is_refused(&gate, &gate.ask("hi"), "limits.in_flight");
    let anthropic = gate.post(&client::messages("hi", false));
    assert_eq!((anthropic.status, anthropic.error().as_deref()), (503, Some("overloaded_error")));
    assert!(anthropic.text().starts_with(r#"{"type":"error""#), "{}", anthropic.text());
    assert_eq!(gate.counters.refused_in_flight.get(), 2);
    for mut conn in three {
        assert!(gate.run(async move { conn.answer().await }).is_whole());
    }
    assert!(gate.ask("hi").is_whole());
    gate.close();
}

#[test]
fn health_and_readiness_are_asked_also_when_all_is_taken() {
    let gate = with_places(1);
    gate.target("a").is("first_byte=10s");
    let _held = gate.begin(&chat("hi", false), millis(10));
    assert_eq!(gate.ask("hi").status, 503);
    for path in ["/", "/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(gate.post(request.as_bytes()).status, 200, "{path}");
    }
}

#[test]
fn whatever_way_an_exchange_ends_its_place_is_free_again() {
    let gate = with_places(1);
    let ends: [(&str, bool); 7] = [
        ("", false),
        ("", true),
        ("status=400", false),
        ("status=503&keep_alive=off", false),
        ("cut=300", true),
        ("error_event=2", true),
        ("malformed=http", false),
    ];
    for (script, stream) in ends {
        gate.target("a").is(script);
        gate.target("b").is(script);
        let answer = gate.post(&chat("hi", stream));
        assert_ne!(answer.status, 503 + u16::from(script.contains("503")), "{script}");
        gate.world.run_for(secs(1));
        gate.holds_nothing();
    }
    for (script, stay) in [("first_byte=1m", 1000), ("chunks=1000&interval=100ms", 1000)] {
        gate.target("a").is(script);
        drop(gate.begin(&chat("hi", true), millis(stay)));
        gate.world.run_for(millis(50));
        gate.holds_nothing();
    }
    let body = chat("hi", false);
    drop(gate.begin(&body[..body.len() - 3], millis(10)));
    gate.world.run_for(millis(50));
    assert_eq!(gate.counters.refused_in_flight.get(), 0);
    gate.target("a").is("");
    assert!(gate.ask("hi").is_whole());
    gate.close();
}

#[test]
fn a_body_that_has_no_room_is_refused_before_it_is_read() {
    let most = 64 * limits::EXCHANGE_BYTES;
    let gate = with_bytes(most);
    assert!(gate.ask("hi").is_whole());
    gate.world.run_for(secs(1));
    let room = (most - limits::EXCHANGE_BYTES - gate.counters.log_bytes.get()) as usize;
    let mut fits = gate.begin(&post_with_length(room), millis(10));
    assert_eq!(gate.counters.exchange_bytes.get(), limits::EXCHANGE_BYTES + room as u64);
    // There is no room for another exchange now, however small.
    gate.records();
    assert_is_refused(&gate, &gate.ask("hi"), "limits.memory");
    let answer = gate.run(async move {
        fits.send(body(room).as_bytes()).await;
        fits.answer().await
    });
    assert!(answer.is_whole(), "{answer:?}");
    gate.records();
    let mut above = gate.begin(&post_with_length(room + 1), millis(10));
    let answer = gate.run(async move { above.answer().await });
    assert_is_refused(&gate, &answer, "limits.memory");
    assert_eq!(gate.target("a").asked(), 2);
    gate.close();
}

#[test]
fn a_body_without_a_length_is_refused_when_it_grows_beyond_the_room() {
    let gate = with_bytes(32 * limits::EXCHANGE_BYTES);
    let chunked = |bytes: usize| {
        let head = String::from_utf8(post_with_length(0)).expect("text");
        let mut request = head.replace("content-length: 0", "transfer-encoding: chunked");
        for piece in body(bytes).as_bytes().chunks(4000) {
            let piece = std::str::from_utf8(piece).expect("text");
            request.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
        request.push_str("0\r\n\r\n");
        request.into_bytes()
    };
    assert!(gate.post(&chunked(150_000)).is_whole());
    gate.records();
    let answer = gate.post(&chunked(2_000_000));
    assert_is_refused(&gate, &answer, "limits.memory");
    assert_eq!(gate.counters.refused_memory.get(), 1);
    gate.close();
}

#[test]
fn a_stream_under_way_goes_on_whatever_is_taken_besides() {
    let gate = with_bytes(32 * limits::EXCHANGE_BYTES);
    gate.target("a").is("chunks=20&interval=100ms&chunk_bytes=3000");
    let mut stream = gate.begin(&chat("hi", true), millis(500));
    assert_eq!(gate.counters.streams_open.get(), 1);
    let rest = 30 * limits::EXCHANGE_BYTES as usize;
    let _filler = gate.begin(&post_with_length(rest), millis(10));
    assert_eq!(gate.counters.in_flight.get(), 2);
    let refused = gate.ask("hi");
    assert_eq!(refused.status, 503, "{refused:?}");
    let answer = gate.run(async move { stream.answer().await });
    assert!(answer.is_whole(), "{answer:?}");
    assert_eq!(gate.counters.streams_open.get(), 0);
}

/// The request of a stream with a body of this length, and so many bytes held when its answer waits, and when it flows.
fn held_for_a_stream(gate: &Gate, length: usize) -> (u64, u64) {
    let mut request = post_with_length(length);
    let start = client::chat_body("hi", true).to_string();
    request.extend_from_slice(format!("{start}{}", " ".repeat(length - start.len())).as_bytes());
    let held = || gate.counters.exchange_bytes.get();
    let mut stream = gate.begin(&request, millis(1500));
    let waiting = held();
    gate.world.run_for(secs(2));
    assert_eq!(gate.counters.streams_open.get(), 1);
    let flowing = held();
    let answer = gate.run(async move { stream.answer().await });
    assert!(answer.is_whole(), "{answer:?}");
    gate.world.run_for(secs(1));
    gate.holds_nothing();
    (waiting, flowing)
}

#[test]
fn the_room_of_a_body_is_free_as_soon_as_its_answer_streams() {
    let body = 40 * limits::EXCHANGE_BYTES;
    for provider in ["openai", "anthropic"] {
        let gate = Setup::new(1).target("a", provider).open();
        gate.target("a").is("first_byte=2s&chunks=20&interval=200ms");
        let (waiting, flowing) = held_for_a_stream(&gate, body as usize);
        assert!(waiting >= limits::EXCHANGE_BYTES + body, "{provider}: {waiting}");
        assert_eq!(flowing, limits::EXCHANGE_BYTES, "{provider}");
        gate.close();
    }
}

#[test]
fn a_body_that_guardrails_keep_keeps_its_room() {
    let body = 40 * limits::EXCHANGE_BYTES;
    let gate = guarded(json!({"output_guardrails": forbids("bad", false)})).open();
    gate.target("a").is("first_byte=2s&chunks=20&interval=200ms");
    let (_, flowing) = held_for_a_stream(&gate, body as usize);
    assert!(flowing >= limits::EXCHANGE_BYTES + body, "{flowing}");
    gate.close();
}

#[test]
fn a_body_that_the_log_keeps_keeps_its_room() {
    let body = 40 * limits::EXCHANGE_BYTES;
    let gate = Setup::new(1).file("log: {dir: nowhere, bodies: true}").open();
    gate.target("a").is("first_byte=2s&chunks=20&interval=200ms");
    let (_, flowing) = held_for_a_stream(&gate, body as usize);
    assert!(flowing >= limits::EXCHANGE_BYTES + body, "{flowing}");
    gate.close();
}

#[test]
fn an_answer_that_is_held_is_counted_and_not_refused() {
    let gate = Setup::new(1)
        .target("a", "anthropic")
        .change(|config| config.limits.memory_bytes = 16 * limits::EXCHANGE_BYTES)
        .open();
    // Written anew for the client, so that all of it is held; the end of it comes late.
    let said = "x".repeat(300_000);
    let message = json!({
        "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": said}], "usage": {"input_tokens": 1, "output_tokens": 1},
    });
    let text = message.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    let (start, end) = text.split_at(text.len() - 10);
    gate.target("a").does([
        Act::Hear,
        Act::say(head),
        Act::say(start),
        Act::Wait(secs(5)),
        Act::say(end),
    ]);
    let mut held = gate.begin(&chat("hi", false), secs(1));
    assert!(gate.counters.exchange_bytes.get() > 300_000);
    assert_is_refused(&gate, &gate.ask("hi"), "limits.memory");
    let answer = gate.run(async move { held.answer().await });
    assert!(answer.is_whole() && answer.said() == said);
    gate.holds_nothing();
    gate.target("a").is("");
    assert!(gate.ask("hi").is_whole());
}

#[test]
fn a_slow_request_is_told_with_its_stages_and_a_fast_one_is_not() {
    let link = Link { latency: millis(10), ..Link::default() };
    let gate = Setup::new(1).links(link, link).file("slow_request: 5s").open();
    gate.target("a").is("keep_alive=off");
    assert!(gate.ask("hi").is_whole());
    gate.target("a").is("status=503&keep_alive=off");
    gate.target("b").is("keep_alive=off&first_byte=6s&chunks=100&interval=200ms");
    assert!(gate.stream("hi").is_whole());
    let slow = gate.counters.slow.pop().expect("a slow request");
    assert!(gate.counters.slow.pop().is_none(), "the first was fast");
    let record = gate.records().remove(1);
    assert_eq!((slow.request_id.0, slow.times), (record.request_id, record.times));
    assert_eq!(slow.waited_nanos, record.times.first_token, "not the twenty seconds after it");
    assert_eq!((slow.attempts.len(), slow.attempts[0].left), (2, "status"));
    assert_eq!((slow.core.in_flight, slow.status, slow.stream), (1, 200, true));
    gate.target("b").is("keep_alive=off&chunks=100&interval=200ms");
    assert!(gate.stream("hi").is_whole());
    assert!(gate.counters.slow.pop().is_none(), "a long stream is not a slow one");
}

#[test]
fn what_ended_is_counted_by_how() {
    let gate = Gate::new(1);
    gate.target("a").is("keep_alive=off");
    gate.target("b").is("keep_alive=off");
    assert!(gate.ask("hi").is_whole());
    gate.target("a").is("status=503&keep_alive=off");
    assert!(gate.stream("hi").is_whole());
    gate.target("b").is("status=429&keep_alive=off");
    assert_eq!(gate.ask("hi").status, 429);
    gate.target("a").is("first_byte=1m");
    drop(gate.begin(&chat("hi", false), secs(1)));
    gate.world.run_for(secs(1));
    let ended = &gate.counters.ended;
    let statuses: Vec<u64> = ended.statuses.iter().map(|count| count.get()).collect();
    assert_eq!(statuses, [1, 2, 0, 1, 0]);
    let sources: Vec<u64> = ended.sources.iter().map(|count| count.get()).collect();
    assert_eq!(sources, [1, 0, 1, 0]);
    assert_eq!((ended.retries.get(), ended.fallbacks.get()), (0, 2));
    let sums = |read: fn(&Record) -> u64| -> u64 { gate.records().iter().map(read).sum() };
    assert_eq!(ended.bytes_out.get(), sums(|record| record.client_bytes_out));
    assert!(ended.bytes_in.get() > 0 && ended.tokens[0].get() > 0 && ended.tokens[5].get() > 0);
    gate.close();
}
