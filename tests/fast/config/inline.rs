//! Configs that come with a request: the answers that clients of Portkey's gateway know, and what a request may
//! not do with a credential that is not its own.

use trunkline::config::{
    Config,
    compile::{InlineError, Known, compile_inline},
    policy::{NodeKind, Policy},
    providers::provider_names,
};

use super::{good, leaf};

const FILE: &str = "api_keys: [ { name: t, key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 } ]\n\
    virtual_keys:\n  held: { provider: openai, api_key: sk-held, allow_custom_host: [eu.example.com, \"10.0.0.9:8000\"] }\n  \
    other: { provider: anthropic, api_key: sk-other }\n";

fn compile(file: &Config, text: &str) -> Result<Policy, InlineError> {
    compile_inline(text, Known::from(file), false)
}

fn errors(text: &str) -> Vec<String> {
    match compile(&good(FILE), text) {
        Err(InlineError::Invalid { message: "Invalid config passed", errors }) => errors,
        other => panic!("{text}: {other:?}"),
    }
}

fn message(text: &str) -> &'static str {
    match compile(&good(FILE), text) {
        Err(InlineError::Invalid { message, errors }) if errors.is_empty() => message,
        other => panic!("{text}: {other:?}"),
    }
}

const NOT_JSON: &str = "Invalid config passed. You need to pass a valid json";
const NO_PROVIDER: &str = "Either x-portkey-provider needs to be passed. Or the x-portkey-config header should have a valid config with provider details in it.";
const NAMES_NOTHING: &str = "Invalid configuration. It must have either 'provider' and 'api_key', or 'strategy' and 'targets', or 'cache', or 'retry', or 'request_timeout'";

