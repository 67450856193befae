//! Upstreams that do as they are told: the sandbox with a script, or bytes exactly as given.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use trunkline::{
    base::units::Instant,
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
    },
    sandbox::{Sandbox, script::Script, server::serve_connection},
};

use crate::world::{Link, SimNet, SimReader, SimWriter, World};

/// One upstream.
pub struct Target {
    pub name: String,
    pub net: SimNet,
    /// What it says where its script says nothing else.
    text: RefCell<String>,
    pub address: SocketAddr,
    link: Link,
    /// What the next connections meet, in order; then `usual`.
    next: RefCell<VecDeque<Conduct>>,
    usual: RefCell<Conduct>,
    sandboxes: RefCell<Vec<Rc<Sandbox>>>,
    opened: Cell<usize>,
    closed: Cell<usize>,
    raw_requests: RefCell<Vec<(Instant, String)>>,
    raw_sent: Cell<u64>,
}

/// What a connection meets.
#[derive(Clone)]
enum Conduct {
    /// The sandbox with this script.
    Scripted(String),
    /// These acts, then the connection is closed.
    Raw(Vec<Act>),
}

/// One thing that a raw upstream does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Waits for a whole request.
    Hear,
    /// Waits for so many bytes of one.
    HearBytes(usize),
    /// Sends these bytes.
    Say(Bytes),
    /// Sends these bytes over and over until it cannot.
    Repeat(Bytes),
    /// Waits this long, or until the other side has gone, about.
    Wait(Duration),
    /// Waits until the other side goes.
    Stall,
    /// Resets the connection.
    Reset,
}

impl Act {
    pub fn say(text: impl Into<String>) -> Act {
        Act::Say(Bytes::from(text.into()))
    }
}

impl Target {
    pub fn listen(world: &World, address: SocketAddr, link: Link, name: &str) -> Rc<Target> {
        let target = Rc::new(Target {
            name: name.to_owned(),
            net: world.net(),
            address,
            link,
            next: RefCell::default(),
            text: RefCell::new(format!("{name} says five words")),
            usual: RefCell::new(Conduct::Scripted(String::new())),
            sandboxes: RefCell::default(),
            opened: Cell::new(0),
            closed: Cell::new(0),
            raw_requests: RefCell::default(),
            raw_sent: Cell::new(0),
        });
        target.accept();
        target
    }

    /// Takes connections (again).
    pub fn accept(self: &Rc<Target>) {
        let target = Rc::clone(self);
        self.net.listen_over(self.address, self.link, move |reader, writer| {
            let target = Rc::clone(&target);
            async move { target.serve(reader, writer).await }
        });
    }

    async fn serve(self: Rc<Target>, reader: SimReader, writer: SimWriter) {
        self.opened.set(self.opened.get() + 1);
        let next = self.next.borrow_mut().pop_front();
        match next.unwrap_or_else(|| self.usual.borrow().clone()) {
            Conduct::Scripted(script) => {
                let script = self.speaking(&script);
                let sandbox = Rc::new(Sandbox::new().recording().scripted(script));
                self.sandboxes.borrow_mut().push(Rc::clone(&sandbox));
                serve_connection(self.net.clone(), reader, writer, sandbox).await;
            }
            Conduct::Raw(acts) => self.perform(acts, reader, writer).await,
        }
        self.closed.set(self.closed.get() + 1);
    }

    async fn perform(&self, acts: Vec<Act>, mut reader: SimReader, mut writer: SimWriter) {
        let mut heard = Vec::new();
        for act in acts {
            match act {
                Act::Hear => match hear(&mut reader, &mut heard).await {
                    Some(request) => {
                        self.raw_requests.borrow_mut().push((self.net.now(), request));
                    }
                    None => return,
                },
                Act::HearBytes(count) => {
                    while heard.len() < count {
                        let more = receive(&mut reader, count - heard.len()).await;
                        if more.is_empty() {
                            return;
                        }
                        heard.extend_from_slice(&more);
                    }
                }
                Act::Say(bytes) => {
                    let length = bytes.len() as u64;
                    if writer.write(WriteList::of(bytes)).await.0.is_err() {
                        return;
                    }
                    self.raw_sent.set(self.raw_sent.get() + length);
                }
                Act::Repeat(bytes) => {
                    while writer.write(WriteList::of(bytes.clone())).await.0.is_ok() {
                        self.raw_sent.set(self.raw_sent.get() + bytes.len() as u64);
                    }
                }
                Act::Wait(wait) => {
                    let end = self.net.now().after(wait);
                    while self.net.now() < end && !writer.is_abandoned() {
                        let next = self.net.now().after(Duration::from_millis(500));
                        self.net.sleep_until(next.min(end)).await;
                    }
                }
                Act::Stall => while !receive(&mut reader, 4096).await.is_empty() {},
                Act::Reset => writer.reset(),
            }
        }
    }

    /// Nobody listens.
    pub fn refuses(&self) {
        self.net.refuse(self.address);
    }

    /// Connections are never answered.
    pub fn is_silent(&self) {
        self.net.silence(self.address);
    }

