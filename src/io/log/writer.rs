//! The writer thread: gathers what the cores queued into blocks and appends them, many records a write.
//!
//! It naps between turns instead of being woken for each record, and sleeps longer when nothing came for a while.
//! While the disk refuses, it keeps the blocks at hand and stops taking more: the queues fill, and what does not fit
//! there is dropped and counted by the cores.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    LogCounters,
    queue::{Bell, LaneReader},
    tape::Tape,
};
use crate::{
    base::limits,
    wire::record::{
        block::{self, BlockKind, HEAD_BYTES},
        segment::CoreEnd,
    },
};

pub(super) struct Writer {
    pub(super) tape: Tape,
    pub(super) lanes: Vec<LaneReader>,
    pub(super) bell: Arc<Bell>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) counters: Arc<LogCounters>,
    pub(super) batch: Batch,
}

/// Blocks that are not yet written.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Records in `bytes`.
    records: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There was nothing to write.
    Idle,
    /// All there was is written.
    Done,
    /// As much as goes into one write is written; there may be more.
    More,
    /// The disk refused; it is still at hand.
    Stuck,
}

impl Writer {
    pub(super) fn run(mut self) {
        let mut idle_turns = 0;
        let mut stuck_turns = 0;
        loop {
            // Read before the queues are: what was submitted before the stop is then seen.
            let stopping = self.stop.load(Ordering::Acquire);
            let turn = self.turn();
            idle_turns = if turn == Turn::Idle { idle_turns + 1 } else { 0 };
            stuck_turns = if turn == Turn::Stuck { stuck_turns + 1 } else { 0 };
            if stopping && (turn == Turn::Idle || stuck_turns > STUCK_TURNS_AT_STOP_MAX) {
                break;
            }
            match turn {
                Turn::More => {}
                Turn::Idle if stopping => {}
                Turn::Idle if idle_turns > IDLE_TURNS_BEFORE_SLEEP => self.sleep(),
                Turn::Idle | Turn::Done => thread::park_timeout(NAP),
                Turn::Stuck => thread::park_timeout(RETRY_AFTER),
            }
            if turn != Turn::Stuck {
                let cores = core_ends(&self.lanes);
                self.tape.rotate_if_due(&cores);
            }
        }
        self.finish();
    }

    fn turn(&mut self) -> Turn {
        if self.batch.bytes.is_empty() {
            self.gather();
        }
        if self.batch.bytes.is_empty() {
            return Turn::Idle;
        }
        if self.tape.append(&self.batch.bytes).is_err() {
            return Turn::Stuck;
        }
        self.counters.written.fetch_add(self.batch.records, Ordering::Release);
        let was_full = self.batch.bytes.len() >= WRITE_BYTES;
        self.batch.bytes.clear();
        self.batch.records = 0;
        if was_full { Turn::More } else { Turn::Done }
    }

    /// Takes records from the lanes in turn, until they are empty or the batch is full.
    fn gather(&mut self) {
        let mut open = None;
        loop {
            let mut found = false;
            for lane in &mut self.lanes {
                for _ in 0..RECORDS_A_LANE {
                    let block = open.get_or_insert_with(|| OpenBlock::begin(&mut self.batch));
                    if !lane.next(&mut self.batch.bytes) {
                        break;
                    }
                    found = true;
                    block.entries += 1;
                    if self.batch.bytes.len() - block.start - HEAD_BYTES >= limits::LOG_BLOCK_BYTES
                    {
                        block.close(&mut self.batch, &mut self.tape);
                        open = None;
                    }
                }
            }
            if !found || self.batch.bytes.len() >= WRITE_BYTES {
                break;
            }
        }
        if let Some(block) = &mut open {
            block.close(&mut self.batch, &mut self.tape);
        }
    }

    /// Sleeps until a core rings or some milliseconds passed; see [`Bell`] for the second.
    fn sleep(&mut self) {
        self.bell.fall_asleep();
        if self.turn() == Turn::Idle {
            thread::park_timeout(SLEEP);
        }
        self.bell.wake_up();
    }

    fn finish(mut self) {
        let mut lost = self.batch.records;
        self.batch.bytes.clear();
        for lane in &mut self.lanes {
            while lane.next(&mut self.batch.bytes) {
                self.batch.bytes.clear();
                lost += 1;
            }
        }
        self.counters.lost.fetch_add(lost, Ordering::Relaxed);
        let cores = core_ends(&self.lanes);
        self.tape.end(&cores);
    }
}

struct OpenBlock {
    start: usize,
    entries: u32,
}

impl OpenBlock {
    fn begin(batch: &mut Batch) -> OpenBlock {
        OpenBlock { start: block::begin(&mut batch.bytes), entries: 0 }
    }

    fn close(&mut self, batch: &mut Batch, tape: &mut Tape) {
        if self.entries == 0 {
            batch.bytes.truncate(self.start);
            return;
        }
        let head = tape.next_block(BlockKind::Records, self.entries);
        block::finish(&mut batch.bytes, self.start, &head);
        batch.records += u64::from(self.entries);
    }
}

fn core_ends(lanes: &[LaneReader]) -> Vec<CoreEnd> {
    lanes
        .iter()
        .map(|reader| CoreEnd {
            core: reader.lane.core,
            last_sequence: reader.lane.submitted.load(Ordering::Relaxed),
            dropped: reader.lane.dropped.load(Ordering::Relaxed),
        })
        .collect()
}

/// Between two turns: what a record waits at most before it is in the file, and what `--follow` lags behind.
const NAP: Duration = Duration::from_millis(5);
/// As long when nothing came for a while and a core would ring.
const SLEEP: Duration = Duration::from_millis(40);
const IDLE_TURNS_BEFORE_SLEEP: u32 = 20;
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// How often the disk may refuse at the stop before what is left is given up: a second.
const STUCK_TURNS_AT_STOP_MAX: u32 = 20;
/// Bytes a write.
const WRITE_BYTES: usize = 1 << 20;
/// Records taken from one lane before the next has its turn.
const RECORDS_A_LANE: usize = 64;
