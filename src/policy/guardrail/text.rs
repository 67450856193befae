//! Which texts of a request and of an answer guardrails look at, by endpoint.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    provider::Endpoint,
    wire::json::{self, Edit, Elements, Fields, PathStep},
};

/// Portkey's word for what is asked; `None`: guardrails do not look at this endpoint.
#[must_use]
pub fn request_type(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::ChatCompletions => Some("chatComplete"),
        Endpoint::Completions => Some("complete"),
        Endpoint::Embeddings => Some("embed"),
        Endpoint::Messages => Some("messages"),
        Endpoint::Responses => Some("createModelResponse"),
        Endpoint::CountTokens | Endpoint::Models | Endpoint::Other => None,
    }
}

/// Whether its answers have a text.
#[must_use]
pub fn answers_in_text(endpoint: Endpoint) -> bool {
    request_type(endpoint).is_some() && endpoint != Endpoint::Embeddings
}

/// What is judged of a request: the text of the last message, of the prompt, of the input. Several are joined by line
/// feeds, as Portkey joins them.
#[must_use]
pub fn of_request(endpoint: Endpoint, body: &[u8], fields: &Fields) -> String {
    let value = |name| fields.value(body, name).unwrap_or_default();
    let texts = match endpoint {
        Endpoint::ChatCompletions | Endpoint::Messages => of_last_message(value("messages")),
        Endpoint::Completions => strings(value("prompt")),
        Endpoint::Embeddings => strings(value("input")),
        Endpoint::Responses => match value("input") {
            text if text.starts_with(b"\"") => strings(text),
            items => of_last_message(items),
        },
        _ => Vec::new(),
    };
    joined(&texts)
}

fn of_last_message(messages: &[u8]) -> Vec<Cow<'_, str>> {
    let all = json::elements(messages).unwrap_or_default();
    let last = all.last().and_then(|place| messages.get(place.clone())).unwrap_or_default();
    let content = json::scan(last).ok().and_then(|fields| fields.value(last, "content"));
    content.map(strings).unwrap_or_default()
}

/// A string, or the strings and texts of a list.
fn strings(raw: &[u8]) -> Vec<Cow<'_, str>> {
    if let Some(text) = json::as_str(raw) {
        return vec![text];
    }
    let mut found = Vec::new();
    let Some(mut elements) = Elements::of(raw) else { return found };
    while let Some(Some(place)) = elements.next_element() {
        let part = raw.get(place).unwrap_or_default();
        let text = match json::as_str(part) {
            Some(text) => Some(text),
            None => {
                json::scan(part).ok().and_then(|fields| json::as_str(fields.value(part, "text")?))
            }
        };
        found.extend(text);
    }
    found
}

fn joined(texts: &[Cow<'_, str>]) -> String {
    let texts: Vec<&str> =
        texts.iter().map(AsRef::as_ref).filter(|t: &&str| !t.is_empty()).collect();
    texts.join("\n")
}

/// What is judged of an answer in the client's format: the texts of all alternatives, joined by line feeds.
#[must_use]
pub fn of_answer(endpoint: Endpoint, body: &[u8]) -> String {
    let mut places = Vec::new();
    for path in answer_paths(endpoint) {
        json::places(body, &path, &mut places);
    }
    places.sort_by_key(|place| place.start);
    let raw = places.into_iter().filter_map(|place| body.get(place));
    let texts: Vec<Cow<'_, str>> = raw.filter_map(json::as_str).collect();
    joined(&texts)
}

/// Where all texts of a request are, for what rewrites them: of the whole conversation, since a client sends it again
/// with each turn.
#[must_use]
pub fn request_paths(endpoint: Endpoint) -> Vec<Vec<PathStep>> {
    let paths: &[&str] = match endpoint {
        Endpoint::ChatCompletions => &["messages.*.content", "messages.*.content.*.text"],
        Endpoint::Messages => &[
            "messages.*.content",
            "messages.*.content.*.text",
            "messages.*.content.*.content",
            "messages.*.content.*.content.*.text",
            "system",
            "system.*.text",
        ],
        Endpoint::Completions => &["prompt", "prompt.*"],
        Endpoint::Embeddings => &["input", "input.*"],
        Endpoint::Responses => &[
            "input",
            "input.*.content",
            "input.*.content.*.text",
            "input.*.output",
            "instructions",
        ],
        _ => &[],
    };
    paths.iter().map(|path| steps(path)).collect()
}

/// Where the texts of an answer are.
#[must_use]
pub fn answer_paths(endpoint: Endpoint) -> Vec<Vec<PathStep>> {
    let paths: &[&str] = match endpoint {
        Endpoint::ChatCompletions => {
            &["choices.*.message.content", "choices.*.message.content.*.text"]
        }
        Endpoint::Completions => &["choices.*.text"],
        Endpoint::Messages => &["content.*.text"],
        Endpoint::Responses => &["output.*.content.*.text"],
        _ => &[],
    };
    paths.iter().map(|path| steps(path)).collect()
}

/// `*` is each element.
pub(super) fn steps(path: &str) -> Vec<PathStep> {
    let step = |part: &str| match part {
        "*" => PathStep::Every,
        key => PathStep::Key(key.to_owned()),
    };
    path.split('.').map(step).collect()
}

/// The body with each text as `other` has it; `None`: nothing changes.
pub fn rewritten(
    body: &[u8],
    paths: &[Vec<PathStep>],
    other: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    let paths: Vec<&[PathStep]> = paths.iter().map(Vec::as_slice).collect();
    json::with_texts(body, &paths, other)
}

/// A rewritten request with the `model` and the `stream` that it had.
#[must_use]
pub fn with_kept_fields(body: &Bytes, fields: &Fields, before: &[u8]) -> Bytes {
    let Ok(old) = json::scan(before) else { return body.clone() };
    let mut edits: Vec<Edit<'_>> = Vec::new();
    for name in ["model", "stream"] {
        match (old.value(before, name), fields.value(body, name)) {
            (Some(raw_json), new) if new != Some(raw_json) => {
                edits.push(Edit::Set { name, raw_json })
            }
            (None, Some(_)) => edits.push(Edit::Remove { name }),
            _ => {}
        }
    }
    if edits.is_empty() {
        return body.clone();
    }
    let spliced = json::splice(body, fields, &edits);
    spliced.pieces.iter().flat_map(|piece| piece.iter().copied()).collect()
}
