//! The health of targets as the admin interface tells it: of those whose health some decision of the file asks for.

use serde_json::{Value, json};

use crate::{
    base::units::Instant,
    config::policy::{Leaf, Node, NodeKind, Policy},
    io::hub::{Hub, Shared},
    policy::breaker::Stage,
};

/// Of every config of the epoch, in the order of the file.
pub fn health(hub: &Hub, now: Instant) -> Vec<Value> {
    let epoch = hub.epoch();
    let mut told = Vec::new();
    for named in &epoch.config.configs {
        for (index, watched) in named.policy.watched.iter().enumerate() {
            let leaf = leaf_of(&named.policy, index);
            let key = leaf.and_then(|leaf| leaf.virtual_key);
            let key = key.and_then(|id| epoch.config.virtual_keys.get(id.0 as usize));
            let known = hub.known_health(watched.key);
            let guarded = leaf.and_then(|leaf| leaf.watch.as_ref()?.breaker.as_ref()).is_some();
            told.push(json!({
                "config": named.name,
                "target": watched.path,
                "virtual_key": key.map(|key| key.name.as_str()),
                "breaker": guarded.then(|| breaker(known.as_deref(), now)),
                "out_of_quota_ms": known.as_ref().map_or(0, |known| left(known.out_until(), now)),
                "latency_ms": known.as_ref().and_then(|known| latency(known, now)),
                "in_flight": known.as_ref().map_or(0, |known| known.in_flight().max(0)),
            }));
        }
    }
    told
}

fn breaker(known: Option<&Shared>, now: Instant) -> Value {
    let state = known.map(Shared::breaker).unwrap_or_default();
    let stage = match state.stage(now) {
        Stage::Closed => "closed",
        // Open to all but the one that is trying.
        Stage::Open if now >= state.open_until => "half_open",
        Stage::Open => "open",
        Stage::HalfOpen => "half_open",
    };
    json!({ "state": stage, "open_for_ms": left(state.open_until, now) })
}

/// As cores told it, and fading.
fn latency(known: &Shared, now: Instant) -> Option<f64> {
    let nanos = known.latency().faded(now);
    (nanos > 0).then(|| nanos as f64 / 1e6)
}

fn left(until: Instant, now: Instant) -> u64 {
    until.nanos.saturating_sub(now.nanos).div_ceil(1_000_000)
}

/// The target of this number among those that are watched.
fn leaf_of(policy: &Policy, index: usize) -> Option<&Leaf> {
    let mut nodes: Vec<&Node> = vec![&policy.root];
    while let Some(node) = nodes.pop() {
        match &node.kind {
            NodeKind::Leaf(leaf) if leaf.watch.as_ref().is_some_and(|it| it.index == index) => {
                return Some(leaf);
            }
            _ => nodes.extend(node.children()),
        }
    }
    None
}
