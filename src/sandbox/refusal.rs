//! Errors of the sandbox in the shape of the provider that it plays.

use serde_json::{Value, json};

use super::script::ScriptError;
use crate::dialect::Dialect;

/// An error answer, before it has a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A sentence.
    pub message: String,
    /// The request field at fault.
    pub param: Option<String>,
    /// OpenAI's error code.
    pub code: Option<&'static str>,
}

impl Refusal {
    /// A refusal without a field.
    pub fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), param: None, code: code(status) }
    }

    /// A required field is not there.
    pub fn missing(field: &str) -> Refusal {
        Refusal {
            param: Some(field.to_owned()),
            code: Some("missing_required_parameter"),
            ..Refusal::new(400, format!("Missing required parameter: '{field}'."))
        }
    }

    /// A field is not what it must be.
    pub fn invalid(field: &str, must: &str) -> Refusal {
        Refusal {
            param: Some(field.to_owned()),
            code: Some("invalid_value"),
            ..Refusal::new(400, format!("Invalid value for '{field}': it {must}."))
        }
    }

    /// The error that a script asks for.
    pub fn scripted(status: u16) -> Refusal {
        let message = match status {
            401 => "Incorrect API key provided.",
            429 => "Rate limit reached in the sandbox, as its script says.",
            529 => "Overloaded",
            500.. => "The sandbox had an error while processing your request, as its script says.",
            _ => "The sandbox refuses this request, as its script says.",
        };
        Refusal::new(status, message)
    }

    /// The error in the middle of a scripted stream.
    pub fn overloaded() -> Refusal {
        Refusal::scripted(529)
    }

    /// The body in this dialect's shape.
    pub fn body(&self, dialect: Dialect, request_id: &str) -> Value {
        match dialect {
            Dialect::Anthropic => self.anthropic(request_id),
            Dialect::OpenAi | Dialect::Responses => self.openai(),
        }
    }

    /// OpenAI's shape.
    pub fn openai(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": openai_type(self.status),
            "param": self.param,
            "code": self.code,
        }})
    }

    /// Anthropic's shape.
    pub fn anthropic(&self, request_id: &str) -> Value {
        let message = match (&self.param, self.code) {
            (Some(field), Some("missing_required_parameter")) => format!("{field}: Field required"),
            _ => self.message.clone(),
        };
        json!({
            "type": "error",
            "error": {"type": anthropic_type(self.status), "message": message},
            "request_id": request_id,
        })
    }
}

impl From<ScriptError> for Refusal {
    fn from(error: ScriptError) -> Refusal {
        Refusal::new(400, error.to_string())
    }
}

fn code(status: u16) -> Option<&'static str> {
    match status {
        401 => Some("invalid_api_key"),
        404 => Some("not_found"),
        429 => Some("rate_limit_exceeded"),
        _ => None,
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_own_shape() {
        let refusal = Refusal::missing("max_tokens");
        assert_eq!(
            refusal.openai(),
            json!({"error": {"message": "Missing required parameter: 'max_tokens'.",
                "type": "invalid_request_error", "param": "max_tokens",
                "code": "missing_required_parameter"}})
        );
        assert_eq!(
            refusal.anthropic("req_1"),
            json!({"type": "error", "error": {"type": "invalid_request_error",
                "message": "max_tokens: Field required"}, "request_id": "req_1"})
        );
        assert_eq!(Refusal::scripted(529).anthropic("r")["error"]["type"], "overloaded_error");
    }
}
