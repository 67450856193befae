//! The sandbox over simulated connections: what a caller sees of it, byte by byte and in virtual time.

mod anthropic;
mod connection;
mod faults;
mod openai;
mod quickstart;

use std::{collections::HashMap, net::SocketAddr, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use trunkline::{
    base::units::Instant,
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
    },
    sandbox::{Sandbox, server::serve_connection},
};

use crate::world::{Link, SimNet, SimReader, SimWriter, World};

/// A world with one sandbox in it.
struct Stage {
    world: World,
    sandbox: Rc<Sandbox>,
}

impl Stage {
    fn new(sandbox: Sandbox) -> Stage {
        Stage::over(Link::default(), sandbox)
    }

    fn over(link: Link, sandbox: Sandbox) -> Stage {
        let (world, sandbox) = (World::new(1), Rc::new(sandbox));
        let (net, served) = (world.net(), sandbox.clone());
        world.listen_over(address(), link, move |reader, writer| {
            serve_connection(net.clone(), reader, writer, served.clone())
        });
        Stage { world, sandbox }
    }

    /// Sends bytes and reads until the sandbox closes the connection.
    fn send(&self, request: Vec<u8>) -> Got {
        let net = self.world.net();
        self.world.run_until(async move {
            let (mut reader, mut writer) = net.connect(address()).await.expect("it listens");
            let start = net.now();
            write(&mut writer, request).await;
            let mut got = Got { start, ..Got::default() };
            got.read_to_end(&net, &mut reader).await;
            got
        })
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(post(path, "", body)).reply()
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000))
}

async fn write(writer: &mut SimWriter, bytes: Vec<u8>) {
    let mut list = WriteList::new();
    list.push(Bytes::from(bytes));
    writer.write(list).await.0.expect("the sandbox reads");
}

/// A request of its own connection. `headers` are whole lines.
fn post(path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let anthropic =
        if path.starts_with("/v1/messages") { "anthropic-version: 2023-06-01\r\n" } else { "" };
    format!(
        "POST {path} HTTP/1.1\r\nhost: sandbox\r\ncontent-type: application/json\r\n\
         {anthropic}{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: sandbox\r\n{headers}connection: close\r\n\r\n")
        .into_bytes()
}

/// What came over one connection.
#[derive(Default)]
struct Got {
    start: Instant,
    raw: Vec<u8>,
    /// When how many bytes were there.
    arrivals: Vec<(Duration, usize)>,
    /// When the connection ended.
    ended: Duration,
    reset: bool,
}

impl Got {
    async fn read_to_end(&mut self, net: &SimNet, reader: &mut SimReader) {
        loop {
            let (result, buffer) = reader.read(BytesMut::with_capacity(4096)).await;
            let at = net.now().since(self.start);
            match result {
                Ok(0) => self.ended = at,
                Err(_) => (self.ended, self.reset) = (at, true),
                Ok(_) => {
                    self.raw.extend_from_slice(&buffer);
                    self.arrivals.push((at, self.raw.len()));
                    continue;
                }
            }
            return;
        }
    }

    /// The answer, which must be complete.
    fn reply(&self) -> Reply {
        Reply::parse(&self.raw).unwrap_or_else(|| panic!("no answer: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

/// One complete HTTP answer.
struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    /// Reads an answer as a strict client does; `None`: it is not complete.
    fn parse(raw: &[u8]) -> Option<Reply> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = parsed.parse(raw).ok()? else { return None };
        let status = parsed.code?;
        if status < 200 {
            return Reply::parse(&raw[end..]);
        }
        let headers: HashMap<String, String> = parsed
            .headers
            .iter()
            .map(|header| (header.name.into(), String::from_utf8_lossy(header.value).into()))
            .collect();
        let rest = &raw[end..];
        let body = match (headers.get("content-length"), headers.get("transfer-encoding")) {
            (Some(length), None) => rest.get(..length.parse().ok()?)?.to_vec(),
            (None, Some(_)) => dechunk(rest)?,
            _ => rest.to_vec(),
        };
        Some(Reply { status, headers, body })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The events of a stream: name and data.
    fn events(&self) -> Vec<(String, String)> {
        assert_eq!(self.headers["content-type"], "text/event-stream; charset=utf-8");
        let text = std::str::from_utf8(&self.body).expect("a stream is text");
        assert!(text.ends_with("\n\n"), "the last event is whole: {text:?}");
        text.split_terminator("\n\n").filter(|block| !block.starts_with(':')).map(event).collect()
    }

    /// The events of a stream of JSON.
    fn chunks(&self) -> Vec<Value> {
        let events = self.events();
        let datas = events.iter().map(|(_, data)| data).filter(|data| *data != "[DONE]");
        datas.map(|data| serde_json::from_str(data).expect(data)).collect()
    }
}

fn event(block: &str) -> (String, String) {
    let (mut name, mut data) = (String::new(), String::new());
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => name = value.into(),
            Some(("data", value)) => data = value.into(),
            _ => panic!("a line of no event: {line:?}"),
        }
    }
    (name, data)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line_end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let content = rest.get(line_end + 2..line_end + 2 + size)?;
        let end = rest.get(line_end + 2 + size..line_end + 4 + size)?;
        assert_eq!(end, b"\r\n");
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(content);
        rest = &rest[line_end + 4 + size..];
    }
}

fn user(text: &str) -> Value {
    serde_json::json!([{"role": "user", "content": text}])
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
