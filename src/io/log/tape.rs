//! One row of segments as its writer sees it: an endless file that is cut into segments by size and by day.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use super::{
    Clock, LogCounters,
    disk::{Disk, Row, SegmentFile, SegmentPath},
    keeper::Keeper,
};
use crate::{
    base::{
        limits,
        units::{UnixTime, counted},
    },
    wire::record::{
        block::{self, BlockHead, BlockKind},
        segment::{CoreEnd, FORMAT, SegmentEnd, SegmentHead},
    },
};

/// What every writer of a log has in hand.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Clock,
    pub(super) counters: Arc<LogCounters>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) dir: PathBuf,
    pub(super) process: u64,
    pub(super) process_started: UnixTime,
    pub(super) segment_bytes_max: u64,
}

pub(super) struct Tape {
    desk: Desk,
    row: Row,
    segment: Segment,
    /// Segments begun by this process.
    begun: u32,
    /// Before this no further attempt is made to begin a segment, after one that failed.
    rotate_not_before: UnixTime,
    last_complaint: Option<UnixTime>,
    /// What was complained of and is not over.
    trouble: Option<Trouble>,
}

/// A disk that refuses, as stderr was told.
struct Trouble {
    /// Whether it is the next segment that cannot be begun; else this one cannot be written.
    of_next: bool,
    /// Records or bodies lost before it.
    lost_before: u64,
}

struct Segment {
    at: SegmentPath,
    file: Arc<dyn SegmentFile>,
    length: u64,
    blocks: u32,
    started: UnixTime,
}

impl Tape {
    pub(super) fn begin(desk: Desk, row: Row, number: u64) -> io::Result<Tape> {
        let segment = Segment::create(&desk, row, number, 0)?;
        desk.keeper.opened(row, &segment.at.path, &segment.file);
        let rotate_not_before = UnixTime::default();
        let (last_complaint, trouble) = (None, None);
        Ok(Tape { desk, row, segment, begun: 1, rotate_not_before, last_complaint, trouble })
    }

    /// The head of the next block; every head that is taken must be appended in that order.
    pub(super) fn next_block(&mut self, kind: BlockKind, entries: u32) -> BlockHead {
        self.segment.next_block(self.desk.process, kind, entries)
    }

    /// Writes sound blocks. After an error nothing of them is in the file, and they may be appended again.
    pub(super) fn append(&mut self, blocks: &[u8]) -> io::Result<()> {
        let counters = &self.desk.counters;
        match self.segment.append(blocks) {
            Ok(()) => {
                self.desk.keeper.dirtied(self.row);
                counters.written_bytes.fetch_add(blocks.len() as u64, Ordering::Relaxed);
                if self.trouble.as_ref().is_some_and(|trouble| !trouble.of_next) {
                    self.say_over();
                }
                Ok(())
            }
            Err(error) => {
                counters.write_errors.fetch_add(1, Ordering::Relaxed);
                self.complain(&error, false);
                Err(error)
            }
        }
    }

    /// Begins the next segment if this one is full or of another day. If that fails, this one goes on.
    pub(super) fn rotate_if_due(&mut self, cores: &[CoreEnd]) {
        let now = (self.desk.clock)();
        let full = self.segment.length >= self.desk.segment_bytes_max;
        let old = day(now) > day(self.segment.started) && self.segment.blocks > 1;
        if !(full || old) || now < self.rotate_not_before {
            return;
        }
        let number = self.segment.at.number + 1;
        match Segment::create(&self.desk, self.row, number, self.begun) {
            Ok(next) => {
                self.begun += 1;
                self.end_segment(cores, false);
                self.desk.keeper.retired(&self.segment.file);
                self.desk.keeper.opened(self.row, &next.at.path, &next.file);
                self.segment = next;
                if self.trouble.is_some() {
                    self.say_over();
                }
            }
            Err(error) => {
                self.desk.counters.write_errors.fetch_add(1, Ordering::Relaxed);
                self.complain(&error, true);
                self.rotate_not_before = now.after(limits::LOG_COMPLAIN_EVERY);
            }
        }
    }

    /// Closes the row for good.
    pub(super) fn end(mut self, cores: &[CoreEnd]) {
        self.end_segment(cores, true);
    }

