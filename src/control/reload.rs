//! A new configuration while the old one runs: the file is watched, SIGHUP is heard, a valid file becomes an epoch,
//! an invalid one is refused and said.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::load::{self, Origin, Overrides};
use crate::{
    base::{limits, units::UnixTime},
    config::{Config, digest},
    io::{
        clock::Clock,
        hub::{Epoch, Hub},
    },
};

/// How often the watched files are looked at.
pub const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Publishes new epochs.
pub struct Reloader {
    origin: Origin,
    overrides: Overrides,
    hub: Arc<Hub>,
    reloads: Arc<Reloads>,
    clock: Clock,
    seen: Vec<(PathBuf, Option<Stamp>)>,
    /// The configuration that the process began with: what cannot change is compared with it.
    listening: Fixed,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new epoch is in force.
    Applied {
        /// Its number.
        epoch: u64,
        /// What of it waits for a restart.
        needs_restart: Vec<&'static str>,
    },
    /// There was nothing new.
    Unchanged {
        /// The epoch that goes on.
        epoch: u64,
    },
    /// The file has mistakes.
    Refused {
        /// The epoch that goes on.
        epoch: u64,
        /// A line each.
        mistakes: String,
    },
}

/// What became of the reloads of this process; read by the admin interface.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<Told>);

/// What [`Reloads`] tells.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Epochs that came into force, the first one included.
    pub applied: u64,
    /// Files that were refused.
    pub refused: u64,
    /// When the last refusal was.
    pub last_refused: Option<UnixTime>,
    /// The newest epochs, the one in force last.
    pub epochs: VecDeque<PastEpoch>,
}

/// An epoch that is or was in force.
#[derive(Clone, Copy, Debug)]
pub struct PastEpoch {
    /// Its number.
    pub number: u64,
    /// The digest of its configuration.
    pub digest: [u8; 32],
    /// Since when.
    pub since: UnixTime,
}

impl Reloads {
    /// What there is to tell.
    #[must_use]
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    fn applied(&self, epoch: &Epoch, since: UnixTime) {
        let mut told = self.lock();
        told.applied += 1;
        if told.epochs.len() >= limits::EPOCHS_TOLD_MAX {
            told.epochs.pop_front();
        }
        let (number, digest) = (epoch.number, epoch.config.digest);
        told.epochs.push_back(PastEpoch { number, digest, since });
    }

    fn refused(&self, at: UnixTime) {
        let mut told = self.lock();
        told.refused += 1;
        told.last_refused = Some(at);
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cannot change while the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    listen: std::net::SocketAddr,
    admin: Option<std::net::SocketAddr>,
    workers: crate::config::Workers,
    state: PathBuf,
    connections: Option<usize>,
    log: Option<crate::config::Log>,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        Fixed {
            listen: config.listen,
            admin: config.admin.as_ref().map(|admin| admin.listen),
            workers: config.workers.clone(),
            state: config.state.clone(),
            connections: config.limits.connections,
            log: config.log.clone(),
        }
    }

    fn changed(&self, other: &Fixed) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut note = |same: bool, name| {
            if !same {
                names.push(name);
            }
        };
        note(self.listen == other.listen, "listen");
        note(self.admin == other.admin, "admin.listen");
        note(self.workers == other.workers, "workers");
        note(self.state == other.state, "state");
        note(self.connections == other.connections, "limits.connections");
        match (&self.log, &other.log) {
            (Some(old), Some(new)) => {
                note(old.dir == new.dir, "log.dir");
                // Turned off, no body is logged from then on; the thread that writes them is started once.
                note(old.bodies || !new.bodies, "log.bodies");
                let retention = |log: &crate::config::Log| (log.retain_for, log.retain_bytes);
                note(retention(old) == retention(new), "log.retention");
                note(old.sync_every == new.sync_every, "log.sync");
            }
            (old, new) => note(old.is_none() && new.is_none(), "log.dir"),
        }
        names
    }
}

impl Reloader {
    /// For the epoch that the hub holds. `looked`: what [`first_look`] saw before its file was read.
    pub fn new(
        origin: Origin,
        overrides: Overrides,
        hub: Arc<Hub>,
        clock: Clock,
        looked: Option<Stamp>,
    ) -> Reloader {
        let epoch = hub.epoch();
        let reloads = Arc::new(Reloads::default());
        reloads.applied(&epoch, clock.unix_now());
        let listening = Fixed::of(&epoch.config);
        let mut seen = stamps(&origin, &epoch.config);
        if let (Origin::File(_), Some((_, stamp))) = (&origin, seen.first_mut()) {
            *stamp = looked;
        }
        Reloader { origin, overrides, hub, reloads, clock, seen, listening }
    }

