//! Good files: what they compile to, what variables do, and what a digest says.

use std::time::Duration;

use trunkline::config::{
    Config, OnFull, Workers, check::check, schema::schema, variables::Variables,
};

use super::{environment, good, leaf};

const EXAMPLE: &str = include_str!("example.yaml");

#[test]
fn the_documented_example_earns_only_what_this_version_lacks() {
    let checked = check(EXAMPLE, Variables::Lookup(&environment));
    let found: Vec<String> = checked.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "27:5: api_keys[0].limits: not in this version of Trunkline; remove it",
            "29:1: cache: not in this version of Trunkline; remove it",
        ]
    );
    let warned: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warned,
        ["16:5: configs.support.cache: no effect in this version: every request goes upstream"]
    );
}

#[test]
fn a_variable_as_a_shell_writes_it_is_warned_of_and_not_shown() {
    let text = "virtual_keys: { a: { provider: openai, api_key: $OPENAI_API_KEY } }";
    let checked = check(text, Variables::Lookup(&environment));
    assert!(checked.config.is_some());
    let warned: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    let expected = "1:40: virtual_keys.a.api_key: is taken as it stands, with its dollar: write ${NAME} for a \
                    variable, $$ for a dollar";
    assert_eq!(warned, [expected]);
}

/// The example without what this version lacks.
fn implemented() -> String {
    let lacks = |line: &&str| !line.starts_with("cache:") && !line.contains("requests: 600/min");
    let text: Vec<&str> = EXAMPLE.lines().filter(lacks).collect();
    text.join("\n")
}

#[test]
fn the_documented_example_compiles() {
    let config = good(&implemented());
    assert_eq!(config.listen.to_string(), "0.0.0.0:8787");
    assert!(config.tls.is_some());
    assert!(!config.open);
    assert_eq!(config.workers, Workers::Auto);
    let admin = config.admin.as_ref().expect("admin is on");
    assert_eq!(admin.token.as_ref().expect("a token").reveal(), "admin-secret");
    let names: Vec<&str> = config.virtual_keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["openai-prod", "claude", "house-vllm"]);
    let vllm = &config.virtual_keys[2];
    assert_eq!((vllm.base.host.as_str(), vllm.base.port, vllm.base.tls), ("10.0.0.7", 8000, false));
    assert_eq!((vllm.base.path.as_str(), vllm.base.authority.as_str()), ("/v1", "10.0.0.7:8000"));
    assert_eq!(vllm.models, ["llama-*"]);
    assert_eq!(config.virtual_keys[0].base.authority, "api.openai.com");
    let support = &config.configs[0].policy;
    let second = leaf(&support.root, &[1]);
    assert_eq!(second.virtual_key, Some(config.virtual_key_ids["claude"]));
    assert_eq!(second.retry.attempts, 2);
    assert_eq!(second.override_params, [("model".into(), "\"claude-sonnet-4-5\"".into())]);
    let key = &config.api_keys[0];
    assert_eq!(key.config, Some(config.config_ids["support"]));
    assert_eq!(key.metadata, [("team".to_owned(), "support".to_owned())]);
    assert_eq!(key.allow.models.as_deref(), Some(&["gpt-*".to_owned(), "claude-*".to_owned()][..]));
    assert_eq!(config.api_key_ids[&key.sha256].0, 0);
    let log = config.log.as_ref().expect("the log is on");
    assert_eq!(log.retain_for, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!((log.sync_every, log.on_full), (Duration::from_millis(200), OnFull::Drop));
    assert_eq!(config.timeouts.first_byte, Duration::from_secs(600));
    assert_eq!(config.limits.upload_bytes, 1 << 30);
    assert_eq!((config.limits.memory_bytes, config.limits.in_flight), (2 << 30, None));
}

#[test]
fn ceilings_and_what_is_slow_are_set() {
    let config = good("limits: { in_flight: 500, memory: 64MiB }\nslow_request: 2500ms");
    assert_eq!((config.limits.memory_bytes, config.limits.in_flight), (64 << 20, Some(500)));
    assert_eq!(config.slow_request, Some(Duration::from_millis(2500)));
    assert_eq!(good("slow_request: off").slow_request, None);
    assert_eq!(good("limits: { in_flight: auto }").limits.in_flight, None);
}

#[test]
fn an_empty_file_is_the_same_as_none() {
    let (empty, none) = (good("# nothing\n"), Config::open_defaults());
    assert_eq!(empty.digest, none.digest);
    assert!(none.open && none.open_on_loopback());
    assert_eq!(none.listen.to_string(), "127.0.0.1:8787");
}

