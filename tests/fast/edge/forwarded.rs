//! `X-Forwarded-For`: who is believed, how far a chain is read, and what an address may look like.

use std::net::IpAddr;

use trunkline::{
    base::limits::FORWARDED_HOPS_MAX,
    config::networks::{Network, Networks},
    policy::client_address::{behind, canonical},
};

fn trusted() -> Networks {
    ["10.0.0.0/8", "2001:db8:1::/48"]
        .iter()
        .map(|text| Network::parse(text).expect("a network"))
        .collect()
}

/// Whom these header lines name, for a connection from `peer`.
fn client(peer: &str, lines: &[&str]) -> String {
    let peer: IpAddr = peer.parse().expect("an address");
    let values = lines.iter().map(|line| line.as_bytes());
    behind(peer, values, &trusted()).map_or_else(|| "the peer".to_owned(), |hop| hop.to_string())
}

#[test]
fn an_untrusted_peer_speaks_for_itself_alone() {
    assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "the peer");
    assert_eq!(client("203.0.113.9", &["198.51.100.1, 10.0.0.1"]), "the peer");
    let nobody = Networks::default();
    let values = [&b"198.51.100.1"[..]].into_iter();
    assert_eq!(behind(IpAddr::from([10, 0, 0, 1]), values, &nobody), None);
}

#[test]
fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
    for (lines, found) in [
        (&["198.51.100.1"][..], "198.51.100.1"),
        (&["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (&["198.51.100.1,10.0.0.2 ,\t10.0.0.3"], "198.51.100.1"),
        // A caller who wrote a chain of its own: what its proxy appended counts.
        (&["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        (&["127.0.0.1, 10.9.9.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        // Lines are one list.
        (&["192.0.2.66", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        // All trusted: the first of the list.
        (&["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
        (&["2001:db8:1::5"], "2001:db8:1::5"),
    ] {
        assert_eq!(client("10.0.0.1", lines), found, "{lines:?}");
        assert_eq!(client("::ffff:10.0.0.1", lines), found, "{lines:?}");
    }
    assert_eq!(client("10.0.0.1", &[]), "the peer");
}

#[test]
fn addresses_come_with_ports_and_in_brackets() {
    for (entry, found) in [
        ("198.51.100.1:4711", "198.51.100.1:4711"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "[2001:db8::7]:4711"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1:80"),
    ] {
        assert_eq!(client("10.0.0.1", &[entry]), found, "{entry}");
    }
    // A trusted proxy is one with its port too.
    assert_eq!(client("10.0.0.1", &["198.51.100.1, 10.0.0.2:99"]), "198.51.100.1");
}

#[test]
fn a_list_is_believed_up_to_what_is_no_address() {
    for bad in [
        "unknown",
        "_hidden",
        "\"198.51.100.1\"",
        "198.51.100.1:",
        "198.51.100.1:99999",
        "198.51.100.01",
        "[198.51.100.1]",
        "2001:db8::7]",
        "host.example",
        "198.51.100.1 198.51.100.2",
        "for=198.51.100.1",
        "\u{1b}[31m",
    ] {
        assert_eq!(client("10.0.0.1", &[bad]), "the peer", "{bad}");
        let spoofed = format!("192.0.2.66, {bad}, 10.0.0.2");
        assert_eq!(client("10.0.0.1", &[&spoofed]), "10.0.0.2", "{bad}");
    }
    assert_eq!(client("10.0.0.1", &[",, 198.51.100.1 , ,"]), "198.51.100.1");
    assert_eq!(client("10.0.0.1", &["", " , "]), "the peer");
}

#[test]
fn a_chain_is_walked_to_its_bound() {
    let hops = |count: usize| format!("198.51.100.1{}", ", 10.0.0.2".repeat(count));
    assert_eq!(client("10.0.0.1", &[&hops(FORWARDED_HOPS_MAX - 1)]), "198.51.100.1");
    assert_eq!(client("10.0.0.1", &[&hops(FORWARDED_HOPS_MAX)]), "10.0.0.2");
    assert_eq!(client("10.0.0.1", &[&hops(10_000)]), "10.0.0.2");
}

#[test]
fn ipv4_inside_ipv6_is_ipv4() {
    for (written, meant) in [
        ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("[2001:db8::1%7]:80", "[2001:db8::1%7]:80"),
        ("[::192.0.2.1]:80", "[::c000:201]:80"),
    ] {
        let address = canonical(written.parse().expect("an address"));
        assert_eq!(
            address.to_string(),
            meant.parse::<std::net::SocketAddr>().expect("one").to_string()
        );
    }
}
