//! Why a plan is what it is: every choice on the way, and every target of the policy, tried or not. Each choice is made
//! again by what made the plan, from the same seed, facts and snapshot, so that the two cannot differ.

use std::fmt::Write as _;

use super::{
    balance::{Candidate, belongs_to, two_drawn},
    condition::{Facts, Refusal},
    health::{Snapshot, drawable},
    plan::{Given, Plan, Unhealthy, candidates},
};
use crate::config::policy::{Balance, HashBy, Leaf, Node, NodeKind, Policy};

/// Explains what [`super::plan::plan_with`] makes of the same arguments.
#[must_use]
pub fn explain<'p>(
    policy: &'p Policy,
    seed: u64,
    facts: &Facts<'_>,
    health: &Snapshot,
) -> Explanation<'p> {
    let given = Given { seed, facts, health };
    let mut explainer = Explainer { given, scratch: Plan::default(), told: Explanation::default() };
    explainer.node(&policy.root, &Fate::tried(ONLY));
    explainer.told.targets.sort_by_key(|target| target.order.unwrap_or(usize::MAX));
    explainer.told
}

/// Why a plan is what it is.
#[derive(Debug, Default)]
pub struct Explanation<'p> {
    /// What strategies chose, from the outermost inward and in trying order.
    pub choices: Vec<Choice<'p>>,
    /// Every target: in trying order, then those that are not tried in the order of the config.
    pub targets: Vec<Target<'p>>,
    /// Why the request is refused where a conditional strategy chose nothing; where that stands among the targets.
    pub refusals: Vec<(usize, Refusal<'p>)>,
    places: usize,
}

/// What one strategy chose.
#[derive(Debug)]
pub struct Choice<'p> {
    /// Its place in the config.
    pub path: &'p str,
    /// Its word in the config, more or less.
    pub strategy: &'static str,
    /// The place of what it chose; `None`: nothing.
    pub chose: Option<&'p str>,
    /// Why.
    pub why: String,
}

/// One target.
#[derive(Debug)]
pub struct Target<'p> {
    /// Its place in the config.
    pub path: &'p str,
    /// Its name, if it has one.
    pub name: Option<&'p str>,
    /// What the config says of it.
    pub leaf: &'p Leaf,
    /// Its place in the trying order, from 0, places where the request would be refused included; `None`: it is not
    /// tried.
    pub order: Option<usize>,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub why: String,
}

/// Why a target is tried, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is tried first.
    First,
    /// It is tried when what is before it fails.
    Fallback,
    /// A condition chose another.
    Condition,
    /// Another was drawn.
    Weight,
    /// Its weight is 0.
    NoWeight,
    /// The request belongs to another, by its hash.
    Hash,
    /// Another is faster, or was drawn.
    Latency,
    /// Its breaker is open.
    Breaker,
    /// It is out of quota.
    Quota,
    /// The strategy above it chose nothing.
    Refused,
}

impl Reason {
    /// As programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::First => "first",
            Reason::Fallback => "fallback",
            Reason::Condition => "condition",
            Reason::Weight => "weight",
            Reason::NoWeight => "no_weight",
            Reason::Hash => "hash",
            Reason::Latency => "latency",
            Reason::Breaker => "breaker",
            Reason::Quota => "quota",
            Reason::Refused => "refused",
        }
    }
}

/// What becomes of a node and everything below it.
#[derive(Clone, Debug)]
struct Fate {
    tried: bool,
    reason: Reason,
    why: String,
}

impl Fate {
    fn tried(why: impl Into<String>) -> Fate {
        Fate { tried: true, reason: Reason::First, why: why.into() }
    }

    fn left(reason: Reason, why: impl Into<String>) -> Fate {
        Fate { tried: false, reason, why: why.into() }
    }
}

struct Explainer<'p, 'g> {
    given: Given<'g>,
    /// Makes the choices; holds no places.
    scratch: Plan<'p>,
    told: Explanation<'p>,
}

