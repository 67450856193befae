//! Writes heads and chunk framing. Nothing that could end a line early gets out, and only this file writes framing
//! headers, once a head: what leaves here has one meaning.

use std::{fmt, num::NonZeroUsize};

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{is_token_byte, is_value_byte};

/// Ends a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body: the last chunk, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Tells a client that waits to go on and send the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The beginning of a chunk of that many bytes: its data and [`CHUNK_END`] must follow. There is no chunk of no bytes:
/// that would be the end of the body.
#[must_use]
pub fn chunk_prefix(len: NonZeroUsize) -> Bytes {
    let digits = (usize::BITS - len.get().leading_zeros()).div_ceil(4) as usize;
    let mut prefix = [b'\r'; CHUNK_PREFIX_BYTES_MAX];
    let mut rest = len.get();
    for place in prefix[..digits].iter_mut().rev() {
        *place = b"0123456789abcdef"[rest & 0xf];
        rest >>= 4;
    }
    prefix[digits + 1] = b'\n';
    Bytes::copy_from_slice(&prefix[..digits + 2])
}

/// The digits of the largest number, and a line end.
const CHUNK_PREFIX_BYTES_MAX: usize = usize::BITS as usize / 4 + 2;

/// Appends one head to a buffer. Unless it is finished, dropping it takes back what it wrote: no half head gets out.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut BytesMut,
    start: usize,
    is_framed: bool,
    is_finished: bool,
}

