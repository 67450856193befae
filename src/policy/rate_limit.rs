//! What an upstream's headers say of its quota: OpenAI's `x-ratelimit-*`, Anthropic's `anthropic-ratelimit-*`, and
//! `retry-after`.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    base::{limits, units::UnixTime},
    provider::HeaderLookup,
};

use super::attempt::retry_after;

/// For how long the upstream will refuse, by what an answer of this status says; `None`: it will not.
#[must_use]
pub fn out_for(status: u16, headers: HeaderLookup<'_, '_>, now: UnixTime) -> Option<Duration> {
    let used_up = openai(headers).into_iter().chain(anthropic(headers, now)).max();
    let wait = match (status, used_up, retry_after(headers)) {
        (429, _, Some(asked)) => Some(asked),
        (429, used_up, None) => Some(used_up.unwrap_or(limits::RATE_LIMIT_PAUSE)),
        (_, used_up, _) => used_up,
    };
    wait.filter(|wait| !wait.is_zero()).map(|wait| wait.min(limits::RATE_LIMIT_MAX))
}

/// Requests and tokens, each with what remains and when it is full again.
fn openai(headers: HeaderLookup<'_, '_>) -> Option<Duration> {
    let pairs = [
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ];
    let of = |(remaining, reset): (&str, &str)| {
        is_zero(headers(remaining)?).then(|| headers(reset).and_then(go_duration))?
    };
    pairs.into_iter().filter_map(of).max()
}

/// The same, with points in time.
fn anthropic(headers: HeaderLookup<'_, '_>, now: UnixTime) -> Option<Duration> {
    let pairs = [
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
        ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
        ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ];
    let of = |(remaining, reset): (&str, &str)| {
        is_zero(headers(remaining)?).then(|| headers(reset).and_then(|at| until(at, now)))?
    };
    pairs.into_iter().filter_map(of).max()
}

fn is_zero(remaining: &str) -> bool {
    let text = remaining.trim();
    !text.is_empty() && text.bytes().all(|byte| byte == b'0')
}

/// A duration as Go writes it: `6m0s`, `1h2m3.5s`, `17ms`; or bare seconds.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Some(seconds) = seconds(rest) {
        return Some(seconds);
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let (unit, behind) = [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9)]
            .into_iter()
            .chain([("h", 3600.0), ("m", 60.0), ("s", 1.0), ("d", 86_400.0)])
            .find_map(|(unit, seconds)| Some((seconds, behind.strip_prefix(unit)?)))?;
        let part = Duration::try_from_secs_f64(number * unit).ok()?;
        sum = sum.checked_add(part)?;
        rest = behind;
    }
    (!sum.is_zero()).then_some(sum)
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { Duration::try_from_secs_f64(text.parse().ok()?).ok() } else { None }
}

fn until(text: &str, now: UnixTime) -> Option<Duration> {
    let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?.unix_timestamp_nanos();
    let wait = at.checked_sub(i128::from(now.nanos))?;
    u64::try_from(wait).ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime { nanos: 1_767_225_600_000_000_000 }; // 2026-01-01T00:00:00Z

    fn told(status: u16, headers: &[(&str, &str)]) -> Option<u64> {
        let lookup = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|h| h.1);
        out_for(status, &lookup, NOW).map(|wait| wait.as_millis() as u64)
    }

    #[test]
    fn what_remains_and_when_it_comes_back() {
        let requests = |left, reset| {
            [("x-ratelimit-remaining-requests", left), ("x-ratelimit-reset-requests", reset)]
        };
        assert_eq!(told(200, &requests("0", "6m0s")), Some(360_000));
        assert_eq!(told(200, &requests("0", "1h2m3.5s")), Some(3_723_500));
        assert_eq!(told(200, &requests("0", "17ms")), Some(17));
        assert_eq!(told(200, &requests("0", "12")), Some(12_000));
        assert_eq!(told(200, &requests("1", "6m0s")), None);
        assert_eq!(told(200, &requests("0", "soon")), None);
        assert_eq!(told(200, &requests("0", "9999999h")), Some(86_400_000), "believed for a day");
        let tokens = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "2m"),
        ];
        assert_eq!(told(200, &tokens), Some(120_000), "the longer of two");
        assert_eq!(told(200, &[]), None);
    }

    #[test]
    fn anthropic_names_a_point_in_time() {
        let left = |left, reset| {
            [
                ("anthropic-ratelimit-input-tokens-remaining", left),
                ("anthropic-ratelimit-input-tokens-reset", reset),
            ]
        };
        assert_eq!(told(200, &left("0", "2026-01-01T00:00:30Z")), Some(30_000));
        assert_eq!(told(200, &left("0", "2025-12-31T23:59:59Z")), None, "it is past");
        assert_eq!(told(200, &left("7", "2026-01-01T00:00:30Z")), None);
        assert_eq!(told(200, &left("0", "tomorrow")), None);
    }

    #[test]
    fn a_429_is_out_of_quota_whatever_else_it_says() {
        assert_eq!(told(429, &[("retry-after", "7")]), Some(7_000));
        assert_eq!(told(429, &[("retry-after-ms", "70")]), Some(70));
        assert_eq!(told(429, &[]), Some(5_000));
        let reset = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m30s")];
        assert_eq!(told(429, &reset), Some(90_000));
        assert_eq!(told(503, &[("retry-after", "7")]), None, "that is no quota");
    }
}
