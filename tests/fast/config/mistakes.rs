//! Bad files and the exact messages that they earn, all at once.

use trunkline::config::{check::check, variables::Variables};

use super::environment;

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_write() {
    for (text, expected) in BAD {
        let checked = check(text, Variables::Lookup(&environment));
        let found: Vec<String> = checked.mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(&found, expected, "\n{text}");
        assert!(checked.config.is_none(), "a file with mistakes was accepted:\n{text}");
        assert!(!format!("{checked:?}").contains("sk-secret"), "a secret was shown:\n{text}");
    }
}

#[test]
fn mistakes_are_bounded() {
    let text = "x: 1\n".repeat(5000);
    assert_eq!(check(&text, Variables::Unknown).mistakes.len(), 1000);
}

#[test]
fn arbitrary_bytes_of_yaml_never_panic() {
    let whole = include_str!("example.yaml");
    for cut in (0..whole.len()).step_by(7).filter(|&cut| whole.is_char_boundary(cut)) {
        let _ = check(&whole[..cut], Variables::Unknown);
        let _ = check(&whole[cut..], Variables::Unknown);
    }
}

const BAD: &[(&str, &[&str])] = &[
    ("a: [1\nb: 2", &["2:2: this cannot be read as YAML: illegal placement of ':' indicator"]),
    ("- 1", &["1:1: expected a map, found a list"]),
    ("lisen: 127.0.0.1:1", &["1:1: lisen: there is no such key; did you mean \"listen\"?"]),
    (
        "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2",
        &["2:1: listen: stands here twice; keep one of them"],
    ),
    (
        "listen: 8787",
        &[
            "1:9: listen: expected an address and a port to listen on, found 8787; write e.g. 127.0.0.1:8787, 0.0.0.0:8787 or [::]:8787",
        ],
    ),
    (
        "listen: example.com",
        &[
            "1:9: listen: expected an address and a port to listen on, found \"example.com\"; write e.g. 127.0.0.1:8787, 0.0.0.0:8787 or [::]:8787",
        ],
    ),
    (
        "listen: 0.0.0.0:8787",
        &[
            "1:9: listen: without API keys anyone who reaches this address could spend your credentials: define api_keys (`trunkline key new` makes one), listen on 127.0.0.1, or write auth: open",
        ],
    ),
    (
        "listen: 127.0.0.1:8788",
        &["1:9: listen: listen and admin.listen are the same; give admin another port"],
    ),
    ("tls: { cert: a.pem }", &["1:6: tls.key: missing; write the path of a PEM file"]),
    ("tls: yes", &["1:6: tls: expected a map, found \"yes\""]),
    (
        "admin: { listen: 0.0.0.0:8788 }",
        &[
            "1:18: admin.listen: the admin port is not on loopback: set admin.token as well",
            "1:18: admin.listen: the admin port has no TLS and is not on loopback: listen on 127.0.0.1, or accept the risk with insecure: true",
        ],
    ),
    (
        "admin: { metrics: public }",
        &["1:19: admin.metrics: expected open or token, found \"public\""],
    ),
    (
        "admin: on",
        &[
            "1:8: admin: expected a map, or off, found \"on\"; write e.g. { listen: 127.0.0.1:8788 }",
        ],
    ),
    ("workers: 0", &["1:10: workers: expected a whole number from 1 to 1024, found 0"]),
    (
        "workers: many",
        &[
            "1:10: workers: expected auto, a number of workers, or a list of cores, found \"many\"; write e.g. auto",
        ],
    ),
    (
        "workers: [0, 1, 0]",
        &["1:17: workers[2]: this core is named twice; one worker runs on a core"],
    ),
    ("state: 5", &["1:8: state: expected the path of a directory, found 5; put it in quotes"]),
    (
        "auth: closed",
        &[
            "1:7: auth: expected open, found \"closed\"; leave auth out to demand API keys once any are defined",
        ],
    ),
    (
        "log: { sync: 200 }",
        &[
            "1:14: log.sync: expected a span of time, found 200; write e.g. 200ms, 5s, 10m, 1h or 30d",
        ],
    ),
    (
        "log: { sync: 5m }",
        &["1:14: log.sync: expected a span of time from 1ms to 1m, found \"5m\""],
    ),
    (
        "log: { retention: { days: 1.5, size: big } }",
        &[
            "1:27: log.retention.days: expected a whole number from 1 to 36500, found 1.5",
            "1:38: log.retention.size: expected a size, found \"big\"; write e.g. 64KiB, 32MiB or 2GiB",
        ],
    ),
    (
        "log: { on_full: explode, bodies: \"yes\" }",
        &[
            "1:17: log.on_full: expected drop or wait, found \"explode\"",
            "1:34: log.bodies: expected true or false, found \"yes\"",
        ],
    ),
    ("log: true", &["1:6: log: expected a map, or off, found true; write e.g. { dir: ./log }"]),
    (
        "limits: { head: 1MiB, body: 32, upload: 1G, connections: few }",
        &[
            "1:17: limits.head: expected a size from 4KiB to 64KiB, found \"1MiB\"",
            "1:29: limits.body: expected a size, found 32; write e.g. 64KiB, 32MiB or 2GiB",
            "1:41: limits.upload: expected a size, found \"1G\"; write e.g. 64KiB, 32MiB or 2GiB",
            "1:58: limits.connections: expected auto, or a number of connections, found \"few\"; write e.g. 10000",
        ],
    ),
    (
        "limits: { memory: 1MiB, in_flight: 0, reserve: worst }\nslow_request: never",
        &[
            "1:19: limits.memory: expected a size from 16MiB to 1024TiB, found \"1MiB\"",
            "1:36: limits.in_flight: expected a whole number from 1 to 10000000, found 0",
            "1:39: limits.reserve: not in this version of Trunkline; remove it",
            "2:15: slow_request: expected a span of time, found \"never\"; write e.g. 200ms, 5s, 10m, 1h or 30d",
        ],
    ),
    (
        "limits: { body: 1GiB, memory: 1GiB }",
        &[
            "1:31: limits.memory: limits.memory (1073741824 bytes) has no room for one body of limits.body (1073741824 bytes): raise it, or lower limits.body",
        ],
    ),
    (
        "limits: { body: 3GiB }",
        &[
            "1:17: limits.body: limits.memory (2147483648 bytes) has no room for one body of limits.body (3221225472 bytes): raise it, or lower limits.body",
        ],
    ),
    (
        "timeouts: { connect: 0s, idle: 30d, total: soon, read: 5s }",
        &[
            "1:22: timeouts.connect: expected a span of time from 1ms to 1d, found \"0s\"",
            "1:32: timeouts.idle: expected a span of time from 1ms to 1d, found \"30d\"",
            "1:44: timeouts.total: expected a span of time, found \"soon\"; write e.g. 200ms, 5s, 10m, 1h or 30d",
            "1:50: timeouts.read: there is no such key",
        ],
    ),
    (
        "custom_hosts: { trusted: [http://x/], allow_private: 1 }",
        &[
            "1:27: custom_hosts.trusted[0]: expected a host name or address, found \"http://x/\"; write e.g. llm.example.com or *.example.com",
            "1:54: custom_hosts.allow_private: expected true or false, found 1",
        ],
    ),
    (
        "cache: { memory: 256MiB, redis: null }",
        &["1:1: cache: not in this version of Trunkline; remove it"],
    ),
    (
        "trusted_proxies: [10.0.0.1/8, lb.example.com, \"::1/129\", 7, 192.0.2.1]",
        &[
            "1:19: trusted_proxies[0]: expected a network or an address, found \"10.0.0.1/8\"; write 10.0.0.0/8 for the network, or 10.0.0.1 for the address",
            "1:31: trusted_proxies[1]: expected a network or an address, found \"lb.example.com\"; write e.g. 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
            "1:47: trusted_proxies[2]: expected a network or an address, found \"::1/129\"; write e.g. 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
            "1:58: trusted_proxies[3]: expected a network, found 7; put it in quotes",
        ],
    ),
    (
        "trusted_proxies: 10.0.0.0/8",
        &["1:18: trusted_proxies: expected a list of networks in [ ], found \"10.0.0.0/8\""],
    ),
    (
        "cors: { origins: [\"*\", https://app.example.com], methods: [GET] }",
        &[
            "1:18: cors.origins: * stands for all origins; keep it alone, or leave it out",
            "1:50: cors.methods: there is no such key",
        ],
    ),
    (
        "cors: { origins: [https://App.example.com, https://a.example/, a.example, https://a.example:443, \"null\"] }",
        &[
            "1:19: cors.origins[0]: expected an origin as browsers send it, in lower case, without a path or the scheme's own port, found \"https://App.example.com\"; write e.g. https://app.example.com, http://localhost:3000 or *",
            "1:44: cors.origins[1]: expected an origin as browsers send it, in lower case, without a path or the scheme's own port, found \"https://a.example/\"; write e.g. https://app.example.com, http://localhost:3000 or *",
            "1:64: cors.origins[2]: expected an origin as browsers send it, in lower case, without a path or the scheme's own port, found \"a.example\"; write e.g. https://app.example.com, http://localhost:3000 or *",
            "1:75: cors.origins[3]: expected an origin as browsers send it, in lower case, without a path or the scheme's own port, found \"https://a.example:443\"; write e.g. https://app.example.com, http://localhost:3000 or *",
            "1:98: cors.origins[4]: expected an origin as browsers send it, in lower case, without a path or the scheme's own port, found \"null\"; write e.g. https://app.example.com, http://localhost:3000 or *",
        ],
    ),
    (
        "egress_proxy: https://user:hush@proxy:3128",
        &[
            "1:15: egress_proxy: expected the URL of an HTTP proxy without a path, found text; write e.g. http://proxy.example.com:3128 or http://user:${PROXY_PASSWORD}@proxy.example.com:3128",
        ],
    ),
    (
        "egress_proxy: http://proxy:3128/path",
        &[
            "1:15: egress_proxy: expected the URL of an HTTP proxy without a path, found text; write e.g. http://proxy.example.com:3128 or http://user:${PROXY_PASSWORD}@proxy.example.com:3128",
        ],
    ),
    (
        "egress_proxy: \"http://us%3Aer:hush@proxy:3128\"",
        &[
            "1:15: egress_proxy: the user name or password cannot be sent: write them percent-encoded, the name without a colon",
        ],
    ),
    (
        "egress_proxy: { url: \"http://proxy:3128\", no_proxy: [\"http://a\", .corp, 10.0.0.0/99, ok.example], user: x }",
        &[
            "1:54: egress_proxy.no_proxy[0]: expected a host name, *.suffix, an address or a network, found \"http://a\"; write e.g. *.internal, 10.0.0.0/8",
            "1:66: egress_proxy.no_proxy[1]: expected a host name, *.suffix, an address or a network, found \".corp\"; write e.g. *.internal, 10.0.0.0/8",
            "1:73: egress_proxy.no_proxy[2]: expected a host name, *.suffix, an address or a network, found \"10.0.0.0/99\"; write e.g. *.internal, 10.0.0.0/8",
            "1:99: egress_proxy.user: there is no such key",
        ],
    ),
    (
        "egress_proxy: { no_proxy: [] }",
        &["1:15: egress_proxy.url: missing; write e.g. http://proxy.example.com:3128"],
    ),
    (
        "prices: { file: p.json, unpriced: deny }",
        &[
            "1:11: prices.file: not in this version of Trunkline; remove it",
            "1:25: prices.unpriced: not in this version of Trunkline; remove it",
        ],
    ),
    ("virtual_keys: [a]", &["1:15: virtual_keys: expected a map, found a list"]),
    ("virtual_keys: { a: openai }", &["1:20: virtual_keys.a: expected a map, found \"openai\""]),
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
        "listen: 127.0.0.1:99999",
        &[
            "1:9: listen: expected an address and a port to listen on, found \"127.0.0.1:99999\"; write e.g. 127.0.0.1:8787, 0.0.0.0:8787 or [::]:8787",
        ],
    ),
    (
        "listen: [127.0.0.1:1]",
        &[
            "1:9: listen: expected an address and a port to listen on, found a list; write e.g. 127.0.0.1:8787, 0.0.0.0:8787 or [::]:8787",
        ],
    ),
    ("a: &a [x]\nb: *nope", &["2:4: this cannot be read as YAML: alias references unknown anchor"]),
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
        "configs: { c: { strategy: { mode: fallback, on_status_codes: 500 }, targets: {} } }",
        &[
            "1:62: configs.c.strategy.on_status_codes: expected a list of HTTP statuses, found 500; write e.g. [429, 503]",
            "1:78: configs.c.targets: expected a list of targets, found a map",
        ],
    ),
    (
        "configs: { c: { strategy: fallback, targets: [5] } }",
        &[
            "1:27: configs.c.strategy: expected a map, found \"fallback\"",
            "1:47: configs.c.targets[0]: expected a map, found 5",
        ],
    ),
    ("configs: { c: [] }", &["1:15: configs.c: expected a map, found a list"]),
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
        &["1:64: configs.c.override_params: expected a map, found a list"],
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
    (
        "api_keys: [ { name: \"\", key_sha256: zz } ]",
        &[
            "1:21: api_keys[0].name: expected a name, found \"\"",
            "1:37: api_keys[0].key_sha256: expected 64 hexadecimal digits, found text; make them with `trunkline key new` or `trunkline key hash`",
        ],
    ),
    ("api_keys: [ 5 ]", &["1:13: api_keys[0]: expected a map, found 5"]),
];
