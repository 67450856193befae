//! The thread for what may take long: syncing to the disk and deleting old segments. A slow disk holds up this thread
//! and neither the writer nor, behind it, the queues.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use super::{
    Clock, LogCounters,
    disk::{Row, SegmentFile},
    retention::{self, Retention},
};
use crate::base::{limits, units::UnixTime};

/// What the writers hand to the keeper.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    to_do: Mutex<ToDo>,
    wake: Condvar,
    dirty: [AtomicBool; 2],
}

#[derive(Debug, Default)]
struct ToDo {
    active: [Option<(PathBuf, Arc<dyn SegmentFile>)>; 2],
    retired: Vec<Arc<dyn SegmentFile>>,
    /// A segment was begun: its name must reach the disk, and an older one may have to go.
    begun: bool,
    stop: bool,
}

impl Keeper {
    pub(super) fn opened(&self, row: Row, path: &Path, file: &Arc<dyn SegmentFile>) {
        let mut to_do = self.lock();
        to_do.active[row as usize] = Some((path.to_owned(), Arc::clone(file)));
        to_do.begun = true;
    }

    pub(super) fn retired(&self, file: &Arc<dyn SegmentFile>) {
        self.lock().retired.push(Arc::clone(file));
    }

    pub(super) fn dirtied(&self, row: Row) {
        self.dirty[row as usize].store(true, Ordering::Release);
    }

    /// Has the thread sync everything once more and end.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, ToDo> {
        self.to_do.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own part.
pub(super) struct KeeperThread {
    pub(super) keeper: Arc<Keeper>,
    pub(super) counters: Arc<LogCounters>,
    pub(super) clock: Clock,
    pub(super) dir: PathBuf,
    pub(super) retention: Retention,
    pub(super) sync_every: Duration,
}

impl KeeperThread {
    pub(super) fn run(self) {
        let mut next_sweep = UnixTime::default();
        let mut complained = false;
        loop {
            let (stop, begun, retired) = self.wait();
            let synced = self.sync(&retired, begun);
            if let Err(error) = &synced {
                self.counters.sync_errors.fetch_add(1, Ordering::Relaxed);
                if !complained {
                    eprintln!(
                        "trunkline: log: cannot sync {}: {error}; records written since may be lost if the machine fails. \
                         Check the disk",
                        self.dir.display()
                    );
                }
            }
            complained = synced.is_err();
            let now = (self.clock)();
            if begun || now >= next_sweep {
                next_sweep = now.after(limits::LOG_SWEEP_EVERY);
                self.sweep(now);
            }
            if stop {
                return;
            }
        }
    }

    fn wait(&self) -> (bool, bool, Vec<Arc<dyn SegmentFile>>) {
        let mut to_do = self.keeper.lock();
        if !to_do.stop {
            let waited = self.keeper.wake.wait_timeout(to_do, self.sync_every);
            to_do = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (to_do.stop, std::mem::take(&mut to_do.begun), std::mem::take(&mut to_do.retired))
    }

    fn sync(&self, retired: &[Arc<dyn SegmentFile>], begun: bool) -> io::Result<()> {
        for file in retired {
            file.sync()?;
        }
        if begun {
            File::open(&self.dir)?.sync_all()?;
        }
        for (row, dirty) in self.keeper.dirty.iter().enumerate() {
            let file = self.keeper.lock().active[row].as_ref().map(|(_, file)| Arc::clone(file));
            if let (true, Some(file)) = (dirty.swap(false, Ordering::AcqRel), file) {
                file.sync().inspect_err(|_| dirty.store(true, Ordering::Release))?;
            }
        }
        Ok(())
    }

    fn sweep(&self, now: UnixTime) {
        let active: Vec<PathBuf> =
            self.keeper.lock().active.iter().flatten().map(|(path, _)| path.clone()).collect();
        let now = UNIX_EPOCH + Duration::from_nanos(now.nanos);
        match retention::sweep(&self.dir, &self.retention, &active, now) {
            Ok(deleted) => {
                let count = deleted.paths.len() as u64;
                self.counters.deleted_segments.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => eprintln!(
                "trunkline: log: cannot delete old segments in {}: {error}; the log may outgrow log.retention",
                self.dir.display()
            ),
        }
    }
}
