//! Which targets are tried, in which order: a policy with its dice drawn and its conditions decided. Only leaves and
//! the fallback levels around them are left, so that walking a plan needs no tree.

use smallvec::SmallVec;

pub use super::balance::draw;
use super::{
    balance::{Candidate, belongs_to, better_of_two, hash_of},
    condition::{Decided, Facts, Refusal, decide},
    health::{Snapshot, drawable},
};
use crate::config::policy::{Balance, Leaf, Node, NodeKind, Policy};

/// Draws the dice of a policy and decides its conditions, nothing known of its targets' health.
#[must_use]
pub fn plan<'p>(policy: &'p Policy, seed: u64, facts: &Facts<'_>) -> Plan<'p> {
    plan_with(policy, seed, facts, &Snapshot::default())
}

/// The same with what is known of its targets. The same policy, seed, facts and snapshot always give the same plan.
#[must_use]
pub fn plan_with<'p>(
    policy: &'p Policy,
    seed: u64,
    facts: &Facts<'_>,
    health: &Snapshot,
) -> Plan<'p> {
    let mut plan = Plan::default();
    plan.add(&policy.root, Given { seed, facts, health }, None);
    plan
}

/// What a plan is made from.
#[derive(Clone, Copy)]
pub(super) struct Given<'g> {
    pub seed: u64,
    pub facts: &'g Facts<'g>,
    pub health: &'g Snapshot,
}

impl Given<'_> {
    /// What a conditional strategy chooses: what a record says that it chose, else by its conditions.
    pub fn decide<'p>(&self, node: &'p Node) -> Result<(Decided<'p>, &'p Node), Refusal<'p>> {
        self.health.decided(node).map_or_else(|| decide(node, self.facts), Ok)
    }
}

/// Leaves in trying order, each with the fallback levels that enclose it.
#[derive(Debug, Default)]
pub struct Plan<'p> {
    places: SmallVec<[Place<'p>; 4]>,
    levels: SmallVec<[Level<'p>; 4]>,
    decided: SmallVec<[Decided<'p>; 1]>,
    skipped: Vec<Skipped<'p>>,
    hashed: Vec<(&'p str, u64)>,
}

/// A target, or a group of them, that was left out for its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped<'p> {
    /// Its place in the config.
    pub path: &'p str,
    /// Why.
    pub why: Unhealthy,
}

/// Why a target is left out while another is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhealthy {
    /// Its breaker is open.
    Open,
    /// It is out of quota.
    OutOfQuota,
}

/// A place in the trying order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'p> {
    /// A target.
    Leaf(PlannedLeaf<'p>),
    /// A conditional strategy that chose nothing: whoever gets here is refused.
    Refused(Refusal<'p>),
}

/// One target of a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedLeaf<'p> {
    /// What the config says of it.
    pub leaf: &'p Leaf,
    /// Its place in the config, for `x-portkey-last-used-option-index`: `config.targets[1].targets[0]`.
    pub path: &'p str,
    /// Its name, if it has one.
    pub name: Option<&'p str>,
    /// Its position in the plan, from 0.
    pub index: usize,
    innermost: Option<usize>,
}

/// A target as the attempt machine hands it out.
pub type LeafRef<'p> = &'p PlannedLeaf<'p>;

/// One child of a fallback: what makes its outcome fall through, and to which place. The levels around a leaf
/// form a chain from the innermost outward.
#[derive(Debug)]
struct Level<'p> {
    on_status_codes: Option<&'p [u16]>,
    next: Option<usize>,
    outer: Option<usize>,
}

