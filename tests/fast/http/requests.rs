//! Request heads: what is understood, and every refusal by its name.

use trunkline::base::limits::{
    CONNECTION_NAMES_MAX, HEADER_NAME_BYTES_MAX, HEADERS_MAX, LEADING_EMPTY_LINES_MAX,
};
use trunkline::wire::head::{Framing, HeadError, HeadLimits, Method, Progress, Version};
use trunkline::wire::head::{is_hop_by_hop, parse_request};

use super::{good_request, request};

const POST: &[u8] = b"POST /v1/chat/completions?beta=true HTTP/1.1\r\nHost: gw.local:8787\r\n\
    Content-Type: application/json\r\nAUTHORIZATION:  Bearer x \t\r\nContent-Length: 12\r\n\
    Accept: a\r\naccept: b\r\nX-Empty:\r\n\r\n{\"model\":1}\n";

#[test]
fn a_usual_request_is_understood() {
    let head = good_request(POST);
    assert_eq!(&POST[head.len..], b"{\"model\":1}\n");
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.method_text.of(POST), b"POST");
    assert_eq!(head.target.of(POST), b"/v1/chat/completions?beta=true");
    assert_eq!(head.path.of(POST), b"/v1/chat/completions");
    assert_eq!(head.query.map(|query| query.of(POST)), Some(&b"beta=true"[..]));
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.framing, Framing::Length(12));
    assert!(head.keep_alive && !head.expect_continue && !head.upgrade);
    assert_eq!(head.host(POST), Some(&b"gw.local:8787"[..]));
}

#[test]
fn headers_are_found_in_any_case_and_trimmed() {
    let head = good_request(POST);
    assert_eq!(head.headers(POST).count(), 7);
    assert_eq!(head.find(POST, "authorization"), Some(&b"Bearer x"[..]));
    assert_eq!(head.find(POST, "x-empty"), Some(&b""[..]));
    assert_eq!(head.find(POST, "x-absent"), None);
    assert_eq!(head.all(POST, "accept").collect::<Vec<_>>(), [b"a", b"b"]);
    assert!(head.headers(POST).any(|(name, _)| name == b"AUTHORIZATION"), "names as written");
}

#[test]
fn a_span_of_other_bytes_is_empty_and_does_not_panic() {
    assert_eq!(good_request(POST).path.of(b"short"), b"");
    assert_eq!(good_request(POST).find(b"", "host"), None);
}

/// Each row: the start line and headers after `Host`, and the refusal.
const REFUSED: &[(&str, HeadError)] = &[
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", HeadError::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", HeadError::BareLf),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", HeadError::BareCr),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", HeadError::BareCr),
    ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", HeadError::BareCr),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", HeadError::BareCr),
    ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BareCr),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", HeadError::ObsFold),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", HeadError::ObsFold),
    ("GET / HTTP/1.1\r\nHost: a\r\n\tX: b\r\n\r\n", HeadError::ObsFold),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", HeadError::SpaceBeforeColon),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\n", HeadError::SpaceBeforeColon),
    ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", HeadError::BadHeaderName),
    ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", HeadError::BadHeaderName),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", HeadError::BadHeaderName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", HeadError::BadHeaderName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", HeadError::BadHeaderName),
    ("GET / HTTP/1.1\r\nHost: a\r\nÄ: b\r\n\r\n", HeadError::BadHeaderName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", HeadError::BadHeaderValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n", HeadError::BadHeaderValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", HeadError::BadHeaderValue),
    ("GET / HTTP/1.1\r\n\r\n", HeadError::MissingHost),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HeadError::SeveralHosts),
    ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", HeadError::SeveralHosts),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HeadError::BadHost),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", HeadError::BadHost),
    ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", HeadError::BadHost),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HeadError::BadHost),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadMethod),
    (" / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadMethod),
    ("\x16\x03\x01\x02", HeadError::BadMethod),
    ("\r\n\x16\x03\x01\x02", HeadError::BadMethod),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadRequestLine),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadMethod),
    ("GET /\r\nHost: a\r\n\r\n", HeadError::BadRequestLine),
    ("GET\r\nHost: a\r\n\r\n", HeadError::BadRequestLine),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", HeadError::BadRequestLine),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", HeadError::BadVersion),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", HeadError::BadVersion),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", HeadError::BadVersion),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::BadVersion),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadVersion),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET /ä HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET http://me@a/b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget),
    ("GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::AuthorityForm),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::AuthorityForm),
    ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::AuthorityForm),
];

#[test]
fn every_malformed_head_is_refused_by_name() {
    for &(text, expected) in REFUSED {
        assert_eq!(request(text.as_bytes()), Err(expected), "{text:?}");
        assert!(!expected.is_too_large(), "{text:?} is a 400");
    }
}

