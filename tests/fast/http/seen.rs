//! Heads that are recognised when they come again: never taken for another, and read as the parser would.

use bytes::Bytes;
use proptest::prelude::*;
use trunkline::wire::{
    head::{Framing, RequestHead},
    seen::SeenHead,
};

use super::{good_request, request};

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: 1024\r\n\
    Authorization: Bearer k\r\n\r\n";

fn seen(head: &str) -> SeenHead {
    SeenHead::new(good_request(head.as_bytes()), Bytes::copy_from_slice(head.as_bytes()))
}

fn framing_of(buffer: &str) -> Option<Framing> {
    seen(HEAD).again(buffer.as_bytes()).map(|again| again.framing)
}

#[test]
fn the_same_head_with_another_length_is_the_same_head() {
    for length in ["0", "7", "1024", "33554432", "007"] {
        let buffer = HEAD.replace("1024", length) + "{\"model\":";
        let again = seen(HEAD).again(buffer.as_bytes()).expect("the same");
        assert_eq!(again.framing, Framing::Length(length.parse().expect("digits")));
        assert_eq!(&buffer[again.len..], "{\"model\":");
    }
}

#[test]
fn another_head_is_not_recognised() {
    let changes = [
        HEAD.replace("1024", ""),
        HEAD.replace("1024", "1 024"),
        HEAD.replace("1024", "-1"),
        HEAD.replace("1024", "99999999999999999999"),
        HEAD.replace("Bearer k", "Bearer l"),
        HEAD.replace("POST", "PUT"),
        HEAD.replace("k\r\n\r\n", "k\r\nx: y\r\n\r\n"),
        HEAD[..HEAD.len() - 1].to_owned(),
        format!("\r\n{HEAD}"),
        String::new(),
    ];
    for changed in changes {
        assert_eq!(framing_of(&changed), None, "{changed}");
    }
}

#[test]
fn a_head_without_a_length_is_compared_as_a_whole() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let again = seen(chunked).again(format!("{chunked}5\r\n").as_bytes());
    assert_eq!(again.map(|again| again.framing), Some(Framing::Chunked));
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(seen(get).again(get.as_bytes()).map(|again| again.len), Some(get.len()));
    assert!(seen(get).again(&get.as_bytes()[..get.len() - 2]).is_none());
}

#[test]
fn heads_that_differ_in_the_length_alone_share_a_place() {
    let hasher = std::hash::RandomState::new();
    let hash = |head: &str| seen(head).hash(&hasher);
    assert_eq!(hash(HEAD), hash(&HEAD.replace("1024", "9")));
    assert_ne!(hash(HEAD), hash(&HEAD.replace("Bearer k", "Bearer l")));
}

/// The same but for where it ends and what is in its fields.
fn describe(head: &RequestHead) -> impl PartialEq + std::fmt::Debug {
    (head.method, head.version, head.keep_alive, head.expect_continue, head.upgrade)
}

proptest! {
    /// Whatever is changed in a head: what is recognised is what the parser would have read.
    #[test]
    fn what_is_recognised_reads_the_same(
        at in 0..HEAD.len(),
        cut in 0..3_usize,
        put in proptest::collection::vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), Just(b'0'), Just(b'9'), any::<u8>()
        ], 0..3),
    ) {
        let mut bytes = HEAD.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put);
        let known = seen(HEAD);
        if let Some(again) = known.again(&bytes) {
            let read = request(&bytes).expect("good").expect("complete");
            prop_assert_eq!(read.len, again.len);
            prop_assert_eq!(read.framing, again.framing);
            prop_assert_eq!(describe(&read), describe(known.head()));
        }
    }
}
