//! What a config object compiles to: strategies, what targets inherit, and what names a virtual key.

use std::time::Duration;

use trunkline::config::{Config, policy::NodeKind};

use super::{good, leaf};

const KEYS: &str = "virtual_keys:\n  a: { provider: openai, api_key: k }\n  \
    b: { provider: anthropic, api_key: k }\n";

fn compiled(config: &str) -> Config {
    good(&format!("{KEYS}configs: {{ c: {config} }}"))
}

#[test]
fn strategies_nest_and_leaves_know_their_path() {
    let config = compiled(
        "{ strategy: { mode: loadbalance }, targets: [ { virtual_key: a, weight: 0.7, name: x }, \
         { strategy: { mode: fallback, on_status_codes: [429, 429, 503] }, weight: 0, \
           targets: [ { virtual_key: a }, { strategy: { mode: single }, targets: [ { virtual_key: b }, { virtual_key: a } ] } ] } ] }",
    );
    let root = &config.configs[0].policy.root;
    let NodeKind::LoadBalance { targets, .. } = &root.kind else { panic!("{root:?}") };
    assert_eq!((targets[0].weight, targets[1].weight), (0.7, 0.0));
    assert_eq!(targets[0].name.as_deref(), Some("x"));
    let NodeKind::Fallback { on_status_codes, targets } = &targets[1].kind else {
        panic!("{root:?}")
    };
    assert_eq!(on_status_codes.as_deref(), Some(&[429, 503][..]));
    let NodeKind::Single(first) = &targets[1].kind else { panic!("{root:?}") };
    assert_eq!(first.path, "config.targets[1].targets[1].targets[0]");
    assert_eq!(root.path, "config");
    assert_eq!(leaf(root, &[1, 1, 0]).provider.expect("a provider").name(), "anthropic");
}

