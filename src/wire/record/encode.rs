//! Record to bytes, on the request path: appends to a buffer, allocates nothing of its own, cannot fail.
//!
//! ```text
//! record    = length:u32 body                     length counts the body; integers are little-endian
//! body      = offset size
//!              0     1   version, 1. Fields are only ever appended; what changes the meaning of an old one
//!                        raises this, and older readers then skip the record
//!              1     1   flags: 1 stream, 2 truncated, 4 client gone, 8 hedged, 16 usage known, 32 usage estimated,
//!                        64 cost known, 128 mirror
//!              2     2   core
//!              4     2   status
//!              6     8   sequence
//!             14     8   process
//!             22    16   request id
//!             38     8   accepted, nanoseconds since 1970
//!             46     8   seed
//!             54         number × 12: epoch, head, body, planned, connected, sent, first byte, first token, last
//!                        byte, flushed, bytes in, bytes out
//!                        number × 8 if usage is known: input, cache read, cache write 5 m, cache write 1 h, audio in,
//!                        output, reasoning, audio out
//!                        number if the cost is known
//!                        text × 17: API key, config, dialect, method, path, requested model, served model, provider,
//!                        virtual key, error source, error kind, error message, cache status, cost status, price
//!                        table, client address, trace id
//!                        list of (text, text): metadata
//!                        list of text × 3: dropped parameters, conditions, open breakers
//!                        list of (text, number): balance
//!                        list of attempt
//!                        number: omitted
//!                        list of text: guardrails
//!                        (later versions append here; readers ignore what they do not know)
//! attempt   = length:u16 status:u16 number:started number:ended text × 6: target, provider, virtual key, model, left,
//!             detail; if one of the next is not empty, text: credential; if it is not empty, text: role (later
//!             versions append here)
//! number    = n bytes, 1 to 8, of value:7n, a one, n-1 zeros (highest bit first, the bytes then little-endian, so that
//!             the zeros at the low end of the first byte say how many follow); or 0:u8 value:u64
//! text      = number:length UTF-8
//! list of x = (1:u8 x)* 0:u8
//! ```

use super::{
    AttemptRef, RecordRef, UsageRecord,
    cursor::{Cursor, LISTS_END_BYTES, NUMBER_BYTES_MAX, SLACK_BYTES, TEXT_OVERHEAD_BYTES_MAX},
};
use crate::base::limits;

/// The version of the layout drawn above.
pub const VERSION: u8 = 1;
/// Bytes of the length in front of a record.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a record's fixed part.
pub const FIXED_BYTES: usize = 54;

/// The bits of the flags byte.
pub mod flag {
    /// The client asked for a stream.
    pub const STREAM: u8 = 1;
    /// The upstream broke after the commit point.
    pub const TRUNCATED: u8 = 2;
    /// The client went away.
    pub const CLIENT_GONE: u8 = 4;
    /// A hedge was sent.
    pub const HEDGED: u8 = 8;
    /// The usage buckets follow.
    pub const USAGE: u8 = 16;
    /// They are an estimate.
    pub const ESTIMATED: u8 = 32;
    /// The cost follows.
    pub const COST: u8 = 64;
    /// It is a copy that went to a mirror.
    pub const MIRROR: u8 = 128;
}

/// Appends `record` to `out`, its length in front. Texts over [`limits::LOG_TEXT_BYTES_MAX`] are cut, lists that
/// would make it longer than [`limits::LOG_RECORD_BYTES_MAX`] end early and are counted as omitted.
pub fn encode(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let texts = texts_of(record);
    out.resize(start + bytes_at_most(record, &texts), 0);
    let mut cursor = Cursor::new(&mut out[start..]);
    let length_place = cursor.take(LENGTH_BYTES);
    cursor.array(fixed(record));
    numbers(record, &mut cursor);
    texts.iter().for_each(|text| cursor.text(text));
    lists(record, &mut cursor);
    let written = cursor.written();
    let length = u32::try_from(written - LENGTH_BYTES).expect("bounded far below");
    length_place.copy_from_slice(&length.to_le_bytes());
    out.truncate(start + written);
}

/// A bound on the length of the encoded record, [`SLACK_BYTES`] included. Long texts count in full: that they are cut
/// is rare.
fn bytes_at_most(record: &RecordRef<'_>, texts: &[&str; TEXTS]) -> usize {
    let text = |text: &str| text.len() + TEXT_OVERHEAD_BYTES_MAX;
    let of_list = |list: &[String]| list.iter().map(|entry| text(entry)).sum::<usize>();
    let sum = FIXED_AND_NUMBERS_BYTES_MAX
        + texts.iter().map(|text| text.len()).sum::<usize>()
        + TEXTS * TEXT_OVERHEAD_BYTES_MAX
        + record.metadata.iter().map(|(name, value)| text(name) + text(value)).sum::<usize>()
        + of_list(record.dropped_params)
        + of_list(record.conditions)
        + of_list(record.open_breakers)
        + of_list(record.guardrails)
        + record.balance.iter().map(|(of, _)| text(of) + NUMBER_BYTES_MAX).sum::<usize>()
        + record.attempts.iter().map(attempt_at_most).sum::<usize>();
    sum.min(limits::LOG_RECORD_BYTES_MAX) + SLACK_BYTES
}

