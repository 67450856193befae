//! A policy of a past epoch, read from the copy without secrets that [`super::digest::render`] wrote: enough to plan
//! and to walk again what a record tells of, and to name what went on around it; not enough to send anything.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::base::limits;

use super::{
    condition::{Clause, Condition, Then},
    guardrail::{Guardrail, GuardrailKind, Guardrails, OnStream},
    health::{Balance, Breaker, HashBy, Hedge, HedgeAfter, Watch, Watched},
    policy::{Leaf, Mirror, Node, NodeKind, Policy, Retry},
};

/// A policy as it was.
#[derive(Debug)]
pub struct Recalled {
    /// What plans and walks are made of. What a condition or a hash asks of a request is not in it: the record holds
    /// what came of that.
    pub policy: Policy,
    /// What each target was, those of mirrors included, by its place.
    pub leads: Vec<(String, Lead)>,
}

/// Where a target led.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lead {
    /// Its virtual key, or empty.
    pub virtual_key: String,
    /// The provider that it named itself, or empty.
    pub provider: String,
    /// The model that it set, or empty.
    pub model: String,
}

/// Reads one value of `configs` of such a copy. `None`: it is of another form, or of a later version.
#[must_use]
pub fn recall(policy: &Value) -> Option<Recalled> {
    let mut reader = Reader { leads: Vec::new(), watched: Vec::new() };
    let root = reader.node(policy, 0)?;
    let Reader { leads, watched } = reader;
    Some(Recalled {
        policy: Policy { root, inline: false, digest: [0; 32], total: None, watched },
        leads,
    })
}

struct Reader {
    leads: Vec<(String, Lead)>,
    watched: Vec<Watched>,
}

impl Reader {
    fn node(&mut self, node: &Value, depth: usize) -> Option<Node> {
        if depth > limits::POLICY_DEPTH_MAX {
            return None;
        }
        let path = text(node.get("path")?)?;
        let name = node.get("name").and_then(text);
        let weight = node.get("weight")?.as_f64()?;
        let kind = node.get("kind")?;
        let kind = if let Some(single) = kind.get("single") {
            NodeKind::Single(Box::new(self.node(single, depth + 1)?))
        } else if let Some(targets) = kind.get("fallback") {
            let on_status_codes = kind.get("on_status_codes").and_then(codes);
            NodeKind::Fallback { on_status_codes, targets: self.nodes(targets, depth)? }
        } else if let Some(targets) = kind.get("loadbalance") {
            let balance = balance(kind.get("by")?)?;
            NodeKind::LoadBalance { balance, targets: self.nodes(targets, depth)? }
        } else if let Some(targets) = kind.get("conditional") {
            let conditions = kind.get("conditions")?.as_array()?.iter().map(condition);
            NodeKind::Conditional {
                conditions: Some(conditions.collect::<Option<_>>()?),
                default: kind.get("default").and_then(then),
                targets: self.nodes(targets, depth)?,
            }
        } else {
            NodeKind::Leaf(Box::new(self.leaf(kind, &path)?))
        };
        Some(Node { path, name, weight, kind })
    }

    fn nodes(&mut self, targets: &Value, depth: usize) -> Option<Vec<Node>> {
        targets.as_array()?.iter().map(|target| self.node(target, depth + 1)).collect()
    }

    fn leaf(&mut self, leaf: &Value, path: &str) -> Option<Leaf> {
        self.leads.push((path.to_owned(), lead(leaf)?));
        let watch = present(leaf, "watch").and_then(|watch| self.watch(watch, path));
        Some(Leaf {
            retry: retry(leaf.get("retry")?)?,
            watch,
            mirror: present(leaf, "mirror").and_then(|mirror| self.mirror(mirror)),
            guardrails: present(leaf, "guardrails").and_then(guardrails),
            ..Leaf::default()
        })
    }

    /// Its place, its share and where it leads. `None`: the copy does not say its place, which its dice go by.
    fn mirror(&mut self, mirror: &Value) -> Option<Arc<Mirror>> {
        let path = text(mirror.get("path")?)?;
        let sample = mirror.get("sample")?.as_f64()?;
        self.leads.push((path.clone(), lead(mirror.get("target")?)?));
        Some(Arc::new(Mirror { path, leaf: Leaf::default(), sample }))
    }

    /// In the order in which the compiler numbered them: that of the config.
    fn watch(&mut self, watch: &Value, path: &str) -> Option<Watch> {
        let index = self.watched.len();
        self.watched.push(Watched { key: index as u64, path: path.to_owned(), measured: true });
        let breaker = present(watch, "breaker").map(breaker);
        let rate_limit_aware = watch.get("rate_limit_aware")?.as_bool()?;
        let hedge = present(watch, "hedge").and_then(hedge);
        Some(Watch { index, breaker, rate_limit_aware, hedge })
    }
}

