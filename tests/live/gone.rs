//! Clients that go away: whatever Trunkline is doing for them is called off, and the record says so.

use std::net::Shutdown;

use crate::harness::{
    Conn, Driver, Gateway, Upstream, gateway,
    http::{chat, chat_stream, post},
    on_both_drivers, pause,
    upstream::{STREAM_HEAD, chunk, delta, error_answer},
};

on_both_drivers!(
    while_the_first_byte_is_waited_for,
    between_two_tokens,
    during_a_retry_back_off,
    while_an_upload_is_under_way,
    while_its_body_is_read,
);

/// How a client goes away.
#[derive(Clone, Copy)]
enum Way {
    /// It closes its sending side and waits: by the contract that is going away too.
    Fin,
    /// It is gone, with a reset.
    Reset,
    /// It closes, as a program that ends does.
    Close,
}

const WAYS: [Way; 3] = [Way::Fin, Way::Reset, Way::Close];

/// Goes away; what is handed back keeps the socket open if the way asks for it.
fn leave(conn: Conn, way: Way) -> Option<Conn> {
    match way {
        Way::Fin => {
            conn.stream.shutdown(Shutdown::Write).expect("a socket");
            Some(conn)
        }
        Way::Reset => {
            let linger = Some(std::time::Duration::ZERO);
            socket2::SockRef::from(&conn.stream).set_linger(linger).expect("a socket");
            None
        }
        Way::Close => None,
    }
}

fn while_the_first_byte_is_waited_for(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.request();
        peer.wait_for_close();
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    for (number, way) in WAYS.into_iter().enumerate() {
        let mut conn = gateway.connect();
        conn.send(&post("/v1/chat/completions", "", &chat("m")));
        up.hears(number + 1);
        let kept = leave(conn, way);
        up.sees_close(number);
        drop(kept);
    }
    for record in gateway.records(WAYS.len()) {
        assert_eq!(
            (&record["client_gone"], &record["error"]),
            (&true.into(), &"client_gone".into())
        );
    }
}

fn between_two_tokens(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.request();
        peer.send(STREAM_HEAD);
        peer.send(&chunk(&delta("one")));
        peer.wait_for_close();
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    for (number, way) in WAYS.into_iter().enumerate() {
        let mut conn = gateway.connect();
        conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
        conn.head().expect("a head");
        assert_eq!(conn.event(&mut Vec::new()), Some(delta("one")));
        let kept = leave(conn, way);
        up.sees_close(number);
        drop(kept);
    }
    for record in gateway.records(WAYS.len()) {
        assert_eq!(record["client_gone"], true);
        assert_eq!((&record["status"], &record["truncated"]), (&200.into(), &false.into()));
    }
}

fn during_a_retry_back_off(driver: Driver) {
    let up = Upstream::answering(error_answer(503, ""));
    let config = gateway::simple(up.port).replace(
        "plain: { virtual_key: up }",
        "plain: { virtual_key: up, retry: { attempts: 3 } }",
    );
    let gateway = Gateway::new(driver).config(config).start();
    for (number, way) in WAYS.into_iter().enumerate() {
        let mut conn = gateway.connect();
        conn.send(&post("/v1/chat/completions", "", &chat("m")));
        up.hears(number + 1);
        pause(100);
        drop(leave(conn, way));
        gateway.records(number + 1);
    }
    pause(1500);
    assert_eq!(up.requests().len(), WAYS.len(), "no second try came");
    for record in gateway.records(WAYS.len()) {
        assert_eq!(record["client_gone"], true);
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    }
}

fn while_an_upload_is_under_way(driver: Driver) {
    let up = Upstream::start(|peer| {
        peer.head();
        peer.wait_for_close();
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    for (number, way) in WAYS.into_iter().enumerate() {
        let mut conn = gateway.connect();
        let head =
            "content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000000\r\n\r\n";
        let head = crate::harness::http::bare("POST", "/v1/files", head);
        conn.send(&head[..head.len() - 2]);
        conn.send(&[b'x'; 1000]);
        crate::harness::wait_for("the upload", || (up.connections() > number).then_some(()));
        let kept = leave(conn, way);
        up.sees_close(number);
        drop(kept);
    }
    for record in gateway.records(WAYS.len()) {
        assert_eq!(record["client_gone"], true);
    }
}

fn while_its_body_is_read(driver: Driver) {
    let up = Upstream::answering(error_answer(500, ""));
    let gateway = Gateway::in_front_of(driver, up.port);
    for way in WAYS {
        let mut conn = gateway.connect();
        let request = post("/v1/chat/completions", "", &chat("m"));
        conn.send(&request[..request.len() - 5]);
        pause(50);
        drop(leave(conn, way));
    }
    for record in gateway.records(WAYS.len()) {
        assert_eq!(record["client_gone"], true);
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(0));
    }
    assert_eq!(up.connections(), 0);
}