    /// Every connection from now on meets the sandbox with this script. Its text begins with the target's name.
    pub fn is(&self, script: &str) {
        *self.usual.borrow_mut() = Conduct::Scripted(script.to_owned());
    }

    /// The next request alone meets it: its connection does not serve another.
    pub fn first_is(&self, script: &str) {
        self.then_is(&format!("{script}&keep_alive=off"));
    }

    /// The connection after those spoken of meets the sandbox with this script.
    pub fn then_is(&self, script: &str) {
        self.next.borrow_mut().push_back(Conduct::Scripted(script.to_owned()));
    }

    /// What it says from now on where its script says nothing else.
    pub fn is_text(&self, text: &str) {
        *self.text.borrow_mut() = text.to_owned();
    }

    fn speaking(&self, script: &str) -> Script {
        let text = Some(self.text.borrow().clone()).filter(|_| !script.contains("chunk_bytes="));
        let mut told = Script { text, ..Script::default() };
        told.apply(script.trim_matches('&')).unwrap_or_else(|error| panic!("{error}"));
        told
    }

    /// Every connection from now on meets these acts.
    pub fn does(&self, acts: impl IntoIterator<Item = Act>) {
        *self.usual.borrow_mut() = Conduct::Raw(acts.into_iter().collect());
    }

    /// The next connection alone meets them.
    pub fn first_does(&self, acts: impl IntoIterator<Item = Act>) {
        self.next.borrow_mut().push_back(Conduct::Raw(acts.into_iter().collect()));
    }

    /// When each complete request was there, in order.
    pub fn times(&self) -> Vec<Instant> {
        self.requests().into_iter().map(|(at, _)| at).collect()
    }

    /// What authenticated the requests of scripted connections.
    pub fn authorizations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for sandbox in self.sandboxes.borrow().iter() {
            let recorder = sandbox.recorder.as_ref().expect("it records").borrow();
            let header = |r: &trunkline::sandbox::recorder::Received| {
                r.request.header("authorization").unwrap_or_default().to_owned()
            };
            found.extend(recorder.requests.iter().map(header));
        }
        found
    }

    /// The complete requests, bodies alone, in order.
    pub fn bodies(&self) -> Vec<String> {
        self.requests().into_iter().map(|(_, body)| body).collect()
    }

    fn requests(&self) -> Vec<(Instant, String)> {
        let mut requests = self.raw_requests.borrow().clone();
        for sandbox in self.sandboxes.borrow().iter() {
            let recorder = sandbox.recorder.as_ref().expect("it records").borrow();
            let body = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            requests.extend(recorder.requests.iter().map(|r| (r.at, body(&r.request.body))));
        }
        requests.sort_by_key(|(at, _)| *at);
        requests
    }

    /// Complete requests that were received.
    pub fn asked(&self) -> usize {
        self.requests().len()
    }

    /// Connections ever taken.
    pub fn connections(&self) -> usize {
        self.opened.get()
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.opened.get() - self.closed.get()
    }

    /// Bytes that raw connections could send.
    pub fn sent_bytes(&self) -> u64 {
        self.raw_sent.get()
    }
}

/// What comes next, at most so much of it; empty: nothing will.
async fn receive(reader: &mut SimReader, most: usize) -> BytesMut {
    let (result, buffer) = reader.read(BytesMut::with_capacity(most)).await;
    match result {
        Ok(_) => buffer,
        Err(_) => BytesMut::new(),
    }
}

/// The body of the next request, which must have a length; `None`: the other side went.
async fn hear(reader: &mut SimReader, heard: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = heard.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&heard[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if heard.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&heard[end + 4..end + 4 + length]).into_owned();
                heard.drain(..end + 4 + length);
                return Some(body);
            }
        }
        let more = receive(reader, 4096).await;
        if more.is_empty() {
            return None;
        }
        heard.extend_from_slice(&more);
    }
}

/// A whole answer of OpenAI's format that says `text`.
pub fn plain(text: &str) -> String {
    let body = plain_body(text);
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn plain_body(text: &str) -> String {
    let message = serde_json::json!({"role": "assistant", "content": text});
    let choice = serde_json::json!({"index": 0, "message": message, "finish_reason": "stop"});
    serde_json::json!({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]})
        .to_string()
}

/// The head of a stream.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// An event of OpenAI's format as a chunk of its own.
pub fn chunk(data: &str) -> String {
    format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8)
}

/// An event with a word of content.
pub fn word(text: &str) -> String {
    chunk(&delta(serde_json::json!({"content": text}), Value::Null))
}

/// The event that says nothing but who speaks.
pub fn role() -> String {
    chunk(&delta(serde_json::json!({"role": "assistant", "content": ""}), Value::Null))
}

/// The finish, the end marker and the last chunk.
pub fn ending() -> String {
    let finish = chunk(&delta(serde_json::json!({}), Value::from("stop")));
    format!("{finish}{}0\r\n\r\n", chunk("[DONE]"))
}

fn delta(delta: Value, finish: Value) -> String {
    let choice = serde_json::json!({"index": 0, "delta": delta, "finish_reason": finish});
    serde_json::json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})
        .to_string()
}