#[test]
fn plain_messages_are_portkeys() {
    for text in ["", "pc-some-id", "{", "{\"provider\":}", "null", "{'provider':'openai'}"] {
        assert_eq!(message(text), NOT_JSON, "{text}");
    }
    for text in ["{}", "[]", "5", "\"x\"", "{\"retry\":{\"attempts\":1}}", "{\"provider\":\"\"}"] {
        assert_eq!(message(text), NO_PROVIDER, "{text}");
    }
    assert_eq!(
        message(r#"{"provider":"openai","api_key":"k","options":[{"provider":"openai"}]}"#),
        "This version of config is not supported in this route. Please migrate to the latest version"
    );
    assert_eq!(
        message(
            r#"{"provider":"openai","api_key":"k","forward_headers":["X-Portkey-Forward-Headers"]}"#
        ),
        "forward_headers must not contain the 'x-portkey-forward-headers' header"
    );
}

#[test]
fn another_header_may_name_the_target() {
    let file = good(FILE);
    let policy = compile_inline(r#"{"retry":{"attempts":1}}"#, Known::from(&file), true);
    let policy = policy.expect("the provider header names the target");
    assert!(policy.inline);
    assert_eq!(leaf(&policy.root, &[]).retry.attempts, 1);
}

#[test]
fn schema_errors_are_portkeys() {
    let unknown_provider = format!(
        "path: targets,0,provider, message: Invalid 'provider' value. Must be one of: {}",
        provider_names().collect::<Vec<_>>().join(", ")
    );
    let names_nothing = format!("path: , message: {NAMES_NOTHING}");
    let target_names_nothing = format!("path: targets,0, message: {NAMES_NOTHING}");
    for (text, expected) in [
        (
            r#"{"strategy":{"mode":"loadbalance"},"targets":[{"provider":"openai","api_key":"k","weight":"1"}]}"#,
            vec!["path: targets,0,weight, message: Expected number, received string"],
        ),
        (r#"{"provider":"openai"}"#, vec![&names_nothing]),
        (r#"{"targets":[{"provider":"openai","api_key":"k"}]}"#, vec![&names_nothing]),
        (
            r#"{"strategy":{"mode":"single"},"targets":[{"provider":"openai"}]}"#,
            vec![&target_names_nothing],
        ),
        (
            r#"{"strategy":{"mode":"single"},"targets":[{"provider":"nonesuch","api_key":"k"}]}"#,
            vec![&unknown_provider],
        ),
        (
            r#"{"strategy":{"mode":"roundrobin"},"targets":[{"provider":"openai","api_key":"k"}]}"#,
            vec![
                "path: strategy,mode, message: Invalid 'mode' value. Must be one of: single, loadbalance, fallback, conditional",
            ],
        ),
        (
            r#"{"strategy":{},"targets":[{"provider":"openai","api_key":"k"}]}"#,
            vec!["path: strategy,mode, message: Required"],
        ),
        (
            r#"{"provider":"openai","api_key":5}"#,
            vec!["path: api_key, message: Expected string, received number"],
        ),
        (
            r#"{"provider":"openai","api_key":null}"#,
            vec!["path: api_key, message: Expected string, received null"],
        ),
        (
            r#"{"provider":"openai","api_key":"k","retry":{"on_status_codes":[429,"500"]}}"#,
            vec![
                "path: retry,attempts, message: Required",
                "path: retry,on_status_codes,1, message: Expected number, received string",
            ],
        ),
        (
            r#"{"provider":"openai","api_key":"k","cache":{"mode":"magic"}}"#,
            vec![
                "path: cache,mode, message: Invalid 'cache.mode' value. Must be one of: simple, semantic",
            ],
        ),
        (
            r#"{"provider":"openai","api_key":"k","strict_open_ai_compliance":"false"}"#,
            vec!["path: strict_open_ai_compliance, message: Expected boolean, received string"],
        ),
        (
            r#"{"provider":"openai","api_key":"k","custom_host":"http://169.254.169.254"}"#,
            vec!["path: , message: Invalid custom host"],
        ),
        (
            r#"{"strategy":{"mode":"single"},"targets":"all"}"#,
            vec!["path: targets, message: Expected array, received string"],
        ),
        (
            r#"{"strategy":{"mode":"single"},"targets":[]}"#,
            vec!["path: targets, message: Array must contain at least 1 element(s)"],
        ),
        (
            r#"{"strategy":{"mode":"single"},"targets":[5,[]]}"#,
            vec![
                "path: targets,0, message: Expected object, received number",
                "path: targets,1, message: Expected object, received array",
            ],
        ),
        (
            r#"{"virtual_key":"hel"}"#,
            vec!["path: virtual_key, message: there is no virtual key \"hel\""],
        ),
        (
            r#"{"provider":"openai","api_key":"k","input_guardrails":["x"]}"#,
            vec![
                "path: input_guardrails,0, message: is the name of a guardrail that Portkey keeps; write its checks here",
            ],
        ),
        (
            r#"{"provider":"openai","api_key":"k","output_guardrails":[{"default.webhook":{"webhookURL":"http://169.254.169.254/"}},{"contians":{"words":["a"]}},{"contains":{"words":"a"}}]}"#,
            vec![
                "path: output_guardrails,0,default.webhook,webhookURL, message: Invalid custom host",
                "path: output_guardrails,1,contians, message: there is no check \"contians\"; did you mean \"contains\"?",
                "path: output_guardrails,2,contains,words, message: Expected array, received string",
            ],
        ),
        (
            r#"{"strategy":{"mode":"loadbalance","cb_config":{"failure_threshold":"1"}},"targets":[{"provider":"openai","api_key":"k"}]}"#,
            vec![
                "path: strategy,cb_config,failure_threshold, message: Expected number, received string",
            ],
        ),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn unknown_keys_and_inert_ones_are_ignored() {
    let file = good(FILE);
    let text = r#"{"provider":"openai","api_key":"sk-mine","mystery":1,"cb_config":{},"cache":{"mode":"simple"}}"#;
    let policy = compile(&file, text).expect("it loads");
    assert_eq!(leaf(&policy.root, &[]).api_key.as_ref().expect("a key").reveal(), "sk-mine");
    assert!(!format!("{policy:?}").contains("sk-mine"));
}

#[test]
fn attempts_are_clamped() {
    let file = good(FILE);
    for (written, attempts) in [("3", 3), ("99", 10), ("-1", 0), ("2.7", 2), ("1e300", 10)] {
        let text =
            format!(r#"{{"provider":"openai","api_key":"k","retry":{{"attempts":{written}}}}}"#);
        let policy = compile(&file, &text).expect("it loads");
        assert_eq!(leaf(&policy.root, &[]).retry.attempts, attempts, "{written}");
    }
}

#[test]
fn digests_follow_the_text() {
    let file = good(FILE);
    let digest = |text| compile(&file, text).expect("it loads").digest;
    let (one, two) = (r#"{"virtual_key":"held"}"#, r#"{"virtual_key":"other"}"#);
    assert_eq!(digest(one), digest(one));
    assert_ne!(digest(one), digest(two));
}

#[test]
fn a_held_credential_stays_with_its_host() {
    let file = good(FILE);
    for target in [
        r#""virtual_key":"held","custom_host":"https://evil.example""#,
        r#""provider":"@held","custom_host":"https://evil.example""#,
        r#""override_params":{"model":"@held/gpt"},"custom_host":"https://evil.example""#,
        r#""virtual_key":"held","custom_host":"https://eu.example.com:444""#,
        r#""virtual_key":"held","custom_host":"http://10.0.0.9:8001""#,
        r#""virtual_key":"held","custom_host":"http://eu.example.com""#,
        r#""virtual_key":"held","custom_host":"https://x.eu.example.com""#,
        r#""virtual_key":"other","custom_host":"https://eu.example.com""#,
        r#""virtual_key":"held","aws_region":"evil""#,
        r#""virtual_key":"held","resource_name":"evil""#,
        r#""virtual_key":"held","azure_foundry_url":"https://evil.example""#,
        r#""virtual_key":"held","huggingface_base_url":"https://evil.example""#,
        r#""virtual_key":"held","workers_ai_account_id":"evil""#,
        r#""virtual_key":"held","vertex_project_id":"evil""#,
        r#""virtual_key":"held","snowflake_account":"evil""#,
    ] {
        let nested = format!(r#"{{"strategy":{{"mode":"fallback"}},"targets":[{{{target}}}]}}"#);
        for text in [format!("{{{target}}}"), nested] {
            let result = compile(&file, &text);
            let redirected = matches!(result, Err(InlineError::CredentialRedirected { .. }));
            let refused = matches!(&result, Err(InlineError::Invalid { errors, .. })
                if errors.iter().all(|e| e.ends_with("Invalid custom host")));
            assert!(redirected || refused, "{text}: {result:?}");
        }
    }
    let inherited = r#"{"strategy":{"mode":"fallback"},"custom_host":"https://evil.example","targets":[{"virtual_key":"held"}]}"#;
    let result = compile(&file, inherited);
    assert!(matches!(result, Err(InlineError::CredentialRedirected { .. })), "{result:?}");
}

#[test]
fn a_virtual_key_may_allow_hosts() {
    let file = good(FILE);
    for host in ["https://eu.example.com/v1", "https://EU.example.com", "http://10.0.0.9:8000"] {
        let text = format!(r#"{{"virtual_key":"held","custom_host":"{host}"}}"#);
        let policy = compile(&file, &text).unwrap_or_else(|e| panic!("{host}: {e:?}"));
        assert!(leaf(&policy.root, &[]).host_trusted);
    }
    let mine = r#"{"provider":"openai","api_key":"k","custom_host":"http://10.0.0.9:8000"}"#;
    assert_eq!(errors(mine), ["path: , message: Invalid custom host"]);
}

#[test]
fn harmless_settings_may_come_with_a_virtual_key() {
    let file = good(FILE);
    let text = r#"{"virtual_key":"held","openai_project":"p","anthropic_version":"2023-06-01"}"#;
    let policy = compile(&file, text).expect("it loads");
    assert_eq!(leaf(&policy.root, &[]).options.len(), 2);
}

#[test]
fn a_request_cannot_reach_into_the_house_by_a_providers_name() {
    let text = r#"{"provider":"ollama"}"#;
    assert_eq!(errors(text), ["path: , message: Invalid custom host"]);
    let open = Config::open_defaults();
    assert!(compile(&open, text).is_ok());
}

#[test]
fn headers_cannot_be_smuggled() {
    for text in [
        r#"{"provider":"openai","api_key":"k\r\nx: y"}"#,
        r#"{"provider":"openai","api_key":"k","openai_project":"p\r\nx: y"}"#,
        r#"{"provider":"openai","api_key":"k","forward_headers":["x\r\ny"]}"#,
        r#"{"provider":"openai","api_key":"k","forward_headers":["host"]}"#,
        r#"{"provider":"openai","api_key":"k","aws_region":"evil.com/#"}"#,
    ] {
        assert_eq!(errors(text).len(), 1, "{text}");
    }
}

#[test]
fn size_depth_and_breadth_are_bounded() {
    let leaf = r#"{"provider":"openai","api_key":"k"}"#;
    let nest = |depth: usize| {
        let open = r#"{"strategy":{"mode":"single"},"targets":["#.repeat(depth);
        format!("{open}{leaf}{}", "]}".repeat(depth))
    };
    let file = good(FILE);
    assert!(compile(&file, &nest(10)).is_ok());
    let deep = errors(&nest(11));
    assert!(deep[0].ends_with("message: targets may be nested 10 deep, no deeper"), "{deep:?}");
    let wide = |count: usize| {
        let targets = vec![leaf; count].join(",");
        format!(r#"{{"strategy":{{"mode":"fallback"}},"targets":[{targets}]}}"#)
    };
    let policy = compile(&file, &wide(256)).expect("256 targets are allowed");
    assert!(matches!(policy.root.kind, NodeKind::Fallback { targets, .. } if targets.len() == 256));
    assert_eq!(
        errors(&wide(257)),
        ["path: targets,256, message: a config has at most 256 targets"]
    );
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(40_000));
    assert_eq!(errors(&long), ["path: , message: The config is longer than 32768 bytes"]);
    assert_eq!(message(&"[".repeat(30_000)), NOT_JSON);
    let heavy = format!(
        r#"{{"strategy":{{"mode":"fallback"}},"override_params":{{"user":"{}"}},"targets":[{}]}}"#,
        "x".repeat(20_000),
        vec![r#"{"provider":"openai","api_key":"k"}"#; 200].join(",")
    );
    assert_eq!(
        errors(&heavy),
        ["path: targets,52, message: override_params of all targets together are too large"]
    );
}

#[test]
fn bytes_of_any_kind_never_panic() {
    let file = good(FILE);
    let text = r#"{"strategy":{"mode":"fallback","on_status_codes":[429]},"retry":{"attempts":1e99},"targets":[{"virtual_key":"held","weight":-0.5,"override_params":{"model":"@held/é"}},{"provider":"@","custom_host":"http://["}]}"#;
    for cut in (0..text.len()).filter(|&cut| text.is_char_boundary(cut)) {
        let _ = compile(&file, &text[..cut]);
        for odd in ["null", "[]", "{}", "\"\"", "-1", "\u{202e}"] {
            let _ = compile(&file, &format!("{}{odd}{}", &text[..cut], &text[cut..]));
        }
    }
}
