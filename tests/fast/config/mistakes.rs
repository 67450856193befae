//! Bad files and the exact messages that they earn, all at once: what is wrong with the whole or a section of settings.

use trunkline::config::{check::check, variables::Variables};

use super::environment;

/// Every file is refused with exactly these messages, and shows no secret in them.
pub fn all_are_told(bad: &[(&str, &[&str])]) {
    for (text, expected) in bad {
        let checked = check(text, Variables::Lookup(&environment));
        let found: Vec<String> = checked.mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(&found, expected, "\n{text}");
        assert!(checked.config.is_none(), "a file with mistakes was accepted:\n{text}");
        assert!(!format!("{checked:?}").contains("sk-secret"), "a secret was shown:\n{text}");
    }
}

#[test]
fn of_the_file_and_its_sections() {
    all_are_told(SECTIONS);
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

const SECTIONS: &[(&str, &[&str])] = &[
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
    (
        "tls: yes",
        &[
            "1:6: tls: expected a map, found \"yes\"; write e.g. { cert: server.pem, key: server.key }",
        ],
    ),
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
];