impl<'p> Explainer<'p, '_> {
    /// The recursion is bounded by `POLICY_DEPTH_MAX`, which the compiler enforces.
    fn node(&mut self, node: &'p Node, fate: &Fate) {
        match &node.kind {
            NodeKind::Leaf(leaf) => self.leaf(node, leaf, fate),
            _ if !fate.tried => node.children().iter().for_each(|child| self.node(child, fate)),
            NodeKind::Single(child) => self.node(child, fate),
            NodeKind::Fallback { on_status_codes, targets } => {
                self.fallback(node, on_status_codes.as_deref(), targets, fate);
            }
            NodeKind::LoadBalance { balance, targets } => {
                self.balance(node, balance, targets, fate);
            }
            NodeKind::Conditional { targets, .. } => self.conditional(node, targets, fate),
        }
    }

    fn leaf(&mut self, node: &'p Node, leaf: &'p Leaf, fate: &Fate) {
        let order = fate.tried.then_some(self.told.places);
        self.told.places += usize::from(fate.tried);
        let reason = if order == Some(0) { Reason::First } else { fate.reason };
        let (path, name) = (node.path.as_str(), node.name.as_deref());
        self.told.targets.push(Target { path, name, leaf, order, reason, why: fate.why.clone() });
    }

    fn fallback(
        &mut self,
        node: &'p Node,
        on_status_codes: Option<&[u16]>,
        targets: &'p [Node],
        fate: &Fate,
    ) {
        let usable = self.scratch.usable(node, self.given.health);
        let first = usable.first().copied();
        let when = match on_status_codes {
            None => "ends with a status other than 2xx, or without an answer".to_owned(),
            Some(codes) => format!("ends with {}", list(codes)),
        };
        let why = format!("in order: the next one when one {when}");
        self.choice(node, "fallback", first, why);
        let mut before = None;
        for child in targets {
            if !usable.iter().any(|one| std::ptr::eq(*one, child)) {
                let fate = self.unhealthy(child);
                self.node(child, &fate);
            } else if let Some(before) = before.replace(child) {
                let before: &Node = before;
                let why = format!("when {} {when}", before.path);
                self.node(child, &Fate { tried: true, reason: Reason::Fallback, why });
            } else {
                let why = joined(&fate.why, &format!("the first of the fallback {}", node.path));
                self.node(child, &Fate { why, ..fate.clone() });
            }
        }
    }

    fn balance(&mut self, node: &'p Node, balance: &'p Balance, targets: &'p [Node], fate: &Fate) {
        let usable = self.scratch.usable(node, self.given.health);
        let hashed_before = self.scratch.hashed().len();
        let chosen = self.scratch.choose(node, balance, self.given);
        let hash = self.scratch.hashed().get(hashed_before).map(|(_, hash)| *hash);
        let among = candidates(&usable, self.given.health);
        let at = chosen.and_then(|one| usable.iter().position(|other| std::ptr::eq(*other, one)));
        let (strategy, reason, why) = match (balance, hash) {
            (Balance::Latency, _) => {
                ("latency", Reason::Latency, self.by_latency(node, &usable, &among))
            }
            (Balance::Hash(by), Some(hash)) => {
                ("hash", Reason::Hash, by_hash(by, hash, at, &usable, &among))
            }
            (Balance::Hash(_), None) => {
                let why = by_weight(at, &among);
                ("loadbalance", Reason::Weight, format!("{why} (nothing of it to hash)"))
            }
            (Balance::Weight, _) => ("loadbalance", Reason::Weight, by_weight(at, &among)),
        };
        self.choice(node, strategy, chosen, why.clone());
        for child in targets {
            if chosen.is_some_and(|chosen| std::ptr::eq(chosen, child)) {
                self.node(child, &Fate { why: joined(&fate.why, &why), ..fate.clone() });
            } else if !drawable(node).any(|one| std::ptr::eq(one, child)) {
                self.node(child, &Fate::left(Reason::NoWeight, "its weight is 0"));
            } else if usable.iter().any(|one| std::ptr::eq(*one, child)) {
                let other = chosen.map_or("", |chosen| &chosen.path);
                self.node(child, &Fate::left(reason, format!("{other} was chosen: {why}")));
            } else {
                let fate = self.unhealthy(child);
                self.node(child, &fate);
            }
        }
    }

    fn conditional(&mut self, node: &'p Node, targets: &'p [Node], fate: &Fate) {
        let decided = self.given.decide(node);
        let (chosen, why) = match &decided {
            Ok((decided, target)) => (Some(*target), why_decided(node, decided.condition)),
            Err(refusal) => (None, refusal.to_string()),
        };
        self.choice(node, "conditional", chosen, why.clone());
        if let Err(refusal) = decided {
            self.told.refusals.push((self.told.places, refusal));
            self.told.places += 1;
        }
        for child in targets {
            match chosen {
                Some(chosen) if std::ptr::eq(chosen, child) => {
                    self.node(child, &Fate { why: joined(&fate.why, &why), ..fate.clone() });
                }
                Some(chosen) => {
                    let why = format!("{} was chosen: {why}", chosen.path);
                    self.node(child, &Fate::left(Reason::Condition, why));
                }
                None => self.node(child, &Fate::left(Reason::Refused, why.clone())),
            }
        }
    }

    fn choice(
        &mut self,
        node: &'p Node,
        strategy: &'static str,
        chose: Option<&'p Node>,
        why: String,
    ) {
        let (path, chose) = (node.path.as_str(), chose.map(|node| node.path.as_str()));
        self.told.choices.push(Choice { path, strategy, chose, why });
    }

    /// Of a child that was left out, the last thing that was noted of it.
    fn unhealthy(&self, child: &Node) -> Fate {
        let skipped = self.scratch.skipped().iter().rev().find(|one| one.path == child.path);
        match skipped.map(|skipped| skipped.why) {
            Some(Unhealthy::OutOfQuota) => {
                let wait = millis(self.given.health.out_for_nanos(child));
                Fate::left(Reason::Quota, format!("it is out of quota for another {wait} ms"))
            }
            Some(Unhealthy::Open) => Fate::left(Reason::Breaker, "its breaker is open"),
            None => Fate::left(Reason::NoWeight, "its weight is 0"),
        }
    }

    fn by_latency(&self, node: &Node, usable: &[&Node], among: &[Candidate<'_>]) -> String {
        let Some((first, second)) = two_drawn(self.given.seed, &node.path, among) else {
            return NO_WEIGHT.to_owned();
        };
        let shown = |at: usize| match (usable.get(at), among.get(at)) {
            (Some(node), Some(one)) => {
                let known = match one.load.latency_nanos {
                    0 => "latency unknown".to_owned(),
                    nanos => format!("{} ms", millis(nanos)),
                };
                format!("{} ({known}, {} running)", node.path, one.load.in_flight)
            }
            _ => String::new(),
        };
        match second {
            Some(second) => format!(
                "the better of two that were drawn by weight: {} and {}",
                shown(first),
                shown(second)
            ),
            None => format!("the only one that can be drawn: {}", shown(first)),
        }
    }
}

