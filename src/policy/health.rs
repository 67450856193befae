//! What was known of the targets when a request was planned. Part of the decision, and so of its record.

use smallvec::SmallVec;

use crate::{
    base::{limits, units::Instant},
    config::policy::{Leaf, Node, NodeKind, Policy},
};

use super::{
    breaker::Stage,
    condition::{Decided, could_decide},
};

/// What is known of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its breaker.
    pub breaker: Stage,
    /// For how long it is out of quota, by its own words; 0: it is not.
    pub out_for_nanos: u64,
    /// How long it takes to answer, peaks first; 0: not known.
    pub latency_nanos: u64,
    /// Requests that it is answering.
    pub in_flight: u64,
}

/// What is known of the targets of one policy, by [`crate::config::health::Watch::index`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    seen: SmallVec<[Seen; 4]>,
    /// What a record holds; of a request that runs there is none yet.
    recalled: Option<Box<Recalled>>,
}

/// What a record holds of a decision besides the health of targets, because the request itself is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Recalled {
    /// The hashes by which balances chose, by the balance's place.
    hashes: Vec<(String, u64)>,
    /// What conditional strategies chose, as [`Decided`] is written.
    conditions: Vec<String>,
}

/// Latency and running requests of a target or of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// See [`Seen`].
    pub latency_nanos: u64,
    /// See [`Seen`].
    pub in_flight: u64,
}

/// A snapshot as a record holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Paths of targets whose breaker was open.
    pub open_breakers: Vec<String>,
    /// `PATH what` and how much: hash, half_open, out_for, latency, in_flight.
    pub balance: Vec<(String, u64)>,
}

impl Snapshot {
    /// A snapshot of these, in the order of the policy's watched targets.
    pub fn of(seen: impl IntoIterator<Item = Seen>) -> Snapshot {
        Snapshot { seen: seen.into_iter().collect(), recalled: None }
    }

    /// The hash by which the balance at this place chose.
    pub(super) fn hash(&self, path: &str) -> Option<u64> {
        let hashes = &self.recalled.as_ref()?.hashes;
        hashes.iter().find(|(known, _)| known == path).map(|(_, hash)| *hash)
    }