/// Framing headers after `POST / HTTP/1.1`, `Host: a`.
const REFUSED_FRAMING: &[(&str, HeadError)] = &[
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", HeadError::LengthWithTransferEncoding),
    ("transfer-encoding: chunked\r\ncontent-length: 0", HeadError::LengthWithTransferEncoding),
    ("Content-Length: 5\r\nContent-Length: 6", HeadError::SeveralLengths),
    ("Content-Length: 5\r\ncontent-length: 5", HeadError::SeveralLengths),
    ("Content-Length: 5, 5", HeadError::BadLength),
    ("Content-Length: 5, 6", HeadError::BadLength),
    ("Content-Length: +5", HeadError::BadLength),
    ("Content-Length: -5", HeadError::BadLength),
    ("Content-Length: 1 2", HeadError::BadLength),
    ("Content-Length: 0x10", HeadError::BadLength),
    ("Content-Length: 1e3", HeadError::BadLength),
    ("Content-Length: 5.0", HeadError::BadLength),
    ("Content-Length:", HeadError::BadLength),
    ("Content-Length: 18446744073709551616", HeadError::BadLength),
    ("Content-Length: 99999999999999999999999999", HeadError::BadLength),
    ("Transfer-Encoding: identity", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: gzip, chunked", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: chunked, chunked", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: chunked, identity", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: chunked;q=1", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: \"chunked\"", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: xchunked", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding: ,chunked", HeadError::UnknownTransferEncoding),
    ("Transfer-Encoding:", HeadError::UnknownTransferEncoding),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        HeadError::SeveralTransferEncodings,
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        HeadError::SeveralTransferEncodings,
    ),
];

#[test]
fn every_doubtful_framing_is_refused_by_name() {
    for &(headers, expected) in REFUSED_FRAMING {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        assert_eq!(request(text.as_bytes()), Err(expected), "{headers:?}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(request(old), Err(HeadError::TransferEncodingInHttp10));
}

#[test]
fn good_framing_is_understood() {
    let rows: &[(&str, Framing)] = &[
        ("X: y", Framing::None),
        ("Content-Length: 0", Framing::Length(0)),
        ("content-length: 007", Framing::Length(7)),
        ("Content-Length: \t5 ", Framing::Length(5)),
        ("Content-Length: 18446744073709551615", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked", Framing::Chunked),
        ("TRANSFER-ENCODING:CHUNKED ", Framing::Chunked),
    ];
    for &(headers, expected) in rows {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        assert_eq!(good_request(text.as_bytes()).framing, expected, "{headers:?}");
    }
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let rows: &[(&str, &str, bool)] = &[
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: keep-alive", true),
        ("1.1", "Connection: Keep-Alive, CLOSE", false),
        ("1.1", "Connection: x\r\nConnection: ,, close ,", false),
        ("1.1", "Connection: closed", true),
        ("1.0", "X: y", false),
        ("1.0", "Connection: Keep-Alive", true),
        ("1.0", "Connection: keep-alive, close", false),
    ];
    for &(version, headers, expected) in rows {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n\r\n");
        assert_eq!(good_request(text.as_bytes()).keep_alive, expected, "{version} {headers:?}");
    }
}

#[test]
fn continue_is_expected_only_before_a_body_of_http11() {
    let rows: &[(&str, &str, bool)] = &[
        ("1.1", "Expect: 100-continue\r\nContent-Length: 5", true),
        ("1.1", "expect: 100-Continue\r\nTransfer-Encoding: chunked", true),
        ("1.1", "Expect: 100-continue", false),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0", false),
        ("1.1", "Expect: tea\r\nContent-Length: 5", false),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 5", false),
    ];
    for &(version, headers, expected) in rows {
        let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{headers}\r\n\r\n");
        assert_eq!(good_request(text.as_bytes()).expect_continue, expected, "{headers:?}");
    }
}

#[test]
fn upgrade_needs_both_headers_and_http11() {
    let both = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket";
    let rows: &[(&str, &str, bool)] = &[
        ("1.1", both, true),
        ("1.0", both, false),
        ("1.1", "Upgrade: websocket", false),
        ("1.1", "Connection: upgrade", false),
    ];
    for &(version, headers, expected) in rows {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n\r\n");
        assert_eq!(good_request(text.as_bytes()).upgrade, expected, "{version} {headers:?}");
    }
}

#[test]
fn targets_come_apart() {
    let rows: &[(&str, &str, Option<&str>, &str)] = &[
        ("GET /", "/", None, "h"),
        ("GET /a?", "/a", Some(""), "h"),
        ("GET /a?b?c", "/a", Some("b?c"), "h"),
        ("GET //evil/x", "//evil/x", None, "h"),
        ("GET /http://x/", "/http://x/", None, "h"),
        ("OPTIONS *", "*", None, "h"),
        ("GET http://o:80/p/q?r", "/p/q", Some("r"), "o:80"),
        ("GET HTTPS://o", "/", None, "o"),
        ("GET http://o?r/s", "/", Some("r/s"), "o"),
        ("GET http://[::1]:8787/v1", "/v1", None, "[::1]:8787"),
    ];
    for &(line, path, query, host) in rows {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (bytes, head) = (text.as_bytes(), good_request(text.as_bytes()));
        assert_eq!(head.path.of(bytes), path.as_bytes(), "{line}");
        let found = head.query.map(|query| query.of(bytes));
        assert_eq!(found, query.map(str::as_bytes), "{line}");
        assert_eq!(head.host(bytes), Some(host.as_bytes()), "{line}");
    }
}

#[test]
fn methods_are_case_sensitive_and_unknown_ones_pass() {
    for (text, expected) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("get", Method::Other),
        ("PROPFIND", Method::Other),
    ] {
        let bytes = format!("{text} / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let head = good_request(&bytes);
        assert_eq!((head.method, head.method_text.of(&bytes)), (expected, text.as_bytes()));
    }
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    for count in 0..=usize::from(LEADING_EMPTY_LINES_MAX) {
        let text = "\r\n".repeat(count) + "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = good_request(text.as_bytes());
        assert_eq!((head.path.of(text.as_bytes()), head.len), (&b"/a"[..], text.len()));
    }
    let text = "\r\n".repeat(usize::from(LEADING_EMPTY_LINES_MAX) + 1);
    assert_eq!(request(text.as_bytes()), Err(HeadError::LeadingEmptyLines));
}

#[test]
fn the_head_limit_holds_to_the_byte() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n";
    let head_bytes = 27;
    let parse = |text: &[u8], head_bytes| {
        let limits = HeadLimits { head_bytes };
        parse_request(text, &mut Progress::default(), &limits).map(|head| head.map(|head| head.len))
    };
    assert_eq!(parse(text, head_bytes), Ok(Some(head_bytes)));
    assert_eq!(parse(text, head_bytes - 1), Err(HeadError::TooLong));
    assert_eq!(parse(&text[..26], head_bytes), Ok(None));
    assert_eq!(parse(&text[..26], head_bytes - 1), Err(HeadError::TooLong));
    assert!(HeadError::TooLong.is_too_large());
}

#[test]
fn the_header_count_limit_holds_to_the_line() {
    let text = |count: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1)).into_bytes()
    };
    assert_eq!(good_request(&text(HEADERS_MAX)).headers(&text(HEADERS_MAX)).count(), HEADERS_MAX);
    let too_many = text(HEADERS_MAX + 1);
    assert_eq!(request(&too_many), Err(HeadError::TooManyHeaders));
    assert_eq!(request(&too_many[..too_many.len() - 2]), Err(HeadError::TooManyHeaders), "at once");
    assert!(HeadError::TooManyHeaders.is_too_large());
}

