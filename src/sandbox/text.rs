//! The text of an answer, cut into the chunks in which it is streamed, and the rule by which tokens are counted.

use super::script::Script;

/// Text in chunks. More chunks than words go round and round.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    /// Where each piece of `text` ends.
    ends: Vec<usize>,
    count: usize,
}

impl Text {
    /// The text of one answer: the script's filler or words, else `words`.
    #[must_use]
    pub fn of(script: &Script, words: String) -> Text {
        match (script.chunk_bytes, &script.text) {
            (Some(chunk_bytes), _) => Text::filler(chunk_bytes, script.chunks),
            (None, Some(text)) => Text::words(text.clone(), script.chunks),
            (None, None) => Text::words(words, script.chunks),
        }
    }

    /// A word a chunk, `chunks` of them.
    #[must_use]
    pub fn words(text: String, chunks: Option<usize>) -> Text {
        let mut end = 0;
        let ends: Vec<usize> = text
            .split_inclusive(' ')
            .map(|word| {
                end += word.len();
                end
            })
            .collect();
        let count = chunks.unwrap_or(ends.len());
        Text { text, ends, count }
    }

    fn filler(chunk_bytes: usize, chunks: Option<usize>) -> Text {
        let text: String = FILLER.chars().cycle().take(chunk_bytes).collect();
        Text { ends: vec![text.len()], text, count: chunks.unwrap_or(FILLER_CHUNKS) }
    }

    /// How many chunks there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// One chunk, counted from 0.
    #[must_use]
    pub fn chunk(&self, index: usize) -> &str {
        let piece = index.checked_rem(self.ends.len()).unwrap_or(0);
        let end = self.ends.get(piece).copied().unwrap_or(0);
        let start = piece.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        self.text.get(start.unwrap_or(0)..end).unwrap_or("")
    }

    /// How long all chunks are together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let pieces = self.ends.len();
        let Some(rounds) = self.count.checked_div(pieces) else { return 0 };
        let last = (self.count % pieces).checked_sub(1).and_then(|piece| self.ends.get(piece));
        rounds as u64 * self.text.len() as u64 + last.map_or(0, |end| *end as u64)
    }

    /// Keeps as many chunks as fit into so many bytes, but at least one. True if some were left out.
    pub fn shorten(&mut self, bytes_max: u64) -> bool {
        let mut bytes = 0_u64;
        let fitting = (0..self.count).take_while(|index| {
            bytes += self.chunk(*index).len() as u64;
            bytes <= bytes_max
        });
        let kept = fitting.count().max(1);
        let cut = kept < self.count;
        self.count = self.count.min(kept);
        cut
    }

    /// All chunks as one.
    #[must_use]
    pub fn whole(&self) -> String {
        (0..self.count).map(|index| self.chunk(index)).collect()
    }
}

/// The sandbox's rule: a token is four bytes, begun ones included.
#[must_use]
pub fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(TOKEN_BYTES)
}

/// Bytes of a token by the sandbox's rule.
pub const TOKEN_BYTES: u64 = 4;
const FILLER: &str = "the quick brown fox jumps over the lazy dog ";
/// Chunks of filler where the script names no number.
const FILLER_CHUNKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &Text) -> Vec<&str> {
        (0..text.count()).map(|index| text.chunk(index)).collect()
    }

    #[test]
    fn words_are_the_chunks() {
        let text = Text::words("grüß dich, Welt".into(), None);
        assert_eq!(chunks(&text), ["grüß ", "dich, ", "Welt"]);
        assert_eq!(text.whole(), "grüß dich, Welt");
        assert_eq!(text.bytes(), text.whole().len() as u64);
    }

    #[test]
    fn more_chunks_than_words_go_round() {
        let text = Text::words("a bc".into(), Some(5));
        assert_eq!(chunks(&text), ["a ", "bc", "a ", "bc", "a "]);
        assert_eq!(text.bytes(), text.whole().len() as u64);
        assert_eq!(Text::words("a bc".into(), Some(1)).whole(), "a ");
    }

    #[test]
    fn no_text_is_no_chunk_and_never_a_panic() {
        assert_eq!(Text::words(String::new(), None).count(), 0);
        let text = Text::words(String::new(), Some(3));
        assert_eq!(chunks(&text), ["", "", ""]);
        assert_eq!(text.bytes(), 0);
    }

    #[test]
    fn filler_has_the_size_asked_for() {
        let script: Script = "chunk_bytes=100&chunks=3".parse().expect("a script");
        let text = Text::of(&script, "unused".into());
        assert!(chunks(&text).iter().all(|chunk| chunk.len() == 100));
        assert_eq!(text.bytes(), 300);
    }

    #[test]
    fn shortening_keeps_what_fits() {
        let mut text = Text::words("aa bb cc".into(), None);
        assert!(!text.clone().shorten(8));
        assert!(text.shorten(6));
        assert_eq!(text.whole(), "aa bb ");
        assert!(text.shorten(0));
        assert_eq!(text.whole(), "aa ");
    }
}
