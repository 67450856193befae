//! Walks over one string or one nested value, a block of bytes a step, and may pause between any two bytes. Looks at
//! structure alone: brackets that match, strings that end; it is the model's provider who judges the rest.

use memchr::memchr;

use super::error::JsonErrorKind;
use crate::base::limits::JSON_DEPTH_MAX;
use crate::wire::block::{BLOCK_BYTES, Block, has_control, load, load_tail};

const _: () = assert!(JSON_DEPTH_MAX <= u128::BITS as usize, "the open brackets are kept as bits");

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// To the end: this is the offset behind it.
    Done(usize),
    /// Through all bytes; the end is yet to come.
    More,
    /// To a mistake, at this offset.
    Wrong(JsonErrorKind, usize),
}

impl Walked {
    /// The same, told from `at` bytes further ahead.
    #[inline(always)]
    fn behind(self, at: usize) -> Walked {
        match self {
            Walked::Done(end) => Walked::Done(at + end),
            Walked::More => Walked::More,
            Walked::Wrong(kind, place) => Walked::Wrong(kind, at + place),
        }
    }
}

/// Inside a string, behind its opening quote.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StringWalk {
    escapes: Escapes,
    clean: bool,
}

impl StringWalk {
    /// `clean`: the text is known to be free of control characters.
    pub(super) fn new(clean: bool) -> StringWalk {
        StringWalk { escapes: Escapes::default(), clean }
    }

    /// Walks `bytes` from `at` on; `Done` is behind the closing quote.
    pub(super) fn feed(&mut self, bytes: &[u8], mut at: usize) -> Walked {
        while let Some(block) = load(bytes, at) {
            let skipped = self.escapes.skip_text(&block, bytes, at, self.clean);
            if skipped == 0 {
                match self.step(&block, BLOCK_BYTES) {
                    Walked::More => {}
                    ended => return ended.behind(at),
                }
            }
            at += skipped.max(BLOCK_BYTES);
        }
        self.feed_tail(bytes.get(at..).unwrap_or_default()).behind(at)
    }

    #[inline(never)]
    fn feed_tail(&mut self, tail: &[u8]) -> Walked {
        self.step(&load_tail(tail), tail.len())
    }

    #[inline(always)]
    fn step(&mut self, block: &Block, length: usize) -> Walked {
        let escaped = self.escapes.of(block.equal(b'\\'), length);
        let quotes = block.equal(b'"') & !escaped;
        let control = if block.any_control() { block.control() } else { 0 };
        let ends = quotes | control;
        if ends == 0 {
            return Walked::More;
        }
        let first = ends.trailing_zeros() as usize;
        match control >> first & 1 {
            0 => Walked::Done(first + 1),
            _ => Walked::Wrong(JsonErrorKind::ControlInString, first),
        }
    }
}

/// Inside an object or array that is itself nested.
#[derive(Clone, Copy, Debug)]
pub(super) struct NestWalk {
    escapes: Escapes,
    /// All ones within a string, else zero.
    in_string: u64,
    /// The kinds of the open brackets, the innermost at the bottom; 1 is a brace.
    kinds: u128,
    depth: usize,
    depth_max: usize,
    clean: bool,
}

impl NestWalk {
    /// A walk that starts at an opening bracket, with `outer` brackets around it. `clean`: the text is known to be free
    /// of control characters.
    pub(super) fn new(outer: usize, clean: bool) -> NestWalk {
        NestWalk {
            escapes: Escapes::default(),
            in_string: 0,
            kinds: 0,
            depth: 0,
            depth_max: JSON_DEPTH_MAX - outer,
            clean,
        }
    }

    /// Walks `bytes` from `at` on; `Done` is behind the bracket that closes the first one.
    pub(super) fn feed(&mut self, bytes: &[u8], mut at: usize) -> Walked {
        while let Some(block) = load(bytes, at) {
            let skipped = match self.in_string {
                0 => 0,
                _ => self.escapes.skip_text(&block, bytes, at, self.clean),
            };
            if skipped == 0 {
                match self.step(&block, BLOCK_BYTES, &bytes[at..]) {
                    Walked::More => {}
                    ended => return ended.behind(at),
                }
            }
            at += skipped.max(BLOCK_BYTES);
        }
        self.feed_tail(bytes.get(at..).unwrap_or_default()).behind(at)
    }

    #[inline(never)]
    fn feed_tail(&mut self, tail: &[u8]) -> Walked {
        self.step(&load_tail(tail), tail.len(), tail)
    }

    /// One block, of which `length` bytes count; they are the first of `bytes`.
    #[inline(always)]
    fn step(&mut self, block: &Block, length: usize, bytes: &[u8]) -> Walked {
        if self.escapes.pending() || block.any_odd() {
            return self.step_carefully(block, length, bytes);
        }
        let inside = running_parity(block.equal(b'"')) ^ self.in_string;
        self.in_string = (inside.cast_signed() >> 63).cast_unsigned();
        self.match_brackets(block.bracket() & !inside, bytes)
    }

