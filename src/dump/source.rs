//! Records out of log directories: all of them in order, or the newest, past damage and without holding much.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    fs::File,
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Args, Refusal, World, when};
use crate::{
    io::log::{
        disk::{Row, SegmentPath, segments},
        read::{Piece, SegmentReader},
    },
    journal::{query::Filter, view},
    wire::record::{
        Record,
        block::BlockKind,
        decode::{Malformed, decode_body, peek, split},
        segment::SegmentHead,
    },
};

/// Which records.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    filter: Option<Filter>,
    since: u64,
    until: Option<u64>,
    /// The first digits of a request id.
    pub(super) id_prefix: Option<String>,
}

impl Selection {
    pub(super) fn new(args: &Args, world: &World) -> Result<Selection, Refusal> {
        let filter = match &args.filter {
            None => None,
            Some(text) => Some(Filter::parse(text).map_err(|mistake| {
                Refusal::Usage(format!("--where is no filter\n{}", mistake.show(text)))
            })?),
        };
        let when = |flag, text: &Option<String>| {
            let parsed = text.as_ref().map(|text| when::parse(flag, text, world.now));
            parsed.transpose().map_err(Refusal::Usage)
        };
        let since = when("--since", &args.since)?.unwrap_or(0);
        let until = when("--until", &args.until)?;
        let id_prefix = args.id.as_deref().map(id_prefix).transpose()?;
        Ok(Selection { filter, since, until, id_prefix })
    }

    /// The exchange of an id, or of its first digits.
    pub(super) fn of_id(id: &str) -> Result<Selection, Refusal> {
        Ok(Selection { id_prefix: Some(id_prefix(id)?), ..Selection::default() })
    }

    fn admits(&self, record: &Record) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(record))
    }

    /// What can be said before a record is decoded.
    fn admits_body(&self, body: &[u8]) -> bool {
        let Some((id, accepted)) = peek(body) else { return true };
        accepted >= self.since
            && self.until.is_none_or(|until| accepted < until)
            && self.id_prefix.as_ref().is_none_or(|prefix| format!("{id:032x}").starts_with(prefix))
    }
}

fn id_prefix(text: &str) -> Result<String, Refusal> {
    let digits: String = text.to_ascii_lowercase().replace('-', "");
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        let message = format!("--id `{text}` is no request id: give its first hexadecimal digits");
        return Err(Refusal::Usage(message));
    }
    Ok(digits)
}

/// What was passed over while reading.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    damaged_bytes: u64,
    malformed: u64,
    newer: u64,
}

impl Troubles {
    /// Says so on stderr.
    pub(super) fn report(&self) {
        if self.damaged_bytes > 0 || self.malformed > 0 {
            eprintln!(
                "warning: {} damaged bytes and {} malformed records were passed over; --check says where",
                self.damaged_bytes, self.malformed
            );
        }
        if self.newer > 0 {
            eprintln!(
                "warning: {} records were written by a newer version and passed over; use its trunkline-dump",
                self.newer
            );
        }
    }

    fn add(&mut self, other: &Troubles) {
        self.damaged_bytes += other.damaged_bytes;
        self.malformed += other.malformed;
        self.newer += other.newer;
    }
}

/// One segment, record by record.
pub(super) struct SegmentRecords {
    reader: SegmentReader<File>,
    ready: VecDeque<Record>,
    /// Behind the last sound block.
    pub(super) sound_until: u64,
    pub(super) troubles: Troubles,
}

impl SegmentRecords {
    /// From `offset` on. `None`: the file is gone, as after retention.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Option<SegmentRecords>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(path, &error)),
        };
        file.seek(SeekFrom::Start(offset)).map_err(|error| named(path, &error))?;
        let reader = SegmentReader::new(file, offset, None);
        let (ready, troubles) = (VecDeque::new(), Troubles::default());
        Ok(Some(SegmentRecords { reader, ready, sound_until: offset, troubles }))
    }

    pub(super) fn next(&mut self, selection: &Selection) -> io::Result<Option<Record>> {
        while self.ready.is_empty() {
            let Some(piece) = self.reader.next_piece()? else { return Ok(None) };
            match piece {
                Piece::Block { offset, head, payload } => {
                    let length = crate::wire::record::block::HEAD_BYTES + payload.len();
                    self.sound_until = offset + length as u64;
                    if head.kind == BlockKind::Records {
                        decode_block(payload, selection, &mut self.ready, &mut self.troubles);
                    }
                }
                Piece::Damage(stretch) => self.troubles.damaged_bytes += stretch.bytes,
                // Perhaps being written at this moment: what the next reading is for.
                Piece::Torn(_) => return Ok(None),
            }
        }
        Ok(self.ready.pop_front())
    }
}

