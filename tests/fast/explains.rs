//! `trunkline explain` without its process: what is said of whole requests, from head and body to the targets.

use serde_json::{Value, json};
use trunkline::{
    base::units::UnixTime,
    config::{Config, check::check, policy::Policy, variables::Variables},
    control::explain::show::{Form, show},
    policy::{
        breaker::Stage,
        health::{Seen, Snapshot},
    },
    serve::explain::{Ground, Imagined, Told, explain},
};

const FILE: &str = r#"
virtual_keys:
  openai: { provider: openai, api_key: sk-of-openai-0123456789 }
  claude: { provider: anthropic, api_key: sk-of-claude-0123456789 }
  small: { provider: vllm, base_url: "http://10.0.0.7:8000/v1", models: ["llama-*"] }
configs:
  by-task:
    strategy:
      mode: conditional
      conditions:
        - { query: { metadata.task: code }, then: claude-first }
        - { query: { metadata.task: chat }, then: shared }
    targets:
      - name: claude-first
        strategy: { mode: fallback, on_status_codes: [429, 503] }
        cb_config: { failure_threshold: 3 }
        targets:
          - { virtual_key: claude, retry: { attempts: 1 }, override_params: { model: claude-sonnet-4-5 } }
          - { virtual_key: openai, override_params: { model: gpt-4o } }
      - name: shared
        strategy: { mode: loadbalance }
        targets:
          - { virtual_key: openai, weight: 3 }
          - { virtual_key: small, weight: 1 }
          - { virtual_key: claude, weight: 0 }
api_keys:
  - name: app
    key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    config: by-task
"#;

fn file(text: &str) -> Config {
    let checked = check(text, Variables::Lookup(&|_| None));
    checked.config.unwrap_or_else(|| panic!("{:?}", checked.mistakes))
}

/// What is asked, and of which gateway.
struct Asking<'a> {
    config: &'a Config,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Value,
    api_key: Option<&'a str>,
    seed: u64,
    open: Vec<&'a str>,
}

impl<'a> Asking<'a> {
    fn of(config: &'a Config) -> Asking<'a> {
        Asking {
            config,
            path: "/v1/chat/completions",
            headers: Vec::new(),
            body: json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "hi" }] }),
            api_key: (!config.open).then_some("app"),
            seed: 7,
            open: Vec::new(),
        }
    }

    fn header(mut self, name: &'a str, value: &'a str) -> Asking<'a> {
        self.headers.push((name, value));
        self
    }

    fn told(&self) -> Told {
        let headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let health = |policy: &Policy| {
            Snapshot::of(policy.watched.iter().map(|one| Seen {
                breaker: if self.open.contains(&one.path.as_str()) {
                    Stage::Open
                } else {
                    Stage::Closed
                },
                ..Seen::default()
            }))
        };
        let imagined = Imagined {
            method: "POST",
            path: self.path,
            headers: &headers,
            body: self.body.to_string().into(),
            api_key: self.api_key,
        };
        let now = UnixTime { nanos: 1_790_000_000_000_000_000 };
        let ground = Ground {
            config: self.config,
            listeners: &[self.config.listen],
            seed: self.seed,
            now,
            health: &health,
        };
        explain(&imagined, &ground)
    }

    fn refusal(&self) -> (u16, String) {
        let (status, fault) = self.told().refused.expect("it is refused");
        (status, fault.message.into_owned())
    }
}

fn shown(told: &Told) -> String {
    show(&Form::of_call("POST /v1/chat/completions".to_owned(), told), false)
}

