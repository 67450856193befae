//! Anthropic's streams: watched as they pass, or turned into neutral deltas.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    error, reply,
    usage::{Counts, Wire},
};
use crate::{
    chat::{
        delta::{Delta, Piece},
        usage::Usage,
    },
    provider::{Seen, StreamError, Translate, Watch, is_unreadable},
};

/// Watches a same-format stream. In mid-content an event is known by its name alone.
#[derive(Default)]
pub struct MessagesWatch {
    in_content: bool,
    counts: Counts,
    model: Option<String>,
}

impl Watch for MessagesWatch {
    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen {
        if self.in_content && name == b"content_block_delta" {
            return Seen { content: true, ..Seen::default() };
        }
        let event = match Event::read(name, data) {
            Ok(event) => event,
            Err(_) if is_error(name, data) => return failed(data),
            Err(_) => {
                let unreadable = is_unreadable(data);
                return Seen { content: self.in_content, unreadable, ..Seen::default() };
            }
        };
        self.keep(&event);
        self.in_content |= event.is_content();
        match &*event.kind {
            "error" => failed(data),
            "message_stop" => Seen { content: self.in_content, done: true, ..Seen::default() },
            _ => Seen { content: self.in_content, ..Seen::default() },
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.counts.usage()
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl MessagesWatch {
    fn keep(&mut self, event: &Event<'_>) {
        if let Some(message) = &event.message {
            self.model = message.model.as_deref().map(str::to_owned).or(self.model.take());
            self.counts.merge(&message.usage.unwrap_or_default());
        }
        self.counts.merge(&event.usage.unwrap_or_default());
    }
}

/// Turns a stream into neutral deltas.
#[derive(Default)]
pub struct MessagesTranslate {
    watch: MessagesWatch,
    tools: u32,
    in_tool: bool,
}

impl Translate for MessagesTranslate {
    fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) -> Result<Seen, String> {
        let event = match Event::read(name, data) {
            Ok(event) => event,
            Err(_) if is_error(name, data) => return Ok(failed(data)),
            Err(error) => return Err(format!("an event that is not JSON of Anthropic's: {error}")),
        };
        self.watch.keep(&event);
        let before = out.len();
        match &*event.kind {
            "message_start" => self.start(&event, out),
            "content_block_start" => self.block(&event, out),
            "content_block_delta" => self.delta(&event, out),
            "message_delta" => self.end(&event, out),
            "message_stop" => return Ok(Seen { done: true, ..Seen::default() }),
            "error" => return Ok(failed(data)),
            // ping, content_block_stop, and what is yet to be invented.
            _ => {}
        }
        let content = out[before..].iter().any(|delta| is_content(&delta.piece));
        Ok(Seen { content, ..Seen::default() })
    }

    fn usage(&self) -> Option<Usage> {
        self.watch.usage()
    }

    fn model(&self) -> Option<&str> {
        self.watch.model()
    }
}

impl MessagesTranslate {
    fn start(&self, event: &Event<'_>, out: &mut Vec<Delta>) {
        let id = event.message.as_ref().and_then(|message| message.id.as_deref());
        let id = id.unwrap_or_default().to_owned();
        let model = self.watch.model().unwrap_or_default().to_owned();
        out.push(Delta::of(Piece::Start { id, model }));
    }

    fn block(&mut self, event: &Event<'_>, out: &mut Vec<Delta>) {
        let Some(block) = &event.content_block else { return };
        self.in_tool = block.kind == "tool_use";
        let text = |text: &Option<Cow<'_, str>>| {
            text.as_deref().filter(|t| !t.is_empty()).map(str::to_owned)
        };
        match &*block.kind {
            "tool_use" => {
                let id = block.id.as_deref().unwrap_or_default().to_owned();
                let name = block.name.as_deref().unwrap_or_default().to_owned();
                out.push(Delta::of(Piece::ToolCall { index: self.tools, id, name }));
                self.tools += 1;
            }
            "redacted_thinking" => {
                let data = block.data.as_deref().unwrap_or_default().to_owned();
                out.push(Delta::of(Piece::RedactedThinking(data)));
            }
            "text" => out.extend(text(&block.text).map(|text| Delta::of(Piece::Text(text)))),
            "thinking" => {
                out.extend(text(&block.thinking).map(|text| Delta::of(Piece::Thinking(text))));
            }
            _ => {}
        }
    }

    fn delta(&mut self, event: &Event<'_>, out: &mut Vec<Delta>) {
        let Some(delta) = &event.delta else { return };
        let piece = match &*delta.kind {
            "text_delta" => delta.text.as_deref().map(|text| Piece::Text(text.to_owned())),
            "thinking_delta" => {
                delta.thinking.as_deref().map(|text| Piece::Thinking(text.to_owned()))
            }
            "signature_delta" => {
                delta.signature.as_deref().map(|text| Piece::Signature(text.to_owned()))
            }
            // Arguments of a tool that runs at the provider are none of the client's business.
            "input_json_delta" if self.in_tool => delta.partial_json.as_deref().map(|text| {
                Piece::Arguments { index: self.tools.saturating_sub(1), text: text.to_owned() }
            }),
            _ => None,
        };
        out.extend(piece.filter(|piece| !is_empty(piece)).map(Delta::of));
    }

    fn end(&self, event: &Event<'_>, out: &mut Vec<Delta>) {
        let Some(delta) = &event.delta else { return };
        if let Some(reason) = delta.stop_reason.as_deref() {
            let sequence = delta.stop_sequence.as_deref().map(str::to_owned);
            out.push(Delta::of(Piece::Finish(reply::finish(Some(reason), sequence))));
        }
        out.extend(self.usage().map(|usage| Delta::of(Piece::Usage(usage))));
    }
}

fn is_empty(piece: &Piece) -> bool {
    match piece {
        Piece::Text(text) | Piece::Thinking(text) | Piece::Signature(text) => text.is_empty(),
        Piece::Arguments { text, .. } => text.is_empty(),
        _ => false,
    }
}

fn is_content(piece: &Piece) -> bool {
    !matches!(piece, Piece::Start { .. } | Piece::Signature(_) | Piece::Usage(_))
}

fn is_error(name: &[u8], data: &[u8]) -> bool {
    name == b"error" || error::read(None, data).is_some()
}

fn failed(data: &[u8]) -> Seen {
    let error = error::read(None, data).unwrap_or_else(|| StreamError {
        status: 500,
        kind: "api_error".to_owned(),
        message: "Anthropic ended the stream with an error".to_owned(),
    });
    Seen { error: Some(error), ..Seen::default() }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Option<Start<'a>>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    delta: Option<BlockDelta<'a>>,
    #[serde(default)]
    usage: Option<Wire>,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<Wire>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stop_sequence: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// The type in the data decides; look-alikes leave out one or the other.
    fn read(name: &[u8], data: &'a [u8]) -> Result<Event<'a>, serde_json::Error> {
        let mut event: Event<'a> = serde_json::from_slice(data)?;
        if event.kind.is_empty() {
            event.kind = Cow::Owned(String::from_utf8_lossy(name).into_owned());
        }
        Ok(event)
    }

    fn is_content(&self) -> bool {
        match &*self.kind {
            "content_block_start" => self
                .content_block
                .as_ref()
                .is_some_and(|block| !matches!(&*block.kind, "text" | "thinking")),
            "content_block_delta" => self.delta.as_ref().is_some_and(BlockDelta::is_content),
            "message_delta" => self.delta.as_ref().is_some_and(|delta| delta.stop_reason.is_some()),
            _ => false,
        }
    }
}

impl BlockDelta<'_> {
    fn is_content(&self) -> bool {
        [&self.text, &self.thinking, &self.partial_json]
            .iter()
            .any(|text| text.as_deref().is_some_and(|text| !text.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(events: &[(&str, &str)]) -> (MessagesWatch, Vec<Seen>) {
        let mut watch = MessagesWatch::default();
        let seen = events
            .iter()
            .map(|(name, data)| watch.event(name.as_bytes(), data.as_bytes()))
            .collect();
        (watch, seen)
    }

    #[test]
    fn a_watched_stream_commits_on_text_and_ends_on_stop() {
        let (watch, seen) = watch(&[
            (
                "message_start",
                r#"{"type":"message_start","message":{"id":"m","model":"claude-x","usage":{"input_tokens":9,"output_tokens":1}}}"#,
            ),
            ("ping", r#"{"type":"ping"}"#),
            (
                "content_block_start",
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            ),
            (
                "content_block_delta",
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
            ),
            ("content_block_delta", "unparsed, and that is the point"),
            (
                "message_delta",
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}"#,
            ),
            ("message_stop", r#"{"type":"message_stop"}"#),
        ]);
        let content: Vec<bool> = seen.iter().map(|seen| seen.content).collect();
        assert_eq!(content, [false, false, false, true, true, true, true]);
        assert!(seen[6].done && seen[..6].iter().all(|seen| !seen.done));
        assert_eq!(watch.usage().map(|usage| (usage.input, usage.output)), Some((9, 5)));
        assert_eq!(watch.model(), Some("claude-x"));
    }

    #[test]
    fn an_error_event_is_seen_with_and_without_a_name() {
        let overloaded =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for name in ["error", ""] {
            let (_, seen) = watch(&[(name, overloaded)]);
            assert_eq!(seen[0].error.as_ref().map(|error| error.status), Some(529));
        }
        let (_, seen) = watch(&[("error", "garbage")]);
        assert_eq!(seen[0].error.as_ref().map(|error| error.status), Some(500));
        let mut translate = MessagesTranslate::default();
        let seen = translate.event(b"error", overloaded.as_bytes(), &mut Vec::new());
        assert_eq!(seen.map(|seen| seen.error.map(|error| error.status)), Ok(Some(529)));
        assert!(translate.event(b"x", b"garbage", &mut Vec::new()).is_err());
    }
}
