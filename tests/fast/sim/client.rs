//! A client as strict as they come: it takes an answer for complete only if HTTP says so.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use trunkline::io::{
    buffer::WriteList,
    net::{Net, Reader, Writer},
};

use super::answer::{Answer, Ended, parse};
use crate::world::{SimNet, SimReader, SimWriter};

/// Where the gateway listens.
pub fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8787))
}

/// One connection to the gateway. Dropping it closes it.
pub struct Conn {
    net: SimNet,
    reader: SimReader,
    writer: SimWriter,
    /// Received and not yet taken as an answer.
    pub buffer: Vec<u8>,
    /// How it ended, once it has.
    pub ended: Option<Ended>,
    /// The most that it reads at once, and its pause after that.
    pub pace: (usize, Duration),
}

impl Conn {
    pub async fn open(net: &SimNet) -> Conn {
        let (reader, writer) = net.connect(address()).await.expect("the gateway listens");
        let pace = (4096, Duration::ZERO);
        Conn { net: net.clone(), reader, writer, buffer: Vec::new(), ended: None, pace }
    }

    /// Sends all of it; a gateway that closes meanwhile is no mistake of the client's.
    pub async fn send(&mut self, bytes: &[u8]) {
        let list = WriteList::of(Bytes::copy_from_slice(bytes));
        let _ = self.writer.write(list).await;
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.writer.shutdown().await;
    }

    /// Breaks the connection off.
    pub fn reset(mut self) {
        self.writer.reset();
    }

    /// Waits for more bytes, at most so many; false: there will be none.
    pub async fn fill(&mut self, most: usize) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let (result, buffer) = self.reader.read(BytesMut::with_capacity(most)).await;
        self.buffer.extend_from_slice(&buffer);
        match result {
            Ok(0) => self.ended = Some(Ended::Closed),
            Ok(_) => {}
            Err(_) => self.ended = Some(Ended::Reset),
        }
        self.ended.is_none()
    }

    /// Spares the parser all but a few looks at a stream.
    fn may_be_complete(&self) -> bool {
        let has = |text: &[u8]| memchr::memmem::find(&self.buffer, text).is_some();
        self.ended.is_some() || !has(b"chunked\r\n") || has(b"\r\n0\r\n\r\n")
    }

    /// The next answer, complete or as far as it came.
    pub async fn answer(&mut self) -> Answer {
        let begun = self.net.now();
        loop {
            if self.may_be_complete()
                && let Some((answer, taken)) = parse(&self.buffer, self.ended)
                && (answer.complete || self.ended.is_some())
            {
                self.buffer.drain(..taken);
                return Answer { took: self.net.now().since(begun), bytes: taken, ..answer };
            }
            if self.ended.is_some() {
                let took = self.net.now().since(begun);
                return Answer { took, ..Answer::default() };
            }
            let (most, pause) = self.pace;
            self.fill(most).await;
            if pause > Duration::ZERO {
                self.net.sleep_until(self.net.now().after(pause)).await;
            }
        }
    }
}

/// A chat request to the config `main`.
pub fn chat(words: &str, stream: bool) -> Vec<u8> {
    post("/v1/chat/completions", "", &chat_body(words, stream))
}

pub fn chat_body(words: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": words}]);
    match stream {
        true => json!({"model": "m", "stream": true, "messages": messages}),
        false => json!({"model": "m", "messages": messages}),
    }
}

/// The same as Anthropic's SDKs say it.
pub fn messages(words: &str, stream: bool) -> Vec<u8> {
    let mut body = chat_body(words, stream);
    body["max_tokens"] = json!(100);
    post("/v1/messages", "anthropic-version: 2023-06-01\r\n", &body)
}

/// The same by OpenAI's Responses API.
pub fn responses(words: &str, stream: bool) -> Vec<u8> {
    post("/v1/responses", "", &json!({"model": "m", "stream": stream, "input": words}))
}

/// A request to the config `main`. `headers` are whole lines.
pub fn post(path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-portkey-config: main\r\n\
         content-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
