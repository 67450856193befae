//! Whole answers for clients of Anthropic.

use std::borrow::Cow;

use crate::chat::{
    json::Json,
    reply::{Finish, Reply},
    request::Content,
    usage::Usage,
};

/// What an answer says beside the model's words.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// The id, where the provider gave none.
    pub id: String,
    /// The model, where the provider names none.
    pub model: String,
}

/// Writes a whole answer. Anthropic's format has one alternative: the first.
#[must_use]
pub fn write_reply(reply: &Reply, meta: &Meta) -> Vec<u8> {
    let mut json = Json::new();
    json.open_object();
    write_head(either(&reply.id, &meta.id), either(&reply.model, &meta.model), &mut json);
    json.key("content").open_array();
    let choice = reply.choices.first();
    choice
        .iter()
        .flat_map(|choice| &choice.content)
        .for_each(|content| write_block(content, &mut json));
    json.close_array();
    write_stop(choice.map_or(&Finish::Stop, |choice| &choice.finish), &mut json);
    json.key("usage");
    write_usage(&reply.usage.unwrap_or_default(), &mut json);
    json.close_object();
    json.into_bytes()
}

/// The first that is not empty.
#[must_use]
pub fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

/// What a message begins with.
pub fn write_head(id: &str, model: &str, json: &mut Json) {
    json.key("id").text(id).key("type").text("message").key("role").text("assistant");
    json.key("model").text(model);
}

/// Why it ended.
pub fn write_stop(finish: &Finish, json: &mut Json) {
    let reason = match finish {
        Finish::Stop | Finish::Other(_) => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ContextFull => "model_context_window_exceeded",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered => "refusal",
        Finish::Paused => "pause_turn",
    };
    json.key("stop_reason").text(reason);
    json.key("stop_sequence").optional_text(match finish {
        Finish::StopSequence(sequence) => Some(sequence),
        _ => None,
    });
}

/// Anthropic's convention: what was read from or written to the cache stands beside the input.
pub fn write_usage(usage: &Usage, json: &mut Json) {
    json.open_object().key("input_tokens").number(usage.input + usage.audio_in);
    let written = usage.cache_write_5m + usage.cache_write_1h;
    json.key("cache_creation_input_tokens").number(written);
    json.key("cache_read_input_tokens").number(usage.cache_read);
    json.key("output_tokens").number(usage.output_total()).close_object();
}

fn write_block(content: &Content, json: &mut Json) {
    match content {
        Content::Text(text) | Content::Refusal(text) => {
            json.open_object().key("type").text("text").key("text").text(text).close_object();
        }
        Content::Thinking { text, signature } => {
            json.open_object().key("type").text("thinking").key("thinking").text(text);
            // Clients need the field even where the model seals nothing.
            json.key("signature").text(signature.as_deref().unwrap_or_default()).close_object();
        }
        Content::RedactedThinking(data) => {
            json.open_object().key("type").text("redacted_thinking");
            json.key("data").text(data).close_object();
        }
        Content::ToolCall { id, name, arguments } => {
            json.open_object().key("type").text("tool_use").key("id").text(id);
            json.key("name").text(name).key("input").raw(&input_of(arguments)).close_object();
        }
        _ => {}
    }
}

/// Arguments as the object that Anthropic's format needs; what is no JSON object is shown under a key that says so.
fn input_of(arguments: &str) -> Cow<'_, str> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        return Cow::Borrowed("{}");
    }
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok();
    if arguments.starts_with('{') && is_json {
        return Cow::Borrowed(arguments);
    }
    let mut json = Json::new();
    json.open_object().key("INVALID_JSON").text(arguments).close_object();
    Cow::Owned(String::from_utf8_lossy(&json.into_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_are_no_object_are_shown_as_such() {
        assert_eq!(input_of(""), "{}");
        assert_eq!(input_of(r#" {"a":1} "#), r#"{"a":1}"#);
        assert_eq!(input_of(r#"{"a":"#), r#"{"INVALID_JSON":"{\"a\":"}"#);
        assert_eq!(input_of("[1]"), r#"{"INVALID_JSON":"[1]"}"#);
    }
}
