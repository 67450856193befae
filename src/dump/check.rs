//! `--check`: reads every byte and says what is damaged, missing or torn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{Outcome, Refusal, body};
use crate::{
    base::units::counted,
    io::log::{
        disk::{Row, SegmentPath, segments},
        read::{Piece, SegmentReader, Stretch},
    },
    wire::record::{
        block::{BlockHead, BlockKind},
        decode::{Malformed, decode_body, split},
        segment::{Body, SegmentEnd, SegmentHead},
    },
};

pub(super) fn run(dirs: &[PathBuf], out: &mut dyn Write) -> Result<Outcome, Refusal> {
    let mut faults = 0;
    for dir in dirs {
        let mut check = Check::default();
        for row in [Row::Records, Row::Bodies] {
            let segments = segments(dir, row)
                .map_err(|error| Refusal::Input(format!("{}: {error}", dir.display())))?;
            for (index, segment) in segments.iter().enumerate() {
                check.segment(segment, index + 1 == segments.len())?;
            }
        }
        check.gaps();
        faults += check.faults.len() as u64 + check.faults_unlisted;
        check.write(dir, out)?;
    }
    Ok(if faults == 0 { Outcome::Done } else { Outcome::Faulty })
}

#[derive(Default)]
struct Check {
    segments: u64,
    body_segments: u64,
    bytes: u64,
    records: u64,
    newer_records: u64,
    bodies: u64,
    cores: BTreeMap<(u64, u16), Core>,
    /// Processes whose beginning the log holds: their first numbers must be 1.
    from_start: BTreeSet<u64>,
    /// Processes, and whether they stopped properly.
    processes: BTreeMap<u64, bool>,
    faults: Vec<String>,
    faults_unlisted: u64,
    notes: Vec<String>,
}

/// What was seen of one core of one process.
#[derive(Default)]
struct Core {
    last: u64,
    /// First and last number of each gap.
    gaps: Vec<(u64, u64)>,
    missing: u64,
    dropped: u64,
}

impl Check {
    fn segment(&mut self, segment: &SegmentPath, newest: bool) -> io::Result<()> {
        let file = match File::open(&segment.path) {
            Ok(file) => file,
            // Retention was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match segment.row {
            Row::Records => self.segments += 1,
            Row::Bodies => self.body_segments += 1,
        }
        let mut reader = SegmentReader::new(file, 0, None);
        let mut expected_block = 0;
        let mut blocks = 0_u64;
        while let Some(piece) = reader.next_piece()? {
            match piece {
                Piece::Block { offset, head, payload } => {
                    blocks += 1;
                    self.bytes += payload.len() as u64;
                    if head.block != expected_block {
                        let message =
                            format!("block {} where {expected_block} should be", head.block);
                        self.fault(&segment.path, offset, message);
                    }
                    expected_block = head.block.wrapping_add(1);
                    self.block(segment, offset, &head, payload);
                }
                Piece::Damage(stretch) => self.bad(&segment.path, "damaged", &stretch),
                Piece::Torn(stretch) if newest && grows(&segment.path, &stretch) => {
                    self.notes.push(format!("{}: is being written", segment.path.display()));
                }
                Piece::Torn(stretch) => self.bad(&segment.path, "torn tail", &stretch),
            }
        }
        if blocks == 0 {
            self.fault(&segment.path, 0, "holds no sound block");
        }
        Ok(())
    }

    fn block(&mut self, segment: &SegmentPath, offset: u64, head: &BlockHead, payload: &[u8]) {
        if head.segment != segment.number {
            self.fault(&segment.path, offset, format!("a block of segment {}", head.segment));
        }
        match head.kind {
            BlockKind::Head => self.head(segment, offset, head, payload),
            BlockKind::Records => self.records(segment, offset, head, payload),
            BlockKind::Body => self.body(segment, offset, payload),
            BlockKind::End => self.end(segment, offset, head, payload),
        }
    }

    fn head(&mut self, segment: &SegmentPath, offset: u64, block: &BlockHead, payload: &[u8]) {
        self.processes.entry(block.process).or_insert(false);
        match SegmentHead::decode(payload) {
            Ok(head) if segment.row == Row::Records && head.index == 0 => {
                self.from_start.insert(block.process);
            }
            Ok(_) => {}
            Err(Malformed::Newer) => {
                let path = segment.path.display();
                self.notes
                    .push(format!("{path}: written by a newer version; use its trunkline-dump"));
            }
            Err(_) => self.fault(&segment.path, offset, "its head makes no sense"),
        }
    }

    fn records(&mut self, segment: &SegmentPath, offset: u64, head: &BlockHead, payload: &[u8]) {
        let mut rest = payload;
        let mut entries = 0;
        while let Ok((body, taken)) = split(rest) {
            rest = &rest[taken..];
            entries += 1;
            match decode_body(body) {
                Ok(record) if record.process != head.process => {
                    self.fault(&segment.path, offset, "a record of another process");
                }
                Ok(record) => {
                    self.records += 1;
                    let core = self.cores.entry((record.process, record.core)).or_default();
                    if !core.saw(record.sequence, self.from_start.contains(&record.process)) {
                        let message = format!("core {} {} again", record.core, record.sequence);
                        self.fault(&segment.path, offset, message);
                    }
                }
                Err(Malformed::Newer) => self.newer_records += 1,
                Err(_) => self.fault(&segment.path, offset, "a record that makes no sense"),
            }
        }
        if !rest.is_empty() || entries != head.entries {
            let message = format!("a block of {} records holds {entries}", head.entries);
            self.fault(&segment.path, offset, message);
        }
    }