#[test]
fn a_chain_is_explained_target_by_target() {
    let config = file(FILE);
    let asking = Asking::of(&config).header("x-portkey-metadata", r#"{"task":"code"}"#);
    assert_eq!(
        shown(&asking.told()),
        r#"request    POST /v1/chat/completions
api key    app
model      gpt-4o-mini
config     by-task
seed       7
cache      no: this version keeps no answers

choices
  config: conditional -> config.targets[0]
      conditions[0] holds: {"metadata.task":"code"}
  config.targets[0]: fallback -> config.targets[0].targets[0]
      in order: the next one when one ends with 429, 503

targets
  1  config.targets[0].targets[0]  claude/claude-sonnet-4-5  https://api.anthropic.com/v1/messages  translated for anthropic
      tried: conditions[0] holds: {"metadata.task":"code"}; the first of the fallback config.targets[0]
      again up to 1 times on 429, 500, 502, 503, 504, 529, and without an answer
  2  config.targets[0].targets[1]  openai/gpt-4o  https://api.openai.com/v1/chat/completions
      tried: when config.targets[0].targets[0] ends with 429, 503
  -  config.targets[1].targets[0]  openai/gpt-4o-mini  https://api.openai.com/v1/chat/completions
      not tried: config.targets[0] was chosen: conditions[0] holds: {"metadata.task":"code"}
  -  config.targets[1].targets[1]  small
      not tried: config.targets[0] was chosen: conditions[0] holds: {"metadata.task":"code"}
      unfit, so passed over: the virtual key `small` does not serve the model `gpt-4o-mini`
  -  config.targets[1].targets[2]  claude/gpt-4o-mini  https://api.anthropic.com/v1/messages  translated for anthropic
      not tried: config.targets[0] was chosen: conditions[0] holds: {"metadata.task":"code"}
"#
    );
}

#[test]
fn health_and_weights_are_reasons() {
    let config = file(FILE);
    let mut asking = Asking::of(&config).header("x-portkey-metadata", r#"{"task":"code"}"#);
    asking.open = vec!["config.targets[0].targets[0]"];
    let told = asking.told();
    let reasons: Vec<_> = told.targets.iter().map(|one| (one.path.as_str(), one.reason)).collect();
    assert_eq!(reasons[0], ("config.targets[0].targets[1]", "first"));
    assert_eq!(reasons[1], ("config.targets[0].targets[0]", "breaker"));

    let asking = Asking::of(&config).header("x-portkey-metadata", r#"{"task":"chat"}"#);
    let reasons: Vec<_> = asking.told().targets.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, ["first", "condition", "condition", "weight", "no_weight"]);
}

#[test]
fn what_is_refused_is_told_with_its_status() {
    let config = file(FILE);
    let no_condition = Asking::of(&config);
    let message = "Query router did not resolve to any valid target";
    assert_eq!(no_condition.refusal(), (400, message.to_owned()));
    assert!(no_condition.told().targets.iter().all(|target| target.reason == "refused"));

    let nobody = Asking { api_key: None, ..Asking::of(&config) };
    assert_eq!(nobody.refusal().0, 401);
    let bearer = Asking { api_key: None, ..Asking::of(&config) }
        .header("authorization", "Bearer test")
        .header("x-portkey-metadata", r#"{"task":"chat"}"#);
    assert_eq!(bearer.told().api_key, "app");
    let unknown = Asking { api_key: Some("nobody"), ..Asking::of(&config) };
    let (status, message) = unknown.refusal();
    assert!(status == 401 && message.contains("`nobody`"), "{status} {message}");

    for (path, status) in [("/healthz", 404), ("/v2/x", 404), ("/v1/files?a b", 400)] {
        let asking = Asking { path, ..Asking::of(&config) };
        assert_eq!(asking.refusal().0, status, "{path}");
    }
    let split = Asking::of(&config).header("x-a", "b\r\nx-portkey-config: other");
    assert_eq!(split.refusal().0, 400);
    let inline = Asking::of(&config).header("x-portkey-config", r#"{"provider":"openai"}"#);
    let (status, fault) = inline.told().refused.expect("it is refused");
    assert!(status == 400 && !fault.details.is_empty(), "{fault:?}");
    let broken = Asking { body: json!([1]), ..Asking::of(&config) };
    assert_eq!(broken.refusal().0, 400);
}

#[test]
fn targets_that_cannot_take_the_request_say_why() {
    let config = file(FILE);
    let mut asking = Asking::of(&config).header("x-portkey-metadata", r#"{"task":"code"}"#);
    asking.body["n"] = json!(2);
    let told = asking.told();
    let unfit = told.targets[0].unfit.as_deref().unwrap_or_default();
    assert_eq!(unfit, "n: Anthropic gives one answer a request");
    assert_eq!(told.targets[1].unfit, None);
    asking.body =
        json!({ "model": "m", "seed": 1, "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(asking.told().targets[0].dropped, ["seed"]);
}

#[test]
fn no_credential_is_told() {
    let config = file(FILE);
    let asking = Asking::of(&config)
        .header("x-portkey-metadata", r#"{"task":"code"}"#)
        .header("x-api-key", "sk-of-the-caller-0123456789");
    let told = asking.told();
    let as_json = show(&Form::of_call(String::new(), &told), true);
    for text in [shown(&told), as_json, format!("{told:?}")] {
        assert!(!text.contains("sk-of"), "{text}");
    }
}

/// Every operator on every kind of fact, through the parsers of a request: header, body, path.
#[test]
fn conditions_decide_on_whole_requests() {
    let config = Config::open_defaults();
    let body = json!({
        "model": "gpt-4o", "max_tokens": 100, "temperature": 0.5, "stream": true, "user": null,
        "stop": ["x"], "note": "7 days", "messages": [],
    });
    let metadata = r#"{"plan":"gold","n":6,"text":"6","on":true,"none":null,"list":[1],"é":"ü"}"#;
    let chosen = |query: &str, path: &str| {
        let policy = format!(
            r#"{{"strategy":{{"mode":"conditional","conditions":[{{"query":{query},"then":"yes"}}],"default":"no"}},
               "targets":[{{"name":"yes","provider":"openai","api_key":"k"}},{{"name":"no","provider":"openai","api_key":"k"}}]}}"#
        )
        .replace('\n', " ");
        let mut asking = Asking::of(&config)
            .header("x-portkey-config", &policy)
            .header("x-portkey-metadata", metadata)
            .header("host", "localhost");
        (asking.path, asking.body) = (path, body.clone());
        let told = asking.told();
        match told.refused {
            Some((_, fault)) => fault.message.into_owned(),
            None => told.targets[0].name.clone(),
        }
    };
    for line in include_str!("explains/conditions.golden").lines() {
        let Some((expected, query)) = line.split_once(' ').filter(|_| !line.starts_with('#'))
        else {
            continue;
        };
        let (path, query) = match query.strip_prefix("EMBED ") {
            Some(query) => ("/v1/embeddings?beta=1", query),
            None => ("/v1/chat/completions", query),
        };
        let got = chosen(query, path);
        match expected {
            "400" => assert!(got.starts_with("Unsupported operator"), "{line}: {got}"),
            _ => assert_eq!(got, expected, "{line}"),
        }
    }
}

/// Of one target in a chain of two, with these keys at the top.
fn around(keys: Value, body: &Value, path: &str) -> (Value, String) {
    let mut policy = json!({
        "strategy": { "mode": "fallback" },
        "targets": [{ "virtual_key": "openai" }, { "virtual_key": "claude" }],
    });
    for (name, value) in keys.as_object().expect("keys") {
        policy[name] = value.clone();
    }
    let text = format!(
        "virtual_keys: {{openai: {{provider: openai, api_key: k}}, claude: {{provider: anthropic, api_key: k}}}}\n\
         configs: {{main: {policy}}}\n"
    );
    let config = file(&text);
    let mut asking = Asking::of(&config).header("x-portkey-config", "main");
    (asking.body, asking.path) = (body.clone(), path);
    let told = asking.told();
    let as_json = show(&Form::of_call(String::new(), &told), true);
    let as_json: Value = serde_json::from_str(&as_json).expect("JSON");
    (as_json["targets"].clone(), shown(&told))
}

fn chat() -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": "a secret" }] })
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn hedges_are_told_with_the_second_target() {
    let hedge = |after: &str| json!({ "hedge": { "after": after, "max_ratio": 0.1 } });
    let (targets, text) = around(hedge("800ms"), &chat(), CHAT);
    assert_eq!(
        targets[0]["hedge"],
        json!({ "after_ms": 800, "after_p95": false, "max_ratio": 0.1, "beside": "config.targets[1]", "why_not": null })
    );
    assert_eq!(targets[1]["hedge"]["beside"], "config.targets[1]", "the same again");
    let line =
        "hedge: after 800 ms also config.targets[1], over the long run for at most 0.1 a try\n";
    assert!(text.contains(line), "{text}");
    let (_, text) = around(hedge("p95"), &chat(), CHAT);
    assert!(text.contains("hedge: after its own p95 also config.targets[1]"), "{text}");
    let mut stored = chat();
    stored["store"] = json!(true);
    let (_, text) = around(hedge("800ms"), &stored, CHAT);
    assert!(text.contains("not hedged: the answer is stored at the provider\n"), "{text}");
    let (targets, _) =
        around(hedge("800ms"), &json!({ "model": "m", "input": "x" }), "/v1/responses");
    assert_eq!(targets[0]["hedge"]["why_not"], "the answer is stored at the provider");
}

#[test]
fn mirrors_are_told_with_what_the_seed_draws() {
    let mirror = |sample: f64| {
        let target = json!({ "virtual_key": "claude", "override_params": { "model": "shadow" } });
        json!({
            "targets": [
                { "virtual_key": "openai", "mirror": { "target": target, "sample": sample } },
                { "virtual_key": "openai", "mirror": { "target": target, "sample": sample } },
            ],
        })
    };
    let (targets, text) = around(mirror(1.0), &chat(), CHAT);
    assert!(targets[0]["mirror"]["drawn"] == true && targets[0]["mirror"]["why_not"].is_null());
    let path = "config.targets[0].mirror.target";
    let line = format!("mirror: {path}  claude/shadow, a share of 1: this seed draws it\n");
    assert!(text.contains(&line), "{text}");
    let line = "not copied: only what goes to the first target is\n";
    assert!(text.contains(line), "{text}");
    let (_, text) = around(mirror(0.000_001), &chat(), CHAT);
    assert!(text.contains("a share of 0.000001: this seed does not draw it\n"), "{text}");
}

#[test]
fn guardrails_are_told_with_what_they_find() {
    let forbids = |id: &str, word: &str, more: Value| {
        let mut one =
            json!({ "default.contains": { "words": [word], "operator": "none" }, "id": id });
        more.as_object().expect("keys").iter().for_each(|(key, value)| one[key] = value.clone());
        one
    };
    let hook = json!({
        "default.webhook": { "webhookURL": "http://10.0.0.3/check" }, "deny": true, "id": "hook",
    });
    let input = json!([
        forbids("words", "secret", json!({ "deny": true })),
        forbids("aside", "secret", json!({ "async": true })),
        forbids("other", "public", json!({ "sequential": true })),
        hook,
    ]);
    let output = json!([forbids("answers", "x", json!({ "deny": true }))]);
    let keys = json!({
        "input_guardrails": input, "output_guardrails": output,
        "strategy": { "mode": "fallback", "on_status_codes": [446] },
    });
    let (targets, text) = around(keys.clone(), &chat(), CHAT);
    let lines = "\
      input guardrail words (deny): denied: default.contains
      input guardrail aside (async): failed: default.contains
      input guardrail other (sequential): passed
      input guardrail hook (deny): asked at run time: default.webhook
      output guardrail answers (deny)
      denied with 446: then config.targets[1] is tried
";
    assert!(text.contains(lines), "{text}");
    assert!(text.contains("denied with 446: the client gets it\n"), "of the last: {text}");
    let first = &targets[0]["guardrails"][0];
    assert_eq!(
        (&first["id"], &first["side"], &first["found"]),
        (&json!("words"), &json!("input"), &json!("denied: default.contains"))
    );
    assert_eq!(targets[0]["guardrails"][3]["at_run_time"], json!(["default.webhook"]));
    assert!(!text.contains("10.0.0.3"), "where a webhook is stays the config's: {text}");

    let mut harmless = chat();
    harmless["messages"][0]["content"] = json!("hello");
    let (targets, text) = around(keys.clone(), &harmless, CHAT);
    assert!(targets[0]["denied"].is_null() && text.contains("words (deny): passed\n"), "{text}");
    let (_, text) = around(keys, &json!({ "x": 1 }), "/v1/files");
    assert!(text.contains("not asked: guardrails do not look at such a request\n"), "{text}");
}
