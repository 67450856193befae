//! Where the bytes of one message body are in what arrives: nothing is copied, nothing is held back, and framing bytes
//! are used up as they come, so time is linear however they come.

use bytes::{Buf, Bytes, BytesMut};

pub use super::body_error::BodyError;
use super::{
    fields::{is_token_byte, is_value_byte},
    framing::Framing,
};
use crate::base::limits::{
    CHUNK_DIGITS_MAX, CHUNK_LINE_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX, TRAILER_BYTES_MAX,
};

/// What stands at the front of the bytes. In each case drop `skip` bytes first: they are framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next `len` bytes, at least one, are body. Drop them too before the next call.
    Data {
        /// Framing bytes to drop.
        skip: usize,
        /// Bytes of body after them.
        len: usize,
    },
    /// Nothing is left: read more.
    NeedMore {
        /// Framing bytes to drop: all that there were.
        skip: usize,
    },
    /// The body is complete; what follows `skip` belongs to the next message.
    Done {
        /// Framing bytes to drop.
        skip: usize,
    },
}

/// What [`BodyReader::pull`] took out of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Bytes of the body, at least one, sharing the buffer's memory.
    Data(Bytes),
    /// The buffer is empty: read more.
    NeedMore,
    /// The body is complete; what is left in the buffer belongs to the next message.
    Done,
}

/// Reads one message body.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// Bytes of the chunk-size line or of the trailers so far.
    section_bytes: usize,
    /// Bytes of chunk-size lines that no data has paid for.
    overhead_bytes: u64,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    UntilClose,
    Size { digits: u8, size: u64 },
    BlankAfterSize { size: u64 },
    Extension { size: u64 },
    LfAfterSize { size: u64 },
    Chunk { left: u64 },
    CrAfterChunk,
    LfAfterChunk,
    TrailerOrEnd,
    TrailerName,
    TrailerValue,
    LfAfterTrailer,
    LastLf,
    Done,
    Refused(BodyError),
}

const NEXT_CHUNK: State = State::Size { digits: 0, size: 0 };

