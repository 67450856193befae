//! Upstreams cut at every byte of their answer, or at every third where the way is nearly the same. Whatever is missing, the client has a whole answer or is told.

use super::{Gate, Setup, client, target::*};

/// In which words an answer is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Chat,
    Messages,
    Responses,
}

/// How an answer is asked for and made.
struct Case {
    provider: &'static str,
    stream: bool,
    script: &'static str,
    asks: Asks,
    /// The cuts that are tried, unless every byte is asked for: one in so many.
    every: usize,
}

impl Case {
    fn gate(&self) -> Gate {
        let policy = serde_json::json!({"virtual_key": "a"});
        Setup::new(1).target("a", self.provider).policy(policy).open()
    }

    fn request(&self) -> Vec<u8> {
        match self.asks {
            Asks::Chat => client::chat("hi", self.stream),
            Asks::Messages => client::messages("hi", self.stream),
            Asks::Responses => client::responses("hi", self.stream),
        }
    }

    /// Cuts at byte 0, 1, … until one no longer matters.
    fn cut_everywhere(&self) {
        let gate = self.gate();
        gate.target("a").is(&format!("{SHORT}&{}", self.script));
        let whole = gate.post(&self.request());
        assert!(whole.is_whole(), "{whole:?}");
        let all = whole.said();
        gate.world.run_for(super::secs(1));
        let gate = self.gate();
        let mut answered = 0;
        // A cut in a head is the same for all of them: two of them try those.
        let from = if self.asks != Asks::Chat || self.provider == "anthropic" { 150 } else { 0 };
        let every = if std::env::var_os("SIM_EVERY_BYTE").is_some() { 1 } else { self.every };
        // A stream may be cut behind the finish, in its usage and its end marker.
        let enough = if self.stream { 500 } else { 5 };
        for at in (from..100_000).step_by(every) {
            gate.target("a").is(&format!("{SHORT}&{}&cut={at}", self.script));
            let answer = gate.post(&self.request());
            let record = gate.record();
            let name = || format!("cut at {at}: {} {}\n{record:?}", answer.status, answer.text());
            let (is_whole, said) = (answer.is_whole(), answer.said());
            assert_ne!(is_whole, answer.is_error(), "{}", name());
            assert!(all.starts_with(&said), "{}", name());
            if is_whole {
                assert_eq!(said, all, "{}", name());
                assert!(!record.truncated && record.error_kind.is_empty(), "{}", name());
                answered += 1;
            } else {
                assert_eq!(record.truncated, answer.status == 200, "{}", name());
                assert_eq!(record.status, answer.status, "{}", name());
                assert!(!record.error_kind.is_empty(), "{}", name());
                assert_eq!(answered, 0, "{}", name());
            }
            if answered == enough / every {
                return;
            }
        }
        panic!("no cut was after the answer");
    }
}

#[test]
fn of_a_plain_answer() {
    Case { provider: "openai", stream: false, script: "", asks: Asks::Chat, every: 1 }
        .cut_everywhere();
}

#[test]
fn of_a_plain_answer_in_chunks() {
    let script = "framing=chunked&split=100";
    Case { provider: "openai", stream: false, script, asks: Asks::Chat, every: 3 }.cut_everywhere();
}

#[test]
fn of_a_plain_answer_that_ends_where_the_connection_does() {
    let script = "framing=close";
    Case { provider: "openai", stream: false, script, asks: Asks::Chat, every: 3 }.cut_everywhere();
}

#[test]
fn of_a_stream() {
    Case { provider: "openai", stream: true, script: "", asks: Asks::Chat, every: 1 }
        .cut_everywhere();
}

#[test]
fn of_a_stream_that_ends_where_the_connection_does() {
    let script = "framing=close";
    Case { provider: "openai", stream: true, script, asks: Asks::Chat, every: 3 }.cut_everywhere();
}

#[test]
fn of_an_anthropic_stream() {
    Case { provider: "anthropic", stream: true, script: "", asks: Asks::Messages, every: 1 }
        .cut_everywhere();
}

#[test]
fn of_a_stream_of_the_responses_api() {
    Case { provider: "openai", stream: true, script: "", asks: Asks::Responses, every: 3 }
        .cut_everywhere();
}

#[test]
fn of_a_translated_answer() {
    Case { provider: "anthropic", stream: false, script: "", asks: Asks::Chat, every: 3 }
        .cut_everywhere();
}

#[test]
fn of_a_translated_answer_that_ends_where_the_connection_does() {
    let script = "framing=close";
    Case { provider: "anthropic", stream: false, script, asks: Asks::Chat, every: 3 }
        .cut_everywhere();
}

#[test]
fn of_a_translated_stream() {
    Case { provider: "anthropic", stream: true, script: "", asks: Asks::Chat, every: 1 }
        .cut_everywhere();
}

#[test]
fn of_a_stream_translated_the_other_way() {
    Case { provider: "openai", stream: true, script: "", asks: Asks::Messages, every: 3 }
        .cut_everywhere();
}

#[test]
fn of_an_answer_translated_the_other_way() {
    Case { provider: "openai", stream: false, script: "", asks: Asks::Messages, every: 3 }
        .cut_everywhere();
}

#[test]
fn of_a_plain_answer_too_large_to_hold() {
    let body = plain_body(&"x ".repeat(60_000));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for framing in ["content-length: 120151\r\n\r\n", "transfer-encoding: chunked\r\n\r\n1d557\r\n"]
    {
        let gate = Gate::new(1);
        let cut = &body[..100_000];
        gate.target("a").does([Act::Hear, Act::say(format!("{head}{framing}{cut}"))]);
        let answer = gate.ask("hi");
        assert_eq!((answer.status, answer.complete), (200, false));
        let record = gate.record();
        assert!(record.truncated, "{record:?}");
        assert_eq!(gate.target("b").connections(), 0, "what is sent is sent");
    }
}

/// What is said, in two chunks: each byte of it is a world.
const SHORT: &str = "text=a b";