fn by_weight(at: Option<usize>, among: &[Candidate<'_>]) -> String {
    let Some(one) = at.and_then(|at| among.get(at)) else { return NO_WEIGHT.to_owned() };
    let sum: f64 = among.iter().map(|candidate| candidate.weight).sum();
    format!("drawn by the seed with weight {} of {sum}", one.weight)
}

fn by_hash(
    by: &HashBy,
    hash: u64,
    at: Option<usize>,
    usable: &[&Node],
    among: &[Candidate<'_>],
) -> String {
    let home = belongs_to(hash, among, false);
    let mut why = format!("what the request hashes to, {hash:016x}, belongs to it");
    if by.bounded && home != at {
        let home = home.and_then(|at| usable.get(at)).map_or("", |node| &node.path);
        // Writing into a string cannot fail.
        let _ = write!(why, " while {home}, its usual one, runs more than its share");
    }
    why
}

fn why_decided(node: &Node, condition: Option<usize>) -> String {
    let NodeKind::Conditional { conditions, .. } = &node.kind else { return String::new() };
    let written = |at: usize| conditions.as_ref().and_then(|conditions| conditions.get(at));
    match condition.map(|at| (at, written(at))) {
        Some((at, Some(condition))) => format!("conditions[{at}] holds: {}", condition.written),
        Some((at, None)) => format!("conditions[{at}] holds"),
        None => "no condition holds: the default".to_owned(),
    }
}

/// Why a group is come to, and why this one of it.
fn joined(group: &str, one: &str) -> String {
    match group {
        "" | ONLY => one.to_owned(),
        _ => format!("{group}; {one}"),
    }
}

fn list(codes: &[u16]) -> String {
    let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
    if codes.is_empty() { "no status at all".to_owned() } else { codes.join(", ") }
}

fn millis(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000)
}

const ONLY: &str = "the only target";
const NO_WEIGHT: &str = "no target of it has a weight";
