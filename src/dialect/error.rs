//! Errors in the client's dialect, so that its SDK raises the right exception: as a body, as the event that ends a
//! broken stream, and in the shape of a refusal that clients of Portkey's know.

use super::Dialect;
use crate::chat::json::Json;

/// An error body. `kind` is OpenAI's `type`; for Anthropic it becomes the type that belongs to the status.
#[must_use]
pub fn error_body(
    dialect: Dialect,
    status: u16,
    kind: &str,
    message: &str,
    param: Option<&str>,
    code: Option<&str>,
) -> Vec<u8> {
    let mut json = Json::new();
    match dialect {
        Dialect::OpenAi | Dialect::Responses => {
            json.open_object().key("error");
            write_openai(kind, message, param, code, &mut json);
            json.close_object();
        }
        Dialect::Anthropic => write_anthropic(status, kind, message, &mut json),
    }
    json.into_bytes()
}

/// The event that ends a stream which broke after it had begun.
#[must_use]
pub fn error_event(dialect: Dialect, status: u16, kind: &str, message: &str) -> Vec<u8> {
    let mut event = match dialect {
        Dialect::OpenAi => b"data: ".to_vec(),
        Dialect::Anthropic | Dialect::Responses => b"event: error\ndata: ".to_vec(),
    };
    if dialect == Dialect::Responses {
        let mut json = Json::after(event);
        json.open_object().key("type").text("error").key("code").text(kind);
        // Its schema asks for a number; which one would be next, nobody counted.
        json.key("message").text(message).key("param").null();
        json.key("sequence_number").number(0).close_object();
        event = json.into_bytes();
    } else {
        event.extend(error_body(dialect, status, kind, message, None, None));
    }
    event.extend_from_slice(b"\n\n");
    event
}

/// A refusal in the body that serves Portkey's clients and OpenAI's SDKs alike.
#[must_use]
pub fn refusal_body(kind: &str, message: &str, errors: &[String]) -> Vec<u8> {
    let mut json = Json::new();
    json.open_object().key("status").text("failure").key("message").text(message);
    if !errors.is_empty() {
        json.key("errors").open_array();
        for error in errors {
            json.text(error);
        }
        json.close_array();
    }
    json.key("error");
    write_openai(kind, message, None, None, &mut json);
    json.close_object();
    json.into_bytes()
}

/// The refusal of a guardrail: Portkey's body in every dialect, in one that Anthropic's SDKs read too.
#[must_use]
pub fn hooks_failed_body(dialect: Dialect, message: &str, hook_results: &str) -> Vec<u8> {
    let mut json = Json::new();
    json.open_object();
    if dialect == Dialect::Anthropic {
        json.key("type").text("error");
    }
    json.key("error");
    write_openai("hooks_failed", message, None, None, &mut json);
    json.key("hook_results").raw(hook_results).close_object();
    json.into_bytes()
}

fn write_openai(
    kind: &str,
    message: &str,
    param: Option<&str>,
    code: Option<&str>,
    json: &mut Json,
) {
    json.open_object().key("message").text(message).key("type").text(kind);
    json.key("param").optional_text(param).key("code").optional_text(code).close_object();
}

fn write_anthropic(status: u16, kind: &str, message: &str, json: &mut Json) {
    json.open_object().key("type").text("error").key("error").open_object();
    json.key("type").text(anthropic_type(status, kind)).key("message").text(message);
    json.close_object().close_object();
}

/// Anthropic's own error types, by the word if it is one of them, else by the status.
fn anthropic_type(status: u16, kind: &str) -> &str {
    const OWN: &[&str] = &[
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "timeout_error",
        "overloaded_error",
    ];
    let by_status = match status {
        401 => "authentication_error",
        402 | 412 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 | 431 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    // The general word for a bad request gives way to the status, which says more.
    match kind {
        "invalid_request_error" => by_status,
        own if OWN.contains(&own) => own,
        _ => by_status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn each_dialect_has_its_shape() {
        assert_eq!(
            text(error_body(
                Dialect::OpenAi,
                400,
                "invalid_request_error",
                "m \"q\"",
                Some("n"),
                None
            )),
            r#"{"error":{"message":"m \"q\"","type":"invalid_request_error","param":"n","code":null}}"#
        );
        assert_eq!(
            text(error_body(Dialect::Anthropic, 413, "invalid_request_error", "m", None, None)),
            r#"{"type":"error","error":{"type":"request_too_large","message":"m"}}"#
        );
        assert_eq!(
            text(refusal_body("invalid_request_error", "M", &["a".into()])),
            r#"{"status":"failure","message":"M","errors":["a"],"error":{"message":"M","type":"invalid_request_error","param":null,"code":null}}"#
        );
        assert!(!text(refusal_body("x", "M", &[])).contains("errors"));
    }

    #[test]
    fn streams_end_in_an_event_of_the_dialect() {
        assert_eq!(
            text(error_event(Dialect::OpenAi, 502, "upstream_error", "m")),
            "data: {\"error\":{\"message\":\"m\",\"type\":\"upstream_error\",\"param\":null,\"code\":null}}\n\n"
        );
        assert_eq!(
            text(error_event(Dialect::Anthropic, 502, "upstream_error", "m")),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}\n\n"
        );
        assert_eq!(
            text(error_event(Dialect::Responses, 502, "upstream_error", "m")),
            "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_error\",\"message\":\"m\",\"param\":null,\"sequence_number\":0}\n\n"
        );
    }

    #[test]
    fn every_status_of_ours_has_an_anthropic_type() {
        for (status, kind, expected) in [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (403, "permission_error", "permission_error"),
            (404, "invalid_request_error", "not_found_error"),
            (405, "invalid_request_error", "invalid_request_error"),
            (408, "timeout_error", "timeout_error"),
            (412, "budget_exceeded", "billing_error"),
            (429, "rate_limit_error", "rate_limit_error"),
            (500, "api_error", "api_error"),
            (502, "upstream_error", "api_error"),
            (503, "overloaded_error", "overloaded_error"),
            (529, "overloaded_error", "overloaded_error"),
        ] {
            assert_eq!(anthropic_type(status, kind), expected, "{status} {kind}");
        }
    }
}
