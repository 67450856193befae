//! The configuration: what a file earns in mistakes, what a config object compiles to, and which hosts a request
//! may name.

mod conditions;
mod config_mistakes;
mod file;
mod guardrails;
mod hosts;
mod inline;
mod key_mistakes;
mod mistakes;
mod policy;
mod recalled;

use trunkline::config::{
    Config,
    check::check,
    policy::{Leaf, Node, NodeKind},
    variables::Variables,
};

/// The environment of all tests.
fn environment(name: &str) -> Option<String> {
    match name {
        "KEY" | "OPENAI_API_KEY" | "ANTHROPIC_API_KEY" => Some("sk-secret".to_owned()),
        "TRUNKLINE_ADMIN_TOKEN" => Some("admin-secret".to_owned()),
        "EMPTY" => Some(String::new()),
        "CORES" => Some("4".to_owned()),
        _ => None,
    }
}

/// A file that must be right.
fn good(text: &str) -> Config {
    let checked = check(text, Variables::Lookup(&environment));
    assert_eq!(checked.mistakes, [], "\n{text}");
    checked.config.expect("no mistakes, so a configuration")
}

/// The only leaf of a policy, or the one at a path of indexes.
fn leaf<'a>(node: &'a Node, path: &[usize]) -> &'a Leaf {
    match (&node.kind, path) {
        (NodeKind::Leaf(leaf), []) => leaf,
        (NodeKind::Single(target), [0, rest @ ..]) => leaf(target, rest),
        (
            NodeKind::Fallback { targets, .. }
            | NodeKind::LoadBalance { targets, .. }
            | NodeKind::Conditional { targets, .. },
            [first, rest @ ..],
        ) => leaf(&targets[*first], rest),
        (kind, path) => panic!("no leaf at {path:?} of {kind:?}"),
    }
}
