//! The way of a record from its core to the writer thread: a chain of pages of atomic words, one chain a core.
//!
//! The core appends to the newest page and publishes how far it got; the writer follows. Nobody locks, waits or makes
//! a system call, no memory is allocated per record, and what a core holds is bounded in bytes. An `ArrayQueue` of one
//! buffer a record was the alternative: it costs a queue operation and a cold buffer a record, this one a copy.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::Thread,
};

use crossbeam_queue::ArrayQueue;

use super::body::{BodyEntry, BodyQueue};
use crate::base::limits;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Submitted {
    /// It is on its way to the disk.
    Queued,
    /// The queue was full: it is lost and counted, and its sequence number leaves a gap.
    Dropped,
}

/// A core's end of its queue.
#[derive(Debug)]
pub struct LogSender {
    lane: Arc<Lane>,
    bell: Arc<Bell>,
    bodies: Option<Arc<BodyQueue>>,
    process: u64,
    sequence: u64,
    page: Option<Arc<Page>>,
    /// Words of `page` in use.
    used: usize,
    scratch: Vec<u8>,
}

impl LogSender {
    pub(super) fn new(
        lane: Arc<Lane>,
        bell: Arc<Bell>,
        bodies: Option<Arc<BodyQueue>>,
        process: u64,
    ) -> LogSender {
        let scratch = Vec::with_capacity(2048);
        LogSender { lane, bell, bodies, process, sequence: 0, page: None, used: 0, scratch }
    }

    /// A sender whose records no thread writes: whoever simulates a machine reads them back from the other end. Bodies
    /// are kept as far as the configuration asks for them, and go nowhere.
    #[must_use]
    pub fn unwritten(core: u16, process: u64) -> (LogSender, Unwritten) {
        let lane = Arc::new(Lane::new(core, limits::LOG_QUEUE_BYTES_MIN));
        let reader = LaneReader::new(Arc::clone(&lane));
        let bodies = Some(Arc::new(BodyQueue::new(1)));
        (LogSender::new(lane, Arc::default(), bodies, process), Unwritten(reader))
    }

    /// The core whose queue it is.
    #[must_use]
    pub fn core(&self) -> u16 {
        self.lane.core
    }

    /// The process id that records carry.
    #[must_use]
    pub fn process(&self) -> u64 {
        self.process
    }

    /// Gives out the next sequence number, has `encode` append the record that carries it, and queues that.
    pub fn submit(&mut self, encode: impl FnOnce(u64, &mut Vec<u8>)) -> Submitted {
        self.sequence += 1;
        self.lane.submitted.store(self.sequence, Ordering::Relaxed);
        self.scratch.clear();
        encode(self.sequence, &mut self.scratch);
        if !self.append() {
            self.lane.dropped.fetch_add(1, Ordering::Relaxed);
            return Submitted::Dropped;
        }
        self.bell.ring_if_asleep();
        Submitted::Queued
    }

    /// Whether the next record will be queued, however long it is. For `log.on_full: wait`: submit only then.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let longest = limits::LOG_RECORD_BYTES_MAX + limits::LOG_PAGE_BYTES;
        !self.lane.pages.is_full()
            && self.lane.held_bytes.load(Ordering::Acquire) + longest <= self.lane.held_bytes_max
    }

    /// Bytes that this core's queue holds; the first core answers for the queue of bodies, which all share.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        let of_bodies = self.bodies.as_ref().filter(|_| self.lane.core == 0);
        let bodies = of_bodies.map_or(0, |bodies| bodies.held_bytes());
        (self.lane.held_bytes() + bodies) as u64
    }

    /// Whether bodies are logged at all.
    #[must_use]
    pub fn wants_bodies(&self) -> bool {
        self.bodies.is_some()
    }

    /// Queues a body; without effect where bodies are not logged. A full body queue drops it and counts that.
    pub fn submit_body(&self, body: BodyEntry) -> Submitted {
        match &self.bodies {
            Some(bodies) => bodies.submit(body),
            None => Submitted::Dropped,
        }
    }

    /// Copies the scratch record into a page, behind a word with its length, and publishes it.
    fn append(&mut self) -> bool {
        let words_needed = 1 + self.scratch.len().div_ceil(8);
        let fits = |page: &Arc<Page>| self.used + words_needed <= page.words.len();
        if !self.page.as_ref().is_some_and(fits) && !self.next_page(words_needed) {
            return false;
        }
        let Some(page) = &self.page else { return false };
        let (length_word, words) =
            page.words[self.used..self.used + words_needed].split_first().expect("one at least");
        length_word.store(self.scratch.len() as u64, Ordering::Relaxed);
        let (whole, rest) = self.scratch.as_chunks::<8>();
        for (word, bytes) in words.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
        }
        self.used += words_needed;
        page.published.store(self.used, Ordering::Release);
        true
    }

    /// Seals the page in use and takes another with room for `words`; false if the queue may not grow.
    #[cold]
    fn next_page(&mut self, words: usize) -> bool {
        if let Some(page) = self.page.take() {
            page.published.store(self.used | SEALED, Ordering::Release);
        }
        self.used = 0;
        self.page = self.lane.add_page(words);
        self.page.is_some()
    }
}

