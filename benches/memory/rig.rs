//! A gateway on the machine in memory with everything on that a request usually passes: API key, virtual key, config,
//! usage and price, log. One client and one upstream, each on one kept-alive connection.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use trunkline::{
    config::{Config, check::check, variables::Variables},
    io::{
        hub::{Epoch, Hub},
        log::{LogSender, Unwritten},
        tls::Trust,
    },
    journal::metrics::Counters,
    policy::api_key,
    serve::{Core, accept::Gateway},
};

use super::{Calls, Memory, Peer, pipe::connection};

/// The gateway, its client and its upstream.
pub struct Rig {
    memory: Memory,
    _gateway: Gateway<Memory>,
    client: Peer,
    upstream: Option<Peer>,
    records: Unwritten,
    plain: Vec<u8>,
    streamed: Vec<u8>,
    answer: Vec<u8>,
}

impl Rig {
    /// One through which exchanges of each kind have passed.
    pub fn warm() -> Rig {
        let memory = Memory::idle();
        let client_tls = Trust::load(std::iter::empty()).expect("no file to fail on");
        let epoch = Epoch { number: 1, config: config(), server_tls: None, client_tls };
        let hub = Arc::new(Hub::new(Arc::new(epoch), Vec::new()));
        let (sender, records) = LogSender::unwritten(0, 7);
        let core =
            Core::new(memory.clone(), hub, Some(sender), Arc::new(Counters::default()), Vec::new());
        let gateway = Gateway::new(core, 10);
        let (reader, writer, client) = connection(&memory);
        gateway.connected(reader, writer, SocketAddr::from(([127, 0, 0, 1], 50_000)));
        memory.run();
        let (plain, streamed, answer) = (request(false), request(true), answer());
        let upstream = None;
        let mut rig =
            Rig { memory, _gateway: gateway, client, upstream, records, plain, streamed, answer };
        for _ in 0..2 {
            rig.plain();
            rig.streamed(2);
        }
        assert_eq!(rig.settle(), 4, "every exchange makes a record");
        rig
    }

    /// One call with a body of 1 KB and an answer of 700 B, from its first byte to its last.
    #[inline(never)]
    pub fn plain(&mut self) {
        self.ask(false);
        self.answer_with(|rig| &rig.answer);
        let good = self.client.receive(|answer| {
            answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(br#""total_tokens":42}}"#)
        });
        assert!(good, "the answer arrives whole");
    }

    /// A stream of so many events of about 200 B, each sent when the one before it has passed, and an end.
    #[inline(never)]
    pub fn streamed(&mut self, events: usize) {
        self.ask(true);
        self.answer_with(|_| STREAM_HEAD);
        for _ in 0..events {
            self.answer_with(|_| EVENT);
            let good = self.client.receive(|answer| answer.ends_with(b"}]}\n\n\r\n"));
            assert!(good, "an event passes as soon as it has come");
        }
        self.answer_with(|_| STREAM_END);
        let good = self.client.receive(|answer| answer.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"));
        assert!(good, "the stream ends");
    }

    /// Empties the log queue; returns how many records were in it. To be called every few thousand exchanges.
    pub fn settle(&mut self) -> usize {
        self.records.by_ref().count()
    }

    /// What the gateway has asked of the machine so far.
    pub fn calls(&self) -> Calls {
        self.memory.calls()
    }

    fn ask(&mut self, stream: bool) {
        self.memory.pass(A_MOMENT);
        self.client.send(if stream { &self.streamed } else { &self.plain });
        self.memory.run();
        if let Some(upstream) = self.memory.dialled() {
            self.upstream = Some(upstream);
        }
        let upstream = self.upstream.as_ref().expect("the first exchange connects");
        let asked = upstream.receive(|request| request.ends_with(b"]}"));
        assert!(asked, "the request arrives whole");
    }

    fn answer_with<'a>(&'a self, bytes: impl FnOnce(&'a Rig) -> &'a [u8]) {
        self.memory.pass(A_MOMENT);
        if let Some(upstream) = &self.upstream {
            upstream.send(bytes(self));
        }
        self.memory.run();
    }
}

fn config() -> Config {
    let text = format!(
        "virtual_keys:\n  up: {{ provider: openai, base_url: 'http://10.0.0.1/v1', api_key: sk-upstream }}\n\
         configs:\n  main:\n    strategy: {{ mode: fallback }}\n    \
         targets: [ {{ virtual_key: up }}, {{ virtual_key: up }} ]\n\
         api_keys:\n  - {{ name: app, {}, config: main, metadata: {{ team: support }} }}\n",
        api_key::yaml_line(KEY)
    );
    let checked = check(&text, Variables::Lookup(&|_| None));
    checked.config.unwrap_or_else(|| panic!("{:?}\n{text}", checked.mistakes))
}

fn request(stream: bool) -> Vec<u8> {
    let words = "Tell me about the sea. ".repeat(38);
    let body = format!(
        r#"{{"model":"gpt-4o-mini","temperature":0.7,"max_tokens":256,"stream":{stream},"messages":[{{"role":"system","content":"You are brief."}},{{"role":"user","content":"{words}"}}]}}"#
    );
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8787\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\naccept: application/json\r\nuser-agent: OpenAI/Python 1.109.1\r\n\
         x-portkey-config: main\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn answer() -> Vec<u8> {
    let words = "The sea is wide and salt. ".repeat(15);
    let body = format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1767225600,"model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":30,"completion_tokens":12,"total_tokens":42}}}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n\
         x-request-id: req_1\r\nopenai-processing-ms: 12\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const KEY: &str = "tl-00000000000000000000000000000000000000000000";
/// Between two things that happen: a hundred exchanges a tick of the timer wheel.
const A_MOMENT: Duration = Duration::from_micros(25);
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    content-type: text/event-stream\r\nx-request-id: req_1\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &[u8] = b"c8\r\ndata: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
    \"created\":1767225600,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\
    \"delta\":{\"content\":\" wide and salt and\"},\"finish_reason\":null}]}\n\n\r\n";
const STREAM_END: &[u8] =
    b"ba\r\ndata: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
    \"created\":1767225600,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\
    \"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n\r\n0\r\n\r\n";
