//! Deletes the oldest whole segments once they are too old or together too large; never one that is being written.

use std::{fs, io, path::Path, path::PathBuf, time::Duration, time::SystemTime};

use super::disk::{Row, segments};

/// How much may be kept.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// Age at which segments are deleted, by their last write.
    pub keep_for: Option<Duration>,
    /// Total size above which the oldest segments are deleted, in bytes.
    pub keep_bytes: Option<u64>,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Oldest first.
    pub paths: Vec<PathBuf>,
    /// Their size.
    pub bytes: u64,
}

struct Candidate {
    written: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Deletes what `retention` no longer keeps, except `active`.
///
/// # Errors
/// If the directory cannot be read or a segment cannot be deleted.
pub fn sweep(
    dir: &Path,
    retention: &Retention,
    active: &[PathBuf],
    now: SystemTime,
) -> io::Result<Deleted> {
    let mut candidates = candidates(dir)?;
    candidates.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
    let mut deleted = Deleted::default();
    for candidate in candidates {
        let age = now.duration_since(candidate.written).unwrap_or_default();
        let too_old = retention.keep_for.is_some_and(|keep_for| age > keep_for);
        let too_much = retention.keep_bytes.is_some_and(|keep_bytes| total > keep_bytes);
        if !too_old && !too_much {
            break;
        }
        if active.contains(&candidate.path) {
            continue;
        }
        fs::remove_file(&candidate.path)?;
        total -= candidate.bytes;
        deleted.bytes += candidate.bytes;
        deleted.paths.push(candidate.path);
    }
    Ok(deleted)
}

fn candidates(dir: &Path) -> io::Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for row in [Row::Records, Row::Bodies] {
        for segment in segments(dir, row)? {
            let Ok(metadata) = fs::metadata(&segment.path) else { continue };
            let written = metadata.modified()?;
            candidates.push(Candidate { written, path: segment.path, bytes: metadata.len() });
        }
    }
    Ok(candidates)
}
