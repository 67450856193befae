//! A new configuration while the old one runs: the file is watched, SIGHUP is heard, a valid file becomes an epoch,
//! an invalid one is refused and said.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::load::{self, Origin, Overrides};
use crate::{
    config::Config,
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
    clock: Clock,
    seen: Vec<(PathBuf, Option<Stamp>)>,
    /// The configuration that the process began with: what cannot change is compared with it.
    listening: Fixed,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

/// What cannot change while the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    listen: std::net::SocketAddr,
    admin: Option<std::net::SocketAddr>,
    workers: crate::config::Workers,
    log_dir: Option<PathBuf>,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        Fixed {
            listen: config.listen,
            admin: config.admin.as_ref().map(|admin| admin.listen),
            workers: config.workers.clone(),
            log_dir: config.log.as_ref().map(|log| log.dir.clone()),
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
        note(self.log_dir == other.log_dir, "log.dir");
        names
    }
}

impl Reloader {
    /// For the epoch that the hub holds.
    pub fn new(origin: Origin, overrides: Overrides, hub: Arc<Hub>, clock: Clock) -> Reloader {
        let epoch = hub.epoch();
        let listening = Fixed::of(&epoch.config);
        let seen = stamps(&origin, &epoch.config);
        Reloader { origin, overrides, hub, clock, seen, listening }
    }

    /// Reloads if a watched file has changed.
    pub fn watch(&mut self) {
        let files = self.seen.iter().map(|(path, _)| path.clone());
        let now: Vec<_> = files.map(|path| (path.clone(), stamp(&path))).collect();
        if now != self.seen {
            self.seen = now;
            self.reload();
        }
    }

    /// Reads the file again and publishes it as a new epoch if it is valid.
    pub fn reload(&mut self) {
        let old = self.hub.epoch();
        match self.attempt(&old) {
            Ok(Some(epoch)) => {
                let changed = self.listening.changed(&Fixed::of(&epoch.config));
                if !changed.is_empty() {
                    eprintln!("trunkline: {} need a restart to change", changed.join(", "));
                }
                self.seen = stamps(&self.origin, &epoch.config);
                eprintln!("trunkline: epoch {} is in force", epoch.number);
                self.hub.publish(epoch);
                self.hub.reloaded(None);
            }
            Ok(None) => self.hub.reloaded(None),
            Err(mistakes) => {
                let text = mistakes.trim_end();
                eprintln!("{text}\ntrunkline: refused; epoch {} stays in force", old.number);
                self.hub.reloaded(Some(text.to_owned()));
            }
        }
    }

    /// A new epoch; `None`: nothing has changed.
    fn attempt(&self, old: &Epoch) -> Result<Option<Arc<Epoch>>, String> {
        if !matches!(self.origin, Origin::File(_)) {
            return Ok(None);
        }
        let config = load::configuration(&self.origin, &self.overrides)?;
        let certificates =
            config.tls.is_some() || config.virtual_keys.iter().any(|key| key.ca.is_some());
        // Certificates live in files of their own: those may have changed where the configuration has not.
        if config.digest == old.config.digest && !certificates {
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
