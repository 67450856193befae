//! Who may come in: the name that the interface was called by, how much is sent, and the token.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::{
    answer::{error, unauthenticated},
    routes::Gate,
};
use crate::{base::limits, config::Admin, serve::local::is_loopback_name};

/// Lets a request in or answers it; no answer of this interface may be cached or guessed at.
pub async fn door(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let mut response = match admit(&gate, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => *refusal,
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn admit(gate: &Gate, request: &Request) -> Result<(), Box<Response>> {
    // On loopback, a page in a browser of the same machine must not reach it under a name of its own (DNS rebinding).
    if gate.on_loopback && !is_called_by_loopback_name(request) {
        let message =
            "the admin interface listens on loopback and answers only to localhost and 127.0.0.1";
        return refuse(StatusCode::FORBIDDEN, "permission_error", message);
    }
    if announced_length(request.headers()) > limits::ADMIN_BODY_BYTES_MAX as u64 {
        let message = "the request body is larger than the admin interface takes";
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message);
    }
    let epoch = gate.process.hub.epoch();
    let Some(admin) = &epoch.config.admin else {
        let message = "the configuration in force turns the admin interface off; its port closes with a restart";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    };
    let reads_metrics = request.method() == Method::GET && request.uri().path() == "/metrics";
    if reads_metrics && admin.metrics_open {
        return Ok(());
    }
    check_token(gate, admin, request.headers())
}

fn check_token(gate: &Gate, admin: &Admin, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(presented) = bearer(headers) else {
        let message = "send the admin token: `Authorization: Bearer TOKEN`; it is `admin.token` of the \
                       configuration, or kept in the file that the gateway named when it started";
        return Err(Box::new(unauthenticated(message)));
    };
    match gate.tokens.admits(admin, presented) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Box::new(unauthenticated("this is not the admin token"))),
        Err(trouble) => {
            eprintln!("{trouble}");
            let message = "the admin token cannot be read; the gateway's stderr says why";
            refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

fn refuse(status: StatusCode, kind: &str, message: &str) -> Result<(), Box<Response>> {
    Err(Box::new(error(status, kind, message)))
}

/// The one bearer token; several `Authorization` headers are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// By `Host`, of which there must be exactly one, and by the target, should that name a host too.
fn is_called_by_loopback_name(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let by_host = hosts.next().is_some_and(|host| is_loopback_name(host.as_bytes()));
    let by_target =
        request.uri().authority().is_none_or(|at| is_loopback_name(at.as_str().as_bytes()));
    by_host && by_target && hosts.next().is_none()
}

fn announced_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.map_or(0, |text| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_bearer_token_comes_in_one_header_of_that_scheme() {
        let of = |lines| bearer(&headers(lines)).map(str::to_owned);
        assert_eq!(of(&[("authorization", "Bearer abc")]), Some("abc".into()));
        assert_eq!(of(&[("authorization", "bearer  abc ")]), Some("abc".into()));
        assert_eq!(of(&[("authorization", "Basic abc")]), None);
        assert_eq!(of(&[("authorization", "abc")]), None);
        assert_eq!(of(&[("authorization", "Bearer abc"), ("authorization", "Bearer d")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_foreign_name_in_host_or_target_is_seen() {
        let request = |target: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            request.body(axum::body::Body::empty()).unwrap()
        };
        let is_ok = |target, hosts: &[&str]| is_called_by_loopback_name(&request(target, hosts));
        assert!(is_ok("/metrics", &["127.0.0.1:8788"]));
        assert!(is_ok("/metrics", &["localhost"]));
        assert!(is_ok("/metrics", &["[::1]:8788"]));
        assert!(!is_ok("/metrics", &["evil.example:8788"]));
        assert!(!is_ok("/metrics", &["127.0.0.1.evil.example"]));
        assert!(!is_ok("/metrics", &[]));
        assert!(!is_ok("/metrics", &["localhost", "evil.example"]));
        assert!(!is_ok("http://evil.example/metrics", &["localhost"]));
    }
}
