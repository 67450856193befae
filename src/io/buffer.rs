//! Bytes on their way out: parts that are written in order, none of them copied into one buffer first.

use bytes::{Buf, Bytes};

/// Bytes to write, in order. Reusable: a finished write hands it back empty, with its allocations.
#[derive(Default)]
pub struct WriteList {
    parts: Vec<Bytes>,
    /// Parts before this one are written.
    next: usize,
}

impl WriteList {
    /// An empty list.
    #[must_use]
    pub fn new() -> WriteList {
        WriteList::default()
    }

    /// A list of one part.
    #[must_use]
    pub fn of(part: Bytes) -> WriteList {
        let mut list = WriteList::new();
        list.push(part);
        list
    }

    /// Appends a part; an empty one is left out.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }

    /// Appends several parts, in order.
    pub fn extend(&mut self, parts: impl IntoIterator<Item = Bytes>) {
        parts.into_iter().for_each(|part| self.push(part));
    }

    /// What is left to write, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rest().iter().map(Bytes::len).sum()
    }

    /// Whether nothing is left to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// The parts that are left to write.
    #[must_use]
    pub fn rest(&self) -> &[Bytes] {
        self.parts.get(self.next..).unwrap_or_default()
    }

    /// Notes that `written` bytes from the front are out.
    pub fn advance(&mut self, mut written: usize) {
        while let Some(part) = self.parts.get_mut(self.next) {
            if written < part.len() {
                part.advance(written);
                return;
            }
            written -= part.len();
            part.clear();
            self.next += 1;
        }
        self.clear();
    }

    /// Lets go of all parts; the allocations stay.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[&'static str]) -> WriteList {
        let mut list = WriteList::new();
        list.extend(parts.iter().map(|part| Bytes::from_static(part.as_bytes())));
        list
    }

    #[test]
    fn partial_writes_leave_exactly_the_rest() {
        for written in 0..=11 {
            let mut list = list(&["hello", "", " ", "world"]);
            list.advance(written);
            let rest: Vec<u8> = list.rest().iter().flatten().copied().collect();
            assert_eq!(rest, &b"hello world"[written..]);
        }
    }

    #[test]
    fn a_finished_list_is_empty_and_reusable() {
        let mut list = list(&["a", "b"]);
        list.advance(2);
        assert!(list.is_empty());
        list.push(Bytes::from_static(b"c"));
        assert_eq!(list.len(), 1);
    }
}
