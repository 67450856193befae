//! Idle upstream connections of a core, by where they lead. The one used last is reused first, so that a burst's
//! extra connections age out.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;

use super::{
    inbound::Inbound,
    net::Reader,
    tls::{MaybeTlsReader, MaybeTlsWriter},
};
use crate::{
    base::{limits, units::Instant},
    config::edge::EgressProxy,
    journal::metrics::UpstreamPlace,
};

/// Where a connection leads: two requests may share one only if all of it is equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Whether it is under TLS.
    pub tls: bool,
    /// Host name or address literal.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The private root file that its certificate was checked against.
    pub ca: Option<PathBuf>,
    /// Whether its address had to pass the rules for custom hosts.
    pub guarded: bool,
    /// The proxy that it goes through.
    pub via: Option<Arc<EgressProxy>>,
}

/// An upstream connection.
pub struct Upstream<R, W> {
    /// What it sends us.
    pub inbound: Inbound<MaybeTlsReader<R>>,
    /// What we send it.
    pub writer: MaybeTlsWriter<W>,
    /// Its place among those that are open.
    pub place: UpstreamPlace,
}

/// The idle connections of a core.
pub struct Pool<R, W> {
    idle: HashMap<Route, VecDeque<Idle<R, W>>, RandomState>,
    /// Connections in all of `idle`.
    count: usize,
    idle_for: Duration,
}

struct Idle<R, W> {
    upstream: Upstream<R, W>,
    since: Instant,
}

impl<R, W> Default for Pool<R, W> {
    fn default() -> Pool<R, W> {
        Pool { idle: HashMap::default(), count: 0, idle_for: limits::POOL_IDLE_FOR }
    }
}

impl<R: Reader, W> Pool<R, W> {
    /// The connection to `route` that was used last, if one is idle, young enough, and has been silent: bytes that
    /// nobody asked for would be taken for the next user's answer.
    pub fn take(&mut self, route: &Route, now: Instant) -> Option<Upstream<R, W>> {
        let queue = self.idle.get_mut(route)?;
        while let Some(Idle { mut upstream, since }) = queue.pop_back() {
            self.count -= 1;
            if now.since(since) < self.idle_for && upstream.inbound.is_quiet() {
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection for the next request; over the bounds the oldest is closed.
    pub fn give(&mut self, route: &Route, mut upstream: Upstream<R, W>, now: Instant) {
        if !upstream.inbound.is_quiet() {
            return;
        }
        if self.idle.len() >= limits::POOL_ORIGINS_MAX && !self.idle.contains_key(route) {
            self.sweep(now);
            if self.idle.len() >= limits::POOL_ORIGINS_MAX {
                return;
            }
        }
        let queue = match self.idle.get_mut(route) {
            Some(queue) => queue,
            None => self.idle.entry(route.clone()).or_default(),
        };
        if queue.len() >= limits::POOL_IDLE_PER_ORIGIN_MAX {
            queue.pop_front();
        } else {
            self.count += 1;
        }
        queue.push_back(Idle { upstream, since: now });
    }

    /// Closes what idled too long, or was closed by its server. A connection that was given while what it had brought
    /// was still on its way to the client gives up its read buffer now.
    pub fn sweep(&mut self, now: Instant) {
        for queue in self.idle.values_mut() {
            queue.retain_mut(|idle| {
                now.since(idle.since) < self.idle_for && idle.upstream.inbound.is_quiet()
            });
        }
        self.idle.retain(|_, queue| !queue.is_empty());
        self.count = self.idle.values().map(VecDeque::len).sum();
    }

    /// Closes everything.
    pub fn clear(&mut self) {
        self.idle.clear();
        self.count = 0;
    }

    /// Idle connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
