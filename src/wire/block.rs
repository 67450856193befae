//! Sixty-four bytes at a time: which of them are quotes, brackets, line ends, control characters, as bit masks.

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
    let length = bytes.len().min(BLOCK_BYTES);
    padded[..length].copy_from_slice(&bytes[..length]);
    Block::new(&padded)
}

/// Which kinds of byte a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    /// Nothing beyond ASCII.
    pub(super) ascii: bool,
    /// A control character.
    pub(super) control: bool,
}

/// Looks at every byte once, five bytes an instruction.
pub(super) fn kinds(bytes: &[u8]) -> Kinds {
    let (mut all, mut least) = (u8x16::splat(0), u8x16::splat(0xff));
    let mut note = |block: Block| {
        let [a, b, c, d] = block.0;
        all = (all | a | b) | (c | d);
        least = least.min(a.min(b)).min(c.min(d));
    };
    let (blocks, tail) = bytes.as_chunks();
    blocks.iter().for_each(|block| note(Block::new(block)));
    note(load_tail(tail));
    Kinds { ascii: all.to_bitmask() == 0, control: control(least).to_bitmask() != 0 }
}

/// Whether there is a control character in these whole blocks.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    let mut least = u8x16::splat(0xff);
    let (blocks, _) = bytes.as_chunks();
    for block in blocks {
        let [a, b, c, d] = Block::new(block).0;
        least = least.min(a.min(b).min(c.min(d)));
    }
    control(least).to_bitmask() != 0
}

/// Whether it is visible ASCII, blanks, CR and LF, and nothing else.
pub(super) fn is_visible_text(bytes: &[u8]) -> bool {
    let visible = |lane: u8x16| {
        let above_blank = lane - u8x16::splat(b' ');
        above_blank.min(u8x16::splat(b'~' - b' ')).simd_eq(above_blank)
    };
    let fits = |lane| visible(lane) | equal(lane, b'\r') | equal(lane, b'\n');
    let all_fit = |Block([a, b, c, d])| (fits(a) & fits(b)) & (fits(c) & fits(d));
    let (blocks, tail) = bytes.as_chunks();
    let whole = blocks.iter().map(|block| all_fit(Block::new(block)));
    whole.fold(all_fit(load_tail(tail)), |all, block| all & block).to_bitmask() == 0xffff
}

/// How many letters, digits and hyphens there are from the front on: most header names have nothing else.
#[inline(always)]
pub(super) fn name_length(bytes: &[u8]) -> usize {
    let within = |lane: u8x16, first: u8, last: u8| {
        let above_first = lane - u8x16::splat(first);
        above_first.min(u8x16::splat(last - first)).simd_eq(above_first)
    };
    run_length(bytes, |lane| {
        let letters = within(lane | u8x16::splat(0x20), b'a', b'z');
        letters | within(lane, b'0', b'9') | equal(lane, b'-')
    })
}

/// How many bytes stand before the first carriage return, or in all.
#[inline(always)]
pub(super) fn line_length(bytes: &[u8]) -> usize {
    run_length(bytes, |lane| !equal(lane, b'\r'))
}

/// How many bytes from the front on are of a kind that a carriage return is not of.
#[inline(always)]
fn run_length(bytes: &[u8], is_of_it: impl Fn(u8x16) -> u8x16) -> usize {
    let others = |lane: [u8; 16]| !is_of_it(u8x16::new(lane)).to_bitmask() & 0xffff;
    let (lanes, tail) = bytes.as_chunks();
    for (index, lane) in lanes.iter().enumerate() {
        let others = others(*lane);
        if others != 0 {
            return index * 16 + others.trailing_zeros() as usize;
        }
    }
    let mut padded = [b'\r'; 16];
    padded[..tail.len()].copy_from_slice(tail);
    let of_tail = (others(padded).trailing_zeros() as usize).min(tail.len());
    lanes.len() * 16 + of_tail
}

/// How many bytes stand before the first quote at or behind `at`; `None` where something special is before it, or it is
/// not near. Most strings of a body but its longest are short enough.
#[inline(always)]
pub(super) fn short_string(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let (lanes, tail) = rest.as_chunks();
    for (index, lane) in lanes.iter().take(SHORT_LANES_MAX).enumerate() {
        let lane = u8x16::new(*lane);
        let quotes = equal(lane, b'"');
        let special = (quotes | equal(lane, b'\\') | control(lane)).to_bitmask();
        if special != 0 {
            let first = special & special.wrapping_neg();
            let is_quote = quotes.to_bitmask() & first != 0;
            return is_quote.then_some(index * 16 + first.trailing_zeros() as usize);
        }
    }
    if lanes.len() >= SHORT_LANES_MAX {
        return None;
    }
    let length = tail.iter().position(|&byte| is_special(byte))?;
    (tail[length] == b'"').then_some(lanes.len() * 16 + length)
}

/// Where a string is longer, the steps of a whole block are cheaper.
const SHORT_LANES_MAX: usize = 3;

