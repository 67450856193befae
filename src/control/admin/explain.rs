//! `POST /admin/v1/explain`: what would become of a request on the running gateway, by its epoch and by what is known
//! of its targets now.

use std::sync::Arc;

use axum::{body::Bytes, http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    Process,
    answer::{error, ok},
};
use crate::{
    config::policy::Policy,
    control::explain::show::{Form, value},
    io::log::system_clock,
    serve::{
        explain::{Ground, Imagined, explain},
        health::{Health, snapshot},
    },
};

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default = "post")]
    method: String,
    #[serde(default = "chat")]
    path: String,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<Box<RawValue>>,
    api_key: Option<String>,
    seed: Option<u64>,
}

/// Explains a request that is described in JSON.
pub fn call(process: &Process, body: &Bytes) -> Response {
    let asked: Asked = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(mistake) => {
            let message = format!(
                "{mistake}; send e.g. {{\"api_key\": \"NAME\", \"headers\": {{}}, \"body\": {{\"model\": …}}}}, and \
                 if wanted method, path and seed"
            );
            return error(StatusCode::BAD_REQUEST, "invalid_request_error", &message);
        }
    };
    let mut headers = Vec::new();
    for (name, value) in &asked.headers {
        match value {
            Value::String(text) => headers.push((name.clone(), text.clone())),
            other => headers.push((name.clone(), other.to_string())),
        }
    }
    let seed = match asked.seed.map_or_else(getrandom::u64, Ok) {
        Ok(seed) => seed,
        Err(_) => {
            let message = "there is no randomness for a seed: give one";
            return error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        }
    };
    let epoch = process.hub.epoch();
    let config = &epoch.config;
    // What all cores were told; a core may know of its own a tenth of a second more.
    let known = Health::new(Arc::clone(&process.hub));
    let now = process.clock.now();
    let health = |policy: &Policy| snapshot(policy, &known.watch(policy, now), now);
    let imagined = Imagined {
        method: &asked.method,
        path: &asked.path,
        headers: &headers,
        body: asked
            .body
            .map_or_else(Bytes::new, |raw| Bytes::from(String::from(Box::<str>::from(raw)))),
        api_key: asked.api_key.as_deref(),
    };
    let listeners = [Some(config.listen), config.admin.as_ref().map(|admin| admin.listen)];
    let listeners: Vec<_> = listeners.into_iter().flatten().collect();
    let ground =
        Ground { config, listeners: &listeners, seed, now: system_clock()(), health: &health };
    let told = explain(&imagined, &ground);
    let mut shown = value(&Form::of_call(format!("{} {}", asked.method, asked.path), &told));
    if let Some(map) = shown.as_object_mut() {
        map.insert("epoch".to_owned(), epoch.number.into());
    }
    ok(shown)
}

fn post() -> String {
    "POST".to_owned()
}

fn chat() -> String {
    "/v1/chat/completions".to_owned()
}
