//! Readers of single values: each takes a place in the tree and either yields the value or notes what was
//! expected there instead.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::base::{limits, secret::Secret, units::UnixTime};

use super::{
    report::{Report, Spot},
    tree::Value,
};

/// Text that is not empty.
pub fn text<'a>(spot: &Spot<'a>, report: &mut Report, what: &str) -> Option<&'a str> {
    match &spot.tree.value {
        Value::Text(text) if !text.is_empty() => Some(text),
        Value::Number(_) | Value::Bool(_) => {
            report.expected(spot, &format!("{}; put it in quotes", first_part(what)));
            None
        }
        _ => {
            report.expected(spot, what);
            None
        }
    }
}

fn first_part(what: &str) -> &str {
    what.split(';').next().unwrap_or(what)
}

/// True or false.
pub fn flag(spot: &Spot<'_>, report: &mut Report) -> Option<bool> {
    match (&spot.tree.value, &spot.tree.written) {
        (Value::Bool(truth), _) => Some(*truth),
        (Value::Text(text), Some(_)) if text == "true" => Some(true),
        (Value::Text(text), Some(_)) if text == "false" => Some(false),
        _ => {
            report.expected(spot, "true or false");
            None
        }
    }
}

/// A whole number between two bounds.
pub fn whole(spot: &Spot<'_>, report: &mut Report, least: u64, most: u64) -> Option<u64> {
    let number = match (&spot.tree.value, &spot.tree.written) {
        (Value::Number(number), _) => number.as_u64(),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    };
    let in_bounds = number.filter(|n| (least..=most).contains(n));
    if in_bounds.is_none() {
        report.expected(spot, &format!("a whole number from {least} to {most}"));
    }
    in_bounds
}

/// A span of time such as `200ms`, `5s`, `10m`, `1h`, `30d`.
pub fn duration(
    spot: &Spot<'_>,
    report: &mut Report,
    least: Duration,
    most: Duration,
) -> Option<Duration> {
    let written = match &spot.tree.value {
        Value::Text(text) => parse_duration(text),
        _ => None,
    };
    let Some(duration) = written else {
        report.expected(spot, "a span of time; write e.g. 200ms, 5s, 10m, 1h or 30d");
        return None;
    };
    if duration < least || duration > most {
        let (least, most) = (shown_duration(least), shown_duration(most));
        report.expected(spot, &format!("a span of time from {least} to {most}"));
        return None;
    }
    Some(duration)
}

/// One number and one unit; a fraction is allowed.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let unit_nanos: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        _ => return None,
    };
    Some(Duration::from_nanos(scaled(number, unit_nanos)?))
}

/// A duration in the unit that shows it whole.
#[must_use]
pub fn shown_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit_millis, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis >= unit_millis && millis.is_multiple_of(unit_millis) {
            return format!("{}{unit}", millis / unit_millis);
        }
    }
    format!("{millis}ms")
}

/// A size such as `64KiB`, `32MiB`, `2GiB`.
pub fn bytes(spot: &Spot<'_>, report: &mut Report, least: u64, most: u64) -> Option<u64> {
    let written = match &spot.tree.value {
        Value::Text(text) => parse_bytes(text),
        _ => None,
    };
    let Some(bytes) = written else {
        report.expected(spot, "a size; write e.g. 64KiB, 32MiB or 2GiB");
        return None;
    };
    if bytes < least || bytes > most {
        let (least, most) = (shown_bytes(least), shown_bytes(most));
        report.expected(spot, &format!("a size from {least} to {most}"));
        return None;
    }
    Some(bytes)
}

/// One number and one unit, in powers of 1024 (`KiB`) or of 1000 (`KB`).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    scaled(number, unit_bytes)
}

/// A size in the unit that shows it whole.
#[must_use]
pub fn shown_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

fn split_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    Some((number, unit.trim_start()))
}

/// `number` (digits with at most one point) times `unit`, rounded down; `None` if it does not fit.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let of_fraction = fraction.parse::<u128>().ok()? * u128::from(unit) / scale;
    let total = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit) + of_fraction;
    u64::try_from(total).ok()
}

