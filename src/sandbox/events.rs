//! Server-sent events, and when in an answer's schedule each is due.

use bytes::Bytes;
use serde_json::Value;

use super::script::{Malformed, Script};

/// One event of a stream, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Due at the first byte plus this many intervals.
    pub slot: usize,
    /// The event with its empty line.
    pub bytes: Bytes,
}

/// A stream, made while it is written: memory does not grow with its length.
pub type Events = Box<dyn Iterator<Item = Event>>;

/// An event without a name.
pub fn data(slot: usize, value: &Value) -> Event {
    line(slot, format!("data: {value}\n\n"))
}

/// An event with a name; the sandbox's names are the `type` of their data.
pub fn named(slot: usize, value: &Value) -> Event {
    let name = value["type"].as_str().unwrap_or("message");
    line(slot, format!("event: {name}\ndata: {value}\n\n"))
}

/// Bytes as they are.
pub fn line(slot: usize, text: String) -> Event {
    Event { slot, bytes: Bytes::from(text) }
}

/// The stream as the script wants it seen: comments first, the second event broken.
pub fn scripted(events: Events, script: &Script) -> Events {
    let comments = (0..script.comments).map(|_| line(0, ": sandbox\n\n".into()));
    let mut events = comments.chain(events);
    if script.fault.malformed != Malformed::Json {
        return Box::new(events);
    }
    let first = events.next();
    let broken = line(0, "data: {\"malformed\":\n\n".into());
    Box::new(first.into_iter().chain([broken]).chain(events))
}

/// Text as a JSON string.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A stream of three parts, broken off by an error where the script says so.
pub fn assemble(
    script: &Script,
    opening: Vec<Event>,
    content: impl Iterator<Item = Event> + 'static,
    closing: Vec<Event>,
    error: impl Fn(usize) -> Event,
) -> Events {
    let opening = opening.into_iter();
    let events: Events = match script.fault.error_event {
        None => Box::new(opening.chain(content).chain(closing)),
        Some(0) => Box::new([error(0)].into_iter()),
        Some(chunks) => {
            let before = content.take_while(move |event| event.slot < chunks);
            Box::new(opening.chain(before).chain([error(chunks)]))
        }
    };
    scripted(events, script)
}
