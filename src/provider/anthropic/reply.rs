//! A whole Anthropic message in neutral words.

use serde::Deserialize;

use super::usage::{Counts, Wire};
use crate::chat::{
    reply::{Choice, Finish, Reply},
    request::Content,
};

/// Reads the answer. `Err`: what was wrong with it.
pub fn read(body: &[u8]) -> Result<Reply, String> {
    let message: Message = serde_json::from_slice(body)
        .map_err(|error| format!("not an Anthropic message: {error}"))?;
    if message.kind != "message" {
        return Err(format!("not an Anthropic message but of type {:?}", message.kind));
    }
    let mut counts = Counts::default();
    if let Some(usage) = &message.usage {
        counts.merge(usage);
    }
    let content = message.content.iter().map(|block| content(block)).collect();
    let finish = finish(message.stop_reason.as_deref(), message.stop_sequence);
    let choices = vec![Choice { content, finish }];
    Ok(Reply { id: message.id, model: message.model, choices, usage: counts.usage() })
}

/// Why a message ended.
#[must_use]
pub fn finish(reason: Option<&str>, sequence: Option<String>) -> Finish {
    match reason {
        Some("end_turn") | None => Finish::Stop,
        Some("stop_sequence") => Finish::StopSequence(sequence.unwrap_or_default()),
        Some("max_tokens") => Finish::Length,
        Some("model_context_window_exceeded") => Finish::ContextFull,
        Some("tool_use") => Finish::ToolCalls,
        Some("refusal") => Finish::Filtered,
        Some("pause_turn") => Finish::Paused,
        Some(other) => Finish::Other(other.to_owned()),
    }
}

fn content(block: &serde_json::value::RawValue) -> Content {
    match serde_json::from_str::<Block>(block.get()) {
        Ok(Block::Text { text }) => Content::Text(text),
        Ok(Block::Thinking { thinking, signature }) => {
            let signature = signature.filter(|signature| !signature.is_empty());
            Content::Thinking { text: thinking, signature }
        }
        Ok(Block::RedactedThinking { data }) => Content::RedactedThinking(data),
        Ok(Block::ToolUse { id, name, input }) => {
            Content::ToolCall { id, name, arguments: input.get().to_owned() }
        }
        Err(_) => {
            let kind = serde_json::from_str::<Typed>(block.get()).unwrap_or_default().kind;
            Content::Other { kind, json: block.get().to_owned() }
        }
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    model: String,
    content: Vec<Box<serde_json::value::RawValue>>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
    #[serde(default)]
    usage: Option<Wire>,
}

#[derive(Deserialize, Default)]
struct Typed {
    #[serde(default, rename = "type")]
    kind: String,
}

/// A content block that has a neutral word.
enum Block {
    Text { text: String },
    Thinking { thinking: String, signature: Option<String> },
    RedactedThinking { data: String },
    ToolUse { id: String, name: String, input: Box<serde_json::value::RawValue> },
}

impl<'de> Deserialize<'de> for Block {
    /// By hand: a derived tagged enum buffers its content, and raw JSON cannot be taken out of that buffer.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Block, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            text: Option<String>,
            #[serde(default)]
            thinking: Option<String>,
            #[serde(default)]
            signature: Option<String>,
            #[serde(default)]
            data: Option<String>,
            #[serde(default)]
            id: Option<String>,
            #[serde(default)]
            name: Option<String>,
            #[serde(default)]
            input: Option<Box<serde_json::value::RawValue>>,
        }
        let fields = Fields::deserialize(deserializer)?;
        let block = match fields.kind.as_str() {
            "text" => fields.text.map(|text| Block::Text { text }),
            "thinking" => fields
                .thinking
                .map(|thinking| Block::Thinking { thinking, signature: fields.signature }),
            "redacted_thinking" => fields.data.map(|data| Block::RedactedThinking { data }),
            "tool_use" => match (fields.id, fields.name, fields.input) {
                (Some(id), Some(name), Some(input)) => Some(Block::ToolUse { id, name, input }),
                _ => None,
            },
            _ => None,
        };
        block.ok_or_else(|| serde::de::Error::custom("a block without a neutral word"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_without_a_word_are_kept_whole() {
        let body = br#"{"type":"message","id":"msg_1","model":"m","content":[
            {"type":"server_tool_use","id":"s","name":"web_search","input":{"q":1}},
            {"type":"tool_use","id":"t","name":"f","input":{"a": 1.0}},
            {"type":"text","text":null}],"stop_reason":"brand_new"}"#;
        let reply = read(body).expect("an answer");
        let choice = &reply.choices[0];
        assert!(
            matches!(&choice.content[0], Content::Other { kind, .. } if kind == "server_tool_use")
        );
        let arguments = r#"{"a": 1.0}"#.to_owned();
        let call = Content::ToolCall { id: "t".into(), name: "f".into(), arguments };
        assert_eq!(choice.content[1], call);
        assert!(matches!(&choice.content[2], Content::Other { kind, .. } if kind == "text"));
        assert_eq!(choice.finish, Finish::Other("brand_new".into()));
        assert_eq!(reply.usage, None);
    }

    #[test]
    fn what_is_no_message_is_said() {
        for (body, what) in [
            ("", "not an Anthropic message: EOF"),
            (r#"{"type":"message"}"#, "missing field `content`"),
            (r#"{"type":"completion","content":[]}"#, "of type \"completion\""),
        ] {
            let error = read(body.as_bytes()).expect_err("not an answer");
            assert!(error.contains(what), "{error}");
        }
    }
}
