//! Streams of the Responses API: what is wrong before the first content is the next target's chance, what is wrong
//! after it an event of that API; usage, model and end are read as they pass.

use serde_json::json;

use super::{Gate, client, secs, target::*};

/// A named event as a chunk of its own.
fn event(data: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let name = value["type"].as_str().unwrap_or("response.output_text.delta");
    let event = format!("event: {name}\ndata: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

fn created() -> String {
    event(r#"{"type":"response.created","response":{"model":"m-1","error":null}}"#)
}

fn delta(text: &str) -> String {
    event(&json!({"type": "response.output_text.delta", "delta": text}).to_string())
}

fn completed() -> String {
    let usage = json!({"input_tokens": 7, "output_tokens": 3});
    event(
        &json!({"type": "response.completed", "response": {"model": "m-2", "usage": usage}})
            .to_string(),
    )
}

const END: &str = "0\r\n\r\n";

/// A stream of these events, with a pause before the last.
fn says(mut events: Vec<String>) -> Vec<Act> {
    let last = events.pop().unwrap_or_default();
    let mut acts = vec![Act::Hear, Act::say(STREAM_HEAD)];
    acts.extend(events.into_iter().map(Act::say));
    acts.extend([Act::Wait(secs(1)), Act::say(last)]);
    acts
}

#[test]
fn what_is_wrong_before_the_first_content_is_the_next_targets_chance() {
    let failed =
        r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#;
    let nested = r#"{"type":"error","sequence_number":2,"error":{"type":"too_many_requests","message":"m"}}"#;
    let cases: [(&str, Vec<String>, &str); 10] = [
        ("no event", vec![END.into()], "truncated"),
        ("an end after the beginning", vec![created(), END.into()], "truncated"),
        ("broken JSON at once", vec![event("{\"type\":"), delta("a")], "protocol"),
        (
            "broken JSON without a name",
            vec![created(), chunk("{\"type\":"), delta("a")],
            "protocol",
        ),
        ("words", vec![created(), chunk("oops"), delta("a")], "protocol"),
        ("a broken end", vec![created(), completed().replace("}}", "  "), END.into()], "protocol"),
        ("a failure", vec![created(), event(failed)], "upstream_error"),
        ("an error", vec![event(nested)], "upstream_error"),
        ("an error behind the beginning", vec![created(), event(nested)], "upstream_error"),
        ("an error's body", vec![chunk(r#"{"error":{"message":"m"}}"#)], "upstream_error"),
    ];
    for (name, events, left) in cases {
        let gate = Gate::new(1);
        gate.target("a").does(says(events));
        let answer = gate.post(&client::responses("hi", true));
        assert!(answer.is_whole(), "{name}: {}", answer.text());
        assert_eq!(answer.said(), "b says five words", "{name}");
        let record = gate.record();
        assert_eq!(record.attempts[0].left, left, "{name}");
        assert!(!record.truncated && record.error_kind.is_empty(), "{name}");
        gate.close();
    }
}

#[test]
fn what_is_wrong_after_it_is_told_in_an_event() {
    let cases: [(&str, Vec<String>, usize); 5] = [
        ("no end", vec![END.into()], 1),
        ("a cut", vec![], 1),
        ("a broken end", vec![completed().replace("}}", "  "), END.into()], 1),
        ("an error", vec![event(r#"{"type":"error","code":"server_error","message":"m"}"#)], 1),
        ("an error's body", vec![chunk(r#"{"error":{"type":"server_error","message":"m"}}"#)], 1),
    ];
    for (name, events, errors) in cases {
        let gate = Gate::new(1);
        gate.target("a").does(says([vec![created(), delta("a says")], events].concat()));
        let answer = gate.post(&client::responses("hi", true));
        let text = answer.text();
        assert!(answer.error().is_some() && !answer.complete, "{name}: {text}");
        assert_eq!(answer.said(), "a says", "{name}");
        assert_eq!(text.matches("\"message\":").count(), errors, "{name}: {text}");
        assert_eq!(gate.target("b").connections(), 0, "{name}");
        let record = gate.record();
        assert!(record.truncated && !record.error_kind.is_empty(), "{name}: {record:?}");
        assert_eq!((record.status, record.attempts.len()), (200, 1), "{name}");
        gate.close();
    }
}

#[test]
fn an_event_of_ours_is_one_of_that_api() {
    let gate = Gate::new(1);
    gate.target("a").does(says(vec![created(), delta("a"), END.into()]));
    let answer = gate.post(&client::responses("hi", true));
    let (name, data) = answer.events().pop().expect("events");
    let event: serde_json::Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!((&*name, &event["type"]), ("error", &json!("error")));
    assert!(event["message"].is_string() && event["code"].is_string(), "{event}");
    assert!(event["sequence_number"].is_u64(), "strict clients ask for it: {event}");
}

#[test]
fn usage_model_and_end_are_read_with_and_without_names() {
    for named in [true, false] {
        let gate = Gate::new(1);
        let unnamed = |text: String| {
            let data = text.lines().find_map(|line| line.strip_prefix("data: "));
            chunk(data.expect("data"))
        };
        let events = [created(), delta("a says"), completed()];
        let events = events.map(|event| if named { event } else { unnamed(event) });
        // The connection breaks behind the end of the stream: nothing is lost.
        gate.target("a").does(says(events.to_vec()));
        let answer = gate.post(&client::responses("hi", true));
        assert!(answer.complete && answer.error().is_none(), "{}", answer.text());
        let record = gate.record();
        assert!(!record.truncated && record.error_kind.is_empty(), "{record:?}");
        assert_eq!(record.served_model, "m-2");
        let usage = record.usage.map(|usage| (usage.input, usage.output));
        assert_eq!(usage, Some((7, 3)));
    }
}

#[test]
fn a_tool_call_is_content_as_it_begins() {
    let gate = Gate::new(1);
    let item = r#"{"type":"response.output_item.added","item":{"type":"web_search_call"}}"#;
    gate.target("a").does(says(vec![created(), event(item), END.into()]));
    let answer = gate.post(&client::responses("hi", true));
    assert!(answer.text().contains("web_search_call"), "it is not held back");
    assert_eq!(gate.target("b").connections(), 0);
}
