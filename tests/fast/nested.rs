//! Random nested configs, as a file or a header would have them, five strategies deep: what a plan promises holds for
//! each of them, and what `explain` says is what is planned.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod explained;
mod reached;

use std::collections::HashSet;

use trunkline::{
    config::{
        Config,
        compile::{Known, compile_inline},
        policy::Policy,
    },
    policy::{breaker::Stage, condition::Facts, health::Seen, health::Snapshot},
};

use crate::policy::make::{Dice, OPENAI, add_virtual_key, config, origin};

/// In two tests, for two cores.
#[test]
fn even_configs_keep_what_a_plan_promises() {
    check_all(0);
}

#[test]
fn odd_configs_keep_what_a_plan_promises() {
    check_all(1);
}

/// Every target is reached; what is explained is what is planned, ends, and can be made again from a record.
fn check_all(first: u64) {
    let file = file();
    let (mut targets, mut deepest, mut reasons) = (0, 0, HashSet::new());
    for seed in (first..CONFIGS).step_by(2) {
        let nested = nested(seed, false);
        let policy = compiled(&file, &nested);
        let (count, depth) = reached::check(&nested, &policy, seed);
        explained::check(&nested, &policy, seed, &mut reasons);
        targets += count;
        deepest = deepest.max(depth);
    }
    let told = format!("{targets} targets, {deepest} deep, {reasons:?}");
    let lively = targets as u64 > 2 * CONFIGS && deepest == DEPTH && reasons.len() == 10;
    assert!(lively, "the configs are dull: {told}");
}

/// A config object, and each of its targets.
pub struct Nested {
    /// As JSON.
    pub config: String,
    pub leaves: Vec<Made>,
}

/// One target of it.
#[derive(Clone, Debug)]
pub struct Made {
    pub path: String,
    /// The metadata that leads to it, past every condition.
    pub metadata: Vec<(String, String)>,
    /// No weight above it is 0.
    pub reachable: bool,
    /// Its share of the requests of its metadata, where all above it are drawn by weight.
    pub share: f64,
}

/// A place in a config. `made` is what a target there would be.
struct Place {
    made: Made,
    depth: usize,
    /// Nothing but balances by weight.
    balances: bool,
    /// The beginning of its object: a weight or a name.
    begins: String,
}

/// A config of at most `DEPTH` strategies above each target. `balances`: of nothing but balances by weight.
pub fn nested(seed: u64, balances: bool) -> Nested {
    let mut dice = Dice(seed ^ 0x000d_eee9);
    let mut nested = Nested { config: String::new(), leaves: Vec::new() };
    let made =
        Made { path: "config".to_owned(), metadata: Vec::new(), reachable: true, share: 1.0 };
    nested.node(&mut dice, Place { made, depth: 0, balances, begins: String::new() });
    nested
}

impl Place {
    fn child(&self, at: usize, share: f64, begins: String) -> Place {
        let mut made = self.made.clone();
        made.path.push_str(&format!(".targets[{at}]"));
        made.reachable &= share > 0.0;
        made.share *= share;
        Place { made, depth: self.depth + 1, balances: self.balances, begins }
    }
}

impl Nested {
    /// Writes the object of a place.
    fn node(&mut self, dice: &mut Dice, place: Place) {
        self.write("{");
        self.write(&place.begins);
        let stops = place.depth == DEPTH || self.leaves.len() >= LEAVES_MAX;
        if stops || (place.depth > 0 && dice.chance(25)) {
            self.leaf(dice, place.made);
        } else {
            self.strategy(dice, &place);
        }
        self.write("}");
    }