/// A member that is there and says something.
fn present<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).filter(|found| !found.is_null())
}

fn lead(leaf: &Value) -> Option<Lead> {
    let of = |key: &str| leaf.get(key).and_then(text).unwrap_or_default();
    let models = leaf.get("override_params")?.as_array()?.iter();
    let model = models.rev().find(|pair| pair.get(0).and_then(Value::as_str) == Some("model"));
    let model = model.and_then(|pair| serde_json::from_str(pair.get(1)?.as_str()?).ok());
    Some(Lead {
        virtual_key: of("virtual_key"),
        provider: of("provider"),
        model: model.unwrap_or_default(),
    })
}

fn hedge(hedge: &Value) -> Option<Hedge> {
    let after = match present(hedge, "after_ms") {
        Some(millis) => HedgeAfter::Fixed(Duration::from_millis(millis.as_u64()?)),
        None => HedgeAfter::P95,
    };
    Some(Hedge { after, max_ratio: hedge.get("max_ratio")?.as_f64()? })
}

fn guardrails(guardrails: &Value) -> Option<Arc<Guardrails>> {
    let side = |name: &str| -> Option<Vec<Arc<Guardrail>>> {
        guardrails.get(name)?.as_array()?.iter().map(guardrail).collect()
    };
    Some(Arc::new(Guardrails { input: side("input")?, output: side("output")? }))
}

/// Its name and its traits. What it checks is as it was written; what came of it is in the record.
fn guardrail(guardrail: &Value) -> Option<Arc<Guardrail>> {
    let kind = match guardrail.get(1)?.as_str()? {
        "mutator" => GuardrailKind::Mutator,
        _ => GuardrailKind::Guardrail,
    };
    let written = text(guardrail.get(2)?)?;
    let item: Value = serde_json::from_str(&written).ok()?;
    let is = |key: &str| item.get(key).and_then(Value::as_bool).unwrap_or(false);
    Some(Arc::new(Guardrail {
        id: text(guardrail.get(0)?)?,
        kind,
        deny: is("deny"),
        background: is("async"),
        sequential: is("sequential"),
        stream: OnStream::End,
        on_success: None,
        on_fail: None,
        checks: Vec::new(),
        written,
    }))
}

fn balance(by: &Value) -> Option<Balance> {
    match by.as_str() {
        Some("weight") => Some(Balance::Weight),
        Some("latency") => Some(Balance::Latency),
        Some(_) => None,
        None => {
            let bytes_max = usize::try_from(by.get("bytes")?.as_u64()?).ok()?;
            let bounded = by.get("bounded")?.as_bool()?;
            Some(Balance::Hash(HashBy { fields: Vec::new(), bytes_max, bounded }))
        }
    }
}

/// One that holds for nobody: what it chose is in the record.
fn condition(condition: &Value) -> Option<Condition> {
    let written = text(condition.get("query")?)?;
    let query = vec![Clause::Any(Vec::new())];
    Some(Condition { query, then: then(condition.get("then")?)?, written })
}

fn then(then: &Value) -> Option<Then> {
    match then {
        Value::String(name) => Some(Then::Unknown(name.clone())),
        _ => Some(Then::Target(usize::try_from(then.as_u64()?).ok()?)),
    }
}

fn retry(retry: &Value) -> Option<Retry> {
    Some(Retry {
        attempts: u32::try_from(retry.get("attempts")?.as_u64()?).ok()?,
        on_status_codes: codes(retry.get("on_status_codes")?)?,
        use_retry_after: retry.get("use_retry_after")?.as_bool()?,
        jitter: retry.get("jitter")?.as_bool()?,
    })
}

/// That there is one is all that a plan asks; the numbers are shown.
fn breaker(breaker: &Value) -> Breaker {
    let number = |key: &str| breaker.get(key).and_then(Value::as_u64);
    let small = |key: &str| number(key).and_then(|number| u32::try_from(number).ok());
    Breaker {
        failure_threshold: small("failure_threshold"),
        failure_percentage: breaker.get("failure_threshold_percentage").and_then(Value::as_f64),
        minimum_requests: small("minimum_requests").unwrap_or(0),
        cooldown: Duration::from_millis(number("cooldown_ms").unwrap_or(0)),
        failure_status_codes: breaker.get("failure_status_codes").and_then(codes),
    }
}

fn codes(codes: &Value) -> Option<Vec<u16>> {
    codes.as_array()?.iter().map(|code| u16::try_from(code.as_u64()?).ok()).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
