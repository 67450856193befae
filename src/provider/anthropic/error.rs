//! Anthropic's errors, as bodies and inside streams.

use std::borrow::Cow;

use serde::Deserialize;

use crate::provider::StreamError;

/// Reads an error, body or event. `status`: the one it came with; `None`: it stands for itself, in a stream.
#[must_use]
pub fn read(status: Option<u16>, json: &[u8]) -> Option<StreamError> {
    let body: Body<'_> = serde_json::from_slice(json).ok()?;
    let error = body.error?;
    let status = status.unwrap_or_else(|| status_of(&error.kind));
    Some(StreamError { status, kind: error.kind.into_owned(), message: error.message.into_owned() })
}

/// The HTTP status that Anthropic gives to an error type.
#[must_use]
pub fn status_of(kind: &str) -> u16 {
    STATUSES.iter().find(|(known, _)| *known == kind).map_or(500, |(_, status)| *status)
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    error: Option<Error<'a>>,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

const STATUSES: &[(&str, u16)] = &[
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("conflict_error", 409),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("api_error", 500),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_status_and_a_body_keeps_its_own() {
        for (kind, status) in STATUSES {
            let json = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
            let error = read(None, json.as_bytes()).expect("an error");
            assert_eq!((error.status, &*error.kind, &*error.message), (*status, *kind, "m"));
            assert_eq!(read(Some(418), json.as_bytes()).map(|error| error.status), Some(418));
        }
        assert_eq!(status_of("brand_new_error"), 500);
        for body in ["", "{}", r#"{"error":null}"#, r#"{"error":"text"}"#, "<html>"] {
            assert_eq!(read(Some(500), body.as_bytes()), None, "{body}");
        }
    }
}
