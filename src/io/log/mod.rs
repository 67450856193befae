//! The request log's way to the disk: a queue a core, a writer thread, a keeper thread, and recovery at start.
//!
//! ```text
//! core 0 ─► pages ─┐                                  ┌─► 000000000012.tlog      keeper: fdatasync every `log.sync`,
//! core 1 ─► pages ─┼─► writer: blocks with checksums ─┘                                  deletes what is too old
//! bodies ─► queue ─► body writer: zstd ─────────────────► bodies-000000000003.tlog
//! ```
//! A process begins segments of its own and never appends to those of another. `lock` in the directory keeps a
//! second process out.

mod body;
pub mod disk;
mod keeper;
mod level;
mod queue;
pub mod read;
pub mod recovery;
pub mod retention;
mod tape;
mod writer;

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

pub use body::BodyEntry;
pub use level::QueueLevel;
pub use queue::{LogSender, Submitted, Unwritten};
pub use recovery::Recovery;

use crate::{
    base::{limits, units::UnixTime},
    config,
};
use body::{BODIES_MAX, BodyQueue, BodyWriter};
use disk::{Disk, RealDisk, Row};
use keeper::{Keeper, KeeperThread};
use queue::{Bell, Lane, LaneReader};
use retention::Retention;
use tape::{Desk, Tape};
use writer::{Batch, Writer};

/// Asks for the civil time; a stand-in in tests.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// The machine's civil time.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(system_now)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log's threads are no worker and have no Net to ask"
)]
fn system_now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime { nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) }
}

/// Owns the log's threads and the lock on its directory.
#[derive(Debug)]
pub struct LogWriter {
    threads: Option<Threads>,
    counters: Arc<LogCounters>,
    /// Held until the end of the process, and given up by the kernel however that comes.
    _lock: File,
}

#[derive(Debug)]
struct Threads {
    stop: Arc<AtomicBool>,
    bell: Arc<Bell>,
    bodies: Option<Arc<BodyQueue>>,
    keeper: Arc<Keeper>,
    writers: Vec<JoinHandle<()>>,
    keeper_thread: JoinHandle<()>,
}

/// What became of the log when it stopped.
pub type Summary = LogStats;

impl LogWriter {
    /// Locks the directory, cuts torn tails, begins a segment and starts the threads. Gives a sender for each core.
    ///
    /// # Errors
    /// If another process writes there, or the directory cannot be made, read or written; says which and what to do.
    pub fn start(
        settings: &config::Log,
        cores: usize,
        process: u64,
        clock: Clock,
    ) -> io::Result<(LogWriter, Vec<LogSender>, Recovery)> {
        LogWriter::start_on(Arc::new(RealDisk), settings, cores, process, clock)
    }

    /// As [`LogWriter::start`], on any [`Disk`].
    ///
    /// # Errors
    /// As there.
    pub fn start_on(
        disk: Arc<dyn Disk>,
        settings: &config::Log,
        cores: usize,
        process: u64,
        clock: Clock,
    ) -> io::Result<(LogWriter, Vec<LogSender>, Recovery)> {
        let dir = &settings.dir;
        let lock = lock(dir)?;
        let recovery = recovery::recover(dir).map_err(|error| named(dir, "recover", &error))?;
        let queue_bytes = queue_bytes_max(cores);
        let lanes: Vec<_> =
            (0..cores).map(|core| Arc::new(Lane::new(core as u16, queue_bytes))).collect();
        let bodies = settings.bodies.then(|| Arc::new(BodyQueue::new(BODIES_MAX)));
        let counters = Arc::new(LogCounters::new(lanes.clone(), bodies.clone()));
        let desk = Desk {
            disk,
            process_started: clock(),
            clock,
            counters: Arc::clone(&counters),
            keeper: Arc::new(Keeper::default()),
            dir: dir.clone(),
            process,
            segment_bytes_max: segment_bytes_max(settings.retain_bytes),
        };
        let threads = Threads::start(desk, settings, &lanes, bodies.as_ref(), &recovery)
            .map_err(|error| named(dir, "write", &error))?;
        let senders = lanes
            .into_iter()
            .map(|lane| LogSender::new(lane, Arc::clone(&threads.bell), bodies.clone(), process))
            .collect();
        Ok((LogWriter { threads: Some(threads), counters, _lock: lock }, senders, recovery))
    }

    /// Counters, for metrics.
    #[must_use]
    pub fn counters(&self) -> Arc<LogCounters> {
        Arc::clone(&self.counters)
    }

    /// Writes and syncs all that was submitted before, closes the segments and ends the threads. Submit no more.
    #[must_use]
    pub fn stop(mut self) -> Summary {
        self.end_threads();
        self.counters.stats()
    }

    fn end_threads(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.end();
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.end_threads();
    }
}