#[test]
fn a_proxy_of_variables_that_come_out_empty_is_none() {
    for text in [
        "egress_proxy: \"${NONE:-}\"",
        "egress_proxy: ${NONE:-}",
        "egress_proxy: { url: \"${NONE:-}\", no_proxy: [a.example] }",
    ] {
        assert!(good(text).edge.egress_proxy.is_none(), "{text}");
    }
    assert!(good("egress_proxy: ${NONE:-http://proxy:3128}").edge.egress_proxy.is_some());
    let literal = check("egress_proxy: \"\"", Variables::Lookup(&environment));
    assert_eq!(literal.mistakes.len(), 1, "nothing at all was written, which says nothing");
}

#[test]
fn proxies_that_are_everybody_are_warned_of() {
    let text = "trusted_proxies: [10.0.0.0/8, 0.0.0.0/0, \"::/0\", \"::ffff:0.0.0.0/96\"]";
    let checked = check(text, Variables::Lookup(&environment));
    let places: Vec<&str> = checked.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(places, ["trusted_proxies[1]", "trusted_proxies[2]", "trusted_proxies[3]"]);
    assert!(checked.warnings[0].message.starts_with("believes every client"));
    assert!(checked.config.is_some());
}

#[test]
fn json_is_read_as_yaml() {
    let config =
        good(r#"{"listen": "localhost:1", "workers": [2, 3], "log": "off", "admin": "off"}"#);
    assert_eq!(config.listen.to_string(), "127.0.0.1:1");
    assert_eq!(config.workers, Workers::Cores(vec![2, 3]));
    assert!(config.log.is_none() && config.admin.is_none());
}

#[test]
fn variables_stand_for_text_and_for_numbers() {
    let config = good(
        "workers: ${CORES}\nstate: ${NONE:-/var}/$$x\nvirtual_keys: { a: { provider: openai, api_key: \"${KEY}\" } }",
    );
    assert_eq!(config.workers, Workers::Count(4));
    assert_eq!(config.state.to_str(), Some("/var/$x"));
    assert_eq!(config.virtual_keys[0].credential.as_ref().expect("a key").reveal(), "sk-secret");
}

#[test]
fn a_variable_cannot_change_the_structure() {
    let lookup = |_: &str| Some("x\nauth: open".to_owned());
    let checked = check("state: ${ANY}", Variables::Lookup(&lookup));
    let config = checked.config.expect("a strange path, but a path");
    assert_eq!(config.state.to_str(), Some("x\nauth: open"));
}

#[test]
fn without_variables_any_value_may_stand_for_them() {
    let text = "listen: ${A}\nworkers: ${B}\nlog: ${C}\nlimits: { body: \"${D}\" }\n\
        virtual_keys: { a: { provider: \"${E}\", api_key: \"${F}\", base_url: \"${G}\" } }\n\
        configs: { c: { virtual_key: \"${H}\" }, d: { provider: \"${P}\" } }\n\
        api_keys: [ { name: x, key_sha256: \"${I}\", config: \"${J}\", expires: \"${K}\" } ]";
    assert_eq!(check(text, Variables::Unknown).mistakes, []);
    let missing = check(text, Variables::Lookup(&|_| None)).mistakes;
    assert_eq!(missing.len(), 12, "{missing:#?}");
    assert!(missing.iter().all(|m| m.message.contains("is not set")), "{missing:#?}");
}

#[test]
fn an_open_port_beyond_loopback_must_be_said() {
    assert!(good("listen: 0.0.0.0:1\nauth: open").open);
    assert!(!good("listen: 0.0.0.0:1\nauth: open").open_on_loopback());
    let key = "api_keys: [ { name: a, key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 } ]";
    assert!(!good(&format!("listen: 0.0.0.0:1\n{key}")).open);
    assert!(good(&format!("listen: 0.0.0.0:1\nauth: open\n{key}")).open);
}

#[test]
fn api_keys_expire_and_may_be_confined() {
    let config = good(
        "virtual_keys: { a: { provider: openai, api_key: k }, b: { provider: groq, api_key: k } }\n\
         configs: { c: { virtual_key: a }, d: { virtual_key: b } }\n\
         api_keys: [ { name: x, key_sha256: 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08, \
           expires: 2027-01-31T01:00:00+01:00, \
           allow: { configs: [d], virtual_keys: [b], providers: [groq], inline: false } } ]",
    );
    let key = &config.api_keys[0];
    assert_eq!(key.expires.expect("it expires").seconds(), 1_801_353_600);
    assert_eq!(key.allow.configs, Some(vec![config.config_ids["d"]]));
    assert_eq!(key.allow.virtual_keys, Some(vec![config.virtual_key_ids["b"]]));
    assert_eq!(key.allow.inline, Some(false));
    assert_eq!((&key.allow.models, &key.config), (&None, &None));
}

#[test]
fn what_asks_for_nothing_may_stay() {
    good(
        "cache: null\ncors: { origins: [] }\ntrusted_proxies: []\nprices: { file: null, unpriced: allow }\n\
         api_keys: []\nlimits: { memory: null }\nlog: { retention: { days: null } }",
    );
}

#[test]
fn digests_differ_exactly_where_configurations_do() {
    let base =
        "virtual_keys: { a: { provider: openai, api_key: k } }\nconfigs: { c: { virtual_key: a } }";
    let digest = |text: &str| good(text).digest;
    let same = [
        base.to_owned(),
        format!("# a comment\n{base}\n"),
        format!("listen: 127.0.0.1:8787\nlog: {{ dir: ./log }}\n{base}"),
        base.replace("provider: openai, api_key: k", "api_key: k, provider: openai"),
        base.replace("api_key: k", "api_key: rotated"),
    ];
    for text in &same {
        assert_eq!(digest(text), digest(base), "{text}");
    }
    let mut digests: Vec<[u8; 32]> = [
        base.to_owned(),
        format!("listen: 127.0.0.1:1\n{base}"),
        format!("auth: open\nlimits: {{ body: 1MiB }}\n{base}"),
        base.replace("openai", "anthropic"),
        base.replace("api_key: k", "api_key: k, models: [x]"),
        base.replace("c: {", "d: {"),
        base.replace("virtual_key: a", "virtual_key: a, retry: { attempts: 1 }"),
        base.replace("virtual_key: a", "virtual_key: a, override_params: { model: m }"),
        format!("timeouts: {{ idle: 1s }}\n{base}"),
        format!("custom_hosts: {{ allow_private: true }}\n{base}"),
        format!("log: off\n{base}"),
        format!("trusted_proxies: [10.0.0.0/8]\n{base}"),
        format!("cors: {{ origins: ['*'] }}\n{base}"),
        format!("cors: {{ origins: [https://a.example] }}\n{base}"),
        format!("egress_proxy: http://proxy:3128\n{base}"),
        format!("egress_proxy: http://user:x@proxy:3128\n{base}"),
        format!("egress_proxy: {{ url: 'http://proxy:3128', no_proxy: [a] }}\n{base}"),
    ]
    .iter()
    .map(|text| digest(text))
    .collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 17);
}

