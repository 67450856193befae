//! An upstream of raw bytes: what arrives is recorded, what is answered is up to the test, byte for byte.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    DEADLINE,
    http::{fields, find, show},
    wait_for,
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The head, without its last blank line.
    pub head: String,
    /// The body as it came on the wire, framing included.
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        fields(&self.head).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|f| f.1)
    }

    pub fn text(&self) -> String {
        show(&self.body)
    }

    pub fn first_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }
}

#[derive(Default)]
struct Seen {
    requests: Vec<Heard>,
    connections: usize,
    /// Connections that the gateway closed, with the time when it was noticed.
    closed: Vec<(usize, Instant)>,
}

/// A listener with one thread a connection. The listener lives as long as the test process.
#[derive(Clone)]
pub struct Upstream {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

/// One connection from the gateway, for the test's script.
pub struct Peer {
    pub number: usize,
    stream: TcpStream,
    buffer: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

impl Upstream {
    /// Runs `serve` for each connection; the connection closes where it returns.
    pub fn start(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let upstream = Upstream { port, seen: Arc::clone(&seen) };
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut peer = Peer::new(stream, Arc::clone(&seen));
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(&mut peer));
            }
        });
        upstream
    }

    /// Answers each request with these bytes, on as many connections as it likes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Upstream {
        let answer = answer.into();
        Upstream::start(move |peer| while peer.request().is_some() && peer.send(&answer) {})
    }

    pub fn requests(&self) -> Vec<Heard> {
        self.seen.lock().expect("a lock").requests.clone()
    }

    pub fn last(&self) -> Heard {
        self.requests().pop().expect("a request")
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().expect("a lock").connections
    }

    /// Waits until `count` requests have come.
    pub fn hears(&self, count: usize) {
        wait_for(&format!("{count} requests"), || (self.requests().len() >= count).then_some(()));
    }

    /// Waits until the gateway has closed connection `number`.
    pub fn sees_close(&self, number: usize) -> Instant {
        wait_for(&format!("the close of connection {number}"), || {
            let seen = self.seen.lock().expect("a lock");
            seen.closed.iter().find(|(closed, _)| *closed == number).map(|(_, at)| *at)
        })
    }
}

impl Peer {
    fn new(stream: TcpStream, seen: Arc<Mutex<Seen>>) -> Peer {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(2 * DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(2 * DEADLINE)).expect("a socket");
        let number = {
            let mut seen = seen.lock().expect("a lock");
            seen.connections += 1;
            seen.connections - 1
        };
        Peer { number, stream, buffer: Vec::new(), seen }
    }

    /// Reads and records one request; `None`: the gateway closed.
    pub fn request(&mut self) -> Option<Heard> {
        let head = self.head()?;
        let body = self.body(&head)?;
        let heard = Heard { head, body };
        self.seen.lock().expect("a lock").requests.push(heard.clone());
        Some(heard)
    }

    /// Requests that the upstream has received, on all connections.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("a lock").requests.len()
    }

    /// Reads one request and forgets it: what load tests need.
    pub fn request_unrecorded(&mut self) -> Option<()> {
        let head = self.head()?;
        self.body(&head).map(|_| ())
    }

    /// Reads a head alone, without recording it.
    pub fn head(&mut self) -> Option<String> {
        let end = self.until(b"\r\n\r\n")?;
        let head: Vec<u8> = self.buffer.drain(..end).take(end - 4).collect();
        Some(String::from_utf8(head).expect("a head of text"))
    }

    fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        let field = |wanted: &str| {
            fields(head).find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|f| f.1)
        };
        if field("transfer-encoding").is_some() {
            // Enough for tests: no body of theirs holds the last chunk's bytes.
            let end = self.until(b"0\r\n\r\n")?;
            return Some(self.buffer.drain(..end).collect());
        }
        let length = field("content-length").map_or(0, |text| text.parse().expect("a length"));
        while self.buffer.len() < length {
            self.fill()?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads until `wanted`, and tells where it ends.
    fn until(&mut self, wanted: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.buffer, wanted) {
                return Some(at + wanted.len());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<usize> {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(count @ 1..) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Some(count)
            }
            Ok(_) => {
                self.note_close();
                None
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(_) => {
                self.note_close();
                None
            }
        }
    }

    fn note_close(&self) {
        self.seen.lock().expect("a lock").closed.push((self.number, Instant::now()));
    }

    /// Sends bytes; false: the gateway is gone.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).is_ok();
        if !sent {
            self.note_close();
        }
        sent
    }

    /// Reads whatever comes until the gateway closes.
    pub fn wait_for_close(&mut self) {
        while self.fill().is_some() {}
    }

    /// Ends with a reset instead of a FIN.
    pub fn reset(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }
}

/// An answer of JSON with a length.
pub fn json_answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// An error of JSON in OpenAI's shape.
pub fn error_answer(status: u16, headers: &str) -> Vec<u8> {
    let body = format!(r#"{{"error":{{"message":"scripted {status}","type":"server_error"}}}}"#);
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The head of a stream of events.
pub const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One chunk of a chunked body.
pub fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// A content event of OpenAI's chat stream.
pub fn delta(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// The event in which OpenAI's chat stream says that the model has finished.
pub const FINISH: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
/// OpenAI's usage event.
pub const USAGE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\n";
/// OpenAI's end.
pub const DONE: &str = "data: [DONE]\n\n";
