//! Errors of OpenAI-like hosts, as bodies and inside streams, whatever of the usual shapes they take.

use serde_json::Value;

use crate::provider::StreamError;

/// Reads an error body. `None`: it is none of the shapes that these hosts use.
#[must_use]
pub fn from_body(status: u16, body: &[u8]) -> Option<StreamError> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let body = match &body {
        Value::Array(list) => list.first()?,
        other => other,
    };
    let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
    let message = message_of(error).or_else(|| message_of(body))?;
    Some(StreamError {
        status,
        kind: kind_of(error).unwrap_or("upstream_error").to_owned(),
        message,
    })
}

/// Reads an error event of a stream that began with status 200.
#[must_use]
pub fn from_event(event: &Value) -> Option<StreamError> {
    let nested = event.get("error").filter(|error| !error.is_null());
    let is_error = nested.is_some()
        || ["object", "type"].iter().any(|key| event.get(key).is_some_and(|kind| kind == "error"));
    if !is_error {
        return None;
    }
    let error = nested.unwrap_or(event);
    let kind = kind_of(error).unwrap_or("upstream_error");
    let message = message_of(error).unwrap_or_else(|| "the provider reported an error".to_owned());
    Some(StreamError { status: status_of(error, kind), kind: kind.to_owned(), message })
}

fn message_of(error: &Value) -> Option<String> {
    let message = match error {
        Value::String(text) => return Some(text.clone()),
        _ => error.get("message").or_else(|| error.get("detail"))?,
    };
    match message {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn kind_of(error: &Value) -> Option<&str> {
    ["type", "code", "status"]
        .iter()
        .filter_map(|key| error.get(key)?.as_str())
        .find(|kind| !kind.is_empty() && *kind != "error")
}

/// The status that the error would have had before the stream: a number in it, else what its words mean.
fn status_of(error: &Value, kind: &str) -> u16 {
    let number = ["code", "status", "status_code"].iter().find_map(|key| error.get(key)?.as_u64());
    if let Some(status) = number.and_then(|number| u16::try_from(number).ok())
        && (400..=599).contains(&status)
    {
        return status;
    }
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    STATUS_OF_WORD
        .iter()
        .find(|(word, _)| kind.contains(word) || code.contains(word))
        .map_or(500, |(_, status)| *status)
}

/// Parts of error types and codes, the telling ones first.
const STATUS_OF_WORD: &[(&str, u16)] = &[
    ("rate_limit", 429),
    ("too_many_requests", 429),
    ("insufficient_quota", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("timeout", 504),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid_request", 400),
    ("context_length", 400),
    ("content_filter", 400),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Option<StreamError> {
        from_event(&serde_json::from_str(json).expect("test data is JSON"))
    }

    #[test]
    fn every_usual_shape_of_body_is_understood() {
        for (body, kind, message) in [
            (r#"{"error":{"message":"m","type":"t","code":"c"}}"#, "t", "m"),
            (r#"{"error":{"message":"m","type":null,"code":"c"}}"#, "c", "m"),
            (r#"{"error":"m"}"#, "upstream_error", "m"),
            (
                r#"{"object":"error","message":"m","type":"BadRequestError"}"#,
                "BadRequestError",
                "m",
            ),
            (r#"{"detail":"m"}"#, "upstream_error", "m"),
            (r#"[{"error":{"code":429,"message":"m","status":"EXHAUSTED"}}]"#, "EXHAUSTED", "m"),
        ] {
            let expected = StreamError { status: 418, kind: kind.into(), message: message.into() };
            assert_eq!(from_body(418, body.as_bytes()), Some(expected), "{body}");
        }
        for body in ["", "<html>", "{}", "[]", "null", r#"{"error":null}"#] {
            assert_eq!(from_body(500, body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn events_get_the_status_that_they_stand_for() {
        for (json, status) in [
            (r#"{"error":{"message":"m","code":502}}"#, 502),
            (r#"{"error":{"message":"m","type":"rate_limit_exceeded"}}"#, 429),
            (r#"{"error":{"message":"m","type":"x","code":"insufficient_quota"}}"#, 429),
            (r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, 400),
            (r#"{"error":"m"}"#, 500),
            (r#"{"object":"error","message":"m","code":400}"#, 400),
            (r#"{"type":"error","code":"server_error","message":"m"}"#, 500),
        ] {
            assert_eq!(
                event(json).map(|error| (error.status, error.message)),
                Some((status, "m".into()))
            );
        }
        assert_eq!(event(r#"{"choices":[],"error":null}"#), None);
    }
}
