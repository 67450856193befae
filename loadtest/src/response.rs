//! Reads HTTP/1.1 answers, in whatever pieces they arrive. An own reader, strict where it matters for a measurement:
//! what the gateway's code gets wrong must not be read back by the same code. Pure.

use std::mem::MaybeUninit;

/// What a head said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The connection may carry another request.
    pub keep_alive: bool,
    /// The body is a stream of events.
    pub event_stream: bool,
}

/// What arrived is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads one answer.
#[derive(Clone, Debug)]
pub struct ResponseReader {
    state: State,
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    UntilClose,
    /// In a line with a chunk's size, so far.
    Size {
        size: u64,
        digits: u8,
        extension: bool,
    },
    Chunk(u64),
    /// Behind a chunk's data: CR LF is due, and so many of its bytes are here.
    ChunkEnd(u8),
    /// In a line behind the last chunk that has so many bytes.
    Trailer(u32),
    Done,
}

impl Default for ResponseReader {
    fn default() -> ResponseReader {
        ResponseReader { state: State::Head, head: None }
    }
}

impl ResponseReader {
    /// Takes what it can from the front of `bytes`, hands pieces of the body to `body`, and says how much it took.
    /// The rest is to be presented again with more behind it, unless the answer is complete.
    ///
    /// # Errors
    /// If this is no HTTP answer; the connection is then of no use.
    pub fn take(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let step = match self.state {
                State::Done => break,
                State::Head => match self.take_head(rest)? {
                    0 => break,
                    length => length,
                },
                State::Length(left) => {
                    let length = clamp(left, rest);
                    body(&rest[..length]);
                    self.state = after(left - length as u64, State::Length, State::Done);
                    length
                }
                State::Chunk(left) => {
                    let length = clamp(left, rest);
                    body(&rest[..length]);
                    self.state = after(left - length as u64, State::Chunk, State::ChunkEnd(0));
                    length
                }
                State::UntilClose => {
                    body(rest);
                    rest.len()
                }
                _ => {
                    self.state = framing_byte(self.state, rest[0])?;
                    1
                }
            };
            taken += step;
        }
        Ok(taken)
    }

    /// The head, once it is there.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Whether the answer is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Notes that the peer sends no more, and says whether the answer is complete now.
    pub fn end(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    /// The length of a complete head at the front of `bytes`, or 0.
    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut table = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut table,
        );
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(0),
            _ => return Err(Malformed),
        };
        let status = response.code.ok_or(Malformed)?;
        // An interim answer: the real one follows.
        if (100..200).contains(&status) && status != 101 {
            return Ok(length);
        }
        let facts = Facts::of(response.headers, response.version == Some(1))?;
        self.state = match (status, facts.chunked, facts.length) {
            (101 | 204 | 304, ..) | (_, false, Some(0)) => State::Done,
            (_, true, Some(_)) => return Err(Malformed),
            (_, true, None) => NEXT_CHUNK,
            (_, false, Some(length)) => State::Length(length),
            (_, false, None) => State::UntilClose,
        };
        let keep_alive = facts.keep_alive && self.state != State::UntilClose && status != 101;
        self.head = Some(Head { status, keep_alive, event_stream: facts.event_stream });
        Ok(length)
    }
}

/// What the fields of a head say.
struct Facts {
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    event_stream: bool,
}

impl Facts {
    fn of(headers: &[httparse::Header<'_>], keep_alive: bool) -> Result<Facts, Malformed> {
        let mut facts = Facts { length: None, chunked: false, keep_alive, event_stream: false };
        for httparse::Header { name, value } in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                14 if is("content-length") => {
                    let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    if facts.length.is_some() || length.is_none() {
                        return Err(Malformed);
                    }
                    facts.length = length;
                }
                17 if is("transfer-encoding") => {
                    if facts.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Malformed);
                    }
                    facts.chunked = true;
                }
                10 if is("connection") => {
                    facts.keep_alive &= !value.eq_ignore_ascii_case(b"close");
                }
                12 if is("content-type") => {
                    let kind = value.get(..EVENT_STREAM.len()).unwrap_or_default();
                    facts.event_stream = kind.eq_ignore_ascii_case(EVENT_STREAM);
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

fn clamp(left: u64, rest: &[u8]) -> usize {
    usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))
}

