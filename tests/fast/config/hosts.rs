//! The guard against requests that lead Trunkline to where only Trunkline can go.

use std::net::{IpAddr, SocketAddr};

use trunkline::config::{
    CustomHosts,
    hosts::{check_address, check_custom_host, check_own_port, is_trusted, parse_origin},
};

fn rules(trusted: &[&str], allow_private: bool) -> CustomHosts {
    CustomHosts { trusted: trusted.iter().map(|&t| t.to_owned()).collect(), allow_private }
}

#[test]
fn hosts_of_providers_pass() {
    for url in [
        "https://api.example.com",
        "https://api.example.com/v1/",
        "http://api.example.com:8080/v1",
        "https://8.8.8.8",
        "https://[2606:4700::1111]/v1",
        "https://API.Example.com",
        "https://a.b.c.d.e.f.g.h.example.com",
        "https://xn--bcher-kva.example",
    ] {
        assert!(check_custom_host(url, &rules(&[], false), false).is_ok(), "{url}");
    }
}

#[test]
fn every_known_trick_is_refused() {
    for url in [
        "ftp://api.example.com",
        "file:///etc/passwd",
        "gopher://x",
        "javascript:alert(1)",
        "//api.example.com",
        "api.example.com",
        "http:api.example.com",
        "https:/api.example.com",
        "https://",
        "https://user:pw@api.example.com",
        "https://user@api.example.com",
        "https://@api.example.com",
        "https://api.example.com@169.254.169.254/",
        "https://api.example.com/@x",
        "https://api.example.com\\@127.0.0.1",
        "https://api.example.com#@127.0.0.1",
        "https://api.example.com?x",
        "https://api.example.com:0",
        "https://api.example.com:65536",
        "https://api.example.com:x",
        "https://api.example.com.",
        "https://api..example.com",
        "https://-api.example.com",
        "https://api-.example.com",
        "https://a_b.example.com",
        "https://a.b.c.d.e.f.g.h.i.example.com",
        "https://bücher.example",
        "https://１２７.0.0.1",
        "https://127。0。0。1",
        "https://api%2eexample.com",
        "https://ap\ti.example.com",
        " https://api.example.com",
        "https://api.example.com\r\nx-evil: 1",
        "https://api.portkey.ai/v1",
        "http://0.0.0.0",
        "http://0",
        "http://127.0.0.1",
        "http://127.1",
        "http://127.0.1",
        "http://127.255.255.254",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://8.8.8.010",
        "http://134744072",
        "http://10.0.0.1",
        "http://172.16.0.1",
        "http://172.31.255.255",
        "http://192.168.1.1",
        "http://100.64.0.1",
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.169.123",
        "http://169.254.1.1",
        "http://100.100.100.200",
        "http://168.63.129.16",
        "http://192.0.0.192",
        "http://198.18.0.1",
        "http://224.0.0.1",
        "http://240.0.0.1",
        "http://255.255.255.255",
        "http://metadata",
        "http://metadata.google.internal",
        "http://metadata.goog",
        "http://instance-data",
        "http://localhost",
        "http://LOCALHOST:11434",
        "http://localhost.",
        "http://app.localhost",
        "http://host.docker.internal",
        "http://printer.local",
        "http://a.localdomain",
        "http://a.internal",
        "http://a.intranet",
        "http://a.lan",
        "http://a.home",
        "http://a.corp",
        "http://a.test",
        "http://a.invalid",
        "http://a.onion",
        "http://[::]",
        "http://[::1]",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://[::127.0.0.1]",
        "http://[::ffff:169.254.169.254]",
        "http://[64:ff9b::7f00:1]",
        "http://[64:ff9b:1::a00:1]",
        "http://[2002:7f00:1::]",
        "http://[2001:0:7f00:1::]",
        "http://[2001:db8::1]",
        "http://[fc00::1]",
        "http://[fd00:ec2::254]",
        "http://[fe80::1]",
        "http://[fe80::1%25eth0]",
        "http://[fec0::1]",
        "http://[ff02::1]",
        "http://[100::1]",
    ] {
        assert!(check_custom_host(url, &rules(&[], false), false).is_err(), "{url:?} passed");
    }
}

#[test]
fn one_own_machine_is_trusted_only_while_open_on_loopback() {
    for url in [
        "http://localhost:11434",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000",
        "http://host.docker.internal:1234",
        "http://app.localhost",
    ] {
        assert!(check_custom_host(url, &rules(&[], false), true).is_ok(), "{url}");
        assert!(check_custom_host(url, &rules(&[], false), false).is_err(), "{url}");
        assert!(check_custom_host(url, &rules(&["x.example"], false), true).is_err(), "{url}");
    }
    for url in
        ["http://2130706433/", "http://127.1", "http://[::ffff:127.0.0.1]", "http://127.0.0.2"]
    {
        assert!(check_custom_host(url, &rules(&[], false), true).is_err(), "{url}");
    }
}

