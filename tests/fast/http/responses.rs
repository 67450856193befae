//! Heads of answers: what real servers send is taken, and the body's end never depends on a guess.

use trunkline::base::limits::UPSTREAM_HEAD_BYTES_MAX;
use trunkline::wire::head::{Framing, HeadError, Method, Progress, Version, parse_response};

use super::{good_response, response};

#[test]
fn a_usual_answer_is_understood() {
    let text = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n";
    let head = good_response(text, Method::Post);
    assert_eq!(&text[head.len..], b"0\r\n\r\n");
    assert_eq!((head.status, head.version), (200, Version::Http11));
    assert_eq!((head.framing, head.keep_alive), (Framing::Chunked, true));
    assert_eq!(head.find(text, "content-type"), Some(&b"text/event-stream"[..]));
    assert_eq!(head.end_to_end(text).count(), 1);
}

/// The head, the method it answers, and the framing and reuse that follow.
const TAKEN: &[(&str, Method, Framing, bool)] = &[
    ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", Method::Get, Framing::Length(3), true),
    ("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n", Method::Get, Framing::Length(3), true),
    ("HTTP/1.1 200 \u{dc}ber\r\ncontent-length: 3\r\n\r\n", Method::Get, Framing::Length(3), true),
    ("HTTP/1.1 200 OK\r\nHost: a b\r\nHost: c\r\n\r\n", Method::Get, Framing::UntilClose, false),
    ("HTTP/1.1 200 OK\r\n\r\n", Method::Get, Framing::UntilClose, false),
    ("HTTP/1.0 200 OK\r\n\r\n", Method::Get, Framing::UntilClose, false),
    ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", Method::Get, Framing::Length(3), false),
    (
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
        Method::Get,
        Framing::Length(3),
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
        Method::Get,
        Framing::Length(3),
        false,
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Method::Head, Framing::None, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Head, Framing::None, true),
    ("HTTP/1.1 200 OK\r\n\r\n", Method::Head, Framing::None, true),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", Method::Get, Framing::None, true),
    ("HTTP/1.1 204 No Content\r\n\r\n", Method::Delete, Framing::None, true),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Method::Post, Framing::None, true),
    (
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        Method::Post,
        Framing::Length(0),
        true,
    ),
    ("HTTP/1.1 529 \r\nContent-Length: 2\r\n\r\n", Method::Post, Framing::Length(2), true),
    // A peer that announces what cannot be may also send it: its connection is not used again.
    ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Method::Post, Framing::None, false),
    (
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        Method::Post,
        Framing::None,
        false,
    ),
    (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        Method::Get,
        Framing::None,
        false,
    ),
];

#[test]
fn the_end_of_a_body_follows_status_method_and_headers() {
    for &(text, method, framing, keep_alive) in TAKEN {
        let head = good_response(text.as_bytes(), method);
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{method:?} {text:?}");
    }
}

#[test]
fn the_announced_length_survives_where_there_is_no_body() {
    let head = good_response(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n", Method::Head);
    assert_eq!((head.framing, head.announced_length), (Framing::None, Some(42)));
}

#[test]
fn interim_answers_are_told_from_the_real_one() {
    let text = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
        HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let (mut rest, mut progress) = (&text[..], Progress::default());
    let mut seen = Vec::new();
    loop {
        let head = parse_response(rest, &mut progress, Method::Get).unwrap().unwrap();
        rest = &rest[head.len..];
        seen.push(head.status);
        if !head.is_interim() {
            assert_eq!((head.framing, rest), (Framing::Length(2), &b"hi"[..]));
            break;
        }
        assert_eq!(head.framing, Framing::None);
    }
    assert_eq!(seen, [103, 100, 200]);
}

#[test]
fn switching_protocols_is_the_real_answer() {
    assert!(!good_response(b"HTTP/1.1 101 X\r\n\r\n", Method::Get).is_interim());
}

const REFUSED: &[(&str, HeadError)] = &[
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", HeadError::LeadingEmptyLines),
    ("HTTP/1.1 200 OK\n\n", HeadError::BareLf),
    ("HTTP/1.1 200 OK\r\nX: a\n\r\n", HeadError::BareLf),
    ("HTTP/1.1 200 O\rK\r\n\r\n", HeadError::BareCr),
    ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", HeadError::ObsFold),
    ("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", HeadError::SpaceBeforeColon),
    ("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", HeadError::BadHeaderValue),
    ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", HeadError::BadHeaderName),
    ("<html>", HeadError::BadStatusLine),
    ("ICY 200 OK\r\n\r\n", HeadError::BadStatusLine),
    ("HTTP/2 200\r\n\r\n", HeadError::BadStatusLine),
    ("HTTP/1.1\r\n\r\n", HeadError::BadStatusLine),
    ("HTTP/1.1 20\r\n\r\n", HeadError::BadStatusLine),
    ("HTTP/1.1 2000\r\n\r\n", HeadError::BadStatusLine),
    ("HTTP/1.1 099 X\r\n\r\n", HeadError::BadStatusLine),
    ("HTTP/1.1 +20 X\r\n\r\n", HeadError::BadStatusLine),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HeadError::LengthWithTransferEncoding,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HeadError::SeveralLengths,
    ),
    ("HTTP/1.1 304 X\r\nContent-Length: x\r\n\r\n", HeadError::BadLength),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", HeadError::UnknownTransferEncoding),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::TransferEncodingInHttp10),
];

#[test]
fn the_head_limit_holds_to_the_byte() {
    let start = "HTTP/1.1 200 OK\r\nX: ";
    let text = |len: usize| format!("{start}{}\r\n\r\n", "y".repeat(len - start.len() - 4));
    assert!(response(text(UPSTREAM_HEAD_BYTES_MAX).as_bytes(), Method::Get).is_ok());
    let too_long = response(text(UPSTREAM_HEAD_BYTES_MAX + 1).as_bytes(), Method::Get);
    assert_eq!(too_long, Err(HeadError::TooLong));
}

#[test]
fn every_malformed_answer_is_refused_by_name() {
    for &(text, expected) in REFUSED {
        assert_eq!(response(text.as_bytes(), Method::Get), Err(expected), "{text:?}");
    }
}
