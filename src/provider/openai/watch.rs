//! Looks at OpenAI-like streams as they pass. This runs on every event of every stream: once the stream has begun to
//! carry content, an event is only searched for three words, and parsed if one of them is there with a value.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::{error, usage};
use crate::{
    base::limits::ERROR_TEXT_BYTES_MAX,
    chat::usage::Usage,
    provider::{Seen, StreamError, Watch, is_unreadable},
    wire::json,
};

/// Watches `chat/completions`, `completions` and, being open about what it does not know, any other endpoint but
/// `responses`.
pub struct ChatWatch {
    withhold_usage: bool,
    in_content: bool,
    finished: bool,
    usage: Option<Usage>,
    model: Option<String>,
}

impl ChatWatch {
    /// `withhold_usage`: the client did not ask for usage.
    #[must_use]
    pub fn new(withhold_usage: bool) -> ChatWatch {
        ChatWatch { withhold_usage, in_content: false, finished: false, usage: None, model: None }
    }

    fn look_closely(&mut self, name: &[u8], data: &[u8]) -> Seen {
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            let unreadable = is_unreadable(data);
            return Seen { error: unreadable_error(name, data), unreadable, ..Seen::default() };
        };
        if let Some(error) = chunk_error(&chunk, name, data) {
            return Seen { error: Some(error), ..Seen::default() };
        }
        if let Some(found) = chunk.usage() {
            self.usage = Some(found);
        }
        if self.model.is_none() {
            self.model = chunk.model.as_deref().filter(|name| !name.is_empty()).map(str::to_owned);
        }
        self.in_content |= chunk.has_content();
        self.finished |= chunk.choices().iter().any(|choice| choice.finish_reason.is_some());
        Seen {
            content: self.in_content,
            finished: self.finished,
            withhold: self.withhold_usage && chunk.is_only_usage(),
            ..Seen::default()
        }
    }
}

impl Watch for ChatWatch {
    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen {
        if data.trim_ascii() == b"[DONE]" {
            return Seen { done: true, ..Seen::default() };
        }
        if self.in_content && name != b"error" && !is_telling(data) {
            return Seen { content: true, finished: self.finished, ..Seen::default() };
        }
        self.look_closely(name, data)
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// What makes an event in mid-content worth parsing, if it is the key of more than null.
const TELLING_WORDS: [&[u8]; 3] = [b"\"usage\"", b"\"error\"", b"\"finish_reason\""];

/// Whether an event in mid-content says more than content.
fn is_telling(data: &[u8]) -> bool {
    json::has_word(data, TELLING_WORDS, |end| !is_key_of_null(data, end))
}

/// Whether what follows a quoted word makes it a key whose value is null: the one harmless case.
fn is_key_of_null(data: &[u8], end: usize) -> bool {
    let rest = data.get(end..).unwrap_or_default().trim_ascii_start();
    rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
}

fn chunk_error(chunk: &Chunk<'_>, name: &[u8], data: &[u8]) -> Option<StreamError> {
    let is_error = name == b"error"
        || chunk.error.as_ref().is_some_and(|error| !error.is_null())
        || chunk.object.as_deref() == Some("error");
    if is_error {
        return unreadable_error(name, data);
    }
    let failed = |choice: &Choice<'_>| choice.finish_reason.as_deref() == Some("error");
    chunk.choices().iter().any(failed).then(|| StreamError {
        status: 502,
        kind: "upstream_error".to_owned(),
        message: "the provider ended the answer with an error and said nothing about it".to_owned(),
    })
}

/// The error in an event that may not look like a chunk at all.
fn unreadable_error(name: &[u8], data: &[u8]) -> Option<StreamError> {
    let value: Value = serde_json::from_slice(data).unwrap_or(Value::Null);
    let found = error::from_event(&value);
    if found.is_some() || name != b"error" {
        return found;
    }
    if value.is_object() {
        return error::from_event(&serde_json::json!({ "error": value }));
    }
    let shown = data.get(..ERROR_TEXT_BYTES_MAX).unwrap_or(data);
    let message = String::from_utf8_lossy(shown).into_owned();
    Some(StreamError { status: 500, kind: "upstream_error".to_owned(), message })
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    x_groq: Option<GroqExtra>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct GroqExtra {
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<ChoiceDelta<'a>>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<Value>,
}

/// Each field may be text, a list or an object, as hosts differ: what counts is whether it is empty.
#[derive(Deserialize)]
struct ChoiceDelta<'a> {
    #[serde(borrow, default)]
    content: Weight<'a>,
    #[serde(borrow, default)]
    reasoning_content: Weight<'a>,
    #[serde(borrow, default)]
    reasoning: Weight<'a>,
    #[serde(borrow, default)]
    reasoning_details: Weight<'a>,
    #[serde(borrow, default)]
    refusal: Weight<'a>,
    #[serde(borrow, default)]
    tool_calls: Weight<'a>,
    #[serde(borrow, default)]
    function_call: Weight<'a>,
    #[serde(borrow, default)]
    audio: Weight<'a>,
}

/// Any JSON value, kept only as its text.
#[derive(Deserialize, Default)]
struct Weight<'a>(#[serde(borrow)] Option<&'a serde_json::value::RawValue>);

impl Weight<'_> {
    fn is_some(&self) -> bool {
        self.0.is_some_and(|raw| !matches!(raw.get(), "null" | "\"\"" | "[]" | "{}"))
    }
}

