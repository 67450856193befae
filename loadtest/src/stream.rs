//! Watches a stream of events for what a reader of it feels: the first token, the pace of the others, and whether it
//! ends as it should. Knows the marks of the OpenAI and Anthropic formats by their bytes, without parsing JSON. Pure.

use memchr::{memchr, memmem};

/// What an event of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It carries text, reasoning, a refusal or a piece of a tool call.
    Token,
    /// It says that the stream is complete: `[DONE]`, `message_stop`, `response.completed` and its like.
    End,
    /// It says that something went wrong.
    Error,
    /// Anything else: a role, a ping, usage.
    Other,
}

/// Finds the events in a stream that arrives in pieces.
#[derive(Clone, Debug, Default)]
pub struct EventWatch {
    /// The beginning of a line that an earlier piece ended in.
    carry: Vec<u8>,
    /// What the event at hand is, as far as its lines say.
    event: Option<Kind>,
    /// The key that the last token was under: the next one is likely to be under it too.
    likely: usize,
}

impl EventWatch {
    /// Takes the next bytes and reports the kind of each event that ends in them.
    pub fn take(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Kind)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            if self.carry.is_empty() {
                self.line(line, &mut on_event);
            } else {
                let mut whole = std::mem::take(&mut self.carry);
                keep(&mut whole, line);
                self.line(&whole, &mut on_event);
                whole.clear();
                self.carry = whole;
            }
            bytes = &bytes[end + 1..];
        }
        keep(&mut self.carry, bytes);
    }

    /// Forgets the stream, for the next one.
    pub fn reset(&mut self) {
        self.carry.clear();
        self.event = None;
    }

    fn line(&mut self, line: &[u8], on_event: &mut impl FnMut(Kind)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if let Some(kind) = self.event.take() {
                on_event(kind);
            }
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let kind = self.kind(data.trim_ascii_start());
            // A name that said more than its data stands.
            if !matches!(self.event, Some(Kind::End | Kind::Error)) {
                self.event = Some(kind);
            }
        } else if line == b"event: error" || line == b"event:error" {
            self.event = Some(Kind::Error);
        }
    }

    fn kind(&mut self, data: &[u8]) -> Kind {
        if data == b"[DONE]" {
            return Kind::End;
        }
        if data.starts_with(br#"{"error""#) {
            return Kind::Error;
        }
        if let Some(named) = type_of(data)
            && let Some(kind) = kind_of_type(named)
        {
            return kind;
        }
        if self.has_token(data) { Kind::Token } else { Kind::Other }
    }

    fn has_token(&mut self, data: &[u8]) -> bool {
        let has = |at: usize| KEYS.get(at).is_some_and(|key| has_text_under(data, key));
        if has(self.likely) {
            return true;
        }
        match (0..KEYS.len()).find(|at| has(*at)) {
            Some(at) => {
                self.likely = at;
                true
            }
            None => false,
        }
    }
}

/// What the type of an Anthropic or Responses event settles; `None`: the keys decide.
fn kind_of_type(named: &[u8]) -> Option<Kind> {
    match named {
        b"error" | b"response.failed" => Some(Kind::Error),
        b"message_stop" | b"response.completed" | b"response.incomplete" => Some(Kind::End),
        b"content_block_delta" => None,
        _ if named.starts_with(b"response.") && named.ends_with(b".delta") => Some(Kind::Token),
        // Other types hold whole texts again, such as `response.output_text.done`.
        _ if named.starts_with(b"response.") || named.starts_with(b"message_") => Some(Kind::Other),
        _ => None,
    }
}

/// The value of a `type` that opens the object, as it does in all events of Anthropic and of Responses.
fn type_of(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(br#"{"type":"#)?.trim_ascii_start().strip_prefix(b"\"")?;
    rest.get(..memchr(b'"', rest)?)
}

/// Whether a string that is not empty stands under this key, anywhere.
fn has_text_under(data: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(data, key).any(|at| {
        let value = data.get(at + key.len()..).unwrap_or_default().trim_ascii_start();
        value.starts_with(b"\"") && value.get(1).is_some_and(|byte| *byte != b'"')
    })
}

fn keep(carry: &mut Vec<u8>, bytes: &[u8]) {
    let room = LINE_BYTES_MAX.saturating_sub(carry.len());
    carry.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// What text of an answer stands under.
const KEYS: &[&[u8]] = &[
    br#""content":"#,
    br#""text":"#,
    br#""reasoning_content":"#,
    br#""reasoning":"#,
    br#""thinking":"#,
    br#""arguments":"#,
    br#""partial_json":"#,
    br#""refusal":"#,
];
/// What is held of one line; the rest of a longer one is passed over.
const LINE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(stream: &str, size: usize) -> Vec<Kind> {
        let (mut watch, mut kinds) = (EventWatch::default(), Vec::new());
        stream.as_bytes().chunks(size).for_each(|piece| watch.take(piece, |kind| kinds.push(kind)));
        kinds
    }

    #[test]
    fn openai_chunks_are_told_apart_however_they_are_cut() {
        let stream = concat!(
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            ": ping\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"reasoning_content\": \"hm\"}}]}\r\n\r\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n",
            "data: [DONE]\n\n",
        );
        use Kind::{End, Other, Token};
        for size in 1..stream.len() {
            assert_eq!(kinds(stream, size), [Other, Token, Token, Other, Other, End], "{size}");
        }
    }

    #[test]
    fn anthropic_and_responses_events_are_told_apart() {
        use Kind::{End, Other, Token};
        let anthropic = concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":",
            "{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        );
        assert_eq!(kinds(anthropic, 10), [Other, Other, Token, End]);
        let responses = concat!(
            "event: response.created\ndata: {\"type\":\"response.created\",\"text\":\"x\"}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n",
            "data: {\"type\":\"response.output_text.done\",\"text\":\"Hi\"}\n\n",
            "data: {\"type\":\"response.completed\"}\n\n",
        );
        assert_eq!(kinds(responses, 10), [Other, Token, Other, End]);
    }

    #[test]
    fn errors_in_a_stream_are_seen() {
        for stream in [
            "data: {\"error\":{\"message\":\"no\"}}\n\n",
            "event: error\ndata: {\"type\":\"x\"}\n\n",
            "data: {\"type\":\"error\",\"error\":{}}\n\n",
        ] {
            assert_eq!(kinds(stream, 5), [Kind::Error], "{stream}");
        }
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let mut watch = EventWatch::default();
        for _ in 0..40 {
            watch.take(&[b'x'; 64 * 1024], |_| {});
        }
        assert_eq!(watch.carry.len(), LINE_BYTES_MAX);
    }
}
