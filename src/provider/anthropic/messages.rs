//! The conversation in Anthropic's order: roles in turn, tool results of one turn in one user message, thinking first,
//! and nothing empty.

use super::render::unfit;
use crate::{
    chat::{
        json::Json,
        request::{Content, Message, Part, Request, Role, Source},
    },
    provider::Unfit,
};

/// Writes `messages`.
pub fn write(
    request: &Request,
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let turns = turns(request)?;
    if turns.is_empty() {
        return Err(unfit("messages", "Anthropic needs at least one message with content in it"));
    }
    json.key("messages").open_array();
    if turns[0].is_assistant {
        write_opening(json);
    }
    for (at, turn) in turns.iter().enumerate() {
        let role = if turn.is_assistant { "assistant" } else { "user" };
        json.open_object().key("role").text(role).key("content").open_array();
        let is_last = at + 1 == turns.len();
        for (place, (message, part)) in turn.parts.iter().enumerate() {
            let is_prefill_end = is_last && turn.is_assistant && place + 1 == turn.parts.len();
            write_part(message, part, is_prefill_end, json, dropped)?;
        }
        json.close_array().close_object();
    }
    json.close_array();
    if request.messages.iter().any(|message| message.name.is_some()) {
        dropped.push("messages.name");
    }
    let unsealed = |part: &Part| matches!(part.content, Content::Thinking { signature: None, .. });
    if request.messages.iter().any(|message| message.parts.iter().any(unsealed)) {
        dropped.push("messages.reasoning_content");
    }
    Ok(())
}

/// Writes one text block.
pub fn write_text(text: &str, cache_control: Option<&str>, json: &mut Json) {
    json.open_object().key("type").text("text").key("text").text(text);
    close_block(cache_control, json);
}

/// Neighbouring messages of one side, merged.
struct Turn<'r> {
    is_assistant: bool,
    parts: Vec<(&'r Message, &'r Part)>,
}

fn turns(request: &Request) -> Result<Vec<Turn<'_>>, Unfit> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in &request.messages {
        if matches!(message.role, Role::System | Role::Developer) {
            continue;
        }
        let is_assistant = message.role == Role::Assistant;
        let parts = message.parts.iter().filter(|part| says_something(&part.content));
        let mut parts = parts.map(|part| (message, part)).peekable();
        if parts.peek().is_none() {
            continue;
        }
        match turns.last_mut() {
            Some(turn) if turn.is_assistant == is_assistant => turn.parts.extend(parts),
            _ => turns.push(Turn { is_assistant, parts: parts.collect() }),
        }
    }
    Ok(turns)
}

/// Anthropic refuses blocks without text, and thinking that does not bear its seal.
fn says_something(content: &Content) -> bool {
    match content {
        Content::Text(text) | Content::Refusal(text) => !text.trim().is_empty(),
        Content::Thinking { signature, .. } => signature.is_some(),
        _ => true,
    }
}

/// A conversation must begin with the user.
fn write_opening(json: &mut Json) {
    json.open_object().key("role").text("user").key("content").open_array();
    write_text("(The assistant speaks first.)", None, json);
    json.close_array().close_object();
}

fn write_part(
    message: &Message,
    part: &Part,
    is_prefill_end: bool,
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let cache_control = part.cache_control.as_deref();
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => {
            // An answer to be continued must not end in white space.
            let text = if is_prefill_end { text.trim_end() } else { text };
            write_text(text, cache_control, json);
            return Ok(());
        }
        Content::Image { source, detail } => {
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                dropped.push("image_url.detail");
            }
            let source = image_source(source).map_err(|what| unfit(message.path(part), what))?;
            json.open_object().key("type").text("image").key("source").raw(&source);
        }
        Content::Document { source, name } => {
            let block = document(source).map_err(|what| unfit(message.path(part), what))?;
            json.open_object().key("type").text(block.kind).key("source").raw(&block.source);
            if let (Some(name), "document") = (name, block.kind) {
                json.key("title").text(name);
            }
        }
        Content::ToolCall { id, name, arguments } => {
            let input = tool_input(arguments).ok_or_else(|| {
                let field = format!("{}.function.arguments", message.path(part));
                unfit(field, "Anthropic takes arguments that are a JSON object only")
            })?;
            json.open_object().key("type").text("tool_use").key("id").text(&tool_id(id));
            json.key("name").text(name).key("input").raw(input);
        }
        Content::ToolResult { id, parts, is_error } => {
            json.open_object()
                .key("type")
                .text("tool_result")
                .key("tool_use_id")
                .text(&tool_id(id));
            write_result(message, parts, json, dropped)?;
            if *is_error {
                json.key("is_error").bool(true);
            }
        }
        Content::Thinking { text, signature } => {
            json.open_object().key("type").text("thinking").key("thinking").text(text);
            json.key("signature").text(signature.as_deref().unwrap_or_default());
        }
        Content::RedactedThinking(data) => {
            json.open_object().key("type").text("redacted_thinking").key("data").text(data);
        }
        Content::Audio { .. } => return Err(unfit(message.path(part), "Claude hears no audio")),
        Content::Other { kind, .. } => {
            let what = format!("content of type {kind:?} has no counterpart in Anthropic's format");
            return Err(unfit(message.path(part), what));
        }
    }
    close_block(cache_control, json);
    Ok(())
}

