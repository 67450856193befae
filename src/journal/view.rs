//! Numbers that a record implies but does not hold: durations, totals of tokens, money as text.

use crate::wire::record::{Attempt, Record};

/// When the exchange was over (civil time, nanoseconds).
#[must_use]
pub fn ended_unix_nanos(record: &Record) -> u64 {
    record.accepted_unix_nanos.saturating_add(total_nanos(record).unwrap_or(0))
}

/// From the first byte of the request to the last of the answer, or to the last thing that happened.
#[must_use]
pub fn total_nanos(record: &Record) -> Option<u64> {
    let times = &record.times;
    if times.flushed != 0 {
        return Some(times.flushed);
    }
    let stages = [
        times.head,
        times.body,
        times.planned,
        times.connected,
        times.sent,
        times.first_byte,
        times.first_token,
        times.last_byte,
    ];
    let attempts = record.attempts.iter().map(|attempt| attempt.ended.max(attempt.started));
    stages.into_iter().chain(attempts).max().filter(|&nanos| nanos != 0)
}

/// From the first byte of the request to the first content event of a stream.
#[must_use]
pub fn ttft_nanos(record: &Record) -> Option<u64> {
    Some(record.times.first_token).filter(|&nanos| nanos != 0)
}

/// Time during which an attempt was running; attempts that overlap count once. `None`: there was none.
#[must_use]
pub fn upstream_nanos(record: &Record) -> Option<u64> {
    if record.attempts.is_empty() {
        return None;
    }
    let end = total_nanos(record).unwrap_or(0);
    let mut spans: Vec<_> = record.attempts.iter().map(|attempt| span(attempt, end)).collect();
    spans.sort_unstable();
    let mut covered_until = 0;
    let mut sum = 0_u64;
    for (started, ended) in spans {
        let from = started.max(covered_until);
        sum = sum.saturating_add(ended.saturating_sub(from));
        covered_until = covered_until.max(ended);
    }
    Some(sum)
}

fn span(attempt: &Attempt<String>, end: u64) -> (u64, u64) {
    (attempt.started, if attempt.ended == 0 { end } else { attempt.ended })
}

/// Time that went neither into reading the request nor into attempts: the gateway's own, back-off waits included.
#[must_use]
pub fn gateway_nanos(record: &Record) -> Option<u64> {
    let reading = record.times.body.max(record.times.head);
    let elsewhere = reading.saturating_add(upstream_nanos(record).unwrap_or(0));
    Some(total_nanos(record)?.saturating_sub(elsewhere))
}

/// All input tokens, cached ones included.
#[must_use]
pub fn input_tokens(record: &Record) -> Option<u64> {
    let usage = record.usage.as_ref()?;
    let buckets =
        [usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.audio_in];
    Some(buckets.into_iter().fold(0, u64::saturating_add))
}

/// All output tokens, reasoning included.
#[must_use]
pub fn output_tokens(record: &Record) -> Option<u64> {
    let usage = record.usage.as_ref()?;
    Some(usage.output.saturating_add(usage.reasoning).saturating_add(usage.audio_out))
}

/// All tokens.
#[must_use]
pub fn tokens(record: &Record) -> Option<u64> {
    Some(input_tokens(record)?.saturating_add(output_tokens(record)?))
}

/// Attempts that tried the same target again; hedges are none.
#[must_use]
pub fn retries(record: &Record) -> u64 {
    let walked = || record.attempts.iter().filter(|attempt| attempt.role.is_empty());
    let pairs = walked().zip(walked().skip(1));
    pairs.filter(|(before, after)| before.target == after.target).count() as u64
}

/// The model that served, else the one that was asked for.
#[must_use]
pub fn model(record: &Record) -> &str {
    if record.served_model.is_empty() { &record.requested_model } else { &record.served_model }
}

/// Pico-dollars as dollars, exactly: two decimals at least, twelve at most.
#[must_use]
pub fn usd(pico_usd: u128) -> String {
    let digits = format!("{:012}", pico_usd % PICO_IN_USD);
    let decimals = digits.trim_end_matches('0').len().max(2);
    format!("{}.{}", pico_usd / PICO_IN_USD, &digits[..decimals])
}

const PICO_IN_USD: u128 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        assert_eq!(usd(0), "0.00");
        assert_eq!(usd(1), "0.000000000001");
        assert_eq!(usd(1_500_000_000_000), "1.50");
        assert_eq!(usd(u128::from(u64::MAX)), "18446744.073709551615");
    }

    #[test]
    fn overlapping_attempts_count_once_and_the_gaps_are_the_gateways() {
        let attempt = |started, ended| Attempt { started, ended, ..Attempt::default() };
        let mut record =
            Record { attempts: vec![attempt(20, 50), attempt(40, 70)], ..Record::default() };
        record.times.body = 10;
        record.times.flushed = 100;
        assert_eq!(upstream_nanos(&record), Some(50));
        assert_eq!(gateway_nanos(&record), Some(40));
    }
}
