//! Sixty-four bytes at a time: which of them are quotes, brackets, control characters, as bit masks.

use wide::u8x16;

/// Bytes in a block: one bit of a mask each.
pub(super) const BLOCK_BYTES: usize = 64;

/// The block that starts at `at`, if it is there in whole.
#[inline(always)]
pub(super) fn load(bytes: &[u8], at: usize) -> Option<Block> {
    Some(Block::new(bytes.get(at..)?.first_chunk()?))
}

/// The block of the last bytes, fewer than a block has, with blanks behind them.
#[inline(always)]
pub(super) fn load_tail(bytes: &[u8]) -> Block {
    let mut padded = [b' '; BLOCK_BYTES];
    for (padded, byte) in padded.iter_mut().zip(bytes) {
        *padded = *byte;
    }
    Block::new(&padded)
}

/// How many bytes stand before the first quote among the sixteen at `at`; `None` where there is none, or something
/// that is special before it. Most strings of a body are shorter than that.
#[inline(always)]
pub(super) fn short_string(bytes: &[u8], at: usize) -> Option<usize> {
    let lane = u8x16::new(*bytes.get(at..)?.first_chunk()?);
    let quotes = equal(lane, b'"');
    let special = (quotes | equal(lane, b'\\') | control(lane)).to_bitmask();
    let first = special & special.wrapping_neg();
    (quotes.to_bitmask() & first != 0).then_some(first.trailing_zeros() as usize)
}

/// Whether a byte means something inside a string: a quote, a backslash, a control character.
#[inline(always)]
pub(super) fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Sixty-four bytes in four vectors. Bit i of a mask speaks of byte i.
///
/// Nothing that takes a block may stay a call: its vectors would have to pass through memory, and a scan would take
/// four times as long (measured). Hence the many `inline(always)`.
#[derive(Clone, Copy)]
pub(super) struct Block([u8x16; 4]);

impl Block {
    #[inline(always)]
    fn new(bytes: &[u8; BLOCK_BYTES]) -> Block {
        let (lanes, _) = bytes.as_chunks::<16>();
        let lane = |index: usize| u8x16::new(lanes[index]);
        Block([lane(0), lane(1), lane(2), lane(3)])
    }

    /// Where `byte` stands.
    #[inline(always)]
    pub(super) fn equal(&self, byte: u8) -> u64 {
        self.mask(|lane| equal(lane, byte))
    }

    /// Where a control character stands.
    #[inline(always)]
    pub(super) fn control(&self) -> u64 {
        self.mask(control)
    }

    /// Where one of `{ } [ ]` stands.
    #[inline(always)]
    pub(super) fn bracket(&self) -> u64 {
        self.mask(|lane| {
            let folded = lane | u8x16::splat(0x20);
            equal(folded, b'{') | equal(folded, b'}')
        })
    }

    /// Where a byte stands that JSON has in strings only: not ASCII, `'` or `/`.
    #[inline(always)]
    pub(super) fn foreign(&self) -> u64 {
        self.mask(|lane| lane | equal(lane | u8x16::splat(0x08), b'/'))
    }

    /// Whether there is a control character at all.
    #[inline(always)]
    pub(super) fn any_control(&self) -> bool {
        let [a, b, c, d] = self.0;
        control(a.min(b).min(c.min(d))).to_bitmask() != 0
    }

    /// Whether there is a quote, a backslash or a control character at all.
    #[inline(always)]
    pub(super) fn any_special(&self) -> bool {
        // A quote is 22: without its bit of 2 it is the next value behind the control characters.
        let [a, b, c, d] = self.0.map(|lane| lane ^ u8x16::splat(2));
        let least = a.min(b).min(c.min(d));
        let plain = least.min(u8x16::splat(0x20)).simd_eq(least);
        let [a, b, c, d] = self.0.map(|lane| equal(lane, b'\\'));
        (plain | a | b | c | d).to_bitmask() != 0
    }

    /// `test` sets the top bit of the bytes it means.
    #[inline(always)]
    fn mask(&self, test: impl Fn(u8x16) -> u8x16) -> u64 {
        let bits = |lane| u64::from(test(lane).to_bitmask());
        let [a, b, c, d] = self.0;
        bits(a) | bits(b) << 16 | bits(c) << 32 | bits(d) << 48
    }
}

#[inline(always)]
fn equal(lane: u8x16, byte: u8) -> u8x16 {
    lane.simd_eq(u8x16::splat(byte))
}

#[inline(always)]
fn control(lane: u8x16) -> u8x16 {
    lane.min(u8x16::splat(0x1f)).simd_eq(lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value at every place of a block, among neighbours that could disturb it.
    #[test]
    fn masks_find_every_byte_value_everywhere() {
        for fill in [0x00, b' ', b'"', 0xff] {
            for place in 0..BLOCK_BYTES {
                for value in 0..=255 {
                    let mut bytes = [fill; BLOCK_BYTES];
                    bytes[place] = value;
                    check(&bytes);
                }
            }
        }
    }

    fn check(bytes: &[u8; BLOCK_BYTES]) {
        let want = |test: fn(u8) -> bool| {
            bytes.iter().rev().fold(0, |mask: u64, &byte| mask << 1 | u64::from(test(byte)))
        };
        let block = Block::new(bytes);
        assert_eq!(block.bracket(), want(|byte| b"{}[]".contains(&byte)));
        assert_eq!(block.foreign(), want(|byte| !byte.is_ascii() || b"'/".contains(&byte)));
        assert_eq!(block.control(), want(|byte| byte < 0x20));
        assert_eq!(block.equal(b'"'), want(|byte| byte == b'"'));
        assert_eq!(block.any_control(), want(|byte| byte < 0x20) != 0);
        assert_eq!(block.any_special(), want(is_special) != 0);
    }

    #[test]
    fn a_tail_is_padded_with_blanks() {
        assert_eq!(load_tail(b"b\"").equal(b'"'), 2);
        assert_eq!(load_tail(b"b\"").equal(b' '), !3);
        assert_eq!(load_tail(b"").equal(b' '), !0);
        assert!(load(&[0; 64], 0).is_some());
        assert!(load(&[0; 64], 1).is_none());
        assert!(load(b"", 5).is_none());
    }

    #[test]
    fn short_strings_end_at_a_quote_that_nothing_special_precedes() {
        assert_eq!(short_string(b"xabc\": 1, \"d\": 2  ", 1), Some(3));
        assert_eq!(short_string(b"\"bc\": 1, \"d\": 2  ", 0), Some(0));
        assert_eq!(short_string(b"a\\\"bc\": 1, \"d\": 2  ", 0), None);
        assert_eq!(short_string(b"a\n\"bc\": 1, \"d\": 2  ", 0), None);
        assert_eq!(short_string(b"abcdefghijklmnop\"", 0), None);
        assert_eq!(short_string(b"abc\"", 0), None);
    }
}