    /// What the conditional strategy at this place chose.
    pub(super) fn decided<'p>(&self, node: &'p Node) -> Option<(Decided<'p>, &'p Node)> {
        let conditions = &self.recalled.as_ref()?.conditions;
        let is_recorded =
            |(decided, _): &(Decided<'p>, &'p Node)| conditions.contains(&decided.to_string());
        could_decide(node).find(is_recorded)
    }

    /// Nothing is known, or asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What is known of a leaf.
    #[must_use]
    pub fn leaf(&self, leaf: &Leaf) -> Seen {
        let watch = leaf.watch.as_ref();
        watch.and_then(|watch| self.seen.get(watch.index)).copied().unwrap_or_default()
    }

    /// Whether no request may pass: a leaf by its breaker, a group if all of it is open. A conditional strategy is
    /// not asked.
    #[must_use]
    pub fn is_open(&self, node: &Node) -> bool {
        match &node.kind {
            NodeKind::Leaf(leaf) => {
                let guarded = leaf.watch.as_ref().is_some_and(|watch| watch.breaker.is_some());
                guarded && self.leaf(leaf).breaker == Stage::Open
            }
            NodeKind::Conditional { .. } => false,
            _ => drawable(node).all(|child| self.is_open(child)),
        }
    }

    /// For how long a node is out of quota: a group, if all of it is, until the first is not. 0: it is not.
    #[must_use]
    pub fn out_for_nanos(&self, node: &Node) -> u64 {
        match &node.kind {
            NodeKind::Leaf(leaf) => {
                let aware = leaf.watch.as_ref().is_some_and(|watch| watch.rate_limit_aware);
                if aware { self.leaf(leaf).out_for_nanos } else { 0 }
            }
            NodeKind::Conditional { .. } => 0,
            _ => drawable(node).map(|child| self.out_for_nanos(child)).min().unwrap_or(0),
        }
    }

    /// The load of a node. Of a group: the requests of all of it, and the latency of what it tries first, or the mean
    /// where that is not known before.
    #[must_use]
    pub fn load(&self, node: &Node) -> Load {
        if let NodeKind::Leaf(leaf) = &node.kind {
            let Seen { latency_nanos, in_flight, .. } = self.leaf(leaf);
            return Load { latency_nanos, in_flight };
        }
        let loads: SmallVec<[Load; 8]> = drawable(node)
            .filter(|child| !self.is_open(child))
            .map(|child| self.load(child))
            .collect();
        let in_flight = loads.iter().map(|load| load.in_flight).sum();
        let known = || loads.iter().map(|load| load.latency_nanos).filter(|&nanos| nanos > 0);
        let latency_nanos = match &node.kind {
            NodeKind::Single(_) | NodeKind::Fallback { .. } => {
                loads.first().map_or(0, |load| load.latency_nanos)
            }
            _ => known().fold(0_u64, u64::saturating_add) / (known().count() as u64).max(1),
        };
        Load { latency_nanos, in_flight }
    }

    /// What a record needs to know to make the same decision again.
    #[must_use]
    pub fn noted(&self, policy: &Policy, hashed: &[(&str, u64)]) -> Noted {
        let mut noted = Noted::default();
        let hashes = hashed.iter().map(|(path, hash)| (format!("{path} {HASH}"), *hash));
        noted.balance.extend(hashes);
        for (watched, seen) in policy.watched.iter().zip(&self.seen) {
            if seen.breaker == Stage::Open {
                noted.open_breakers.push(watched.path.clone());
            }
            let half_open = u64::from(seen.breaker == Stage::HalfOpen);
            for (what, amount) in [
                (HALF_OPEN, half_open),
                (OUT_FOR, seen.out_for_nanos),
                (LATENCY, seen.latency_nanos),
                (IN_FLIGHT, seen.in_flight),
            ] {
                if amount > 0 {
                    noted.balance.push((format!("{} {what}", watched.path), amount));
                }
            }
        }
        noted
    }

    /// The snapshot that a record of this policy holds.
    #[must_use]
    pub fn recalled(
        policy: &Policy,
        open_breakers: &[String],
        balance: &[(String, u64)],
        conditions: &[String],
    ) -> Snapshot {
        let hashes = balance.iter().filter_map(|(label, hash)| {
            let path = label.strip_suffix(HASH)?.strip_suffix(' ')?;
            Some((path.to_owned(), *hash))
        });
        let seen = policy.watched.iter().map(|watched| {
            let amount = |what: &str| {
                let mut amounts = balance.iter();
                let found = amounts.find(|(label, _)| {
                    label.strip_prefix(&*watched.path).and_then(|rest| rest.strip_prefix(' '))
                        == Some(what)
                });
                found.map_or(0, |(_, amount)| *amount)
            };
            let breaker = match amount(HALF_OPEN) {
                _ if open_breakers.contains(&watched.path) => Stage::Open,
                0 => Stage::Closed,
                _ => Stage::HalfOpen,
            };
            Seen {
                breaker,
                out_for_nanos: amount(OUT_FOR),
                latency_nanos: amount(LATENCY),
                in_flight: amount(IN_FLIGHT),
            }
        });
        let recalled = Recalled { hashes: hashes.collect(), conditions: conditions.to_vec() };
        Snapshot { seen: seen.collect(), recalled: Some(Box::new(recalled)) }
    }
}

/// The children that a strategy may try: of a balance, those with a weight.
pub(super) fn drawable(node: &Node) -> impl Iterator<Item = &Node> + Clone {
    let by_weight = matches!(node.kind, NodeKind::LoadBalance { .. });
    node.children()
        .iter()
        .filter(move |child| !by_weight || (child.weight.is_finite() && child.weight > 0.0))
}

/// How long a target takes to answer, peaks first: a worse answer counts at once, a better one little by little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Nanoseconds; 0: not known.
    pub nanos: u64,
    /// When that was learnt.
    pub at: Instant,
}

impl Latency {
    /// What it is worth now: what is not confirmed fades, so that a target that was slow is tried again.
    #[must_use]
    pub fn faded(self, now: Instant) -> u64 {
        if self.nanos == 0 {
            return 0;
        }
        ((self.nanos as f64 * kept(now.since(self.at).as_secs_f64())) as u64).max(1)
    }

    /// With one more answer that took so long.
    #[must_use]
    pub fn after(self, took_nanos: u64, now: Instant) -> Latency {
        let took_nanos = took_nanos.max(1);
        let nanos = if took_nanos >= self.faded(now) {
            took_nanos
        } else {
            let kept = kept(now.since(self.at).as_secs_f64());
            (self.nanos as f64 * kept + took_nanos as f64 * (1.0 - kept)) as u64
        };
        Latency { nanos: nanos.max(1), at: now }
    }
}

fn kept(seconds: f64) -> f64 {
    (-seconds / limits::LATENCY_FADES_IN.as_secs_f64()).exp()
}

const HASH: &str = "hash";
const HALF_OPEN: &str = "half_open";
const OUT_FOR: &str = "out_for";
const LATENCY: &str = "latency";
const IN_FLIGHT: &str = "in_flight";
