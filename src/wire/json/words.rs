//! Looks for quoted words in JSON text, all of them in one pass. Own code, because it runs on every event of every
//! stream: three searches by `memmem`, each with its own start and end, took three times the instructions.

use crate::wire::block::{BLOCK_BYTES, load, load_tail};

/// Whether one of `words` stands in `text` and is meant. Words begin with their quote and go on with a letter;
/// `is_meant` gets the offset behind one.
#[inline]
pub fn has_word<const N: usize>(
    text: &[u8],
    words: [&[u8]; N],
    mut is_meant: impl FnMut(usize) -> bool,
) -> bool {
    let letters = words.map(|word| word.get(1).copied().unwrap_or_default());
    let mut is_quoted = 0; // whether the first byte of the block at hand is behind a quote
    let mut at = 0;
    while at < text.len() {
        let block = load(text, at).unwrap_or_else(|| load_tail(&text[at..]));
        let quotes = block.equal(b'"');
        let mut starts = (quotes << 1 | is_quoted) & block.equal_any(letters);
        is_quoted = quotes >> (BLOCK_BYTES - 1);
        while starts != 0 {
            let start = at + starts.trailing_zeros() as usize - 1;
            starts &= starts - 1;
            let here = &text[start..];
            let mut found = words.iter().filter(|word| here.starts_with(word));
            if found.any(|word| is_meant(start + word.len())) {
                return true;
            }
        }
        at += BLOCK_BYTES;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_they_stand() {
        const WORDS: [&[u8]; 2] = [b"\"usage\"", b"\"error\""];
        for before in 0..200 {
            for behind in [0, 1, 70] {
                for word in WORDS {
                    let text = [&vec![b'"'; before][..], word, &vec![b'u'; behind][..]].concat();
                    let mut ends = Vec::new();
                    assert!(!has_word(&text, WORDS, |end| {
                        ends.push(end);
                        false
                    }));
                    assert_eq!(ends, [before + word.len()]);
                    assert!(has_word(&text, WORDS, |_| true));
                    assert!(!has_word(&text[..before + word.len() - 1], WORDS, |_| true));
                }
            }
        }
        assert!(!has_word(b"", WORDS, |_| true));
        assert!(!has_word(br#"usage" "uses" \"error\""#, WORDS, |_| true));
    }
}
