//! Answers of the admin interface: JSON, never cached, errors in one shape.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::base::units::UnixTime;

/// An answer of status 200.
pub fn ok(value: Value) -> Response {
    Json(value).into_response()
}

/// An error: what is wrong and what to do.
pub fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({ "error": { "type": kind, "message": message } });
    (status, Json(body)).into_response()
}

/// Someone who has not shown the token.
pub fn unauthenticated(message: &str) -> Response {
    let mut response = error(StatusCode::UNAUTHORIZED, "authentication_error", message);
    let challenge = HeaderValue::from_static("Bearer realm=\"trunkline\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// What the contract has and this version does not.
pub fn not_yet(what: &str) -> Response {
    let message = format!("{what}: not in this version");
    error(StatusCode::NOT_IMPLEMENTED, "not_implemented", &message)
}

/// A time as people and programs read it; `null` if it is beyond the calendar.
pub fn time(at: UnixTime) -> Value {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(
        at.nanos / NANOS_A_MILLI * NANOS_A_MILLI,
    ));
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).map_or(Value::Null, Value::String)
}

const NANOS_A_MILLI: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_to_the_millisecond() {
        let at = UnixTime { nanos: 1_767_225_600_123_456_789 };
        assert_eq!(time(at), json!("2026-01-01T00:00:00.123Z"));
    }
}
