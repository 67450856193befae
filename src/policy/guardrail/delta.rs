//! The text that one event of a stream brings, in the client's format, and the same event with another text.

use std::borrow::Cow;

use super::text::steps;
use crate::{
    provider::Endpoint,
    wire::json::{self, Elements},
};

/// A piece of the text of one alternative.
pub struct Part<'d> {
    /// The alternative's number.
    pub channel: usize,
    /// The piece.
    pub text: Cow<'d, str>,
}

/// The pieces that an event brings.
#[must_use]
pub fn parts(endpoint: Endpoint, data: &[u8]) -> Vec<Part<'_>> {
    let Ok(fields) = json::scan(data) else { return Vec::new() };
    let single = |raw| piece(raw).map(|text| Part { channel: 0, text }).into_iter().collect();
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Completions => {
            let mut found = Vec::new();
            let choices = fields.value(data, "choices").unwrap_or_default();
            let Some(mut elements) = Elements::of(choices) else { return found };
            while let Some(Some(place)) = elements.next_element() {
                let choice = choices.get(place).unwrap_or_default();
                let Ok(inner) = json::scan(choice) else { continue };
                let channel = inner.value(choice, "index").and_then(json::as_u64).unwrap_or(0);
                let raw = match endpoint {
                    Endpoint::Completions => inner.value(choice, "text"),
                    _ => inner.value(choice, "delta").and_then(|delta| {
                        json::scan(delta).ok().and_then(|fields| fields.value(delta, "content"))
                    }),
                };
                let channel = usize::try_from(channel).unwrap_or(usize::MAX);
                found.extend(piece(raw).map(|text| Part { channel, text }));
            }
            found
        }
        Endpoint::Messages if is_type(data, &fields, "content_block_delta") => {
            let delta = fields.value(data, "delta").unwrap_or_default();
            single(json::scan(delta).ok().and_then(|fields| fields.value(delta, "text")))
        }
        Endpoint::Responses if is_type(data, &fields, "response.output_text.delta") => {
            single(fields.value(data, "delta"))
        }
        _ => Vec::new(),
    }
}

fn piece(raw: Option<&[u8]>) -> Option<Cow<'_, str>> {
    json::as_str(raw?).filter(|text| !text.is_empty())
}

fn is_type(data: &[u8], fields: &json::Fields, wanted: &str) -> bool {
    fields.value(data, "type").and_then(json::as_str).is_some_and(|kind| kind == wanted)
}

/// Whether an event says that the stream is complete: clients read no further.
#[must_use]
pub fn is_end(endpoint: Endpoint, name: &[u8], data: &[u8]) -> bool {
    let ends: &[&str] = match endpoint {
        Endpoint::Messages => &["message_stop"],
        Endpoint::Responses => &["response.completed", "response.incomplete", "response.failed"],
        _ => return data.trim_ascii() == b"[DONE]",
    };
    if !name.is_empty() {
        return ends.iter().any(|end| end.as_bytes() == name);
    }
    json::scan(data).is_ok_and(|fields| ends.iter().any(|end| is_type(data, &fields, end)))
}

/// The data with other pieces; `other` is asked once for each piece, with the alternative's number.
pub fn with_texts(
    endpoint: Endpoint,
    data: &[u8],
    other: &mut dyn FnMut(usize) -> Option<String>,
) -> Option<Vec<u8>> {
    let channels: Vec<usize> = parts(endpoint, data).iter().map(|part| part.channel).collect();
    let path = match endpoint {
        Endpoint::ChatCompletions => steps("choices.*.delta.content"),
        Endpoint::Completions => steps("choices.*.text"),
        Endpoint::Messages => steps("delta.text"),
        Endpoint::Responses => steps("delta"),
        _ => return None,
    };
    let mut at = 0;
    json::with_texts(data, &[&path], &mut |text| {
        if text.is_empty() {
            return None; // no piece
        }
        let channel = channels.get(at).copied();
        at += 1;
        other(channel?)
    })
}

/// The data with other whole texts, where an event repeats what the pieces before it brought.
pub fn with_whole_texts(
    endpoint: Endpoint,
    data: &[u8],
    other: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    if endpoint != Endpoint::Responses {
        return None;
    }
    let fields = json::scan(data).ok()?;
    if is_type(data, &fields, "response.output_text.delta") {
        return None;
    }
    let paths = ["text", "part.text", "item.content.*.text", "response.output.*.content.*.text"];
    let paths: Vec<_> = paths.iter().map(|path| steps(path)).collect();
    let paths: Vec<&[json::PathStep]> = paths.iter().map(Vec::as_slice).collect();
    json::with_texts(data, &paths, other)
}
