//! The HTTP codec that was first chosen, monoio-http 0.3.12, was read and tested line by line and then left out: it
//! panics, hangs, mixes up users and cannot stream. Each of its faults that a codec can have is a test here, under its
//! number in that study, showing that ours has it not. The study's others are faults of a connection, a pool or a
//! runtime and are tested where those are: 11 whole streams collected, 12 no backpressure, 18 pool eviction.

use std::num::NonZeroUsize;

use bytes::BytesMut;
use trunkline::base::limits::HEAD_BYTES_DEFAULT;
use trunkline::wire::{
    body::{BodyError, BodyReader, Piece, Pulled},
    head::{Framing, HeadError, HeadLimits, Method, Progress, parse_request},
    render::{CHUNK_END, chunk_prefix},
};

use crate::http::{good_request, good_response, read_body, read_chunks, request, response};

/// A header name over 65535 bytes panicked, which ended the whole worker.
#[test]
fn fault_01_a_huge_header_name_is_refused_not_a_panic() {
    for name_bytes in [257, 65_535, 65_536, 70_000, 1 << 20] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}: x\r\n\r\n", "n".repeat(name_bytes));
        let limits = HeadLimits { head_bytes: 2 << 20 };
        let outcome = parse_request(text.as_bytes(), &mut Progress::default(), &limits);
        assert_eq!(outcome, Err(HeadError::NameTooLong), "{name_bytes} bytes");
        assert!(request(text.as_bytes()).is_err_and(HeadError::is_too_large));
    }
}

/// Heads had no size limit: 16 MiB without an end were taken and waited for.
#[test]
fn fault_02_a_head_without_end_is_refused_at_the_limit() {
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    text.resize(16 << 20, b'a');
    let mut progress = Progress::default();
    let limits = HeadLimits::default();
    for arrived in (0..HEAD_BYTES_DEFAULT).step_by(7) {
        assert_eq!(parse_request(&text[..arrived], &mut progress, &limits), Ok(None));
    }
    let at_limit = parse_request(&text[..HEAD_BYTES_DEFAULT], &mut progress, &limits);
    assert_eq!(at_limit, Err(HeadError::TooLong));
    assert_eq!(request(&text), Err(HeadError::TooLong));
}

/// Each read searched the head from its start again: 16 MiB took 48 s. That ours does not look back shows when what it
/// has seen is changed behind its back.
#[test]
fn fault_02_no_byte_of_a_head_is_searched_twice() {
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    let mut progress = Progress::default();
    let limits = HeadLimits::default();
    assert_eq!(parse_request(&text, &mut progress, &limits), Ok(None));
    for _ in 0..1000 {
        text.fill(b'\n');
        text.push(b'a');
        assert_eq!(parse_request(&text, &mut progress, &limits), Ok(None));
    }
}

/// An interim answer was returned as the final one, and the next user got this user's body.
#[test]
fn fault_03_an_interim_answer_is_not_the_answer() {
    let text = b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nSECRET-FOR/alice";
    let hints = good_response(text, Method::Get);
    assert!(hints.is_interim() && hints.framing == Framing::None);
    let rest = &text[hints.len..];
    let answer = good_response(rest, Method::Get);
    assert_eq!((answer.status, answer.is_interim()), (200, false));
    let body = read_body(answer.framing, [&rest[answer.len..]]);
    assert_eq!((&body.data[..], body.left.len()), (&b"SECRET-FOR/alice"[..], 0));
}

/// Framing did not ask for method and status: answers without a body swallowed the next answer's bytes.
#[test]
fn fault_04_an_answer_without_a_body_swallows_nothing() {
    for (status, method, header) in [
        ("304 Not Modified", Method::Get, "Content-Length: 10"),
        ("204 No Content", Method::Post, "Content-Length: 10"),
        ("204 No Content", Method::Post, "Transfer-Encoding: chunked"),
        ("200 OK", Method::Head, "Content-Length: 10"),
        ("200 OK", Method::Head, "Transfer-Encoding: chunked"),
    ] {
        let next = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let text = format!("HTTP/1.1 {status}\r\n{header}\r\n\r\n{next}");
        let head = good_response(text.as_bytes(), method);
        let body = read_body(head.framing, [&text.as_bytes()[head.len..]]);
        assert_eq!((body.end, &body.left[..]), (Ok(true), next.as_bytes()), "{status} {header}");
    }
}

/// An answer that ends where the connection does was taken for one without a body.
#[test]
fn fault_05_an_answer_until_close_keeps_its_body() {
    for version in ["1.0", "1.1"] {
        let text = format!("HTTP/{version} 200 OK\r\nX: y\r\n\r\nthe body");
        let head = good_response(text.as_bytes(), Method::Get);
        assert_eq!((head.framing, head.keep_alive), (Framing::UntilClose, false));
        let body = read_body(head.framing, [&text.as_bytes()[head.len..]]);
        assert_eq!(body.data, b"the body");
    }
}

/// A bare LF ended a head for the tokenizer but not for the framing: `/two` vanished between them.
#[test]
fn fault_06_a_bare_lf_never_ends_a_head() {
    let text = b"GET /one HTTP/1.1\nHost: a\n\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(request(text), Err(HeadError::BareLf));
    let mixed = b"GET /one HTTP/1.1\r\nHost: a\r\n\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(request(mixed), Err(HeadError::BareLf));
    let answer = b"HTTP/1.1 200 OK\r\nA: b\n\nHTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(response(answer, Method::Get), Err(HeadError::BareLf));
}

