//! A small blocking HTTP client that hides nothing: raw bytes out, heads and bodies as they came, how they ended.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::{DEADLINE, KEY};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was none.
    NoBody,
    /// After the announced length.
    Length,
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
    /// The connection ended before the body did.
    CutShort,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// Decoded of its framing.
    pub body: Vec<u8>,
    pub end: End,
}

impl Answer {
    /// The one value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} comes twice:\n{}", self.head);
        values.first().copied()
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let all = fields(&self.head);
        all.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}\n{}", self.head, self.text()))
    }

    /// `error.message` of both dialects.
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// `error.type` of both dialects.
    pub fn error_type(&self) -> String {
        self.json()["error"]["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// Name and value of each line of a head but the first.
pub fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name, value.trim()))
    })
}

/// One connection, over TCP or TLS.
pub struct Conn<S: Read + Write = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    framing: Framing,
    /// Whether requests were sent whose answers have no body.
    pub answers_have_no_body: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Over(End),
    Length(usize),
    Chunk(usize),
    Close,
}

impl Conn {
    pub fn to(address: SocketAddr) -> Conn {
        Conn::try_to(address).expect("the gateway takes connections")
    }

    pub fn try_to(address: SocketAddr) -> Option<Conn> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.set_write_timeout(Some(DEADLINE)).ok()?;
        Some(Conn::over(stream))
    }
}

impl<S: Read + Write> Conn<S> {
    pub fn over(stream: S) -> Conn<S> {
        let framing = Framing::Over(End::NoBody);
        Conn { stream, buffer: Vec::new(), framing, answers_have_no_body: false }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway reads");
    }

    /// The same where the gateway may have closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        self.answer()
    }

    /// A POST of JSON with the tests' API key.
    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask(&post(path, "", body))
    }

    /// Reads one whole answer, past interim ones.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The same; `None`: the connection closed without a byte of it.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let (status, head) = loop {
            let (status, head) = self.head()?;
            if status >= 200 {
                break (status, head);
            }
        };
        let mut body = Vec::new();
        while let Some(piece) = self.piece() {
            body.extend_from_slice(&piece);
        }
        Some(Answer { status, head, body, end: self.end() })
    }

    /// Reads one head, interim ones included; `None`: the connection closed.
    pub fn head(&mut self) -> Option<(u16, String)> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if !self.fill() {
                assert!(self.buffer.is_empty(), "half a head: {:?}", show(&self.buffer));
                return None;
            }
        };
        let head = self.buffer.drain(..end + 4).take(end).collect();
        let head = String::from_utf8(head).expect("a head of text");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head}"));
        self.framing = self.framing_of(status, &head);
        Some((status, head))
    }

    fn framing_of(&self, status: u16, head: &str) -> Framing {
        let field = |wanted: &str| {
            let mut all = fields(head).filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            all.next().map(|(_, value)| value.to_owned())
        };
        if status < 200 || status == 204 || status == 304 || self.answers_have_no_body {
            return Framing::Over(End::NoBody);
        }
        match (field("transfer-encoding"), field("content-length")) {
            (Some(_), Some(_)) => panic!("both framings: {head}"),
            (Some(coding), None) => {
                assert_eq!(coding, "chunked", "{head}");
                Framing::Chunk(0)
            }
            (None, Some(length)) => Framing::Length(length.parse().expect("a length")),
            (None, None) => Framing::Close,
        }
    }

    /// Reads some of the body; `None`: it has ended, see [`Conn::end`].
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.framing {
                Framing::Over(_) => return None,
                Framing::Length(0) => self.framing = Framing::Over(End::Length),
                Framing::Length(left) if !self.buffer.is_empty() => {
                    let piece = self.take(left);
                    self.framing = Framing::Length(left - piece.len());
                    return Some(piece);
                }
                Framing::Close if !self.buffer.is_empty() => return Some(self.take(usize::MAX)),
                Framing::Chunk(0) => match self.chunk_size() {
                    Some(0) => self.framing = Framing::Over(End::Chunked),
                    Some(size) => self.framing = Framing::Chunk(size),
                    None => self.framing = Framing::Over(End::CutShort),
                },
                Framing::Chunk(left) if !self.buffer.is_empty() => {
                    let piece = self.take(left);
                    self.framing = Framing::Chunk(left - piece.len());
                    if self.framing == Framing::Chunk(0) && !self.line_end() {
                        self.framing = Framing::Over(End::CutShort);
                    }
                    return Some(piece);
                }
                _ => {
                    if !self.fill() {
                        let close = self.framing == Framing::Close;
                        let end = if close { End::Close } else { End::CutShort };
                        self.framing = Framing::Over(end);
                    }
                }
            }
        }
    }

    /// How the body ended that was read last.
    pub fn end(&self) -> End {
        match self.framing {
            Framing::Over(end) => end,
            other => panic!("the body is not over: {other:?}"),
        }
    }

    /// The size of the next chunk; for the last one its end is read too. `None`: cut short.
    fn chunk_size(&mut self) -> Option<usize> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("size {line:?}"));
        if size == 0 {
            let line = self.line()?;
            assert_eq!(line, "", "trailers are not passed on");
        }
        Some(size)
    }

    fn line_end(&mut self) -> bool {
        match self.line() {
            Some(line) => {
                assert_eq!(line, "", "a chunk ends where it says");
                true
            }
            None => false,
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).expect("text"));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        self.buffer.drain(..most.min(self.buffer.len())).collect()
    }

    /// Reads until the end of the connection and tells what came; nothing more than what it was about is expected.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads more; false: the connection has ended, cleanly or not.
    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    panic!("nothing came for {DEADLINE:?}; so far: {:?}", show(&self.buffer));
                }
                Err(_) => return false,
            }
        }
    }

    /// Reads the next server-sent event of the body under way, its blank line included.
    pub fn event(&mut self, held: &mut Vec<u8>) -> Option<String> {
        loop {
            if let Some(at) = find(held, b"\n\n") {
                let event = held.drain(..at + 2).collect();
                return Some(String::from_utf8(event).expect("UTF-8"));
            }
            held.extend(self.piece()?);
        }
    }
}

/// A POST of JSON with the tests' API key and further header lines.
pub fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A GET with the tests' API key and further header lines.
pub fn get(path: &str, headers: &str) -> Vec<u8> {
    bare("GET", path, headers)
}

/// A request without a body, with the tests' API key and further header lines.
pub fn bare(method: &str, path: &str, headers: &str) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    format!("{head}authorization: Bearer {KEY}\r\n{headers}\r\n").into_bytes()
}

/// A chat of one message.
pub fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}]}}"#)
}

/// The same as a stream.
pub fn chat_stream(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}"#
    )
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
