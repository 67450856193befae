//! A core's read buffers: given out for a read, taken back when a connection idles.
//!
//! A read that waits holds its buffer, and most connections wait most of the time. So only so many reads of a core wait
//! with a whole buffer; what is beyond them waits with a small one, and takes a whole one once bytes have come.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::BytesMut;

use crate::base::limits;

/// A handle to the core's buffers.
#[derive(Clone, Default)]
pub struct Pages {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    free: RefCell<Vec<BytesMut>>,
    /// Reads under way.
    reads: Cell<usize>,
}

impl Pages {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Pages {
        Pages::default()
    }

    /// A buffer with room for a read.
    #[must_use]
    pub fn take(&self) -> BytesMut {
        let pooled = self.shared.free.borrow_mut().pop();
        pooled.unwrap_or_else(|| BytesMut::with_capacity(limits::READ_BUFFER_BYTES))
    }

    /// A buffer for a read that begins now: the empty `own` if its tail or its consumed front has room, else a pooled
    /// one; a small one if many reads wait already. Room is what the `usual` read takes: a message that is read in two
    /// pieces costs an operation more. It counts as begun.
    pub fn for_read(&self, mut own: BytesMut, usual: usize) -> BytesMut {
        if self.read_begun() > limits::WHOLE_READS_MAX {
            self.give(own);
            return BytesMut::with_capacity(limits::SMALL_READ_BYTES);
        }
        let whole = own.capacity() > 0 && own.try_reclaim(limits::READ_BUFFER_BYTES);
        let room = usual.clamp(limits::READ_BYTES_MIN, limits::READ_BUFFER_BYTES);
        if whole || own.capacity() >= room {
            return own;
        }
        self.take()
    }

    /// A read has begun, with a buffer of its own or one from here; how many are under way. Each is to be followed by
    /// one [`Pages::read_ended`].
    pub fn read_begun(&self) -> usize {
        let reads = self.shared.reads.get() + 1;
        self.shared.reads.set(reads);
        reads
    }

    /// A read has ended, or was given up.
    pub fn read_ended(&self) {
        self.shared.reads.set(self.shared.reads.get() - 1);
    }

    /// Takes a buffer back. One that grew, or that slices still point into, is let go instead.
    pub fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut free = self.shared.free.borrow_mut();
        if free.len() < limits::POOLED_BUFFERS_MAX && buffer.try_reclaim(limits::READ_BUFFER_BYTES)
        {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_given_out_again() {
        let pages = Pages::new();
        let buffer = pages.take();
        let address = buffer.as_ptr();
        pages.give(buffer);
        assert_eq!(pages.take().as_ptr(), address);
    }

    #[test]
    fn reads_beyond_the_bound_wait_with_small_buffers_until_others_end() {
        let pages = Pages::new();
        for _ in 0..limits::WHOLE_READS_MAX {
            assert!(pages.for_read(BytesMut::new(), 0).capacity() >= limits::READ_BUFFER_BYTES);
        }
        assert!(pages.for_read(BytesMut::new(), 0).capacity() < limits::READ_BYTES_MIN);
        pages.read_ended();
        pages.read_ended();
        assert!(pages.for_read(BytesMut::new(), 0).capacity() >= limits::READ_BUFFER_BYTES);
    }

    #[test]
    fn a_buffer_that_a_slice_points_into_is_not_reused() {
        let pages = Pages::new();
        let mut buffer = pages.take();
        buffer.extend_from_slice(b"held");
        let held = buffer.split().freeze();
        pages.give(buffer);
        let mut next = pages.take();
        next.extend_from_slice(b"over");
        assert_eq!(&held[..], b"held");
    }
}
