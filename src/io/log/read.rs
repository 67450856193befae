//! Reads a segment block by block, past damage, to the end or to a torn tail.

use std::io::{self, Read};

use crate::wire::record::block::{self, BlockHead, BlockKind, HEAD_BYTES, Step};

/// What comes next in a segment.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A sound block.
    Block {
        /// Where it starts in the file.
        offset: u64,
        /// What it says about itself.
        head: BlockHead,
        /// Its contents.
        payload: &'a [u8],
    },
    /// Bytes that are no block, with a sound one behind them.
    Damage(Stretch),
    /// Bytes at the end of the file that are no block: a write that was cut short, or is under way.
    Torn(Stretch),
}

/// Bytes that are no block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Where they start in the file.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// How many records they claim to have held, as far as can be seen.
    pub records: u64,
}

/// Reads one segment from some offset on.
#[derive(Debug)]
pub struct SegmentReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is dealt with.
    start: usize,
    /// Where in the file `buffer[start]` is.
    offset: u64,
    at_end: bool,
    process: Option<u64>,
    bad: Option<Stretch>,
}

enum Next {
    Block { head: BlockHead, length: usize },
    Bad,
    End,
}

impl<R: Read> SegmentReader<R> {
    /// `input` stands at `offset` of the file; `process` is who wrote it, if that is known already.
    pub fn new(input: R, offset: u64, process: Option<u64>) -> SegmentReader<R> {
        let buffer = Vec::new();
        SegmentReader { input, buffer, start: 0, offset, at_end: false, process, bad: None }
    }

    /// The process that wrote the segment, once a block was read.
    pub fn process(&self) -> Option<u64> {
        self.process
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        match self.advance()? {
            Next::End => Ok(self.bad.take().map(Piece::Torn)),
            Next::Bad => Ok(self.bad.take().map(Piece::Damage)),
            Next::Block { head, length } => {
                let (offset, start) = (self.offset, self.start);
                self.consume(length);
                self.process = Some(head.process);
                let payload = &self.buffer[start + HEAD_BYTES..start + length];
                Ok(Some(Piece::Block { offset, head, payload }))
            }
        }
    }

    /// Finds the next block; what is passed on the way is gathered in `bad`, which is reported before the block.
    fn advance(&mut self) -> io::Result<Next> {
        loop {
            let bytes = &self.buffer[self.start..];
            match block::step(bytes, self.process) {
                Step::Block { .. } if self.bad.is_some() => return Ok(Next::Bad),
                Step::Block { head, length, .. } => return Ok(Next::Block { head, length }),
                Step::Skip(length) => self.pass(length),
                Step::Short if !self.at_end => self.fill()?,
                Step::Short if bytes.is_empty() => return Ok(Next::End),
                Step::Short => self.pass(block::skip(bytes)),
            }
        }
    }

    fn pass(&mut self, length: usize) {
        let records = block::claimed_entries(&self.buffer[self.start..]).unwrap_or(0);
        let bad = self.bad.get_or_insert(Stretch { offset: self.offset, bytes: 0, records: 0 });
        bad.bytes += length as u64;
        bad.records += u64::from(records);
        self.consume(length);
    }

    fn consume(&mut self, length: usize) {
        self.start += length;
        self.offset += length as u64;
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        let chunk = CHUNK_BYTES.max(before);
        let read = (&mut self.input).take(chunk as u64).read_to_end(&mut self.buffer)?;
        self.at_end = read == 0;
        Ok(())
    }
}

/// Whether the segment whose last bytes are `tail` was closed properly.
#[must_use]
pub fn is_closed(tail: &[u8]) -> bool {
    let mut rest = tail;
    loop {
        match block::step(rest, None) {
            Step::Block { head, length, .. } if length == rest.len() => {
                return head.kind == BlockKind::End;
            }
            Step::Block { length, .. } => rest = &rest[length..],
            Step::Skip(length) => rest = &rest[length..],
            Step::Short => return false,
        }
    }
}

/// Bytes from the end of a file within which a closing block lies.
pub const TAIL_BYTES: u64 = 64 * 1024;
/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;