impl Drop for LogSender {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            page.published.store(self.used | SEALED, Ordering::Release);
        }
    }
}

/// What a core and the writer share.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) core: u16,
    /// The last sequence number given out.
    pub(super) submitted: AtomicU64,
    /// Records that found the queue full.
    pub(super) dropped: AtomicU64,
    /// Every page that is not read to its end, oldest first; the newest is still being filled.
    pages: ArrayQueue<Arc<Page>>,
    /// Pages to use again.
    spare: ArrayQueue<Arc<Page>>,
    held_bytes: AtomicUsize,
    held_bytes_max: usize,
}

impl Lane {
    pub(super) fn new(core: u16, held_bytes_max: usize) -> Lane {
        Lane {
            core,
            submitted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            pages: ArrayQueue::new(held_bytes_max.div_ceil(limits::LOG_PAGE_BYTES).max(2)),
            spare: ArrayQueue::new(SPARE_PAGES),
            held_bytes: AtomicUsize::new(0),
            held_bytes_max,
        }
    }

    /// Bytes of its pages.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// The most that they may be.
    pub(super) fn held_bytes_max(&self) -> usize {
        self.held_bytes_max
    }

    fn add_page(&self, words: usize) -> Option<Arc<Page>> {
        let words = words.max(PAGE_WORDS);
        let held = self.held_bytes.load(Ordering::Acquire);
        if held + words * 8 > self.held_bytes_max {
            return None;
        }
        let recycled = if words == PAGE_WORDS { self.spare.pop() } else { None };
        let page = recycled.unwrap_or_else(|| Arc::new(Page::new(words)));
        page.published.store(0, Ordering::Relaxed);
        self.held_bytes.fetch_add(words * 8, Ordering::AcqRel);
        if self.pages.push(Arc::clone(&page)).is_err() {
            self.held_bytes.fetch_sub(words * 8, Ordering::AcqRel);
            return None;
        }
        Some(page)
    }

    fn give_back(&self, page: Arc<Page>) {
        let bytes = page.words.len() * 8;
        if page.words.len() == PAGE_WORDS {
            // A full spare list means enough memory is kept: the page is freed.
            drop(self.spare.push(page));
        }
        self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// The writer's end of a lane.
#[derive(Debug)]
pub(super) struct LaneReader {
    pub(super) lane: Arc<Lane>,
    page: Option<Arc<Page>>,
    /// Words of `page` that are read.
    read: usize,
}

impl LaneReader {
    pub(super) fn new(lane: Arc<Lane>) -> LaneReader {
        LaneReader { lane, page: None, read: 0 }
    }

    /// Appends the next record to `out`; false if there is none at the moment.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let Some(page) = &self.page else {
                self.page = self.lane.pages.pop();
                self.read = 0;
                if self.page.is_none() {
                    return false;
                }
                continue;
            };
            let published = page.published.load(Ordering::Acquire);
            if self.read < published & !SEALED {
                self.read += page.copy_record(self.read, out);
                return true;
            }
            if published & SEALED == 0 {
                return false;
            }
            if let Some(page) = self.page.take() {
                self.lane.give_back(page);
            }
        }
    }
}

/// The other end of [`LogSender::unwritten`].
#[derive(Debug)]
pub struct Unwritten(LaneReader);

impl Iterator for Unwritten {
    type Item = Vec<u8>;

    /// The next record, encoded; `None`: there is none at the moment.
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut record = Vec::new();
        self.0.next(&mut record).then_some(record)
    }
}

/// A stretch of a lane. Atomic words cost nothing over plain ones here and make sharing them safe.
#[derive(Debug)]
struct Page {
    words: Box<[AtomicU64]>,
    /// Words the reader may read, and [`SEALED`] once there will be no more.
    published: AtomicUsize,
}

impl Page {
    fn new(words: usize) -> Page {
        let words = (0..words).map(|_| AtomicU64::new(0)).collect();
        Page { words, published: AtomicUsize::new(0) }
    }

