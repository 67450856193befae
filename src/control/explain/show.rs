//! An explanation as people read it, and as programs do.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{ExplainArgs, around};
use crate::{
    base::fault::Fault,
    journal::retrace::Retraced,
    serve::explain::{Told, ToldChoice, ToldTarget},
    wire::record::Record,
};

/// What is shown.
pub struct Form<'a> {
    /// What was asked: `POST /v1/chat/completions`.
    asked: String,
    told: &'a Told,
    notes: &'a [String],
    record: Option<&'a Record>,
    /// Whether the record tells the same.
    outcome: Option<&'a Result<Retraced, String>>,
}

impl<'a> Form<'a> {
    /// Of a request.
    #[must_use]
    pub fn of_request(args: &ExplainArgs, told: &'a Told, notes: &'a [String]) -> Form<'a> {
        let asked = format!("{} {}", args.method, args.path);
        Form { asked, told, notes, record: None, outcome: None }
    }

    /// Of a request of the admin interface.
    #[must_use]
    pub fn of_call(asked: String, told: &'a Told) -> Form<'a> {
        Form { asked, told, notes: &[], record: None, outcome: None }
    }

    /// Of a logged exchange.
    #[must_use]
    pub fn of_record(
        record: &'a Record,
        told: &'a Told,
        notes: &'a [String],
        outcome: Option<&'a Result<Retraced, String>>,
    ) -> Form<'a> {
        let asked = format!("{} {}", record.method, record.path);
        Form { asked, told, notes, record: Some(record), outcome }
    }
}

/// Shows it, with an end of line.
#[must_use]
pub fn show(form: &Form<'_>, as_json: bool) -> String {
    match as_json {
        true => format!("{:#}\n", json(form)),
        false => text(form),
    }
}

fn text(form: &Form<'_>) -> String {
    let told = form.told;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "{name:<10} {}", printable(value));
        }
    };
    line("request", &form.asked);
    if let Some(record) = form.record {
        line("id", &format!("{:032x}", record.request_id));
        line("epoch", &record.epoch.to_string());
    }
    line("api key", &told.api_key);
    line("model", &told.model);
    let alone = told.config.is_empty() && !told.targets.is_empty();
    line("config", if alone { "none: one target, by a header or the model" } else { &told.config });
    line("seed", &told.seed.to_string());
    line("cache", CACHE);
    form.notes.iter().for_each(|note| line("note", note));
    if let Some((status, fault)) = &told.refused {
        line("refused", &format!("{status}: {}", message(fault)));
    }
    if let Some(outcome) = form.outcome {
        line("logged", &compared(outcome));
    }
    if !told.choices.is_empty() {
        out.push_str("\nchoices\n");
        told.choices.iter().for_each(|choice| write_choice(&mut out, choice));
    }
    if !told.targets.is_empty() {
        out.push_str("\ntargets\n");
        write_targets(&mut out, told);
    }
    if let Some(record) = form.record {
        write_attempts(&mut out, record);
    }
    out
}

fn write_choice(out: &mut String, choice: &ToldChoice) {
    let ToldChoice { path, strategy, chose, why } = choice;
    let chose = chose.as_deref().unwrap_or("nothing");
    let _ = writeln!(out, "  {path}: {strategy} -> {chose}\n      {}", printable(why));
}

fn write_targets(out: &mut String, told: &Told) {
    let mut refusals = told.refusals.iter().peekable();
    for (number, target) in told.targets.iter().enumerate() {
        while let Some((_, message)) =
            refusals.next_if(|(at, _)| target.order.is_none_or(|order| *at < order))
        {
            let _ = writeln!(out, "  !  whoever gets here is refused: {}", printable(message));
        }
        let mark = if target.order.is_some() { (number + 1).to_string() } else { "-".to_owned() };
        let _ = writeln!(out, "  {mark:<2} {}  {}", target.path, printable(&lead(target)));
        let tried = if target.order.is_some() { "tried" } else { "not tried" };
        let _ = writeln!(out, "      {tried}: {}", printable(&target.why));
        if target.order.is_some() && target.retries > 0 {
            let codes: Vec<String> = target.retry_codes.iter().map(u16::to_string).collect();
            let _ = writeln!(
                out,
                "      again up to {} times on {}, and without an answer",
                target.retries,
                codes.join(", ")
            );
        }
        if let Some(unfit) = &target.unfit {
            let _ = writeln!(out, "      unfit, so passed over: {}", printable(unfit));
        }
        if target.order.is_some() && !target.dropped.is_empty() {
            let _ = writeln!(out, "      dropped: {}", printable(&target.dropped.join(", ")));
        }
        for line in around::lines(&target.around) {
            let _ = writeln!(out, "      {}", printable(&line));
        }
    }
    for (_, message) in refusals {
        let _ = writeln!(out, "  !  whoever gets here is refused: {}", printable(message));
    }
}