fn attempt_at_most(attempt: &AttemptRef<'_>) -> usize {
    let texts: usize = texts_of_attempt(attempt).iter().map(|text| text.len()).sum();
    let optional = attempt.credential.len() + attempt.role.len();
    5 + 2 * NUMBER_BYTES_MAX + texts + optional + 8 * TEXT_OVERHEAD_BYTES_MAX
}

fn fixed(record: &RecordRef<'_>) -> [u8; FIXED_BYTES] {
    let mut bytes = [0; FIXED_BYTES];
    bytes[0] = VERSION;
    bytes[1] = flags(record);
    bytes[2..4].copy_from_slice(&record.core.to_le_bytes());
    bytes[4..6].copy_from_slice(&record.status.to_le_bytes());
    bytes[6..14].copy_from_slice(&record.sequence.to_le_bytes());
    bytes[14..22].copy_from_slice(&record.process.to_le_bytes());
    bytes[22..38].copy_from_slice(&record.request_id.to_le_bytes());
    bytes[38..46].copy_from_slice(&record.accepted_unix_nanos.to_le_bytes());
    bytes[46..54].copy_from_slice(&record.seed.to_le_bytes());
    bytes
}

fn flags(record: &RecordRef<'_>) -> u8 {
    let estimated = record.usage.is_some_and(|usage| usage.estimated);
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    bit(record.stream, flag::STREAM)
        | bit(record.truncated, flag::TRUNCATED)
        | bit(record.client_gone, flag::CLIENT_GONE)
        | bit(record.hedged, flag::HEDGED)
        | bit(record.usage.is_some(), flag::USAGE)
        | bit(estimated, flag::ESTIMATED)
        | bit(record.cost_pico_usd.is_some(), flag::COST)
        | bit(record.mirror, flag::MIRROR)
}

#[inline(always)]
fn numbers(record: &RecordRef<'_>, cursor: &mut Cursor<'_>) {
    let times = &record.times;
    cursor.numbers(&[
        record.epoch,
        times.head,
        times.body,
        times.planned,
        times.connected,
        times.sent,
        times.first_byte,
        times.first_token,
        times.last_byte,
        times.flushed,
        record.client_bytes_in,
        record.client_bytes_out,
    ]);
    if let Some(usage) = &record.usage {
        cursor.numbers(&buckets(usage));
    }
    if let Some(cost) = record.cost_pico_usd {
        cursor.number(cost);
    }
}

fn buckets(usage: &UsageRecord) -> [u64; 8] {
    [
        usage.input,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.audio_in,
        usage.output,
        usage.reasoning,
        usage.audio_out,
    ]
}

fn texts_of<'a>(record: &RecordRef<'a>) -> [&'a str; TEXTS] {
    [
        record.api_key,
        record.config,
        record.dialect,
        record.method,
        record.path,
        record.requested_model,
        record.served_model,
        record.provider,
        record.virtual_key,
        record.error_source,
        record.error_kind,
        record.error_message,
        record.cache_status,
        record.cost_status,
        record.price_table,
        record.client_address,
        record.trace_id,
    ]
}

#[inline(always)]
fn lists(record: &RecordRef<'_>, cursor: &mut Cursor<'_>) {
    let mut omitted = record.omitted;
    omitted += cursor.list(record.metadata, |cursor, (name, value)| {
        cursor.text(name);
        cursor.text(value);
    });
    for list in [record.dropped_params, record.conditions, record.open_breakers] {
        omitted += cursor.list(list, |cursor, text| cursor.text(text));
    }
    omitted += cursor.list(record.balance, |cursor, (target, amount)| {
        cursor.text(target);
        cursor.number(*amount);
    });
    omitted += cursor.list(record.attempts, attempt);
    cursor.number(omitted);
    cursor.list(record.guardrails, |cursor, text| cursor.text(text));
}

#[inline(always)]
fn attempt(cursor: &mut Cursor<'_>, attempt: &AttemptRef<'_>) {
    let length_place = cursor.take(2);
    let start = cursor.written();
    cursor.array(attempt.status.to_le_bytes());
    cursor.numbers(&[attempt.started, attempt.ended]);
    texts_of_attempt(attempt).iter().for_each(|text| cursor.text(text));
    if !(attempt.credential.is_empty() && attempt.role.is_empty()) {
        cursor.text(attempt.credential);
    }
    if !attempt.role.is_empty() {
        cursor.text(attempt.role);
    }
    let length = u16::try_from(cursor.written() - start).expect("eight bounded texts");
    length_place.copy_from_slice(&length.to_le_bytes());
}

fn texts_of_attempt<'a>(attempt: &AttemptRef<'a>) -> [&'a str; 6] {
    [
        attempt.target,
        attempt.provider,
        attempt.virtual_key,
        attempt.model,
        attempt.left,
        attempt.detail,
    ]
}

/// Texts of a record.
const TEXTS: usize = 17;
/// The length, the fixed part, 22 numbers and the ends of seven lists.
const FIXED_AND_NUMBERS_BYTES_MAX: usize = LENGTH_BYTES + FIXED_BYTES + 22 * NUMBER_BYTES_MAX + 7;

const _: () =
    assert!(8 * (limits::LOG_TEXT_BYTES_MAX + TEXT_OVERHEAD_BYTES_MAX) + 64 < u16::MAX as usize);
const _: () = assert!(
    TEXTS * (limits::LOG_TEXT_BYTES_MAX + TEXT_OVERHEAD_BYTES_MAX) + FIXED_AND_NUMBERS_BYTES_MAX
        < LISTS_END_BYTES
);