    fn body(&mut self, segment: &SegmentPath, offset: u64, payload: &[u8]) {
        self.bodies += 1;
        let sound = Body::decode(payload).is_ok_and(|body| body::decompress(&body).is_ok());
        if !sound {
            self.fault(&segment.path, offset, "a body that cannot be unpacked");
        }
    }

    fn end(&mut self, segment: &SegmentPath, offset: u64, head: &BlockHead, payload: &[u8]) {
        let Ok(end) = SegmentEnd::decode(payload) else {
            return self.fault(&segment.path, offset, "its end makes no sense");
        };
        if segment.row == Row::Bodies {
            return;
        }
        for core_end in &end.cores {
            let core = self.cores.entry((head.process, core_end.core)).or_default();
            core.dropped = core_end.dropped;
            let begun = core.last != 0 || self.from_start.contains(&head.process);
            if end.stopped && begun && core_end.last_sequence > core.last {
                core.gap(core.last + 1, core_end.last_sequence);
            }
        }
        if end.stopped {
            self.processes.insert(head.process, true);
        }
    }

    fn gaps(&mut self) {
        let mut found = Vec::new();
        for ((process, number), core) in &self.cores {
            let place = format!("process {process:016x} core {number}");
            for (first, last) in core.gaps.iter().take(GAPS_LISTED_MAX) {
                found.push(format!("{place}: records {first} to {last} are missing"));
            }
            if core.gaps.len() > GAPS_LISTED_MAX {
                let more = core.gaps.len() - GAPS_LISTED_MAX;
                found.push(format!("{place}: {more} more gaps, {} records in all", core.missing));
            }
            if core.dropped > 0 {
                self.notes.push(format!(
                    "{place}: dropped {} records as its queue was full",
                    core.dropped
                ));
            }
        }
        found.into_iter().for_each(|fault| self.push(fault));
        for (process, stopped) in &self.processes {
            if !stopped {
                self.notes
                    .push(format!("process {process:016x} runs, or was not stopped properly"));
            }
        }
    }

    fn bad(&mut self, path: &Path, what: &str, stretch: &Stretch) {
        let Stretch { offset, bytes, records } = *stretch;
        let bytes = counted(bytes, "byte", "bytes");
        let records = counted(records, "record", "records");
        self.fault(path, offset, format!("{what}: {bytes}, {records} or so"));
    }

    fn fault(&mut self, path: &Path, offset: u64, message: impl Display) {
        self.push(format!("{} at {offset}: {message}", path.display()));
    }

    fn push(&mut self, fault: String) {
        if self.faults.len() < FAULTS_LISTED_MAX {
            self.faults.push(fault);
        } else {
            self.faults_unlisted += 1;
        }
    }

    fn write(&self, dir: &Path, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{}: {} of {} in {}, {} in {}, {}",
            dir.display(),
            counted(self.records, "record", "records"),
            counted(self.processes.len() as u64, "process", "processes"),
            counted(self.segments, "segment", "segments"),
            counted(self.bodies, "body", "bodies"),
            counted(self.body_segments, "segment", "segments"),
            counted(self.bytes, "byte", "bytes"),
        )?;
        if self.newer_records > 0 {
            let newer = counted(self.newer_records, "record is", "records are");
            writeln!(out, "  note: {newer} of a newer version")?;
        }
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        for fault in &self.faults {
            writeln!(out, "  fault: {fault}")?;
        }
        if self.faults_unlisted > 0 {
            writeln!(out, "  fault: and {} more", self.faults_unlisted)?;
        }
        let all = self.faults.len() as u64 + self.faults_unlisted;
        let verdict = if all == 0 { "sound".to_owned() } else { counted(all, "fault", "faults") };
        writeln!(out, "  {verdict}")
    }
}

impl Core {
    /// False if that number was seen before, or a later one was.
    fn saw(&mut self, sequence: u64, from_start: bool) -> bool {
        if sequence <= self.last {
            return false;
        }
        let begun = self.last != 0 || from_start;
        if begun && sequence != self.last + 1 {
            self.gap(self.last + 1, sequence - 1);
        }
        self.last = sequence;
        true
    }

    fn gap(&mut self, first: u64, last: u64) {
        self.missing += last - first + 1;
        if self.gaps.len() < FAULTS_LISTED_MAX {
            self.gaps.push((first, last));
        }
    }
}

/// Whether what looks torn is only a write that was under way.
fn grows(path: &Path, stretch: &Stretch) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    if !modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|ago| ago < RECENT)) {
        return false;
    }
    for _ in 0..GROW_TRIES {
        thread::park_timeout(GROW_WAIT);
        let Ok(file) = File::open(path) else { return false };
        let mut reader = SegmentReader::new(file, 0, None);
        while let Ok(Some(piece)) = reader.next_piece() {
            if let Piece::Block { offset, .. } = piece
                && offset >= stretch.offset
            {
                return true;
            }
        }
    }
    false
}

/// Faults and gaps kept; the rest is counted.
const FAULTS_LISTED_MAX: usize = 100;
const GAPS_LISTED_MAX: usize = 10;
const GROW_TRIES: u32 = 2;
/// A file that was not touched for so long is not being written.
const RECENT: Duration = Duration::from_secs(2);
const GROW_WAIT: Duration = Duration::from_millis(50);