impl Chunk<'_> {
    fn choices(&self) -> &[Choice<'_>] {
        self.choices.as_deref().unwrap_or_default()
    }

    /// Hosts put usage on top, into Groq's corner, or into the choice (Moonshot).
    fn usage(&self) -> Option<Usage> {
        let on_top = self.usage.as_ref();
        let groq = self.x_groq.as_ref().and_then(|extra| extra.usage.as_ref());
        let in_choice = self.choices().first().and_then(|choice| choice.usage.as_ref());
        [on_top, groq, in_choice].into_iter().flatten().find_map(usage::from_value)
    }

    fn has_content(&self) -> bool {
        self.choices().iter().any(|choice| {
            choice.finish_reason.is_some()
                || choice.text.as_deref().is_some_and(|text| !text.is_empty())
                || choice.delta.as_ref().is_some_and(ChoiceDelta::has_content)
        })
    }

    /// The one kind of event that a client which did not ask for usage must not see.
    fn is_only_usage(&self) -> bool {
        self.choices.as_ref().is_some_and(Vec::is_empty)
            && self.usage.as_ref().is_some_and(|usage| !usage.is_null())
    }
}

impl ChoiceDelta<'_> {
    fn has_content(&self) -> bool {
        [
            &self.content,
            &self.reasoning_content,
            &self.reasoning,
            &self.reasoning_details,
            &self.refusal,
            &self.tool_calls,
            &self.function_call,
            &self.audio,
        ]
        .iter()
        .any(|weight| weight.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(events: &[&str]) -> (ChatWatch, Vec<Seen>) {
        let mut watch = ChatWatch::new(true);
        let seen = events.iter().map(|data| watch.event(b"", data.as_bytes())).collect();
        (watch, seen)
    }

    #[test]
    fn a_role_is_not_content_and_text_is() {
        let (watch, seen) = chat(&[
            r#"{"model":"gpt-4o-2024","choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":"Hi"}}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":" \"usage\":{ \"error\" [DONE]"}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            "[DONE]",
        ]);
        let content: Vec<bool> = seen.iter().map(|seen| seen.content).collect();
        assert_eq!(content, [false, true, true, true, true, false]);
        let withheld: Vec<bool> = seen.iter().map(|seen| seen.withhold).collect();
        assert_eq!(withheld, [false, false, false, false, true, false]);
        assert!(seen[5].done && seen.iter().all(|seen| seen.error.is_none()));
        assert_eq!(watch.usage().map(|usage| (usage.input, usage.output)), Some((3, 2)));
        assert_eq!(watch.model(), Some("gpt-4o-2024"));
    }

    #[test]
    fn every_kind_of_content_counts() {
        for delta in [
            r#"{"reasoning_content":"hm"}"#,
            r#"{"reasoning":"hm"}"#,
            r#"{"refusal":"no"}"#,
            r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#,
            r#"{"audio":{"id":"a"}}"#,
            r#"{"content":[{"type":"thinking","thinking":[]}]}"#,
        ] {
            let (_, seen) = chat(&[&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#)]);
            assert!(seen[0].content, "{delta}");
        }
        let (_, seen) = chat(&[r#"{"object":"text_completion","choices":[{"text":"Hi"}]}"#]);
        assert!(seen[0].content);
        for quiet in [
            r#"{"choices":[{"delta":{"content":null,"tool_calls":[],"refusal":null}}]}"#,
            r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
            "",
        ] {
            let (_, seen) = chat(&[quiet]);
            assert_eq!(seen[0], Seen::default(), "{quiet}");
        }
        let (_, seen) = chat(&["not json", r#"{"choices":7}"#]);
        assert_eq!(seen[0], Seen { unreadable: true, ..Seen::default() });
        assert_eq!(seen[1], Seen::default(), "JSON, if a strange kind");
    }

    #[test]
    fn usage_is_found_wherever_hosts_put_it_and_only_its_own_event_is_withheld() {
        let first = r#"{"choices":[{"delta":{"content":"x"}}]}"#;
        for last in [
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null,"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":2}}}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop","usage" : {"prompt_tokens":3,"completion_tokens":2}}]}"#,
        ] {
            let (watch, seen) = chat(&[first, last]);
            assert!(!seen[1].withhold, "{last}");
            assert_eq!(watch.usage().map(|usage| usage.input), Some(3), "{last}");
        }
        let mut asked = ChatWatch::new(false);
        let usage = br#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        assert!(!asked.event(b"", usage).withhold);
    }

    #[test]
    fn errors_are_seen_before_and_after_content() {
        let error = r#"{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502,"message":"gone"}}"#;
        let (_, seen) = chat(&[error]);
        assert_eq!(seen[0].error.as_ref().map(|error| error.status), Some(502));
        let (_, seen) = chat(&[r#"{"choices":[{"delta":{"content":"x"}}]}"#, error]);
        assert_eq!(seen[1].error.as_ref().map(|error| &*error.message), Some("gone"));
        let mut watch = ChatWatch::new(false);
        for (data, message) in [
            (&br#"{"message":"named","type":"server_error"}"#[..], "named"),
            (&b"plain words"[..], "plain words"),
        ] {
            let seen = watch.event(b"error", data);
            assert_eq!(seen.error.map(|error| error.message), Some(message.to_owned()));
        }
    }

    #[test]
    fn an_answer_that_ends_in_error_is_an_error_even_without_words() {
        let last = r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#;
        let (_, seen) = chat(&[r#"{"choices":[{"delta":{"content":"x"}}]}"#, last]);
        assert_eq!(seen[1].error.as_ref().map(|error| error.status), Some(502));
    }
}
