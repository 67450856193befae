//! OpenAI's token counts into disjoint buckets, with the ways in which its look-alikes differ.
//!
//! OpenAI's convention: cached and audio tokens lie inside the input count, reasoning and audio tokens inside the
//! output count. Some hosts count reasoning beside the output instead; their own total gives them away.

use serde_json::Value;

use crate::{base::limits::TOKEN_COUNT_MAX, chat::usage::Usage, wire::json};

/// Reads a `usage` object. `None`: it holds no token counts.
#[must_use]
pub fn from_value(usage: &Value) -> Option<Usage> {
    from_json(usage.to_string().as_bytes())
}

/// Reads a `usage` object from its JSON text. `None`: it holds no token counts, or one of them twice.
#[must_use]
pub fn from_json(usage: &[u8]) -> Option<Usage> {
    let told = usual(usage).or_else(|| Counts::of(usage).map(|counts| counts.told()))?;
    if told.input.is_none() && told.output.is_none() {
        return None;
    }
    Some(buckets(&told))
}

/// What a `usage` object tells, whatever it calls it.
#[derive(Default)]
struct Told {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: u64,
    cache_write: u64,
    audio_in: u64,
    reasoning: u64,
    audio_out: u64,
}

fn buckets(told: &Told) -> Usage {
    let mut found = Usage {
        cache_read: told.cached,
        cache_write_5m: told.cache_write,
        audio_in: told.audio_in,
        reasoning: told.reasoning,
        audio_out: told.audio_out,
        ..Usage::default()
    };
    let (input, output) = (told.input.unwrap_or(0), told.output.unwrap_or(0));
    let special = found.cache_read + found.cache_write_5m + found.audio_in;
    found.input = input.saturating_sub(special);
    let inside = if reasoning_is_beside(told, input, output) {
        found.audio_out
    } else {
        found.audio_out + found.reasoning
    };
    found.output = output.saturating_sub(inside);
    found
}

/// Whether reasoning tokens are counted beside the output (xAI, Gemini's look-alike), not inside it.
fn reasoning_is_beside(told: &Told, input: u64, output: u64) -> bool {
    let reasoning = told.reasoning;
    reasoning > 0 && (reasoning > output || told.total == Some(input + output + reasoning))
}

/// What a `usage` object tells that is written as OpenAI writes it, byte for byte. Most are, and to compare them with
/// it takes a quarter of the instructions of looking for each name.
fn usual(usage: &[u8]) -> Option<Told> {
    let mut rest = usage;
    let mut number = |before: &[u8]| {
        rest = rest.strip_prefix(before)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (raw, behind) = rest.split_at(digits);
        rest = behind;
        if matches!(raw, [] | [b'0', _, ..]) {
            return None;
        }
        first([Some(raw)])
    };
    let told = Told {
        input: Some(number(b"{\"prompt_tokens\":")?),
        output: Some(number(b",\"completion_tokens\":")?),
        total: Some(number(b",\"total_tokens\":")?),
        cached: number(b",\"prompt_tokens_details\":{\"cached_tokens\":")?,
        cache_write: 0,
        audio_in: number(b",\"audio_tokens\":")?,
        reasoning: number(b"},\"completion_tokens_details\":{\"reasoning_tokens\":")?,
        audio_out: number(b",\"audio_tokens\":")?,
    };
    number(b",\"accepted_prediction_tokens\":")?;
    number(b",\"rejected_prediction_tokens\":")?;
    (rest == b"}}").then_some(told)
}

