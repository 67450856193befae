//! The client's connection: keep-alive, pipelines, caps, malformed requests, old versions of HTTP.

use super::{
    Gate, Setup,
    answer::{Answer, Ended},
    client::{Conn, chat, chat_body, post},
    millis, secs,
    target::*,
};

/// Sends all of it at once and reads so many answers.
fn answers(gate: &Gate, bytes: Vec<u8>, count: usize) -> Vec<Answer> {
    let net = gate.world.net();
    gate.run(async move {
        let mut conn = Conn::open(&net).await;
        conn.send(&bytes).await;
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(conn.answer().await);
        }
        answers
    })
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for latency in [0, 100] {
        let gate = Gate::new(1);
        gate.target("a").is(&format!("first_byte={latency}ms"));
        let requests: Vec<u8> =
            (0..5).flat_map(|at| chat(&format!("question {at}"), at % 2 == 1)).collect();
        let answers = answers(&gate, requests, 5);
        for (at, answer) in answers.iter().enumerate() {
            assert!(answer.is_whole(), "{at}: {answer:?}");
            assert_eq!(answer.is_stream(), at % 2 == 1);
            assert!(answer.took < secs(1), "{at} took {:?}", answer.took);
        }
        let bodies = gate.target("a").bodies();
        assert!((0..5).all(|at| bodies[at].contains(&format!("question {at}"))), "{bodies:?}");
        assert_eq!(gate.records().len(), 5);
        gate.close();
    }
}

#[test]
fn a_pipelined_request_may_come_in_parts() {
    let gate = Gate::new(1);
    gate.target("a").is("first_byte=1s");
    let requests = [chat("one", false), chat("two", false)].concat();
    for cut in (0..requests.len()).step_by(7) {
        let (first, second) = requests.split_at(cut);
        let (first, second) = (first.to_vec(), second.to_vec());
        let net = gate.world.net();
        let answers = gate.run(async move {
            use trunkline::io::net::Net;
            let mut conn = Conn::open(&net).await;
            conn.send(&first).await;
            net.sleep_until(net.now().after(millis(500))).await;
            conn.send(&second).await;
            [conn.answer().await, conn.answer().await]
        });
        assert!(answers.iter().all(Answer::is_whole), "cut at {cut}: {answers:?}");
    }
}

#[test]
fn more_than_a_buffer_of_pipelined_requests_waits_its_turn() {
    let gate = Gate::new(1);
    gate.target("a").is("first_byte=10ms");
    let requests: Vec<u8> = (0..20).flat_map(|_| chat(&"x".repeat(3000), false)).collect();
    let answers = answers(&gate, requests, 20);
    assert!(answers.iter().all(Answer::is_whole));
}

#[test]
fn a_malformed_head_is_told_and_closed() {
    let gate = Gate::new(1);
    let answers = answers(&gate, b"NOT HTTP AT ALL\r\n\r\n".to_vec(), 1);
    assert_eq!((answers[0].status, answers[0].complete), (400, true));
    assert!(gate.records().is_empty());
    assert_eq!(gate.counters.malformed_heads.get(), 1);
    gate.close();
}

#[test]
fn connections_over_the_cap_are_told_so() {
    let gate = Setup::new(1).connections_max(1).open();
    gate.target("a").is("first_byte=10s");
    let _first = gate.begin(&chat("hi", false), millis(10));
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.error().as_deref()), (503, Some("overloaded_error")));
    assert!(answer.complete);
}

#[test]
fn an_idle_client_is_closed_after_a_while() {
    let gate = Gate::new(1);
    let net = gate.world.net();
    let (waited, ended) = gate.run(async move {
        use trunkline::io::net::Net;
        let mut conn = Conn::open(&net).await;
        conn.send(&chat("hi", false)).await;
        assert!(conn.answer().await.is_whole());
        let begun = net.now();
        while conn.fill(100).await {}
        (net.now().since(begun), conn.ended)
    });
    assert_eq!(ended, Some(Ended::Closed));
    assert!((secs(75)..secs(76)).contains(&waited), "{waited:?}");
}

#[test]
fn an_old_client_is_answered_until_the_connection_closes() {
    let old = |stream: bool| {
        let text = String::from_utf8(chat("hi", stream)).expect("text");
        text.replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
    };
    let gate = Gate::new(1);
    let plain = answers(&gate, old(false), 1).remove(0);
    assert!(plain.is_whole(), "{plain:?}");
    let stream = answers(&gate, old(true), 1).remove(0);
    assert!(stream.is_whole(), "{stream:?}");
    assert_eq!(stream.header("transfer-encoding"), None);
    gate.close();
}

#[test]
fn an_old_client_gets_a_length_or_nothing() {
    let gate = Gate::new(1);
    let body = plain_body(&"x ".repeat(60_000));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n1d557\r\n";
    gate.target("a").does([Act::Hear, Act::say(format!("{head}{}", &body[..100_000]))]);
    let text = String::from_utf8(chat("hi", false)).expect("text");
    let answer = answers(&gate, text.replacen("1.1", "1.0", 1).into_bytes(), 1).remove(0);
    // Its connection's end would look like the answer's: so nothing is sent before all is there.
    assert!(answer.is_whole() && answer.header("content-length").is_some(), "{answer:?}");
    assert_eq!(answer.served_by(), "b");
    assert_eq!(gate.record().attempts[0].left, "truncated");
}

#[test]
fn a_client_that_waits_for_leave_to_send_its_body_gets_it() {
    let gate = Gate::new(1);
    let body = chat_body("hi", false).to_string();
    let whole = post("/v1/chat/completions", "expect: 100-continue\r\n", &chat_body("hi", false));
    let head = whole[..whole.len() - body.len()].to_vec();
    let net = gate.world.net();
    let answer = gate.run(async move {
        let mut conn = Conn::open(&net).await;
        for _ in 0..2 {
            conn.send(&head).await;
            conn.buffer.clear();
            conn.fill(1000).await;
            assert_eq!(conn.buffer, b"HTTP/1.1 100 Continue\r\n\r\n");
            conn.send(body.as_bytes()).await;
            conn.buffer.clear();
            assert!(conn.answer().await.is_whole());
        }
        conn.send(&[head, body.into_bytes()].concat()).await;
        conn.answer().await
    });
    assert!(answer.is_whole(), "{answer:?}");
}

#[test]
fn a_refused_request_whose_body_is_unread_ends_the_connection_with_its_answer() {
    let gate = Setup::new(1).file("limits: {body: 10KiB}").open();
    let answer = gate.ask(&"x".repeat(400_000));
    assert_eq!((answer.status, answer.complete), (413, true));
    assert_eq!(gate.target("a").connections(), 0);
    gate.world.run_for(secs(5));
    gate.close();
}