    /// Reloads if a watched file has changed.
    pub fn watch(&mut self) {
        if self.look() != self.seen {
            self.reload();
        }
    }

    /// The watched files as they are now.
    fn look(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        self.seen.iter().map(|(path, _)| (path.clone(), stamp(path))).collect()
    }

    /// What became of the reloads so far, and will be told of later ones.
    pub fn reloads(&self) -> Arc<Reloads> {
        Arc::clone(&self.reloads)
    }

    /// Reads the file again and publishes it as a new epoch if it is valid.
    pub fn reload(&mut self) -> Outcome {
        let old = self.hub.epoch();
        // Before they are read: what changes from here on is seen at the next look.
        self.seen = self.look();
        match self.attempt(&old) {
            Ok(Some(epoch)) => self.apply(epoch),
            Ok(None) => {
                self.hub.reloaded(None);
                Outcome::Unchanged { epoch: old.number }
            }
            Err(mistakes) => {
                let mistakes = mistakes.trim_end().to_owned();
                eprintln!("{mistakes}\ntrunkline: refused; epoch {} stays in force", old.number);
                self.reloads.refused(self.clock.unix_now());
                self.hub.reloaded(Some(mistakes.clone()));
                Outcome::Refused { epoch: old.number, mistakes }
            }
        }
    }

    fn apply(&mut self, epoch: Arc<Epoch>) -> Outcome {
        let number = epoch.number;
        let needs_restart = self.listening.changed(&Fixed::of(&epoch.config));
        if !needs_restart.is_empty() {
            eprintln!("trunkline: {} need a restart to change", needs_restart.join(", "));
        }
        let mut seen = stamps(&self.origin, &epoch.config);
        for (path, stamp) in &mut seen {
            if let Some((_, before)) = self.seen.iter().find(|(known, _)| known == path) {
                *stamp = *before;
            }
        }
        self.seen = seen;
        eprintln!("trunkline: epoch {number} is in force");
        self.reloads.applied(&epoch, self.clock.unix_now());
        self.hub.publish(epoch);
        self.hub.reloaded(None);
        Outcome::Applied { epoch: number, needs_restart }
    }

    /// A new epoch; `None`: nothing has changed.
    fn attempt(&self, old: &Epoch) -> Result<Option<Arc<Epoch>>, String> {
        if !matches!(self.origin, Origin::File(_)) {
            return Ok(None);
        }
        let config = load::configuration(&self.origin, &self.overrides)?;
        let certificates =
            config.tls.is_some() || config.virtual_keys.iter().any(|key| key.ca.is_some());
        // The digest knows neither credentials nor what is in files of certificates: those may have changed.
        let same = config.digest == old.config.digest && digest::same_secrets(&config, &old.config);
        if same && !certificates {
            return Ok(None);
        }
        load::epoch(config, next_number(old.number, self.clock)).map(Some)
    }
}

/// Numbers of epochs never repeat, also across restarts: milliseconds since 1970, or one more than the last.
#[must_use]
pub fn next_number(last: u64, clock: Clock) -> u64 {
    (clock.unix_now().nanos / 1_000_000).max(last + 1)
}

/// Looks at the configuration file before it is read at the start: what changes from then on is a reload.
#[must_use]
pub fn first_look(origin: &Origin) -> Option<Stamp> {
    match origin {
        Origin::File(path) => stamp(path),
        Origin::Text(_) | Origin::Defaults => None,
    }
}

/// The watched files, the configuration file first if there is one.
fn stamps(origin: &Origin, config: &Config) -> Vec<(PathBuf, Option<Stamp>)> {
    let mut files = Vec::new();
    if let Origin::File(path) = origin {
        files.push(path.clone());
    }
    if let Some(tls) = &config.tls {
        files.extend([tls.cert.clone(), tls.key.clone()]);
        files.extend(tls.client_ca.clone());
    }
    files.extend(config.virtual_keys.iter().filter_map(|key| key.ca.clone()));
    files.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let facts = std::fs::metadata(path).ok()?;
    Some(Stamp { modified: facts.modified().ok(), bytes: facts.len(), inode: facts.ino() })
}
