//! What a request asks for, in words common to the wire formats: enough to answer it sensibly, and no more.

use serde_json::Value;

use super::refusal::Refusal;
use crate::base::limits;

/// One model call.
#[derive(Debug, Default)]
pub struct Ask {
    /// The text of the last user message.
    pub question: String,
    /// All text that went in, in bytes.
    pub input_bytes: u64,
    /// The last message is the result of a tool.
    pub after_result: bool,
    /// What may be called.
    pub tools: Vec<Tool>,
    /// What must be called.
    pub must_call: Option<MustCall>,
    /// The answer may not be longer.
    pub max_tokens: Option<u64>,
    /// The answer must be JSON of this schema.
    pub schema: Option<Value>,
}

/// A function that the model may call.
#[derive(Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The JSON Schema of its arguments.
    pub schema: Value,
}

/// A call that the request insists on.
#[derive(Debug, PartialEq, Eq)]
pub enum MustCall {
    /// Of any tool.
    Any,
    /// Of this one.
    Named(String),
}

impl Ask {
    /// Notes one message: its role, and its content as text or as a list of parts.
    pub fn hear(&mut self, role: &str, content: &Value) {
        let text = text_of(content);
        self.input_bytes += text.len() as u64;
        self.after_result = role == "tool" || has_part(content, "tool_result");
        if role == "user" && !self.after_result {
            self.question = text;
        }
    }

    /// Notes one tool, given its name and its schema; one without a name is passed over.
    pub fn offer(&mut self, name: &Value, schema: &Value) {
        if let Some(name) = name.as_str() {
            self.tools.push(Tool { name: name.to_owned(), schema: schema.clone() });
        }
    }

    /// The tools to call: as many as the script says, at least one where the request insists.
    #[must_use]
    pub fn calls(&self, scripted: usize) -> Vec<&Tool> {
        let named = |tool: &&Tool| match &self.must_call {
            Some(MustCall::Named(name)) => tool.name == *name,
            _ => true,
        };
        let wanted = scripted.max(usize::from(self.must_call.is_some()));
        let wanted = if self.after_result { 0 } else { wanted };
        let callable: Vec<&Tool> = self.tools.iter().filter(named).collect();
        callable.iter().cycle().take(wanted).copied().collect()
    }
}

/// The text of a message: a string as it is, the text parts of a list joined by line ends.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                Value::String(text) => Some(text.clone()),
                Value::Object(part) => match (part.get("text"), part.get("content")) {
                    (Some(text), _) => text.as_str().map(str::to_owned),
                    (None, Some(Value::String(nested))) => Some(nested.clone()),
                    _ => None,
                },
                _ => None,
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn has_part(content: &Value, kind: &str) -> bool {
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().any(|part| part["type"] == kind)
}

/// A required list of messages, refused in the words of `missing` if it is not there or empty.
pub fn messages(body: &Value) -> Result<&[Value], Refusal> {
    match body.get("messages") {
        None => Err(Refusal::missing("messages")),
        Some(Value::Array(messages)) if !messages.is_empty() => Ok(messages),
        Some(_) => Err(Refusal::invalid("messages", "must be a list of at least one message")),
    }
}

/// A flag of the request; absent and null are false.
pub fn flag(body: &Value, field: &str) -> Result<bool, Refusal> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Refusal::invalid(field, "must be true or false")),
    }
}

/// A positive whole number of the request; absent and null are `None`.
pub fn number(body: &Value, field: &str) -> Result<Option<u64>, Refusal> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| *number > 0) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::invalid(field, "must be a positive whole number")),
        },
    }
}

/// How many answers the request wants (`n`).
pub fn choices(body: &Value) -> Result<usize, Refusal> {
    let choices = number(body, "n")?.unwrap_or(1) as usize;
    if choices > limits::SANDBOX_REPEAT_MAX {
        return Err(Refusal::invalid(
            "n",
            &format!("must be at most {}", limits::SANDBOX_REPEAT_MAX),
        ));
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_question_is_the_last_user_message() {
        let mut ask = Ask::default();
        ask.hear("user", &json!("first"));
        ask.hear("assistant", &json!("no"));
        ask.hear("user", &json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]));
        assert_eq!(ask.question, "a\nb");
        assert_eq!(ask.input_bytes, 10);
    }

    #[test]
    fn a_tool_result_ends_the_calling() {
        let mut ask = Ask::default();
        ask.offer(&json!("get_weather"), &json!({}));
        ask.hear("user", &json!("weather?"));
        assert_eq!(ask.calls(2).len(), 2);
        ask.hear("tool", &json!("18 C"));
        assert!(ask.calls(2).is_empty());
        assert_eq!(ask.question, "weather?");
    }

    #[test]
    fn a_named_tool_is_the_one_called() {
        let mut ask = Ask { must_call: Some(MustCall::Named("b".into())), ..Ask::default() };
        assert!(ask.calls(0).is_empty(), "nothing to call");
        ask.offer(&json!("a"), &json!({}));
        ask.offer(&json!("b"), &json!({}));
        let called: Vec<&str> = ask.calls(0).iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(called, ["b"]);
    }
}
