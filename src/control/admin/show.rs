//! What the admin interface shows of the process and its configuration. Of a credential at most the last four
//! characters.

use serde_json::{Value, json};

use super::{Process, answer::time, targets};
use crate::{
    base::{limits, secret::Secret},
    config::{ApiKey, Config, PooledCredential, VirtualKey},
    io::hub::Epoch,
    journal::{metrics::Counters, slow::SlowRequest},
};

/// `GET /admin/v1/health`
pub fn health(process: &Process) -> Value {
    let workers: Vec<Value> =
        process.counters.iter().enumerate().map(|(number, it)| worker(number, it)).collect();
    let sum = |level: fn(&Counters) -> u64| -> u64 {
        process.counters.iter().map(|counters| level(counters)).sum()
    };
    json!({
        "status": if process.hub.is_draining() { "draining" } else { "ok" },
        "version": env!("CARGO_PKG_VERSION"),
        "started": time(process.started),
        "uptime_s": process.clock.now().nanos / 1_000_000_000,
        "driver": process.driver.as_str(),
        "epoch": process.hub.number(),
        "connections": sum(|counters| counters.connections_open.get()),
        "pooled": sum(|counters| counters.upstream_idle.get()),
        "workers": workers,
        "targets": targets::health(&process.hub, process.clock.now()),
        "log": process.log.as_ref().map(|log| {
            let stats = log.stats();
            json!({
                "written": stats.written,
                "waiting": stats.depth,
                "dropped": stats.dropped,
                "lost": stats.lost,
                "write_errors": stats.write_errors,
                "sync_errors": stats.sync_errors,
            })
        }),
    })
}

fn worker(number: usize, counters: &Counters) -> Value {
    json!({
        "worker": number,
        "connections": counters.connections_open.get(),
        "accepted": counters.connections.get(),
        "refused": counters.connections_refused.get(),
        "exchanges": counters.exchanges.get(),
        "in_flight": counters.in_flight.get(),
        "streams": counters.streams_open.get(),
        "refused_in_flight": counters.refused_in_flight.get(),
        "refused_memory": counters.refused_memory.get(),
        "memory_bytes": counters.exchange_bytes.get() + counters.log_bytes.get(),
        "event_loop_lag_ms": millis(counters.lag.recent_nanos.get()),
        "pool": {
            "open": counters.upstream_open.get(),
            "idle": counters.upstream_idle.get(),
            "opened": counters.upstream_connections.get(),
            "reused": counters.upstream_reused.get(),
        },
        "bugs": counters.bugs.get(),
    })
}

/// `GET /admin/v1/epochs`: the one in force, those before it, and what was wrong with the file if that was refused.
pub fn epochs(process: &Process) -> Value {
    let told = process.reloads.told();
    let mut epochs: Vec<Value> = told
        .epochs
        .iter()
        .rev()
        .map(|past| {
            json!({
                "epoch": past.number,
                "digest": hex::encode(past.digest),
                "since": time(past.since),
            })
        })
        .collect();
    let past = epochs.split_off(epochs.len().min(1));
    let refused = process.hub.refusal().map(|mistakes| {
        json!({
            "at": told.last_refused.map(time),
            "mistakes": mistakes.lines().collect::<Vec<_>>(),
        })
    });
    json!({
        "current": epochs.pop(),
        "past": past,
        "applied": told.applied,
        "refused": told.refused,
        "refused_now": refused,
    })
}

/// `GET /admin/v1/slow`: the last exchanges that took longer than `slow_request`, the newest first.
pub fn slow(process: &Process) -> Value {
    let config = &process.hub.epoch().config;
    json!({
        "slow_request_ms": config.slow_request.map(|slow| millis(slow.as_nanos() as u64)),
        "data": process.slow.last().iter().map(|(core, it)| slow_request(*core, it)).collect::<Vec<_>>(),
    })
}

