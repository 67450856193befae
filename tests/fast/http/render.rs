//! What the codec writes: read back it is what was meant, and nothing that ends a line early ever gets out.

use std::num::NonZeroUsize;

use bytes::BytesMut;
use trunkline::wire::{
    head::{Framing, Method},
    render::{CHUNK_END, CONTINUE, HeadWriter, LAST_CHUNK, RenderError, chunk_prefix, reason},
};

use super::{good_request, good_response, read_chunks};

#[test]
fn a_written_request_reads_back() {
    let mut out = BytesMut::from("before");
    let mut head = HeadWriter::request(&mut out, "POST", &[b"/v1", b"/chat", b"?a=b"]).unwrap();
    head.header("Host", "api.example").unwrap();
    head.header("x-note", "t\u{e4}b\tok").unwrap();
    head.length(17).unwrap();
    head.finish();
    assert_eq!(
        out,
        "beforePOST /v1/chat?a=b HTTP/1.1\r\nHost: api.example\r\nx-note: t\u{e4}b\tok\r\n\
         content-length: 17\r\n\r\n"
            .as_bytes()
    );
    let head = good_request(&out[6..]);
    assert_eq!((head.method, head.framing), (Method::Post, Framing::Length(17)));
}

#[test]
fn a_written_answer_reads_back_with_any_status() {
    for status in [100, 200, 246, 446, 529, 999] {
        let mut out = BytesMut::new();
        let mut head = HeadWriter::response(&mut out, status).unwrap();
        head.chunked().unwrap();
        head.finish();
        assert_eq!(good_response(&out, Method::Get).status, status);
    }
    let mut out = BytesMut::new();
    HeadWriter::response(&mut out, 431).unwrap().finish();
    assert_eq!(out, "HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n");
    assert_eq!((reason(200), reason(999)), ("OK", ""));
    assert!(good_response(CONTINUE, Method::Post).is_interim());
}

#[test]
fn no_value_can_end_its_line() {
    for byte in (0..=255).filter(|byte| *byte != b'\t') {
        let value = [b'a', byte, b'b'];
        let mut out = BytesMut::new();
        let mut head = HeadWriter::response(&mut out, 200).unwrap();
        let is_clean = byte >= b' ' && byte != 0x7f;
        let expected = if is_clean { Ok(()) } else { Err(RenderError::BadValue) };
        assert_eq!(head.header("x", value), expected, "byte {byte:#x}");
        assert_eq!(head.header("x", [&[b'v'; 64][..], &value].concat()), expected);
        head.finish();
        assert_eq!(
            out.windows(2).filter(|pair| pair == b"\r\n").count(),
            2 + 2 * usize::from(is_clean)
        );
    }
}

#[test]
fn names_methods_targets_and_statuses_are_checked() {
    let mut out = BytesMut::from("kept");
    for name in ["", "a b", "a:", "a\r\nb", "\u{e4}"] {
        let mut head = HeadWriter::response(&mut out, 200).unwrap();
        assert_eq!(head.header(name, "v"), Err(RenderError::BadName), "{name:?}");
    }
    let refused = |result: Result<HeadWriter<'_>, RenderError>| result.err();
    for method in ["", "GE T", "GET\r\n"] {
        let begun = HeadWriter::request(&mut out, method, &[b"/"]);
        assert_eq!(refused(begun), Some(RenderError::BadMethod), "{method:?}");
    }
    for target in [&b""[..], b"a", b"/a b", b"/a\r\nX: y", b"/\xc3\xa4", b"http://a/"] {
        let begun = HeadWriter::request(&mut out, "GET", &[b"", target]);
        assert_eq!(refused(begun), Some(RenderError::BadTarget), "{target:?}");
    }
    for status in [0, 99, 1000] {
        assert_eq!(refused(HeadWriter::response(&mut out, status)), Some(RenderError::BadStatus));
    }
    assert_eq!(out, "kept", "nothing of an unfinished head is left");
}

#[test]
fn framing_is_said_once_and_only_by_its_own_methods() {
    let mut out = BytesMut::new();
    let mut head = HeadWriter::response(&mut out, 200).unwrap();
    for name in ["content-length", "Content-Length", "TRANSFER-ENCODING"] {
        assert_eq!(head.header(name, "5"), Err(RenderError::Framing), "{name}");
    }
    head.length(5).unwrap();
    assert_eq!(head.chunked(), Err(RenderError::Framing));
    assert_eq!(head.length(5), Err(RenderError::Framing));
    head.finish();
    assert_eq!(out, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert!(RenderError::Framing.message().ends_with('.'));
}

#[test]
fn written_chunks_read_back() {
    let mut out = BytesMut::new();
    let mut expected = Vec::new();
    for len in [1, 9, 10, 15, 16, 17, 255, 256, 4096, 70_000] {
        out.extend_from_slice(&chunk_prefix(NonZeroUsize::new(len).unwrap()));
        out.extend_from_slice(&vec![b'd'; len]);
        out.extend_from_slice(CHUNK_END);
        expected.resize(expected.len() + len, b'd');
    }
    out.extend_from_slice(LAST_CHUNK);
    let body = read_chunks(&out);
    assert_eq!((body.data == expected, body.end, body.left.len()), (true, Ok(true), 0));
    assert_eq!(chunk_prefix(NonZeroUsize::MAX), "ffffffffffffffff\r\n");
}