    /// The same where more than quotes and brackets may matter.
    #[inline(always)]
    fn step_carefully(&mut self, block: &Block, length: usize, bytes: &[u8]) -> Walked {
        let backslashes = block.equal(b'\\');
        let escaped = self.escapes.of(backslashes, length);
        let quotes = block.equal(b'"') & !escaped;
        let control = if block.any_control() { block.control() } else { 0 };
        if quotes == 0 && control == 0 && self.in_string != 0 {
            return Walked::More;
        }
        let inside = running_parity(quotes) ^ self.in_string;
        self.in_string = (inside.cast_signed() >> 63).cast_unsigned();
        let mut wrong = (control & inside) | ((block.foreign() | backslashes) & !inside);
        if control & !inside != 0 {
            wrong |= control & !inside & !blanks(block);
        }
        let brackets = block.bracket() & !inside;
        if wrong == 0 {
            return self.match_brackets(brackets, bytes);
        }
        let first = wrong.trailing_zeros() as usize;
        match self.match_brackets(brackets & ((1 << first) - 1), bytes) {
            Walked::More if inside >> first & 1 == 0 => Walked::Wrong(JsonErrorKind::Stray, first),
            Walked::More => Walked::Wrong(JsonErrorKind::ControlInString, first),
            ended => ended,
        }
    }

    #[inline(always)]
    fn match_brackets(&mut self, mut brackets: u64, bytes: &[u8]) -> Walked {
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            // `[ ] { }` are 5b, 5d, 7b, 7d: one bit tells the kind, another the side.
            let bracket = bytes.get(place).copied().unwrap_or_default();
            let kind = u128::from(bracket >> 5 & 1);
            if bracket & 2 != 0 {
                if self.depth == self.depth_max {
                    return Walked::Wrong(JsonErrorKind::TooDeep, place);
                }
                self.kinds = self.kinds << 1 | kind;
                self.depth += 1;
            } else {
                if self.depth == 0 || self.kinds & 1 != kind {
                    return Walked::Wrong(JsonErrorKind::WrongBracket, place);
                }
                self.kinds >>= 1;
                self.depth -= 1;
                if self.depth == 0 {
                    return Walked::Done(place + 1);
                }
            }
        }
        Walked::More
    }
}

/// Which bytes a backslash takes the meaning from. Runs of backslashes pair up, so only the byte behind a run of odd
/// length is escaped; a run may go on into the next block.
#[derive(Clone, Copy, Debug, Default)]
struct Escapes {
    /// 1 if the first byte of the next block is escaped.
    first: u64,
}

impl Escapes {
    #[inline(always)]
    fn pending(self) -> bool {
        self.first != 0
    }

    /// Inside a string, at `at`, where `block` begins: how many bytes there are, in whole blocks, before the next quote
    /// or control character.
    #[inline(always)]
    fn skip_text(&mut self, block: &Block, bytes: &[u8], at: usize, clean: bool) -> usize {
        if self.pending() || block.any(b'"') {
            return 0;
        }
        let rest = &bytes[at..];
        let whole_blocks = |length: usize| length / BLOCK_BYTES * BLOCK_BYTES;
        let mut length = whole_blocks(memchr(b'"', rest).unwrap_or(rest.len()));
        if !clean && has_control(&rest[..length]) {
            let is_control = |byte: &u8| *byte < 0x20;
            length = whole_blocks(rest.iter().position(is_control).unwrap_or(0));
        }
        let text = &rest[..length];
        // Only what stands in front of a quote can take its meaning from it.
        let backslashes = text.iter().rev().take_while(|&&byte| byte == b'\\').count();
        self.first = backslashes as u64 & 1;
        length
    }

    /// The escaped bytes of a block of which `length` bytes count.
    #[inline(always)]
    fn of(&mut self, backslashes: u64, length: usize) -> u64 {
        let runs = backslashes & !self.first;
        let before = std::mem::take(&mut self.first);
        if runs == 0 {
            // A block of no bytes leaves what it found.
            self.first = before & u64::from(length == 0);
            return before;
        }
        let starts = runs & !(runs << 1);
        // Adding its start to a run carries into the bit behind it; with the start's parity that tells the length's.
        let behind_even = runs.wrapping_add(starts & EVEN) & !runs;
        let (behind_odd, overflow) = runs.overflowing_add(starts & !EVEN);
        let escaped = (behind_even & !EVEN) | (behind_odd & !runs & EVEN);
        self.first = match length {
            BLOCK_BYTES => u64::from(overflow),
            _ => escaped >> length & 1,
        };
        escaped | before
    }
}

const EVEN: u64 = 0x5555_5555_5555_5555;