fn after(left: u64, more: impl Fn(u64) -> State, end: State) -> State {
    if left == 0 { end } else { more(left) }
}

/// The state after one byte of chunk framing.
fn framing_byte(state: State, byte: u8) -> Result<State, Malformed> {
    match (state, byte) {
        (State::Size { size, digits: 1.., .. }, b'\n') => {
            Ok(after(size, State::Chunk, State::Trailer(0)))
        }
        (State::Size { size, digits: digits @ 1.., .. }, b';' | b'\r' | b' ') => {
            Ok(State::Size { size, digits, extension: true })
        }
        (State::Size { extension: true, .. }, _) => Ok(state),
        (State::Size { size, digits: digits @ 0..16, .. }, _) => {
            let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
            let size = (size << 4) | u64::from(digit);
            Ok(State::Size { size, digits: digits + 1, extension: false })
        }
        (State::ChunkEnd(0), b'\r') => Ok(State::ChunkEnd(1)),
        (State::ChunkEnd(1), b'\n') => Ok(NEXT_CHUNK),
        (State::Trailer(0), b'\n') => Ok(State::Done),
        (State::Trailer(_), b'\n') => Ok(State::Trailer(0)),
        (State::Trailer(_), b'\r') => Ok(state),
        (State::Trailer(length), _) if length < TRAILER_LINE_BYTES_MAX => {
            Ok(State::Trailer(length + 1))
        }
        _ => Err(Malformed),
    }
}

const NEXT_CHUNK: State = State::Size { size: 0, digits: 0, extension: false };
const EVENT_STREAM: &[u8] = b"text/event-stream";
/// More header lines than any provider sends.
const HEADERS_MAX: usize = 96;
/// A head beyond this is none.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// A trailer line beyond this is none.
const TRAILER_LINE_BYTES_MAX: u32 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an answer that arrives in pieces of `size`: what is left unread, the reader, the body.
    fn read(wire: &[u8], size: usize) -> Result<(usize, ResponseReader, Vec<u8>), Malformed> {
        let (mut reader, mut body, mut held) =
            (ResponseReader::default(), Vec::new(), Vec::<u8>::new());
        for piece in wire.chunks(size) {
            held.extend_from_slice(piece);
            let taken = reader.take(&held, |data| body.extend_from_slice(data))?;
            held.drain(..taken);
        }
        Ok((held.len(), reader, body))
    }

    #[test]
    fn answers_are_read_whole_however_they_are_cut() {
        for (wire, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nx: y\r\n\r\n",
                "hello",
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ] {
            for size in 1..=wire.len() {
                let (left, reader, got) = read(wire.as_bytes(), size).expect("an answer");
                assert!(reader.is_done() && left == 0, "{wire} in pieces of {size}");
                assert_eq!(got, body.as_bytes());
                assert!(reader.head().is_some_and(|head| head.keep_alive));
            }
        }
    }

    #[test]
    fn a_short_body_is_not_complete_at_the_end() {
        for wire in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "HTTP/1.1 200 OK\r\ncontent-le",
        ] {
            let (_, mut reader, _) = read(wire.as_bytes(), 7).expect("sound so far");
            assert!(!reader.end(), "{wire}");
        }
        let until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
        let (_, mut reader, body) = read(until_close.as_bytes(), 7).expect("sound");
        assert!(!reader.is_done() && reader.end());
        assert_eq!(body, b"hello");
        assert!(reader.head().is_some_and(|head| !head.keep_alive));
    }

    #[test]
    fn what_follows_an_answer_is_left() {
        let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1";
        let (left, reader, _) = read(wire, wire.len()).expect("an answer");
        assert!(reader.is_done());
        assert_eq!(left, 8);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wire in [
            "HELLO\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab",
        ] {
            assert!(read(wire.as_bytes(), 9).is_err(), "{wire}");
        }
    }

    #[test]
    fn heads_say_what_is_to_come() {
        let wire = "HTTP/1.1 503 No\r\nConnection: Close\r\nContent-Type: Text/Event-Stream; \
                    charset=utf-8\r\ncontent-length: 0\r\n\r\n";
        let (_, reader, _) = read(wire.as_bytes(), 1000).expect("an answer");
        let head = Head { status: 503, keep_alive: false, event_stream: true };
        assert_eq!(reader.head(), Some(head));
    }
}
