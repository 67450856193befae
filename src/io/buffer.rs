//! Bytes on their way out: parts that are written in order. They are gathered without a copy; a driver copies those of
//! a short list together when it takes them.

use std::cell::RefCell;

use bytes::{Buf, Bytes};

use crate::base::limits;

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

    /// Whether what is left is so short that it is joined into one piece and not written as a vector.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.len() <= limits::JOINED_WRITE_BYTES
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

/// A core's written lists, given out again for their allocations: few are in use at a time, and those are warm.
#[derive(Default)]
pub struct Lists {
    free: RefCell<Vec<WriteList>>,
}

impl Lists {
    /// An empty list to fill.
    #[must_use]
    pub fn take(&self) -> WriteList {
        self.free.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a list back.
    pub fn give(&self, mut list: WriteList) {
        list.clear();
        let mut free = self.free.borrow_mut();
        if free.len() < limits::POOLED_LISTS_MAX
            && list.parts.capacity() <= limits::POOLED_LIST_PARTS_MAX
        {
            free.push(list);
        }
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
    fn a_list_that_grew_is_let_go_and_others_come_back_empty() {
        let lists = Lists::default();
        lists.give(list(&["x"; limits::POOLED_LIST_PARTS_MAX + 1]));
        assert_eq!(lists.take().parts.capacity(), 0);
        lists.give(list(&["left"]));
        let again = lists.take();
        assert!(again.is_empty() && again.parts.capacity() > 0);
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
