//! A core's read buffers: given out when bytes have come, taken back when a connection idles. One that waits has none.

use std::{cell::RefCell, rc::Rc};

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
}

impl Pages {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Pages {
        Pages::default()
    }

    /// An empty buffer with room for a read.
    #[must_use]
    pub fn take(&self) -> BytesMut {
        let pooled = self.shared.free.borrow_mut().pop();
        pooled.unwrap_or_else(|| BytesMut::with_capacity(limits::READ_BUFFER_BYTES))
    }

    /// Takes a buffer back. One that grew, or that slices still point into, is let go instead.
    pub fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut free = self.shared.free.borrow_mut();
        if free.len() < limits::POOLED_BUFFERS_MAX
            && buffer.try_reclaim(limits::READ_BUFFER_BYTES)
            && buffer.capacity() < 2 * limits::READ_BUFFER_BYTES
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
    fn a_buffer_that_grew_is_let_go() {
        let pages = Pages::new();
        pages.give(BytesMut::with_capacity(4 * limits::READ_BUFFER_BYTES));
        assert_eq!(pages.take().capacity(), limits::READ_BUFFER_BYTES);
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
