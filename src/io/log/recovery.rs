//! At start: finds what the last process left unfinished and cuts it off, so that the files are sound again.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    disk::{Row, SegmentPath, segments},
    read::{Piece, SegmentReader, Stretch, TAIL_BYTES, is_closed},
};

/// What was found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that the directory held.
    pub segments: usize,
    /// The number of the next segment of records.
    pub next_records: u64,
    /// The number of the next segment of bodies.
    pub next_bodies: u64,
    /// What was cut.
    pub cuts: Vec<Cut>,
}

/// A tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment; it was deleted if nothing sound was in it.
    pub path: PathBuf,
    /// Where it ends now.
    pub offset: u64,
    /// Bytes cut.
    pub bytes: u64,
    /// Records that they claimed to hold, as far as could be seen.
    pub records: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { path, offset, bytes, records } = self;
        write!(
            f,
            "log: {}: the last process was stopped in the middle of a write; cut {bytes} bytes at offset {offset} \
             ({records} records or fewer)",
            path.display()
        )
    }
}

/// Cuts the torn tails in `dir`.
///
/// # Errors
/// If the directory or its newest segments cannot be read or cut.
pub fn recover(dir: &Path) -> io::Result<Recovery> {
    let mut recovery = Recovery::default();
    recovery.next_records = recover_row(dir, Row::Records, &mut recovery)?;
    recovery.next_bodies = recover_row(dir, Row::Bodies, &mut recovery)?;
    Ok(recovery)
}

/// Returns the number of the row's next segment. Only the segments of the last process can be torn: what is older was
/// looked at when that one started.
fn recover_row(dir: &Path, row: Row, recovery: &mut Recovery) -> io::Result<u64> {
    let segments = segments(dir, row)?;
    recovery.segments += segments.len();
    let mut newest_process = None;
    for segment in segments.iter().rev() {
        let mut file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
        if closed(&mut file)? {
            break;
        }
        let process = cut_tail(segment, file, recovery)?;
        if process.is_some() && newest_process.is_some() && process != newest_process {
            break;
        }
        newest_process = newest_process.or(process);
    }
    Ok(segments.last().map_or(1, |segment| segment.number + 1))
}

fn closed(file: &mut File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(is_closed(&tail))
}

fn cut_tail(segment: &SegmentPath, file: File, recovery: &mut Recovery) -> io::Result<Option<u64>> {
    let mut reader = SegmentReader::new(&file, 0, None);
    let mut torn = None;
    let mut sound = false;
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Block { .. } => sound = true,
            Piece::Damage(_) => {}
            Piece::Torn(stretch) => torn = Some(stretch),
        }
    }
    let process = reader.process();
    if let Some(Stretch { offset, bytes, records }) = torn {
        file.set_len(offset)?;
        file.sync_all()?;
        recovery.cuts.push(Cut { path: segment.path.clone(), offset, bytes, records });
    }
    if !sound {
        fs::remove_file(&segment.path)?;
    }
    Ok(process)
}
