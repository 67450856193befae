//! Walks the tree of a config object: strategies and their targets.

use std::time::Duration;

use crate::{
    base::limits,
    config::{
        health::{Balance, Watched},
        policy::{Node, NodeKind},
        report::{Report, Spot, wrong},
        tree::Value,
    },
};

use super::{Known, conditions::Choice, handed::Handed, keys};

/// Compiles one config object.
pub struct Compiler<'k, 'r> {
    /// What it may refer to.
    pub known: Known<'k>,
    /// Whether it came with a request.
    pub inline: bool,
    /// Where mistakes go.
    pub report: &'r mut Report,
    /// Wrong types so far: an object around one is not asked for more.
    pub type_errors: usize,
    /// The first thing that would redirect a held credential.
    pub redirected: Option<String>,
    /// A list of forwarded headers names itself.
    pub forwards_itself: bool,
    /// Regular expressions so far.
    pub patterns: usize,
    /// Checks of guardrails so far.
    pub checks: usize,
    /// Leaves so far.
    pub leaves: usize,
    /// Bytes of parameters that leaves hold so far.
    pub override_bytes: usize,
    /// What the watched targets of this config have in common with those of no other.
    pub scope: String,
    /// The targets whose health is asked for, so far.
    pub watched: Vec<Watched>,
    /// The root's total.
    pub total: Option<Duration>,
    /// Parts with a total of their own, so far.
    pub parts: usize,
}

impl<'k, 'r> Compiler<'k, 'r> {
    /// A compiler for one config object: one of a request has the digest of its text, one of the file a name.
    pub fn new(
        known: Known<'k>,
        inline: Option<&[u8; 32]>,
        name: &str,
        report: &'r mut Report,
    ) -> Compiler<'k, 'r> {
        Compiler {
            known,
            inline: inline.is_some(),
            report,
            type_errors: 0,
            redirected: None,
            forwards_itself: false,
            patterns: 0,
            checks: 0,
            leaves: 0,
            override_bytes: 0,
            scope: inline.map_or_else(|| name.to_owned(), hex::encode),
            watched: Vec::new(),
            total: None,
            parts: 0,
        }
    }

    /// Compiles the whole object.
    pub fn root(&mut self, spot: &Spot<'_>) -> Option<Node> {
        self.node(spot, "config".to_owned(), &Handed::default(), 0)
    }

    fn node(
        &mut self,
        spot: &Spot<'_>,
        path: String,
        handed: &Handed,
        depth: usize,
    ) -> Option<Node> {
        if depth > limits::POLICY_DEPTH_MAX {
            let most = limits::POLICY_DEPTH_MAX;
            self.report.mistake(spot, format!("targets may be nested {most} deep, no deeper"));
            return None;
        }
        if !self.is_map(spot) {
            return None;
        }
        let errors_before = self.type_errors;
        self.keys(spot);
        let name = self.field(spot, "name").and_then(|found| self.string(&found, "a name"));
        let name = name.map(str::to_owned);
        let weight = self.weight(spot);
        let mut handed = self.handed(spot, handed, depth);
        if let Some(found) = self.field(spot, "mirror") {
            handed.mirror = self.mirror(&found, &path, &handed);
        }
        let kind = match (self.field(spot, "strategy"), self.field(spot, "targets")) {
            (None, None) => self.leaf(spot, &path, &handed),
            (strategy, targets) => {
                self.branch(spot, strategy.as_ref(), targets.as_ref(), &path, &handed, depth)
            }
        };
        if self.type_errors == errors_before {
            self.must_name_something(spot);
        }
        Some(Node { path, name, weight, kind: kind? })
    }

    fn branch(
        &mut self,
        spot: &Spot<'_>,
        strategy: Option<&Spot<'_>>,
        targets: Option<&Spot<'_>>,
        path: &str,
        handed: &Handed,
        depth: usize,
    ) -> Option<NodeKind> {
        let mode = strategy.and_then(|found| self.mode(found));
        let codes = strategy
            .filter(|found| matches!(found.tree.value, Value::Map(_)))
            .and_then(|found| self.field(found, "on_status_codes").map(|c| self.statuses(&c)));
        if !self.inline {
            self.warn_of_leaf_keys(spot);
        }
        let alone = self.inline && !self.says_something(spot);
        let Some(targets) = targets else {
            if !alone {
                self.report.missing(spot, "targets", "a strategy chooses among targets: list them");
            }
            return None;
        };
        if strategy.is_none() && !alone {
            let advice = "say how targets are chosen; write e.g. strategy: { mode: fallback }";
            self.report.missing(spot, "strategy", advice);
        }
        let choice = match (mode, strategy) {
            (Some(Mode::Conditional), Some(strategy)) => Some(self.choice(strategy, targets)),
            _ => None,
        };
        let balance = match (mode, strategy) {
            (Some(mode @ (Mode::LoadBalance | Mode::Latency)), Some(strategy)) => {
                self.balance(spot, strategy, matches!(mode, Mode::Latency))
            }
            _ => {
                self.refuse_affinity(spot);
                Balance::Weight
            }
        };
        if choice.is_some() {
            let why = "on targets that a condition chooses; strategies among them take it over";
            self.warn_of_idle_health(spot, why);
        }
        let handed = &handed.to_targets(&balance, choice.is_none());
        let nodes = self.targets(targets, path, handed, depth)?;
        match choice {
            Some(Choice { conditions, default }) => {
                Some(NodeKind::Conditional { conditions, default, targets: nodes })
            }
            None => self.kind((mode?, balance), codes, nodes, targets),
        }
    }

