//! Values as people read them: short durations, sizes and money, and text that cannot act on a terminal.

use std::borrow::Cow;

use crate::journal::{
    field::{Kind, Value},
    view,
};

/// A value in a table.
pub(super) fn value(value: &Value<'_>, kind: Kind) -> String {
    match value {
        Value::Missing => String::from("-"),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => self::number(u128::from(*number), kind),
        Value::Text(text) if text.is_empty() => String::from("-"),
        Value::Text(text) => printable(text).into_owned(),
    }
}

/// A number in the unit of its kind.
pub(super) fn number(number: u128, kind: Kind) -> String {
    match kind {
        Kind::Time => duration(u64::try_from(number).unwrap_or(u64::MAX)),
        Kind::Money => format!("${}", view::usd(number)),
        Kind::Bytes | Kind::Count | Kind::Flag | Kind::Text => number.to_string(),
    }
}

/// Three digits and a unit: `1.23ms`.
pub(super) fn duration(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos}ns"),
        1_000..999_500 => (nanos as f64 / 1e3, "µs"),
        999_500..999_500_000 => (nanos as f64 / 1e6, "ms"),
        999_500_000..100_000_000_000 => (nanos as f64 / 1e9, "s"),
        _ => return format!("{}m{:02}s", nanos / 60_000_000_000, nanos / 1_000_000_000 % 60),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{unit}")
}

/// Text without anything that moves a cursor, changes a colour, or turns the direction of what follows.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if acts(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Control, bidirectional, invisible and line-separating characters.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let shown = [0, 999, 1_234, 999_499, 999_500, 12_345_678, 2_000_000_000, 59_960_000_000]
            .map(duration);
        assert_eq!(
            shown,
            ["0ns", "999ns", "1.23µs", "999µs", "1.00ms", "12.3ms", "2.00s", "60.0s"]
        );
        assert_eq!(duration(125_000_000_000), "2m05s");
    }

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(printable("\x1b[2Jx\u{202e}y\nz"), "\\u{1b}[2Jx\\u{202e}y\\nz");
        assert_eq!(printable("größer ok"), "größer ok");
        assert_eq!(printable("\u{9b}31m"), "\\u{9b}31m");
    }
}