    /// A segment without its closing block is sound too: it only has to be looked through at the next start.
    fn end_segment(&mut self, cores: &[CoreEnd], stopped: bool) {
        let end = SegmentEnd { stopped, cores: cores.to_vec() };
        let head = self.next_block(BlockKind::End, 0);
        let mut bytes = Vec::new();
        block::write(&mut bytes, &head, |out| end.encode(out));
        // Said on stderr by then; the next start copes.
        let _ = self.append(&bytes);
    }

    /// Says on stderr what is wrong and what to do, now and then.
    fn complain(&mut self, error: &io::Error, of_next: bool) {
        let now = (self.desk.clock)();
        if self.last_complaint.is_some_and(|last| now < last.after(limits::LOG_COMPLAIN_EVERY)) {
            return;
        }
        self.last_complaint = Some(now);
        // Told again, it is still the same trouble.
        let lost_before = self.trouble.as_ref().map_or_else(|| self.lost(), |it| it.lost_before);
        self.trouble = Some(Trouble { of_next, lost_before });
        eprintln!("{}", complaint(&self.segment.at.path, error, &self.desk.counters));
    }

    /// Says once that what was complained of is over, and what it cost.
    fn say_over(&mut self) {
        if let Some(Trouble { lost_before, .. }) = self.trouble.take() {
            let lost = self.lost().saturating_sub(lost_before);
            eprintln!("{}", all_clear(&self.segment.at.path, self.row, lost));
        }
    }

    /// Records or bodies that were lost so far.
    fn lost(&self) -> u64 {
        let stats = self.desk.counters.stats();
        match self.row {
            Row::Records => stats.dropped + stats.lost,
            Row::Bodies => stats.bodies_dropped,
        }
    }
}

fn complaint(path: &Path, error: &io::Error, counters: &LogCounters) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that disk, or lower log.retention.size"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make the directory writable for this process"
        }
        _ => "check the disk and the directory",
    };
    let stats = counters.stats();
    format!(
        "trunkline: log: cannot write {}: {error}; {remedy}. Traffic goes on: {} records wait in memory, {} were dropped so far",
        path.display(),
        stats.depth,
        stats.dropped
    )
}

fn all_clear(path: &Path, row: Row, lost: u64) -> String {
    let lost = match row {
        Row::Records => counted(lost, "record was", "records were"),
        Row::Bodies => counted(lost, "body was", "bodies were"),
    };
    format!("trunkline: log: {} is written again; {lost} lost meanwhile", path.display())
}

impl Segment {
    fn create(desk: &Desk, row: Row, number: u64, index: u32) -> io::Result<Segment> {
        let at = SegmentPath::new(&desk.dir, row, number);
        let file = desk.disk.create(&at.path)?;
        let started = (desk.clock)();
        let mut segment = Segment { at, file, length: 0, blocks: 0, started };
        let head = SegmentHead {
            format: FORMAT,
            process_started_unix_nanos: desk.process_started.nanos,
            started_unix_nanos: started.nanos,
            index,
            program: concat!("trunkline ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let block_head = segment.next_block(desk.process, BlockKind::Head, 0);
        let mut bytes = Vec::new();
        block::write(&mut bytes, &block_head, |out| head.encode(out));
        if let Err(error) = segment.append(&bytes) {
            // An empty file would only be in the way of the next attempt.
            drop(fs::remove_file(&segment.at.path));
            return Err(error);
        }
        Ok(segment)
    }

    fn next_block(&mut self, process: u64, kind: BlockKind, entries: u32) -> BlockHead {
        let block = self.blocks;
        self.blocks += 1;
        BlockHead { kind, process, segment: self.at.number, block, entries }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            // Should this fail too, the next attempt overwrites the same place.
            drop(self.file.cut(self.length));
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Days since 1970, in UTC.
fn day(at: UnixTime) -> u64 {
    at.seconds() / limits::LOG_SEGMENT_FOR.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_with_its_number() {
        let told = |row, lost| all_clear(Path::new("log/1.tlog"), row, lost);
        let again = "trunkline: log: log/1.tlog is written again; ";
        for (row, lost, expected) in [
            (Row::Records, 0, "0 records were lost meanwhile"),
            (Row::Records, 1, "1 record was lost meanwhile"),
            (Row::Bodies, 2, "2 bodies were lost meanwhile"),
        ] {
            assert_eq!(told(row, lost), format!("{again}{expected}"));
        }
    }
}
