//! The requests of a run, prepared as bytes before it begins, so that sending one costs no more than the sending.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::json;

/// A request, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// What is written, in order.
    pub parts: Vec<Bytes>,
    /// The answer is to be a stream.
    pub stream: bool,
}

impl Prepared {
    /// Its bytes, head and body.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// What a body that is made up says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wish<'a> {
    /// The path, which says what the body looks like.
    pub path: &'a str,
    /// The model.
    pub model: &'a str,
    /// The answer is to be a stream.
    pub stream: bool,
}

/// The body around its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Before the text.
    pub before: String,
    /// Behind it.
    pub behind: &'static str,
}

impl Wish<'_> {
    /// The body of that endpoint, without its text.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut before = format!("{{\"model\":{}", json!(self.model));
        let path = self.path.split('?').next().unwrap_or_default();
        if self.stream {
            before.push_str(",\"stream\":true");
        }
        let (opening, behind) =
            if path.ends_with("/completions") && !path.ends_with("/chat/completions") {
                (",\"prompt\":\"", "\"}")
            } else if path.ends_with("/embeddings") || path.ends_with("/responses") {
                (",\"input\":\"", "\"}")
            } else if path.ends_with("/messages") {
                (",\"max_tokens\":1024,\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}]}")
            } else {
                (",\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}]}")
            };
        before.push_str(opening);
        Frame { before, behind }
    }
}

impl Frame {
    /// How much text makes a body of `bytes`; at least one byte, so that no provider finds it empty.
    #[must_use]
    pub fn text_bytes(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.before.len() + self.behind.len()).max(1)
    }

    /// The whole body, of `bytes` if that is enough for the frame.
    #[must_use]
    pub fn fill(&self, bytes: usize) -> String {
        let mut body = self.before.clone();
        body.extend(FILLER.chars().cycle().take(self.text_bytes(bytes)));
        body.push_str(self.behind);
        body
    }
}

/// Text to fill bodies with, as long as wanted.
#[must_use]
pub fn filler(bytes: usize) -> Bytes {
    FILLER.bytes().cycle().take(bytes).collect()
}

/// A request head. `headers` come after the defaults and replace those of the same name.
#[must_use]
pub fn head(
    path: &str,
    authority: &str,
    headers: &[(String, String)],
    stream: bool,
    body_bytes: usize,
) -> String {
    let accept = if stream { "text/event-stream" } else { "application/json" };
    let agent = concat!("trunkline-load/", env!("CARGO_PKG_VERSION"));
    let mut defaults = vec![
        ("host", authority),
        ("content-type", "application/json"),
        ("accept", accept),
        ("user-agent", agent),
    ];
    if path.contains("/messages") {
        defaults.push(("anthropic-version", "2023-06-01"));
    }
    let named = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    defaults.retain(|(name, _)| !named(name));
    let own = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut head = format!("POST {path} HTTP/1.1\r\n");
    for (name, value) in defaults.into_iter().chain(own) {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {body_bytes}\r\n\r\n");
    head
}

/// Reads `name: value`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it like 'name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(format!("`{name}` is no header name"));
    }
    if value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err(format!("the value of `{name}` holds a control character"));
    }
    let framing = ["content-length", "transfer-encoding", "connection", "expect", "upgrade"];
    if framing.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Err(format!("`{name}` is the load tester's own affair"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Needs no escape in JSON.
const FILLER: &str = "The quick brown fox jumps over the lazy dog while the load test runs. ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_the_size_that_was_asked_for() {
        for path in [
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/responses",
            "/v1/messages?beta=true",
            "/elsewhere",
        ] {
            for stream in [false, true] {
                let wish = Wish { path, model: "a \"b\"", stream };
                let body = wish.frame().fill(1024);
                assert_eq!(body.len(), 1024, "{path}");
                let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(json["model"], "a \"b\"");
                assert_eq!(json["stream"].as_bool().unwrap_or(false), stream);
                let smallest = wish.frame().fill(0);
                assert!(serde_json::from_str::<serde_json::Value>(&smallest).is_ok());
            }
        }
    }

    #[test]
    fn own_headers_replace_the_defaults() {
        let own = [("Accept".to_owned(), "x/y".to_owned()), ("x-a".to_owned(), "1".to_owned())];
        let head = head("/v1/messages", "h:1", &own, true, 12);
        assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\nhost: h:1\r\n"));
        assert!(head.contains("Accept: x/y\r\n") && !head.contains("event-stream"));
        assert!(head.contains("anthropic-version: ") && head.contains("x-a: 1\r\n"));
        assert!(head.ends_with("content-length: 12\r\n\r\n"));
    }

    #[test]
    fn headers_that_would_break_the_request_are_refused() {
        assert_eq!(parse_header("a:b: c "), Ok(("a".into(), "b: c".into())));
        for wrong in ["a", ": b", "a b: c", "a: b\r\nc: d", "Content-Length: 3", "expect: x"] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }
}