/// Whether a byte means something inside a string: a quote, a backslash, a control character.
#[inline(always)]
pub(super) fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Whether nothing in these bytes means something inside a string: for names and the like.
#[inline]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let lane = |bytes: [u8; 16]| {
        let lane = u8x16::new(bytes);
        equal(lane, b'"') | equal(lane, b'\\') | control(lane)
    };
    let Some(last) = bytes.last_chunk() else {
        return !bytes.iter().any(|&byte| is_special(byte));
    };
    let (chunks, _) = bytes.as_chunks();
    let special = chunks.iter().fold(lane(*last), |special, chunk| special | lane(*chunk));
    special.to_bitmask() == 0
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

    /// Where one of `bytes` stands.
    #[inline(always)]
    pub(super) fn equal_any<const N: usize>(&self, bytes: [u8; N]) -> u64 {
        let none = u8x16::splat(0);
        self.mask(|lane| bytes.into_iter().fold(none, |found, byte| found | equal(lane, byte)))
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

    /// Whether `byte` stands there at all.
    #[inline(always)]
    pub(super) fn any(&self, byte: u8) -> bool {
        let [a, b, c, d] = self.0.map(|lane| equal(lane, byte));
        ((a | b) | (c | d)).to_bitmask() != 0
    }

    /// Whether there is anything that a block of plain structure has not: a control character, a backslash, what
    /// [`Block::foreign`] means.
    #[inline(always)]
    pub(super) fn any_odd(&self) -> bool {
        let [a, b, c, d] = self.0;
        let least = a.min(b).min(c.min(d));
        let [e, f, g, h] =
            self.0.map(|lane| lane | equal(lane, b'\\') | equal(lane | u8x16::splat(0x08), b'/'));
        (control(least) | (e | f) | (g | h)).to_bitmask() != 0
    }

    /// Whether there is a control character at all.
    #[inline(always)]
    pub(super) fn any_control(&self) -> bool {
        let [a, b, c, d] = self.0;
        control(a.min(b).min(c.min(d))).to_bitmask() != 0
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
        for fill in [0x00, b' ', b'"', b'n', 0xff] {
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
        assert_eq!(block.equal_any([b'"', b' ', 0xff]), want(|byte| b"\" \xff".contains(&byte)));
        assert_eq!(block.any_control(), want(|byte| byte < 0x20) != 0);
        let odd = |byte: u8| byte < 0x20 || !byte.is_ascii() || b"'/\\".contains(&byte);
        assert_eq!(block.any_odd(), want(odd) != 0);
        assert_eq!(block.any(b'"'), want(|byte| byte == b'"') != 0);
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        for length in [BLOCK_BYTES, BLOCK_BYTES - 1, 3, 0] {
            let bytes = &bytes[..length];
            let names = bytes.iter().take_while(|byte| is_of_name(byte)).count();
            assert_eq!(name_length(bytes), names);
            let line = bytes.iter().take_while(|&&byte| byte != b'\r').count();
            assert_eq!(line_length(bytes), line);
        }
        let visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n');
        for length in [BLOCK_BYTES, BLOCK_BYTES - 1] {
            let bytes = &bytes[..length];
            assert_eq!(is_visible_text(bytes), bytes.iter().all(visible));
            let more = [bytes, &[b'x'; 100]].concat();
            assert_eq!(is_visible_text(&more), bytes.iter().all(visible));
        }
        let kinds = Kinds { ascii: bytes.is_ascii(), control: block.any_control() };
        for bytes in [&bytes[..], &bytes.repeat(3)[..]] {
            assert_eq!(super::kinds(bytes), kinds);
            assert_eq!(has_control(bytes), kinds.control);
        }
    }

    #[test]
    fn plain_text_has_nothing_special_anywhere() {
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 50] {
            let mut bytes = vec![b'x'; length];
            assert!(is_plain(&bytes));
            for place in 0..length {
                for value in 0..=255 {
                    bytes[place] = value;
                    assert_eq!(is_plain(&bytes), !is_special(value), "{value} at {place}");
                }
                bytes[place] = b'x';
            }
        }
    }

    #[test]
    fn a_tail_is_padded_with_blanks() {
        assert_eq!(load_tail(b"b\"").equal(b'"'), 2);
        assert_eq!(load_tail(b"b\"").equal(b' '), !3);
        assert_eq!(load_tail(b"").equal(b' '), !0);
        assert_eq!(load_tail(&[b'x'; 2 * BLOCK_BYTES]).equal(b'x'), !0);
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
        assert_eq!(short_string(b"abc\"", 0), Some(3));
        assert_eq!(short_string(b"abc\n\"", 0), None);
        assert_eq!(short_string(b"abc", 0), None);
        assert_eq!(short_string(b"", 5), None);
        for length in 0..70 {
            for behind in [0, 1, 40] {
                let text = [&vec![b'x'; length][..], b"\"", &vec![b'y'; behind]].concat();
                let near = length < 16 * SHORT_LANES_MAX || text.len() < 16 * SHORT_LANES_MAX;
                assert_eq!(short_string(&text, 0), near.then_some(length), "{length}, {behind}");
                let special = [b"\\", &text[..]].concat();
                assert_eq!(short_string(&special, 0), None);
            }
        }
    }
}
