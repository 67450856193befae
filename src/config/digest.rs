//! The configuration as JSON without any secret, and the digest over it that names an epoch's content.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::secret::Secret;

use super::{
    Allow, ApiKey, Config, Log, OnFull, Origin, VirtualKey, Workers,
    condition::{Condition, Then},
    edge::{Cors, EgressProxy},
    guardrail::{Guardrail, Guardrails, Test},
    health::{Balance, HashBy, HedgeAfter, Watch},
    policy::{Leaf, Node, NodeKind, Policy},
};

/// SHA-256 over [`render`]; equal configurations have equal digests, whatever their files look like.
#[must_use]
pub fn digest(config: &Config) -> [u8; 32] {
    Sha256::digest(render(config).to_string().as_bytes()).into()
}

/// Whether two configurations of one digest hold the same credentials too.
#[must_use]
pub fn same_secrets(one: &Config, other: &Config) -> bool {
    let token = |config: &Config| config.admin.as_ref().and_then(|admin| admin.token.clone());
    let of_proxy = |config: &Config| {
        config.edge.egress_proxy.as_ref().and_then(|proxy| proxy.credential.clone())
    };
    let of_keys = |config: &Config| -> Vec<_> {
        let keys = config.virtual_keys.iter();
        keys.flat_map(|key| {
            let pooled = key.credentials.iter().map(|one| one.secret.clone());
            key.credential.iter().cloned().chain(pooled).collect::<Vec<_>>()
        })
        .collect()
    };
    let of_leaves = |config| -> Vec<_> {
        leaves(config)
            .map(|leaf| (leaf.api_key.clone(), leaf.options.clone(), calls(leaf)))
            .collect()
    };
    token(one) == token(other)
        && of_proxy(one) == of_proxy(other)
        && of_keys(one) == of_keys(other)
        && of_leaves(one) == of_leaves(other)
}

fn leaves(config: &Config) -> impl Iterator<Item = &Leaf> {
    let mut nodes: Vec<&Node> = config.configs.iter().map(|named| &named.policy.root).collect();
    std::iter::from_fn(move || {
        loop {
            let node = nodes.pop()?;
            if let NodeKind::Leaf(leaf) = &node.kind {
                return Some(&**leaf);
            }
            nodes.extend(node.children());
        }
    })
}

/// Everything that a configuration says, except credentials.
#[must_use]
pub fn render(config: &Config) -> Value {
    let key_name = |id: usize| config.virtual_keys.get(id).map(|key| key.name.as_str());
    let policies = config.configs.iter().map(|c| (c.name.clone(), policy(&c.policy, &key_name)));
    let mut configs: Vec<(String, Value)> = policies.collect();
    configs.sort_by(|a, b| a.0.cmp(&b.0));
    let mut virtual_keys: Vec<(String, Value)> =
        config.virtual_keys.iter().map(|key| (key.name.clone(), virtual_key(key))).collect();
    virtual_keys.sort_by(|a, b| a.0.cmp(&b.0));
    json!({
        "listen": config.listen.to_string(),
        "tls": config.tls.as_ref().map(|tls| json!([tls.cert, tls.key, tls.client_ca])),
        "admin": config.admin.as_ref().map(|admin| json!({
            "listen": admin.listen.to_string(),
            "token": admin.token.is_some(),
            "insecure": admin.insecure,
            "metrics_open": admin.metrics_open,
        })),
        "workers": workers(&config.workers),
        "state": config.state,
        "open": config.open,
        "virtual_keys": virtual_keys.into_iter().collect::<serde_json::Map<_, _>>(),
        "configs": configs.into_iter().collect::<serde_json::Map<_, _>>(),
        "api_keys": config.api_keys.iter().map(|key| api_key(key, config)).collect::<Vec<_>>(),
        "log": config.log.as_ref().map(log),
        "limits": {
            "head_bytes": config.limits.head_bytes,
            "body_bytes": config.limits.body_bytes,
            "upload_bytes": config.limits.upload_bytes,
            "connections": config.limits.connections,
            "in_flight": config.limits.in_flight,
            "memory_bytes": config.limits.memory_bytes,
        },
        "timeouts_ms": {
            "connect": config.timeouts.connect.as_millis() as u64,
            "first_byte": config.timeouts.first_byte.as_millis() as u64,
            "first_token": config.timeouts.first_token.map(|wait| wait.as_millis() as u64),
            "idle": config.timeouts.idle.as_millis() as u64,
            "total": config.timeouts.total.as_millis() as u64,
        },
        "custom_hosts": {
            "trusted": config.custom_hosts.trusted,
            "allow_private": config.custom_hosts.allow_private,
        },
        "slow_request_ms": config.slow_request.map(|slow| slow.as_millis() as u64),
        "trusted_proxies": config.edge.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cors": config.edge.cors.as_ref().map(cors),
        "egress_proxy": config.edge.egress_proxy.as_deref().map(egress_proxy),
    })
}

fn cors(cors: &Cors) -> Value {
    match cors {
        Cors::Any => json!(["*"]),
        Cors::Origins(origins) => json!(origins),
    }
}