/// Bit i of the result: whether an odd number of the bits 0 to i is set. Between quotes, that is inside a string.
#[inline(always)]
fn running_parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Where a control character stands that JSON allows between values.
#[inline(always)]
fn blanks(block: &Block) -> u64 {
    block.equal(b'\n') | block.equal(b'\r') | block.equal(b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_follow_the_byte_by_byte_rule() {
        let mut state = 7_u64;
        for round in 0..20_000 {
            let length = if round % 3 == 0 { (round / 3) % 64 + 1 } else { 64 };
            let bits = (0..3).fold(!0, |bits: u64, _| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if round % 2 == 0 { bits & (state ^ state >> 33) } else { bits ^ state >> 7 }
            });
            let counted = if length < 64 { (1 << length) - 1 } else { !0 };
            let backslashes = bits & counted;
            for first in 0..2 {
                let (mut want, mut escaped) = (0, first == 1);
                for place in 0..length {
                    want |= u64::from(escaped) << place;
                    escaped = !escaped && backslashes >> place & 1 == 1;
                }
                let mut escapes = Escapes { first };
                // Backslashes inside a run are of no interest: only what they escape at its end.
                let got = escapes.of(backslashes, length) & counted;
                assert_eq!(got & !backslashes, want & !backslashes, "round {round}");
                assert_eq!(escapes.pending(), escaped, "round {round}");
            }
        }
    }

    #[test]
    fn parity_runs_from_quote_to_quote() {
        assert_eq!(running_parity(0b0100_0010), 0b0011_1110);
        assert_eq!(running_parity(1), !0);
    }

    #[test]
    fn a_string_walk_pauses_anywhere() {
        let text = br#"plain \" and \\\" then\\" tail"#;
        let end = text.len() - b" tail".len();
        for cut in 0..=end {
            let mut walk = StringWalk::default();
            let walked = match walk.feed(&text[..cut], 0) {
                Walked::More => walk.feed(text, cut),
                walked => walked,
            };
            assert_eq!(walked, Walked::Done(end), "cut at {cut}");
        }
    }

    /// Long runs without a quote are skipped: that must not lose a backslash before one, nor a control character.
    #[test]
    fn long_strings_end_where_the_byte_by_byte_rule_says() {
        let mut state = 3_u64;
        let mut dice = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as usize
        };
        for round in 0..20_000 {
            let length = dice() % 500;
            let rarity = 10 + dice() % 400;
            let text: Vec<u8> = (0..length)
                .map(|_| match dice() % rarity {
                    0 | 1 => b'"',
                    2..5 => b'\\',
                    5 if round % 4 == 0 => b'\n',
                    _ => b'x',
                })
                .collect();
            let mut want = Walked::More;
            let mut escaped = false;
            for (at, &byte) in text.iter().enumerate() {
                match byte {
                    b'"' if !escaped => want = Walked::Done(at + 1),
                    b'\n' => want = Walked::Wrong(JsonErrorKind::ControlInString, at),
                    _ => {
                        escaped = byte == b'\\' && !escaped;
                        continue;
                    }
                }
                break;
            }
            let clean = !text.contains(&b'\n');
            assert_eq!(StringWalk::new(clean).feed(&text, 0), want, "round {round}");
            assert_eq!(StringWalk::new(false).feed(&text, 0), want, "round {round}");
            let nested = [b"[\"", &text[..], b"]"].concat();
            let nest = NestWalk::new(1, clean).feed(&nested, 0);
            match want {
                Walked::Done(end) if end == text.len() => {
                    assert_eq!(nest, Walked::Done(nested.len()), "round {round}");
                }
                Walked::Done(_) => {}
                other => assert_eq!(nest, other.behind(2), "round {round}"),
            }
        }
    }

    #[test]
    fn nests_end_where_they_began_or_say_what_is_wrong() {
        let walk = |text: &str| NestWalk::new(1, false).feed(text.as_bytes(), 0);
        assert_eq!(walk(r#"{"a":[1,"]}",{}]},"b":2}"#), Walked::Done(17));
        assert_eq!(walk("[{]}"), Walked::Wrong(JsonErrorKind::WrongBracket, 2));
        assert_eq!(walk("[\"a\nb\"]"), Walked::Wrong(JsonErrorKind::ControlInString, 3));
        assert_eq!(walk("[/**/]"), Walked::Wrong(JsonErrorKind::Stray, 1));
        assert_eq!(walk("['\"']"), Walked::Wrong(JsonErrorKind::Stray, 1));
        assert_eq!(walk("[\u{1}]"), Walked::Wrong(JsonErrorKind::Stray, 1));
        assert_eq!(walk("[\r\n\t 1] \u{1}é"), Walked::Done(7));
        assert_eq!(walk("[["), Walked::More);
        let deepest = JSON_DEPTH_MAX - 1;
        let text = "[".repeat(deepest) + &"]".repeat(deepest);
        assert_eq!(walk(&text), Walked::Done(2 * deepest));
        let text = "[".repeat(deepest + 1);
        assert_eq!(walk(&text), Walked::Wrong(JsonErrorKind::TooDeep, deepest));
    }
}