fn slow_request(core: usize, slow: &SlowRequest) -> Value {
    let stages: serde_json::Map<String, Value> =
        slow.stages().map(|(name, nanos)| (name.to_owned(), json!(millis(nanos)))).collect();
    let attempts = slow.attempts.iter().map(|attempt| {
        json!({
            "target": attempt.target,
            "provider": attempt.provider,
            "virtual_key": attempt.virtual_key,
            "status": attempt.status,
            "from_ms": millis(attempt.started),
            "to_ms": (attempt.ended > 0).then(|| millis(attempt.ended)),
            "left": (!attempt.left.is_empty()).then_some(attempt.left),
        })
    });
    json!({
        "request_id": slow.request_id.to_string(),
        "at": time(slow.accepted_unix),
        "waited_ms": millis(slow.waited_nanos),
        "status": slow.status,
        "error": (!slow.error.is_empty()).then_some(slow.error),
        "method": slow.method,
        "path": slow.path,
        "api_key": slow.api_key,
        "config": slow.config,
        "model": slow.model,
        "stream": slow.stream,
        "bytes_in": slow.bytes_in,
        "bytes_out": slow.bytes_out,
        "stages_ms": stages,
        "attempts": attempts.collect::<Vec<_>>(),
        "attempts_omitted": slow.attempts_omitted,
        "worker": core,
        "event_loop_lag_ms": millis(slow.core.lag_nanos),
        "in_flight": slow.core.in_flight,
    })
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// `GET /admin/v1/virtual-keys`
pub fn virtual_keys(epoch: &Epoch) -> Value {
    list(epoch, epoch.config.virtual_keys.iter().map(virtual_key).collect())
}

fn virtual_key(key: &VirtualKey) -> Value {
    let scheme = if key.base.tls { "https" } else { "http" };
    json!({
        "name": key.name,
        "provider": key.provider.name(),
        "base_url": format!("{scheme}://{}{}", key.base.authority, key.base.path),
        "models": key.models,
        "credential": key.credential.as_ref().map(|credential| json!({ "last4": last4(credential) })),
        "credentials": key.credentials.iter().map(pooled).collect::<Vec<_>>(),
    })
}

fn pooled(credential: &PooledCredential) -> Value {
    json!({ "last4": last4(&credential.secret), "weight": credential.weight })
}

/// The end of a credential; `None` where that would be a good part of it.
fn last4(credential: &Secret) -> Option<&str> {
    let text = credential.reveal();
    if text.len() < limits::CREDENTIAL_BYTES_SHOWN_MIN {
        return None;
    }
    text.get(text.len() - 4..)
}

/// `GET /admin/v1/configs`: compiled, as the epoch's copy beside the log has them.
pub fn configs(epoch: &Epoch) -> Value {
    let mut whole = epoch.config.without_secrets();
    let policies = match whole.get_mut("configs").map(Value::take) {
        Some(Value::Object(policies)) => policies,
        _ => serde_json::Map::new(),
    };
    let shown =
        policies.into_iter().map(|(name, policy)| json!({ "name": name, "policy": policy }));
    list(epoch, shown.collect())
}

/// `GET /admin/v1/api-keys`
pub fn api_keys(epoch: &Epoch) -> Value {
    let config = &epoch.config;
    list(epoch, config.api_keys.iter().map(|key| api_key(key, config)).collect())
}

fn api_key(key: &ApiKey, config: &Config) -> Value {
    let config_name = |id: u32| config.configs.get(id as usize).map(|config| config.name.as_str());
    let key_name = |id: u32| config.virtual_keys.get(id as usize).map(|key| key.name.as_str());
    let allow = &key.allow;
    let configs: Option<Vec<_>> =
        allow.configs.as_ref().map(|ids| ids.iter().map(|id| config_name(id.0)).collect());
    let virtual_keys: Option<Vec<_>> =
        allow.virtual_keys.as_ref().map(|ids| ids.iter().map(|id| key_name(id.0)).collect());
    let metadata: serde_json::Map<String, Value> =
        key.metadata.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "name": key.name,
        "config": key.config.and_then(|id| config_name(id.0)),
        "expires": key.expires.map(time),
        "metadata": metadata,
        "allow": {
            "configs": configs,
            "virtual_keys": virtual_keys,
            "providers": allow.providers,
            "models": allow.models,
            "inline": allow.inline,
        },
    })
}

fn list(epoch: &Epoch, data: Vec<Value>) -> Value {
    json!({ "epoch": epoch.number, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_credential_four_characters_are_shown_and_of_a_short_one_none() {
        let shown = |text: &str| last4(&Secret::new(text.to_owned())).map(str::to_owned);
        assert_eq!(shown("sk-proj-abcdefghijklmnop1234"), Some("1234".into()));
        assert_eq!(shown("sandbox"), None);
        assert_eq!(shown("fifteen-bytes-x"), None);
        assert_eq!(shown("ends-in-a-wide-é€"), None, "no character is cut in two");
    }
}