/// Each of these was accepted, one way or the other.
#[test]
fn fault_07_doubtful_framing_is_refused() {
    let rows = [
        (
            "1.1",
            "Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
            HeadError::LengthWithTransferEncoding,
        ),
        ("1.1", "Host: a\r\nContent-Length: 4\r\nContent-Length: 5", HeadError::SeveralLengths),
        (
            "1.1",
            "Host: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            HeadError::UnknownTransferEncoding,
        ),
        (
            "1.1",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            HeadError::SeveralTransferEncodings,
        ),
        ("1.0", "Host: a\r\nTransfer-Encoding: chunked", HeadError::TransferEncodingInHttp10),
        ("1.1", "Accept: x", HeadError::MissingHost),
    ];
    for (version, headers, expected) in rows {
        let text = format!("POST / HTTP/{version}\r\n{headers}\r\n\r\n");
        assert_eq!(request(text.as_bytes()), Err(expected), "{headers:?}");
    }
}

/// An empty size line counted as the last chunk.
#[test]
fn fault_08_an_empty_size_line_does_not_end_a_body() {
    for text in [&b"\r\n\r\nGET / HTTP/1.1\r\n"[..], b"1\r\na\r\n\r\n\r\nGET / HTTP/1.1\r\n"] {
        assert_eq!(read_chunks(text).end, Err(BodyError::EmptyChunkSize));
    }
}

/// Chunk extensions were refused, though legal.
#[test]
fn fault_08_chunk_extensions_are_taken() {
    let body = read_chunks(b"3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n");
    assert_eq!((&body.data[..], body.end), (&b"abc"[..], Ok(true)));
}

/// Only whole chunks and whole bodies came out, so a chunk of 1 GB was held in memory.
#[test]
fn fault_09_a_byte_of_a_huge_body_passes_at_once() {
    for (framing, front) in
        [(Framing::Chunked, &b"40000000\r\n"[..]), (Framing::Length(1 << 30), b"")]
    {
        let mut reader = BodyReader::new(framing);
        let mut buffer = BytesMut::from(front);
        assert_eq!(reader.pull(&mut buffer), Ok(Pulled::NeedMore));
        for byte in [&b"a"[..], b"b", b"c"] {
            buffer.extend_from_slice(byte);
            assert_eq!(reader.pull(&mut buffer), Ok(Pulled::Data(byte.into())));
            assert!(buffer.is_empty(), "nothing is held back");
        }
    }
}

/// Chunks under 8 KiB were copied together and not sent until there were 8 KiB, so no token left.
#[test]
fn fault_10_a_small_chunk_is_complete_as_soon_as_it_is_written() {
    let mut out = BytesMut::new();
    out.extend_from_slice(&chunk_prefix(NonZeroUsize::MIN));
    out.extend_from_slice(b"t");
    out.extend_from_slice(CHUNK_END);
    assert_eq!(read_chunks(&out).data, b"t");
    assert_eq!(out, "1\r\nt\r\n");
}

/// Cloning an error recursed for ever.
#[test]
fn fault_13_errors_are_plain_values() {
    fn is_plain<T: Copy + Eq + std::error::Error>(error: T) -> bool {
        let copy = error;
        copy == error && !error.to_string().is_empty()
    }
    assert!(is_plain(HeadError::TooLong) && is_plain(BodyError::Truncated));
}

/// `Expect: 100-continue` was unknown: such clients waited.
#[test]
fn fault_14_a_client_that_waits_for_continue_is_seen() {
    let head = good_request(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(head.expect_continue);
}

/// Trailers were an error.
#[test]
fn fault_15_trailers_are_skipped() {
    let body = read_chunks(b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\nnext");
    assert_eq!((&body.data[..], body.end, &body.left[..]), (&b"abc"[..], Ok(true), &b"next"[..]));
}

/// A read that was given up took the bytes read so far with it. Here they stay with the caller: a parser that has to
/// wait owns nothing of them.
#[test]
fn fault_16_waiting_for_more_takes_no_bytes_away() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut progress = Progress::default();
    let limits = HeadLimits::default();
    assert_eq!(parse_request(&text[..20], &mut progress, &limits), Ok(None));
    let head = parse_request(text, &mut progress, &limits).unwrap();
    assert_eq!(head, Some(good_request(text)));
}

/// A connection went back to the pool though its body was cut, and the next exchange read the rest of it.
#[test]
fn fault_17_a_body_that_was_not_read_to_its_end_says_so() {
    for (framing, part) in [
        (Framing::Length(5), &b"abcd"[..]),
        (Framing::Chunked, b"4\r\nabcd\r\n0\r\n"),
        (Framing::UntilClose, b"abcd"),
    ] {
        let mut reader = BodyReader::new(framing);
        let mut rest = part;
        while let Ok(Piece::Data { skip, len }) = reader.next(rest) {
            assert!(!reader.is_done());
            rest = &rest[skip + len..];
        }
        assert!(!reader.is_done(), "{framing:?}");
    }
}

/// Errors of HTTP/1.1 spoke of HTTP/2.
#[test]
fn fault_19_messages_are_about_what_was_sent() {
    let error = request(b"GET / HTTP/1.1\nHost: a\n\n").unwrap_err();
    assert_eq!(error.to_string(), "A line of the head ends in LF alone: end each line with CR LF.");
}