impl Threads {
    fn start(
        desk: Desk,
        settings: &config::Log,
        lanes: &[Arc<Lane>],
        bodies: Option<&Arc<BodyQueue>>,
        recovery: &Recovery,
    ) -> io::Result<Threads> {
        let stop = Arc::new(AtomicBool::new(false));
        let bell = Arc::new(Bell::default());
        let writer = Writer {
            tape: Tape::begin(desk.clone(), Row::Records, recovery.next_records)?,
            lanes: lanes.iter().map(|lane| LaneReader::new(Arc::clone(lane))).collect(),
            bell: Arc::clone(&bell),
            stop: Arc::clone(&stop),
            counters: Arc::clone(&desk.counters),
            batch: Batch::default(),
        };
        let mut writers = vec![spawn("log-writer", move || writer.run())?];
        if let Some(queue) = bodies {
            let tape = Tape::begin(desk.clone(), Row::Bodies, recovery.next_bodies)?;
            let (queue, stop) = (Arc::clone(queue), Arc::clone(&stop));
            let writer = BodyWriter { tape, queue, stop };
            writers.push(spawn("log-bodies", move || writer.run())?);
        }
        let keeper_thread = KeeperThread {
            keeper: Arc::clone(&desk.keeper),
            counters: desk.counters,
            clock: desk.clock,
            dir: desk.dir,
            retention: Retention {
                keep_for: settings.retain_for,
                keep_bytes: settings.retain_bytes,
            },
            sync_every: settings.sync_every,
        };
        let keeper_thread = spawn("log-keeper", move || keeper_thread.run())?;
        let bodies = bodies.cloned();
        Ok(Threads { stop, bell, bodies, keeper: desk.keeper, writers, keeper_thread })
    }

    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
        if let Some(bodies) = &self.bodies {
            bodies.ring();
        }
        for writer in self.writers {
            // A panic of that thread was printed when it happened.
            drop(writer.join());
        }
        self.keeper.stop();
        drop(self.keeper_thread.join());
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Counters of a log; cheap to read at any time.
#[derive(Debug)]
pub struct LogCounters {
    lanes: Vec<Arc<Lane>>,
    bodies: Option<Arc<BodyQueue>>,
    written: AtomicU64,
    written_bytes: AtomicU64,
    lost: AtomicU64,
    write_errors: AtomicU64,
    sync_errors: AtomicU64,
    deleted_segments: AtomicU64,
}

/// What the counters say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Records that were queued.
    pub queued: u64,
    /// Records that found the queue full.
    pub dropped: u64,
    /// Records in a file.
    pub written: u64,
    /// Records that were queued and given up at the stop because the disk refused them.
    pub lost: u64,
    /// Records queued and not yet written.
    pub depth: u64,
    /// Bytes written, of records and bodies.
    pub written_bytes: u64,
    /// Writes that the disk refused.
    pub write_errors: u64,
    /// Syncs that failed.
    pub sync_errors: u64,
    /// Segments deleted by retention.
    pub deleted_segments: u64,
    /// Bodies in a file.
    pub bodies_written: u64,
    /// Bodies dropped, because their queue was full or the disk refused.
    pub bodies_dropped: u64,
}

impl LogCounters {
    fn new(lanes: Vec<Arc<Lane>>, bodies: Option<Arc<BodyQueue>>) -> LogCounters {
        LogCounters {
            lanes,
            bodies,
            written: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            write_errors: AtomicU64::new(0),
            sync_errors: AtomicU64::new(0),
            deleted_segments: AtomicU64::new(0),
        }
    }

    /// Reads them. A record that is on its way meanwhile may be counted in one number and not yet in another.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let sum = |count: fn(&Lane) -> &AtomicU64| -> u64 {
            self.lanes.iter().map(|lane| count(lane).load(Ordering::Relaxed)).sum()
        };
        let of_bodies = |count: fn(&BodyQueue) -> &AtomicU64| {
            self.bodies.as_ref().map_or(0, |bodies| count(bodies).load(Ordering::Relaxed))
        };
        let written = self.written.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Relaxed);
        let dropped = sum(|lane| &lane.dropped);
        let queued = sum(|lane| &lane.submitted).saturating_sub(dropped);
        LogStats {
            queued,
            dropped,
            written,
            lost,
            depth: queued.saturating_sub(written + lost),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            write_errors: self.write_errors.load(Ordering::Relaxed),
            sync_errors: self.sync_errors.load(Ordering::Relaxed),
            deleted_segments: self.deleted_segments.load(Ordering::Relaxed),
            bodies_written: of_bodies(|bodies| &bodies.written),
            bodies_dropped: of_bodies(|bodies| &bodies.dropped),
        }
    }
}

/// Makes the directory and locks it for this process.
fn lock(dir: &Path) -> io::Result<File> {
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, DIRECTORY_MODE);
    builder.recursive(true).create(dir).map_err(|error| named(dir, "make", &error))?;
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| named(&path, "open", &error))?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            drop((&mut file).take(32).read_to_string(&mut holder));
            Err(io::Error::new(io::ErrorKind::WouldBlock, InUse::new(dir, holder.trim())))
        }
        Err(TryLockError::Error(error)) => Err(named(&path, "lock", &error)),
    }
}

/// Another process writes into the directory.
#[derive(Debug)]
struct InUse(String);

impl InUse {
    fn new(dir: &Path, holder: &str) -> InUse {
        InUse(format!(
            "the log directory {} is in use by another trunkline process (pid {holder}); stop that one, or give this \
             one a directory of its own with --log DIR",
            dir.display()
        ))
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InUse {}

fn named(path: &Path, verb: &str, error: &io::Error) -> io::Error {
    let hint = "; name a writable directory with --log DIR, or turn the log off with --log off";
    io::Error::new(error.kind(), format!("log: cannot {verb} {}: {error}{hint}", path.display()))
}

/// Small enough that retention by size has several segments to choose from.
fn segment_bytes_max(retain_bytes: Option<u64>) -> u64 {
    let share = retain_bytes.map_or(u64::MAX, |bytes| bytes / 8);
    share.clamp(limits::LOG_SEGMENT_BYTES_MIN, limits::LOG_SEGMENT_BYTES_MAX)
}

fn queue_bytes_max(cores: usize) -> usize {
    let share = limits::LOG_QUEUES_BYTES_MAX / cores.max(1);
    share.clamp(limits::LOG_QUEUE_BYTES_MIN, limits::LOG_QUEUE_BYTES_MAX)
}

/// The log names people and what they asked for: not for everybody on the machine.
const DIRECTORY_MODE: u32 = 0o750;
