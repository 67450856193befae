//! A client that goes away, in every phase: its upstream is let go within a round trip, and no other is tried.

use std::time::Duration;

use serde_json::json;

use super::{Gate, Setup, client, millis, secs, target::*};
use crate::world::Link;

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Closing,
    Finishing,
}

fn far() -> Link {
    Link { latency: millis(10), ..Link::default() }
}

/// Asks, leaves after `stay`, and looks at what is left 50 ms later: two latencies and a tick of the clock.
fn leave(prepare: impl Fn(&Gate), stream: bool, stay: Duration) {
    for leaves in [Leaves::Closing, Leaves::Finishing] {
        let policy = json!({
            "strategy": {"mode": "fallback"},
            "targets": [{"virtual_key": "a", "retry": {"attempts": 2}}, {"virtual_key": "b"}],
        });
        let gate = Setup::new(1).links(far(), far()).policy(policy).open();
        prepare(&gate);
        let mut conn = gate.begin(&client::chat("hi", stream), stay);
        let asked = gate.target("a").asked();
        // A FIN alone: the other direction stays open.
        let _half = match leaves {
            Leaves::Closing => {
                drop(conn);
                None
            }
            Leaves::Finishing => Some(gate.run(async move {
                conn.finish().await;
                conn
            })),
        };
        gate.world.run_for(millis(50));
        assert_eq!(gate.target("a").open(), 0, "{leaves:?}: the upstream was not let go");
        let record = gate.record();
        assert!(record.client_gone && !record.truncated, "{leaves:?}: {record:?}");
        assert_eq!(record.error_source, "client");
        gate.world.run_for(secs(100));
        assert_eq!(gate.target("a").asked(), asked, "{leaves:?}: it was tried again");
        assert_eq!(gate.target("b").connections(), 0, "{leaves:?}: another target was tried");
    }
}

#[test]
fn while_the_connect_is_not_answered() {
    leave(|gate| gate.target("a").is_silent(), false, secs(1));
}

#[test]
fn while_the_request_is_being_sent() {
    let gate = Setup::new(1).links(far(), far()).open();
    gate.target("a").does([Act::Wait(secs(3600))]);
    let conn = gate.begin(&client::chat(&"x".repeat(500_000), false), secs(1));
    drop(conn);
    gate.world.run_for(millis(50));
    let record = gate.record();
    assert!(record.client_gone, "{record:?}");
    assert_eq!(gate.target("b").connections(), 0);
}

#[test]
fn while_the_answer_is_waited_for() {
    leave(|gate| gate.target("a").is("first_byte=1m"), false, secs(1));
    leave(|gate| gate.target("a").is("first_byte=1m"), true, secs(1));
}

#[test]
fn in_the_middle_of_a_head() {
    leave(|gate| gate.target("a").is("stall=40"), false, secs(1));
}

#[test]
fn while_a_back_off_is_waited_for() {
    leave(|gate| gate.target("a").is("status=503&keep_alive=off"), false, millis(500));
    leave(|gate| gate.target("a").is("status=503&keep_alive=off"), false, millis(2000));
}

#[test]
fn before_a_stream_has_content() {
    let acts = [Act::Hear, Act::say(STREAM_HEAD), Act::say(role()), Act::Stall];
    leave(|gate| gate.target("a").does(acts.clone()), true, secs(1));
}

#[test]
fn in_the_middle_of_a_stream() {
    leave(|gate| gate.target("a").is("chunks=1000&interval=100ms"), true, secs(1));
    let acts = [Act::Hear, Act::say(STREAM_HEAD), Act::say(word("a")), Act::Stall];
    leave(|gate| gate.target("a").does(acts.clone()), true, secs(1));
}

#[test]
fn in_the_middle_of_a_plain_answer() {
    leave(|gate| gate.target("a").is("stall=300"), false, secs(1));
}

#[test]
fn in_the_middle_of_a_translated_answer() {
    for (script, stream) in [("stall=400", false), ("chunks=100&interval=100ms", true)] {
        let gate = Setup::new(1).links(far(), far()).target("a", "anthropic").open();
        gate.target("a").is(script);
        let conn = gate.begin(&client::chat("hi", stream), secs(1));
        assert_eq!(gate.target("a").open(), 1);
        drop(conn);
        gate.world.run_for(millis(50));
        assert_eq!(gate.target("a").open(), 0);
        assert!(gate.record().client_gone);
    }
}

#[test]
fn while_it_sends_its_own_body() {
    let gate = Gate::new(1);
    let request = client::chat("hi", false);
    let conn = gate.begin(&request[..request.len() - 5], secs(1));
    drop(conn);
    gate.world.run_for(millis(10));
    let record = gate.record();
    assert!(record.client_gone && record.attempts.is_empty(), "{record:?}");
    assert_eq!(gate.target("a").connections(), 0);
    gate.close();
}

#[test]
fn with_further_requests_already_sent() {
    let gate = Setup::new(1).links(far(), far()).open();
    gate.target("a").is("first_byte=1m");
    let two = [client::chat("one", false), client::chat("two", false)].concat();
    let conn = gate.begin(&two, secs(1));
    drop(conn);
    gate.world.run_for(millis(50));
    assert_eq!(gate.target("a").open(), 0, "the upstream was let go");
    assert!(gate.record().client_gone);
}

#[test]
fn one_that_stops_reading_is_given_up_after_a_while() {
    let link = Link { capacity: 2000, ..Link::default() };
    let gate = Setup::new(1).links(link, Link::default()).file("timeouts: {idle: 10s}").open();
    gate.target("a").is("chunks=1000&chunk_bytes=1000");
    let _conn = gate.begin(&client::chat("hi", true), secs(59));
    assert_eq!(gate.target("a").open(), 1);
    gate.world.run_for(secs(2));
    assert_eq!(gate.target("a").open(), 0);
    assert!(gate.record().client_gone);
}