#[test]
fn the_name_limit_holds_to_the_byte() {
    let text = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}: x\r\n\r\n", "n".repeat(len));
    assert!(request(text(HEADER_NAME_BYTES_MAX).as_bytes()).is_ok());
    let too_long = request(text(HEADER_NAME_BYTES_MAX + 1).as_bytes());
    assert_eq!(too_long, Err(HeadError::NameTooLong));
    assert!(HeadError::NameTooLong.is_too_large());
}

#[test]
fn headers_of_this_hop_are_not_passed_on() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nKeep-Alive: 5\r\n\
        x-mine: 1\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\nTrailer: t\r\n\
        Proxy-Authorization: y\r\nconnection: x-other\r\nX-Other: 2\r\nX-Kept: 3\r\n\r\n";
    let head = good_request(text);
    let kept: Vec<&[u8]> = head.end_to_end(text).map(|(name, _)| name).collect();
    assert_eq!(kept, [b"Host".as_slice(), b"X-Kept"]);
    let listed: Vec<&[u8]> = head.listed_in_connection(text).collect();
    assert_eq!(listed, [b"X-Mine".as_slice(), b"x-other"]);
    assert!(is_hop_by_hop(b"KEEP-alive") && !is_hop_by_hop(b"content-length"));
}

#[test]
fn the_connection_list_limit_holds() {
    let text = |count: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", "n,".repeat(count))
    };
    assert!(request(text(CONNECTION_NAMES_MAX).as_bytes()).is_ok());
    let error = request(text(CONNECTION_NAMES_MAX + 1).as_bytes());
    assert_eq!(error, Err(HeadError::TooManyConnectionNames));
    assert!(HeadError::TooManyConnectionNames.is_too_large());
}

#[test]
fn every_refusal_says_in_a_sentence_what_to_do() {
    let tables = REFUSED.iter().chain(REFUSED_FRAMING);
    for error in tables.map(|&(_, error)| error) {
        let message = error.message();
        assert!(message.ends_with('.') && message.contains(':'), "{error:?}: {message}");
        assert!(!message.contains("http2"));
        assert_eq!(error.to_string(), message);
    }
}
