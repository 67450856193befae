//! The sections of the file that bound what is taken on and how long it may take: limits, deadlines, what is slow.

use std::time::Duration;

use crate::base::limits as bounds;

use super::{
    Config,
    report::{Report, Spot},
    tree::Value,
    values,
};

/// `limits`.
pub fn limits(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    let Some(spot) = root.get("limits") else { return };
    if !report.keys(&spot, LIMIT_KEYS, LIMIT_KEYS_LATER) {
        return;
    }
    let limits = &mut config.limits;
    let (least, most) = (bounds::HEAD_BYTES_MIN as u64, bounds::HEAD_BYTES_DEFAULT as u64);
    if let Some(head) = spot.get("head").and_then(|s| values::bytes(&s, report, least, most)) {
        limits.head_bytes = usize::try_from(head).unwrap_or(bounds::HEAD_BYTES_DEFAULT);
    }
    let most = bounds::BODY_BYTES_MAX;
    if let Some(body) = spot.get("body").and_then(|s| values::bytes(&s, report, 1024, most)) {
        limits.body_bytes = body;
    }
    let most = bounds::UPLOAD_BYTES_MAX;
    if let Some(upload) = spot.get("upload").and_then(|s| values::bytes(&s, report, 1024, most)) {
        limits.upload_bytes = upload;
    }
    if let Some(found) = spot.get("connections") {
        limits.connections = count_or_auto(&found, report, "connections");
    }
    if let Some(found) = spot.get("in_flight") {
        limits.in_flight = count_or_auto(&found, report, "requests");
    }
    let (least, most) = (bounds::MEMORY_BYTES_MIN, bounds::MEMORY_BYTES_MAX);
    if let Some(memory) = spot.get("memory").and_then(|s| values::bytes(&s, report, least, most)) {
        limits.memory_bytes = memory;
    }
    if let Some(at) = spot.get("memory").or(spot.get("body"))
        && limits.memory_bytes < limits.body_bytes.saturating_add(bounds::EXCHANGE_BYTES)
    {
        let (memory, body) = (limits.memory_bytes, limits.body_bytes);
        let message = format!(
            "limits.memory ({memory} bytes) has no room for one body of limits.body ({body} bytes): raise it, or \
             lower limits.body"
        );
        report.mistake(&at, message);
    }
}

fn count_or_auto(spot: &Spot<'_>, report: &mut Report, what: &str) -> Option<usize> {
    if matches!(&spot.tree.value, Value::Text(text) if text == "auto") {
        return None;
    }
    let most = bounds::CONNECTIONS_MAX as u64;
    if !matches!(spot.tree.value, Value::Number(_)) && spot.tree.written.is_none() {
        report.expected(spot, &format!("auto, or a number of {what}; write e.g. 10000"));
        return None;
    }
    values::whole(spot, report, 1, most).and_then(|count| usize::try_from(count).ok())
}

/// `timeouts`.
pub fn timeouts(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    let Some(spot) = root.get("timeouts") else { return };
    if !report.keys(&spot, TIMEOUT_KEYS, &[]) {
        return;
    }
    let timeouts = &mut config.timeouts;
    let mut first_token = timeouts.first_token.unwrap_or_default();
    for (key, slot) in [
        ("connect", &mut timeouts.connect),
        ("first_byte", &mut timeouts.first_byte),
        ("first_token", &mut first_token),
        ("idle", &mut timeouts.idle),
        ("total", &mut timeouts.total),
    ] {
        let least = Duration::from_millis(1);
        if let Some(found) = spot.get(key)
            && let Some(set) = values::duration(&found, report, least, bounds::TIMEOUT_MAX)
        {
            *slot = set;
        }
    }
    timeouts.first_token = Some(first_token).filter(|set| !set.is_zero());
}

/// `slow_request`.
pub fn slow_request(root: &Spot<'_>, config: &mut Config, report: &mut Report) {
    let Some(spot) = root.get("slow_request") else { return };
    config.slow_request = match &spot.tree.value {
        Value::Text(text) if text == "off" => None,
        _ => values::duration(&spot, report, Duration::from_millis(1), bounds::TIMEOUT_MAX),
    };
}

/// Keys of `limits`.
pub const LIMIT_KEYS: &[&str] = &["head", "body", "upload", "connections", "in_flight", "memory"];
/// Keys of `limits` that a later version will honour.
pub const LIMIT_KEYS_LATER: &[&str] = &["reserve"];
/// Keys of `timeouts`.
pub const TIMEOUT_KEYS: &[&str] = &["connect", "first_byte", "first_token", "idle", "total"];
