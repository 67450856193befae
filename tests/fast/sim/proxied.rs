//! Clients behind a load balancer: the PROXY protocol before the first byte, and `X-Forwarded-For`.

use super::{
    Gate, Setup,
    client::{Conn, chat, chat_body, post},
    millis, secs,
};

/// What the balancer writes for 192.0.2.1, in both versions.
fn headers() -> [Vec<u8>; 2] {
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    binary.extend([192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb, 4, 0, 0]);
    [b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), binary]
}

/// Every client of these worlds comes from 127.0.0.1.
fn trusting() -> Gate {
    Setup::new(1).file("trusted_proxies: [127.0.0.1, 10.0.0.0/8]").open()
}

#[test]
fn the_client_of_a_proxy_header_is_in_the_record_wherever_it_is_cut() {
    let gate = trusting();
    for header in headers() {
        let bytes = [&header[..], &chat("hi", false)].concat();
        for cut in 0..=header.len() + 4 {
            let (net, front, back) =
                (gate.world.net(), bytes[..cut].to_vec(), bytes[cut..].to_vec());
            let answer = gate.run(async move {
                let mut conn = Conn::open(&net).await;
                conn.send(&front).await;
                trunkline::io::net::Net::sleep_until(
                    &net,
                    trunkline::io::net::Net::now(&net).after(millis(50)),
                )
                .await;
                conn.send(&back).await;
                conn.answer().await
            });
            assert_eq!(answer.served_by(), "a", "cut at {cut}");
            assert_eq!(gate.record().client_address, "192.0.2.1:56324", "cut at {cut}");
        }
    }
    gate.close();
}

#[test]
fn it_holds_for_all_requests_of_its_connection_and_outranks_what_the_client_says() {
    let gate = trusting();
    let header = headers()[0].clone();
    let spoofed =
        post("/v1/chat/completions", "x-forwarded-for: 198.51.100.7\r\n", &chat_body("hi", false));
    let mut conn = gate.begin(&[&header[..], &spoofed].concat(), millis(100));
    let answers = gate.run(async move {
        let first = conn.answer().await;
        conn.send(&spoofed).await;
        (first, conn.answer().await)
    });
    assert_eq!((answers.0.status, answers.1.status), (200, 200));
    for record in gate.records() {
        assert_eq!(record.client_address, "192.0.2.1:56324");
    }
}

#[test]
fn a_trusted_peer_may_send_none_and_balancers_speak_for_themselves() {
    let gate = trusting();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for start in [&b""[..], b"PROXY UNKNOWN\r\n", local] {
        let answer = gate.post(&[start, &chat("hi", false)].concat());
        assert_eq!(answer.served_by(), "a");
        assert_eq!(gate.record().client_address, "127.0.0.1:50000");
    }
    // A proxy that speaks HTTP, of a chain of which two are trusted.
    let named = |list: &str| {
        let header = format!("x-forwarded-for: {list}\r\n");
        gate.post(&post("/v1/chat/completions", &header, &chat_body("hi", false)));
        gate.record().client_address.to_string()
    };
    assert_eq!(named("192.0.2.66, 203.0.113.5, 10.1.2.3"), "203.0.113.5");
    assert_eq!(named("[2001:db8::7]:99"), "[2001:db8::7]:99");
    assert_eq!(named("203.0.113.5, unknown"), "127.0.0.1:50000");
    gate.close();
}

#[test]
fn nobody_else_is_believed() {
    for gate in [Gate::new(1), Setup::new(1).file("trusted_proxies: [10.0.0.0/8]").open()] {
        for header in headers() {
            let answer = gate.post(&[&header[..], &chat("hi", false)].concat());
            assert_eq!(
                (answer.status, answer.error().as_deref()),
                (400, Some("invalid_request_error"))
            );
            assert!(answer.complete);
        }
        assert_eq!(gate.counters.malformed_heads.get(), 2);
        let header = "x-forwarded-for: 203.0.113.5\r\n";
        gate.post(&post("/v1/chat/completions", header, &chat_body("hi", false)));
        assert_eq!(gate.record().client_address, "127.0.0.1:50000");
        gate.close();
    }
}

#[test]
fn a_header_that_is_none_is_answered() {
    let gate = trusting();
    for (header, words) in [
        (&b"PROXY TCP4 nonsense\r\n"[..], "write e.g. PROXY TCP4"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", "version"),
        (&[b"PROXY UNKNOWN "[..].to_vec(), vec![b'x'; 200]].concat(), "107 bytes"),
    ] {
        let answer = gate.post(header);
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    assert_eq!(gate.counters.malformed_heads.get(), 3);
    assert_eq!(gate.records().len(), 0);
    gate.close();
}

#[test]
fn a_connection_that_says_nothing_ends_with_a_drain_or_in_time() {
    let gate = trusting();
    let idle = gate.begin(b"", millis(100));
    let begun = gate.begin(b"PROXY TC", millis(100));
    assert_eq!(gate.world.open_connections(), 2);
    gate.world.run_for(secs(12));
    drop(begun);
    gate.world.run_for(secs(1));
    assert_eq!(gate.world.open_connections(), 1, "a head that was begun has ten seconds");
    gate.world.run_for(secs(70));
    drop(idle);
    gate.world.run_for(secs(1));
    assert_eq!(gate.world.open_connections(), 0);
    let idle = gate.begin(b"", millis(100));
    gate.gateway.drain();
    gate.world.run_for(millis(100));
    drop(idle);
    gate.close();
}

#[test]
fn an_ipv4_client_is_logged_as_ipv4_however_it_is_written() {
    let gate = trusting();
    let mapped = [0xff, 0xff, 192, 0, 2, 1];
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    for _ in 0..2 {
        binary.extend([0; 10]);
        binary.extend(mapped);
    }
    binary.extend([0xdc, 4, 1, 0xbb]);
    let line = b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 56324 443\r\n".to_vec();
    for header in [line, binary] {
        let answer = gate.post(&[&header[..], &chat("hi", false)].concat());
        assert_eq!(answer.served_by(), "a");
        assert_eq!(gate.record().client_address, "192.0.2.1:56324");
    }
}

#[test]
fn a_proxy_line_with_a_line_feed_alone_is_answered_at_once() {
    let gate = trusting();
    let answer = gate.post(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\nGET / HTTP/1.1\r\n");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("carriage return and line feed"), "{}", answer.text());
    assert!(answer.took < secs(1), "{:?}", answer.took);
}