/// An address to listen on.
pub fn address(spot: &Spot<'_>, report: &mut Report) -> Option<SocketAddr> {
    let written = match &spot.tree.value {
        Value::Text(text) => parse_address(text),
        _ => None,
    };
    if written.is_none() {
        report.expected(
            spot,
            "an address and a port to listen on; write e.g. 127.0.0.1:8787, 0.0.0.0:8787 or [::]:8787",
        );
    }
    written
}

/// `ADDRESS:PORT`; `localhost` stands for 127.0.0.1.
#[must_use]
pub fn parse_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => text.parse().ok(),
    }
}

/// A path of the file system.
pub fn path(spot: &Spot<'_>, report: &mut Report, what: &str) -> Option<PathBuf> {
    text(spot, report, what).map(PathBuf::from)
}

/// A credential: text that can stand in a header. It is never shown.
pub fn secret(spot: &Spot<'_>, report: &mut Report) -> Option<Secret> {
    let Value::Text(text) = &spot.tree.value else {
        report.expected_secret(spot, "text; put it in quotes");
        return None;
    };
    if text.is_empty() {
        report.mistake(
            spot,
            "is empty; write the credential, or ${NAME} for a variable that holds it",
        );
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        report.mistake(
            spot,
            "holds a space, a line end or a character that no header may carry; check what was pasted",
        );
        return None;
    }
    Some(Secret::new(text.clone()))
}

/// A list of texts that are not empty; items that are wrong are left out.
pub fn texts(spot: &Spot<'_>, report: &mut Report, what: &str) -> Vec<String> {
    if !matches!(spot.tree.value, Value::List(_)) {
        report.expected(spot, &format!("a list of {what}s in [ ]"));
        return Vec::new();
    }
    spot.items()
        .filter_map(|item| text(&item, report, &format!("a {what}")).map(str::to_owned))
        .collect()
}

/// A point in time such as `2027-01-31T00:00:00Z`.
pub fn time(spot: &Spot<'_>, report: &mut Report) -> Option<UnixTime> {
    let written = match &spot.tree.value {
        Value::Text(text) => parse_time(text),
        _ => None,
    };
    if written.is_none() {
        report.expected(spot, "a date and time (RFC 3339); write e.g. 2027-01-31T00:00:00Z");
    }
    written
}

fn parse_time(text: &str) -> Option<UnixTime> {
    let format = &time::format_description::well_known::Rfc3339;
    let time = time::OffsetDateTime::parse(text, format).ok()?;
    Some(UnixTime { nanos: u64::try_from(time.unix_timestamp_nanos()).ok()? })
}

/// 64 hexadecimal digits.
pub fn sha256(spot: &Spot<'_>, report: &mut Report) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    match &spot.tree.value {
        Value::Text(text) if hex::decode_to_slice(text, &mut hash).is_ok() => Some(hash),
        _ => {
            report.expected_secret(
                spot,
                "64 hexadecimal digits; make them with `trunkline key new` or `trunkline key hash`",
            );
            None
        }
    }
}

/// Whether a name may be given to a virtual key or a config: it appears in headers and before a slash in models.
pub fn name(spot: &Spot<'_>, report: &mut Report) {
    let name = spot.name();
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX || !name.bytes().all(fine) {
        report.about_key(
            spot,
            format!("a name is 1 to {} letters, digits, `-`, `_` and `.`", limits::NAME_BYTES_MAX),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, millis) in [
            ("200ms", Some(200)),
            ("5s", Some(5_000)),
            ("1.5s", Some(1_500)),
            ("10m", Some(600_000)),
            ("1h", Some(3_600_000)),
            ("30d", Some(2_592_000_000)),
            ("5 s", Some(5_000)),
            ("0s", Some(0)),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("1..5s", None),
            ("5 parsecs", None),
            ("99999999999999999999d", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
        assert_eq!(shown_duration(Duration::from_secs(90)), "90s");
        assert_eq!(shown_duration(Duration::from_secs(7200)), "2h");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64KiB", Some(65_536)),
            ("1.5GiB", Some(1_610_612_736)),
            ("20 MB", Some(20_000_000)),
            ("7B", Some(7)),
            ("64", None),
            ("64K", None),
            ("KiB", None),
            ("17000000TiB", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
        assert_eq!(shown_bytes(32 << 20), "32MiB");
        assert_eq!(shown_bytes(1500), "1500B");
    }
}
