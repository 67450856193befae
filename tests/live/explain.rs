//! `trunkline explain` as an operator meets it: before a request, after one, and asked of the running gateway.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{
    admin::{admin_address, get},
    harness::{
        Conn, Driver,
        gateway::{Plan, api_keys},
        http::chat,
        upstream::{Upstream, error_answer, json_answer},
    },
};

const TOKEN: &str = "the-token-of-the-tests";

fn config(failing: u16, sound: u16) -> String {
    let key = |port: u16| {
        format!(
            "{{ provider: openai, base_url: \"http://127.0.0.1:{port}/v1\", api_key: sk-0123456789abcdef }}"
        )
    };
    format!(
        "admin: {{ token: {TOKEN} }}\nvirtual_keys:\n  failing: {}\n  sound: {}\nconfigs:\n  plain:\n    \
           strategy: {{ mode: fallback, cb_config: {{ failure_threshold: 3 }} }}\n    \
           targets: [{{ virtual_key: failing }}, {{ virtual_key: sound }}]\n{}",
        key(failing),
        key(sound),
        api_keys("plain"),
    )
}

fn explain(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .arg("explain")
        .args(args)
        .output()
        .expect("the program starts")
}

fn json_of(args: &[&str]) -> Value {
    let got = explain(args);
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    serde_json::from_slice(&got.stdout).expect("JSON")
}

