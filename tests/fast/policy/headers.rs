//! The request headers of Trunkline: spellings, conflicts, bounds.

use std::time::Duration;

use trunkline::{
    base::fault::{Fault, Kind},
    policy::request_headers::{RequestOptions, merge_metadata, parse},
};

fn read<'r>(headers: &[(&'r str, &'r str)]) -> Result<RequestOptions<'r>, Fault> {
    parse(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn refused(headers: &[(&str, &str)]) -> Fault {
    let fault = read(headers).unwrap_err();
    assert_eq!(fault.kind, Kind::BadConfig, "{headers:?}");
    fault
}

#[test]
fn every_header_is_read_in_both_spellings_and_any_case() {
    for prefix in ["x-portkey-", "x-trunkline-", "X-Portkey-", "X-TRUNKLINE-"] {
        let name = |suffix: &str| format!("{prefix}{suffix}");
        let names = [
            (name("config"), "support"),
            (name("Virtual-Key"), "openai-prod"),
            (name("provider"), "openai"),
            (name("metadata"), r#"{"team":"a"}"#),
            (name("trace-id"), "trace-1"),
            (name("cache-force-refresh"), "true"),
            (name("cache-namespace"), "tests"),
            (name("request-timeout"), "1500"),
            (name("custom-host"), "https://example.org/v1"),
            (name("forward-headers"), "X-One, x-two,,"),
            (name("strict-open-ai-compliance"), "false"),
            (name("debug"), "false"),
            (name("OpenAI-Organization"), "org-1"),
            (name("mode"), "proxy"),
        ];
        let headers: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let options = read(&headers).unwrap();
        assert_eq!(options.config, Some("support"));
        assert_eq!(options.virtual_key, Some("openai-prod"));
        assert_eq!(options.provider, Some("openai"));
        assert_eq!(options.metadata, [("team".to_owned(), "a".to_owned())]);
        assert_eq!(options.trace_id, Some("trace-1"));
        assert!(options.cache_force_refresh && options.lenient && options.bodies_private);
        assert_eq!(options.cache_namespace, Some("tests"));
        assert_eq!(options.request_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(options.custom_host, Some("https://example.org/v1"));
        let forwarded = options.forward_headers.unwrap();
        assert_eq!(forwarded, ["x-one", "x-two"]);
        let [(name, value)] = &options.provider_options[..] else { panic!("one option") };
        assert_eq!((name.as_ref(), *value), ("openai-organization", "org-1"));
    }
}

#[test]
fn other_headers_are_passed_over() {
    let headers = [("content-type", "a"), ("x-request-id", "b"), ("x-", "c"), ("x-portkey", "d")];
    assert_eq!(read(&headers).unwrap(), RequestOptions::default());
}

#[test]
fn both_spellings_may_agree_but_not_differ() {
    let same = [("x-portkey-config", "a"), ("x-trunkline-config", " a ")];
    assert_eq!(read(&same).unwrap().config, Some("a"));
    let fault = refused(&[("x-portkey-config", "a"), ("x-trunkline-config", "b")]);
    assert_eq!(
        fault.message,
        "the header `x-trunkline-config` and `x-portkey-config` have different values"
    );
    assert_eq!(fault.param.as_deref(), Some("x-trunkline-config"));
    refused(&[("x-portkey-api-key", "a"), ("x-trunkline-api-key", "b")]);
}

#[test]
fn a_repeated_header_is_refused_even_with_one_value() {
    refused(&[("x-portkey-trace-id", "a"), ("X-Portkey-Trace-Id", "a")]);
    refused(&[("x-portkey-config", "a"), ("x-trunkline-config", "a"), ("x-portkey-config", "a")]);
    let thrice =
        [("x-portkey-config", "a"), ("x-trunkline-config", "a"), ("x-trunkline-config", "a")];
    refused(&thrice);
    refused(&[("x-portkey-mode", "a"), ("x-portkey-mode", "b")]);
}

#[test]
fn empty_values_are_absent() {
    let headers = [
        ("x-portkey-config", ""),
        ("x-portkey-provider", "  "),
        ("x-portkey-metadata", ""),
        ("x-portkey-forward-headers", ""),
        ("x-portkey-cache-force-refresh", ""),
        ("x-portkey-aws-region", ""),
    ];
    assert_eq!(read(&headers).unwrap(), RequestOptions::default());
}

#[test]
fn trace_ids_are_1_to_128_visible_ascii_characters() {
    let (longest, too_long) = ("t".repeat(128), "t".repeat(129));
    for good in ["t", "a-B_9/:{}~!", &longest] {
        assert_eq!(read(&[("x-portkey-trace-id", good)]).unwrap().trace_id, Some(good));
    }
    for bad in ["", "two words", "tab\there", "ä", &too_long] {
        refused(&[("x-portkey-trace-id", bad)]);
    }
}

#[test]
fn metadata_is_bounded_at_16_pairs_of_128_characters() {
    let pairs = |count: usize| {
        let pairs: Vec<_> = (0..count).map(|at| format!(r#""k{at}":"v""#)).collect();
        format!("{{{}}}", pairs.join(","))
    };
    assert_eq!(read(&[("x-portkey-metadata", &pairs(16))]).unwrap().metadata.len(), 16);
    refused(&[("x-portkey-metadata", &pairs(17))]);
    let value = |length: usize| format!(r#"{{"k":"{}"}}"#, "ä".repeat(length));
    let key = |length: usize| format!(r#"{{"{}":"v"}}"#, "ä".repeat(length));
    assert!(read(&[("x-portkey-metadata", &value(128))]).is_ok());
    assert!(read(&[("x-portkey-metadata", &key(128))]).is_ok());
    refused(&[("x-portkey-metadata", &value(129))]);
    refused(&[("x-portkey-metadata", &key(129))]);
}

#[test]
fn metadata_that_is_no_json_object_is_ignored_and_counted() {
    for text in ["team=a", "[1]", "\"a\"", "{\"a\":", "null", "7"] {
        let options = read(&[("x-portkey-metadata", text)]).unwrap();
        assert!(options.metadata_ignored && options.metadata.is_empty(), "{text}");
    }
    let deep = "[".repeat(60_000);
    assert!(read(&[("x-portkey-metadata", &deep)]).unwrap().metadata_ignored);
}

#[test]
fn metadata_values_that_are_no_strings_keep_their_json_text() {
    let text = r#"{"n":42,"b":true,"z":null,"l":[1,"x"],"_user":"u","n2":1.5,"_user":"v"}"#;
    let metadata = read(&[("x-portkey-metadata", text)]).unwrap().metadata;
    let shown: Vec<_> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(shown, ["n=42", "b=true", "z=null", "l=[1,\"x\"]", "_user=v", "n2=1.5"]);
}

#[test]
fn the_api_keys_own_metadata_wins() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let request = [pair("team", "forged"), pair("user", "u")];
    let api_key = [pair("team", "support")];
    let merged: Vec<_> = merge_metadata(&request, &api_key)
        .into_iter()
        .map(|(key, value)| pair(&key, &value))
        .collect();
    assert_eq!(merged, [pair("user", "u"), pair("team", "support")]);
}

#[test]
fn a_request_timeout_that_is_no_positive_number_is_absent() {
    for (text, expected) in [
        ("300", Some(300)),
        (" 300 ", Some(300)),
        ("0", None),
        ("-5", None),
        ("NaN", None),
        ("5s", None),
        ("99999999999999999999", None),
    ] {
        let read = read(&[("x-portkey-request-timeout", text)]).unwrap().request_timeout;
        assert_eq!(read, expected.map(Duration::from_millis), "{text}");
    }
}

#[test]
fn only_the_word_false_turns_off() {
    for (text, off) in [("false", true), ("False", true), ("true", false), ("0", false)] {
        let headers = [("x-portkey-strict-open-ai-compliance", text), ("x-portkey-debug", text)];
        let options = read(&headers).unwrap();
        assert_eq!((options.lenient, options.bodies_private), (off, off), "{text}");
        let refresh = read(&[("x-portkey-cache-force-refresh", text)]).unwrap();
        assert_eq!(refresh.cache_force_refresh, !off, "{text}");
    }
}

#[test]
fn forward_headers_must_not_name_itself() {
    for list in
        ["x-portkey-forward-headers", "a, X-Portkey-Forward-Headers", "x-trunkline-forward-headers"]
    {
        let fault = refused(&[("x-portkey-forward-headers", list)]);
        assert_eq!(
            fault.message,
            "forward_headers must not contain the 'x-portkey-forward-headers' header"
        );
    }
}

#[test]
fn forward_headers_refuses_host_framing_and_hop_by_hop_names() {
    for name in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "TE",
        "trailer",
        "expect",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "upgrade",
    ] {
        let fault = refused(&[("x-portkey-forward-headers", name)]);
        assert!(fault.message.contains(&name.to_ascii_lowercase()), "{}", fault.message);
    }
}

#[test]
fn forward_headers_is_bounded() {
    let list = |count: usize| vec!["a"; count].join(",");
    assert!(read(&[("x-portkey-forward-headers", &list(64))]).is_ok());
    refused(&[("x-portkey-forward-headers", &list(65))]);
}

#[test]
fn values_that_are_no_text_are_refused_without_being_shown() {
    let bad: &[u8] = b"caf\xe9";
    let fault = parse([(&b"x-portkey-config"[..], bad)]).unwrap_err();
    assert_eq!(fault.message, "the header `x-portkey-config` is not valid UTF-8");
    assert!(parse([(&b"x-portkey-metadata"[..], bad)]).unwrap().metadata_ignored);
}

#[test]
fn a_very_long_name_means_nothing() {
    let name = format!("x-portkey-openai-{}", "a".repeat(5_000));
    assert_eq!(read(&[(&name, "v")]).unwrap(), RequestOptions::default());
}
