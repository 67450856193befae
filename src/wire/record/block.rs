//! Blocks: what a segment file is made of. Each stands for itself, so that damage to one never reaches another:
//! a reader that finds no block where one should be looks for the next magic and goes on from there.
//!
//! ```text
//! segment = block(head) block(records | body)* block(end)?      the end is missing if the process was killed
//! block   = offset size
//!            0     8   magic FF 'TLKBLK' FE: no UTF-8 text can contain it
//!            8     4   CRC-32C of all that follows
//!           12     1   kind: 1 head, 2 records, 3 body, 4 end
//!           13     3   zero
//!           16     8   process: a random number of the process that wrote it
//!           24     8   segment: the number in the file's name
//!           32     4   block: counts the blocks of the segment, from 0 on
//!           36     4   entries in the payload
//!           40     4   length of the payload
//!           44         payload: records one behind the other (`encode.rs`), or what `segment.rs` draws
//! ```
//! Integers are little-endian. A block of records is closed by the record that takes it to 64 KiB, or after
//! milliseconds so that readers can follow.

use memchr::memmem;

use super::encode::LENGTH_BYTES;
use crate::base::limits;

/// What every block begins with.
pub const MAGIC: [u8; 8] = *b"\xffTLKBLK\xfe";
/// Bytes in front of the payload.
pub const HEAD_BYTES: usize = 44;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Describes the segment; its first block.
    Head,
    /// Records.
    Records,
    /// One request or response body.
    Body,
    /// Says that the segment is complete; its last block.
    End,
}

/// What a block says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// What it holds.
    pub kind: BlockKind,
    /// The process that wrote it.
    pub process: u64,
    /// The number of its segment.
    pub segment: u64,
    /// Its number within the segment.
    pub block: u32,
    /// How many entries it holds.
    pub entries: u32,
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A sound block of `length` bytes.
    Block {
        /// What it says about itself.
        head: BlockHead,
        /// Its contents.
        payload: &'a [u8],
        /// Bytes of head and payload.
        length: usize,
    },
    /// No block; the next place where one may stand is that many bytes on.
    Skip(usize),
    /// Perhaps a block, but the bytes end inside it.
    Short,
}

/// Appends a block whose payload `fill` appends.
pub fn write(out: &mut Vec<u8>, head: &BlockHead, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out);
    fill(out);
    finish(out, start, head);
}

/// Makes room for a block's head; the payload is to be appended behind it. Returns where the block starts.
pub fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; HEAD_BYTES]);
    out.len() - HEAD_BYTES
}

/// Completes the block that starts at `start` and ends with `out`.
pub fn finish(out: &mut [u8], start: usize, head: &BlockHead) {
    let block = &mut out[start..];
    let length = u32::try_from(block.len() - HEAD_BYTES).expect("payloads are bounded far below");
    block[0..8].copy_from_slice(&MAGIC);
    block[12] = code(head.kind);
    block[16..24].copy_from_slice(&head.process.to_le_bytes());
    block[24..32].copy_from_slice(&head.segment.to_le_bytes());
    block[32..36].copy_from_slice(&head.block.to_le_bytes());
    block[36..40].copy_from_slice(&head.entries.to_le_bytes());
    block[40..44].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c(&block[12..]);
    block[8..12].copy_from_slice(&checksum.to_le_bytes());
}

/// Looks at the start of `bytes`. Blocks of another process than `process`, once that is known, are none: nobody can
/// smuggle one into a body, and a damaged length is not followed far.
#[must_use]
pub fn step(bytes: &[u8], process: Option<u64>) -> Step<'_> {
    if !bytes.starts_with(&MAGIC) {
        return if MAGIC.starts_with(bytes) { Step::Short } else { Step::Skip(skip(bytes)) };
    }
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Step::Short };
    let Some((block_head, payload_length)) = parse_head(head) else {
        return Step::Skip(skip(bytes));
    };
    if process.is_some_and(|process| process != block_head.process) {
        return Step::Skip(skip(bytes));
    }
    let length = HEAD_BYTES + payload_length;
    let Some(block) = bytes.get(..length) else { return Step::Short };
    let checksum = u32_at(head, 8);
    if crc32c::crc32c(&block[12..]) != checksum {
        return Step::Skip(skip(bytes));
    }
    Step::Block { head: block_head, payload: &block[HEAD_BYTES..], length }
}

/// How far it is past the start of `bytes` to the next magic, or to what may be the beginning of one.
#[must_use]
pub fn skip(bytes: &[u8]) -> usize {
    let rest = bytes.get(1..).unwrap_or_default();
    let found = memmem::find(rest, &MAGIC);
    let length = found.unwrap_or_else(|| rest.len() - longest_magic_prefix_at_end(rest));
    (1 + length).min(bytes.len())
}

/// How many entries the head at the start of `bytes` claims, sound or not: for counting what a torn tail held.
#[must_use]
pub fn claimed_entries(bytes: &[u8]) -> Option<u32> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (head, _) = parse_head(head).filter(|_| bytes.starts_with(&MAGIC))?;
    (head.kind == BlockKind::Records).then_some(head.entries)
}

fn longest_magic_prefix_at_end(bytes: &[u8]) -> usize {
    (1..MAGIC.len()).rev().find(|&n| bytes.ends_with(&MAGIC[..n])).unwrap_or(0)
}

fn parse_head(head: &[u8; HEAD_BYTES]) -> Option<(BlockHead, usize)> {
    let kind = kind(head[12])?;
    let payload_length = u32_at(head, 40) as usize;
    let block_head = BlockHead {
        kind,
        process: u64_at(head, 16),
        segment: u64_at(head, 24),
        block: u32_at(head, 32),
        entries: u32_at(head, 36),
    };
    (payload_length <= payload_bytes_max(kind)).then_some((block_head, payload_length))
}

fn payload_bytes_max(kind: BlockKind) -> usize {
    match kind {
        BlockKind::Body => limits::LOG_PAYLOAD_BYTES_MAX,
        BlockKind::Head | BlockKind::Records | BlockKind::End => {
            limits::LOG_BLOCK_BYTES + LENGTH_BYTES + limits::LOG_RECORD_BYTES_MAX
        }
    }
}

fn u32_at(head: &[u8; HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; HEAD_BYTES], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

fn code(kind: BlockKind) -> u8 {
    match kind {
        BlockKind::Head => 1,
        BlockKind::Records => 2,
        BlockKind::Body => 3,
        BlockKind::End => 4,
    }
}

fn kind(code: u8) -> Option<BlockKind> {
    [BlockKind::Head, BlockKind::Records, BlockKind::Body, BlockKind::End]
        .into_iter()
        .find(|kind| self::code(*kind) == code)
}
