//! The fields of a record by their public names: what `--where`, `--by` and `--sum` may speak of.

use std::borrow::Cow;

use super::view;
use crate::wire::record::{Record, UsageRecord};

/// The value of a field in one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Unknown, or not reached.
    Missing,
    /// Yes or no.
    Flag(bool),
    /// In the unit of the field's [`Kind`].
    Number(u64),
    /// Text; empty: none.
    Text(Cow<'a, str>),
}

/// What a field's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain number.
    Count,
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// Pico-dollars.
    Money,
    /// Yes or no.
    Flag,
    /// Text.
    Text,
}

/// One field of every record.
#[derive(Debug)]
pub struct Field {
    /// Its public name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// A few words about it.
    pub about: &'static str,
    get: fn(&Record) -> Value<'_>,
}

/// A field as named by a user: a fixed one, or a key of the metadata.
#[derive(Clone, Debug)]
pub enum FieldName {
    /// One of [`FIELDS`].
    Fixed(&'static Field),
    /// `meta.KEY`.
    Meta(String),
}

impl FieldName {
    /// The field of that name.
    ///
    /// # Errors
    /// Says that there is none, and which was perhaps meant.
    pub fn find(name: &str) -> Result<FieldName, String> {
        if let Some(key) = name.strip_prefix(META_PREFIX).filter(|key| !key.is_empty()) {
            return Ok(FieldName::Meta(key.to_owned()));
        }
        match FIELDS.iter().find(|field| field.name == name) {
            Some(field) => Ok(FieldName::Fixed(field)),
            None => Err(unknown(name)),
        }
    }

    /// Its public name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            FieldName::Fixed(field) => field.name.to_owned(),
            FieldName::Meta(key) => format!("{META_PREFIX}{key}"),
        }
    }

    /// What its values are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            FieldName::Fixed(field) => field.kind,
            FieldName::Meta(_) => Kind::Text,
        }
    }

    /// Its value in a record.
    #[must_use]
    pub fn value<'a>(&self, record: &'a Record) -> Value<'a> {
        match self {
            FieldName::Fixed(field) => (field.get)(record),
            FieldName::Meta(key) => {
                let pair = record.metadata.iter().find(|(name, _)| name == key);
                pair.map_or(Value::Missing, |(_, value)| text(value))
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let near = FIELDS
        .iter()
        .map(|field| (distance(name, field.name), field.name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    match near {
        Some((_, near)) => format!("there is no field `{name}`; did you mean `{near}`?"),
        None => {
            let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
            let names = names.join(", ");
            format!("there is no field `{name}`; the fields are {names}, meta.KEY")
        }
    }
}

/// Edits that turn one word into the other; words longer than any field are simply far away.
fn distance(from: &str, to: &str) -> usize {
    if from.len() > 2 * FIELD_NAME_BYTES_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replace = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn number(number: impl Into<u64>) -> Value<'static> {
    Value::Number(number.into())
}

fn known(number: Option<u64>) -> Value<'static> {
    number.map_or(Value::Missing, Value::Number)
}

fn reached(nanos: u64) -> Value<'static> {
    known(Some(nanos).filter(|&nanos| nanos != 0))
}

fn bucket(record: &Record, get: fn(&UsageRecord) -> u64) -> Value<'static> {
    known(record.usage.as_ref().map(get))
}

const fn field(
    name: &'static str,
    kind: Kind,
    about: &'static str,
    get: fn(&Record) -> Value<'_>,
) -> Field {
    Field { name, kind, about, get }
}

const META_PREFIX: &str = "meta.";
const FIELD_NAME_BYTES_MAX: usize = 20;

