//! The commit point of a stream: nothing before the first content, and after it never another target.

use trunkline::{
    io::tls::{MaybeTlsReader, MaybeTlsWriter},
    serve::exchange,
};

use super::{Gate, client, millis, secs, target::*};
use crate::world::{SimNet, SimReader, SimWriter};

/// A stream of `first`, a pause of 10 s, then the rest.
fn paused(first: Vec<String>, rest: String) -> Vec<Act> {
    let mut acts = vec![Act::Hear, Act::say(STREAM_HEAD)];
    acts.extend(first.into_iter().map(Act::say));
    acts.extend([Act::Wait(secs(10)), Act::say(rest), Act::Stall]);
    acts
}

/// What a client has after five seconds of a stream.
fn seen_early(gate: &Gate) -> String {
    let mut conn = gate.begin(&client::chat("hi", true), secs(5));
    let net = gate.world.net();
    let conn = gate.run(async move {
        use trunkline::io::{net::Net, race::race};
        let quiet = net.now().after(millis(1));
        let read = async { while conn.fill(10_000).await {} };
        race(std::pin::pin!(read), std::pin::pin!(net.sleep_until(quiet))).await;
        conn
    });
    String::from_utf8_lossy(&conn.buffer).into_owned()
}

#[test]
fn nothing_is_sent_before_the_first_content() {
    for held in [vec![], vec![role()], vec![role(), "7\r\n: ping\n\r\n".into()]] {
        let gate = Gate::new(1);
        gate.target("a").does(paused(held, word("a") + &ending()));
        assert_eq!(seen_early(&gate), "");
    }
}

#[test]
fn everything_is_sent_at_the_first_content() {
    let gate = Gate::new(1);
    gate.target("a").does(paused(vec![role(), word("a says")], ending()));
    let seen = seen_early(&gate);
    assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
    assert!(seen.contains("a says") && !seen.contains("[DONE]"), "{seen}");
}

#[test]
fn each_event_is_passed_on_at_once() {
    let gate = Gate::new(1);
    gate.target("a").is("interval=10s");
    let seen = seen_early(&gate);
    assert!(seen.contains("\"a") && !seen.contains("says"), "{seen}");
}

#[test]
fn as_much_as_may_be_held_is_content_enough() {
    let gate = Gate::new(1);
    let held: Vec<String> = (0..63).map(|_| role()).collect();
    gate.target("a").does(paused(held, word("a") + &ending()));
    assert_eq!(seen_early(&gate), "");
    let gate = Gate::new(1);
    let held: Vec<String> = (0..64).map(|_| role()).collect();
    gate.target("a").does(paused(held, word("a") + &ending()));
    assert!(seen_early(&gate).contains("assistant"));
    let gate = Gate::new(1);
    let comment = format!(":{}\n", "x".repeat(70_000));
    let held = format!("{:x}\r\n{comment}\r\n", comment.len());
    gate.target("a").does(paused(vec![held, chunk("{}")], word("a") + &ending()));
    assert!(seen_early(&gate).contains("xxxx"));
}

#[test]
fn after_the_first_content_no_other_target_is_tried() {
    let breaks: [(&str, Vec<Act>); 5] = [
        ("a cut", vec![]),
        ("a reset", vec![Act::Reset]),
        ("an end without an end marker", vec![Act::say("0\r\n\r\n")]),
        ("no chunk", vec![Act::say("xyz\r\n"), Act::Stall]),
        ("a stall", vec![Act::Stall]),
    ];
    for (name, acts) in breaks {
        let gate = super::Setup::new(1).file("timeouts: {idle: 60s}").open();
        let mut all = vec![Act::Hear, Act::say(STREAM_HEAD), Act::say(word("a says"))];
        all.push(Act::Wait(secs(1)));
        all.extend(acts);
        gate.target("a").does(all);
        let answer = gate.stream("hi");
        assert!(answer.is_error() && !answer.is_whole(), "{name}: {answer:?}");
        assert_eq!(answer.said(), "a says", "{name}");
        assert_eq!(gate.target("b").connections(), 0, "{name}");
        let record = gate.record();
        assert!(record.truncated && !record.client_gone, "{name}: {record:?}");
        assert_eq!((record.status, record.attempts.len()), (200, 1), "{name}");
        assert!(!record.error_kind.is_empty(), "{name}");
        gate.close();
    }
}

#[test]
fn an_error_event_after_content_is_passed_on_once() {
    let gate = Gate::new(1);
    gate.target("a").is("error_event=2");
    let answer = gate.stream("hi");
    assert!(answer.is_error(), "{answer:?}");
    let errors = answer.events().iter().filter(|(_, data)| data.contains("\"error\"")).count();
    assert_eq!((errors, answer.said().as_str()), (1, "a says "), "{}", answer.text());
    assert!(gate.record().truncated);
    assert_eq!(gate.target("b").connections(), 0);
}

#[test]
fn a_stream_that_ends_in_its_finish_is_whole() {
    let gate = Gate::new(1);
    let end = ending().replace(&chunk("[DONE]"), "");
    gate.target("a").does([Act::Hear, Act::say(STREAM_HEAD), Act::say(word("a")), Act::say(end)]);
    let answer = gate.stream("hi");
    assert!(answer.complete && answer.error().is_none(), "{answer:?}");
    assert!(!gate.record().truncated);
}

/// An exchange has 7 KB of state while it looks for its answer. What a connection holds on to while the answer is on its
/// way is less than half of that, and the record is a third of it.
#[test]
fn an_open_stream_holds_little() {
    fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }
    let bytes =
        size(exchange::serve::<SimNet, MaybeTlsReader<SimReader>, MaybeTlsWriter<SimWriter>>);
    assert!(bytes <= 3 * 1024, "{bytes}");
}
