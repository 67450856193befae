//! What a check finds in a text, with Portkey's own edges: a check without a text to look at is an error, and an error
//! counts as passed unless the check says otherwise.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::{
    base::limits,
    config::guardrail::{Check, LANGUAGES, Operator, Test, Unit},
};

use super::{
    about::{allowed_model, allowed_type, has_metadata},
    json_values, redact,
};

/// What is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The text.
    pub text: &'a str,
    /// There is more of it than is judged.
    pub too_long: bool,
    /// The model that is asked, as it goes to the target.
    pub model: &'a str,
    /// Portkey's word for what is asked.
    pub request_type: &'a str,
    /// The metadata of the exchange.
    pub metadata: &'a [(Cow<'a, str>, Cow<'a, str>)],
}

impl<'a> Subject<'a> {
    /// The value of a metadata key.
    pub(super) fn metadata(&self, key: &str) -> Option<&'a str> {
        let mut pairs = self.metadata.iter();
        pairs.find(|(known, _)| known == key).map(|(_, value)| value.as_ref())
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Whether it holds.
    pub verdict: bool,
    /// Why it could not be made.
    pub error: Option<Cow<'static, str>>,
    /// More about it. What it quotes is under [`QUOTES`].
    pub data: Value,
    /// Whether it rewrote something.
    pub transformed: bool,
}

/// Members of `data` that quote what was judged.
pub const QUOTES: [&str; 3] = ["textExcerpt", "matchDetails", "matchedJson"];

impl Finding {
    /// A verdict and what is to be said about it.
    #[must_use]
    pub fn of(verdict: bool, data: Value) -> Finding {
        Finding { verdict, error: None, data, transformed: false }
    }

    /// The check could not be made.
    pub fn error(message: impl Into<Cow<'static, str>>) -> Finding {
        let message = message.into();
        let data = json!({ "explanation": format!("the check could not be made: {message}") });
        Finding { verdict: false, error: Some(message), data, transformed: false }
    }

    /// Whether its guardrail may hold.
    #[must_use]
    pub fn passes(&self, fail_on_error: bool) -> bool {
        self.verdict || (self.error.is_some() && !fail_on_error)
    }
}

/// Makes a check that calls nobody. What rewrites has been done before; here it only tells what it found.
#[must_use]
pub fn judge(check: &Check, subject: &Subject<'_>) -> Finding {
    if subject.too_long || subject.text.len() > limits::GUARDRAIL_TEXT_BYTES_MAX {
        let most = limits::GUARDRAIL_TEXT_BYTES_MAX;
        let explanation = format!("the text is longer than the {most} bytes that are judged");
        return Finding::of(false, json!({ "explanation": explanation }));
    }
    if needs_text(&check.test) && subject.text.is_empty() {
        return Finding::error("Missing text to analyze");
    }
    let text = subject.text;
    match &check.test {
        Test::Regex { rule, regex } => matched(check, rule, regex, text),
        Test::Contains(words, operator) => contained(words, *operator, text),
        Test::Count { unit, least, most } => counted(check, *unit, (*least, *most), text),
        Test::Schema(schema) => fits_schema(check, schema, text),
        Test::JsonKeys(keys, operator) => has_keys(keys, *operator, text),
        Test::Code(format) => has_code(check, format, text),
        Test::Uppercase | Test::Lowercase => cased(check, text),
        Test::EndsWith(suffix) => {
            let ends =
                text.strip_suffix('.').unwrap_or(text).ends_with(suffix) || text.ends_with(suffix);
            let data = json!({ "suffix": suffix, "not": check.not });
            told(
                check,
                ends,
                data,
                "The text ends with the suffix.",
                "The text does not end with it.",
                text,
            )
        }
        Test::NotNull => {
            let there = !text.trim().is_empty();
            told(
                check,
                there,
                json!({ "not": check.not }),
                "There is a text.",
                "There is no text.",
                text,
            )
        }
        Test::Models { models, rules } => allowed_model(check, models, rules, subject),
        Test::RequestTypes { allowed, blocked } => {
            allowed_type(allowed, blocked, subject.request_type)
        }
        Test::MetadataKeys(keys, operator) => has_metadata(keys, *operator, subject),
        Test::AddPrefix(prefix) => Finding::of(
            true,
            json!({
                "prefix": prefix.text,
                "requestType": subject.request_type,
                "applyToRole": prefix.role,
                "addToExisting": prefix.to_existing,
                "onlyIfEmpty": prefix.only_if_empty,
            }),
        ),
        Test::Redact { patterns, fail_on_detection } => {
            let finds = redact::finds(patterns.iter(), text);
            let mut names: Vec<&str> = finds.iter().map(|find| find.name).collect();
            names.dedup();
            detected(&names, *fail_on_detection)
        }
        Test::ValidUrls { .. } | Test::Call(_) => Finding::error("it was not called"),
    }
}

