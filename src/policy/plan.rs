//! Which targets are tried, in which order: a policy with its dice drawn and its conditions decided. Only leaves and
//! the fallback levels around them are left, so that walking a plan needs no tree.

use smallvec::SmallVec;

use super::condition::{Decided, Facts, Refusal, decide};
use crate::config::policy::{Leaf, Node, NodeKind, Policy};

/// Draws the dice of a policy and decides its conditions. The same policy, seed and facts always give the same plan.
#[must_use]
pub fn plan<'p>(policy: &'p Policy, seed: u64, facts: &Facts<'_>) -> Plan<'p> {
    let (places, levels, decided) = (SmallVec::new(), SmallVec::new(), SmallVec::new());
    let mut plan = Plan { places, levels, decided };
    plan.add(&policy.root, (seed, facts), None);
    plan
}

/// Leaves in trying order, each with the fallback levels that enclose it.
#[derive(Debug)]
pub struct Plan<'p> {
    places: SmallVec<[Place<'p>; 4]>,
    levels: SmallVec<[Level<'p>; 4]>,
    decided: SmallVec<[Decided<'p>; 1]>,
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

    /// What a walk needs, borrowed.
    pub(super) fn route(&self) -> Route<'_> {
        Route { places: &self.places, levels: &self.levels }
    }

    /// Appends what `node` comes to. The recursion is bounded by `POLICY_DEPTH_MAX`, which the compiler enforces.
    fn add(&mut self, node: &'p Node, given: (u64, &Facts<'_>), level: Option<usize>) {
        match &node.kind {
            NodeKind::Leaf(leaf) => self.places.push(Place::Leaf(PlannedLeaf {
                leaf,
                path: &node.path,
                name: node.name.as_deref(),
                index: self.places.len(),
                innermost: level,
            })),
            NodeKind::Single(child) => self.add(child, given, level),
            NodeKind::LoadBalance { targets } => {
                let drawn = draw(given.0, &node.path, targets.iter().map(|target| target.weight));
                if let Some(target) = drawn.and_then(|at| targets.get(at)) {
                    self.add(target, given, level);
                }
            }
            NodeKind::Fallback { on_status_codes, targets } => {
                self.add_fallback(on_status_codes.as_deref(), targets, given, level);
            }
            NodeKind::Conditional { .. } => match decide(node, given.1) {
                Ok((decided, target)) => {
                    self.decided.push(decided);
                    self.add(target, given, level);
                }
                Err(refusal) => self.places.push(Place::Refused(refusal)),
            },
        }
    }

    /// Appends the children in order, then points each child's level at the place after its last one.
    fn add_fallback(
        &mut self,
        on_status_codes: Option<&'p [u16]>,
        targets: &'p [Node],
        given: (u64, &Facts<'_>),
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

/// Draws one of several weights: each with its share of their sum, weight 0 never. `None` if no weight is above 0.
/// A pure function of the seed and the node's path, so that two nodes of one request draw independently.
#[must_use]
pub fn draw(seed: u64, path: &str, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
    let usable =
        || weights.clone().enumerate().filter(|(_, weight)| weight.is_finite() && *weight > 0.0);
    let sum: f64 = usable().map(|(_, weight)| weight).sum();
    let mut rest = unit_interval(mix(seed ^ hash(path))) * sum;
    let mut last = None;
    for (at, weight) in usable() {
        if rest < weight {
            return Some(at);
        }
        rest -= weight;
        last = Some(at); // rounding may leave a rest at the very end: it belongs to the last one
    }
    last
}

/// SplitMix64's step and finalizer: close seeds give unrelated numbers.
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// FNV-1a, mixed: sibling paths differ in one character only.
fn hash(path: &str) -> u64 {
    let mut bits = 0xcbf2_9ce4_8422_2325;
    for byte in path.bytes() {
        bits = (bits ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(bits)
}

/// The upper 53 bits as a number in [0, 1): all that an `f64` holds exactly.
fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
