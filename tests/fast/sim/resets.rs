//! Connections that are reset at every byte of every phase, by either side: while a request is sent, while an answer
//! comes, and on a connection that served before.

use super::{Gate, Setup, client, millis, target::*};
use crate::world::Link;

/// A whole stream of OpenAI's format in two words.
fn stream() -> String {
    format!("{STREAM_HEAD}{}{}{}{}", role(), word("a "), word("b"), ending())
}

/// Every byte where that is asked for, else so many apart.
fn step(every: usize) -> usize {
    if std::env::var_os("SIM_EVERY_BYTE").is_some() { 1 } else { every }
}

/// A whole answer from one target, or one that says what is missing; and one record that agrees.
fn judge(gate: &Gate, answer: &super::Answer, name: &str) -> bool {
    let record = gate.record();
    let told = || format!("{name}: {answer:?}\n{}\n{record:?}", answer.text());
    assert_ne!(answer.is_whole(), answer.is_error(), "{}", told());
    assert_eq!(record.truncated, answer.status == 200 && !answer.is_whole(), "{}", told());
    assert_eq!(record.status, answer.status, "{}", told());
    answer.is_whole()
}

#[test]
fn by_the_upstream_in_its_answer() {
    for (streamed, whole) in [(false, plain("a b")), (true, stream())] {
        let gate = Gate::new(1);
        let mut committed = false;
        for at in (0..whole.len()).step_by(step(3)) {
            gate.target("a").does([Act::Hear, Act::say(&whole[..at]), Act::Reset]);
            let answer = gate.post(&client::chat("hi", streamed));
            let name = format!("reset at {at}");
            let is_whole = judge(&gate, &answer, &name);
            // From the first content on no other target speaks; before it another one does, always.
            match answer.served_by().as_str() {
                "b" => assert!(is_whole && !committed, "{name}"),
                _ => committed = true,
            }
            assert!(answer.said() != "b" && !answer.said().contains("a b says"), "{name}");
        }
        assert!(committed || !streamed);
        gate.close();
    }
}

#[test]
fn by_the_upstream_in_the_request() {
    let gate = Gate::new(1);
    for at in (0..1000).step_by(step(3)) {
        gate.target("a").does([Act::HearBytes(at), Act::Reset]);
        let answer = gate.ask("hi");
        assert_eq!(answer.served_by(), "b", "reset after {at} bytes: {answer:?}");
        let record = gate.record();
        assert_eq!(record.attempts.len(), 2);
        match record.attempts[0].left.as_str() {
            "unreachable" => {}
            // It waits for more than there is to hear.
            "timeout_first_byte" if at > 200 => break,
            left => panic!("reset after {at} bytes: {left}"),
        }
    }
    gate.close();
}

#[test]
fn by_the_upstream_in_the_second_answer_of_a_connection() {
    let (first, second) = (plain("a first"), plain("a second"));
    for at in (0..second.len()).step_by(step(5)) {
        let gate = Gate::new(1);
        let acts = [Act::Hear, Act::say(&*first), Act::Hear, Act::say(&second[..at]), Act::Reset];
        gate.target("a").first_does(acts);
        assert_eq!(gate.ask("hi").said(), "a first");
        let answer = gate.ask("hi");
        assert!(answer.is_whole(), "{at}: {answer:?}");
        // Without a byte of an answer it may have been on its way out when it was asked; with one it was not.
        let by = if at == 0 { "a" } else { "b" };
        assert_eq!(answer.served_by(), by, "{at}");
        let tries: Vec<_> = gate.records().iter().map(|record| record.attempts.len()).collect();
        assert_eq!(tries, [1, if at == 0 { 1 } else { 2 }], "{at}");
        gate.close();
    }
}

#[test]
fn by_the_client_in_its_request() {
    let gate = Gate::new(1);
    let request = client::chat("hi", true);
    for at in (0..request.len()).step_by(step(3)) {
        gate.begin(&request[..at], millis(1)).reset();
        gate.world.run_for(millis(1));
        let records = gate.records();
        let in_body = request[..at].windows(4).any(|end| end == b"\r\n\r\n");
        assert_eq!(records.len(), usize::from(in_body), "a record from the head on: {at}");
        assert!(records.iter().all(|record| record.client_gone && record.attempts.is_empty()));
        assert_eq!(gate.counters.connections_open.get(), 0, "{at}");
    }
    assert_eq!(gate.target("a").connections(), 0);
    gate.close();
}

#[test]
fn by_the_client_in_its_answer() {
    let narrow = Link { capacity: 64, ..Link::default() };
    for streamed in [false, true] {
        let gate = Setup::new(1).links(narrow, Link::default()).open();
        let whole = gate.post(&client::chat("hi", streamed)).bytes;
        gate.records();
        for at in (0..whole - 64).step_by(step(11)) {
            let mut conn = gate.begin(&client::chat("hi", streamed), millis(0));
            let conn = gate.run(async move {
                while conn.buffer.len() < at && conn.fill(at - conn.buffer.len()).await {}
                conn
            });
            conn.reset();
            gate.world.run_for(millis(10));
            let record = gate.record();
            assert!(record.client_gone && !record.truncated, "{at} of {whole}: {record:?}");
            assert_eq!(gate.counters.connections_open.get(), 0, "{at}");
        }
        gate.close();
    }
}
