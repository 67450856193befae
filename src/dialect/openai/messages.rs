//! OpenAI's messages in neutral words. Beside OpenAI's own fields, the thinking that other hosts put into a message is
//! read too (`reasoning_content`, `thinking_blocks`, `content_blocks`), so that it can be sent back to
//! where it came from.

use crate::{
    chat::request::{At, Content, Message, Part, Role, Source},
    dialect::{Malformed, read::Field},
};

/// Reads `messages`.
pub fn read_messages(field: &Field<'_, '_>) -> Result<Vec<Message>, Malformed> {
    let messages: Result<Vec<Message>, Malformed> =
        field.elements()?.enumerate().map(|(at, message)| read_message(at, &message)).collect();
    let messages = messages?;
    if messages.is_empty() {
        return Err(field.malformed("must hold at least one message"));
    }
    Ok(messages)
}

fn read_message(at: usize, field: &Field<'_, '_>) -> Result<Message, Malformed> {
    let role = field.object()?.need("role")?;
    let role = match role.text()? {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        other => {
            return Err(role.malformed(format!(
                "must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\", not {other:?}"
            )));
        }
    };
    let (mut name, mut parts) = (field.get_text("name")?, Vec::new());
    match role {
        Role::Assistant => read_assistant(field, &mut parts)?,
        Role::Tool => {
            parts.push(read_tool_result(field)?);
            name = None;
        }
        _ => read_content(&field.need("content")?, &mut parts)?,
    }
    Ok(Message { role, index: Some(at), name, parts })
}

fn read_assistant(field: &Field<'_, '_>, parts: &mut Vec<Part>) -> Result<(), Malformed> {
    read_thinking(field, parts)?;
    if let Some(content) = field.get("content") {
        read_content(&content, parts)?;
    }
    if let Some(refusal) = field.get_text("refusal")? {
        parts.push(part(Content::Refusal(refusal), At::Field("refusal")));
    }
    if let Some(audio) = field.get_json("audio") {
        let content = Content::Other { kind: "audio".to_owned(), json: audio };
        parts.push(part(content, At::Field("audio")));
    }
    if let Some(calls) = field.get("tool_calls") {
        for (at, call) in calls.elements()?.enumerate() {
            parts.push(part(read_call(&call)?, At::ToolCall(at)));
        }
    }
    if let Some(call) = field.get("function_call") {
        let content = read_function_call(&call, "function_call".to_owned())?;
        parts.push(part(content, At::Field("function_call")));
    }
    Ok(())
}

/// Blocks bear the provider's seal; loose words do not, and only stand in where there are no blocks.
fn read_thinking(field: &Field<'_, '_>, parts: &mut Vec<Part>) -> Result<(), Malformed> {
    for key in ["thinking_blocks", "content_blocks"] {
        let Some(blocks) = field.get(key) else { continue };
        for block in blocks.elements()? {
            if let Some(content) = read_thinking_block(&block)? {
                parts.push(part(content, At::Whole));
            }
        }
        if !parts.is_empty() {
            return Ok(());
        }
    }
    for key in ["reasoning_content", "reasoning"] {
        if let Some(text) = field.get(key).filter(Field::is_text) {
            let content = Content::Thinking { text: text.text()?.to_owned(), signature: None };
            parts.push(part(content, At::Whole));
            return Ok(());
        }
    }
    Ok(())
}

fn read_thinking_block(block: &Field<'_, '_>) -> Result<Option<Content>, Malformed> {
    Ok(match block.object()?.get_text("type")?.as_deref() {
        Some("thinking") => Some(Content::Thinking {
            text: block.get_text("thinking")?.unwrap_or_default(),
            signature: block.get_text("signature")?,
        }),
        Some("redacted_thinking") => {
            Some(Content::RedactedThinking(block.need_text("data")?.to_owned()))
        }
        _ => None,
    })
}

fn read_call(call: &Field<'_, '_>) -> Result<Content, Malformed> {
    let kind = call.object()?.get_text("type")?;
    match kind.as_deref() {
        Some("function") | None => {
            read_function_call(&call.need("function")?, call.need_text("id")?.to_owned())
        }
        Some(other) => Ok(Content::Other { kind: other.to_owned(), json: call.json() }),
    }
}

fn read_function_call(function: &Field<'_, '_>, id: String) -> Result<Content, Malformed> {
    let name = function.need_text("name")?.to_owned();
    let arguments = function.get_text("arguments")?.unwrap_or_default();
    Ok(Content::ToolCall { id, name, arguments })
}

