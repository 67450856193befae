//! Every deadline at every level of a config: it ends what it bounds, the next target has its chance where one is left,
//! and both the answer and the record say which deadline it was.

use serde_json::{Value, json};

use super::{Gate, Setup, client, millis, secs, target::*};
use crate::world::Link;

/// Where a deadline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    File,
    Root,
    Strategy,
    Target,
}

const LEVELS: [Level; 4] = [Level::File, Level::Root, Level::Strategy, Level::Target];

/// The target `a` within a strategy of its own, `b` behind it, and these settings at a level.
fn at(level: Level, settings: &Value) -> Setup {
    let mut target = json!({"virtual_key": "a"});
    let mut strategy = json!({"strategy": {"mode": "single"}});
    let mut root = json!({"strategy": {"mode": "fallback"}});
    let mut of_file = json!({});
    let place = match level {
        Level::File => &mut of_file,
        Level::Root => &mut root,
        Level::Strategy => &mut strategy,
        Level::Target => &mut target,
    };
    for (key, value) in settings.as_object().expect("a map") {
        place[key] = value.clone();
    }
    strategy["targets"] = json!([target]);
    root["targets"] = json!([strategy, {"virtual_key": "b"}]);
    let setup = Setup::new(1).policy(root);
    match level {
        Level::File => setup.file(&format!("timeouts: {}", settings["timeouts"])),
        _ => setup,
    }
}

/// What makes a target run into the deadline of this name.
fn misbehave(gate: &Gate, deadline: &str) {
    let a = gate.target("a");
    match deadline {
        "connect" => a.is_silent(),
        "first_byte" | "total" | "request" => a.is("first_byte=1h"),
        // Neither the head nor a pause is too long: it goes on saying nothing.
        "first_token" => {
            let pings = (0..60).flat_map(|_| [Act::Wait(secs(1)), Act::say("7\r\n: ping\n\r\n")]);
            let head = [Act::Hear, Act::say(STREAM_HEAD), Act::say(role())];
            a.does(head.into_iter().chain(pings));
        }
        "idle" => a.does([Act::Hear, Act::say(STREAM_HEAD), Act::say(role()), Act::Stall]),
        other => panic!("no such deadline: {other}"),
    }
}

#[test]
fn each_at_each_level_leads_to_the_next_target() {
    for deadline in ["connect", "first_byte", "first_token", "idle", "total"] {
        for level in LEVELS {
            let gate = at(level, &json!({"timeouts": {deadline: "3s"}})).open();
            misbehave(&gate, deadline);
            let answer = gate.stream("hi");
            let told = format!("{deadline} {level:?}: {answer:?}");
            assert!(secs(3) <= answer.took && answer.took < millis(3100), "{told}");
            let record = gate.record();
            let left = format!("timeout_{deadline}");
            assert_eq!(record.attempts[0].left, left, "{told}");
            assert!(record.attempts[0].detail.contains("3000 ms"), "{told} {record:?}");
            // A total of the whole exchange leaves no time for another target.
            let bounds_all = deadline == "total" && matches!(level, Level::File | Level::Root);
            if bounds_all {
                assert_eq!((answer.status, record.attempts.len()), (408, 1), "{told}");
                assert_eq!(record.error_kind, left, "{told}");
            } else {
                assert_eq!(answer.served_by(), "b", "{told}");
                assert!(record.error_kind.is_empty() && record.attempts.len() == 2, "{told}");
            }
            gate.close();
        }
    }
}

#[test]
fn request_timeout_does_at_each_level_of_a_config() {
    for level in [Level::Root, Level::Strategy, Level::Target] {
        let gate = at(level, &json!({"request_timeout": 3000})).open();
        misbehave(&gate, "request");
        let answer = gate.ask("hi");
        assert_eq!(answer.served_by(), "b", "{level:?}");
        assert!(secs(3) <= answer.took && answer.took < millis(3100), "{level:?} {answer:?}");
        assert_eq!(gate.record().attempts[0].left, "timeout_request", "{level:?}");
    }
}

#[test]
fn the_innermost_wins_but_a_total_does_not_outlast_the_one_around_it() {
    let targets = |seconds: &str| {
        json!({
            "strategy": {"mode": "fallback"},
            "timeouts": {"first_byte": "5s", "total": "7s"},
            "targets": [
                {"virtual_key": "a", "timeouts": {"first_byte": seconds, "total": "30s"}},
                {"virtual_key": "b"},
            ],
        })
    };
    let gate = Setup::new(1).policy(targets("2s")).open();
    gate.target("a").is("first_byte=1h");
    let took = gate.ask("hi").took;
    assert!(secs(2) <= took && took < millis(2100), "{took:?}");
    let gate = Setup::new(1).policy(targets("20s")).open();
    gate.target("a").is("first_byte=1h");
    let answer = gate.ask("hi");
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(secs(7) <= answer.took && answer.took < millis(7100), "{answer:?}");
}

