//! Bad config objects of a file, and the exact messages that they earn.

use super::mistakes::all_are_told;

#[test]
fn of_config_objects() {
    all_are_told(CONFIGS);
}

const CONFIGS: &[(&str, &[&str])] = &[
    (
        "configs: { c: { virtual_key: nope } }",
        &["1:30: configs.c.virtual_key: there is no virtual key \"nope\""],
    ),
    (
        "configs: { c: { provider: openai } }",
        &[
            "1:15: configs.c: names a provider but no credential; write virtual_key: NAME instead, or add api_key",
        ],
    ),
    (
        "configs: { c: { weight: 1 } }",
        &["1:15: configs.c: names no provider; write virtual_key: NAME, or strategy and targets"],
    ),
    (
        "configs: { c: { strategy: { mode: fallback }, targets: [ { virtual_key: a, weight: heavy } ] } }\nvirtual_keys: { a: { provider: openai, api_key: k } }",
        &[
            "1:84: configs.c.targets[0].weight: expected a number of 0 or more, found \"heavy\"; write e.g. 0.5",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: round-robin }, targets: [ { provider: openai, api_key: k } ] } }",
        &[
            "1:35: configs.c.strategy.mode: expected single, fallback, loadbalance, conditional or latency, found \"round-robin\"",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: loadbalance, sticky: { enabled: true, hash_fields: [user], ttl: 0 }, cb_config: { cooldown_interval: 100, failure_treshold: 1 } }, targets: [ { provider: openai, api_key: k } ], affinity: {} } }",
        &[
            "1:87: configs.c.strategy.sticky.hash_fields[0]: expected metadata.NAME, params.NAME, url.pathname or conversation, found \"user\"; write e.g. metadata.user_id",
            "1:99: configs.c.strategy.sticky.ttl: expected a number from 1 to 31536000, found 0; write e.g. 3600 (seconds)",
            "1:115: configs.c.strategy.cb_config.failure_threshold: missing; write e.g. failure_threshold: 5",
            "1:136: configs.c.strategy.cb_config.cooldown_interval: expected a number from 30000 to 86400000, found 100; write e.g. 30000 (milliseconds)",
            "1:141: configs.c.strategy.cb_config.failure_treshold: there is no such key; did you mean \"failure_threshold\"?",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: fallback }, affinity: { prefix_bytes: 1 }, targets: [ { provider: openai, api_key: k, affinity: { fields: [conversation] } } ] } }",
        &[
            "1:47: configs.c.affinity: belongs beside strategy: { mode: loadbalance }",
            "1:121: configs.c.targets[0].affinity: belongs beside strategy: { mode: loadbalance }",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: latency, sticky: { enabled: true, hash_fields: [metadata.u] } }, affinity: { prefix_bytes: 1 }, targets: [ { provider: openai, api_key: k, drop_params: [a.b.., 7], default_params: [] } ] } }",
        &[
            "1:100: configs.c.affinity: stands beside another way to choose; keep one",
            "1:126: configs.c.affinity.prefix_bytes: expected a number from 16 to 65536, found 1; write e.g. 4096",
            "1:188: configs.c.targets[0].drop_params[0]: expected a path into the body, at most 8 steps, found \"a.b..\"; write e.g. messages[*].name",
            "1:195: configs.c.targets[0].drop_params[1]: expected a path into the body, at most 8 steps, found 7; write e.g. messages[*].name",
            "1:215: configs.c.targets[0].default_params: expected a map, found a list",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: fallback } } }",
        &["1:15: configs.c.targets: missing; a strategy chooses among targets: list them"],
    ),
    (
        "configs: { c: { targets: [ { provider: openai, api_key: k } ] } }",
        &[
            "1:15: configs.c.strategy: missing; say how targets are chosen; write e.g. strategy: { mode: fallback }",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: single }, targets: [] } }",
        &["1:54: configs.c.targets: has no targets; list at least one"],
    ),
    (
        "configs: { c: { strategy: { mode: loadbalance }, targets: [ { provider: openai, api_key: k, weight: 0 } ] } }",
        &[
            "1:59: configs.c.targets: every weight is 0: none could be drawn; give one a weight above 0",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, retry: { attempts: 11, on_status_codes: [42, x] } } }",
        &[
            "1:66: configs.c.retry.attempts: expected a number of extra tries from 0 to 10, found 11; write e.g. 2",
            "1:88: configs.c.retry.on_status_codes[0]: expected an HTTP status from 100 to 599, found 42; write e.g. 429",
            "1:92: configs.c.retry.on_status_codes[1]: expected an HTTP status from 100 to 599, found \"x\"; write e.g. 429",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, retry: { on_status_codes: 429 } } }",
        &[
            "1:54: configs.c.retry.attempts: missing; write the number of extra tries, e.g. attempts: 2",
            "1:73: configs.c.retry.on_status_codes: expected a list of HTTP statuses, found 429; write e.g. [429, 503]",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, request_timeout: 5s, timeouts: { total: 5 } } }",
        &[
            "1:64: configs.c.request_timeout: expected a number of milliseconds of 0 or more, found \"5s\"; write e.g. 10000",
            "1:87: configs.c.timeouts.total: expected a span of time, found 5; write e.g. 200ms, 5s, 10m, 1h or 30d",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, hedge: { after: soon, max_ratio: 2 } } }",
        &[
            "1:63: configs.c.hedge.after: expected a span of time, found \"soon\"; write e.g. 200ms, 5s, 10m, 1h or 30d",
            "1:80: configs.c.hedge.max_ratio: expected a number from 0.001 to 1, found 2; write e.g. 0.05",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, hedge: { max_ratio: 0.1, afer: 1s } } }",
        &[
            "1:54: configs.c.hedge.after: missing; write e.g. after: 800ms, or after: p95",
            "1:72: configs.c.hedge.afer: there is no such key; did you mean \"after\"?",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, mirror: { sample: 1.5, target: { strategy: { mode: single }, retry: { attempts: 1 } } } } }",
        &[
            "1:65: configs.c.mirror.sample: expected a number from 0 to 1, found 1.5; write e.g. 0.1",
            "1:80: configs.c.mirror.target.strategy: a mirror goes to one target, once; remove it",
            "1:108: configs.c.mirror.target.retry: a mirror goes to one target, once; remove it",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, mirror: { sample: 1 } } }",
        &["1:55: configs.c.mirror.target: missing; write e.g. target: { virtual_key: NAME }"],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, input_guardrails: [x], keep_alive: 15s, passthrough: true } }",
        &[
            "1:66: configs.c.input_guardrails[0]: is the name of a guardrail that Portkey keeps; write its checks here",
            "1:70: configs.c.keep_alive: not in this version of Trunkline; remove it",
            "1:87: configs.c.passthrough: not in this version of Trunkline; remove it",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, overide_params: {} } }",
        &[
            "1:47: configs.c.overide_params: there is no such key; did you mean \"override_params\"?",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, forward_headers: [host, \"a b\", x-portkey-forward-headers] } }",
        &[
            "1:15: configs.c: forward_headers must not contain the 'x-portkey-forward-headers' header",
            "1:65: configs.c.forward_headers[0]: host is never passed on; remove it",
            "1:71: configs.c.forward_headers[1]: expected the name of a header, at most 64 of them, found \"a b\"",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, custom_host: x } }",
        &["1:60: configs.c.custom_host: it is not a URL; write e.g. https://host/v1"],
    ),
    (
        "configs: { c: { options: [ { provider: openai } ] } }",
        &[
            "1:17: configs.c.options: this is the first form of Portkey's configs; write strategy and targets",
        ],
    ),
    (
        "configs: { c: { provider: anthropic, virtual_key: a } }\nvirtual_keys: { a: { provider: openai, api_key: k } }",
        &["1:27: configs.c.provider: the virtual key \"a\" is for openai"],
    ),
    (
        "configs: { c: { api_key: k, virtual_key: a } }\nvirtual_keys: { a: { provider: openai, api_key: k } }",
        &["1:26: configs.c.api_key: stands beside a virtual key, which has its own; keep one"],
    ),
    (
        "configs: { c: { provider: \"@b\" } }\nvirtual_keys: { a: { provider: openai, api_key: k } }",
        &["1:27: configs.c.provider: there is no virtual key \"@b\""],
    ),
    (
        "configs: { c: { virtual_key: b, override_params: { model: \"@a/m\" } } }\nvirtual_keys: { a: { provider: openai, api_key: k }, b: { provider: openai, api_key: k } }",
        &[
            "1:15: configs.c: virtual_key, provider and override_params.model name different virtual keys; name one",
        ],
    ),
    (
        "configs: { c: { strategy: { mode: fallback, on_status_codes: 500 }, targets: {} } }",
        &[
            "1:62: configs.c.strategy.on_status_codes: expected a list of HTTP statuses, found 500; write e.g. [429, 503]",
            "1:78: configs.c.targets: expected a list of targets, found a map",
        ],
    ),
    (
        "configs: { c: { strategy: fallback, targets: [5] } }",
        &[
            "1:27: configs.c.strategy: expected a map, found \"fallback\"; write e.g. { mode: fallback }",
            "1:47: configs.c.targets[0]: expected a map, found 5; write e.g. { virtual_key: NAME }",
        ],
    ),
    (
        "configs: { c: [] }",
        &["1:15: configs.c: expected a map, found a list; write e.g. { virtual_key: NAME }"],
    ),
    (
        "configs: { c: { provider: openai, api_key: 5 } }",
        &["1:44: configs.c.api_key: expected text, found a number; put it in quotes"],
    ),
    (
        "configs: { c: { provider: openai-compatible, api_key: k } }",
        &[
            "1:15: configs.c.custom_host: missing; this provider has no address of its own; write e.g. https://host/v1",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, override_params: [] } }",
        &[
            "1:64: configs.c.override_params: expected a map, found a list; write e.g. { model: gpt-4o-mini }",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, custom_host: \"http://u:hunter2@x\" } }",
        &["1:60: configs.c.custom_host: a URL may not carry a user name or password; use api_key"],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, cache: { mode: magic } } }",
        &["1:62: configs.c.cache.mode: expected simple or semantic, found \"magic\""],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, aws_region: EU.evil.com, strict_open_ai_compliance: no } }",
        &[
            "1:59: configs.c.aws_region: expected a part of a host name: lower-case letters, digits and hyphens, found \"EU.evil.com\"",
            "1:99: configs.c.strict_open_ai_compliance: expected true or false, found \"no\"",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, weight: -1, name: 5 } }",
        &[
            "1:55: configs.c.weight: expected a number of 0 or more, found -1; write e.g. 0.5",
            "1:65: configs.c.name: expected a name, found 5",
        ],
    ),
    (
        "configs: { c: { provider: openai, api_key: k, retry: { attempts: 2, jiter: false } } }",
        &["1:69: configs.c.retry.jiter: there is no such key; did you mean \"jitter\"?"],
    ),
];
