//! OpenAI's token counts into disjoint buckets, with the ways in which its look-alikes differ.
//!
//! OpenAI's convention: cached and audio tokens lie inside the input count, reasoning and audio tokens inside the
//! output count. Some hosts count reasoning beside the output instead; their own total gives them away.

use serde_json::Value;

use crate::{
    base::limits::TOKEN_COUNT_MAX,
    chat::usage::Usage,
    wire::json::{self, Fields},
};

/// Reads a `usage` object. `None`: it holds no token counts.
#[must_use]
pub fn from_value(usage: &Value) -> Option<Usage> {
    from_json(usage.to_string().as_bytes())
}

/// Reads a `usage` object from its JSON text. `None`: it holds no token counts. Once a request: scanned, which takes a
/// fifth of the time of a JSON tree.
#[must_use]
pub fn from_json(usage: &[u8]) -> Option<Usage> {
    let usage = Object::of(usage)?;
    let input = usage.count(&["prompt_tokens", "input_tokens"]);
    let output = usage.count(&["completion_tokens", "output_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    Some(buckets(&usage, input.unwrap_or(0), output.unwrap_or(0)))
}

fn buckets(usage: &Object<'_>, input: u64, output: u64) -> Usage {
    let of_input = usage.object(INPUT_DETAILS);
    let of_output = usage.object(OUTPUT_DETAILS);
    let in_input = |name| of_input.as_ref().and_then(|details| details.count(&[name]));
    let in_output = |name| of_output.as_ref().and_then(|details| details.count(&[name]));
    let mut found = Usage {
        cache_read: in_input("cached_tokens")
            .or_else(|| usage.count(&["prompt_cache_hit_tokens", "cached_tokens"]))
            .unwrap_or(0),
        cache_write_5m: in_input("cache_write_tokens").unwrap_or(0),
        audio_in: in_input("audio_tokens").unwrap_or(0),
        reasoning: in_output("reasoning_tokens").unwrap_or(0),
        audio_out: in_output("audio_tokens").unwrap_or(0),
        ..Usage::default()
    };
    let special = found.cache_read + found.cache_write_5m + found.audio_in;
    found.input = input.saturating_sub(special);
    let inside = if reasoning_is_beside(usage, input, output, found.reasoning) {
        found.audio_out
    } else {
        found.audio_out + found.reasoning
    };
    found.output = output.saturating_sub(inside);
    found
}

/// Whether reasoning tokens are counted beside the output (xAI, Gemini's look-alike), not inside it.
fn reasoning_is_beside(usage: &Object<'_>, input: u64, output: u64, reasoning: u64) -> bool {
    let total = || usage.count(&["total_tokens"]);
    reasoning > 0 && (reasoning > output || total() == Some(input + output + reasoning))
}

/// A JSON object and where its members are.
struct Object<'j> {
    text: &'j [u8],
    fields: Fields,
}

impl<'j> Object<'j> {
    fn of(text: &'j [u8]) -> Option<Object<'j>> {
        Some(Object { text, fields: json::scan(text).ok()? })
    }

    /// The first of these members that is an object.
    fn object(&self, names: &[&str]) -> Option<Object<'j>> {
        names.iter().find_map(|name| Object::of(self.fields.value(self.text, name)?))
    }

    /// The first of these members that is a number. Counts beyond [`TOKEN_COUNT_MAX`] are a broken peer's.
    fn count(&self, names: &[&str]) -> Option<u64> {
        let count = names.iter().find_map(|name| number(self.fields.value(self.text, name)?))?;
        Some(count.min(TOKEN_COUNT_MAX))
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and counts are bounded right after it"
)]
fn number(raw: &[u8]) -> Option<u64> {
    let digits = raw.len() <= 18 && raw.iter().all(u8::is_ascii_digit);
    if digits && !raw.is_empty() {
        return Some(raw.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
    }
    let text = std::str::from_utf8(raw).ok()?;
    text.parse().ok().map(|number: f64| number as u64)
}

const INPUT_DETAILS: &[&str] =
    &["prompt_tokens_details", "input_tokens_details", "input_token_details"];
const OUTPUT_DETAILS: &[&str] =
    &["completion_tokens_details", "output_tokens_details", "output_token_details"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Usage {
        from_json(json.as_bytes()).expect("has counts")
    }

    #[test]
    fn openai_counts_details_inside_the_totals() {
        let usage = read(
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":60,"audio_tokens":10},
                "completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":5}}"#,
        );
        let expected = Usage {
            input: 30,
            cache_read: 60,
            audio_in: 10,
            output: 15,
            reasoning: 30,
            audio_out: 5,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
        assert_eq!((usage.input_total(), usage.output_total()), (100, 50));
    }

    #[test]
    fn responses_and_audio_endpoints_use_other_names() {
        let usage = read(
            r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,
                "output_tokens_details":{"reasoning_tokens":2},"total_tokens":16}"#,
        );
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (5, 4, 5, 2));
        let usage = read(
            r#"{"type":"tokens","input_tokens":14,"output_tokens":3,
                "input_token_details":{"text_tokens":4,"audio_tokens":10}}"#,
        );
        assert_eq!((usage.input, usage.audio_in, usage.output), (4, 10, 3));
        assert_eq!(from_json(br#"{"type":"duration","seconds":12}"#), None);
    }

    #[test]
    fn xai_counts_reasoning_beside_the_output() {
        let usage = read(
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
                "prompt_tokens_details":{"cached_tokens":6},
                "completion_tokens_details":{"reasoning_tokens":94}}"#,
        );
        assert_eq!((usage.output, usage.reasoning, usage.input), (9, 94, 26));
        // The same where the reasoning is shorter than the answer.
        let usage = read(
            r#"{"prompt_tokens":10,"completion_tokens":20,"total_tokens":35,
                "completion_tokens_details":{"reasoning_tokens":5}}"#,
        );
        assert_eq!((usage.output, usage.reasoning), (20, 5));
    }

    #[test]
    fn deepseek_names_cache_hits_itself() {
        let usage = read(
            r#"{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,
                "prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":2}"#,
        );
        assert_eq!((usage.input, usage.cache_read), (2, 8));
    }

    #[test]
    fn openrouter_counts_cache_writes_and_moonshot_puts_hits_on_top() {
        let usage = read(
            r#"{"prompt_tokens":100,"completion_tokens":1,
                "prompt_tokens_details":{"cached_tokens":20,"cache_write_tokens":30}}"#,
        );
        assert_eq!((usage.input, usage.cache_read, usage.cache_write_5m), (50, 20, 30));
        let usage = read(r#"{"prompt_tokens":10,"completion_tokens":1,"cached_tokens":4}"#);
        assert_eq!((usage.input, usage.cache_read), (6, 4));
    }

    #[test]
    fn nonsense_never_wraps_or_panics() {
        let usage = read(
            r#"{"prompt_tokens":-5,"completion_tokens":1e300,
                "prompt_tokens_details":{"cached_tokens":7},"completion_tokens_details":null}"#,
        );
        assert_eq!((usage.input, usage.cache_read, usage.output), (0, 7, TOKEN_COUNT_MAX));
        for json in ["null", "[]", "{}", "{\"prompt_tokens\":\"1\"}", "{"] {
            assert_eq!(from_json(json.as_bytes()), None, "{json}");
        }
    }
}