fn decode_block(
    mut payload: &[u8],
    selection: &Selection,
    ready: &mut VecDeque<Record>,
    troubles: &mut Troubles,
) {
    while !payload.is_empty() {
        let Ok((body, taken)) = split(payload) else {
            troubles.malformed += 1;
            return;
        };
        payload = &payload[taken..];
        if !selection.admits_body(body) {
            continue;
        }
        match decode_body(body) {
            Ok(record) if selection.admits(&record) => ready.push_back(record),
            Ok(_) => {}
            Err(Malformed::Newer) => troubles.newer += 1,
            Err(_) => troubles.malformed += 1,
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The segments of records that can hold what is selected: those that another one followed before `since` cannot.
fn segments_of(dir: &Path, selection: &Selection) -> io::Result<Vec<SegmentPath>> {
    let mut segments = segments(dir, Row::Records).map_err(|error| named(dir, &error))?;
    if selection.since > 0 {
        let begun_before = |segment: &SegmentPath| {
            started(&segment.path).is_some_and(|started| started <= selection.since)
        };
        let first = segments.iter().rposition(begun_before).unwrap_or(0);
        segments.drain(..first);
    }
    Ok(segments)
}

/// When a segment was begun.
fn started(path: &Path) -> Option<u64> {
    let mut reader = SegmentReader::new(File::open(path).ok()?, 0, None);
    match reader.next_piece().ok()?? {
        Piece::Block { head, payload, .. } if head.kind == BlockKind::Head => {
            Some(SegmentHead::decode(payload).ok()?.started_unix_nanos)
        }
        _ => None,
    }
}

/// The newest records.
pub(super) struct Newest {
    /// In the order in which they ended.
    pub(super) records: Vec<Record>,
    /// There are older ones.
    pub(super) more: bool,
    /// Where reading each directory would go on.
    pub(super) tails: Vec<Tail>,
    pub(super) troubles: Troubles,
}

/// Where reading a directory goes on.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) dir: PathBuf,
    /// `None`: there is no segment yet.
    pub(super) segment: Option<SegmentPath>,
    pub(super) offset: u64,
}

/// The newest `count` records of all directories together, read from the newest segments backwards.
pub(super) fn newest(dirs: &[PathBuf], selection: &Selection, count: usize) -> io::Result<Newest> {
    let (records, tails, troubles) = (Vec::new(), Vec::new(), Troubles::default());
    let mut newest = Newest { records, more: false, tails, troubles };
    for dir in dirs {
        newest_of(dir, selection, count, &mut newest)?;
    }
    newest.records.sort_by_key(view::ended_unix_nanos);
    let surplus = newest.records.len().saturating_sub(count);
    newest.records.drain(..surplus);
    newest.more |= surplus > 0;
    Ok(newest)
}

fn newest_of(
    dir: &Path,
    selection: &Selection,
    count: usize,
    newest: &mut Newest,
) -> io::Result<()> {
    let segments = segments_of(dir, selection)?;
    let mut tail = Tail { dir: dir.to_owned(), segment: segments.last().cloned(), offset: 0 };
    let mut wanted = count;
    for segment in segments.iter().rev() {
        if wanted == 0 {
            newest.more = true;
            break;
        }
        let Some(mut records) = SegmentRecords::open(&segment.path, 0)? else { break };
        let mut kept = VecDeque::new();
        while let Some(record) = records.next(selection)? {
            if kept.len() == wanted {
                kept.pop_front();
                newest.more = true;
            }
            kept.push_back(record);
        }
        wanted -= kept.len();
        newest.records.extend(kept);
        newest.troubles.add(&records.troubles);
        if tail.segment.as_ref() == Some(segment) {
            tail.offset = records.sound_until;
        }
    }
    newest.tails.push(tail);
    Ok(())
}

/// All records of some directories, merged in the order in which they ended.
pub(super) struct Merged {
    dirs: Vec<DirRecords>,
    selection: Selection,
    pub(super) troubles: Troubles,
}

struct DirRecords {
    /// Newest first.
    to_read: Vec<SegmentPath>,
    reading: Option<SegmentRecords>,
    next: Option<Record>,
}

/// Opens all directories.
pub(super) fn all(dirs: &[PathBuf], selection: &Selection) -> io::Result<Merged> {
    let mut merged =
        Merged { dirs: Vec::new(), selection: selection.clone(), troubles: Troubles::default() };
    for dir in dirs {
        let mut to_read = segments_of(dir, selection)?;
        to_read.sort_by_key(|segment| Reverse(segment.number));
        let mut records = DirRecords { to_read, reading: None, next: None };
        records.advance(&merged.selection, &mut merged.troubles)?;
        merged.dirs.push(records);
    }
    Ok(merged)
}

impl Merged {
    /// The next record.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let ended = |dir: &DirRecords| dir.next.as_ref().map(view::ended_unix_nanos);
        let first =
            self.dirs.iter_mut().filter(|dir| dir.next.is_some()).min_by_key(|dir| ended(dir));
        let Some(dir) = first else { return Ok(None) };
        let record = dir.next.take();
        dir.advance(&self.selection, &mut self.troubles)?;
        Ok(record)
    }
}

impl DirRecords {
    fn advance(&mut self, selection: &Selection, troubles: &mut Troubles) -> io::Result<()> {
        loop {
            if let Some(reading) = &mut self.reading {
                self.next = reading.next(selection)?;
                if self.next.is_some() {
                    return Ok(());
                }
                troubles.add(&reading.troubles);
                self.reading = None;
            }
            let Some(segment) = self.to_read.pop() else { return Ok(()) };
            self.reading = SegmentRecords::open(&segment.path, 0)?;
        }
    }
}