    fn targets(
        &mut self,
        spot: &Spot<'_>,
        path: &str,
        handed: &Handed,
        depth: usize,
    ) -> Option<Vec<Node>> {
        if !self.is_list(spot, "a list of targets") {
            return None;
        }
        let mut nodes = Vec::new();
        let mut count = 0;
        for (index, item) in spot.items().enumerate() {
            count += 1;
            if self.leaves > limits::POLICY_LEAVES_MAX {
                break;
            }
            nodes.extend(self.node(&item, format!("{path}.targets[{index}]"), handed, depth + 1));
        }
        if count == 0 {
            let text = "has no targets; list at least one";
            self.report.both(spot, "Array must contain at least 1 element(s)", text.to_owned());
            return None;
        }
        Some(nodes)
    }

    fn kind(
        &mut self,
        (mode, balance): (Mode, Balance),
        on_status_codes: Option<Vec<u16>>,
        mut targets: Vec<Node>,
        spot: &Spot<'_>,
    ) -> Option<NodeKind> {
        match mode {
            Mode::Single => {
                if !targets.is_empty() {
                    let first = targets.swap_remove(0);
                    if !targets.is_empty() {
                        self.report.warning(spot, "mode single uses the first target only");
                    }
                    return Some(NodeKind::Single(Box::new(first)));
                }
                None
            }
            Mode::Fallback => Some(NodeKind::Fallback { on_status_codes, targets }),
            Mode::LoadBalance | Mode::Latency => {
                if !targets.is_empty() && targets.iter().all(|target| target.weight <= 0.0) {
                    let text = "every weight is 0: none could be drawn; give one a weight above 0";
                    self.report.both(spot, "At least one weight must be above 0", text.to_owned());
                    return None;
                }
                Some(NodeKind::LoadBalance { balance, targets })
            }
            Mode::Conditional => None,
        }
    }

    fn mode(&mut self, spot: &Spot<'_>) -> Option<Mode> {
        const WHAT: &str = "single, fallback, loadbalance, conditional or latency";
        if !self.is_map_of(spot, keys::STRATEGY) {
            return None;
        }
        let Some(found) = self.field(spot, "mode") else {
            self.required(spot, "mode", "write e.g. mode: fallback");
            return None;
        };
        let mode = match self.string(&found, WHAT)? {
            "single" => Mode::Single,
            "fallback" => Mode::Fallback,
            "loadbalance" => Mode::LoadBalance,
            "conditional" => Mode::Conditional,
            "latency" => Mode::Latency,
            _ => {
                let wire = "Invalid 'mode' value. Must be one of: single, loadbalance, fallback, \
                            conditional";
                self.report.both(&found, wire, wrong(WHAT, &found.tree.shown()));
                return None;
            }
        };
        let ignored: &[&str] = match mode {
            Mode::Conditional => &["sticky"],
            Mode::LoadBalance | Mode::Latency => &["conditions", "default"],
            Mode::Single | Mode::Fallback => &["conditions", "default", "sticky"],
        };
        for key in ignored {
            if let Some(entry) = spot.get(key).filter(|entry| !entry.tree.is_empty()) {
                self.report.warning(&entry, "no effect: mode decides");
            }
        }
        Some(mode)
    }

    fn warn_of_leaf_keys(&mut self, spot: &Spot<'_>) {
        for key in ["provider", "api_key", "virtual_key"] {
            if let Some(entry) = spot.get(key) {
                self.report.warning(&entry, "no effect beside targets: each target names its own");
            }
        }
    }
}

/// The strategies of this version.
#[derive(Clone, Copy)]
enum Mode {
    Single,
    Fallback,
    LoadBalance,
    Conditional,
    Latency,
}
