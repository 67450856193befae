//! Slow clients and slow upstreams: what is buffered stays bounded, and nothing is lost.

use bytes::Bytes;

use super::{Gate, Setup, client, millis, secs, target::*};
use crate::world::Link;

#[test]
fn a_client_that_does_not_read_slows_the_upstream() {
    let gate = Gate::new(1);
    let filler = Bytes::from(word(&"x".repeat(1000)));
    let acts = [Act::Hear, Act::say(STREAM_HEAD), Act::say(word("a")), Act::Repeat(filler)];
    gate.target("a").does(acts);
    let conn = gate.begin(&client::chat("hi", true), secs(10));
    let sent = gate.target("a").sent_bytes();
    // Two links of 64 KiB, a read buffer or two, and nothing that grows.
    assert!((100_000..250_000).contains(&sent), "{sent} bytes are somewhere");
    gate.world.run_for(secs(60));
    assert_eq!(gate.target("a").sent_bytes(), sent);
    drop(conn);
    gate.close();
}

#[test]
fn a_client_that_does_not_read_slows_a_plain_answer() {
    let gate = Gate::new(1);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                content-length: 100000000\r\n\r\n{\"x\": \"";
    let filler = Bytes::from("x".repeat(1000));
    gate.target("a").does([Act::Hear, Act::say(head), Act::Repeat(filler)]);
    let _conn = gate.begin(&client::chat("hi", false), secs(10));
    let sent = gate.target("a").sent_bytes();
    assert!((100_000..300_000).contains(&sent), "{sent} bytes are somewhere");
}

#[test]
fn a_slow_reader_gets_everything() {
    let narrow = Link { capacity: 1000, fragment: Some(50), ..Link::default() };
    let gate = Setup::new(1).links(narrow, narrow).open();
    gate.target("a").is("chunks=300&chunk_bytes=100");
    let mut conn = gate.begin(&client::chat("hi", true), millis(0));
    let net = gate.world.net();
    let answer = gate.run(async move {
        use trunkline::io::net::Net;
        while conn.buffer.len() < 30_000 {
            net.sleep_until(net.now().after(millis(5))).await;
            conn.fill(100).await;
        }
        conn.answer().await
    });
    assert!(answer.is_whole(), "{answer:?}");
    assert_eq!(answer.said().len(), 30_000);
}

#[test]
fn a_body_that_arrives_byte_by_byte() {
    let gate = Gate::new(1);
    let request = client::chat("hello", false);
    let net = gate.world.net();
    let answer = gate.run(async move {
        use trunkline::io::net::Net;
        let mut conn = client::Conn::open(&net).await;
        for byte in request {
            conn.send(&[byte]).await;
            net.sleep_until(net.now().after(millis(20))).await;
        }
        conn.answer().await
    });
    assert_eq!(answer.served_by(), "a");
    assert_eq!(gate.target("a").bodies(), [client::chat_body("hello", false).to_string()]);
    gate.close();
}

#[test]
fn a_chunked_body_that_arrives_byte_by_byte() {
    let gate = Gate::new(1);
    let body = client::chat_body("hello", false).to_string();
    let mut request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\
        x-portkey-config: main\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for piece in body.as_bytes().chunks(7) {
        request.extend(format!("{:x}\r\n", piece.len()).bytes());
        request.extend(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let net = gate.world.net();
    let answer = gate.run(async move {
        use trunkline::io::net::Net;
        let mut conn = client::Conn::open(&net).await;
        for byte in request {
            conn.send(&[byte]).await;
            net.sleep_until(net.now().after(millis(1))).await;
        }
        conn.answer().await
    });
    assert_eq!(answer.served_by(), "a");
    assert_eq!(gate.target("a").bodies(), [body]);
}

#[test]
fn a_body_that_stops_is_given_up() {
    let gate = Gate::new(1);
    let request = client::chat("hi", false);
    let mut conn = gate.begin(&request[..request.len() - 1], millis(0));
    let answer = gate.run(async move { conn.answer().await });
    assert_eq!((answer.status, answer.error().as_deref()), (408, Some("timeout_error")));
    assert!((secs(30)..secs(31)).contains(&answer.took));
    assert_eq!(gate.target("a").connections(), 0);
    gate.close();
}

#[test]
fn an_upstream_that_never_reads_is_left_in_time() {
    let gate = Setup::new(1).file("timeouts: {first_byte: 20s}").open();
    gate.target("a").does([Act::Wait(secs(7200))]);
    let answer = gate.ask(&"x".repeat(500_000));
    assert_eq!(answer.served_by(), "b");
    assert!(answer.took < secs(60), "{:?}", answer.took);
}

#[test]
fn an_upstream_that_reads_slowly_gets_everything() {
    let gate = Gate::new(1);
    gate.target("a").is("slow_read=10000");
    let words = "x".repeat(200_000);
    let answer = gate.ask(&words);
    assert_eq!(answer.served_by(), "a");
    assert_eq!(gate.target("a").bodies(), [client::chat_body(&words, false).to_string()]);
}

#[test]
fn a_client_may_be_slower_than_an_upstream_may_pause() {
    let narrow = Link { capacity: 500, ..Link::default() };
    let file = "timeouts: {idle: 2s}";
    let gate = Setup::new(1).links(narrow, Link::default()).file(file).open();
    gate.target("a").does([Act::Hear, Act::say(plain(&"x ".repeat(10_000)))]);
    let mut conn = gate.begin(&client::chat("hi", false), millis(0));
    conn.pace = (500, millis(300));
    let answer = gate.run(async move { conn.answer().await });
    assert!(answer.is_whole() && answer.took > secs(10), "{:?}", answer.took);
    assert!(!gate.record().client_gone);
}
