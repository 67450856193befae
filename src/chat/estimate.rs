//! Tokens where a provider does not say how many: an estimate from bytes, for accounts and limits alone. What a client
//! is told is never estimated.
//!
//! The rule: four bytes are a token, the mean of English text under the tokenizers of today. Of a request that is its
//! JSON strings, names of fields included, which stand for the marks that models' templates put between messages; a
//! Base64 string counts as one picture. Of a plain answer it is its bytes without a usual envelope. Of a stream it is
//! its text, but at least a token for each event that brought some, since most hosts send a token an event.

use super::{delta::Piece, reply::Reply, request::Content, usage::Usage};

/// The estimate for a request and an output of so many tokens.
#[must_use]
pub fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, estimated: true, ..Usage::default() }
}

/// Tokens of a request, from its JSON body.
#[must_use]
pub fn of_request(body: &[u8]) -> u64 {
    let (mut text_bytes, mut media) = (0, 0);
    let mut rest = body;
    while let Some(open) = memchr::memchr(b'"', rest) {
        let string = JsonString::begin(&rest[open + 1..]);
        if is_media(string.raw) {
            media += 1;
        } else {
            text_bytes += string.text_bytes;
        }
        rest = string.rest;
    }
    of_bytes(text_bytes) + media * MEDIA_TOKENS
}

/// Tokens of a plain answer that was not looked into.
#[must_use]
pub fn of_answer(bytes: u64) -> u64 {
    of_bytes(bytes.saturating_sub(ENVELOPE_BYTES)).max(u64::from(bytes > 0))
}

/// Tokens of an answer in neutral words.
#[must_use]
pub fn of_reply(reply: &Reply) -> u64 {
    let contents = reply.choices.iter().flat_map(|choice| &choice.content);
    of_bytes(contents.map(|content| bytes_of(content) as u64).sum())
}

fn bytes_of(content: &Content) -> usize {
    match content {
        Content::Text(text) | Content::Refusal(text) | Content::Thinking { text, .. } => text.len(),
        Content::ToolCall { name, arguments, .. } => name.len() + arguments.len(),
        Content::Other { json, .. } => json.len(),
        // Only requests have these, or nobody can tell what is in them.
        Content::Image { .. }
        | Content::Document { .. }
        | Content::Audio { .. }
        | Content::ToolResult { .. }
        | Content::RedactedThinking(_) => 0,
    }
}

fn of_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_A_TOKEN)
}

/// What the content of a stream weighs, from the length of its events alone: they are not taken apart for this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    events: u64,
    bytes: u64,
    /// The shortest event: what all of them have around their text.
    envelope: u64,
}

impl Weight {
    /// Adds an event that brought content, envelope included.
    pub fn event(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.envelope = if self.events == 0 { bytes } else { self.envelope.min(bytes) };
        self.events += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Adds a piece of a stream that is taken apart anyway.
    pub fn piece(&mut self, piece: &Piece) {
        let bytes = match piece {
            Piece::Text(text)
            | Piece::Thinking(text)
            | Piece::Refusal(text)
            | Piece::Arguments { text, .. } => text.len(),
            Piece::ToolCall { name, .. } => name.len(),
            _ => return,
        };
        self.events += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Tokens of all of it.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let envelopes = self.envelope.saturating_mul(self.events);
        self.events.max(of_bytes(self.bytes.saturating_sub(envelopes)))
    }
}

/// One string of a JSON text, and what comes behind it.
struct JsonString<'j> {
    raw: &'j [u8],
    /// About as many bytes as its text has in UTF-8.
    text_bytes: u64,
    rest: &'j [u8],
}

impl JsonString<'_> {
    /// Of what follows the opening quote. A string that does not end goes to the end.
    fn begin(json: &[u8]) -> JsonString<'_> {
        let (mut at, mut text_bytes) = (0, 0);
        while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at..]) {
            let end = at + found;
            text_bytes += found as u64;
            if json[end] == b'"' {
                return JsonString { raw: &json[..end], text_bytes, rest: &json[end + 1..] };
            }
            // A `\u` with its four digits is mostly a character of three bytes, `\n` and the like one of one.
            let unicode = json.get(end + 1) == Some(&b'u');
            at = (end + if unicode { 6 } else { 2 }).min(json.len());
            text_bytes += if unicode { 3 } else { 1 };
        }
        text_bytes += (json.len() - at) as u64;
        JsonString { raw: json, text_bytes, rest: &[] }
    }
}

