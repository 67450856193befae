//! The conversation in OpenAI's order: a tool's result is a message of its own, and stands before what the user says
//! beside it.

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
    json.key("messages").open_array();
    for message in &request.messages {
        if message.parts.iter().any(|part| part.cache_control.is_some()) {
            dropped.push("cache_control");
        }
        match message.role {
            Role::System | Role::Developer => write_system(message, json)?,
            Role::Assistant => write_assistant(message, json, dropped)?,
            Role::User | Role::Tool => write_user(message, json, dropped)?,
        }
    }
    json.close_array();
    Ok(())
}

fn write_system(message: &Message, json: &mut Json) -> Result<(), Unfit> {
    let mut texts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match &part.content {
            Content::Text(text) => texts.push(text.as_str()),
            _ => return Err(unfit(message.path(part), "a system message must be text here")),
        }
    }
    json.open_object().key("role").text("system");
    json.key("content").text(&texts.join("\n\n")).close_object();
    Ok(())
}

fn write_assistant(
    message: &Message,
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in &message.parts {
        match &part.content {
            Content::Text(more) | Content::Refusal(more) => text.push_str(more),
            Content::ToolCall { id, name, arguments } => calls.push((id, name, arguments)),
            // Sealed for the provider that made it; no other can read it.
            Content::Thinking { .. } | Content::RedactedThinking(_) => dropped.push("thinking"),
            other => return Err(unfit(message.path(part), no_counterpart(other))),
        }
    }
    if text.is_empty() && calls.is_empty() {
        return Ok(());
    }
    json.open_object().key("role").text("assistant");
    json.key("content").optional_text(Some(text.as_str()).filter(|text| !text.is_empty()));
    if !calls.is_empty() {
        json.key("tool_calls").open_array();
        for (id, name, arguments) in calls {
            json.open_object().key("id").text(id).key("type").text("function");
            json.key("function").open_object().key("name").text(name);
            json.key("arguments").text(arguments).close_object().close_object();
        }
        json.close_array();
    }
    json.close_object();
    Ok(())
}

fn write_user(
    message: &Message,
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let (mut said, mut shown) = (Vec::new(), Vec::new());
    for part in &message.parts {
        match &part.content {
            Content::ToolResult { id, parts, is_error } => {
                if *is_error {
                    dropped.push("tool_result.is_error");
                }
                write_result(id, parts, json);
                // A tool's message holds text only; what else it returned is shown by the user.
                shown.extend(parts.iter().filter(|part| !matches!(part.content, Content::Text(_))));
            }
            _ => said.push(part),
        }
    }
    shown.extend(said);
    if shown.is_empty() {
        return Ok(());
    }
    json.open_object().key("role").text("user").key("content");
    if let [Part { content: Content::Text(text), .. }] = shown[..] {
        json.text(text);
    } else {
        json.open_array();
        for part in shown {
            write_part(message, part, json)?;
        }
        json.close_array();
    }
    json.close_object();
    Ok(())
}

fn write_result(id: &str, parts: &[Part], json: &mut Json) {
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    json.open_object().key("role").text("tool").key("tool_call_id").text(id);
    json.key("content").text(&texts.join("\n")).close_object();
}

fn write_part(message: &Message, part: &Part, json: &mut Json) -> Result<(), Unfit> {
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => {
            json.open_object().key("type").text("text").key("text").text(text).close_object();
        }
        Content::Image { source, detail } => {
            let url = image_url(source).map_err(|what| unfit(message.path(part), what))?;
            json.open_object().key("type").text("image_url").key("image_url").open_object();
            json.key("url").text(&url);
            if let Some(detail) = detail {
                json.key("detail").text(detail);
            }
            json.close_object().close_object();
        }
        Content::Document { source, name } => {
            write_document(source, name.as_deref(), json)
                .map_err(|what| unfit(message.path(part), what))?;
        }
        other => return Err(unfit(message.path(part), no_counterpart(other))),
    }
    Ok(())
}

fn image_url(source: &Source) -> Result<String, &'static str> {
    match source {
        Source::Url(url) => Ok(url.clone()),
        Source::Data { media_type, data } => Ok(format!("data:{media_type};base64,{data}")),
        Source::Text(_) => Err("an image cannot be plain text"),
        Source::File(_) => Err("a file id of another provider means nothing here"),
    }
}

fn write_document(
    source: &Source,
    name: Option<&str>,
    json: &mut Json,
) -> Result<(), &'static str> {
    match source {
        Source::Data { media_type, data } => {
            json.open_object().key("type").text("file").key("file").open_object();
            json.key("filename").text(name.unwrap_or("document.pdf"));
            json.key("file_data").text(&format!("data:{media_type};base64,{data}"));
            json.close_object().close_object();
            Ok(())
        }
        Source::Text(text) => {
            let text = match name {
                Some(name) => format!("{name}\n\n{text}"),
                None => text.clone(),
            };
            json.open_object().key("type").text("text").key("text").text(&text).close_object();
            Ok(())
        }
        Source::Url(_) => Err("a file must come along; OpenAI's chat fetches none by URL"),
        Source::File(_) => Err("a file id of another provider means nothing here"),
    }
}

fn no_counterpart(content: &Content) -> String {
    let kind = match content {
        Content::Other { kind, .. } => kind.as_str(),
        Content::Audio { .. } => "audio",
        Content::Image { .. } => "image",
        Content::Document { .. } => "document",
        _ => "that",
    };
    format!("content of type {kind:?} has no counterpart in OpenAI's format here")
}
