//! What the blocks hold that are not records: a segment's head and end, and bodies.
//!
//! ```text
//! head = format:u16 process start:u64 segment start:u64 index:u32 text:program     (times: nanoseconds since 1970;
//!        index counts the segments of this kind that the process wrote, from 0 on)
//! end  = reason:u8 (1 full or old, 2 the process stopped) list of (number:core, number:last sequence, number:dropped)
//! body = request id:u128 accepted:u64 side:u8 (1 request, 2 response) flags:u8 (1 cut) number:length text:type zstd
//! ```
//! Numbers, texts and lists as in `encode.rs`; later versions append to a head and an end.

use super::{
    cursor::push_number,
    decode::{Input, Malformed},
};
use crate::base::limits;

/// The version of the format of segments, blocks and records together.
pub const FORMAT: u16 = 1;

/// The payload of a segment's first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The version of the format.
    pub format: u16,
    /// When the process started.
    pub process_started_unix_nanos: u64,
    /// When the segment was begun.
    pub started_unix_nanos: u64,
    /// Counts the segments of this kind that the process wrote, from 0 on.
    pub index: u32,
    /// Name and version of the program.
    pub program: String,
}

/// The payload of a complete segment's last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// The process stopped; else the segment was full or old, and another follows.
    pub stopped: bool,
    /// What each core had submitted by then.
    pub cores: Vec<CoreEnd>,
}

/// What a core had submitted when a segment ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreEnd {
    /// The core.
    pub core: u16,
    /// The last sequence number given out; 0: none.
    pub last_sequence: u64,
    /// How many of them were dropped because the queue was full.
    pub dropped: u64,
}

/// Which body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What the client sent.
    Request,
    /// What the client was sent.
    Response,
}

/// One logged body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// The exchange it belongs to.
    pub request_id: u128,
    /// When that was accepted.
    pub accepted_unix_nanos: u64,
    /// Which of its bodies.
    pub side: Side,
    /// It was longer than is logged.
    pub cut: bool,
    /// Bytes before compression.
    pub length: u64,
    /// Its content type; empty: unknown.
    pub content_type: &'a str,
    /// The bytes, compressed with zstd.
    pub compressed: &'a [u8],
}

impl SegmentHead {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.format.to_le_bytes());
        out.extend_from_slice(&self.process_started_unix_nanos.to_le_bytes());
        out.extend_from_slice(&self.started_unix_nanos.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        push_number(out, self.program.len() as u64);
        out.extend_from_slice(self.program.as_bytes());
    }

    /// Reads it.
    ///
    /// # Errors
    /// Says why it cannot be one.
    pub fn decode(payload: &[u8]) -> Result<SegmentHead, Malformed> {
        let mut input = Input(payload);
        let head = SegmentHead {
            format: u16::from_le_bytes(input.array()?),
            process_started_unix_nanos: u64::from_le_bytes(input.array()?),
            started_unix_nanos: u64::from_le_bytes(input.array()?),
            index: u32::from_le_bytes(input.array()?),
            program: input.text()?,
        };
        if head.format == FORMAT { Ok(head) } else { Err(Malformed::Newer) }
    }
}

impl SegmentEnd {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.stopped { 2 } else { 1 });
        for core in &self.cores {
            out.push(1);
            push_number(out, u64::from(core.core));
            push_number(out, core.last_sequence);
            push_number(out, core.dropped);
        }
        out.push(0);
    }

    /// Reads it.
    ///
    /// # Errors
    /// Says why it cannot be one.
    pub fn decode(payload: &[u8]) -> Result<SegmentEnd, Malformed> {
        let mut input = Input(payload);
        let stopped = input.byte()? == 2;
        let mut cores = Vec::new();
        while input.byte()? == 1 {
            let core = u16::try_from(input.number()?).map_err(|_| Malformed::Impossible)?;
            let (last_sequence, dropped) = (input.number()?, input.number()?);
            cores.push(CoreEnd { core, last_sequence, dropped });
        }
        Ok(SegmentEnd { stopped, cores })
    }
}

impl<'a> Body<'a> {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request_id.to_le_bytes());
        out.extend_from_slice(&self.accepted_unix_nanos.to_le_bytes());
        out.push(match self.side {
            Side::Request => 1,
            Side::Response => 2,
        });
        out.push(u8::from(self.cut));
        push_number(out, self.length);
        let kept = self.content_type.floor_char_boundary(limits::LOG_TEXT_BYTES_MAX);
        push_number(out, kept as u64);
        out.extend_from_slice(&self.content_type.as_bytes()[..kept]);
        out.extend_from_slice(self.compressed);
    }

    /// Reads it.
    ///
    /// # Errors
    /// Says why it cannot be one.
    pub fn decode(payload: &'a [u8]) -> Result<Body<'a>, Malformed> {
        let mut input = Input(payload);
        Ok(Body {
            request_id: u128::from_le_bytes(input.array()?),
            accepted_unix_nanos: u64::from_le_bytes(input.array()?),
            side: match input.byte()? {
                1 => Side::Request,
                2 => Side::Response,
                _ => return Err(Malformed::Impossible),
            },
            cut: input.byte()? & 1 != 0,
            length: input.number()?,
            content_type: input.text_slice()?,
            compressed: input.0,
        })
    }
}