/// Whether a string is a file in Base64 and no text.
fn is_media(string: &[u8]) -> bool {
    if string.len() < MEDIA_BYTES_MIN {
        return false;
    }
    let data = match string.strip_prefix(b"data:") {
        Some(url) => {
            memchr::memchr(b',', &url[..url.len().min(128)]).map_or(url, |at| &url[at + 1..])
        }
        None => string,
    };
    data.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-\\".contains(byte))
}

const BYTES_A_TOKEN: u64 = 4;
/// A string below this is text, whatever it is made of.
const MEDIA_BYTES_MIN: usize = 1024;
/// What providers charge for a picture of usual size.
const MEDIA_TOKENS: u64 = 1000;
/// What a plain answer has around its text: ids, names, numbers.
const ENVELOPE_BYTES: u64 = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_token_for_four_bytes_of_its_strings() {
        let words = "word ".repeat(1000);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{words}"}}],"n":1}}"#);
        // messages, role, user, content, n: 24 bytes.
        assert_eq!(of_request(body.as_bytes()), (5000 + 24) / 4);
        assert_eq!(of_request(br#"{ "a" : [1, 2, true] }"#), 1);
        assert_eq!(of_request(b"{}"), 0);
        assert_eq!(of_request(b""), 0);
    }

    #[test]
    fn escapes_count_as_the_characters_that_they_stand_for() {
        let (written, escaped) =
            ("日本語のテキスト", r"\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8");
        let of = |text: &str| of_request(format!("\"{text}\"").as_bytes());
        assert_eq!(of(written), of(escaped));
        assert_eq!(of(r#"say \"hi\"\n\\"#), of("say xhixxx"));
    }

    #[test]
    fn a_picture_counts_as_one_however_large_it_is() {
        let of = |prefix: &str, bytes: usize| {
            of_request(format!("\"{prefix}{}\"", "iVBORw0K".repeat(bytes / 8)).as_bytes())
        };
        assert_eq!(of("data:image/png;base64,", 8 << 20), MEDIA_TOKENS);
        assert_eq!(of("", 8 << 20), MEDIA_TOKENS);
        assert_eq!(of("", 512), 128, "too short for a picture");
        let text = format!("\"{}\"", "a sentence, ".repeat(1000));
        assert_eq!(of_request(text.as_bytes()), 3000, "text is no picture");
    }

    #[test]
    fn broken_json_ends_the_count_and_nothing_else() {
        for broken in [&b"\""[..], b"\"abc", b"\"abc\\", b"\"abc\\u", b"\"abc\\u12", b"\\\"\\\""] {
            assert!(of_request(broken) <= 3, "{broken:?}");
        }
    }

    #[test]
    fn a_stream_of_single_tokens_counts_its_events() {
        let mut weight = Weight::default();
        [203, 201, 206, 204].iter().for_each(|bytes| weight.event(*bytes));
        assert_eq!(weight.tokens(), 4);
    }

    #[test]
    fn a_stream_of_large_pieces_counts_its_text_without_the_envelopes() {
        let mut weight = Weight::default();
        weight.event(200);
        (0..10).for_each(|_| weight.event(200 + 400));
        assert_eq!(weight.tokens(), 1000);
        assert_eq!(Weight::default().tokens(), 0);
    }

    #[test]
    fn pieces_count_their_text() {
        let mut weight = Weight::default();
        weight.piece(&Piece::Text("a text of twenty-four by".into()));
        weight.piece(&Piece::Arguments { index: 0, text: "{\"city\":\"Ouagadougou\"}..".into() });
        weight.piece(&Piece::Signature("not counted".into()));
        assert_eq!(weight.tokens(), 12);
    }

    #[test]
    fn plain_answers_count_without_their_envelope() {
        assert_eq!(of_answer(0), 0);
        assert_eq!(of_answer(100), 1);
        assert_eq!(of_answer(ENVELOPE_BYTES + 4000), 1000);
    }
}
