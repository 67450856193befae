//! What each codec costs on the same bytes: the best of many short rounds, as others may run on the machine.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{codec::Codec, feed::Feed, hyper_http::Hyper, monoio_http::MonoioHttp, ours::Ours};

/// Prints the table.
pub fn print() {
    println!("| on the same bytes, ns | {} | {} | {} |", Ours::NAME, MonoioHttp::NAME, Hyper::NAME);
    println!("|---|---|---|---|");
    let requests = Bytes::from(request().repeat(MESSAGES));
    let answer = Bytes::from(vec![b'a'; 700]);
    row(
        "a request of 1 KB read and answered with 700 B, of 100 pipelined",
        MESSAGES,
        [
            best(|| served::<Ours>(&requests, &answer)),
            best(|| served::<MonoioHttp>(&requests, &answer)),
            best(|| served::<Hyper>(&requests, &answer)),
        ],
    );
    let stream = Bytes::from(stream());
    row(
        "a chunk of 200 B read, of 100 in one answer",
        MESSAGES,
        [
            best(|| asked::<Ours>(&stream)),
            best(|| asked::<MonoioHttp>(&stream)),
            best(|| asked::<Hyper>(&stream)),
        ],
    );
    println!("\nhyper's has its connection's work in it, the others are codecs alone.");
}

fn row(name: &str, messages: usize, times: [Duration; 3]) {
    let times = times.map(|time| format!("{:.0}", time.as_nanos() as f64 / messages as f64));
    println!("| {name} | {} |", times.join(" | "));
}

fn served<C: Codec>(requests: &Bytes, answer: &Bytes) {
    let feed = Feed::of(requests.chunks(READ_BYTES).map(|piece| requests.slice_ref(piece)));
    let seen = C::serve(&feed, answer);
    assert_eq!(seen.messages.len(), MESSAGES, "{}: {}", C::NAME, seen.told());
}

fn asked<C: Codec>(stream: &Bytes) {
    let seen = C::ask(&Feed::default(), &[("GET", stream.clone())]);
    assert_eq!(
        seen.messages.first().map(|message| message.body.len()),
        Some(200 * MESSAGES),
        "{}: {}",
        C::NAME,
        seen.told()
    );
}

fn best(mut work: impl FnMut()) -> Duration {
    let begun = Instant::now();
    let mut best = Duration::MAX;
    while begun.elapsed() < MEASURED_FOR {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    best
}

fn request() -> Vec<u8> {
    let body = "b".repeat(1024);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.example.com\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.109.1\r\nX-Stainless-Lang: python\r\n\
         X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n\
         Authorization: Bearer tl-00000000000000000000000000000000000000000000\r\nContent-Length: 1024\r\n\r\n{body}"
    )
    .into_bytes()
}

fn stream() -> Vec<u8> {
    let chunk = format!("c8\r\n{}\r\n", "c".repeat(200));
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(MESSAGES)
    )
    .into_bytes()
}

const MESSAGES: usize = 100;
const READ_BYTES: usize = 16 * 1024;
const MEASURED_FOR: Duration = Duration::from_millis(500);
