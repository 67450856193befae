//! Anthropic's messages in neutral words.

use crate::{
    chat::request::{At, Content, Message, Part, Role, Source},
    dialect::{Malformed, read::Field},
};

/// Reads the top-level `system`.
pub fn read_system(field: &Field<'_, '_>) -> Result<Message, Malformed> {
    let parts = read_content(field)?;
    Ok(Message { role: Role::System, index: None, name: None, parts })
}

/// Reads `messages`.
pub fn read_messages(field: &Field<'_, '_>, messages: &mut Vec<Message>) -> Result<(), Malformed> {
    let before = messages.len();
    for (at, message) in field.elements()?.enumerate() {
        let role = message.object()?.need("role")?;
        let role = match role.text()? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            other => {
                let what = format!("must be \"user\" or \"assistant\", not {other:?}");
                return Err(role.malformed(what));
            }
        };
        let parts = read_content(&message.need("content")?)?;
        messages.push(Message { role, index: Some(at), name: None, parts });
    }
    if messages.len() == before {
        return Err(field.malformed("must hold at least one message"));
    }
    Ok(())
}

fn read_content(field: &Field<'_, '_>) -> Result<Vec<Part>, Malformed> {
    if field.is_text() {
        let content = Content::Text(field.text()?.to_owned());
        return Ok(vec![Part { content, at: At::Field("content"), cache_control: None }]);
    }
    if !field.is_array() {
        return Err(field.expected("a string or an array"));
    }
    field
        .elements()?
        .enumerate()
        .map(|(at, block)| {
            let content = read_block(&block)?;
            let cache_control = block.get_json("cache_control");
            Ok(Part { content, at: At::Content(at), cache_control })
        })
        .collect()
}

fn read_block(block: &Field<'_, '_>) -> Result<Content, Malformed> {
    let kind = block.object()?.need_text("type")?;
    Ok(match kind {
        "text" => Content::Text(block.need_text("text")?.to_owned()),
        "image" => Content::Image { source: read_source(&block.need("source")?)?, detail: None },
        "document" => match read_source(&block.need("source")?) {
            Ok(source) => Content::Document { source, name: block.get_text("title")? },
            Err(error) => return Err(error),
        },
        "tool_use" => Content::ToolCall {
            id: block.need_text("id")?.to_owned(),
            name: block.need_text("name")?.to_owned(),
            arguments: block.need("input")?.object()?.json(),
        },
        "tool_result" => Content::ToolResult {
            id: block.need_text("tool_use_id")?.to_owned(),
            parts: match block.get("content") {
                Some(content) => read_content(&content)?,
                None => Vec::new(),
            },
            is_error: block.get("is_error").map(|flag| flag.bool()).transpose()?.unwrap_or(false),
        },
        "thinking" => Content::Thinking {
            text: block.need_text("thinking")?.to_owned(),
            // Thinking of a model that seals nothing comes back with an empty seal.
            signature: block.get_text("signature")?.filter(|seal| !seal.is_empty()),
        },
        "redacted_thinking" => Content::RedactedThinking(block.need_text("data")?.to_owned()),
        other => Content::Other { kind: other.to_owned(), json: block.json() },
    })
}

fn read_source(field: &Field<'_, '_>) -> Result<Source, Malformed> {
    let kind = field.object()?.need("type")?;
    Ok(match kind.text()? {
        "base64" => Source::Data {
            media_type: field.need_text("media_type")?.to_owned(),
            data: field.need_text("data")?.to_owned(),
        },
        "url" => Source::Url(field.need_text("url")?.to_owned()),
        "text" => Source::Text(field.need_text("data")?.to_owned()),
        "file" => Source::File(field.need_text("file_id")?.to_owned()),
        "content" => Source::Text(read_texts(&field.need("content")?)?),
        other => {
            return Err(kind.malformed(format!(
                "must be \"base64\", \"url\", \"text\", \"content\" or \"file\", not {other:?}"
            )));
        }
    })
}

/// A document made of blocks, of which only text has a counterpart elsewhere.
fn read_texts(field: &Field<'_, '_>) -> Result<String, Malformed> {
    let mut texts = Vec::new();
    for part in read_content(field)? {
        match part.content {
            Content::Text(text) => texts.push(text),
            _ => return Err(field.malformed("must hold text blocks only")),
        }
    }
    Ok(texts.join("\n"))
}
