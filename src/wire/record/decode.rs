//! Bytes to record: bounded by its input, never panics, refuses what `encode.rs` would not have written.

use super::{
    Attempt, AttemptRecord, Record, Times, UsageRecord,
    encode::{LENGTH_BYTES, VERSION, flag},
};
use crate::base::limits;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end inside it.
    Short,
    /// A length, number or text is not possible.
    Impossible,
    /// A newer version wrote it: its length can be trusted, its fields cannot.
    Newer,
}

/// The record at the start of `bytes`, and how many bytes it takes.
///
/// # Errors
/// Says why there is none.
pub fn decode(bytes: &[u8]) -> Result<(Record, usize), Malformed> {
    let (body, taken) = split(bytes)?;
    Ok((decode_body(body)?, taken))
}

/// The body of the record at the start of `bytes`, undecoded, and how many bytes both take with the length.
///
/// # Errors
/// Says why there is none.
pub fn split(bytes: &[u8]) -> Result<(&[u8], usize), Malformed> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or(Malformed::Short)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > limits::LOG_RECORD_BYTES_MAX {
        return Err(Malformed::Impossible);
    }
    let body = rest.get(..length).ok_or(Malformed::Short)?;
    Ok((body, LENGTH_BYTES + length))
}

/// Decodes what [`split`] gave.
///
/// # Errors
/// Says why it is not a record.
pub fn decode_body(body: &[u8]) -> Result<Record, Malformed> {
    let mut input = Input(body);
    if input.byte()? != VERSION {
        return Err(Malformed::Newer);
    }
    let mut record = Record::default();
    let flags = fixed(&mut input, &mut record)?;
    numbers(&mut input, &mut record, flags)?;
    texts(&mut input, &mut record)?;
    lists(&mut input, &mut record)?;
    Ok(record)
}

/// Request id and time of acceptance of an undecoded body: enough to pass most records over.
#[must_use]
pub fn peek(body: &[u8]) -> Option<(u128, u64)> {
    let mut input = Input(body);
    (input.byte().ok()? == VERSION).then_some(())?;
    input.take(REQUEST_ID_AT - 1).ok()?;
    let id = u128::from_le_bytes(input.array().ok()?);
    Some((id, u64::from_le_bytes(input.array().ok()?)))
}

fn fixed(input: &mut Input<'_>, record: &mut Record) -> Result<u8, Malformed> {
    let flags = input.byte()?;
    record.stream = flags & flag::STREAM != 0;
    record.truncated = flags & flag::TRUNCATED != 0;
    record.client_gone = flags & flag::CLIENT_GONE != 0;
    record.hedged = flags & flag::HEDGED != 0;
    record.mirror = flags & flag::MIRROR != 0;
    record.core = u16::from_le_bytes(input.array()?);
    record.status = u16::from_le_bytes(input.array()?);
    record.sequence = u64::from_le_bytes(input.array()?);
    record.process = u64::from_le_bytes(input.array()?);
    record.request_id = u128::from_le_bytes(input.array()?);
    record.accepted_unix_nanos = u64::from_le_bytes(input.array()?);
    record.seed = u64::from_le_bytes(input.array()?);
    Ok(flags)
}

fn numbers(input: &mut Input<'_>, record: &mut Record, flags: u8) -> Result<(), Malformed> {
    record.epoch = input.number()?;
    record.times = Times {
        head: input.number()?,
        body: input.number()?,
        planned: input.number()?,
        connected: input.number()?,
        sent: input.number()?,
        first_byte: input.number()?,
        first_token: input.number()?,
        last_byte: input.number()?,
        flushed: input.number()?,
    };
    record.client_bytes_in = input.number()?;
    record.client_bytes_out = input.number()?;
    if flags & flag::USAGE != 0 {
        record.usage = Some(UsageRecord {
            input: input.number()?,
            cache_read: input.number()?,
            cache_write_5m: input.number()?,
            cache_write_1h: input.number()?,
            audio_in: input.number()?,
            output: input.number()?,
            reasoning: input.number()?,
            audio_out: input.number()?,
            estimated: flags & flag::ESTIMATED != 0,
        });
    }
    if flags & flag::COST != 0 {
        record.cost_pico_usd = Some(input.number()?);
    }
    Ok(())
}

fn texts(input: &mut Input<'_>, record: &mut Record) -> Result<(), Malformed> {
    for text in [
        &mut record.api_key,
        &mut record.config,
        &mut record.dialect,
        &mut record.method,
        &mut record.path,
        &mut record.requested_model,
        &mut record.served_model,
        &mut record.provider,
        &mut record.virtual_key,
        &mut record.error_source,
        &mut record.error_kind,
        &mut record.error_message,
        &mut record.cache_status,
        &mut record.cost_status,
        &mut record.price_table,
        &mut record.client_address,
        &mut record.trace_id,
    ] {
        *text = input.text()?;
    }
    Ok(())
}

fn lists(input: &mut Input<'_>, record: &mut Record) -> Result<(), Malformed> {
    record.metadata = input.list(|input| Ok((input.text()?, input.text()?)))?;
    record.dropped_params = input.list(Input::text)?;
    record.conditions = input.list(Input::text)?;
    record.open_breakers = input.list(Input::text)?;
    record.balance = input.list(|input| Ok((input.text()?, input.number()?)))?;
    record.attempts = input.list(attempt)?;
    record.omitted = input.number()?;
    // Records of before there were guardrails end here.
    record.guardrails = if input.0.is_empty() { Vec::new() } else { input.list(Input::text)? };
    Ok(())
}

fn attempt(input: &mut Input<'_>) -> Result<AttemptRecord, Malformed> {
    let length = u16::from_le_bytes(input.array()?) as usize;
    let mut input = Input(input.take(length)?);
    let status = u16::from_le_bytes(input.array()?);
    let (started, ended) = (input.number()?, input.number()?);
    Ok(Attempt {
        status,
        started,
        ended,
        target: input.text()?,
        provider: input.text()?,
        virtual_key: input.text()?,
        model: input.text()?,
        left: input.text()?,
        detail: input.text()?,
        // Records of before there were several have none.
        credential: if input.0.is_empty() { String::new() } else { input.text()? },
        role: if input.0.is_empty() { String::new() } else { input.text()? },
    })
}

/// What is left to read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let first = *self.0.first().ok_or(Malformed::Short)?;
        if first == 0 {
            self.byte()?;
            return Ok(u64::from_le_bytes(self.array()?));
        }
        let length = first.trailing_zeros() as usize + 1;
        let mut word = [0; 8];
        word[..length].copy_from_slice(self.take(length)?);
        Ok(u64::from_le_bytes(word) >> length)
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        Ok(self.text_slice()?.to_owned())
    }

    pub(super) fn text_slice(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed::Impossible)?;
        if length > limits::LOG_TEXT_BYTES_MAX {
            return Err(Malformed::Impossible);
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Impossible)
    }

    fn list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let mut list = Vec::new();
        loop {
            match self.byte()? {
                0 => return Ok(list),
                1 if list.len() < limits::LOG_LIST_MAX => list.push(entry(self)?),
                _ => return Err(Malformed::Impossible),
            }
        }
    }
}

/// Where in a body the request id stands.
const REQUEST_ID_AT: usize = 22;
