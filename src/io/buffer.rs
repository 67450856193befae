//! The one type that owns its parts and its iovecs for a vectored write, and the only unsafe code of Trunkline.
//!
//! A vectored write hands the kernel an array of pointers. The runtime keeps whatever it was given alive until the
//! kernel is done, also when the future is dropped; so the array and everything it points to must be in one value.
#![expect(unsafe_code, reason = "IoVecBuf is an unsafe trait; the invariant is stated at its impl")]
#![expect(clippy::disallowed_types, reason = "this is the one home of libc::iovec")]

use bytes::{Buf, Bytes};
use libc::iovec;
use monoio::buf::IoVecBuf;

use crate::base::limits;

/// Bytes to write, in order. Reusable: a finished write hands it back empty, with its allocations.
#[derive(Default)]
pub struct WriteList {
    parts: Vec<Bytes>,
    /// Parts before this one are written.
    next: usize,
    /// Points into `parts[next..]`; rebuilt before each write, read by the kernel during it.
    iovecs: Vec<iovec>,
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
        self.iovecs.clear();
        self.next = 0;
    }

    /// Points the iovecs at what is left to write.
    pub(super) fn prepare(&mut self) {
        self.iovecs.clear();
        let rest = self.parts.get(self.next..).unwrap_or_default();
        self.iovecs.extend(
            rest.iter().take(limits::IOVECS_MAX).map(|part| iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            }),
        );
    }
}

// SAFETY: `iovecs` is a heap array that moves with the list without changing its address, and each entry points
// into a `Bytes` of the same list, whose bytes are immutable and live as long as the `Bytes`. Nothing in this file
// touches `parts` or `iovecs` while the runtime owns the list, since it owns it by value.
unsafe impl IoVecBuf for WriteList {
    fn read_iovec_ptr(&self) -> *const iovec {
        self.iovecs.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.iovecs.len()
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

    #[test]
    fn moving_the_list_keeps_its_iovecs_valid() {
        let mut list = list(&["abc", "de"]);
        list.prepare();
        let moved = Box::new(list);
        let lengths: Vec<usize> = moved.iovecs.iter().map(|entry| entry.iov_len).collect();
        assert_eq!(lengths, [3, 2]);
        assert_eq!(moved.iovecs[0].iov_base as *const u8, moved.parts[0].as_ptr());
    }
}
