//! Everything that a message body can be refused for, each with the sentence that tells its sender what to do instead.

use std::fmt;

/// Why a body was refused. After any of them the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyError {
    /// The connection closed before the body was complete.
    Truncated,
    /// A chunk-size line is empty.
    EmptyChunkSize,
    /// A chunk size is not hexadecimal.
    BadChunkSize,
    /// A chunk size has more than `CHUNK_DIGITS_MAX` digits.
    ChunkSizeTooLong,
    /// A chunk-size line is over `CHUNK_LINE_BYTES_MAX`.
    ChunkLineTooLong,
    /// A chunk extension holds a control byte.
    BadChunkExtension,
    /// A chunk's data is not followed by CR LF.
    BadChunkEnd,
    /// Chunk extensions outweigh the data by more than `CHUNK_OVERHEAD_BYTES_MAX`.
    TooMuchOverhead,
    /// A framing line ends in LF without CR.
    BareLf,
    /// A CR in the framing is not followed by LF.
    BareCr,
    /// A trailer is not a header line.
    BadTrailer,
    /// The trailers are over `TRAILER_BYTES_MAX`.
    TrailersTooLong,
}

impl BodyError {
    /// What was wrong and what to send instead.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            BodyError::Truncated => "The connection closed before the body was complete.",
            BodyError::EmptyChunkSize => {
                "A chunk-size line is empty: begin each chunk with its size."
            }
            BodyError::BadChunkSize => "A chunk size is malformed: send hexadecimal digits only.",
            BodyError::ChunkSizeTooLong => {
                "A chunk size has more than 16 digits: send smaller chunks."
            }
            BodyError::ChunkLineTooLong => {
                "A chunk-size line is too long: send fewer chunk extensions."
            }
            BodyError::BadChunkExtension => {
                "A chunk extension holds a control character: remove it."
            }
            BodyError::BadChunkEnd => {
                "A chunk is longer than its size says: send CR LF right after its data."
            }
            BodyError::TooMuchOverhead => {
                "Chunk extensions outweigh the data: send larger chunks or fewer extensions."
            }
            BodyError::BareLf => "A line of the chunk framing ends in LF alone: send CR LF.",
            BodyError::BareCr => "A CR in the chunk framing stands alone: send CR LF.",
            BodyError::BadTrailer => "A trailer is malformed: send name: value, or none.",
            BodyError::TrailersTooLong => "The trailers are too long: send fewer or none.",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for BodyError {}
