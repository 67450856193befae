//! The codec and the scanners.

use bytes::Bytes;
use trunkline::wire::{
    head::{HeadLimits, Method, Progress, parse_request, parse_response},
    json::{Edit, Fields, scan, splice},
    sse::Scanner,
};

use crate::Bench;

/// All of them.
pub fn all(bench: &mut Bench) {
    heads(bench);
    bodies(bench);
    events(bench);
}

fn heads(bench: &mut Bench) {
    let limits = HeadLimits::default();
    bench.add("request head", REQUEST.len(), || {
        parse_request(REQUEST, &mut Progress::default(), &limits)
            .ok()
            .flatten()
            .expect("a whole head")
    });
    bench.add("response head", RESPONSE.len(), || {
        parse_response(RESPONSE, &mut Progress::default(), Method::Post)
            .ok()
            .flatten()
            .expect("a whole head")
    });
}

fn bodies(bench: &mut Bench) {
    for (name, kilobytes) in
        [("body scan, 1 KB", 1), ("body scan, 10 KB", 10), ("body scan, 100 KB", 100)]
    {
        let body = chat(kilobytes * 1024);
        bench.add(name, body.len(), || scanned(&body));
    }
    let body = chat(10 * 1024);
    let fields = scanned(&body);
    let edits = [
        Edit::Set { name: "model", raw_json: br#""gpt-4o""# },
        Edit::Set { name: "user", raw_json: br#""u-1""# },
        Edit::Remove { name: "logit_bias" },
    ];
    bench.add("splice of three edits, 10 KB", 0, || splice(&body, &fields, &edits));
}

fn events(bench: &mut Bench) {
    let stream = EVENT.repeat(100);
    let mut scanner = Scanner::new();
    bench.add("SSE scan, 100 events", stream.len(), || {
        let mut events = 0;
        scanner.push(&stream, |event| events += event.data.len()).expect("no event is too long");
        events
    });
    let half = EVENT.len() / 2;
    bench.add("SSE scan, one event in two pieces", EVENT.len(), || {
        let mut events = 0;
        for piece in [&EVENT[..half], &EVENT[half..]] {
            scanner.push(piece, |event| events += event.data.len()).expect("no event is too long");
        }
        events
    });
}

fn scanned(body: &[u8]) -> Fields {
    scan(body).expect("a JSON object")
}

/// A chat request of about so many bytes, as text is: with an escape now and then.
pub fn chat(bytes: usize) -> Bytes {
    let words = r#"It was said, \"the sea is wide\", and so it was.\n"#.repeat(bytes / 50);
    let body = format!(
        r#"{{"model":"gpt-4o-mini","temperature":0.7,"max_tokens":256,"logit_bias":{{}},"messages":[{{"role":"user","content":"{words}"}}]}}"#
    );
    Bytes::from(body)
}

const REQUEST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.example.com\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\
    Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.109.1\r\nX-Stainless-Lang: python\r\n\
    X-Stainless-Package-Version: 1.109.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n\
    X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.12.3\r\n\
    Authorization: Bearer tl-00000000000000000000000000000000000000000000\r\n\
    X-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n\
    x-portkey-config: support\r\nContent-Length: 1024\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\
    access-control-expose-headers: X-Request-ID\r\nopenai-organization: example\r\n\
    openai-processing-ms: 412\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n\
    x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 8.64s\r\n\
    x-request-id: req_0123456789abcdef0123456789abcdef\r\nstrict-transport-security: max-age=31536000\r\n\
    cf-cache-status: DYNAMIC\r\nserver: cloudflare\r\ncf-ray: 0123456789abcdef-AMS\r\n\r\n";

const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
    \"created\":1767225600,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\
    \"delta\":{\"content\":\" wide and salt and\"},\"finish_reason\":null}]}\n\n";