#[test]
fn the_operator_trusts_by_name() {
    let trusted = rules(&["llm.corp", "*.Inner.Example", "10.0.0.5", "127.0.0.1"], false);
    for (url, fine) in [
        ("http://llm.corp", true),
        ("http://LLM.corp/v1", true),
        ("http://a.inner.example", true),
        ("http://a.b.inner.example", true),
        ("http://10.0.0.5:80", true),
        ("http://127.0.0.1", true),
        ("http://x.llm.corp", false),
        ("http://xinner.corp", false),
        ("http://10.0.0.6", false),
        ("http://localhost", false),
    ] {
        assert_eq!(check_custom_host(url, &trusted, false).is_ok(), fine, "{url}");
    }
    assert!(!is_trusted(".inner.example", &trusted, false));
    assert!(is_trusted("[::1]", &rules(&["::1"], false), false));
}

#[test]
fn private_networks_are_let_in_but_never_loopback_or_metadata() {
    let private = rules(&[], true);
    for (url, fine) in [
        ("http://10.0.0.1", true),
        ("http://100.64.0.1", true),
        ("http://[fd12::1]", true),
        ("http://gpu.lan", true),
        ("http://127.0.0.1", false),
        ("http://localhost", false),
        ("http://169.254.169.254", false),
        ("http://100.100.100.200", false),
        ("http://[fd00:ec2::254]", false),
        ("http://metadata.google.internal", false),
        ("http://a.onion", false),
    ] {
        assert_eq!(
            check_custom_host(url, &private, true).is_ok(),
            fine || url.contains("127") || url.contains("localhost"),
            "{url}"
        );
        assert_eq!(check_custom_host(url, &private, false).is_ok(), fine, "{url}");
    }
}

#[test]
fn a_name_may_not_resolve_to_a_place_that_it_could_not_name() {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    for (ip, untrusted, private, trusted) in [
        ("8.8.8.8", true, true, true),
        ("2606:4700::1111", true, true, true),
        ("64:ff9b::808:808", true, true, true),
        ("127.0.0.1", false, false, true),
        ("::1", false, false, true),
        ("::ffff:127.0.0.1", false, false, true),
        ("10.1.2.3", false, true, true),
        ("::ffff:10.1.2.3", false, true, true),
        ("64:ff9b::a01:203", false, true, true),
        ("fd12::1", false, true, true),
        ("100.64.0.1", false, true, true),
        ("169.254.169.254", false, false, false),
        ("::ffff:169.254.169.254", false, false, false),
        ("100.100.100.200", false, false, false),
        ("fe80::1", false, false, false),
        ("0.0.0.0", false, false, false),
        ("::", false, false, false),
        ("224.0.0.1", false, false, false),
        ("ff02::1", false, false, false),
        ("255.255.255.255", false, false, false),
    ] {
        let ip = address(ip);
        assert_eq!(check_address(ip, &rules(&[], false), false).is_ok(), untrusted, "{ip}");
        assert_eq!(check_address(ip, &rules(&[], true), false).is_ok(), private, "{ip} private");
        assert_eq!(check_address(ip, &rules(&[], false), true).is_ok(), trusted, "{ip} trusted");
    }
}

#[test]
fn no_request_leads_back_to_a_port_of_trunkline() {
    let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let own = [at("127.0.0.1:8787"), at("0.0.0.0:8788")];
    let local = ["192.168.1.9".parse::<IpAddr>().expect("an address")];
    for (to, fine) in [
        ("127.0.0.1:8787", false),
        ("[::ffff:127.0.0.1]:8787", false),
        ("127.0.0.1:8788", false),
        ("192.168.1.9:8788", false),
        ("[::1]:8788", false),
        ("127.0.0.1:11434", true),
        ("192.168.1.9:8787", true),
        ("192.168.1.10:8788", true),
    ] {
        assert_eq!(check_own_port(at(to), &own, &local).is_ok(), fine, "{to}");
    }
}

#[test]
fn an_origin_has_what_a_connection_needs() {
    let origin = parse_origin("https://[2606:4700::1111]:8443/v1//").expect("a URL");
    assert_eq!(origin.host, "2606:4700::1111");
    assert_eq!(origin.authority, "[2606:4700::1111]:8443");
    assert_eq!((origin.port, origin.tls, origin.path.as_str()), (8443, true, "/v1"));
    let origin = parse_origin("http://Example.com:80/").expect("a URL");
    assert_eq!(
        (origin.authority.as_str(), origin.port, origin.path.as_str()),
        ("example.com", 80, "")
    );
}