impl<'a> HeadWriter<'a> {
    /// Begins a request. The target is given in parts that are written one after the other.
    pub fn request(
        out: &'a mut BytesMut,
        method: impl AsRef<[u8]>,
        target: &[&[u8]],
    ) -> Result<HeadWriter<'a>, RenderError> {
        let method = method.as_ref();
        if !is_token(method) {
            return Err(RenderError::BadMethod);
        }
        let is_path = target.iter().find_map(|part| part.first()) == Some(&b'/');
        let is_clean = target.iter().all(|part| part.iter().all(u8::is_ascii_graphic));
        if !is_path || !is_clean {
            return Err(RenderError::BadTarget);
        }
        let writer = HeadWriter::begin(out);
        writer.out.put_slice(method);
        writer.out.put_u8(b' ');
        target.iter().for_each(|part| writer.out.put_slice(part));
        writer.out.put_slice(b" HTTP/1.1\r\n");
        Ok(writer)
    }

    /// Begins with lines that a writer has written before ([`HeadWriter::written`]).
    pub fn resume(out: &'a mut BytesMut, lines: &[u8]) -> HeadWriter<'a> {
        let writer = HeadWriter::begin(out);
        writer.out.put_slice(lines);
        writer
    }

    /// What is written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        debug_assert!(!self.is_framed, "the framing is each message's own");
        &self.out[self.start..]
    }

    /// Begins a request for a tunnel to a host and port.
    pub fn connect(out: &'a mut BytesMut, target: &str) -> Result<HeadWriter<'a>, RenderError> {
        let is_clean = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if target.is_empty() || !is_clean {
            return Err(RenderError::BadTarget);
        }
        let writer = HeadWriter::begin(out);
        writer.out.put_slice(b"CONNECT ");
        writer.out.put_slice(target.as_bytes());
        writer.out.put_slice(b" HTTP/1.1\r\n");
        Ok(writer)
    }

    /// Begins an answer. The reason phrase is the registered one, or none.
    pub fn response(out: &'a mut BytesMut, status: u16) -> Result<HeadWriter<'a>, RenderError> {
        if !(100..=999).contains(&status) {
            return Err(RenderError::BadStatus);
        }
        let writer = HeadWriter::begin(out);
        if status == 200 {
            writer.out.put_slice(b"HTTP/1.1 200 OK\r\n");
            return Ok(writer);
        }
        writer.out.put_slice(b"HTTP/1.1 ");
        writer.out.put_slice(itoa::Buffer::new().format(status).as_bytes());
        writer.out.put_u8(b' ');
        writer.out.put_slice(reason(status).as_bytes());
        writer.out.put_slice(b"\r\n");
        Ok(writer)
    }

    /// Adds a header. Refuses what would break the head, and the framing headers, which [`HeadWriter::length`] and
    /// [`HeadWriter::chunked`] write.
    pub fn header(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), RenderError> {
        let (name, value) = (name.as_ref(), value.as_ref());
        if !is_token(name) {
            return Err(RenderError::BadName);
        }
        if !is_value(value) {
            return Err(RenderError::BadValue);
        }
        if is_framing(name) {
            return Err(RenderError::Framing);
        }
        self.known_line([name, b": ", value]);
        Ok(())
    }

    /// The same with a name that is a constant of the program, and so a good one.
    #[inline]
    pub fn own(&mut self, name: &'static str, value: impl AsRef<[u8]>) -> Result<(), RenderError> {
        debug_assert!(is_token(name.as_bytes()) && !is_framing(name.as_bytes()), "{name}");
        let value = value.as_ref();
        if !is_value(value) {
            return Err(RenderError::BadValue);
        }
        self.known_line([name.as_bytes(), b": ", value]);
        Ok(())
    }

    /// Adds a line, given in parts, that is a constant of the program or made of what is known to be good: without
    /// looking at it again.
    #[inline(always)]
    pub fn known_line<const N: usize>(&mut self, parts: [&[u8]; N]) {
        debug_assert!(parts.iter().all(|part| is_value(part)), "a line end within a header line");
        self.out.reserve(parts.iter().map(|part| part.len()).sum::<usize>() + 2);
        parts.iter().for_each(|part| self.out.put_slice(part));
        self.out.put_slice(b"\r\n");
    }

    /// Adds lines that this tree's parser took from a head ([`super::fields::HeaderList::end_to_end_runs`]), with the
    /// line ends between them: in one piece, without looking at them again.
    pub fn known_lines(&mut self, lines: &[u8]) {
        debug_assert!(
            lines.split(|&byte| byte == b'\n').all(|line| is_value(line.trim_ascii_end())),
            "a control character in a header line"
        );
        self.out.reserve(lines.len() + 2);
        self.out.put_slice(lines);
        self.out.put_slice(b"\r\n");
    }

    /// Says that the body has that many bytes.
    pub fn length(&mut self, bytes: u64) -> Result<(), RenderError> {
        self.frame()?;
        self.known_line([b"content-length: ", itoa::Buffer::new().format(bytes).as_bytes()]);
        Ok(())
    }

    /// Says that the body comes in chunks.
    pub fn chunked(&mut self) -> Result<(), RenderError> {
        self.frame()?;
        self.known_line([b"transfer-encoding: chunked"]);
        Ok(())
    }

    /// Ends the head.
    pub fn finish(mut self) {
        self.out.put_slice(b"\r\n");
        self.is_finished = true;
    }

    fn begin(out: &'a mut BytesMut) -> HeadWriter<'a> {
        let start = out.len();
        HeadWriter { out, start, is_framed: false, is_finished: false }
    }

    fn frame(&mut self) -> Result<(), RenderError> {
        if std::mem::replace(&mut self.is_framed, true) {
            return Err(RenderError::Framing);
        }
        Ok(())
    }
}

impl Drop for HeadWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.out.truncate(self.start);
        }
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Looks at every byte, without stopping at a bad one: that way it runs many bytes at a time.
fn is_value(text: &[u8]) -> bool {
    text.iter().fold(true, |clean, &byte| clean & is_value_byte(byte))
}

fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// Why a head could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RenderError {
    /// The method is not a token.
    BadMethod,
    /// The target is not a path of visible ASCII.
    BadTarget,
    /// The status has not three digits.
    BadStatus,
    /// The header name is not a token.
    BadName,
    /// The header value holds a line end, a NUL or another control byte.
    BadValue,
    /// A framing header was given as a plain one, or a second one.
    Framing,
}

impl RenderError {
    /// What could not be written.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            RenderError::BadMethod => "The method is not an HTTP token.",
            RenderError::BadTarget => "The target is not a path of visible ASCII characters.",
            RenderError::BadStatus => "The status has not three digits.",
            RenderError::BadName => "A header name holds a character that is not allowed there.",
            RenderError::BadValue => "A header value holds a line end or control character.",
            RenderError::Framing => "The length of the body is said twice.",
        }
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for RenderError {}

/// The registered reason phrase; empty for a status that has none, which RFC 9112 section 4 allows.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}