impl BodyReader {
    /// A reader for a body of that framing.
    #[must_use]
    pub fn new(framing: Framing) -> BodyReader {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => NEXT_CHUNK,
            Framing::UntilClose => State::UntilClose,
        };
        BodyReader { state, section_bytes: 0, overhead_bytes: 0 }
    }

    /// Looks at the front of `bytes`, which begin where the last piece ended. Once refused, always refused.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, BodyError> {
        let mut skip = 0;
        loop {
            let left = match self.state {
                State::Done => return Ok(Piece::Done { skip }),
                State::Refused(error) => return Err(error),
                State::Length { left } | State::Chunk { left } => left,
                State::UntilClose => u64::MAX,
                state => {
                    if matches!(state, State::CrAfterChunk | NEXT_CHUNK)
                        && self.take_plain_framing(bytes, &mut skip)
                    {
                        continue;
                    }
                    let Some(&byte) = bytes.get(skip) else { return Ok(Piece::NeedMore { skip }) };
                    self.state = self.framing_byte(byte).unwrap_or_else(State::Refused);
                    skip += 1;
                    continue;
                }
            };
            let there = bytes.len() - skip;
            let len = usize::try_from(left).map_or(there, |left| left.min(there));
            if len == 0 {
                return Ok(Piece::NeedMore { skip });
            }
            self.take_data(len as u64);
            return Ok(Piece::Data { skip, len });
        }
    }

    /// The same on a buffer: takes the framing and the data out of it, without a copy.
    pub fn pull(&mut self, buffer: &mut BytesMut) -> Result<Pulled, BodyError> {
        match self.next(buffer)? {
            Piece::Data { skip, len } => {
                buffer.advance(skip);
                Ok(Pulled::Data(buffer.split_to(len).freeze()))
            }
            Piece::NeedMore { skip } => {
                buffer.advance(skip);
                Ok(Pulled::NeedMore)
            }
            Piece::Done { skip } => {
                buffer.advance(skip);
                Ok(Pulled::Done)
            }
        }
    }

    /// Whether the peer may close now: the body is complete, or it ends where the connection does.
    pub fn end_of_input(&self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            State::Refused(error) => Err(error),
            _ => Err(BodyError::Truncated),
        }
    }

    /// Whether the body is complete. Only then may its connection carry another message.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn take_data(&mut self, len: u64) {
        self.state = match self.state {
            State::Length { left } if left <= len => State::Done,
            State::Length { left } => State::Length { left: left - len },
            State::Chunk { left } if left <= len => State::CrAfterChunk,
            State::Chunk { left } => State::Chunk { left: left - len },
            unchanged => unchanged,
        };
    }

    /// A line end behind a chunk, or a size line, if it is there in whole and as nearly everybody writes it: digits and
    /// a line end. Anything else is left to be looked at byte by byte, which takes four times as long.
    #[inline(always)]
    fn take_plain_framing(&mut self, bytes: &[u8], skip: &mut usize) -> bool {
        let rest = bytes.get(*skip..).unwrap_or_default();
        if self.state == State::CrAfterChunk {
            let found = rest.starts_with(b"\r\n");
            if found {
                *skip += 2;
                self.state = NEXT_CHUNK;
            }
            return found;
        }
        let mut size = 0;
        let mut digits = 0;
        while let Some(digit) = rest.get(digits).and_then(|&byte| char::from(byte).to_digit(16)) {
            size = size << 4 | u64::from(digit);
            digits += 1;
            if digits > PLAIN_DIGITS_MAX {
                return false;
            }
        }
        if digits == 0 || !rest[digits..].starts_with(b"\r\n") {
            return false;
        }
        *skip += digits + 2;
        self.section_bytes = digits;
        self.state = self.end_size_line(b'\n', size).unwrap_or_else(State::Refused);
        true
    }

    /// The state after one byte of chunk framing (RFC 9112 section 7.1).
    fn framing_byte(&mut self, byte: u8) -> Result<State, BodyError> {
        match self.state {
            State::Size { digits: 1.., size } if byte == b'\r' => Ok(State::LfAfterSize { size }),
            State::Extension { size } if byte == b'\r' => Ok(State::LfAfterSize { size }),
            State::Size { .. } | State::BlankAfterSize { .. } | State::Extension { .. } => {
                self.size_line_byte(byte)
            }
            State::LfAfterSize { size } => self.end_size_line(byte, size),
            State::CrAfterChunk if byte == b'\r' => Ok(State::LfAfterChunk),
            State::LfAfterChunk if byte == b'\n' => Ok(NEXT_CHUNK),
            State::CrAfterChunk | State::LfAfterChunk => Err(BodyError::BadChunkEnd),
            _ => self.trailer_byte(byte),
        }
    }

    fn size_line_byte(&mut self, byte: u8) -> Result<State, BodyError> {
        self.section_bytes += 1;
        if self.section_bytes > CHUNK_LINE_BYTES_MAX {
            return Err(BodyError::ChunkLineTooLong);
        }
        match (self.state, byte) {
            (State::Size { digits: 0, .. }, b'\r' | b'\n') => Err(BodyError::EmptyChunkSize),
            // Some readers take a lone LF for a line end, above all after an extension.
            (_, b'\n') => Err(BodyError::BareLf),
            (State::Size { digits, size }, _) => size_byte(byte, digits, size),
            (State::BlankAfterSize { size }, _) => blank_byte(byte, size),
            (State::Extension { size }, _) if is_value_byte(byte) => Ok(State::Extension { size }),
            _ => Err(BodyError::BadChunkExtension),
        }
    }

    fn end_size_line(&mut self, byte: u8, size: u64) -> Result<State, BodyError> {
        if byte != b'\n' {
            return Err(BodyError::BareCr);
        }
        let line_bytes = std::mem::take(&mut self.section_bytes) as u64;
        if size == 0 {
            return Ok(State::TrailerOrEnd);
        }
        let paid_bytes = size.saturating_mul(2).saturating_add(CHUNK_LINE_BYTES_FREE);
        self.overhead_bytes = (self.overhead_bytes + line_bytes).saturating_sub(paid_bytes);
        if self.overhead_bytes > CHUNK_OVERHEAD_BYTES_MAX {
            return Err(BodyError::TooMuchOverhead);
        }
        Ok(State::Chunk { left: size })
    }

    /// Trailers are skipped (RFC 9112 section 7.1.2 allows it), but they must be header lines: anything else means
    /// that the sender and this reader disagree on where they are.
    fn trailer_byte(&mut self, byte: u8) -> Result<State, BodyError> {
        self.section_bytes += 1;
        if self.section_bytes > TRAILER_BYTES_MAX {
            return Err(BodyError::TrailersTooLong);
        }
        match (self.state, byte) {
            (State::TrailerOrEnd, b'\r') => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::LfAfterTrailer, b'\n') => Ok(State::TrailerOrEnd),
            (State::LastLf | State::LfAfterTrailer, _) => Err(BodyError::BareCr),
            (_, b'\n') => Err(BodyError::BareLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerOrEnd | State::TrailerName, _) if is_token_byte(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::LfAfterTrailer),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            _ => Err(BodyError::BadTrailer),
        }
    }
}

fn size_byte(byte: u8, digits: u8, size: u64) -> Result<State, BodyError> {
    match char::from(byte).to_digit(16) {
        Some(_) if digits == CHUNK_DIGITS_MAX => Err(BodyError::ChunkSizeTooLong),
        Some(digit) => Ok(State::Size { digits: digits + 1, size: (size << 4) | u64::from(digit) }),
        None if digits == 0 => Err(BodyError::BadChunkSize),
        None => blank_byte(byte, size),
    }
}

/// Blanks may follow a size only if an extension follows them (RFC 9112 section 7.1.1); what it says is skipped.
fn blank_byte(byte: u8, size: u64) -> Result<State, BodyError> {
    match byte {
        b' ' | b'\t' => Ok(State::BlankAfterSize { size }),
        b';' => Ok(State::Extension { size }),
        _ => Err(BodyError::BadChunkSize),
    }
}

/// So many digits are as many bytes as a buffer can hold.
const PLAIN_DIGITS_MAX: usize = 8;
const _: () = assert!(PLAIN_DIGITS_MAX <= CHUNK_DIGITS_MAX as usize);
const _: () = assert!(PLAIN_DIGITS_MAX <= CHUNK_LINE_BYTES_MAX);

/// Size-line bytes that each chunk may have for nothing: its digits.
const CHUNK_LINE_BYTES_FREE: u64 = 16;