/// What a check that rewrites says when it found these.
#[must_use]
pub fn detected(names: &[&str], fail_on_detection: bool) -> Finding {
    let explanation = match names.is_empty() {
        true => "Nothing was found to be replaced.",
        false => "What was found was replaced.",
    };
    let verdict = names.is_empty() || !fail_on_detection;
    let data = json!({ "verdict": verdict, "found": names, "explanation": explanation });
    Finding { transformed: !names.is_empty(), ..Finding::of(verdict, data) }
}

/// Whether a check that fails on the beginning of a text fails on all of it: then a stream need not come to its end.
#[must_use]
pub fn is_early(check: &Check) -> bool {
    match &check.test {
        Test::Contains(_, operator) => *operator == Operator::None,
        Test::Regex { .. } | Test::Code(_) => check.not,
        Test::Uppercase | Test::Lowercase => !check.not,
        Test::Redact { fail_on_detection, .. } => *fail_on_detection,
        _ => false,
    }
}

fn needs_text(test: &Test) -> bool {
    match test {
        Test::Count { unit, .. } => *unit != Unit::Sentences,
        Test::Contains(..)
        | Test::NotNull
        | Test::Models { .. }
        | Test::RequestTypes { .. }
        | Test::MetadataKeys(..)
        | Test::AddPrefix(_)
        | Test::Redact { .. }
        | Test::Call(_) => false,
        _ => true,
    }
}

/// The beginning of a text.
#[must_use]
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(limits::GUARDRAIL_EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A finding that `not` may turn round.
fn told(
    check: &Check,
    holds: bool,
    mut data: Value,
    if_it_holds: &str,
    if_not: &str,
    text: &str,
) -> Finding {
    let verdict = holds != check.not;
    data["verdict"] = verdict.into();
    data["explanation"] = if holds { if_it_holds } else { if_not }.into();
    data["textExcerpt"] = excerpt(text).into();
    Finding::of(verdict, data)
}

fn matched(check: &Check, rule: &str, regex: &regex::Regex, text: &str) -> Finding {
    let found = regex.captures(text);
    let details = found.as_ref().map(|found| {
        let whole = found.get(0).map_or(0..0, |all| all.range());
        let captures = found.iter().skip(1).map(|one| one.map(|one| one.as_str()));
        let named = regex.capture_names().flatten();
        let groups = named.map(|name| (name, found.name(name).map(|one| one.as_str())));
        json!({
            "matchedText": text.get(whole.clone()),
            "index": text.get(..whole.start).unwrap_or_default().encode_utf16().count(),
            "groups": groups.collect::<std::collections::BTreeMap<_, _>>(),
            "captures": captures.collect::<Vec<_>>(),
        })
    });
    let data = json!({ "regexPattern": rule, "not": check.not, "matchDetails": details });
    let (yes, no) = ("The pattern matched the text.", "The pattern did not match the text.");
    told(check, found.is_some(), data, yes, no, text)
}

fn contained(words: &[String], operator: Operator, text: &str) -> Finding {
    let (found, missing): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| text.contains(word.as_str()));
    let verdict = operator.holds(found.len(), missing.len());
    let outcome = if verdict { "passed" } else { "failed" };
    let why = match (operator, verdict) {
        (Operator::Any, true) => "At least one word was found.",
        (Operator::Any, false) | (Operator::None, true) => "No words were found.",
        (Operator::All, true) => "All words were found.",
        (Operator::All, false) => "Some words were missing.",
        (Operator::None, false) => "Some words were found.",
    };
    let operator = operator.as_str();
    Finding::of(
        verdict,
        json!({
            "explanation": format!("Check {outcome} for '{operator}' words. {why}"),
            "foundWords": found,
            "missingWords": missing,
            "operator": operator,
        }),
    )
}

