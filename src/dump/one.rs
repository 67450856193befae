//! `--id`: one exchange in full, its stages as a timeline.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{
    Args, Outcome, Refusal, body, json, show,
    source::{self, Selection},
    when,
};
use crate::{
    journal::{
        field::{FIELDS, FieldName, Value},
        view,
    },
    wire::record::{AttemptRecord, Record},
};

pub(super) fn run(
    args: &Args,
    selection: &Selection,
    out: &mut dyn Write,
) -> Result<Outcome, Refusal> {
    let record = find(&args.dirs, selection)?;
    match args.json {
        true => json::write(&record, out)?,
        false => write(&record, out)?,
    }
    if args.bodies {
        body::write(&args.dirs, record.request_id, out)?;
    }
    Ok(Outcome::Done)
}

/// The one exchange that is selected.
pub(super) fn find(dirs: &[PathBuf], selection: &Selection) -> Result<Record, Refusal> {
    let mut records = source::all(dirs, selection)?;
    let mut found: Vec<Record> = Vec::new();
    while let Some(record) = records.next()? {
        if found.len() < FOUND_MAX
            && found.iter().all(|other| other.request_id != record.request_id)
        {
            found.push(record);
        }
    }
    records.troubles.report();
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|one| format!("{:032x}", one.request_id)).collect();
        let message = format!("several ids begin like that: {}", ids.join(", "));
        return Err(Refusal::Input(message));
    }
    found.pop().ok_or_else(|| {
        let message = "no exchange of that id is in the log; retention may have deleted it";
        Refusal::Input(message.to_owned())
    })
}

fn write(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    line(out, "time", &when::rfc3339(record.accepted_unix_nanos))?;
    for field in FIELDS.iter().filter(|field| !ELSEWHERE.contains(&field.name)) {
        let value = FieldName::Fixed(field).value(record);
        let unset = match &value {
            Value::Missing => true,
            Value::Flag(flag) => !flag,
            Value::Number(number) => *number == 0 && field.name == "retries",
            Value::Text(text) => text.is_empty(),
        };
        if !unset {
            line(out, field.name, &show::value(&value, field.kind))?;
        }
    }
    for (key, value) in &record.metadata {
        line(out, &format!("meta.{}", show::printable(key)), &show::printable(value))?;
    }
    write_usage(record, out)?;
    write_decision(record, out)?;
    write_stages(record, out)?;
    write_attempts(record, out)
}

fn write_usage(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let Some(usage) = &record.usage else { return line(out, "tokens", "unknown") };
    let buckets = [
        ("input", usage.input),
        ("cache read", usage.cache_read),
        ("cache write 5 m", usage.cache_write_5m),
        ("cache write 1 h", usage.cache_write_1h),
        ("audio in", usage.audio_in),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
        ("audio out", usage.audio_out),
    ];
    let used = buckets.iter().filter(|(_, tokens)| *tokens != 0);
    let used: Vec<_> = used.map(|(name, tokens)| format!("{tokens} {name}")).collect();
    let estimated = if usage.estimated { " (estimated)" } else { "" };
    let total = view::tokens(record).unwrap_or(0);
    line(out, "tokens", &format!("{total}: {}{estimated}", used.join(", ")))
}

fn write_decision(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let lists = [
        ("dropped", &record.dropped_params),
        ("conditions", &record.conditions),
        ("breakers", &record.open_breakers),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        line(out, name, &show::printable(&list.join(", ")))?;
    }
    for (target, amount) in &record.balance {
        line(out, "balance", &format!("{} {amount}", show::printable(target)))?;
    }
    for found in &record.guardrails {
        line(out, "guardrail", &show::printable(found))?;
    }
    match record.omitted {
        0 => Ok(()),
        omitted => line(out, "omitted", &format!("{omitted} list entries did not fit")),
    }
}

/// The stages on one scale from the first byte in to the last byte out.
fn write_stages(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let times = &record.times;
    let stages = [
        ("head", times.head),
        ("body", times.body),
        ("planned", times.planned),
        ("connected", times.connected),
        ("sent", times.sent),
        ("first byte", times.first_byte),
        ("first token", times.first_token),
        ("last byte", times.last_byte),
        ("flushed", times.flushed),
    ];
    let total = view::total_nanos(record).unwrap_or(0);
    writeln!(out, "\nstages")?;
    let mut before = 0;
    for (name, at) in stages.into_iter().filter(|(_, at)| *at != 0) {
        let step = at.saturating_sub(before);
        let bar = bar(before, at, total);
        writeln!(
            out,
            "  {name:<12} {:>8}  +{:<8} {bar}",
            show::duration(at),
            show::duration(step)
        )?;
        before = at;
    }
    Ok(())
}

fn write_attempts(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let total = view::total_nanos(record).unwrap_or(0);
    if !record.attempts.is_empty() {
        writeln!(out, "\nattempts")?;
    }
    for (index, attempt) in record.attempts.iter().enumerate() {
        let ended = if attempt.ended == 0 { total } else { attempt.ended };
        let took = show::duration(ended.saturating_sub(attempt.started));
        let started = show::duration(attempt.started);
        let bar = bar(attempt.started, ended, total);
        writeln!(
            out,
            "  {:<2} {:<40} at {started:>8} for {took:<8} {bar}",
            index + 1,
            target(attempt)
        )?;
        let result = match attempt.status {
            0 => "no answer".to_owned(),
            status => format!("status {status}"),
        };
        let left = if attempt.left.is_empty() { "kept" } else { &attempt.left };
        let detail = format!("{result}, {left}: {}", attempt.detail);
        writeln!(out, "     {}", show::printable(detail.trim_end_matches(": ")))?;
    }
    Ok(())
}

fn target(attempt: &AttemptRecord) -> String {
    let place =
        if attempt.virtual_key.is_empty() { &attempt.provider } else { &attempt.virtual_key };
    let credential = &attempt.credential;
    let role = match &*attempt.role {
        "" => String::new(),
        role => format!(" ({role})"),
    };
    let text = format!("{} {place}{credential}/{}{role}", attempt.target, attempt.model);
    show::printable(&text).into_owned()
}

fn bar(from: u64, to: u64, total: u64) -> String {
    let column = |at: u64| {
        let scaled = u128::from(at) * BAR_COLUMNS as u128 / u128::from(total.max(1));
        (scaled as usize).min(BAR_COLUMNS)
    };
    let (start, end) = (column(from).min(BAR_COLUMNS - 1), column(to));
    format!("{}{}", " ".repeat(start), "━".repeat((end.saturating_sub(start)).max(1)))
}

fn line(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{name:<16} {value}")
}

/// Fields that have a part of their own below.
const ELSEWHERE: &[&str] = &[
    "tokens",
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "audio_in",
    "reasoning",
    "audio_out",
    "estimated",
    "attempts",
    "target",
    "model",
];
const BAR_COLUMNS: usize = 40;
/// Enough to say that an id is not unique.
const FOUND_MAX: usize = 5;