/// Every fixed field, in the order of help texts and CSV columns.
#[rustfmt::skip]
pub static FIELDS: &[Field] = &[
    field("id", Kind::Text, "request id, 32 hexadecimal digits", |r| Value::Text(format!("{:032x}", r.request_id).into())),
    field("status", Kind::Count, "status sent to the client; missing: none was", |r| reached(r.status.into())),
    field("method", Kind::Text, "HTTP method", |r| text(&r.method)),
    field("path", Kind::Text, "path without the query", |r| text(&r.path)),
    field("dialect", Kind::Text, "openai, anthropic, responses", |r| text(&r.dialect)),
    field("model", Kind::Text, "served model, else the requested one", |r| text(view::model(r))),
    field("requested_model", Kind::Text, "model as the client wrote it", |r| text(&r.requested_model)),
    field("served_model", Kind::Text, "model as the provider said", |r| text(&r.served_model)),
    field("provider", Kind::Text, "provider that answered last", |r| text(&r.provider)),
    field("virtual_key", Kind::Text, "virtual key that answered last", |r| text(&r.virtual_key)),
    field("api_key", Kind::Text, "name of the caller's API key", |r| text(&r.api_key)),
    field("config", Kind::Text, "config's name, or inline:DIGEST", |r| text(&r.config)),
    field("target", Kind::Text, "path of the last target tried", |r| r.attempts.last().map_or(Value::Missing, |a| text(&a.target))),
    field("total", Kind::Time, "first byte in to last byte out", |r| known(view::total_nanos(r))),
    field("ttft", Kind::Time, "first byte in to the first token", |r| known(view::ttft_nanos(r))),
    field("upstream", Kind::Time, "while attempts were running", |r| known(view::upstream_nanos(r))),
    field("gw", Kind::Time, "the gateway's own time, back-off included", |r| known(view::gateway_nanos(r))),
    field("tokens", Kind::Count, "all tokens", |r| known(view::tokens(r))),
    field("input", Kind::Count, "all input tokens, cached ones included", |r| known(view::input_tokens(r))),
    field("output", Kind::Count, "all output tokens, reasoning included", |r| known(view::output_tokens(r))),
    field("cache_read", Kind::Count, "input tokens from the provider's cache", |r| bucket(r, |u| u.cache_read)),
    field("cache_write_5m", Kind::Count, "input tokens written to it for 5 minutes", |r| bucket(r, |u| u.cache_write_5m)),
    field("cache_write_1h", Kind::Count, "input tokens written to it for 1 hour", |r| bucket(r, |u| u.cache_write_1h)),
    field("audio_in", Kind::Count, "audio input tokens", |r| bucket(r, |u| u.audio_in)),
    field("reasoning", Kind::Count, "reasoning tokens", |r| bucket(r, |u| u.reasoning)),
    field("audio_out", Kind::Count, "audio output tokens", |r| bucket(r, |u| u.audio_out)),
    field("estimated", Kind::Flag, "the tokens are an estimate", |r| Value::Flag(r.usage.is_some_and(|u| u.estimated))),
    field("cost", Kind::Money, "cost in USD", |r| known(r.cost_pico_usd)),
    field("cost_status", Kind::Text, "exact, estimated, unpriced", |r| text(&r.cost_status)),
    field("price_table", Kind::Text, "price table used", |r| text(&r.price_table)),
    field("cache", Kind::Text, "DISABLED, HIT, MISS, REFRESH", |r| text(&r.cache_status)),
    field("attempts", Kind::Count, "attempts made", |r| number(r.attempts.len() as u64)),
    field("retries", Kind::Count, "attempts that tried a target again", |r| number(view::retries(r))),
    field("error", Kind::Text, "kind of the error", |r| text(&r.error_kind)),
    field("error_source", Kind::Text, "client, gateway, upstream, network", |r| text(&r.error_source)),
    field("error_message", Kind::Text, "message of the error", |r| text(&r.error_message)),
    field("stream", Kind::Flag, "the client asked for a stream", |r| Value::Flag(r.stream)),
    field("truncated", Kind::Flag, "the upstream broke off", |r| Value::Flag(r.truncated)),
    field("client_gone", Kind::Flag, "the client went away", |r| Value::Flag(r.client_gone)),
    field("hedged", Kind::Flag, "a hedge was sent", |r| Value::Flag(r.hedged)),
    field("mirror", Kind::Flag, "a copy that went to a mirror", |r| Value::Flag(r.mirror)),
    field("bytes_in", Kind::Bytes, "bytes from the client", |r| number(r.client_bytes_in)),
    field("bytes_out", Kind::Bytes, "bytes to the client", |r| number(r.client_bytes_out)),
    field("client", Kind::Text, "client's address and port", |r| text(&r.client_address)),
    field("trace", Kind::Text, "trace id", |r| text(&r.trace_id)),
    field("epoch", Kind::Count, "configuration it ran on", |r| number(r.epoch)),
    field("seed", Kind::Count, "seed of its decisions", |r| number(r.seed)),
    field("core", Kind::Count, "worker that served it", |r| number(r.core)),
    field("seq", Kind::Count, "number of the record on that worker", |r| number(r.sequence)),
    field("process", Kind::Text, "process that wrote it, 16 hexadecimal digits", |r| Value::Text(format!("{:016x}", r.process).into())),
];