fn read_tool_result(field: &Field<'_, '_>) -> Result<Part, Malformed> {
    let mut parts = Vec::new();
    if let Some(content) = field.get("content") {
        read_content(&content, &mut parts)?;
    }
    let id = match field.get_text("tool_call_id")? {
        Some(id) => id,
        // The older `function` role names no call.
        None if field.get_text("role")?.as_deref() == Some("function") => {
            "function_call".to_owned()
        }
        None => {
            return Err(field
                .need("tool_call_id")
                .err()
                .unwrap_or_else(|| field.expected("a call")));
        }
    };
    let mut result = part(Content::ToolResult { id, parts, is_error: false }, At::Whole);
    result.cache_control = field.get_json("cache_control");
    Ok(result)
}

fn read_content(field: &Field<'_, '_>, parts: &mut Vec<Part>) -> Result<(), Malformed> {
    if field.is_text() {
        parts.push(part(Content::Text(field.text()?.to_owned()), At::Field("content")));
        return Ok(());
    }
    if !field.is_array() {
        return Err(field.expected("a string or an array"));
    }
    for (at, element) in field.elements()?.enumerate() {
        let mut read = part(read_part(&element)?, At::Content(at));
        read.cache_control = element.get_json("cache_control");
        parts.push(read);
    }
    Ok(())
}

fn read_part(field: &Field<'_, '_>) -> Result<Content, Malformed> {
    let kind = field.object()?.need_text("type")?;
    Ok(match kind {
        "text" | "input_text" | "output_text" => Content::Text(field.need_text("text")?.to_owned()),
        "refusal" => Content::Refusal(field.need_text("refusal")?.to_owned()),
        "image_url" => read_image(&field.need("image_url")?)?,
        "input_audio" => {
            let audio = field.need("input_audio")?;
            let data = audio.need_text("data")?.to_owned();
            Content::Audio { data, format: audio.need_text("format")?.to_owned() }
        }
        "file" => read_file(&field.need("file")?)?,
        "thinking" | "redacted_thinking" => match read_thinking_block(field)? {
            Some(content) => content,
            None => Content::Other { kind: kind.to_owned(), json: field.json() },
        },
        other => Content::Other { kind: other.to_owned(), json: field.json() },
    })
}

/// `{"url","detail"}`, or the URL alone, as many clients write it.
fn read_image(field: &Field<'_, '_>) -> Result<Content, Malformed> {
    if field.is_text() {
        return Ok(Content::Image { source: Source::from_url(field.text()?), detail: None });
    }
    let source = Source::from_url(field.object()?.need_text("url")?);
    Ok(Content::Image { source, detail: field.get_text("detail")? })
}

fn read_file(field: &Field<'_, '_>) -> Result<Content, Malformed> {
    let name = field.object()?.get_text("filename")?;
    let source = match (field.get_text("file_data")?, field.get_text("file_id")?) {
        (Some(data), _) => Source::from_url(&data),
        (None, Some(id)) => Source::File(id),
        (None, None) => return Err(field.malformed("must hold `file_data` or `file_id`")),
    };
    Ok(Content::Document { source, name })
}

fn part(content: Content, at: At) -> Part {
    Part { content, at, cache_control: None }
}

#[cfg(test)]
mod tests {
    use crate::dialect::openai::read;

    fn complaint(message: &str) -> (String, String) {
        let body = format!(r#"{{"model":"m","messages":[{message}]}}"#);
        let error = read(&mut body.into_bytes()).expect_err(message);
        (error.field, error.message)
    }

    #[test]
    fn mistakes_in_messages_are_named_with_their_place() {
        for (message, field, what) in [
            ("1", "messages[0]", "must be an object, not a number"),
            (r#"{"content":"x"}"#, "messages[0].role", "is required"),
            (r#"{"role":"user"}"#, "messages[0].content", "is required"),
            (
                r#"{"role":"user","content":1}"#,
                "messages[0].content",
                "must be a string or an array, not a number",
            ),
            (
                r#"{"role":"user","content":[{"text":"x"}]}"#,
                "messages[0].content[0].type",
                "is required",
            ),
            (
                r#"{"role":"user","content":[{"type":"image_url","image_url":{}}]}"#,
                "messages[0].content[0].image_url.url",
                "is required",
            ),
            (
                r#"{"role":"user","content":[{"type":"file","file":{}}]}"#,
                "messages[0].content[0].file",
                "must hold `file_data` or `file_id`",
            ),
            (
                r#"{"role":"assistant","tool_calls":[{"id":"a"}]}"#,
                "messages[0].tool_calls[0].function",
                "is required",
            ),
            (r#"{"role":"tool","content":"x"}"#, "messages[0].tool_call_id", "is required"),
        ] {
            assert_eq!(complaint(message), (field.to_owned(), what.to_owned()), "{message}");
        }
        assert_eq!(complaint(r#"{"role":"robot","content":"x"}"#).0, "messages[0].role");
        assert_eq!(complaint("").1, "must hold at least one message");
    }
}
