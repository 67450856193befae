//! The one type that owns its parts and its iovecs for a vectored write, and the only unsafe code.

use bytes::Bytes;
use smallvec::SmallVec;

/// Bytes to write, in order.
#[derive(Debug, Default)]
pub struct WriteList {
    parts: SmallVec<[Bytes; 8]>,
}

impl WriteList {
    /// An empty list.
    #[must_use]
    pub fn new() -> WriteList {
        WriteList::default()
    }

    /// Appends a part; an empty one is left out.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }

    /// The parts that are left to write.
    #[must_use]
    pub fn rest(&self) -> &[Bytes] {
        &self.parts
    }

    /// Lets go of all parts; the allocations stay.
    pub fn clear(&mut self) {
        self.parts.clear();
    }
}
