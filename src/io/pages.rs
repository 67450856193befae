//! A core's read buffers: given out when bytes have come, taken back when a connection idles. One that waits has none.

use std::{cell::RefCell, ops::RangeInclusive, rc::Rc};

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
    long: RefCell<Vec<BytesMut>>,
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

    /// An empty buffer with room for a read where messages are long.
    #[must_use]
    pub fn take_long(&self) -> BytesMut {
        let pooled = self.shared.long.borrow_mut().pop();
        pooled.unwrap_or_else(|| BytesMut::with_capacity(limits::LONG_BUFFER_BYTES))
    }

    /// Takes a buffer back. One that grew, or that slices still point into, is let go instead.
    pub fn give(&self, mut buffer: BytesMut) {
        self.give_unless_shared(&mut buffer);
    }

    /// Takes a buffer back and leaves none in its place, unless something long still points into it: whoever has it can
    /// give it again later. If it were dropped, its memory would go to the allocator, which costs more than a list. One
    /// that held something short is dropped: an open stream is not to keep it until its next event.
    pub fn give_unless_shared(&self, buffer: &mut BytesMut) {
        const SHORT_HELD: RangeInclusive<usize> =
            limits::READ_BUFFER_BYTES - limits::COPIED_OUT_BYTES..=limits::READ_BUFFER_BYTES;
        buffer.clear();
        // Its room, or that beside a slice.
        let room = buffer.capacity();
        if !self.take_back(buffer, room) && SHORT_HELD.contains(&room) {
            *buffer = BytesMut::new();
        }
    }

    /// False: it is shared. What can be reclaimed tells how much there is in all.
    fn take_back(&self, buffer: &mut BytesMut, room: usize) -> bool {
        let grown = room.max(limits::READ_BUFFER_BYTES) + 1;
        if room <= limits::LONG_BUFFER_BYTES && buffer.try_reclaim(limits::LONG_BUFFER_BYTES) {
            keep(&self.shared.long, buffer, limits::POOLED_LONG_BUFFERS_MAX);
        } else if room > limits::LONG_BUFFER_BYTES || buffer.try_reclaim(grown) {
            *buffer = BytesMut::new();
        } else if room <= limits::READ_BUFFER_BYTES && buffer.try_reclaim(limits::READ_BUFFER_BYTES)
        {
            keep(&self.shared.free, buffer, limits::POOLED_BUFFERS_MAX);
        } else {
            return false;
        }
        true
    }
}

/// Moves a buffer to those that are kept, or drops it.
fn keep(kept: &RefCell<Vec<BytesMut>>, buffer: &mut BytesMut, count_max: usize) {
    let (buffer, mut kept) = (std::mem::take(buffer), kept.borrow_mut());
    if kept.len() < count_max {
        kept.push(buffer);
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
        pages.give(BytesMut::with_capacity(2 * limits::LONG_BUFFER_BYTES));
        assert_eq!(pages.take().capacity(), limits::READ_BUFFER_BYTES);
        assert_eq!(pages.take_long().capacity(), limits::LONG_BUFFER_BYTES);
    }

    #[test]
    fn a_long_buffer_comes_back_as_one_once_nothing_points_into_it() {
        let pages = Pages::new();
        let mut buffer = pages.take_long();
        let address = buffer.as_ptr();
        buffer.extend_from_slice(b"held");
        let held = buffer.split().freeze();
        pages.give_unless_shared(&mut buffer);
        assert!(buffer.capacity() > 0);
        drop(held);
        pages.give_unless_shared(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let again = pages.take_long();
        assert_eq!((again.as_ptr(), again.capacity()), (address, limits::LONG_BUFFER_BYTES));
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
