//! The buffers that a ring receives into: whole pages that the kernel picks from as bytes come in, so that a connection
//! that waits holds none. A filled page is handed on as it is, without a copy, and another one takes its place.
#![expect(
    unsafe_code,
    reason = "the kernel writes into memory that it was told of; invariants at each use"
)]

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use bytes::BytesMut;
use io_uring::{IoUring, cqueue, types::BufRingEntry};

use crate::{base::limits, io::pages::Pages};

/// The one group of buffers of a ring.
pub const GROUP: u16 = 0;
/// Pages that the kernel may pick from, a megabyte: also the most that one source can bring before it is told to stop.
/// What comes when all are taken waits in its socket for the next turn.
const COUNT: u16 = 64;
/// Their entries. The kernel wants them to begin a page of memory.
const ENTRIES: Layout =
    match Layout::from_size_align(COUNT as usize * size_of::<BufRingEntry>(), 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("a few entries are a valid layout"),
    };

/// The buffers of one ring.
pub struct Buffers {
    /// What the kernel reads: where each buffer lies. Never freed: a ring is closed behind our back, and may pick from
    /// it until then. A process makes as many as it has cores.
    entries: NonNull<BufRingEntry>,
    /// The pages, by the number in their entry. Leaked with `entries`, for the same reason.
    pages: Vec<BytesMut>,
    /// Entries ever added; the kernel is told of the lower 16 bits.
    tail: u16,
    pool: Pages,
}

impl Buffers {
    /// Registers the buffers with `ring`.
    ///
    /// # Errors
    /// If the kernel has no such thing (before Linux 5.19), or no memory.
    pub fn register(ring: &IoUring, pool: Pages) -> io::Result<Buffers> {
        let entries = allocate();
        // SAFETY: the entries are zeroed memory of COUNT entries at a page's start, and are never freed.
        unsafe {
            let address = entries.as_ptr() as u64;
            ring.submitter().register_buf_ring_with_flags(address, COUNT, GROUP, 0)?;
        }
        let pages = (0..COUNT).map(|_| pool.take()).collect();
        let mut buffers = Buffers { entries, pages, tail: 0, pool };
        (0..COUNT).for_each(|number| buffers.offer(number));
        buffers.publish();
        Ok(buffers)
    }

    /// The page that a completed receive has filled, if it has one.
    pub fn received(&mut self, completion: &cqueue::Entry) -> Option<BytesMut> {
        let number = cqueue::buffer_select(completion.flags())?;
        Some(self.take(number, usize::try_from(completion.result()).unwrap_or(0)))
    }

    /// Takes out the page of this number, into which the kernel has received `length` bytes. Another one is offered in
    /// its place once [`Buffers::publish`] is called.
    fn take(&mut self, number: u16, length: usize) -> BytesMut {
        let Some(place) = self.pages.get_mut(usize::from(number)) else { return BytesMut::new() };
        let mut page = std::mem::replace(place, self.pool.take());
        debug_assert!(page.is_empty() && length <= page.capacity());
        // SAFETY: the kernel was offered this page with its capacity as the length, has written `length` bytes from its
        // start, and does not touch it again before it is offered again. It is not: it has left the table.
        unsafe { page.set_len(length.min(page.capacity())) };
        self.offer(number);
        page
    }

    /// Shows the kernel what was offered.
    pub fn publish(&self) {
        // SAFETY: `entries` is the address of the first entry of a registered ring of buffers, whose tail is in it; the
        // kernel only reads it.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Writes the entry of a page, behind those that are offered.
    fn offer(&mut self, number: u16) {
        let page = &mut self.pages[usize::from(number)];
        let place = usize::from(self.tail % COUNT);
        // SAFETY: the place is within the COUNT entries that were allocated, and is not among those that the kernel may
        // read: there are COUNT pages, and this one was not offered. The tail, which shares the first entry's memory,
        // is in a field of its own that these setters leave alone.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(place);
            entry.set_addr(page.as_mut_ptr() as u64);
            entry.set_len(page.capacity().min(limits::READ_BUFFER_BYTES) as u32);
            entry.set_bid(number);
        }
        self.tail = self.tail.wrapping_add(1);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // The ring may outlive its descriptor for a moment, and with it what it was told to write into.
        std::mem::take(&mut self.pages).leak();
    }
}

fn allocate() -> NonNull<BufRingEntry> {
    // SAFETY: the layout is not of size zero.
    let memory = unsafe { alloc_zeroed(ENTRIES) };
    NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(ENTRIES))
}

const _: () = assert!(COUNT.is_power_of_two(), "the kernel masks the tail");
