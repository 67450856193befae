//! SIGTERM: what runs is finished, what idles is closed, nothing new begins, the exit code is 0.

use std::net::TcpStream;

use rustix::process::Signal;

use crate::{
    harness::{
        Conn, Driver, End, Gateway, Upstream,
        http::{chat_stream, post},
        log, on_both_drivers,
        upstream::{DONE, FINISH, STREAM_HEAD, chunk, delta},
        wait_for,
    },
    streams::Gate,
};

on_both_drivers!(
    running_streams_are_finished,
    a_request_under_way_is_still_served,
    a_second_signal_ends_at_once,
    what_does_not_end_is_cut,
    sigint_is_the_same,
);

fn gated(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |peer| {
        peer.request();
        peer.send(&[STREAM_HEAD, &chunk(&delta("one"))].concat());
        gate.pass();
        peer.send(&[&*chunk(&[&*delta("two"), FINISH, DONE].concat()), b"0\r\n\r\n"].concat());
        peer.wait_for_close();
    })
}

fn begin(gateway: &Gateway) -> Conn {
    let mut conn = gateway.connect();
    conn.send(&post("/v1/chat/completions", "", &chat_stream("m")));
    assert_eq!(conn.head().expect("a head").0, 200);
    assert_eq!(conn.event(&mut Vec::new()), Some(delta("one")));
    conn
}

fn finish(mut conn: Conn) {
    let mut held = Vec::new();
    assert_eq!(conn.event(&mut held), Some(delta("two")));
    assert_eq!(conn.event(&mut held).as_deref(), Some(FINISH));
    assert_eq!(conn.event(&mut held).as_deref(), Some(DONE));
    assert_eq!((conn.event(&mut held), conn.end()), (None, End::Chunked));
    assert_eq!(conn.rest(), b"", "the connection is closed after its answer");
}

fn running_streams_are_finished(driver: Driver) {
    let gate = Gate::default();
    let up = gated(&gate);
    let mut gateway = Gateway::in_front_of(driver, up.port);
    let mut idle = gateway.connect();
    assert_eq!(idle.ask(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").status, 200);
    let mut never = gateway.connect();
    let streams: Vec<Conn> = (0..3).map(|_| begin(&gateway)).collect();
    gateway.signal(Signal::TERM);
    assert_eq!(idle.rest(), b"", "an idle connection is closed");
    assert_eq!(never.rest(), b"", "one that never asked as well");
    wait_for("new connections to be refused", || {
        TcpStream::connect(gateway.address).is_err().then_some(())
    });
    (0..3).for_each(|_| gate.open());
    streams.into_iter().for_each(finish);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.said());
    let records = log::records(&gateway.log_dir());
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record["truncated"] == false), "{records:#?}");
    assert!(log::check(&gateway.log_dir()).0);
}

fn a_request_under_way_is_still_served(driver: Driver) {
    let gate = Gate::default();
    gate.open();
    let up = gated(&gate);
    let mut gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    let request = post("/v1/chat/completions", "", &chat_stream("m"));
    conn.send(&request[..40]);
    let mut idle = gateway.connect();
    crate::harness::pause(100);
    gateway.signal(Signal::TERM);
    assert_eq!(idle.rest(), b"");
    conn.send(&request[40..]);
    let got = conn.answer();
    assert_eq!((got.status, got.end), (200, End::Chunked));
    assert_eq!(got.header("connection"), Some("close"), "{}", got.head);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.said());
}

fn a_second_signal_ends_at_once(driver: Driver) {
    let gate = Gate::default();
    let up = gated(&gate);
    let mut gateway = Gateway::in_front_of(driver, up.port);
    let mut streams: Vec<Conn> = (0..3).map(|_| begin(&gateway)).collect();
    gateway.signal(Signal::TERM);
    gateway.hears("draining");
    gateway.signal(Signal::INT);
    streams.iter_mut().for_each(is_told_of_the_cut);
    assert_eq!(gateway.wait().code(), Some(1), "{}", gateway.said());
    gateway.hears("stopped; 3 records written, 0 dropped");
    has_records_of_the_cut(&gateway, 3);
}

/// A stream that is cut says so, and does not end as a whole one does.
fn is_told_of_the_cut(conn: &mut Conn) {
    let event = conn.event(&mut Vec::new()).expect("an event");
    assert!(event.contains("overloaded_error") && event.contains("was stopped"), "{event}");
    assert_eq!(conn.rest(), b"", "no end mark");
}

fn has_records_of_the_cut(gateway: &Gateway, streams: usize) {
    let records = log::records(&gateway.log_dir());
    assert_eq!(records.len(), streams);
    for record in records {
        assert_eq!((&record["truncated"], &record["status"]), (&true.into(), &200.into()));
        assert_eq!(record["error"], "overloaded", "{record:#}");
    }
    assert!(log::check(&gateway.log_dir()).0);
}

fn what_does_not_end_is_cut(driver: Driver) {
    if std::env::var_os("TRUNKLINE_FULL").is_none() {
        println!("skipped: takes the 30 s of the drain; TRUNKLINE_FULL=1 runs it");
        return;
    }
    let up = Upstream::start(|peer| {
        peer.request();
        peer.send(&[STREAM_HEAD, &chunk(&delta("one"))].concat());
        peer.wait_for_close();
    });
    let mut gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = begin(&gateway);
    gateway.signal(Signal::TERM);
    crate::harness::pause(20_000);
    assert_eq!(gateway.count_said("still open after"), 0, "too early");
    gateway.hears("still open after");
    is_told_of_the_cut(&mut conn);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.said());
    has_records_of_the_cut(&gateway, 1);
}

fn sigint_is_the_same(driver: Driver) {
    let up = Upstream::answering("");
    let mut gateway = Gateway::in_front_of(driver, up.port);
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.said());
}