fn egress_proxy(proxy: &EgressProxy) -> Value {
    let networks = proxy.direct_networks.iter().map(ToString::to_string);
    json!({
        "proxy": proxy.authority,
        "credential": proxy.credential.is_some(),
        "no_proxy": proxy.direct_names.iter().cloned().chain(networks).collect::<Vec<_>>(),
    })
}

fn workers(workers: &Workers) -> Value {
    match workers {
        Workers::Auto => json!("auto"),
        Workers::Count(count) => json!(count),
        Workers::Cores(cores) => json!(cores),
    }
}

fn log(log: &Log) -> Value {
    json!({
        "dir": log.dir,
        "bodies": log.bodies,
        "retain_for_s": log.retain_for.map(|age| age.as_secs()),
        "retain_bytes": log.retain_bytes,
        "sync_every_us": log.sync_every.as_micros() as u64,
        "on_full": match log.on_full { OnFull::Drop => "drop", OnFull::Wait => "wait" },
    })
}

fn virtual_key(key: &VirtualKey) -> Value {
    json!({
        "provider": key.provider.name(),
        "credential": key.credential.is_some(),
        "credential_weights": key.credentials.iter().map(|one| one.weight).collect::<Vec<_>>(),
        "base": url(&key.base),
        "models": key.models,
        "allow_custom_host": key.allow_custom_host,
        "ca": key.ca,
        "options": key.options,
    })
}

fn url(origin: &Origin) -> String {
    let scheme = if origin.tls { "https" } else { "http" };
    format!("{scheme}://{}{}", origin.authority, origin.path)
}

fn api_key(key: &ApiKey, config: &Config) -> Value {
    let name_of = |id: u32| usize::try_from(id).ok();
    let config_name = |id: u32| {
        name_of(id).and_then(|i| config.configs.get(i)).map(|config| config.name.as_str())
    };
    let key_name =
        |id: u32| name_of(id).and_then(|i| config.virtual_keys.get(i)).map(|key| key.name.as_str());
    let Allow { configs, virtual_keys, providers, models, inline } = &key.allow;
    let configs = configs.as_ref().map(|ids| ids.iter().map(|id| config_name(id.0)).collect());
    let virtual_keys =
        virtual_keys.as_ref().map(|ids| ids.iter().map(|id| key_name(id.0)).collect());
    json!({
        "name": key.name,
        "sha256": hex::encode(key.sha256),
        "expires_s": key.expires.map(|at| at.seconds()),
        "config": key.config.and_then(|id| config_name(id.0)),
        "metadata": key.metadata,
        "allow": {
            "configs": configs.unwrap_or_else(|| Value::Null),
            "virtual_keys": virtual_keys.unwrap_or_else(|| Value::Null),
            "providers": providers,
            "models": models,
            "inline": inline,
        },
    })
}

fn policy<'n>(policy: &Policy, key_name: &dyn Fn(usize) -> Option<&'n str>) -> Value {
    node(&policy.root, key_name)
}

/// A policy that came with a request, as [`render`] would write it into `configs`.
#[must_use]
pub fn render_policy(of: &Policy, config: &Config) -> Value {
    policy(of, &|id| config.virtual_keys.get(id).map(|key| key.name.as_str()))
}

fn node<'n>(node: &Node, key_name: &dyn Fn(usize) -> Option<&'n str>) -> Value {
    let children =
        |nodes: &[Node]| -> Value { nodes.iter().map(|n| self::node(n, key_name)).collect() };
    let kind = match &node.kind {
        NodeKind::Leaf(target) => leaf(target, key_name),
        NodeKind::Single(target) => json!({ "single": self::node(target, key_name) }),
        NodeKind::Fallback { on_status_codes, targets } => {
            json!({ "fallback": children(targets), "on_status_codes": on_status_codes })
        }
        NodeKind::LoadBalance { balance, targets } => {
            json!({ "loadbalance": children(targets), "by": self::balance(balance) })
        }
        NodeKind::Conditional { conditions, default, targets } => json!({
            "conditional": children(targets),
            "conditions": conditions.iter().flatten().map(condition).collect::<Vec<_>>(),
            "default": default.as_ref().map(then),
        }),
    };
    json!({ "path": node.path, "name": node.name, "weight": node.weight, "kind": kind })
}

fn balance(balance: &Balance) -> Value {
    match balance {
        Balance::Weight => json!("weight"),
        Balance::Latency => json!("latency"),
        Balance::Hash(HashBy { fields, bytes_max, bounded }) => {
            let fields: Vec<String> = fields.iter().map(|field| format!("{field:?}")).collect();
            json!({ "fields": fields, "bytes": bytes_max, "bounded": bounded })
        }
    }
}

fn guardrails(guardrails: &Guardrails) -> Value {
    let written = |list: &[Arc<Guardrail>]| -> Value {
        list.iter().map(|one| json!([one.id, one.kind.as_str(), one.written])).collect()
    };
    json!({ "input": written(&guardrails.input), "output": written(&guardrails.output) })
}

