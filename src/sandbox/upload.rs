//! OpenAI's file upload: counts the bytes, and finds the file's name where it is near the beginning.

use memchr::memmem;
use serde_json::json;

use super::{
    answer::{Answer, Turn},
    refusal::Refusal,
};

/// `POST /v1/files`. `bytes` is the size of the file part if all of the body was kept, else of the whole body.
pub fn create(turn: &mut Turn<'_>) -> Result<Answer, Refusal> {
    let content_type = turn.request.header("content-type").unwrap_or_default();
    let Some(boundary) = boundary(content_type) else {
        return Err(Refusal::new(400, "The upload must be multipart/form-data with a boundary."));
    };
    let body: &[u8] = &turn.request.body;
    let parts = parts(body, boundary);
    let complete = turn.request.body_bytes == body.len() as u64;
    let file = parts.iter().find(|part| part.filename.is_some());
    let bytes = match file {
        Some(file) if complete => file.content.len() as u64,
        _ => turn.request.body_bytes,
    };
    let purpose = parts.iter().find(|part| part.name == "purpose");
    let purpose = purpose.map_or_else(|| "user_data".into(), |part| lossy(part.content));
    let filename = file.and_then(|file| file.filename.clone()).unwrap_or_else(|| "upload".into());
    Ok(Answer::json(&json!({"id": turn.dice.id("file-", 22), "object": "file", "bytes": bytes,
        "created_at": turn.created, "filename": filename, "purpose": purpose,
        "status": "processed", "expires_at": null, "status_details": null})))
}

struct Part<'a> {
    name: String,
    filename: Option<String>,
    content: &'a [u8],
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = rest.split(';').find_map(|field| field.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> =
        memmem::find_iter(body, delimiter.as_bytes()).take(PARTS_MAX).collect();
    let ends = starts.iter().skip(1).copied().chain([body.len()]);
    let sections = starts.iter().zip(ends);
    sections.filter_map(|(start, end)| part(body.get(start + delimiter.len()..end)?)).collect()
}

fn part(section: &[u8]) -> Option<Part<'_>> {
    let head_end = memmem::find(section, b"\r\n\r\n")?;
    let (head, content) = section.split_at_checked(head_end)?;
    let content = content.get(4..)?;
    let head = lossy(head);
    Some(Part {
        name: quoted_field(&head, " name=\"").unwrap_or_default(),
        filename: quoted_field(&head, " filename=\""),
        content: content.strip_suffix(b"\r\n").unwrap_or(content),
    })
}

fn quoted_field(head: &str, begin: &str) -> Option<String> {
    let (_, rest) = head.split_once(begin)?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Parts looked at; an upload has two or three.
const PARTS_MAX: usize = 64;