fn close_block(cache_control: Option<&str>, json: &mut Json) {
    if let Some(cache_control) = cache_control {
        json.key("cache_control").raw(cache_control);
    }
    json.close_object();
}

fn write_result(
    message: &Message,
    parts: &[Part],
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let mut said = parts.iter().filter(|part| says_something(&part.content)).peekable();
    if said.peek().is_none() {
        return Ok(());
    }
    json.key("content").open_array();
    for part in said {
        write_part(message, part, false, json, dropped)?;
    }
    json.close_array();
    Ok(())
}

fn image_source(source: &Source) -> Result<String, String> {
    match source {
        Source::Url(url) if url.starts_with("https://") || url.starts_with("http://") => {
            Ok(source_json(&[("type", "url"), ("url", url)]))
        }
        Source::Url(_) => Err("an image must be an http(s) URL or a Base64 data URL".to_owned()),
        Source::Data { media_type, data } => {
            let media_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
            if !IMAGE_TYPES.contains(&media_type) {
                return Err(format!(
                    "Claude sees JPEG, PNG, GIF and WebP images, not {media_type:?}"
                ));
            }
            Ok(base64_source(media_type, data))
        }
        Source::File(_) => {
            Err("a file id of another provider means nothing to Anthropic".to_owned())
        }
        Source::Text(_) => Err("an image cannot be plain text".to_owned()),
    }
}

struct Block {
    kind: &'static str,
    source: String,
}

fn document(source: &Source) -> Result<Block, String> {
    let source = match source {
        Source::Data { media_type, .. } if media_type.starts_with("image/") => {
            return Ok(Block { kind: "image", source: image_source(source)? });
        }
        Source::Data { media_type, data } if media_type == "application/pdf" => {
            base64_source(media_type, data)
        }
        Source::Data { media_type, data } if media_type.starts_with("text/") => {
            text_source(&plain_text(data).ok_or("the file is not Base64 of UTF-8 text")?)
        }
        Source::Data { media_type, .. } => {
            return Err(format!("Claude reads PDF, text and images, not {media_type:?}"));
        }
        Source::Text(text) => text_source(text),
        Source::Url(url) if url.starts_with("https://") || url.starts_with("http://") => {
            source_json(&[("type", "url"), ("url", url)])
        }
        Source::Url(_) => {
            return Err("a file must be an http(s) URL or a Base64 data URL".to_owned());
        }
        Source::File(_) => {
            return Err("a file id of another provider means nothing to Anthropic".to_owned());
        }
    };
    Ok(Block { kind: "document", source })
}

fn base64_source(media_type: &str, data: &str) -> String {
    source_json(&[("type", "base64"), ("media_type", media_type), ("data", data)])
}

fn text_source(text: &str) -> String {
    source_json(&[("type", "text"), ("media_type", "text/plain"), ("data", text)])
}

fn source_json(fields: &[(&str, &str)]) -> String {
    let mut json = Json::new();
    json.open_object();
    for (key, value) in fields {
        json.key(key).text(value);
    }
    json.close_object();
    String::from_utf8_lossy(&json.into_bytes()).into_owned()
}

fn plain_text(data: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// Arguments as JSON text, if they are an object. No arguments at all is how some models call a tool without any.
fn tool_input(arguments: &str) -> Option<&str> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        return Some("{}");
    }
    let is_object = arguments.starts_with('{');
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok();
    (is_object && is_json()).then_some(arguments)
}

/// Anthropic's ids hold letters, digits, `_` and `-`; ids that other models gave may hold more. Calls and results are
/// changed alike, so they still meet.
fn tool_id(id: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    id.chars().map(keep).collect()
}

const IMAGE_TYPES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];
