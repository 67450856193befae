//! A record as one JSON object a line: every field, stable names with their units, null for what is unknown.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::when;
use crate::{
    journal::view,
    wire::record::{AttemptRecord, Record, Times, UsageRecord},
};

/// Writes the object and a line end.
pub(super) fn write(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &JsonRecord::new(record))?;
    out.write_all(b"\n")
}

/// Numbers that programs may round (ids, seeds, money in dollars) are texts.
#[derive(Serialize)]
struct JsonRecord<'a> {
    time: String,
    accepted_unix_ns: u64,
    id: String,
    trace: Option<&'a str>,
    status: Option<u16>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    dialect: Option<&'a str>,
    requested_model: Option<&'a str>,
    served_model: Option<&'a str>,
    provider: Option<&'a str>,
    virtual_key: Option<&'a str>,
    api_key: Option<&'a str>,
    config: Option<&'a str>,
    epoch: u64,
    seed: String,
    core: u16,
    seq: u64,
    process: String,
    total_ns: Option<u64>,
    ttft_ns: Option<u64>,
    upstream_ns: Option<u64>,
    gw_ns: Option<u64>,
    times: JsonTimes,
    usage: Option<JsonUsage>,
    cost_usd: Option<String>,
    cost_pico_usd: Option<u64>,
    cost_status: Option<&'a str>,
    price_table: Option<&'a str>,
    cache: Option<&'a str>,
    error: Option<&'a str>,
    error_source: Option<&'a str>,
    error_message: Option<&'a str>,
    attempts: Vec<JsonAttempt<'a>>,
    retries: u64,
    stream: bool,
    truncated: bool,
    client_gone: bool,
    hedged: bool,
    mirror: bool,
    bytes_in: u64,
    bytes_out: u64,
    client: Option<&'a str>,
    meta: BTreeMap<&'a str, &'a str>,
    dropped_params: &'a [String],
    conditions: &'a [String],
    open_breakers: &'a [String],
    balance: Vec<JsonAmount<'a>>,
    guardrails: &'a [String],
    omitted: u64,
}

#[derive(Serialize)]
struct JsonTimes {
    head_ns: u64,
    body_ns: Option<u64>,
    planned_ns: Option<u64>,
    connected_ns: Option<u64>,
    sent_ns: Option<u64>,
    first_byte_ns: Option<u64>,
    first_token_ns: Option<u64>,
    last_byte_ns: Option<u64>,
    flushed_ns: Option<u64>,
}

#[derive(Serialize)]
struct JsonUsage {
    input: u64,
    cache_read: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    audio_in: u64,
    output: u64,
    reasoning: u64,
    audio_out: u64,
    estimated: bool,
}

#[derive(Serialize)]
struct JsonAttempt<'a> {
    target: &'a str,
    provider: Option<&'a str>,
    virtual_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    model: Option<&'a str>,
    status: Option<u16>,
    started_ns: u64,
    ended_ns: Option<u64>,
    left: Option<&'a str>,
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonAmount<'a> {
    target: &'a str,
    amount: u64,
}

impl<'a> JsonRecord<'a> {
    fn new(record: &'a Record) -> JsonRecord<'a> {
        JsonRecord {
            time: when::rfc3339(record.accepted_unix_nanos),
            accepted_unix_ns: record.accepted_unix_nanos,
            id: format!("{:032x}", record.request_id),
            trace: text(&record.trace_id),
            status: status(record.status),
            method: text(&record.method),
            path: text(&record.path),
            dialect: text(&record.dialect),
            requested_model: text(&record.requested_model),
            served_model: text(&record.served_model),
            provider: text(&record.provider),
            virtual_key: text(&record.virtual_key),
            api_key: text(&record.api_key),
            config: text(&record.config),
            epoch: record.epoch,
            seed: record.seed.to_string(),
            core: record.core,
            seq: record.sequence,
            process: format!("{:016x}", record.process),
            total_ns: view::total_nanos(record),
            ttft_ns: view::ttft_nanos(record),
            upstream_ns: view::upstream_nanos(record),
            gw_ns: view::gateway_nanos(record),
            times: times(&record.times),
            usage: record.usage.as_ref().map(usage),
            cost_usd: record.cost_pico_usd.map(|pico| view::usd(u128::from(pico))),
            cost_pico_usd: record.cost_pico_usd,
            cost_status: text(&record.cost_status),
            price_table: text(&record.price_table),
            cache: text(&record.cache_status),
            error: text(&record.error_kind),
            error_source: text(&record.error_source),
            error_message: text(&record.error_message),
            attempts: record.attempts.iter().map(attempt).collect(),
            retries: view::retries(record),
            stream: record.stream,
            truncated: record.truncated,
            client_gone: record.client_gone,
            hedged: record.hedged,
            mirror: record.mirror,
            bytes_in: record.client_bytes_in,
            bytes_out: record.client_bytes_out,
            client: text(&record.client_address),
            meta: record.metadata.iter().map(|(key, value)| (&**key, &**value)).collect(),
            dropped_params: &record.dropped_params,
            conditions: &record.conditions,
            open_breakers: &record.open_breakers,
            balance: record
                .balance
                .iter()
                .map(|(target, amount)| JsonAmount { target, amount: *amount })
                .collect(),
            guardrails: &record.guardrails,
            omitted: record.omitted,
        }
    }
}

fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn status(status: u16) -> Option<u16> {
    Some(status).filter(|&status| status != 0)
}

fn reached(nanos: u64) -> Option<u64> {
    Some(nanos).filter(|&nanos| nanos != 0)
}

fn times(times: &Times) -> JsonTimes {
    JsonTimes {
        head_ns: times.head,
        body_ns: reached(times.body),
        planned_ns: reached(times.planned),
        connected_ns: reached(times.connected),
        sent_ns: reached(times.sent),
        first_byte_ns: reached(times.first_byte),
        first_token_ns: reached(times.first_token),
        last_byte_ns: reached(times.last_byte),
        flushed_ns: reached(times.flushed),
    }
}

fn usage(usage: &UsageRecord) -> JsonUsage {
    JsonUsage {
        input: usage.input,
        cache_read: usage.cache_read,
        cache_write_5m: usage.cache_write_5m,
        cache_write_1h: usage.cache_write_1h,
        audio_in: usage.audio_in,
        output: usage.output,
        reasoning: usage.reasoning,
        audio_out: usage.audio_out,
        estimated: usage.estimated,
    }
}

fn attempt(attempt: &AttemptRecord) -> JsonAttempt<'_> {
    JsonAttempt {
        target: &attempt.target,
        provider: text(&attempt.provider),
        virtual_key: text(&attempt.virtual_key),
        credential: text(&attempt.credential),
        model: text(&attempt.model),
        status: status(attempt.status),
        started_ns: attempt.started,
        ended_ns: reached(attempt.ended),
        left: text(&attempt.left),
        detail: text(&attempt.detail),
        role: text(&attempt.role),
    }
}
