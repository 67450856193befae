//! A whole OpenAI chat answer in neutral words.

use serde::Deserialize;
use serde_json::Value;

use super::usage;
use crate::chat::{
    reply::{Choice, Finish, Reply},
    request::Content,
};

/// Reads the answer. `Err`: what was wrong with it.
pub fn read(body: &[u8]) -> Result<Reply, String> {
    let completion: Completion =
        serde_json::from_slice(body).map_err(|error| format!("not a chat completion: {error}"))?;
    if completion.choices.is_empty() {
        return Err("a chat completion without choices".to_owned());
    }
    Ok(Reply {
        id: completion.id.unwrap_or_default(),
        model: completion.model.unwrap_or_default(),
        choices: completion.choices.into_iter().map(choice).collect(),
        usage: completion.usage.as_ref().and_then(usage::from_value),
    })
}

/// Why an answer ended. Some hosts say `stop` though tools are to be called.
#[must_use]
pub fn finish(reason: &str, calls_tools: bool) -> Finish {
    match reason {
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "stop" | "eos" | "" if calls_tools => Finish::ToolCalls,
        "stop" | "eos" | "" => Finish::Stop,
        "length" => Finish::Length,
        "model_length" => Finish::ContextFull,
        "content_filter" => Finish::Filtered,
        other => Finish::Other(other.to_owned()),
    }
}

fn choice(wire: WireChoice) -> Choice {
    let message = wire.message;
    let mut content = Vec::new();
    let thinking = message.reasoning_content.or(message.reasoning);
    if let Some(text) = thinking.and_then(|value| text_of(&value)) {
        content.push(Content::Thinking { text, signature: None });
    }
    if let Some(text) = message.content.and_then(|value| text_of(&value)) {
        content.push(Content::Text(text));
    }
    if let Some(refusal) = message.refusal.filter(|text| !text.is_empty()) {
        content.push(Content::Refusal(refusal));
    }
    for call in message.tool_calls.unwrap_or_default() {
        let arguments = arguments_of(call.function.arguments);
        let (id, name) = (call.id.unwrap_or_default(), call.function.name.unwrap_or_default());
        content.push(Content::ToolCall { id, name, arguments });
    }
    let calls = content.iter().any(|content| matches!(content, Content::ToolCall { .. }));
    let finish = finish(wire.finish_reason.as_deref().unwrap_or_default(), calls);
    Choice { content, finish }
}

/// Text, or the texts of a list of parts. `None`: there is none.
pub(super) fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Arguments are JSON text; some hosts send the object itself.
fn arguments_of(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    choices: Vec<WireChoice>,
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct WireChoice {
    message: WireMessage,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<WireCall>>,
}

#[derive(Deserialize)]
struct WireCall {
    #[serde(default)]
    id: Option<String>,
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_completion_is_said() {
        for (body, what) in [
            ("", "not a chat completion"),
            ("{}", "missing field `choices`"),
            (r#"{"choices":[]}"#, "without choices"),
            (r#"{"error":{"message":"m"}}"#, "missing field `choices`"),
        ] {
            let error = read(body.as_bytes()).expect_err("not an answer");
            assert!(error.contains(what), "{error}");
        }
    }
}
