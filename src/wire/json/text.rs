//! Single values as text: reads the raw bytes of a scalar or a string, and writes strings.

use std::borrow::Cow;

use super::walk::{StringWalk, Walked};
use crate::wire::block::{is_plain, is_special};

/// The boolean that a raw value is.
#[must_use]
pub fn as_bool(raw: &[u8]) -> Option<bool> {
    match raw {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Whether a raw value is `null`.
#[must_use]
pub fn is_null(raw: &[u8]) -> bool {
    raw == b"null"
}

/// The whole number that a raw value is: digits alone, and not more than fit.
#[must_use]
pub fn as_u64(raw: &[u8]) -> Option<u64> {
    let digits =
        raw.iter().all(u8::is_ascii_digit) && (raw.len() == 1 || raw.first() != Some(&b'0'));
    if digits { std::str::from_utf8(raw).ok()?.parse().ok() } else { None }
}

/// The text of a raw value that is a string; borrowed where nothing is escaped. A string that no text can be, such as
/// one with half a surrogate pair, has none.
#[must_use]
pub fn as_str(raw: &[u8]) -> Option<Cow<'_, str>> {
    let [b'"', inner @ .., b'"'] = raw else { return None };
    if is_plain(inner) {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    if StringWalk::default().feed(raw, 1) != Walked::Done(raw.len()) {
        return None;
    }
    match unescape(inner)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(|&byte| is_special(byte)) {
        out.extend_from_slice(&rest[..place]);
        write_escaped(rest[place], out);
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escaped(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].map(|digit| HEX_DIGITS[usize::from(digit)]));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The meaning of what stands between two quotes; `None` where an escape is not one of JSON's. Half a surrogate pair
/// becomes the three bytes that UTF-8 would have for it if it had any, so that different strings stay different.
pub(super) fn unescape(inner: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'\\', inner) else {
        return Some(Cow::Borrowed(inner));
    };
    let mut text = Vec::with_capacity(inner.len());
    text.extend_from_slice(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'\\' {
            rest = unescape_one(behind, &mut text)?;
        } else {
            text.push(byte);
            rest = behind;
        }
    }
    Some(Cow::Owned(text))
}

/// Takes one escape, of which the backslash is gone already.
fn unescape_one<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&letter, rest) = rest.split_first()?;
    let byte = match letter {
        b'"' | b'\\' | b'/' => letter,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unescape_unicode(rest, text),
        _ => return None,
    };
    text.push(byte);
    Some(rest)
}

fn unescape_unicode<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (unit, rest) = code_unit(rest)?;
    if (0xd800..0xdc00).contains(&unit)
        && let Some(pair) = rest.strip_prefix(b"\\u")
        && let (low @ 0xdc00..0xe000, behind) = code_unit(pair)?
    {
        push_code_point(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), text);
        return Some(behind);
    }
    push_code_point(unit, text);
    Some(rest)
}

fn push_code_point(code: u32, text: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(code) {
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    let six = |shift: u32| 0x80 | (code >> shift) as u8 & 0x3f;
    text.extend_from_slice(&[0xe0 | (code >> 12) as u8, six(6), six(0)]);
}

fn code_unit(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_first_chunk::<4>()?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit << 4 | char::from(digit).to_digit(16)?;
    }
    Some((unit, rest))
}

/// Whether `raw` is spelt as a number, `true`, `false` or `null`.
pub(super) fn is_scalar(raw: &[u8]) -> bool {
    if let [b'1'..=b'9', rest @ ..] = raw
        && rest.iter().all(u8::is_ascii_digit)
    {
        return true;
    }
    match raw.first() {
        Some(b'-' | b'0'..=b'9') => is_number(raw),
        _ => is_null(raw) || as_bool(raw).is_some(),
    }
}

fn is_number(raw: &[u8]) -> bool {
    let rest = raw.strip_prefix(b"-").unwrap_or(raw);
    let Some(mut rest) = rest.strip_prefix(b"0").or_else(|| digits(rest)) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        let Some(behind) = digits(fraction) else {
            return false;
        };
        rest = behind;
    }
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        let unsigned = match exponent.split_first() {
            Some((b'+' | b'-', unsigned)) => unsigned,
            _ => exponent,
        };
        let Some(behind) = digits(unsigned) else {
            return false;
        };
        rest = behind;
    }
    rest.is_empty()
}

/// What follows one or more digits.
fn digits(raw: &[u8]) -> Option<&[u8]> {
    let count = raw.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { None } else { Some(&raw[count..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_spelt_as_the_grammar_says() {
        let good = "0 -0 7 10 -12.50 1e9 1E+9 0.5e-3 true false null";
        for raw in good.split(' ') {
            assert!(is_scalar(raw.as_bytes()), "{raw}");
        }
        let bad = "- 01 -01 1. .5 1e 1e+ +1 1.e3 0x1 NaN Infinity True nul nulll truefalse 1-1 --1";
        for raw in bad.split(' ').chain([""]) {
            assert!(!is_scalar(raw.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_kept_apart_and_is_no_text() {
        assert_eq!(unescape(br"\ud83d\ude00").as_deref(), Some("😀".as_bytes()));
        assert_eq!(unescape(br"\ud800").as_deref(), Some(&b"\xed\xa0\x80"[..]));
        assert_eq!(unescape(br"\ud801").as_deref(), Some(&b"\xed\xa0\x81"[..]));
        assert_eq!(unescape(br"\ud800\u0041").as_deref(), Some(&b"\xed\xa0\x80A"[..]));
        assert_eq!(
            unescape(br"\ud800\ud83d\ude00").as_deref(),
            Some(&b"\xed\xa0\x80\xf0\x9f\x98\x80"[..])
        );
        assert_eq!(as_str(br#""\ud800""#), None);
        for bad in [&br"\"[..], br"\x", br"\u12", br"\u12g4", br"\ud800\u1", br"\u+123"] {
            assert_eq!(unescape(bad), None);
        }
    }
}