#[test]
fn without_another_target_the_answer_says_which() {
    let policy = json!({"virtual_key": "a"});
    for (deadline, status) in
        [("connect", 504), ("first_byte", 408), ("first_token", 408), ("idle", 408), ("total", 408)]
    {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let lines = format!("timeouts: {{{deadline}: 3s}}");
            let gate = Setup::new(1).policy(policy.clone()).file(&lines).open();
            misbehave(&gate, deadline);
            let mut body = client::chat_body("hi", true);
            body["max_tokens"] = json!(10);
            let answer = gate.post(&client::post(path, "", &body));
            let told = format!("{deadline}: {} {}", answer.status, answer.text());
            assert_eq!((answer.status, answer.error().as_deref()), (status, Some("timeout_error")));
            assert!(answer.text().contains(&format!("timeouts.{deadline}")), "{told}");
            let code = format!("\"code\":\"timeout_{deadline}\"");
            assert_eq!(answer.text().contains(&code), path.ends_with("completions"), "{told}");
            assert_eq!(gate.record().error_kind, format!("timeout_{deadline}"), "{told}");
        }
    }
}

#[test]
fn a_streams_token_deadline_holds_for_its_head_too_and_for_no_plain_answer() {
    let gate = Setup::new(1).file("timeouts: {first_token: 3s, first_byte: 60s}").open();
    gate.target("a").is("first_byte=10s");
    let answer = gate.stream("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(secs(3) <= answer.took && answer.took < millis(3100), "{answer:?}");
    assert_eq!(gate.record().attempts[0].left, "timeout_first_token");
    assert_eq!(gate.ask("hi").served_by(), "a");
}

#[test]
fn a_token_in_time_is_followed_by_pauses_of_any_length_up_to_idle() {
    let gate = Setup::new(1).file("timeouts: {first_token: 3s, idle: 60s}").open();
    gate.target("a").is("first_byte=2s&interval=20s");
    let answer = gate.stream("hi");
    assert!(answer.is_whole() && answer.served_by() == "a", "{answer:?}");
}

#[test]
fn the_total_of_a_part_bounds_its_retries_and_their_pauses() {
    let policy = json!({
        "strategy": {"mode": "fallback"},
        "targets": [
            {
                "strategy": {"mode": "fallback"},
                "timeouts": {"total": "5s"},
                "targets": [
                    {"virtual_key": "a", "retry": {"attempts": 9, "jitter": false}},
                    {"virtual_key": "c"},
                ],
            },
            {"virtual_key": "b"},
        ],
    });
    let gate = Setup::new(1).target("c", "openai").policy(policy).open();
    gate.target("a").is("status=503");
    gate.target("c").first_is("");
    let answer = gate.ask("hi");
    // At 0, 1 and 3 s; the fourth would begin after 7. `c` is of the same part, and there is time left for it.
    assert_eq!((gate.target("a").asked(), answer.served_by().as_str()), (3, "c"));
    assert!(secs(3) <= answer.took && answer.took < millis(3100), "{answer:?}");
    gate.target("c").is("first_byte=1h");
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "b");
    assert!(secs(5) <= answer.took && answer.took < millis(5100), "{answer:?}");
    let records = gate.records();
    let left: Vec<_> = records[1].attempts.iter().map(|attempt| &*attempt.left).collect();
    assert_eq!(left, ["status", "status", "status", "timeout_total", ""]);
    gate.close();
}

#[test]
fn the_total_of_a_part_ends_a_stream_too() {
    let policy = json!({
        "strategy": {"mode": "fallback"},
        "targets": [{"virtual_key": "a", "timeouts": {"total": "5s"}}, {"virtual_key": "b"}],
    });
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").is("chunks=100&interval=1s");
    let answer = gate.stream("hi");
    assert!(answer.is_error() && gate.target("b").asked() == 0, "{answer:?}");
    let record = gate.record();
    assert!(record.truncated && record.error_kind == "timeout_total", "{record:?}");
}

#[test]
fn a_client_that_is_slow_to_read_is_told_all_the_same() {
    let narrow = Link { capacity: 2000, ..Link::default() };
    let gate = Setup::new(1).file("timeouts: {total: 5s}").links(narrow, Link::default()).open();
    let first = [Act::Hear, Act::say(STREAM_HEAD), Act::say(word(&"a".repeat(20_000)))];
    gate.target("a").does(first.into_iter().chain([Act::Stall]));
    let net = gate.world.net();
    let answer = gate.run(async move {
        let mut conn = client::Conn::open(&net).await;
        // 3 KB a second: at the total a third of the word is still to be written.
        conn.pace = (30, millis(10));
        conn.send(&client::chat("hi", true)).await;
        conn.answer().await
    });
    assert_eq!(answer.error().as_deref(), Some("timeout_error"), "{}", answer.text());
    assert!(answer.is_error() && answer.said().len() == 20_000);
    let record = gate.record();
    assert!(record.truncated && record.error_kind == "timeout_total", "{record:?}");
    gate.close();
}
