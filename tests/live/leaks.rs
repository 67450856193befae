//! Nothing is left behind: descriptors of connections that were abandoned in any phase, and places under the cap.

use crate::harness::{
    Driver, Gateway, Upstream, gateway,
    http::{chat, chat_stream, post},
    on_both_drivers, pause,
    upstream::{STREAM_HEAD, chunk, delta, error_answer, json_answer},
    wait_for,
};

on_both_drivers!(
    abandoned_exchanges_leave_no_descriptor,
    connects_that_never_succeed_leave_no_descriptor,
    connections_over_the_cap_are_told_and_counted_out,
    damaged_requests_are_survived,
);

/// Open descriptors of a process.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

fn back_to(gateway: &Gateway, before: usize) {
    wait_for(&format!("{before} descriptors"), || {
        let now = descriptors(gateway.pid());
        // One upstream connection may idle in the pool.
        (now <= before + 1).then_some(())
    });
}

fn abandoned_exchanges_leave_no_descriptor(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            let text = heard.text();
            if text.contains("silent") {
                peer.wait_for_close();
            } else if text.contains("\"stream\":true") {
                peer.send(&[STREAM_HEAD, &chunk(&delta("one"))].concat());
                peer.wait_for_close();
            } else if text.contains("fails") {
                peer.send(&error_answer(503, ""));
            } else {
                peer.send(&json_answer("{}"));
            }
        }
    });
    let config = gateway::simple(up.port).replace(
        "plain: { virtual_key: up }",
        "plain: { virtual_key: up, retry: { attempts: 2 } }",
    );
    let gateway = Gateway::new(driver).config(config).start();
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
    pause(100);
    let before = descriptors(gateway.pid());
    for _ in 0..10 {
        for body in [chat("silent"), chat_stream("m"), chat("fails"), chat("m")] {
            let request = post("/v1/chat/completions", "", &body);
            for sent in [0, 10, request.len() - 3, request.len()] {
                let mut conn = gateway.connect();
                conn.send(&request[..sent]);
                drop(conn);
            }
            // This one is under way when it is abandoned.
            let mut conn = gateway.connect();
            conn.send(&request);
            pause(5);
        }
    }
    back_to(&gateway, before);
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
}

fn connects_that_never_succeed_leave_no_descriptor(driver: Driver) {
    let full = crate::errors::FullQueue::new();
    let config = format!("timeouts: {{ connect: 100ms }}\n{}", gateway::simple(full.port()));
    let gateway = Gateway::new(driver).config(config).start();
    let before = descriptors(gateway.pid());
    for round in 0..10 {
        let mut conn = gateway.connect();
        conn.send(&post("/v1/chat/completions", "", &chat("m")));
        if round % 2 == 0 {
            assert_eq!(conn.answer().status, 504);
        } else {
            pause(20);
        }
    }
    back_to(&gateway, before);
}

fn connections_over_the_cap_are_told_and_counted_out(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let config = format!("limits: {{ connections: 3 }}\n{}", gateway::simple(up.port));
    let gateway = Gateway::new(driver).config(config).start();
    let alive = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for _ in 0..3 {
        let mut three: Vec<_> = wait_for("three places", || {
            let mut three: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
            three.iter_mut().all(|conn| conn.ask(alive).status == 200).then_some(three)
        });
        let mut fourth = gateway.connect();
        let got = fourth.answer();
        assert_eq!((got.status, got.error_type()), (503, "overloaded_error".into()));
        assert_eq!(got.header("retry-after"), Some("1"));
        assert!(three.iter_mut().all(|conn| conn.ask(alive).status == 200));
    }
}

/// Bytes in every order: the gateway answers or closes, and goes on.
fn damaged_requests_are_survived(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let good = post("/v1/chat/completions", "expect: 100-continue\r\n", &chat("m"));
    let mut seed = 0x5eed_u64;
    for _ in 0..300 {
        let mut bytes = good.repeat(2);
        for _ in 0..4 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 20) as u8;
        }
        let mut conn = gateway.connect();
        conn.try_send(&bytes);
        drop(conn);
    }
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
    assert!(!gateway.said().contains("panicked"), "{}", gateway.said());
}
