//! Replaces what patterns find, where it is what it looks like.

use std::{net::IpAddr, ops::Range};

use crate::config::guardrail::{Proof, Redaction, Test};

/// One find: where, and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find<'r> {
    /// Where in the text.
    pub place: Range<usize>,
    /// Instead.
    pub by: &'r str,
    /// The name of the pattern.
    pub name: &'r str,
}

/// What these patterns find, from front to back. Where two overlap, the one that begins first counts, and of those
/// that begin together the one that is listed first.
#[must_use]
pub fn finds<'r>(patterns: impl Iterator<Item = &'r Redaction>, text: &str) -> Vec<Find<'r>> {
    let mut all: Vec<Find<'r>> = Vec::new();
    for redaction in patterns {
        let found = redaction.regex.find_iter(text).filter(|found| !found.is_empty());
        let proven = found.filter(|found| is_proven(found.as_str(), redaction.proof));
        all.extend(proven.map(|found| Find {
            place: found.range(),
            by: &redaction.by,
            name: &redaction.name,
        }));
    }
    all.sort_by_key(|find| find.place.start); // stable: the order of patterns is kept
    let mut end = 0;
    all.retain(|find| {
        let apart = find.place.start >= end;
        if apart {
            end = find.place.end;
        }
        apart
    });
    all
}

/// The first `upto` bytes of a text with its finds replaced. No find may lie across `upto`.
#[must_use]
pub fn replaced(text: &str, finds: &[Find<'_>], upto: usize) -> String {
    let mut out = String::with_capacity(upto);
    let mut at = 0;
    for find in finds.iter().take_while(|find| find.place.end <= upto) {
        out.push_str(text.get(at..find.place.start).unwrap_or_default());
        out.push_str(find.by);
        at = find.place.end;
    }
    out.push_str(text.get(at..upto).unwrap_or_default());
    out
}

/// The patterns of a check that rewrites.
#[must_use]
pub fn patterns_of(test: &Test) -> &[Redaction] {
    match test {
        Test::Redact { patterns, .. } => patterns,
        _ => &[],
    }
}

fn is_proven(text: &str, proof: Proof) -> bool {
    match proof {
        Proof::None => true,
        Proof::Luhn => has_luhn_digit(text),
        Proof::Address => text.parse::<IpAddr>().is_ok(),
        Proof::Iban => has_iban_digits(text),
    }
}

/// From the last digit on, every second one doubled and its digits added, the sum is a multiple of ten.
fn has_luhn_digit(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit) {
            (0, digit) => digit,
            (_, digit @ 0..5) => digit * 2,
            (_, digit) => digit * 2 - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// With its first four characters behind the others and letters as numbers from 10 on, it leaves 1 over 97.
fn has_iban_digits(text: &str) -> bool {
    let compact: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let Some((head, tail)) = compact.split_at_checked(4) else { return false };
    let rest = tail.iter().chain(head).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn numbers_are_told_apart_by_their_check_digits() {
        for (number, is_card) in [("4111 1111 1111 1111", true), ("4111-1111-1111-1112", false)] {
            assert_eq!(has_luhn_digit(number), is_card, "{number}");
        }
        for (text, is_iban) in
            [("DE89 3704 0044 0532 0130 00", true), ("DE89370400440532013001", false)]
        {
            assert_eq!(has_iban_digits(text), is_iban, "{text}");
        }
    }

    #[test]
    fn overlapping_finds_are_replaced_once() {
        let redaction = |pattern: &str, by: &str| {
            Redaction::plain(by, Regex::new(pattern).expect("a pattern"), by.to_owned())
        };
        let patterns = [redaction("bc", "1"), redaction("abc|d", "2"), redaction("", "3")];
        let found = finds(patterns.iter(), "abcd bc");
        let text = replaced("abcd bc", &found, 7);
        assert_eq!(text, "22 1");
        assert_eq!(replaced("abcd bc", &found, 4), "22");
    }
}
