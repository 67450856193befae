//! Bad virtual keys and API keys, and the exact messages that they earn.

use super::mistakes::all_are_told;

#[test]
fn of_virtual_keys_and_api_keys() {
    all_are_told(KEYS);
}

const KEYS: &[(&str, &[&str])] = &[
    (
        "virtual_keys: [a]",
        &[
            "1:15: virtual_keys: expected a map, found a list; write e.g. { openai: { provider: openai, api_key: \"${OPENAI_API_KEY}\" } }",
        ],
    ),
    (
        "virtual_keys: { a: openai }",
        &[
            "1:20: virtual_keys.a: expected a map, found \"openai\"; write e.g. { provider: openai, api_key: \"${OPENAI_API_KEY}\" }",
        ],
    ),
    (
        "virtual_keys: { a: { provider: opnai, api_key: k } }",
        &[
            "1:32: virtual_keys.a.provider: there is no provider \"opnai\" in this version; did you mean \"openai\"?",
        ],
    ),
    (
        "virtual_keys: { a: { provider: nonesuch, api_key: k } }",
        &[
            "1:32: virtual_keys.a.provider: there is no provider \"nonesuch\" in this version; for a server that speaks OpenAI's format write openai-compatible",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai } }",
        &[
            "1:20: virtual_keys.a.api_key: missing; write the provider's key, or ${NAME} for a variable that holds it",
        ],
    ),
    (
        "virtual_keys: { a: { api_key: k } }",
        &["1:20: virtual_keys.a.provider: missing; write e.g. provider: openai"],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: 123456 } }",
        &["1:49: virtual_keys.a.api_key: expected text, found a number; put it in quotes"],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: \"sk-1\\n\" } }",
        &[
            "1:49: virtual_keys.a.api_key: holds a space, a line end or a character that no header may carry; check what was pasted",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: \"${NOPE}\" } }",
        &[
            "1:49: virtual_keys.a.api_key: the variable NOPE is not set; set it, or write ${NOPE:-default}",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: \"${EMPTY}\" } }",
        &[
            "1:49: virtual_keys.a.api_key: is empty; write the credential, or ${NAME} for a variable that holds it",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: \"${KEY\" } }",
        &["1:49: virtual_keys.a.api_key: `${` without `}`; write $$ for a dollar"],
    ),
    (
        "virtual_keys: { a: { provider: openai-compatible } }",
        &[
            "1:20: virtual_keys.a.base_url: missing; this provider has no address of its own; write e.g. https://host/v1",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai-compatible, base_url: \"ftp://x\" } }",
        &["1:61: virtual_keys.a.base_url: only http:// and https:// URLs lead to a provider"],
    ),
    (
        "virtual_keys: { a: { provider: openai-compatible, base_url: \"http://u:pw@x/v1\" } }",
        &[
            "1:61: virtual_keys.a.base_url: a URL may not carry a user name or password; use api_key",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai-compatible, base_url: \"http://x/v1?a=b\" } }",
        &["1:61: virtual_keys.a.base_url: a base URL has no query and no fragment"],
    ),
    (
        "virtual_keys: { a: { provider: openai-compatible, base_url: \"http://x:0/\" } }",
        &["1:61: virtual_keys.a.base_url: the URL names no host or no usable port"],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, apikey: k } }",
        &["1:52: virtual_keys.a.apikey: there is no such key; did you mean \"api_key\"?"],
    ),
    (
        "virtual_keys: { \"a/b\": { provider: openai, api_key: k } }",
        &["1:17: virtual_keys.a/b: a name is 1 to 128 letters, digits, `-`, `_` and `.`"],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, models: gpt-4o } }",
        &["1:60: virtual_keys.a.models: expected a list of model names in [ ], found \"gpt-4o\""],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, aws_region: eu-west-1, limits: {cost: 1} } }",
        &[
            "1:52: virtual_keys.a.aws_region: not in this version of Trunkline; remove it",
            "1:75: virtual_keys.a.limits: not in this version of Trunkline; remove it",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, allow_custom_host: [\"http://x\"] } }",
        &[
            "1:72: virtual_keys.a.allow_custom_host[0]: expected a host, or host:port, found \"http://x\"; write e.g. llm.example.com",
        ],
    ),
    (
        "virtual_keys: { a: { provider: \"${KEY}\", api_key: k } }",
        &[
            "1:32: virtual_keys.a.provider: there is no provider \"${KEY}\" in this version; for a server that speaks OpenAI's format write openai-compatible",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, api_keys: [k, { key: l, weight: -1 }, { weight: 2 }, k] }, b: { provider: openai, api_keys: [] }, c: { provider: openai, api_keys: [ { key: k, weight: 0 } ] } }",
        &[
            "1:52: virtual_keys.a.api_keys: stands beside api_key; put that one into the list",
            "1:84: virtual_keys.a.api_keys[1].weight: expected a number of 0 or more, found -1; write e.g. 0.5",
            "1:90: virtual_keys.a.api_keys[2].key: missing; write the provider's key, or ${NAME}",
            "1:105: virtual_keys.a.api_keys[3]: this credential is listed twice; give one of them the weight",
            "1:144: virtual_keys.b.api_keys: expected a list of credentials, found a list; write e.g. [\"${KEY_A}\", \"${KEY_B}\"]",
            "1:183: virtual_keys.c.api_keys: every weight is 0: none would be used; give one a weight above 0",
        ],
    ),
    (
        "api_keys: [ { name: t } ]",
        &["1:13: api_keys[0].key_sha256: missing; make one with `trunkline key new`"],
    ),
    (
        "api_keys: [ { key_sha256: abc, name: t } ]",
        &[
            "1:27: api_keys[0].key_sha256: expected 64 hexadecimal digits, found text; make them with `trunkline key new` or `trunkline key hash`",
        ],
    ),
    (
        "api_keys: { a: 1 }",
        &["1:11: api_keys: expected a list of API keys, each `- name: …`, found a map"],
    ),
    (
        "api_keys: [ { name: t, key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 }, { name: t, key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 } ]",
        &[
            "1:112: api_keys[1].name: a second API key of the name \"t\"; rename one",
            "1:127: api_keys[1].key_sha256: this key is listed twice; make another with `trunkline key new`",
        ],
    ),
    (
        "configs: { support: { provider: openai, api_key: k } }\napi_keys: [ { name: t, key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, config: suport, expires: tomorrow, metadata: { a: 1 }, limits: { cost: 1 }, allow: { configs: [x], virtual_keys: y, providers: [opnai], inline: maybe, model: [] } } ]",
        &[
            "2:110: api_keys[0].config: there is no config \"suport\"; did you mean \"support\"?",
            "2:127: api_keys[0].expires: expected a date and time (RFC 3339), found \"tomorrow\"; write e.g. 2027-01-31T00:00:00Z",
            "2:152: api_keys[0].metadata.a: expected text, found 1; put it in quotes",
            "2:157: api_keys[0].limits: not in this version of Trunkline; remove it",
            "2:197: api_keys[0].allow.configs[0]: there is no config \"x\"",
            "2:215: api_keys[0].allow.virtual_keys: expected a list of names in [ ], found \"y\"",
            "2:230: api_keys[0].allow.providers[0]: there is no provider \"opnai\"; did you mean \"openai\"?",
            "2:246: api_keys[0].allow.inline: expected true or false, found \"maybe\"",
            "2:253: api_keys[0].allow.model: there is no such key; did you mean \"models\"?",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, ca: 5, models: [1] } }",
        &[
            "1:56: virtual_keys.a.ca: expected the path of a PEM file, found 5; put it in quotes",
            "1:68: virtual_keys.a.models[0]: expected a model name, found 1; put it in quotes",
        ],
    ),
    (
        "virtual_keys: { a: { provider: sk-live-123456, api_key: k } }",
        &[
            "1:32: virtual_keys.a.provider: there is no provider \"…\" (not shown: it looks like a key) in this version; for a server that speaks OpenAI's format write openai-compatible",
        ],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k, anthropic_version: 2023 } }",
        &["1:71: virtual_keys.a.anthropic_version: expected text, found 2023; put it in quotes"],
    ),
    (
        "virtual_keys: { a: { provider: openai, api_key: k }, a: { provider: openai, api_key: k } }",
        &["1:54: virtual_keys.a: stands here twice; keep one of them"],
    ),
    (
        "api_keys: [ { name: \"\", key_sha256: zz } ]",
        &[
            "1:21: api_keys[0].name: expected a name, found \"\"",
            "1:37: api_keys[0].key_sha256: expected 64 hexadecimal digits, found text; make them with `trunkline key new` or `trunkline key hash`",
        ],
    ),
    (
        "api_keys: [ 5 ]",
        &[
            "1:13: api_keys[0]: expected a map, found 5; write e.g. { name: app, key_sha256: HASH } as `trunkline key new` prints it",
        ],
    ),
];