#[test]
fn a_request_and_its_record_are_explained_alike_and_health_shows_the_breakers() {
    let failing = Upstream::answering(error_answer(503, ""));
    let sound = Upstream::answering(json_answer("{}"));
    let text = config(failing.port, sound.port);
    let gateway = Plan::new(Driver::Epoll).admin().config(text.clone()).start();
    for _ in 0..4 {
        let got = gateway.connect().post("/v1/chat/completions", &chat("m"));
        assert_eq!(got.status, 200);
    }
    let records = gateway.records(4);
    let log = gateway.log_dir();
    let log = log.to_str().expect("text");
    let logged = |record: &Value, more: &[&str]| {
        let id = record["id"].as_str().expect("an id");
        json_of(&[&["--log", log, "--id", id, "--json"], more].concat())
    };
    let order = |told: &Value| -> Vec<(String, bool, String)> {
        let targets = told["targets"].as_array().expect("targets").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        targets
            .map(|one| (text(&one["path"]), one["tried"] == true, text(&one["reason"])))
            .collect()
    };
    let first = logged(&records[0], &[]);
    assert_eq!(first["logged"]["same"], true, "{first}");
    let both = [
        ("config.targets[0]".to_owned(), true, "first".to_owned()),
        ("config.targets[1]".to_owned(), true, "fallback".to_owned()),
    ];
    assert_eq!(order(&first), both);
    let open = [
        ("config.targets[1]".to_owned(), true, "first".to_owned()),
        ("config.targets[0]".to_owned(), false, "breaker".to_owned()),
    ];
    let last = logged(&records[3], &[]);
    assert_eq!((order(&last), &last["logged"]["same"]), (open.to_vec(), &json!(true)));

    // The file of today is compared with the epoch of then.
    let file = gateway.dir().join("trunkline.yaml");
    let file = file.to_str().expect("text");
    let same = logged(&records[3], &["--config", file]);
    assert!(same["notes"][0].as_str().expect("a note").contains("still"), "{same}");
    let other = gateway.dir().join("other.yaml");
    std::fs::write(&other, text.replace("failure_threshold: 3", "failure_threshold: 4"))
        .expect("written");
    let other = other.to_str().expect("text");
    let differs = logged(&records[3], &["--config", other]);
    let note = differs["notes"][0].as_str().expect("a note");
    assert!(note.contains("is not epoch") && note.contains("`plain` is another"), "{note}");
    assert_eq!(order(&differs), open, "it is explained by its own epoch all the same");

    // The running gateway knows that the breaker is open; offline nobody does.
    let body = json!({ "headers": { "x-portkey-config": "plain" }, "api_key": "tests", "seed": 7,
        "body": serde_json::from_str::<Value>(&chat("m")).expect("JSON") });
    let asked = ask(&gateway, &body.to_string());
    assert_eq!((asked.0, order(&asked.1)), (200, open.to_vec()));
    let request = gateway.dir().join("body.json");
    std::fs::write(&request, chat("m")).expect("written");
    let request = request.to_str().expect("text");
    let offline =
        ["--config", file, "--request", request, "--api-key", "tests", "--seed", "7", "--json"];
    let told = json_of(&offline);
    assert_eq!(order(&told), both);
    assert_eq!(order(&json_of(&[&offline[..], &["--open", "config.targets[0]"]].concat())), open);
    assert_eq!(told["seed"], 7);

    let health = get(&gateway, "/admin/v1/health");
    let targets = &health["targets"];
    assert_eq!(targets[0]["virtual_key"], "failing");
    assert_eq!(targets[0]["breaker"]["state"], "open");
    let open_for = targets[0]["breaker"]["open_for_ms"].as_u64().expect("a time");
    assert!((1..=30_000).contains(&open_for), "{targets}");
    assert_eq!(targets[1]["breaker"], json!({ "state": "closed", "open_for_ms": 0 }));
    let (status, refused) = ask(&gateway, r#"{"boddy":{}}"#);
    assert!(status == 400 && refused.to_string().contains("boddy"), "{refused}");
    for told in [asked.1, first, differs, told] {
        assert!(!told.to_string().contains("sk-0123456789"), "{told}");
    }
}

#[test]
fn what_went_on_around_a_target_is_told_from_its_record() {
    let upstream = Upstream::answering(json_answer("{}"));
    let key = format!(
        "{{ provider: openai, base_url: \"http://127.0.0.1:{}/v1\", api_key: sk-0123456789abcdef }}",
        upstream.port
    );
    let words = "{ id: words, deny: true, default.contains: { words: [hi], operator: none } }";
    let text = format!(
        "virtual_keys: {{ one: {key}, two: {key}, shadow: {key} }}\nconfigs:\n  plain:\n    strategy: {{ mode: fallback }}\n    \
           targets:\n      - {{ virtual_key: one, hedge: {{ after: 30s }}, input_guardrails: [{words}], \
           mirror: {{ target: {{ virtual_key: shadow }}, sample: 1 }} }}\n      - {{ virtual_key: two }}\n{}",
        api_keys("plain"),
    );
    let gateway = Plan::new(Driver::Epoll).config(text).start();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    let got = gateway.connect().post("/v1/chat/completions", &body.to_string());
    assert_eq!(got.status, 200);
    let record = gateway.records(1).remove(0);
    let (log, id) = (gateway.log_dir(), record["id"].as_str().expect("an id").to_owned());
    let args = ["--log", log.to_str().expect("text"), "--id", &id];
    let told = json_of(&[&args[..], &["--json"]].concat());
    let first = &told["targets"][0];
    assert_eq!(first["hedge"]["after_ms"], 30_000, "{told}");
    assert_eq!(first["hedge"]["beside"], "config.targets[1]");
    assert_eq!(first["guardrails"][0]["found"], "denied: default.contains");
    assert_eq!(first["denied"], "then config.targets[1] is tried");
    let mirror = &first["mirror"];
    assert_eq!((&mirror["lead"], &mirror["drawn"]), (&json!("shadow"), &json!(true)));
    assert_eq!(mirror["why_not"], "the request is denied");
    let second = &told["targets"][1];
    assert!(second["hedge"].is_null() && second["guardrails"] == json!([]), "{second}");
    let text = String::from_utf8(explain(&args).stdout).expect("text");
    assert!(text.contains("input guardrail words (deny): denied: default.contains\n"), "{text}");
}

fn ask(gateway: &crate::harness::Gateway, body: &str) -> (u16, Value) {
    let request = format!(
        "POST /admin/v1/explain HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let got = Conn::to(admin_address(gateway)).ask(request.as_bytes());
    (got.status, got.json())
}

#[test]
fn what_cannot_be_explained_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let (good, bad, body) = (path("good.yaml"), path("bad.yaml"), path("body.json"));
    let virtual_key =
        "virtual_keys: { a: { provider: openai, api_key: \"${NO_SUCH_VARIABLE_HERE}\" } }\n";
    std::fs::write(&good, format!("{virtual_key}configs: {{ c: {{ virtual_key: a }} }}\n"))
        .expect("written");
    std::fs::write(&bad, "lisen: x\n").expect("written");
    std::fs::write(&body, chat("m")).expect("written");
    let config = ["--header", "x-portkey-config: c"];
    for (args, code, told) in [
        (
            &["--config", "/no/such/file", "--request", &body][..],
            1,
            "/no/such/file: cannot be read",
        ),
        (&["--config", &bad, "--request", &body], 1, "lisen: there is no such key"),
        (&["--config", &good, "--request", &body], 1, "--no-env explains without the variables"),
        (&["--config", &good, "--no-env"], 1, "name the request's body: --request"),
        (
            &["--config", &good, "--no-env", "--request", "/no/such/body"],
            1,
            "/no/such/body: cannot be read",
        ),
        (
            &[
                "--config",
                &good,
                "--no-env",
                "--request",
                &body,
                config[0],
                config[1],
                "--open",
                "config",
            ],
            1,
            "--open config: no target of that place has a breaker",
        ),
        (&["--log", "/no/such/log", "--id", "1"], 1, "there is no such directory"),
        (&["--log", "/no/such/log"], 2, "--id"),
        (&["--request", &body, "--header", "no-colon"], 2, "write it as `name: value`"),
    ] {
        let got = explain(args);
        let errors = String::from_utf8_lossy(&got.stderr);
        assert_eq!(got.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(told) && got.stdout.is_empty(), "{args:?}: {errors}");
    }
    let got = explain(&["--config", &good, "--no-env", "--request", &body, config[0], config[1]]);
    let text = String::from_utf8_lossy(&got.stdout);
    assert!(
        got.status.success() && text.contains("1  config  a/m  https://api.openai.com/v1/"),
        "{text}"
    );
}