#[test]
fn targets_inherit_as_the_table_says() {
    let config = compiled(
        "{ strategy: { mode: fallback }, override_params: { temperature: 0.70, user: u, top_k: null }, \
           retry: { attempts: 3, use_retry_after_headers: true }, request_timeout: 1500, \
           strict_open_ai_compliance: false, forward_headers: [X-One, x-two, x-one], \
           custom_host: \"https://outer.example/v1\", timeouts: { connect: 1s, idle: 2s, total: 9s }, \
           targets: [ { virtual_key: a }, \
             { virtual_key: b, override_params: { user: v, model: m }, retry: { attempts: 1, on_status_codes: [418] }, \
               request_timeout: 0, strict_open_ai_compliance: true, forward_headers: [], \
               custom_host: \"http://inner.example\", timeouts: { idle: 3s } }, \
             { strategy: { mode: single }, override_params: { seed: 1 }, targets: [ { virtual_key: a } ] } ] }",
    );
    let root = &config.configs[0].policy.root;
    let plain = leaf(root, &[0]);
    let params = |index: &[usize]| -> Vec<String> {
        leaf(root, index).override_params.iter().map(|(k, v)| format!("{k}={v}")).collect()
    };
    assert_eq!(params(&[0]), ["temperature=0.7", "user=\"u\"", "top_k=null"]);
    assert_eq!(params(&[1]), ["temperature=0.7", "user=\"v\"", "top_k=null", "model=\"m\""]);
    assert_eq!(params(&[2, 0]), ["temperature=0.7", "user=\"u\"", "top_k=null", "seed=1"]);
    assert_eq!((plain.retry.attempts, plain.retry.use_retry_after), (3, true));
    assert_eq!(plain.retry.on_status_codes, [429, 500, 502, 503, 504, 529]);
    assert_eq!(plain.request_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(plain.strict, Some(false));
    assert_eq!(plain.forward_headers, ["x-one", "x-two"]);
    assert_eq!(plain.custom_host.as_ref().expect("a host").authority, "outer.example");
    assert!(plain.host_trusted);
    assert_eq!(plain.timeouts.connect, Some(Duration::from_secs(1)));
    let own = leaf(root, &[1]);
    assert_eq!((own.retry.attempts, own.retry.use_retry_after), (1, false));
    assert_eq!(own.retry.on_status_codes, [418]);
    assert_eq!((own.request_timeout, own.strict), (None, Some(true)));
    assert!(own.forward_headers.is_empty());
    assert_eq!(own.custom_host.as_ref().expect("a host").authority, "inner.example");
    let seconds = Duration::from_secs;
    assert_eq!(own.timeouts.idle, Some(seconds(3)));
    assert_eq!((own.timeouts.connect, own.timeouts.total), (Some(seconds(1)), Some(seconds(9))));
    assert_eq!(leaf(root, &[2, 0]).retry.attempts, 3);
}

#[test]
fn who_answers_is_not_inherited() {
    let config = compiled(
        "{ strategy: { mode: single }, provider: openai, api_key: outer, openai_project: outer, weight: 3, \
           targets: [ { retry: { attempts: 1 } } ] }",
    );
    let target = leaf(&config.configs[0].policy.root, &[0]);
    assert!(target.provider.is_none() && target.api_key.is_none() && target.options.is_empty());
}

#[test]
fn a_virtual_key_has_three_spellings() {
    for spelling in [
        "{ virtual_key: b }",
        "{ virtual_key: \"@b\" }",
        "{ provider: \"@b\" }",
        "{ provider: \"@b\", virtual_key: b }",
        "{ provider: anthropic, virtual_key: b }",
        "{ override_params: { model: \"@b/claude\" } }",
        "{ provider: \"@b\", override_params: { model: \"@b/claude\" } }",
    ] {
        let config = compiled(spelling);
        let target = leaf(&config.configs[0].policy.root, &[]);
        assert_eq!(target.virtual_key, Some(config.virtual_key_ids["b"]), "{spelling}");
        assert_eq!(target.provider.expect("a provider").name(), "anthropic", "{spelling}");
        if spelling.contains("model") {
            assert_eq!(target.override_params, [("model".into(), "\"claude\"".into())]);
        }
    }
    let config = compiled("{ virtual_key: a, override_params: { model: \"@cf/meta/llama\" } }");
    let target = leaf(&config.configs[0].policy.root, &[]);
    assert_eq!(target.override_params, [("model".into(), "\"@cf/meta/llama\"".into())]);
}

#[test]
fn a_target_takes_back_the_virtual_key_that_its_parent_model_names() {
    let config = compiled(
        "{ strategy: { mode: fallback }, override_params: { model: \"@a/gpt\" }, \
           targets: [ { retry: { attempts: 1 } }, { virtual_key: b, override_params: { model: claude } } ] }",
    );
    let root = &config.configs[0].policy.root;
    assert_eq!(leaf(root, &[0]).virtual_key, Some(config.virtual_key_ids["a"]));
    assert_eq!(leaf(root, &[1]).virtual_key, Some(config.virtual_key_ids["b"]));
}

#[test]
fn settings_of_providers_become_their_headers() {
    let config = compiled(
        "{ provider: openai, api_key: k, openai_organization: org, openai_project: proj, openai_beta: x }",
    );
    let options = &leaf(&config.configs[0].policy.root, &[]).options;
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        options,
        &[
            pair("openai-organization", "org"),
            pair("openai-project", "proj"),
            pair("openai-beta", "x")
        ]
    );
}

#[test]
fn jitter_and_both_spellings_of_retry_after() {
    for (text, use_retry_after, jitter) in [
        ("{ attempts: 1 }", false, true),
        ("{ attempts: 1, use_retry_after_header: true }", true, true),
        ("{ attempts: 1, use_retry_after_headers: true, jitter: false }", true, false),
    ] {
        let config = compiled(&format!("{{ virtual_key: a, retry: {text} }}"));
        let retry = &leaf(&config.configs[0].policy.root, &[]).retry;
        assert_eq!((retry.use_retry_after, retry.jitter), (use_retry_after, jitter), "{text}");
    }
}

#[test]
fn a_server_in_the_house_needs_no_credential() {
    let config = compiled("{ provider: ollama }");
    assert_eq!(leaf(&config.configs[0].policy.root, &[]).provider.expect("one").name(), "ollama");
}

