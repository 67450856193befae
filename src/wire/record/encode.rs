//! Record to bytes, on the request path: appends to a buffer, allocates nothing of its own, cannot fail.
//!
//! ```text
//! record    = length:u32 body                     length counts the body; integers are little-endian
//! body      = offset size
//!              0     1   version, 1. Fields are only ever appended; what changes the meaning of an old one
//!                        raises this, and older readers then skip the record
//!              1     1   flags: 1 stream, 2 truncated, 4 client gone, 8 hedged, 16 usage known, 32 usage estimated,
//!                        64 cost known
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
//!                        (later versions append here; readers ignore what they do not know)
//! attempt   = length:u16 status:u16 number:started number:ended text × 6: target, provider, virtual key, model, left,
//!             detail (later versions append here)
//! number    = LEB128: seven bits a byte, lowest first, the eighth set on all but the last; at most ten bytes
//! text      = number:length UTF-8
//! list of x = (1:u8 x)* 0:u8
//! ```

use super::{AttemptRef, RecordRef, UsageRecord};
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
}

/// Appends `record` to `out`, its length in front. Texts over [`limits::LOG_TEXT_BYTES_MAX`] are cut, lists that
/// would make it longer than [`limits::LOG_RECORD_BYTES_MAX`] end early and are counted as omitted.
pub fn encode(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.extend_from_slice(&fixed(record));
    numbers(record, out);
    texts(record, out);
    lists(record, out, start);
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).expect("bounded above");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
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
}

fn numbers(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    let times = &record.times;
    push_numbers(
        out,
        &[
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
        ],
    );
    if let Some(usage) = &record.usage {
        push_numbers(out, &buckets(usage));
    }
    if let Some(cost) = record.cost_pico_usd {
        push_numbers(out, &[cost]);
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

fn texts(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    for text in [
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
    ] {
        push_text(out, text);
    }
}

fn lists(record: &RecordRef<'_>, out: &mut Vec<u8>, start: usize) {
    let mut omitted = record.omitted;
    omitted += push_list(out, start, record.metadata, |out, (name, value)| {
        push_text(out, name);
        push_text(out, value);
    });
    for list in [record.dropped_params, record.conditions, record.open_breakers] {
        omitted += push_list(out, start, list, |out, text| push_text(out, text));
    }
    omitted += push_list(out, start, record.balance, |out, (target, amount)| {
        push_text(out, target);
        push_number(out, *amount);
    });
    omitted += push_list(out, start, record.attempts, push_attempt);
    push_number(out, omitted);
}

fn push_attempt(out: &mut Vec<u8>, attempt: &AttemptRef<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&attempt.status.to_le_bytes());
    push_numbers(out, &[attempt.started, attempt.ended]);
    for text in [
        attempt.target,
        attempt.provider,
        attempt.virtual_key,
        attempt.model,
        attempt.left,
        attempt.detail,
    ] {
        push_text(out, text);
    }
    let length = u16::try_from(out.len() - start - 2).expect("six bounded texts");
    out[start..start + 2].copy_from_slice(&length.to_le_bytes());
}

/// Appends the entries that fit; returns how many did not.
fn push_list<T>(
    out: &mut Vec<u8>,
    record_start: usize,
    list: &[T],
    push: impl Fn(&mut Vec<u8>, &T),
) -> u64 {
    let mut taken = 0;
    for entry in list.iter().take(limits::LOG_LIST_MAX) {
        if out.len() - record_start > LISTS_END_BYTES {
            break;
        }
        out.push(1);
        push(out, entry);
        taken += 1;
    }
    out.push(0);
    (list.len() - taken) as u64
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    if text.len() > limits::LOG_TEXT_BYTES_MAX {
        return push_cut_text(out, text);
    }
    push_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cold]
fn push_cut_text(out: &mut Vec<u8>, text: &str) {
    let kept = &text[..text.floor_char_boundary(limits::LOG_TEXT_BYTES_MAX - '…'.len_utf8())];
    push_number(out, (kept.len() + '…'.len_utf8()) as u64);
    out.extend_from_slice(kept.as_bytes());
    out.extend_from_slice("…".as_bytes());
}

fn push_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        push_number(out, *number);
    }
}

pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    let mut bytes = [0; 10];
    let mut length = 0;
    while rest >= 0x80 {
        bytes[length] = rest as u8 | 0x80;
        rest >>= 7;
        length += 1;
    }
    bytes[length] = rest as u8;
    out.extend_from_slice(&bytes[..=length]);
}

/// Where lists stop growing: one entry of the largest kind, six full texts, still fits behind it.
const LISTS_END_BYTES: usize = limits::LOG_RECORD_BYTES_MAX - 8 * limits::LOG_TEXT_BYTES_MAX;

const _: () = assert!(6 * (limits::LOG_TEXT_BYTES_MAX + 10) + 64 < u16::MAX as usize);
const _: () = assert!(17 * (limits::LOG_TEXT_BYTES_MAX + 10) + 512 < LISTS_END_BYTES);