impl<'p> Plan<'p> {
    /// The leaves in trying order.
    pub fn leaves(&self) -> impl Iterator<Item = LeafRef<'_>> {
        self.places.iter().filter_map(|place| match place {
            Place::Leaf(leaf) => Some(leaf),
            Place::Refused(_) => None,
        })
    }

    /// What the conditional strategies chose, from the outermost inward and in trying order.
    #[must_use]
    pub fn decided(&self) -> &[Decided<'p>] {
        &self.decided
    }

    /// The targets that were left out for their health, in the order in which they were come by.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped<'p>] {
        &self.skipped
    }

    /// The balances that chose by a hash of the request, and the hash.
    #[must_use]
    pub fn hashed(&self) -> &[(&'p str, u64)] {
        &self.hashed
    }

    /// What a walk needs, borrowed.
    pub(super) fn route(&self) -> Route<'_> {
        Route { places: &self.places, levels: &self.levels }
    }

    /// Appends what `node` comes to. The recursion is bounded by `POLICY_DEPTH_MAX`, which the compiler enforces.
    fn add(&mut self, node: &'p Node, given: Given<'_>, level: Option<usize>) {
        match &node.kind {
            NodeKind::Leaf(leaf) => self.places.push(Place::Leaf(PlannedLeaf {
                leaf,
                path: &node.path,
                name: node.name.as_deref(),
                index: self.places.len(),
                innermost: level,
            })),
            NodeKind::Single(child) => self.add(child, given, level),
            NodeKind::LoadBalance { balance: Balance::Weight, targets }
                if given.health.is_empty() =>
            {
                let weights = targets.iter().map(|target| target.weight);
                let drawn = draw(given.seed, &node.path, weights);
                if let Some(target) = drawn.and_then(|at| targets.get(at)) {
                    self.add(target, given, level);
                }
            }
            NodeKind::LoadBalance { balance, .. } => {
                if let Some(target) = self.choose(node, balance, given) {
                    self.add(target, given, level);
                }
            }
            NodeKind::Fallback { on_status_codes, targets } => {
                let codes = on_status_codes.as_deref();
                if given.health.is_empty() {
                    self.add_fallback(codes, targets.iter(), given, level);
                } else {
                    let usable = self.usable(node, given.health);
                    self.add_fallback(codes, usable.into_iter(), given, level);
                }
            }
            NodeKind::Conditional { .. } => match given.decide(node) {
                Ok((decided, target)) => {
                    self.decided.push(decided);
                    self.add(target, given, level);
                }
                Err(refusal) => self.places.push(Place::Refused(refusal)),
            },
        }
    }

    /// One child of a balance.
    pub(super) fn choose(
        &mut self,
        node: &'p Node,
        balance: &Balance,
        given: Given<'_>,
    ) -> Option<&'p Node> {
        let usable = self.usable(node, given.health);
        let candidates = candidates(&usable, given.health);
        let by_weight =
            || draw(given.seed, &node.path, candidates.iter().map(|candidate| candidate.weight));
        let chosen = match balance {
            Balance::Weight => by_weight(),
            Balance::Latency => better_of_two(given.seed, &node.path, &candidates),
            Balance::Hash(by) => {
                let recalled = given.health.hash(&node.path);
                match recalled.or_else(|| hash_of(by, given.facts)) {
                    Some(hash) => {
                        self.hashed.push((&node.path, hash));
                        belongs_to(hash, &candidates, by.bounded)
                    }
                    None => by_weight(),
                }
            }
        };
        chosen.and_then(|at| usable.get(at).copied())
    }

    /// The children that may be tried: without those whose breaker is open, unless all are; then without those that
    /// are out of quota, or if all are, the one that has some again first.
    pub(super) fn usable(&mut self, node: &'p Node, health: &Snapshot) -> SmallVec<[&'p Node; 8]> {
        let mut usable: SmallVec<[&'p Node; 8]> = drawable(node).collect();
        if health.is_empty() {
            return usable;
        }
        if !usable.iter().all(|child| health.is_open(child)) {
            self.skip(&mut usable, Unhealthy::Open, |child| health.is_open(child));
        }
        let first_again = usable.iter().copied().min_by_key(|child| health.out_for_nanos(child));
        if let Some(first) = first_again {
            let least = health.out_for_nanos(first);
            self.skip(&mut usable, Unhealthy::OutOfQuota, |child| match least {
                0 => health.out_for_nanos(child) > 0,
                _ => !std::ptr::eq(child, first),
            });
        }
        usable
    }

    fn skip(
        &mut self,
        usable: &mut SmallVec<[&'p Node; 8]>,
        why: Unhealthy,
        is_unhealthy: impl Fn(&'p Node) -> bool,
    ) {
        usable.retain(|child| {
            let skipped = is_unhealthy(child);
            if skipped {
                self.skipped.push(Skipped { path: &child.path, why });
            }
            !skipped
        });
    }

    /// Appends the children in order, then points each child's level at the place after its last one.
    fn add_fallback(
        &mut self,
        on_status_codes: Option<&'p [u16]>,
        targets: impl Iterator<Item = &'p Node>,
        given: Given<'_>,
        outer: Option<usize>,
    ) {
        let mut child_ends: SmallVec<[(usize, usize); 8]> = SmallVec::new();
        for target in targets {
            let level = self.levels.len();
            self.levels.push(Level { on_status_codes, next: None, outer });
            self.add(target, given, Some(level));
            child_ends.push((level, self.places.len()));
        }
        let end = self.places.len();
        for (level, child_end) in child_ends {
            if let Some(level) = self.levels.get_mut(level) {
                level.next = (child_end < end).then_some(child_end);
            }
        }
    }
}

/// The targets of a balance, as what chooses among them sees them.
pub(super) fn candidates<'p>(
    targets: &[&'p Node],
    health: &Snapshot,
) -> SmallVec<[Candidate<'p>; 8]> {
    let candidate = |target: &&'p Node| Candidate {
        name: target.name.as_deref().unwrap_or(&target.path),
        weight: target.weight,
        load: health.load(target),
    };
    targets.iter().map(candidate).collect()
}

/// A plan, borrowed: in slices, whose lifetimes may shrink to that of the walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'p> {
    pub places: &'p [Place<'p>],
    levels: &'p [Level<'p>],
}

impl<'p> Route<'p> {
    /// The place that follows `leaf`: its outcome climbs from the innermost fallback outward until one lets it fall
    /// through and has a place left. Always later in the plan than `leaf`, so that every walk ends.
    pub(super) fn next_after(
        self,
        leaf: LeafRef<'p>,
        falls_through: impl Fn(Option<&[u16]>) -> bool,
    ) -> Option<&'p Place<'p>> {
        let mut level = leaf.innermost;
        while let Some(here) = level.and_then(|at| self.levels.get(at)) {
            if let Some(next) = here.next
                && falls_through(here.on_status_codes)
            {
                return self.places.get(next);
            }
            level = here.outer;
        }
        None
    }
}