#[test]
fn breakers_are_inherited_but_not_by_what_a_condition_chooses() {
    let config = compiled(
        "{ strategy: { mode: fallback, cb_config: { failure_threshold: 5, cooldown_interval: 60000 } }, \
           targets: [ { virtual_key: a }, \
             { strategy: { mode: conditional, conditions: [ { query: {}, then: x } ], default: x }, \
               targets: [ { name: x, virtual_key: a }, \
                 { name: y, strategy: { mode: single }, targets: [ { virtual_key: b } ] } ] }, \
             { virtual_key: b, cb_config: { failure_threshold_percentage: 50 } }, \
             { virtual_key: b, cb_config: {} } ] }",
    );
    let policy = &config.configs[0].policy;
    let breaker = |path: &[usize]| {
        leaf(&policy.root, path).watch.as_ref().and_then(|watch| watch.breaker.clone())
    };
    let handed = breaker(&[0]).expect("one");
    assert_eq!((handed.failure_threshold, handed.cooldown), (Some(5), Duration::from_secs(60)));
    assert!(breaker(&[1, 0]).is_none(), "directly under a conditional");
    assert_eq!(breaker(&[1, 1, 0]), Some(handed));
    let own = breaker(&[2]).expect("one");
    assert_eq!((own.failure_threshold, own.failure_percentage), (None, Some(50.0)));
    assert_eq!((own.minimum_requests, own.cooldown), (10, Duration::from_secs(30)));
    assert!(breaker(&[3]).is_none(), "taken back");
    let watched: Vec<&str> = policy.watched.iter().map(|it| it.path.as_str()).collect();
    let expected =
        ["config.targets[0]", "config.targets[1].targets[1].targets[0]", "config.targets[2]"];
    assert_eq!(watched, expected);
}

#[test]
fn a_watched_target_keeps_its_key_while_it_is_the_same() {
    let keys = |name: &str, targets: &str| -> Vec<u64> {
        let text = format!(
            "{KEYS}configs: {{ {name}: {{ strategy: {{ mode: latency }}, targets: [ {targets} ] }} }}"
        );
        good(&text).configs[0].policy.watched.iter().map(|watched| watched.key).collect()
    };
    let before = keys("c", "{ virtual_key: a }, { virtual_key: b }");
    assert_ne!(before[0], before[1]);
    let longer = keys(
        "c",
        "{ virtual_key: a, weight: 3, retry: { attempts: 2 } }, { virtual_key: b }, { virtual_key: a }",
    );
    assert_eq!(longer[..2], before);
    let swapped = keys("c", "{ virtual_key: b }, { virtual_key: a }");
    assert!(swapped.iter().all(|key| !before.contains(key)));
    assert_ne!(keys("d", "{ virtual_key: a }"), before[..1]);
    let other_model = keys("c", "{ virtual_key: a, override_params: { model: m } }");
    assert_ne!(other_model, before[..1]);
}

#[test]
fn params_are_merged_and_dropped_paths_add_up() {
    let config = compiled(
        "{ strategy: { mode: fallback }, default_params: { a: 1, b: [2] }, drop_params: [x, \"m[*].n\"], \
           targets: [ { virtual_key: a, default_params: { b: 3, c: null }, drop_params: [y.z, x] }, { virtual_key: b } ] }",
    );
    let root = &config.configs[0].policy.root;
    let params = |index: usize| -> Vec<String> {
        leaf(root, &[index]).default_params.iter().map(|(k, v)| format!("{k}={v}")).collect()
    };
    assert_eq!(
        (params(0), params(1)),
        (vec!["a=1".into(), "b=3".into(), "c=null".into()], vec!["a=1".into(), "b=[2]".into()])
    );
    let dropped = |index: usize| -> Vec<String> {
        leaf(root, &[index]).drop_params.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        (dropped(0), dropped(1)),
        (vec!["x".into(), "m[*].n".into(), "y.z".into()], vec!["x".into(), "m[*].n".into()])
    );
}

#[test]
fn several_credentials_stand_behind_one_virtual_key() {
    let config = good(
        "virtual_keys: { a: { provider: openai, api_keys: [one, { key: key-two, weight: 0.5 }] }, b: { provider: openai, api_key: one } }",
    );
    let [pooled, plain] = &config.virtual_keys[..] else { panic!() };
    assert_eq!(pooled.credential.as_ref().expect("the first").reveal(), "one");
    let all: Vec<_> =
        pooled.credentials.iter().map(|one| (one.secret.reveal(), one.weight)).collect();
    assert_eq!(all, [("one", 1.0), ("key-two", 0.5)]);
    assert!(plain.credentials.is_empty());
    let swapped =
        good("virtual_keys: { a: { provider: openai, api_keys: [{ key: key-two }, one] } }");
    assert_eq!(swapped.virtual_keys[0].credentials[1].id, pooled.credentials[0].id);
    assert!(!format!("{config:?}").contains("key-two"));
    assert!(!config.without_secrets().to_string().contains("\"one"));
}