fn counted(check: &Check, unit: Unit, (least, most): (u64, u64), text: &str) -> Finding {
    let (count, [name, min, max]) = match unit {
        Unit::Sentences => {
            let count = text.matches(['.', '!', '?']).count();
            (count, ["sentenceCount", "minCount", "maxCount"])
        }
        Unit::Words => {
            let count = text.split_whitespace().count();
            if count == 0 {
                return Finding::error("Missing text to analyze");
            }
            (count, ["wordCount", "minWords", "maxWords"])
        }
        Unit::Characters => {
            (text.encode_utf16().count(), ["characterCount", "minCharacters", "maxCharacters"])
        }
    };
    let within = (least..=most).contains(&(count as u64));
    let data = json!({ name: count, min: least, max: most, "not": check.not });
    told(
        check,
        within,
        data,
        "The count is within the range.",
        "The count is outside the range.",
        text,
    )
}

fn fits_schema(check: &Check, schema: &crate::config::json_schema::Schema, text: &str) -> Finding {
    let (values, _) = json_values::in_text(text);
    let mut best = None;
    for value in values {
        let misfits = schema.misfits(&value);
        let fits = misfits.is_empty();
        if fits || best.is_none() {
            best = Some((value, misfits));
        }
        if fits {
            break;
        }
    }
    let Some((value, misfits)) = best else {
        let explanation = "No valid JSON found in the response.";
        return Finding::of(false, json!({ "explanation": explanation, "not": check.not }));
    };
    let errors = misfits.iter().map(|one| json!({ "path": one.path, "message": one.message }));
    let data = json!({
        "matchedJson": value,
        "not": check.not,
        "validationErrors": errors.collect::<Vec<_>>(),
    });
    let fits = misfits.is_empty();
    told(check, fits, data, "The JSON fits the schema.", "The JSON does not fit the schema.", text)
}

fn has_keys(keys: &[String], operator: Operator, text: &str) -> Finding {
    let (values, _) = json_values::in_text(text);
    if values.is_empty() {
        let explanation = "No valid JSON found in the text.";
        let operator = operator.as_str();
        return Finding::of(
            false,
            json!({
                "explanation": explanation, "requiredKeys": keys, "operator": operator,
                "textExcerpt": excerpt(text),
            }),
        );
    }
    let (mut best, mut verdict): (Option<(&Value, Vec<&String>)>, bool) = (None, false);
    for value in &values {
        let present: Vec<&String> =
            keys.iter().filter(|key| value.get(key.as_str()).is_some()).collect();
        verdict = operator.holds(present.len(), keys.len() - present.len());
        if verdict || best.as_ref().is_none_or(|(_, before)| present.len() > before.len()) {
            best = Some((value, present));
        }
        if verdict {
            break;
        }
    }
    let (value, present) = best.unwrap_or((&Value::Null, Vec::new()));
    let missing: Vec<&String> = keys.iter().filter(|key| !present.contains(key)).collect();
    let explanation = match verdict {
        true => "The JSON has the keys that it must have.",
        false => "The JSON does not have the keys that it must have.",
    };
    Finding::of(
        verdict,
        json!({
            "matchedJson": value, "verdict": verdict, "explanation": explanation,
            "presentKeys": present, "missingKeys": missing, "operator": operator.as_str(),
            "textExcerpt": excerpt(text),
        }),
    )
}

fn has_code(check: &Check, format: &str, text: &str) -> Finding {
    let words = json_values::languages(text);
    let named = words.iter().map(|word| {
        LANGUAGES.iter().find(|(known, _)| known == word).map_or(word.as_str(), |(_, name)| name)
    });
    let named: Vec<&str> = named.collect();
    let has = named.contains(&format);
    let data = json!({ "searchedFormat": format, "not": check.not, "foundFormats": named });
    let (yes, no) =
        ("There is a code block in this format.", "There is no code block in this format.");
    told(check, has, data, yes, no, text)
}

/// Of the letters of ASCII alone, as Portkey looks at them.
fn cased(check: &Check, text: &str) -> Finding {
    let upper = matches!(check.test, Test::Uppercase);
    let other = if upper { u8::is_ascii_lowercase } else { u8::is_ascii_uppercase };
    let holds = !text.bytes().any(|byte| other(&byte));
    let (yes, no) = match upper {
        true => ("All letters are upper case.", "There are lower case letters."),
        false => ("All letters are lower case.", "There are upper case letters."),
    };
    told(check, holds, json!({ "not": check.not }), yes, no, text)
}
