//! Words that stand for numbers: digits, decimals and a unit, by what the field measures. Exact: no floats.

use crate::journal::field::Kind;

/// The value of `word` in the unit of the field, or what to write instead.
pub(super) fn number(kind: Kind, field: &str, word: &str) -> Result<u64, String> {
    let dollars = word.strip_prefix('$').filter(|_| kind == Kind::Money);
    let digits_and_unit = dollars.unwrap_or(word);
    let unit_at = digits_and_unit
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits_and_unit.len());
    let (digits, unit) = digits_and_unit.split_at(unit_at);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || (digits.contains('.') && fraction.is_empty()) || fraction.contains('.') {
        return Err(format!("`{word}` is no number; {}", example(kind, field)));
    }
    let Some((_, scale)) = units(kind).iter().find(|(name, _)| *name == unit) else {
        return Err(if unit.is_empty() {
            format!("{field} is a time: give `{word}` a unit, as in {word}ms or {word}s")
        } else {
            format!("`{unit}` is no unit of {field}; {}", example(kind, field))
        });
    };
    scaled(whole, fraction, *scale)
        .ok_or_else(|| format!("`{word}` is too large or has too many decimals for {field}"))
}

fn scaled(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    let whole: u64 = whole.parse().ok()?;
    let mut value = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
        if digit != 0 && !place.is_multiple_of(10) {
            return binary_part(whole, fraction, scale);
        }
        place /= 10;
        value = value.checked_add(digit * place)?;
    }
    Some(value)
}

/// Fractions of KiB and the like, which are no powers of ten: 1.5 KiB is 1536 bytes.
fn binary_part(whole: u64, fraction: &str, scale: u64) -> Option<u64> {
    let digits: u128 = fraction.get(..fraction.len().min(18))?.parse().ok()?;
    let ten = 10_u128.pow(u32::try_from(fraction.len().min(18)).ok()?);
    let part = digits.checked_mul(u128::from(scale))?;
    (part >= ten).then_some(())?;
    whole.checked_mul(scale)?.checked_add(u64::try_from(part / ten).ok()?)
}

fn units(kind: Kind) -> &'static [(&'static str, u64)] {
    match kind {
        Kind::Time => TIME_UNITS,
        Kind::Bytes => BYTE_UNITS,
        Kind::Money => MONEY_UNITS,
        Kind::Count | Kind::Flag | Kind::Text => COUNT_UNITS,
    }
}

fn example(kind: Kind, field: &str) -> String {
    match kind {
        Kind::Time => format!("write a time, as in {field}>2s (ns, us, ms, s, m, h, d)"),
        Kind::Bytes => format!("write a size, as in {field}>64KiB (B, kB, MB, GB, KiB, MiB, GiB)"),
        Kind::Money => format!("write dollars, as in {field}>0.01"),
        Kind::Count | Kind::Flag | Kind::Text => {
            format!("write a number, as in {field}>=500 (k and M for thousands and millions)")
        }
    }
}

const COUNT_UNITS: &[(&str, u64)] = &[("", 1), ("k", 1000), ("M", 1_000_000)];
const TIME_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1000),
    ("µs", 1000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
const BYTE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
const MONEY_UNITS: &[(&str, u64)] = &[("", 1_000_000_000_000), ("USD", 1_000_000_000_000)];
