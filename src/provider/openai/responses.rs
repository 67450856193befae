//! Looks at streams of the Responses API as they pass. Their events say what they are, so that once content has begun
//! only those that end a stream, and those without a name, are parsed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::{error, usage};
use crate::{
    base::limits::ERROR_TEXT_BYTES_MAX,
    chat::usage::Usage,
    provider::{Seen, StreamError, Watch, is_unreadable},
};

/// Watches `responses`.
#[derive(Default)]
pub struct ResponsesWatch {
    in_content: bool,
    finished: bool,
    usage: Option<Usage>,
    model: Option<String>,
}

impl Watch for ResponsesWatch {
    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen {
        if self.in_content && is_under_way(name) {
            return self.seen();
        }
        if data.trim_ascii() == b"[DONE]" {
            return Seen { done: true, ..Seen::default() };
        }
        let (event, unreadable) = match serde_json::from_slice::<Event<'_>>(data) {
            Ok(event) => (event, false),
            Err(_) => (Event::default(), is_unreadable(data)),
        };
        if let Some(error) = event.error(name, data) {
            let done = event.kind(name) == "response.failed" && !unreadable;
            self.keep(&event);
            return Seen { done, error: Some(error), ..Seen::default() };
        }
        if unreadable {
            return Seen { unreadable, ..self.seen() };
        }
        self.keep(&event);
        self.finished |= matches!(&*event.kind(name), "response.completed" | "response.incomplete");
        self.in_content |= self.finished || event.is_content(name);
        Seen { done: self.finished, ..self.seen() }
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl ResponsesWatch {
    fn seen(&self) -> Seen {
        Seen { content: self.in_content, finished: self.finished, ..Seen::default() }
    }

    fn keep(&mut self, event: &Event<'_>) {
        let Some(response) = &event.response else { return };
        self.usage = response.usage.as_ref().and_then(usage::from_value).or(self.usage);
        let model = response.model.as_ref().and_then(Value::as_str).filter(|name| !name.is_empty());
        self.model = model.map(str::to_owned).or(self.model.take());
    }
}

/// Whether an event of this name neither ends a stream nor tells of an error.
fn is_under_way(name: &[u8]) -> bool {
    const LAST: [&[u8]; 3] = [b"completed", b"incomplete", b"failed"];
    name.strip_prefix(b"response.").is_some_and(|step| !LAST.contains(&step))
}

#[derive(Default, Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    response: Option<Response>,
    #[serde(borrow, default)]
    item: Option<Item<'a>>,
    #[serde(default)]
    error: Option<Value>,
}

/// What counts of a response: it repeats the whole request, which is not kept.
#[derive(Default, Deserialize)]
struct Response {
    #[serde(default)]
    model: Option<Value>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
}

impl Event<'_> {
    /// The type in the data decides; look-alikes leave out one or the other.
    fn kind<'n>(&'n self, name: &'n [u8]) -> Cow<'n, str> {
        match self.kind.is_empty() {
            true => String::from_utf8_lossy(name),
            false => Cow::Borrowed(&self.kind),
        }
    }

    /// A tool call, or a tool that runs at the provider, is content as it begins; a message or a thought as it is said.
    fn is_content(&self, name: &[u8]) -> bool {
        match &*self.kind(name) {
            "response.output_item.added" => {
                let kind = self.item.as_ref().map(|item| &*item.kind);
                kind.is_some_and(|kind| !matches!(kind, "" | "message" | "reasoning"))
            }
            kind => kind.ends_with(".delta") || kind.ends_with(".done"),
        }
    }

    /// Hosts put the error of a failed response into it or beside it, and that of an `error` event into an `error` of
    /// its own or on top. Some send no more than the body of an error.
    fn error(&self, name: &[u8], data: &[u8]) -> Option<StreamError> {
        let kind = self.kind(name);
        let within = self.response.as_ref().and_then(|response| response.error.as_ref());
        let beside = self.error.as_ref().filter(|error| !error.is_null());
        let failed = kind == "response.failed" || kind == "error" || name == b"error";
        if !failed && beside.is_none() {
            return None;
        }
        let found = beside.or(within.filter(|error| !error.is_null())).cloned();
        let on_top = || serde_json::from_slice(data).ok().filter(|_| kind != "response.failed");
        let error = found.or_else(on_top).unwrap_or_default();
        let wrapped = serde_json::json!({ "error": error });
        Some(error::from_event(&wrapped).unwrap_or_else(|| wordless(name, data)))
    }
}