/// What of a leaf's guardrails may be secret: where they call, and what they send along.
fn calls(leaf: &Leaf) -> Vec<(String, Vec<(String, Secret)>)> {
    let lists = leaf.guardrails.iter().flat_map(|both| both.input.iter().chain(&both.output));
    let tests = lists.flat_map(|one| &one.checks).map(|check| &check.test);
    let callees = tests.filter_map(|test| match test {
        Test::Call(callee) => Some((callee.target.clone(), callee.headers.clone())),
        _ => None,
    });
    callees.collect()
}

fn watch(watch: &Watch) -> Value {
    json!({
        "rate_limit_aware": watch.rate_limit_aware,
        "hedge": watch.hedge.as_ref().map(|hedge| json!({
            "after_ms": match hedge.after {
                HedgeAfter::Fixed(wait) => Some(wait.as_millis() as u64),
                HedgeAfter::P95 => None,
            },
            "max_ratio": hedge.max_ratio,
        })),
        "breaker": watch.breaker.as_ref().map(|breaker| json!({
            "failure_threshold": breaker.failure_threshold,
            "failure_threshold_percentage": breaker.failure_percentage,
            "minimum_requests": breaker.minimum_requests,
            "cooldown_ms": breaker.cooldown.as_millis() as u64,
            "failure_status_codes": breaker.failure_status_codes,
        })),
    })
}

fn condition(condition: &Condition) -> Value {
    json!({ "query": condition.written, "then": then(&condition.then) })
}

fn then(then: &Then) -> Value {
    match then {
        Then::Target(index) => json!(index),
        Then::Unknown(name) => json!(name),
    }
}

fn leaf<'n>(leaf: &Leaf, key_name: &dyn Fn(usize) -> Option<&'n str>) -> Value {
    let millis = |wait: Option<std::time::Duration>| wait.map(|wait| wait.as_millis() as u64);
    let options: Vec<(&str, &str)> = leaf
        .options
        .iter()
        .map(|(name, value)| {
            let shown = if super::compile::keys::is_secret_header(name) { "…" } else { value };
            (name.as_str(), shown)
        })
        .collect();
    json!({
        "virtual_key": leaf.virtual_key.and_then(|id| key_name(usize::try_from(id.0).ok()?)),
        "provider": leaf.provider.map(|provider| provider.name()),
        "api_key": leaf.api_key.is_some(),
        "custom_host": leaf.custom_host.as_ref().map(url),
        "override_params": leaf.override_params,
        "default_params": leaf.default_params,
        "drop_params": leaf.drop_params.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "forward_headers": leaf.forward_headers,
        "retry": {
            "attempts": leaf.retry.attempts,
            "on_status_codes": leaf.retry.on_status_codes,
            "use_retry_after": leaf.retry.use_retry_after,
            "jitter": leaf.retry.jitter,
        },
        "request_timeout_ms": millis(leaf.request_timeout),
        "timeouts_ms": [
            millis(leaf.timeouts.connect),
            millis(leaf.timeouts.first_byte),
            millis(leaf.timeouts.first_token),
            millis(leaf.timeouts.idle),
            millis(leaf.timeouts.total),
        ],
        "parts_ms": leaf.parts.iter().map(|part| millis(Some(part.total))).collect::<Vec<_>>(),
        "strict": leaf.strict,
        "options": options,
        "watch": leaf.watch.as_ref().map(watch),
        "guardrails": leaf.guardrails.as_deref().map(guardrails),
        "mirror": leaf.mirror.as_ref().map(|mirror| json!({
            "path": mirror.path,
            "sample": mirror.sample,
            "target": self::leaf(&mirror.leaf, key_name),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{check::check, variables::Variables};

    fn config(credential: &str, inline: &str, token: &str) -> Config {
        let text = format!(
            "admin: {{ token: {token} }}\n\
             virtual_keys: {{ vk: {{ provider: openai, api_key: {credential} }} }}\n\
             configs: {{ c: {{ strategy: {{ mode: fallback }}, targets: [{{ virtual_key: vk }}, \
             {{ provider: openai, api_key: {inline} }}] }} }}\n"
        );
        let checked = check(&text, Variables::Lookup(&|_| None));
        checked.config.unwrap_or_else(|| panic!("{:?}", checked.mistakes))
    }

    #[test]
    fn a_credential_alone_is_a_difference_though_the_digest_does_not_know_it() {
        let old = config("one", "two", "a-token-of-the-file");
        assert!(same_secrets(&old, &config("one", "two", "a-token-of-the-file")));
        let proxy = |password: &str| {
            let text = format!("egress_proxy: http://user:{password}@proxy:3128");
            check(&text, Variables::Lookup(&|_| None)).config.expect("a configuration")
        };
        assert_eq!(proxy("one").digest, proxy("new").digest);
        assert!(same_secrets(&proxy("one"), &proxy("one")));
        assert!(!same_secrets(&proxy("one"), &proxy("new")));
        for new in [
            config("new", "two", "a-token-of-the-file"),
            config("one", "new", "a-token-of-the-file"),
            config("one", "two", "another-token"),
        ] {
            assert_eq!(old.digest, new.digest);
            assert!(!same_secrets(&old, &new));
        }
    }
}
