//! What the log needs of a file system, as a trait: tests put one with a full disk in the place of the real one.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where segments are created.
pub trait Disk: Debug + Send + Sync {
    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>>;
}

/// An open segment.
pub trait SegmentFile: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Whatever the file system says; part of the bytes may be written then.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn cut(&self, length: u64) -> io::Result<()>;
    /// Returns once what was written is on the disk.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn sync(&self) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(file))
    }
}

impl SegmentFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Which of the two rows of segments in a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Records: `000000000012.tlog`.
    Records,
    /// Bodies: `bodies-000000000003.tlog`.
    Bodies,
}

/// A segment file by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentPath {
    /// Its row.
    pub row: Row,
    /// Its number; within a row the order of numbers is the order in time.
    pub number: u64,
    /// The file.
    pub path: PathBuf,
}

impl SegmentPath {
    /// The segment of that number.
    #[must_use]
    pub fn new(dir: &Path, row: Row, number: u64) -> SegmentPath {
        let prefix = if row == Row::Bodies { BODIES_PREFIX } else { "" };
        SegmentPath { row, number, path: dir.join(format!("{prefix}{number:012}{SUFFIX}")) }
    }

    fn of_file_name(dir: &Path, name: &str) -> Option<SegmentPath> {
        let stem = name.strip_suffix(SUFFIX)?;
        let (row, digits) = match stem.strip_prefix(BODIES_PREFIX) {
            Some(digits) => (Row::Bodies, digits),
            None => (Row::Records, stem),
        };
        let segment = SegmentPath::new(dir, row, digits.parse().ok()?);
        (segment.path.file_name()? == name).then_some(segment)
    }
}

/// The segments of one row in a directory, oldest first. Other files are left alone.
///
/// # Errors
/// If the directory cannot be read.
pub fn segments(dir: &Path, row: Row) -> io::Result<Vec<SegmentPath>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let segment = name.to_str().and_then(|name| SegmentPath::of_file_name(dir, name));
        found.extend(segment.filter(|segment| segment.row == row));
    }
    found.sort();
    Ok(found)
}

const SUFFIX: &str = ".tlog";
const BODIES_PREFIX: &str = "bodies-";
/// The log names people and what they asked for: not for everybody on the machine.
const FILE_MODE: u32 = 0o640;
