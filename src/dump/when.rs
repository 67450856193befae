//! Points in time: read from flags, written as RFC 3339 in UTC.

use std::time::Duration;

use time::{Date, OffsetDateTime, Time, format_description::well_known::Rfc3339, macros};

use crate::base::units::UnixTime;

/// A duration before `now`, an RFC 3339 time, or a date.
///
/// # Errors
/// Says what to write.
pub(super) fn parse(flag: &str, text: &str, now: UnixTime) -> Result<u64, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(before(now, ago));
    }
    let date = macros::format_description!("[year]-[month]-[day]");
    let at = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| {
        Date::parse(text, date).map(|date| date.with_time(Time::MIDNIGHT).assume_utc())
    });
    match at {
        Ok(at) => Ok(u64::try_from(at.unix_timestamp_nanos()).unwrap_or(0)),
        Err(_) => Err(format!(
            "{flag} `{text}` is no time: write 90s, 1h or 2d (ago), 2026-04-23T14:15:00Z, or 2026-04-23"
        )),
    }
}

fn before(now: UnixTime, ago: Duration) -> u64 {
    now.nanos.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))
}

/// `2026-04-23T14:15:02.123456789Z`.
pub(super) fn rfc3339(unix_nanos: u64) -> String {
    let format = macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z"
    );
    civil(unix_nanos).format(&format).unwrap_or_default()
}

/// `2026-04-23 14:15:02.123`, for people.
pub(super) fn short(unix_nanos: u64) -> String {
    let format = macros::format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]"
    );
    civil(unix_nanos).format(&format).unwrap_or_default()
}

fn civil(unix_nanos: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_nanos))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_forms() {
        let now = UnixTime { nanos: 7_200_000_000_000 };
        assert_eq!(parse("--since", "1h", now), Ok(3_600_000_000_000));
        assert_eq!(parse("--since", "1970-01-01T00:00:01.5Z", now), Ok(1_500_000_000));
        assert_eq!(parse("--since", "1970-01-02", now), Ok(86_400_000_000_000));
        assert_eq!(
            parse("--since", "yesterday", now),
            Err("--since `yesterday` is no time: write 90s, 1h or 2d (ago), 2026-04-23T14:15:00Z, or 2026-04-23"
                .to_owned())
        );
    }

    #[test]
    fn the_end_of_time_is_printed() {
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
