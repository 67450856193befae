//! The server's side of an HTTP/1.1 request head, small: the sandbox needs no more than its own requests.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::refusal::Refusal;
use crate::base::limits;

/// A request as received.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The query without its question mark.
    pub query: Option<String>,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, or the beginning of a long upload.
    pub body: Bytes,
    /// How long the body was.
    pub body_bytes: u64,
}

impl Request {
    /// The first header of this lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(each, _)| each == name).map(|(_, value)| value.as_str())
    }
}

/// Headers may hold credentials, bodies anything: neither is printed.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, self.path, self.body_bytes)
    }
}

/// A request head.
#[derive(Debug)]
pub struct Head {
    /// The request, its body still missing.
    pub request: Request,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the client lets the connection serve another request.
    pub keep_alive: bool,
    /// Whether the client waits for a go-ahead before it sends the body.
    pub expects_continue: bool,
    /// HTTP/1.0 knows no chunks.
    pub old: bool,
}

/// How a request body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With an empty chunk.
    Chunked,
}

/// Finds heads in what was received, without looking at a byte twice.
#[derive(Debug, Default)]
pub struct HeadScan {
    scanned: usize,
}

impl HeadScan {
    /// Takes a complete head from the front of the buffer; `None`: more is needed.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, Refusal> {
        if self.scanned == 0 {
            skip_empty_lines(buffer);
        }
        let from = self.scanned.saturating_sub(HEAD_END.len() - 1);
        let unseen = buffer.get(from..).unwrap_or_default();
        match memmem::find(unseen, HEAD_END) {
            Some(at) => {
                self.scanned = 0;
                let head = buffer.split_to(from + at + HEAD_END.len());
                parse(&head).map(Some)
            }
            None if buffer.len() > limits::HEAD_BYTES_DEFAULT => {
                Err(Refusal::new(431, "The request head is too long."))
            }
            None => {
                self.scanned = buffer.len();
                Ok(None)
            }
        }
    }
}

/// Empty lines before a request are allowed.
fn skip_empty_lines(buffer: &mut BytesMut) {
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
}

fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad("it is cut short")),
        Err(error) => return Err(bad(&error.to_string())),
    }
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let headers = parsed.headers.iter().map(|header| {
        let value = String::from_utf8_lossy(header.value);
        (header.name.to_ascii_lowercase(), value.into_owned())
    });
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers: headers.collect(),
        ..Request::default()
    };
    read_head(request, parsed.version == Some(0))
}

fn read_head(request: Request, old: bool) -> Result<Head, Refusal> {
    let framing = framing(&request)?;
    let connection = request.header("connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = if old { connection == "keep-alive" } else { connection != "close" };
    let expects_continue = !old
        && request
            .header("expect")
            .is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue"));
    Ok(Head { request, framing, keep_alive, expects_continue, old })
}

/// Strict: a gateway that sends doubtful framing is to be found out.
fn framing(request: &Request) -> Result<Framing, Refusal> {
    let lengths: Vec<&str> = request.headers("content-length").collect();
    let codings: Vec<&str> = request.headers("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([], _) => Err(bad("its transfer-encoding is not chunked alone")),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| bad("its content-length is no number"))
        }
        ([_], []) => Err(bad("its content-length is no number")),
        _ => Err(bad("it says twice how long its body is")),
    }
}

fn bad(why: &str) -> Refusal {
    Refusal::new(400, format!("The request head is malformed: {why}."))
}

const HEAD_END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Option<Head>, Refusal> {
        HeadScan::default().take(&mut BytesMut::from(text))
    }

    fn head(text: &str) -> Head {
        take(text).expect("a good head").expect("a whole head")
    }

    #[test]
    fn a_head_cut_at_any_byte_reads_the_same() {
        let text = "\r\nPOST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        for cut in 0..text.len() {
            let (mut scan, mut buffer) = (HeadScan::default(), BytesMut::from(&text[..cut]));
            let early = scan.take(&mut buffer).expect("a good head");
            let head = early.or_else(|| {
                buffer.extend_from_slice(&text.as_bytes()[cut..]);
                scan.take(&mut buffer).expect("a good head")
            });
            let head = head.unwrap_or_else(|| panic!("no head, cut at {cut}"));
            assert_eq!((head.request.path.as_str(), head.framing), ("/v1/x", Framing::Length(7)));
            assert_eq!(head.request.query.as_deref(), Some("a=b"));
            assert_eq!(head.request.header("host"), Some("h"));
        }
    }

    #[test]
    fn doubtful_framing_is_refused() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Content-Length: +1",
            "Content-Length: 99999999999999999999999",
        ] {
            let refused = take(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n"));
            assert_eq!(refused.expect_err(lines).status, 400);
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_says() {
        assert!(head("GET / HTTP/1.1\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("POST / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n").expects_continue);
    }

    #[test]
    fn endless_heads_end() {
        let endless = "x".repeat(limits::HEAD_BYTES_DEFAULT + 1);
        assert_eq!(take(&endless).expect_err("too long").status, 431);
    }
}