/// The raw values of a `usage` object's members that mean something, found in one pass that keeps nothing else.
#[derive(Default)]
struct Counts<'j> {
    prompt_tokens: Option<&'j [u8]>,
    input_tokens: Option<&'j [u8]>,
    completion_tokens: Option<&'j [u8]>,
    output_tokens: Option<&'j [u8]>,
    total_tokens: Option<&'j [u8]>,
    prompt_cache_hit_tokens: Option<&'j [u8]>,
    cached_tokens: Option<&'j [u8]>,
    /// Under the names that it goes by; the first that is an object counts.
    details_of_input: [Option<&'j [u8]>; 3],
    details_of_output: [Option<&'j [u8]>; 3],
}

impl<'j> Counts<'j> {
    fn of(usage: &'j [u8]) -> Option<Counts<'j>> {
        let mut counts = Counts::default();
        let mut twice = false;
        json::each_member(usage, |key, value| {
            if let Some(place) = counts.place(key) {
                twice |= place.replace(value).is_some();
            }
        })?;
        (!twice).then_some(counts)
    }

    fn told(&self) -> Told {
        let details = |of: &[Option<&'j [u8]>]| of.iter().find_map(|raw| Details::of((*raw)?));
        let of_input = details(&self.details_of_input).unwrap_or_default();
        let of_output = details(&self.details_of_output).unwrap_or_default();
        let cached = [of_input.cached, self.prompt_cache_hit_tokens, self.cached_tokens];
        Told {
            input: first([self.prompt_tokens, self.input_tokens]),
            output: first([self.completion_tokens, self.output_tokens]),
            total: first([self.total_tokens]),
            cached: first(cached).unwrap_or(0),
            cache_write: first([of_input.cache_write]).unwrap_or(0),
            audio_in: first([of_input.audio]).unwrap_or(0),
            reasoning: first([of_output.reasoning]).unwrap_or(0),
            audio_out: first([of_output.audio]).unwrap_or(0),
        }
    }

    fn place(&mut self, key: &[u8]) -> Option<&mut Option<&'j [u8]>> {
        let place = match key {
            b"prompt_tokens" => &mut self.prompt_tokens,
            b"input_tokens" => &mut self.input_tokens,
            b"completion_tokens" => &mut self.completion_tokens,
            b"output_tokens" => &mut self.output_tokens,
            b"total_tokens" => &mut self.total_tokens,
            b"prompt_cache_hit_tokens" => &mut self.prompt_cache_hit_tokens,
            b"cached_tokens" => &mut self.cached_tokens,
            b"prompt_tokens_details" => &mut self.details_of_input[0],
            b"input_tokens_details" => &mut self.details_of_input[1],
            b"input_token_details" => &mut self.details_of_input[2],
            b"completion_tokens_details" => &mut self.details_of_output[0],
            b"output_tokens_details" => &mut self.details_of_output[1],
            b"output_token_details" => &mut self.details_of_output[2],
            _ => return None,
        };
        Some(place)
    }
}

/// The same of what an input or output count is made of.
#[derive(Default)]
struct Details<'j> {
    cached: Option<&'j [u8]>,
    cache_write: Option<&'j [u8]>,
    audio: Option<&'j [u8]>,
    reasoning: Option<&'j [u8]>,
}

impl<'j> Details<'j> {
    fn of(raw: &'j [u8]) -> Option<Details<'j>> {
        let mut details = Details::default();
        let mut twice = false;
        json::each_member(raw, |key, value| {
            let place = match key {
                b"cached_tokens" => &mut details.cached,
                b"cache_write_tokens" => &mut details.cache_write,
                b"audio_tokens" => &mut details.audio,
                b"reasoning_tokens" => &mut details.reasoning,
                _ => return,
            };
            twice |= place.replace(value).is_some();
        })?;
        (!twice).then_some(details)
    }
}

/// The first of these values that is a number. Counts beyond [`TOKEN_COUNT_MAX`] are a broken peer's.
fn first<const N: usize>(values: [Option<&[u8]>; N]) -> Option<u64> {
    let count = values.into_iter().find_map(|raw| number(raw?))?;
    Some(count.min(TOKEN_COUNT_MAX))
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
    fn the_usual_form_says_the_same_as_any_other() {
        const USUAL: &str = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":10},"completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":5,"accepted_prediction_tokens":0,"rejected_prediction_tokens":7}}"#;
        assert!(usual(USUAL.as_bytes()).is_some());
        // A blank anywhere makes it another form of the same, and one digit less or more another number.
        let general = |json: &str| Counts::of(json.as_bytes()).map(|it| buckets(&it.told()));
        assert_eq!(from_json(USUAL.as_bytes()), general(USUAL));
        for (at, _) in USUAL.match_indices([':', ',', '}']) {
            let spaced = format!("{} {}", &USUAL[..at], &USUAL[at..]);
            assert!(usual(spaced.as_bytes()).is_none());
            assert_eq!(from_json(spaced.as_bytes()), general(USUAL), "{spaced}");
        }
        for (from, to) in
            [("100", "99999999999999999999"), ("100", "1e2"), ("60", "9"), ("30", "200")]
        {
            let changed = USUAL.replacen(from, to, 1);
            assert_eq!(from_json(changed.as_bytes()), general(&changed), "{changed}");
        }
        for (from, to) in
            [("100", "0100"), ("100", ""), ("100", "-"), ("7}}", "7}"), ("7}}", "7}}x")]
        {
            assert_eq!(from_json(USUAL.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
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
        let twice = r#"{"prompt_tokens":1,"prompt_tokens":2}"#;
        for json in ["null", "[]", "{}", "{\"prompt_tokens\":\"1\"}", "{", twice] {
            assert_eq!(from_json(json.as_bytes()), None, "{json}");
        }
    }
}
