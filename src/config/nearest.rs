//! Which of the known words a mistyped one was meant to be.

/// The nearest of `known` to `name`, if one is near enough to be meant.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > WORD_BYTES_MAX {
        return None;
    }
    let name_lower = name.to_ascii_lowercase().replace('-', "_");
    known
        .filter(|word| word.len().abs_diff(name.len()) <= MOVES_MAX)
        .map(|word| (moves(&name_lower, &word.to_ascii_lowercase().replace('-', "_")), word))
        .filter(|&(moves, word)| moves <= MOVES_MAX.min(word.len().max(name.len()).div_ceil(3)))
        .filter(|&(moves, word)| moves < word.len().min(name.len()))
        .min_by_key(|&(moves, _)| moves)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn moves(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// More moves than this and another word was meant.
const MOVES_MAX: usize = 3;
/// Longer words are not compared: the comparison takes the product of the lengths.
const WORD_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let known = ["virtual_keys", "listen", "log", "limits", "api_keys"];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("virtual-keys"), Some("virtual_keys"));
        assert_eq!(near("lisetn"), Some("listen"));
        assert_eq!(near("limit"), Some("limits"));
        assert_eq!(near("Listen"), Some("listen"));
        assert_eq!(near("quite_else"), None);
        assert_eq!(near("x"), None);
        assert_eq!(near(&"virtual_keys".repeat(10_000)), None);
    }
}
