//! Bodies: a queue of references to their bytes, and a thread that compresses and writes them into segments of their
//! own. Neither the cores nor the writer of records ever wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use super::{
    queue::{Bell, Submitted},
    tape::Tape,
};
use crate::{
    base::limits,
    wire::record::{
        block::{self, BlockKind},
        segment::{Body, Side},
    },
};

/// A body to be logged.
#[derive(Clone, Debug)]
pub struct BodyEntry {
    /// The exchange it belongs to.
    pub request_id: u128,
    /// When that was accepted (civil time, nanoseconds).
    pub accepted_unix_nanos: u64,
    /// Which of its bodies.
    pub side: Side,
    /// Its content type; empty: unknown.
    pub content_type: String,
    /// The bytes as they went over the wire, without framing, in pieces; beyond 32 MiB they are cut.
    pub parts: Vec<Bytes>,
    /// There was more of it than `parts` hold.
    pub cut: bool,
}

impl BodyEntry {
    fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

#[derive(Debug)]
pub(super) struct BodyQueue {
    queue: ArrayQueue<BodyEntry>,
    held_bytes: AtomicUsize,
    bell: Bell,
    pub(super) dropped: AtomicU64,
    pub(super) written: AtomicU64,
}

impl BodyQueue {
    /// With room for so many.
    pub(super) fn new(bodies_max: usize) -> BodyQueue {
        BodyQueue {
            queue: ArrayQueue::new(bodies_max),
            held_bytes: AtomicUsize::new(0),
            bell: Bell::default(),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Bytes of the bodies that wait.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn submit(&self, body: BodyEntry) -> Submitted {
        let bytes = body.len();
        let held = self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = held + bytes <= limits::LOG_BODY_QUEUE_BYTES_MAX;
        if !fits || self.queue.push(body).is_err() {
            self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Submitted::Dropped;
        }
        self.bell.ring_if_asleep();
        Submitted::Queued
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }
}

pub(super) struct BodyWriter {
    pub(super) tape: Tape,
    pub(super) queue: Arc<BodyQueue>,
    pub(super) stop: Arc<AtomicBool>,
}

impl BodyWriter {
    pub(super) fn run(mut self) {
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            while let Some(body) = self.queue.queue.pop() {
                let bytes = body.len();
                self.write(&body);
                self.queue.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
                self.tape.rotate_if_due(&[]);
            }
            if stopping {
                break;
            }
            self.sleep();
        }
        self.tape.end(&[]);
    }

    fn sleep(&self) {
        self.queue.bell.fall_asleep();
        if self.queue.queue.is_empty() {
            thread::park_timeout(SLEEP);
        }
        self.queue.bell.wake_up();
    }

    /// A body that cannot be written within a while is dropped: bodies may be missing, unlike records.
    fn write(&mut self, body: &BodyEntry) {
        let block = self.compress(body);
        for _ in 0..WRITES_MAX {
            if self.tape.append(&block).is_ok() {
                self.queue.written.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            thread::park_timeout(RETRY_AFTER);
        }
        self.queue.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn compress(&mut self, body: &BodyEntry) -> Vec<u8> {
        let whole = body.parts.concat();
        let kept = &whole[..whole.len().min(limits::LOG_BODY_BYTES_MAX)];
        let compressed = zstd::bulk::compress(kept, ZSTD_LEVEL).unwrap_or_default();
        let entry = Body {
            request_id: body.request_id,
            accepted_unix_nanos: body.accepted_unix_nanos,
            side: body.side,
            cut: body.cut || kept.len() < whole.len(),
            length: kept.len() as u64,
            content_type: &body.content_type,
            compressed: &compressed,
        };
        let head = self.tape.next_block(BlockKind::Body, 1);
        let mut out = Vec::with_capacity(compressed.len() + 256);
        block::write(&mut out, &head, |out| entry.encode(out));
        out
    }
}

/// Bodies that may wait, however small they are.
pub(super) const BODIES_MAX: usize = 16 * 1024;
/// Fast: JSON shrinks to a fifth even so.
const ZSTD_LEVEL: i32 = 1;
const SLEEP: Duration = Duration::from_millis(40);
const RETRY_AFTER: Duration = Duration::from_millis(100);
const WRITES_MAX: u32 = 20;
