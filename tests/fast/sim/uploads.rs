//! Bodies that are passed on as they come: what goes wrong while one is under way.

use super::{Gate, client::Conn, millis, secs, target::*};
use crate::world::Link;

/// An upload of so many bytes; `chunked` says no length beforehand.
fn upload(bytes: usize, chunked: bool) -> Vec<u8> {
    let start =
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f.jsonl\"\r\n\r\n";
    let body = format!("{start}{}\r\n--x--\r\n", "y".repeat(bytes));
    let framing = match chunked {
        true => "transfer-encoding: chunked".to_owned(),
        false => format!("content-length: {}", body.len()),
    };
    let mut request = format!(
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\nx-portkey-config: main\r\n\
         content-type: multipart/form-data; boundary=x\r\n{framing}\r\n\r\n"
    );
    match chunked {
        true => {
            let pieces: Vec<_> = body.as_bytes().chunks(1000).collect();
            for piece in pieces {
                let piece = std::str::from_utf8(piece).expect("text");
                request.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
            }
            request.push_str("0\r\n\r\n");
        }
        false => request.push_str(&body),
    }
    request.into_bytes()
}

#[test]
fn pass_whole_with_a_length_and_without() {
    for chunked in [false, true] {
        let gate = Gate::new(1);
        let answer = gate.post(&upload(300_000, chunked));
        assert_eq!((answer.status, answer.complete), (200, true), "{answer:?}");
        let record = gate.record();
        assert!(record.client_bytes_in > 300_000, "{record:?}");
        assert_eq!(record.attempts.len(), 1);
        gate.close();
    }
}

#[test]
fn fall_over_only_before_they_have_begun() {
    let gate = Gate::new(1);
    gate.target("a").refuses();
    assert_eq!(gate.post(&upload(1000, false)).status, 200);
    assert_eq!(gate.target("b").asked(), 1);
    let gate = Gate::new(1);
    gate.target("a").does([Act::Wait(millis(10)), Act::Reset]);
    let answer = gate.post(&upload(500_000, false));
    assert!(answer.status >= 500 && answer.is_error(), "{answer:?}");
    assert_eq!(gate.target("b").connections(), 0);
    gate.close();
}

#[test]
fn an_early_refusal_is_heard() {
    let body = r#"{"error":{"message":"no","type":"too_large"}}"#;
    let refusal = format!(
        "HTTP/1.1 413 Payload Too Large\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    for stays in [false, true] {
        let gate = Gate::new(1);
        let mut acts = vec![Act::Wait(millis(1)), Act::say(&*refusal)];
        acts.extend(stays.then_some(Act::Wait(secs(100))));
        gate.target("a").does(acts);
        let answer = gate.post(&upload(500_000, true));
        assert_eq!((answer.status, answer.error().as_deref()), (413, Some("too_large")), "{stays}");
        gate.close();
    }
}

#[test]
fn a_client_that_leaves_takes_its_upload_with_it() {
    let gate = Gate::new(1);
    let request = upload(100_000, false);
    let conn = gate.begin(&request[..50_000], secs(1));
    assert_eq!(gate.target("a").open(), 1);
    drop(conn);
    gate.world.run_for(millis(10));
    assert_eq!(gate.target("a").open(), 0);
    assert!(gate.record().client_gone);
    assert_eq!(gate.target("b").connections(), 0);
    gate.close();
}

#[test]
fn a_slow_upstream_slows_the_client() {
    let narrow = Link { capacity: 4000, ..Link::default() };
    let gate = super::Setup::new(1).links(narrow, narrow).open();
    gate.target("a").does([Act::Wait(secs(20)), Act::Hear, Act::say(plain("a"))]);
    let net = gate.world.net();
    let request = upload(200_000, false);
    let (sent_after, answer) = gate.run(async move {
        use trunkline::io::net::Net;
        let mut conn = Conn::open(&net).await;
        let begun = net.now();
        conn.send(&request).await;
        (net.now().since(begun), conn.answer().await)
    });
    assert!(sent_after >= secs(20), "somebody held it all: {sent_after:?}");
    assert_eq!(answer.status, 200);
}

#[test]
fn an_upload_that_pauses_is_given_up() {
    let gate = Gate::new(1);
    let request = upload(100_000, true);
    let mut conn = gate.begin(&request[..50_000], millis(0));
    let answer = gate.run(async move { conn.answer().await });
    assert_eq!((answer.status, answer.error().as_deref()), (408, Some("timeout_error")));
    assert!((secs(30)..secs(31)).contains(&answer.took));
    assert_eq!(gate.target("a").open(), 0);
    gate.close();
}
