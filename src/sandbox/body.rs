//! The body of a request as it arrives in pieces: by length or in chunks, counted, and kept up to a bound.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::{http::Framing, refusal::Refusal};
use crate::base::limits;

/// A body on its way in.
#[derive(Debug)]
pub struct Body {
    state: State,
    kept: BytesMut,
    keep: Keep,
    bytes: u64,
}

/// What is kept of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it; a longer one is refused.
    Whole(usize),
    /// Its beginning; the rest is counted.
    Beginning(usize),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are to come.
    Length(u64),
    /// The line with a chunk's size is to come.
    Size,
    /// So many bytes of a chunk are to come.
    Chunk(u64),
    /// The line end after a chunk is to come.
    ChunkEnd,
    /// Trailer lines are to come; so many bytes of them came.
    Trailer(usize),
    /// It is complete.
    Done,
}

impl Body {
    /// A body of which nothing has arrived.
    #[must_use]
    pub fn new(framing: Framing, keep: Keep) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
        };
        Body { state, kept: BytesMut::new(), keep, bytes: 0 }
    }

    /// How long it is so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was kept.
    #[must_use]
    pub fn into_kept(self) -> Bytes {
        self.kept.freeze()
    }

    /// Takes what belongs to the body from the front of the buffer. True: the body is complete.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<bool, Refusal> {
        while self.state != State::Done {
            if !self.step(buffer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One state on; false: more bytes are needed.
    fn step(&mut self, buffer: &mut BytesMut) -> Result<bool, Refusal> {
        match self.state {
            State::Done => {}
            State::Length(left) => match self.content(buffer, left)? {
                0 => self.state = State::Done,
                left => {
                    self.state = State::Length(left);
                    return Ok(false);
                }
            },
            State::Chunk(left) => match self.content(buffer, left)? {
                0 => self.state = State::ChunkEnd,
                left => {
                    self.state = State::Chunk(left);
                    return Ok(false);
                }
            },
            State::ChunkEnd => {
                let Some(end) = buffer.get(..2) else { return Ok(false) };
                if end != b"\r\n" {
                    return Err(bad("a chunk is longer than it says"));
                }
                buffer.advance(2);
                self.state = State::Size;
            }
            State::Size => {
                let Some(line) = line(buffer)? else { return Ok(false) };
                self.state = match chunk_size(&line)? {
                    0 => State::Trailer(0),
                    size => State::Chunk(size),
                };
            }
            State::Trailer(bytes) => {
                let Some(line) = line(buffer)? else { return Ok(false) };
                let bytes = bytes + line.len();
                if bytes > limits::TRAILER_BYTES_MAX {
                    return Err(bad("its trailers are too long"));
                }
                self.state = if line.is_empty() { State::Done } else { State::Trailer(bytes) };
            }
        }
        Ok(true)
    }

    /// Takes content; how much is left to come.
    fn content(&mut self, buffer: &mut BytesMut, left: u64) -> Result<u64, Refusal> {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.split_to(taken);
        self.bytes += taken as u64;
        let (Keep::Whole(most) | Keep::Beginning(most)) = self.keep;
        let room = most.saturating_sub(self.kept.len());
        if taken > room && matches!(self.keep, Keep::Whole(_)) {
            return Err(Refusal::new(413, format!("The body is longer than {most} bytes.")));
        }
        self.kept.extend_from_slice(piece.get(..room.min(taken)).unwrap_or_default());
        Ok(left - taken as u64)
    }
}

/// A line without its end; `None`: it is not there yet.
fn line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Refusal> {
    let window = buffer.get(..limits::CHUNK_LINE_BYTES_MAX).unwrap_or(buffer);
    let Some(at) = memmem::find(window, b"\r\n") else {
        return match buffer.len() < limits::CHUNK_LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(bad("a line of its chunks is too long")),
        };
    };
    let line = buffer.split_to(at);
    buffer.advance(2);
    Ok(Some(line))
}

fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    let size = std::str::from_utf8(digits).ok().filter(|digits| {
        (1..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.ok_or_else(|| bad("the size of a chunk is no number"))
}

fn bad(why: &str) -> Refusal {
    Refusal::new(400, format!("The request body is malformed: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep::Whole(1000);
    const CHUNKED: &str = "5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n0\r\nt: v\r\n\r\nGET";

    fn read(framing: Framing, keep: Keep, pieces: &[&[u8]]) -> (Body, bool, BytesMut) {
        let (mut body, mut buffer) = (Body::new(framing, keep), BytesMut::new());
        let mut done = body.take(&mut buffer).expect("nothing wrong");
        for piece in pieces {
            buffer.extend_from_slice(piece);
            done = body.take(&mut buffer).expect("nothing wrong");
        }
        (body, done, buffer)
    }

    #[test]
    fn bodies_cut_at_any_byte_arrive_the_same() {
        for (framing, text, expected) in [
            (Framing::Length(11), "hello worldGET", "hello world"),
            (Framing::Chunked, CHUNKED, "hello 0123456789"),
        ] {
            for cut in 0..=text.len() {
                let (before, after) = text.as_bytes().split_at(cut);
                let (body, done, rest) = read(framing, KEEP, &[before, after]);
                assert!(done, "cut at {cut}");
                assert_eq!(body.bytes(), expected.len() as u64);
                assert_eq!(&body.into_kept()[..], expected.as_bytes());
                assert_eq!(&rest[..], b"GET");
            }
        }
    }

    #[test]
    fn an_incomplete_body_is_not_done() {
        let end = CHUNKED.len() - "GET".len();
        for cut in 0..end {
            let (_, done, _) = read(Framing::Chunked, KEEP, &[&CHUNKED.as_bytes()[..cut]]);
            assert!(!done, "cut at {cut}");
        }
    }

    #[test]
    fn a_beginning_is_kept_and_the_rest_counted() {
        let (body, done, _) = read(Framing::Length(11), Keep::Beginning(4), &[b"hello", b" world"]);
        assert!(done);
        assert_eq!(body.bytes(), 11);
        assert_eq!(&body.into_kept()[..], b"hell");
    }

    #[test]
    fn what_is_too_long_or_no_chunk_is_refused() {
        let refused = |framing, keep, text: &str| {
            Body::new(framing, keep).take(&mut BytesMut::from(text)).expect_err(text).status
        };
        assert_eq!(refused(Framing::Length(5), Keep::Whole(4), "hello"), 413);
        for text in ["x\r\n", "\r\n", "-1\r\n", "1\r\nabc", "fffffffffffffffff\r\n"] {
            assert_eq!(refused(Framing::Chunked, KEEP, text), 400);
        }
        assert_eq!(refused(Framing::Chunked, KEEP, &"1".repeat(2000)), 400);
        assert_eq!(
            refused(Framing::Chunked, KEEP, &format!("0\r\n{}", "a: b\r\n".repeat(3000))),
            400
        );
    }
}