/// Where a target leads, in one line.
fn lead(target: &ToldTarget) -> String {
    let ToldTarget { name, virtual_key, credentials, provider, model, url, format, .. } = target;
    let mut parts = Vec::new();
    if !name.is_empty() {
        parts.push(format!("\"{name}\""));
    }
    let by = if virtual_key.is_empty() { provider } else { virtual_key };
    let many = if *credentials > 0 {
        format!(" (one of {credentials} credentials)")
    } else {
        String::new()
    };
    match model.is_empty() {
        true => parts.push(format!("{by}{many}")),
        false => parts.push(format!("{by}{many}/{model}")),
    }
    if !url.is_empty() {
        parts.push(url.clone());
    }
    if *format == "translated" {
        parts.push(format!("translated for {provider}"));
    }
    parts.join("  ")
}

fn write_attempts(out: &mut String, record: &Record) {
    if !record.attempts.is_empty() {
        out.push_str("\nlogged attempts\n");
    }
    for (at, attempt) in record.attempts.iter().enumerate() {
        let left = if attempt.left.is_empty() { "kept" } else { &attempt.left };
        let status = match attempt.status {
            0 => "no answer".to_owned(),
            status => format!("status {status}"),
        };
        let role = if attempt.role.is_empty() { "" } else { " (hedge)" };
        let line = format!("{}{role} {status}, {left}", attempt.target);
        let _ = writeln!(out, "  {:<2} {}", at + 1, printable(&line));
    }
}

fn compared(outcome: &Result<Retraced, String>) -> String {
    match outcome {
        Ok(Retraced::Same) => "the attempts are those of this plan".to_owned(),
        Ok(Retraced::CutShort { next }) => format!(
            "the attempts are those of this plan; a deadline, the client or an upload that cannot be sent twice ended \
             it before {next}"
        ),
        Ok(Retraced::Hedged { by }) => format!(
            "the attempts are those of this plan as far as the hedge to {by}, which answered first: who is faster is \
             not made again"
        ),
        Err(why) => format!("ANOTHER PATH than this plan's: {why}"),
    }
}

fn json(form: &Form<'_>) -> Value {
    let told = form.told;
    let refused = told.refused.as_ref().map(|(status, fault)| {
        json!({ "status": status, "message": fault.message, "details": fault.details, "param": fault.param })
    });
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let choices = told.choices.iter().map(|choice| {
        json!({
            "path": choice.path,
            "strategy": choice.strategy,
            "chose": choice.chose,
            "why": choice.why,
        })
    });
    let refusals =
        told.refusals.iter().map(|(at, message)| json!({ "place": at, "message": message }));
    let mut out = json!({
        "request": form.asked,
        "seed": told.seed,
        "api_key": text(&told.api_key),
        "config": text(&told.config),
        "model": text(&told.model),
        "cache": { "cacheable": false, "why": CACHE },
        "refused": refused,
        "choices": choices.collect::<Vec<_>>(),
        "targets": told.targets.iter().map(target).collect::<Vec<_>>(),
        "refusals": refusals.collect::<Vec<_>>(),
        "notes": form.notes,
    });
    if let (Some(record), Some(map)) = (form.record, out.as_object_mut()) {
        let attempts = record.attempts.iter().map(|attempt| {
            json!({
                "target": attempt.target,
                "status": attempt.status,
                "role": text(&attempt.role),
                "left": text(&attempt.left),
            })
        });
        let logged = json!({
            "request_id": format!("{:032x}", record.request_id),
            "epoch": record.epoch,
            "status": record.status,
            "attempts": attempts.collect::<Vec<_>>(),
            "same": form.outcome.map(Result::is_ok),
            "compared": form.outcome.map(compared),
        });
        map.insert("logged".to_owned(), logged);
    }
    out
}

fn target(target: &ToldTarget) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut out = json!({
        "path": target.path,
        "name": text(&target.name),
        "tried": target.order.is_some(),
        "place": target.order,
        "reason": target.reason,
        "why": target.why,
        "virtual_key": text(&target.virtual_key),
        "provider": text(&target.provider),
        "model": text(&target.model),
        "url": text(&target.url),
        "format": text(target.format),
        "dropped_params": target.dropped,
        "unfit": target.unfit,
        "retries": target.retries,
        "retry_codes": target.retry_codes,
    });
    if let Some(map) = out.as_object_mut() {
        map.extend(around::members(&target.around).map(|(name, value)| (name.to_owned(), value)));
    }
    out
}

/// As JSON, for those who send it on.
#[must_use]
pub fn value(form: &Form<'_>) -> Value {
    json(form)
}

fn message(fault: &Fault) -> String {
    match fault.details.is_empty() {
        true => fault.message.clone().into_owned(),
        false => format!("{} ({})", fault.message, fault.details.join("; ")),
    }
}

/// What a terminal could take for a command is shown as an escape.
fn printable(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !BIDI.contains(&c);
    text.chars()
        .flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_unicode().collect() })
        .collect()
}

/// Characters that turn the direction of what follows them.
const BIDI: [char; 12] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}',
    '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

const CACHE: &str = "no: this version keeps no answers";