    /// Appends the record whose length word is at `at`; returns the words it takes.
    fn copy_record(&self, at: usize, out: &mut Vec<u8>) -> usize {
        let length = self.words[at].load(Ordering::Relaxed) as usize;
        let words = length.div_ceil(8);
        let start = out.len();
        out.resize(start + words * 8, 0);
        let (chunks, _) = out[start..].as_chunks_mut::<8>();
        for (chunk, word) in chunks.iter_mut().zip(&self.words[at + 1..at + 1 + words]) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        out.truncate(start + length);
        1 + words
    }
}

/// Wakes the writer out of a long sleep. While there is traffic it naps by itself and nobody rings.
#[derive(Debug, Default)]
pub(super) struct Bell {
    asleep: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    /// Cheap while the thread is awake. A record that is published in the instant in which the thread falls asleep
    /// may be missed: then the sleep's time-out finds it, which is what that is chosen for.
    pub(super) fn ring_if_asleep(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Wakes the thread.
    #[cold]
    pub(super) fn ring(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        if let Some(thread) = self.sleeper.get() {
            thread.unpark();
        }
    }

    /// Called by the thread that sleeps: from now on submissions ring. What came before must be looked for once more.
    pub(super) fn fall_asleep(&self) {
        self.sleeper.get_or_init(std::thread::current);
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Called by the thread that slept.
    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

const PAGE_WORDS: usize = limits::LOG_PAGE_BYTES / 8;
/// Pages kept for reuse a lane: a megabyte, some milliseconds of the heaviest traffic.
const SPARE_PAGES: usize = 16;
const SEALED: usize = 1 << (usize::BITS - 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(bytes_max: usize) -> (LogSender, LaneReader) {
        let lane = Arc::new(Lane::new(0, bytes_max));
        let sender = LogSender::new(Arc::clone(&lane), Arc::default(), None, 7);
        (sender, LaneReader::new(lane))
    }

    #[test]
    fn records_of_every_length_arrive_in_order() {
        let (mut sender, mut reader) = pair(8 << 20);
        for length in (0..300).chain([LENGTH_OF_A_PAGE - 8, LENGTH_OF_A_PAGE, 200_000]) {
            let submitted = sender.submit(|sequence, out| out.extend(vec![sequence as u8; length]));
            assert_eq!(submitted, Submitted::Queued);
        }
        for (index, length) in
            (0..300).chain([LENGTH_OF_A_PAGE - 8, LENGTH_OF_A_PAGE, 200_000]).enumerate()
        {
            let mut out = vec![42];
            assert!(reader.next(&mut out));
            assert_eq!(out[0], 42);
            assert_eq!(out[1..], vec![(index + 1) as u8; length]);
        }
        assert!(!reader.next(&mut Vec::new()));
    }

    #[test]
    fn a_full_queue_drops_and_its_room_comes_back() {
        let (mut sender, mut reader) = pair(4 * limits::LOG_PAGE_BYTES);
        let mut queued = 0;
        while sender.submit(|_, out| out.extend([1; 1000])) == Submitted::Queued {
            queued += 1;
        }
        assert!(!sender.has_room());
        assert!(queued * 1000 > 3 * limits::LOG_PAGE_BYTES, "{queued}");
        let mut out = Vec::new();
        while reader.next(&mut out) {
            queued -= 1;
        }
        assert_eq!(queued, 0, "exactly the queued ones arrive");
        let mut sequence_after = 0;
        let submitted = sender.submit(|sequence, _| sequence_after = sequence);
        assert_eq!(submitted, Submitted::Queued);
        assert_eq!(sequence_after, out.len() as u64 / 1000 + 2, "the dropped one used its number");
    }

    #[test]
    fn two_threads_agree_on_every_byte() {
        let (mut sender, mut reader) = pair(1 << 20);
        let count = 30_000_u64;
        let producer = std::thread::spawn(move || {
            for _ in 0..count {
                while !sender.has_room() {
                    std::thread::yield_now();
                }
                let submitted = sender.submit(|sequence, out| {
                    out.extend(sequence.to_le_bytes());
                    out.resize(8 + (sequence % 400) as usize, sequence as u8);
                });
                assert_eq!(submitted, Submitted::Queued);
            }
        });
        let mut expected = 1;
        let mut out = Vec::new();
        while expected <= count {
            out.clear();
            if !reader.next(&mut out) {
                std::thread::yield_now();
                continue;
            }
            assert_eq!(out[..8], expected.to_le_bytes());
            assert_eq!(out[8..], vec![expected as u8; (expected % 400) as usize]);
            expected += 1;
        }
        producer.join().unwrap();
    }

    const LENGTH_OF_A_PAGE: usize = limits::LOG_PAGE_BYTES - 8;
}
