//! The admin interface's routes.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    Process,
    answer::{error, not_yet, ok},
    door::door,
    explain, metrics, page, show,
    token::Tokens,
};
use crate::{
    base::limits,
    control::{gateway::Event, reload::Outcome},
};

/// What every handler has.
pub struct Gate {
    /// The process that it is about.
    pub process: Process,
    /// Who may come in.
    pub tokens: Tokens,
    /// Whether it listens on loopback.
    pub on_loopback: bool,
}

type Desk = State<Arc<Gate>>;

/// All routes, behind the door.
pub fn router(gate: Arc<Gate>) -> Router {
    let mut router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/admin/v1/health", get(health))
        .route("/admin/v1/epochs", get(epochs))
        .route("/admin/v1/slow", get(slow))
        .route("/admin/v1/virtual-keys", get(virtual_keys).fallback(later))
        .route("/admin/v1/configs", get(configs).fallback(later))
        .route("/admin/v1/api-keys", get(api_keys).fallback(later))
        .route("/admin/v1/explain", post(explain_request))
        .route("/admin/v1/reload", post(reload));
    for path in LATER {
        router = router.route(path, any(later));
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(limits::ADMIN_BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&gate), door))
        .with_state(gate)
}

/// Routes of the contract that this version does not have.
const LATER: &[&str] = &[
    "/",
    "/admin/v1/usage",
    "/admin/v1/logs",
    "/admin/v1/openapi.json",
    "/admin/v1/epochs/{*rest}",
    "/admin/v1/virtual-keys/{*rest}",
    "/admin/v1/configs/{*rest}",
    "/admin/v1/api-keys/{*rest}",
];

async fn metrics_text(State(gate): Desk) -> Response {
    let text = metrics::text(&gate.process);
    ([(header::CONTENT_TYPE, page::CONTENT_TYPE)], text).into_response()
}

async fn health(State(gate): Desk) -> Response {
    ok(show::health(&gate.process))
}

async fn epochs(State(gate): Desk) -> Response {
    ok(show::epochs(&gate.process))
}

async fn slow(State(gate): Desk) -> Response {
    ok(show::slow(&gate.process))
}

async fn virtual_keys(State(gate): Desk) -> Response {
    ok(show::virtual_keys(&gate.process.hub.epoch()))
}

async fn configs(State(gate): Desk) -> Response {
    ok(show::configs(&gate.process.hub.epoch()))
}

async fn api_keys(State(gate): Desk) -> Response {
    ok(show::api_keys(&gate.process.hub.epoch()))
}

/// What would become of a request that the body describes.
async fn explain_request(State(gate): Desk, body: Result<Bytes, BytesRejection>) -> Response {
    match body {
        Ok(body) => explain::call(&gate.process, &body),
        Err(rejection) => {
            let message = format!("the request body cannot be read: {rejection}");
            error(rejection.status(), "invalid_request_error", &message)
        }
    }
}

/// Has the main thread read the configuration again, and waits for what comes of it.
async fn reload(State(gate): Desk) -> Response {
    let (tell, told) = oneshot::channel();
    let asked = gate.process.events.send(Event::Reload(tell));
    let outcome = if asked.is_ok() { told.await.ok() } else { None };
    match outcome {
        Some(Outcome::Applied { epoch, needs_restart }) => {
            ok(json!({ "epoch": epoch, "changed": true, "needs_restart": needs_restart }))
        }
        Some(Outcome::Unchanged { epoch }) => {
            ok(json!({ "epoch": epoch, "changed": false, "needs_restart": [] }))
        }
        Some(Outcome::Refused { epoch, mistakes }) => {
            let message = format!("the configuration has mistakes; epoch {epoch} stays in force");
            let mistakes: Vec<&str> = mistakes.lines().collect();
            let body = json!({
                "error": { "type": "invalid_configuration", "message": message },
                "epoch": epoch,
                "mistakes": mistakes,
            });
            (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(body)).into_response()
        }
        None => {
            let message = "the gateway is draining and reloads nothing any more";
            error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

async fn later(method: Method, uri: Uri) -> Response {
    not_yet(&format!("{method} {}", uri.path()))
}

async fn wrong_method(method: Method) -> Response {
    let message = format!("this route does not take {method}");
    error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", &message)
}

async fn unknown() -> Response {
    let message = "no such route: there are /metrics and, below /admin/v1, health, epochs, slow, virtual-keys, \
                   configs, api-keys, explain and reload";
    error(StatusCode::NOT_FOUND, "not_found_error", message)
}
