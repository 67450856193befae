//! Conditional routing as in the README: the task in a request's metadata decides which model is tried first, and
//! after two failures the other one answers.

use crate::harness::{Driver, Gateway, http::post, on_both_drivers, sandbox};

on_both_drivers!(
    the_task_decides_which_model_is_first,
    a_request_that_no_condition_fits_is_refused,
    an_inline_condition_reads_the_body_before_overrides,
);

const ASK: &str =
    r#"{"model":"any","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;

/// Two virtual keys; the task `code` tries model A twice, then B; everything else goes to B first.
fn config(port: u16) -> String {
    format!(
        "virtual_keys:
  model-a: {{ provider: openai, base_url: \"http://127.0.0.1:{port}/v1\", api_key: a }}
  model-b: {{ provider: anthropic, base_url: \"http://127.0.0.1:{port}/v1\", api_key: b }}
configs:
  by-task:
    strategy:
      mode: conditional
      conditions:
        - query: {{ metadata.task: {{ $in: [code, review] }} }}
          then: code
        - query: {{ metadata.task: chat }}
          then: chat
    targets:
      - name: code
        strategy: {{ mode: fallback }}
        targets:
          - {{ virtual_key: model-a, retry: {{ attempts: 1 }}, override_params: {{ model: sandbox-fail-503 }} }}
          - {{ virtual_key: model-b, override_params: {{ model: sandbox-b }} }}
      - name: chat
        strategy: {{ mode: fallback }}
        targets:
          - {{ virtual_key: model-b, retry: {{ attempts: 1 }}, override_params: {{ model: sandbox-b }} }}
          - {{ virtual_key: model-a, override_params: {{ model: sandbox-a }} }}
"
    )
}

fn ask(config: &str, metadata: &str) -> Vec<u8> {
    let headers = format!("x-portkey-config: {config}\r\nx-portkey-metadata: {{{metadata}}}\r\n");
    post("/v1/chat/completions", &headers, ASK)
}

fn the_task_decides_which_model_is_first(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let gateway = Gateway::new(driver).config(config(sandbox.port())).start();
    let mut conn = gateway.connect();

    let code = conn.ask(&ask("by-task", r#""task":"code""#));
    assert_eq!(code.status, 200, "{}", code.text());
    assert_eq!(
        code.header("x-portkey-last-used-option-index"),
        Some("config.targets[0].targets[1]")
    );
    assert_eq!(code.header("x-portkey-provider"), Some("anthropic"));

    let chat = conn.ask(&ask("by-task", r#""task":"chat""#));
    assert_eq!(chat.status, 200, "{}", chat.text());
    assert_eq!(
        chat.header("x-portkey-last-used-option-index"),
        Some("config.targets[1].targets[0]")
    );

    let records = gateway.records(2);
    let tries = |record: &serde_json::Value| -> Vec<(String, u64)> {
        let attempts = record["attempts"].as_array().expect("a list").iter();
        attempts
            .map(|one| {
                (
                    one["virtual_key"].as_str().unwrap_or("").to_owned(),
                    one["status"].as_u64().unwrap_or(0),
                )
            })
            .collect()
    };
    let (a, b) = (|status| ("model-a".to_owned(), status), ("model-b".to_owned(), 200));
    assert_eq!(tries(&records[0]), [a(503), a(503), b.clone()]);
    assert_eq!(tries(&records[1]), [b]);
    assert_eq!(records[0]["conditions"], serde_json::json!(["config.conditions[0] -> code"]));
    assert_eq!(records[1]["conditions"], serde_json::json!(["config.conditions[1] -> chat"]));
}

fn a_request_that_no_condition_fits_is_refused(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let gateway = Gateway::new(driver).config(config(sandbox.port())).start();
    let refused = gateway.connect().ask(&ask("by-task", r#""task":"Code""#));
    assert_eq!(refused.status, 400);
    let body = refused.json();
    assert_eq!(body["status"], "failure");
    assert_eq!(body["message"], "Query router did not resolve to any valid target");
    let record = gateway.record();
    assert_eq!(record["status"], 400);
    assert_eq!(record["conditions"], serde_json::json!([]));
    assert!(sandbox.requests().is_empty());
}

fn an_inline_condition_reads_the_body_before_overrides(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let gateway = Gateway::new(driver).config(config(sandbox.port())).start();
    let inline = r#"{"strategy":{"mode":"conditional","conditions":[{"query":{"params.model":{"$regex":"^an.$","$ne":"and"},"url.pathname":"/v1/chat/completions","$or":[{"params.max_tokens":{"$gt":"49"}}]},"then":"b"}],"default":"a"},"override_params":{"model":"sandbox-x","max_tokens":9},"targets":[{"name":"a","virtual_key":"model-a"},{"name":"b","virtual_key":"model-b"}]}"#;
    let answer = gateway.connect().ask(&ask(inline, ""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-portkey-provider"), Some("anthropic"));
}