    fn leaf(&mut self, dice: &mut Dice, made: Made) {
        let (key, model) = (dice.pick(&["a", "b", "c"]), dice.pick(&MODELS));
        self.write(&format!(r#""virtual_key":"{key}","override_params":{{"model":"{model}"}}"#));
        if dice.chance(30) {
            let attempts = dice.below(3);
            let codes = dice.pick(&["[429,500]", "[503]", "[400,401,503]"]);
            self.write(&format!(r#","retry":{{"attempts":{attempts},"on_status_codes":{codes}}}"#));
        }
        self.leaves.push(made);
    }

    fn strategy(&mut self, dice: &mut Dice, place: &Place) {
        if !place.balances && dice.chance(20) {
            let failures = 1 + dice.below(3);
            self.write(&format!(r#""cb_config":{{"failure_threshold":{failures}}},"#));
        }
        if !place.balances && dice.chance(15) {
            self.write(r#""rate_limit_aware":true,"#);
        }
        let width = 1 + dice.below(3);
        match if place.balances { 3 } else { dice.below(8) } {
            0..=2 => self.fallback(dice, place, width),
            3 | 4 => self.balance(dice, place, width),
            5 | 6 => self.conditional(dice, place, width),
            _ => {
                self.write(r#""strategy":{"mode":"single"},"targets":["#);
                self.node(dice, place.child(0, 1.0, String::new()));
                self.write("]");
            }
        }
    }

    fn fallback(&mut self, dice: &mut Dice, place: &Place, width: usize) {
        let codes = dice.pick(&["[429,503]", "[500]", "[400,401,500]"]);
        self.write(&match dice.chance(40) {
            true => format!(r#""strategy":{{"mode":"fallback","on_status_codes":{codes}}}"#),
            false => r#""strategy":{"mode":"fallback"}"#.to_owned(),
        });
        self.targets(dice, (0..width).map(|at| place.child(at, 1.0, String::new())).collect());
    }

    fn balance(&mut self, dice: &mut Dice, place: &Place, width: usize) {
        let user = r#""metadata.user""#;
        self.write(&match if place.balances { 9 } else { dice.below(10) } {
            0 | 1 => r#""strategy":{"mode":"latency"}"#.to_owned(),
            2 | 3 => {
                format!(r#""affinity":{{"fields":[{user}]}},"strategy":{{"mode":"loadbalance"}}"#)
            }
            4 => format!(
                r#""strategy":{{"mode":"loadbalance","sticky":{{"enabled":true,"hash_fields":[{user}]}}}}"#
            ),
            _ => r#""strategy":{"mode":"loadbalance"}"#.to_owned(),
        });
        let mut weights: Vec<f64> =
            (0..width).map(|_| dice.pick(&[0.0, 0.5, 1.0, 1.0, 2.0, 3.0])).collect();
        weights[dice.below(width)] = 1.0;
        let sum: f64 = weights.iter().sum();
        let weights = weights.iter().enumerate();
        let child = |(at, weight)| place.child(at, weight / sum, format!(r#""weight":{weight},"#));
        self.targets(dice, weights.map(child).collect());
    }

    /// Each target has a condition; the last may be the default besides.
    fn conditional(&mut self, dice: &mut Dice, place: &Place, width: usize) {
        let key = format!("d{}", place.depth);
        let (mut children, mut conditions) = (Vec::new(), Vec::new());
        for at in 0..width {
            let mut child = place.child(at, 1.0, format!(r#""name":"t{at}","#));
            child.made.metadata.push((key.clone(), format!("v{at}")));
            children.push(child);
            let fact = format!(r#""metadata.{key}""#);
            let value = format!(r#""v{at}""#);
            let query = match dice.below(5) {
                0 => format!("{fact}:{value}"),
                1 => format!(r#"{fact}:{{"$in":["x",{value}]}}"#),
                2 => format!(r#""$and":[{{{fact}:{{"$ne":"x"}}}},{{{fact}:{{"$eq":{value}}}}}]"#),
                3 => format!(r#""$or":[{{{fact}:{{"$gt":9}}}},{{{fact}:{value}}}]"#),
                _ => format!(r#"{fact}:{{"$eq":{value},"$nin":["y"]}},"url.pathname":"{PATH}""#),
            };
            conditions.push(format!(r#"{{"query":{{{query}}},"then":"t{at}"}}"#));
        }
        let default = match dice.chance(70) {
            true => format!(r#","default":"t{}""#, width - 1),
            false => String::new(),
        };
        let conditions = conditions.join(",");
        self.write(&format!(
            r#""strategy":{{"mode":"conditional","conditions":[{conditions}]{default}}}"#
        ));
        self.targets(dice, children);
    }

    fn targets(&mut self, dice: &mut Dice, children: Vec<Place>) {
        self.write(r#","targets":["#);
        for (at, child) in children.into_iter().enumerate() {
            self.write(if at > 0 { "," } else { "" });
            self.node(dice, child);
        }
        self.write("]");
    }

    fn write(&mut self, text: &str) {
        self.config.push_str(text);
    }
}

/// A file with the virtual keys that the configs name.
fn file() -> Config {
    let mut file = config();
    for name in ["a", "b", "c"] {
        add_virtual_key(&mut file, name, &OPENAI, origin("api.openai.com", 443));
    }
    file
}

fn compiled(file: &Config, nested: &Nested) -> Policy {
    compile_inline(&nested.config, Known::from(file), false)
        .unwrap_or_else(|error| panic!("{}: {error:?}", nested.config))
}

fn facts(metadata: &[(String, String)]) -> Facts<'_> {
    Facts { metadata, path: PATH, ..Facts::default() }
}

/// The metadata that leads to a target, of one of many users.
fn metadata(made: &Made, dice: &mut Dice) -> Vec<(String, String)> {
    let user = ("user".to_owned(), dice.roll().to_string());
    made.metadata.iter().cloned().chain([user]).collect()
}

fn random_health(policy: &Policy, dice: &mut Dice) -> Snapshot {
    Snapshot::of(policy.watched.iter().map(|_| Seen {
        breaker: dice.pick(&[Stage::Closed, Stage::Closed, Stage::HalfOpen, Stage::Open]),
        out_for_nanos: dice.pick(&[0, 0, 0, 7_000_000]),
        latency_nanos: dice.pick(&[0, 1_000, 2_000_000]),
        in_flight: dice.pick(&[0, 0, 1, 5]),
    }))
}

/// What targets of the sandbox answer by the model that they are asked for.
pub const MODELS: [&str; 6] = [
    "sandbox-chat",
    "sandbox-chat",
    "sandbox-fail-400",
    "sandbox-fail-429",
    "sandbox-fail-500",
    "sandbox-fail-503",
];
const PATH: &str = "/v1/chat/completions";
const DEPTH: usize = 5;
const LEAVES_MAX: usize = 16;
const CONFIGS: u64 = 10_000;