/// The error of an event that tells nothing in a way that anyone could read.
fn wordless(name: &[u8], data: &[u8]) -> StreamError {
    let message = match name == b"error" && is_unreadable(data) {
        true => {
            let shown = data.get(..ERROR_TEXT_BYTES_MAX).unwrap_or(data);
            String::from_utf8_lossy(shown).into_owned()
        }
        false => "the provider reported a failed response".to_owned(),
    };
    StreamError { status: 500, kind: "upstream_error".to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: &str =
        r#"{"type":"response.created","response":{"model":"gpt-5","error":null,"usage":null}}"#;
    const DELTA: &str = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;
    const COMPLETED: &str = r#"{"type":"response.completed","response":{"model":"gpt-5-x","usage":{"input_tokens":5,"output_tokens":1}}}"#;

    /// What is seen of events, named after their types if `named`.
    fn watch(events: &[&str], named: bool) -> (ResponsesWatch, Vec<Seen>) {
        let mut watch = ResponsesWatch::default();
        let seen = events.iter().map(|data| {
            let value: Value = serde_json::from_str(data).unwrap_or_default();
            let name = value["type"].as_str().filter(|_| named).unwrap_or_default();
            watch.event(name.as_bytes(), data.as_bytes())
        });
        let seen = seen.collect();
        (watch, seen)
    }

    fn error_of(events: &[&str]) -> Option<(u16, String)> {
        let seen = watch(events, true).1.pop()?;
        assert!(!seen.content && !seen.finished);
        seen.error.map(|error| (error.status, error.message))
    }

    #[test]
    fn a_stream_commits_on_text_and_ends_when_it_is_completed() {
        let added = r#"{"type":"response.output_item.added","item":{"type":"message"}}"#;
        for named in [true, false] {
            let (watch, seen) = watch(&[CREATED, added, DELTA, COMPLETED], named);
            let content: Vec<bool> = seen.iter().map(|seen| seen.content).collect();
            assert_eq!(content, [false, false, true, true]);
            assert!(seen[3].done && seen[3].finished && seen[..3].iter().all(|seen| !seen.done));
            assert!(seen.iter().all(|seen| seen.error.is_none() && !seen.unreadable));
            assert_eq!(watch.usage().map(|usage| (usage.input, usage.output)), Some((5, 1)));
            assert_eq!(watch.model(), Some("gpt-5-x"));
        }
        let incomplete = COMPLETED.replace("completed", "incomplete");
        assert!(watch(&[&incomplete], true).1[0].done, "a finish, if an early one");
    }

    #[test]
    fn what_a_message_is_announced_by_is_not_content_and_a_tool_call_is() {
        for (kind, content) in
            [("message", false), ("reasoning", false), ("function_call", true), ("mcp_call", true)]
        {
            let added =
                format!(r#"{{"type":"response.output_item.added","item":{{"type":"{kind}"}}}}"#);
            assert_eq!(watch(&[&added], true).1[0].content, content, "{kind}");
        }
        for quiet in ["response.in_progress", "response.content_part.added", "keepalive"] {
            let event = format!(r#"{{"type":"{quiet}"}}"#);
            assert_eq!(watch(&[&event], true).1[0], Seen::default(), "{quiet}");
        }
    }

    #[test]
    fn an_event_that_is_no_json_is_seen_until_there_is_content() {
        let broken = r#"{"type":"response.output_text.delta","delta":"#;
        let mut watch = ResponsesWatch::default();
        for name in ["response.created", "response.output_text.delta", "response.completed", ""] {
            let seen = watch.event(name.as_bytes(), broken.as_bytes());
            assert_eq!(seen, Seen { unreadable: true, ..Seen::default() }, "{name}");
        }
        assert_eq!(watch.event(b"", b""), Seen::default(), "nothing at all is not held against it");
        assert_eq!(watch.event(b"", b"[7]"), Seen::default(), "JSON, if a strange kind");
        watch.event(b"response.output_text.delta", DELTA.as_bytes());
        let passing = watch.event(b"response.output_text.delta", broken.as_bytes());
        assert_eq!(passing, Seen { content: true, ..Seen::default() });
        assert!(!watch.event(b"response.completed", broken.as_bytes()).done, "it says no end");
    }

    #[test]
    fn errors_are_found_wherever_hosts_put_them() {
        for (event, status, message) in [
            (
                r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}"#,
                429,
                "m",
            ),
            (r#"{"type":"response.failed","error":{"code":503,"message":"m"}}"#, 503, "m"),
            (
                r#"{"type":"response.failed","response":{"error":null}}"#,
                500,
                "the provider reported a failed response",
            ),
            (r#"{"type":"error","code":"server_error","message":"m","param":null}"#, 500, "m"),
            (
                r#"{"type":"error","error":{"type":"too_many_requests","code":"too_many_requests","message":"m"}}"#,
                429,
                "m",
            ),
            (r#"{"error":{"type":"insufficient_quota","message":"m"}}"#, 429, "m"),
        ] {
            assert_eq!(error_of(&[event]), Some((status, message.to_owned())), "{event}");
            assert_eq!(error_of(&[CREATED, event]), Some((status, message.to_owned())), "{event}");
            let (_, seen) = watch(&[DELTA, event], true);
            assert_eq!(seen[1].error.as_ref().map(|error| error.status), Some(status), "{event}");
        }
        let seen = ResponsesWatch::default().event(b"error", b"plain words");
        assert_eq!(seen.error.map(|error| error.message), Some("plain words".to_owned()));
        let seen = ResponsesWatch::default().event(b"response.failed", b"{\"resp");
        assert!(seen.error.is_some() && !seen.done);
    }

    #[test]
    fn a_failed_response_counts_what_it_used() {
        let failed = r#"{"type":"response.failed","response":{"model":"gpt-5","error":{"message":"m"},"usage":{"input_tokens":5,"output_tokens":0}}}"#;
        let (watch, seen) = watch(&[failed], true);
        assert!(seen[0].done && seen[0].error.is_some());
        assert_eq!(watch.usage().map(|usage| usage.input), Some(5));
    }
}