#[test]
fn secrets_are_shown_nowhere() {
    let config = good(
        "admin: { token: hush-1 }\nvirtual_keys: { a: { provider: openai, api_key: hush-2 } }\n\
         configs: { c: { provider: openai, api_key: hush-3, aws_secret_access_key: hush-4 } }\n\
         egress_proxy: http://hush-5:hush-6@proxy:3128",
    );
    for shown in
        [format!("{config:?}"), format!("{config:#?}"), config.without_secrets().to_string()]
    {
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("openai"), "{shown}");
    }
}

#[test]
fn the_schema_describes_every_key_that_the_checker_reads() {
    let schema = schema();
    let keys = |pointer: &str| -> Vec<String> {
        let object = schema.pointer(pointer).and_then(|v| v.as_object()).expect(pointer);
        object.keys().cloned().collect()
    };
    for key in keys("/properties") {
        let text = format!("{key}: null");
        assert_eq!(check(&text, Variables::Unknown).mistakes, [], "{key}");
    }
    for key in keys("/$defs/config/properties") {
        let text = format!("configs: {{ c: {{ provider: ollama, {key}: null }} }}");
        let found = check(&text, Variables::Unknown).mistakes;
        assert!(found.iter().all(|m| !m.message.contains("no such key")), "{key}: {found:?}");
    }
    for key in keys("/$defs/virtual_key/properties") {
        let text = format!("virtual_keys: {{ c: {{ provider: ollama, {key}: null }} }}");
        let found = check(&text, Variables::Unknown).mistakes;
        assert!(found.iter().all(|m| !m.message.contains("no such key")), "{key}: {found:?}");
    }
    for key in trunkline::config::check::TOP_KEYS {
        assert!(schema["properties"].get(key).is_some(), "{key} is missing from the schema");
        let description = &schema["properties"][key]["description"];
        assert!(description.as_str().is_some_and(|d| d.ends_with('.')), "{key}: {description}");
    }
}
