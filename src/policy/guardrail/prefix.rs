//! `addPrefix`: a text put before what the user says, or a message of its own.

use std::ops::Range;

use crate::{
    config::guardrail::Prefix,
    provider::Endpoint,
    wire::json::{self, Edit, Fields, write_string},
};
use bytes::Bytes;

/// The body with the prefix; `None`: this request gets none.
#[must_use]
pub fn added(
    prefix: &Prefix,
    endpoint: Endpoint,
    body: &Bytes,
    fields: &Fields,
) -> Option<Vec<u8>> {
    let (name, value) = match endpoint {
        Endpoint::Completions => {
            let prompt = json::as_str(fields.value(body, "prompt")?)?;
            ("prompt", quoted(&format!("{}{prompt}", prefix.text)))
        }
        Endpoint::ChatCompletions => {
            ("messages", in_messages(prefix, fields.value(body, "messages")?)?)
        }
        _ => return None,
    };
    let spliced = json::splice(body, fields, &[Edit::Set { name, raw_json: &value }]);
    Some(spliced.pieces.iter().flat_map(|piece| piece.iter().copied()).collect())
}

fn in_messages(prefix: &Prefix, raw: &[u8]) -> Option<Vec<u8>> {
    let elements = json::elements(raw)?;
    let has_role = |place: &&Range<usize>| {
        let message = raw.get((*place).clone()).unwrap_or_default();
        let fields = json::scan(message).ok();
        let role = fields.as_ref().and_then(|fields| fields.value(message, "role"));
        role.and_then(json::as_str).is_some_and(|role| role == prefix.role)
    };
    match elements.iter().find(has_role) {
        Some(_) if prefix.only_if_empty => None,
        Some(place) if prefix.to_existing => {
            let changed = in_message(prefix, raw.get(place.clone())?)?;
            Some([raw.get(..place.start)?, &changed, raw.get(place.end..)?].concat())
        }
        Some(place) => inserted(prefix, raw, place.start, true),
        None => match (elements.first(), elements.last()) {
            (Some(first), _) if prefix.role == "system" => inserted(prefix, raw, first.start, true),
            (_, Some(last)) => inserted(prefix, raw, last.end, false),
            _ => Some([b"[", &*message(prefix), b"]"].concat()),
        },
    }
}

fn inserted(prefix: &Prefix, raw: &[u8], at: usize, before: bool) -> Option<Vec<u8>> {
    let message = message(prefix);
    let (head, tail) = (raw.get(..at)?, raw.get(at..)?);
    Some(match before {
        true => [head, &message, b",", tail].concat(),
        false => [head, b",", &message, tail].concat(),
    })
}

fn message(prefix: &Prefix) -> Vec<u8> {
    let (role, text) = (quoted(&prefix.role), quoted(&prefix.text));
    [b"{\"role\":", &*role, b",\"content\":", &*text, b"}"].concat()
}

/// Before its text, or before the first text of its parts.
fn in_message(prefix: &Prefix, raw: &[u8]) -> Option<Vec<u8>> {
    let mut places = Vec::new();
    json::places(raw, &super::text::steps("content"), &mut places);
    let content = places.first()?.clone();
    if raw.get(content.clone())?.starts_with(b"[") {
        places.clear();
        json::places(raw, &super::text::steps("content.*.text"), &mut places);
    }
    match places.first().cloned() {
        Some(place) => {
            let text = json::as_str(raw.get(place.clone())?)?;
            let text = quoted(&format!("{}{text}", prefix.text));
            Some([raw.get(..place.start)?, &text, raw.get(place.end..)?].concat())
        }
        None => {
            let part = [b"{\"type\":\"text\",\"text\":", &*quoted(&prefix.text), b"}"].concat();
            let inner = raw.get(content.start + 1..content.end)?;
            let comma: &[u8] = if inner.trim_ascii() == b"]" { b"" } else { b"," };
            let head = raw.get(..=content.start)?;
            Some([head, &part, comma, inner, raw.get(content.end..)?].concat())
        }
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixed(body: &str, change: impl Fn(&mut Prefix)) -> Option<String> {
        let mut prefix = Prefix {
            text: "P ".into(),
            role: "user".into(),
            to_existing: true,
            only_if_empty: false,
        };
        change(&mut prefix);
        let body = Bytes::copy_from_slice(body.as_bytes());
        let fields = json::scan(&body).expect("an object");
        let endpoint = if body.starts_with(b"{\"prompt") {
            Endpoint::Completions
        } else {
            Endpoint::ChatCompletions
        };
        let added = added(&prefix, endpoint, &body, &fields)?;
        Some(String::from_utf8(added).expect("UTF-8"))
    }

    #[test]
    fn a_prefix_goes_where_portkey_puts_it() {
        let chat = r#"{"messages":[{"role":"user","content":"hi"}],"n":1}"#;
        let wanted = r#"{"messages":[{"role":"user","content":"P hi"}],"n":1}"#;
        assert_eq!(prefixed(chat, |_| {}).as_deref(), Some(wanted));
        assert_eq!(prefixed(r#"{"prompt":"hi"}"#, |_| {}).as_deref(), Some(r#"{"prompt":"P hi"}"#));
        assert_eq!(prefixed(r#"{"prompt":["hi"]}"#, |_| {}), None);
        assert_eq!(prefixed(chat, |prefix| prefix.only_if_empty = true), None);
        let own =
            r#"{"messages":[{"role":"user","content":"P "},{"role":"user","content":"hi"}],"n":1}"#;
        assert_eq!(prefixed(chat, |prefix| prefix.to_existing = false).as_deref(), Some(own));
        let system = r#"{"messages":[{"role":"system","content":"P "},{"role":"user","content":"hi"}],"n":1}"#;
        assert_eq!(prefixed(chat, |prefix| prefix.role = "system".into()).as_deref(), Some(system));
        let last =
            r#"{"messages":[{"role":"user","content":"hi"},{"role":"tool","content":"P "}],"n":1}"#;
        assert_eq!(prefixed(chat, |prefix| prefix.role = "tool".into()).as_deref(), Some(last));
    }

    #[test]
    fn parts_get_it_before_their_first_text() {
        let parts = r#"{"messages":[{"role":"user","content":[{"type":"image_url"},{"type":"text","text":"hi"}]}]}"#;
        let wanted = parts.replace("\"hi\"", "\"P hi\"");
        assert_eq!(prefixed(parts, |_| {}), Some(wanted));
        let image = r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#;
        let wanted = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"P "},{"type":"image_url"}]}]}"#;
        assert_eq!(prefixed(image, |_| {}).as_deref(), Some(wanted));
        assert_eq!(
            prefixed(r#"{"messages":[]}"#, |_| {}).as_deref(),
            Some(r#"{"messages":[{"role":"user","content":"P "}]}"#)
        );
    }
}
