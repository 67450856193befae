//! Which hosts an egress proxy leads to, and what its URL may say.

use trunkline::{
    base::limits,
    config::{check::check, edge::EgressProxy, variables::Variables},
};

fn proxy(section: &str) -> EgressProxy {
    let checked = check(section, Variables::Lookup(&|_| None));
    assert_eq!(checked.mistakes, [], "{section}");
    let proxy = checked.config.expect("a configuration").edge.egress_proxy.expect("a proxy");
    std::sync::Arc::into_inner(proxy).expect("the only one")
}

#[test]
fn a_url_says_where_it_is_and_who_asks() {
    let plain = proxy("egress_proxy: http://proxy.example.com:3128");
    assert_eq!((plain.host.as_str(), plain.port), ("proxy.example.com", 3128));
    assert_eq!((plain.authority.as_str(), plain.credential), ("proxy.example.com:3128", None));
    assert_eq!(proxy("egress_proxy: http://proxy/").port, 80);
    let v6 = proxy("egress_proxy: 'http://[2001:db8::1]:3128'");
    assert_eq!((v6.host.as_str(), v6.authority.as_str()), ("2001:db8::1", "[2001:db8::1]:3128"));
    for (url, basic) in [
        ("http://user:pass@p:1", "Basic dXNlcjpwYXNz"),
        ("http://user@p:1", "Basic dXNlcjo="),
        ("http://user:p%40ss%3Aw%2F%C3%A9@p:1", "Basic dXNlcjpwQHNzOncvw6k="),
        ("http://:pass@p:1", "Basic OnBhc3M="),
    ] {
        let credential = proxy(&format!("egress_proxy: '{url}'")).credential;
        assert_eq!(credential.expect("one").reveal(), basic, "{url}");
    }
}

#[test]
fn this_machine_and_what_is_listed_are_reached_directly() {
    let proxy = proxy(
        "egress_proxy: { url: 'http://p:1', no_proxy: [vllm.corp, '*.Internal', 10.0.0.0/8, '2001:db8::5'] }",
    );
    for direct in [
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "vllm.corp",
        "VLLM.corp",
        "a.internal",
        "a.b.INTERNAL",
        "10.1.2.3",
        "2001:db8::5",
    ] {
        assert!(!proxy.leads_to(direct), "{direct}");
    }
    for through in [
        "api.openai.com",
        "x.vllm.corp",
        "internal",
        "xinternal",
        "localhost.example",
        "notlocalhost",
        "11.1.2.3",
        "2001:db8::6",
        "10.0.0.1.example",
        "é.internal.x",
    ] {
        assert!(proxy.leads_to(through), "{through}");
    }
}

#[test]
fn lists_end_at_their_bounds() {
    let list = |count: usize, item: fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    let address: fn(usize) -> String = |n| format!("10.0.{}.{}", n / 256, n % 256);
    let origin: fn(usize) -> String = |n| format!("https://a{n}.example");
    for (section, count, item) in [
        ("trusted_proxies: [@]", limits::TRUSTED_PROXIES_MAX, address),
        ("cors: { origins: [@] }", limits::CORS_ORIGINS_MAX, origin),
        ("egress_proxy: { url: 'http://p:1', no_proxy: [@] }", limits::NO_PROXY_MAX, address),
    ] {
        let mistakes = |count| {
            let text = section.replace('@', &list(count, item));
            check(&text, Variables::Lookup(&|_| None)).mistakes
        };
        assert_eq!(mistakes(count), [], "{section}");
        let told = mistakes(count + 1);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].message.contains("at most 256"), "{told:?}");
    }
}

#[test]
fn an_open_gateway_for_every_page_is_warned_of() {
    let warned = |text: &str| check(text, Variables::Lookup(&|_| None)).warnings;
    let told = warned("cors: { origins: ['*'] }");
    assert_eq!(told.len(), 1);
    assert!(told[0].to_string().starts_with("1:1: cors: any web page"), "{told:?}");
    assert_eq!(warned("cors: { origins: [https://a.example] }"), []);
}

#[test]
fn a_password_may_stand_in_the_environment() {
    let checked = check(
        "egress_proxy: 'http://user:${PASSWORD}@p:1'",
        Variables::Lookup(&|_| Some("x".into())),
    );
    let proxy = checked.config.expect("a configuration").edge.egress_proxy.expect("a proxy");
    assert_eq!(proxy.credential.as_ref().expect("one").reveal(), "Basic dXNlcjp4");
    assert_eq!(check("egress_proxy: '${PROXY}'", Variables::Unknown).mistakes, []);
}
