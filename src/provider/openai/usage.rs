//! OpenAI's token counts into disjoint buckets, with the ways in which its look-alikes differ.
//!
//! OpenAI's convention: cached and audio tokens lie inside the input count, reasoning and audio tokens inside the
//! output count. Some hosts count reasoning beside the output instead; their own total gives them away.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use crate::{base::limits::TOKEN_COUNT_MAX, chat::usage::Usage};

/// Reads a `usage` object from its JSON text. `None`: it holds no token counts.
#[must_use]
pub fn from_json(usage: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<Loose<Wire>>(usage).ok()?.0?.usage()
}

/// Reads a `usage` object. `None`: it holds no token counts.
#[must_use]
pub fn from_value(usage: &Value) -> Option<Usage> {
    Loose::<Wire>::deserialize(usage).ok()?.0?.usage()
}

/// A `usage` object, under all the names that its members go by.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    prompt_tokens: Count,
    input_tokens: Count,
    completion_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    prompt_cache_hit_tokens: Count,
    cached_tokens: Count,
    prompt_tokens_details: Loose<Details>,
    input_tokens_details: Loose<Details>,
    input_token_details: Loose<Details>,
    completion_tokens_details: Loose<Details>,
    output_tokens_details: Loose<Details>,
    output_token_details: Loose<Details>,
}

/// What the input or the output count is made of.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Count,
    cache_write_tokens: Count,
    audio_tokens: Count,
    reasoning_tokens: Count,
}

impl Wire {
    fn usage(&self) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.input_tokens);
        let output = self.completion_tokens.or(self.output_tokens);
        if input.is_none() && output.is_none() {
            return None;
        }
        Some(self.buckets(input.unwrap_or(0), output.unwrap_or(0)))
    }

    fn buckets(&self, input: u64, output: u64) -> Usage {
        let of_input = self.prompt_tokens_details.0.or(self.input_tokens_details.0);
        let of_input = of_input.or(self.input_token_details.0).unwrap_or_default();
        let of_output = self.completion_tokens_details.0.or(self.output_tokens_details.0);
        let of_output = of_output.or(self.output_token_details.0).unwrap_or_default();
        let on_top = self.prompt_cache_hit_tokens.or(self.cached_tokens);
        let mut found = Usage {
            cache_read: of_input.cached_tokens.0.or(on_top).unwrap_or(0),
            cache_write_5m: of_input.cache_write_tokens.0.unwrap_or(0),
            audio_in: of_input.audio_tokens.0.unwrap_or(0),
            reasoning: of_output.reasoning_tokens.0.unwrap_or(0),
            audio_out: of_output.audio_tokens.0.unwrap_or(0),
            ..Usage::default()
        };
        let special = found.cache_read + found.cache_write_5m + found.audio_in;
        found.input = input.saturating_sub(special);
        let inside = if self.reasoning_is_beside(input, output, found.reasoning) {
            found.audio_out
        } else {
            found.audio_out + found.reasoning
        };
        found.output = output.saturating_sub(inside);
        found
    }

    /// Whether reasoning tokens are counted beside the output (xAI, Gemini's look-alike), not inside it.
    fn reasoning_is_beside(&self, input: u64, output: u64, reasoning: u64) -> bool {
        let total = self.total_tokens.0;
        reasoning > 0 && (reasoning > output || total == Some(input + output + reasoning))
    }
}

/// A count, if the member is a number: what else hosts write there says nothing. Counts beyond [`TOKEN_COUNT_MAX`]
/// are a broken peer's.
#[derive(Clone, Copy, Debug, Default)]
struct Count(Option<u64>);

impl Count {
    fn or(self, other: Count) -> Option<u64> {
        self.0.or(other.0)
    }

    fn of(number: u64) -> Count {
        Count(Some(number.min(TOKEN_COUNT_MAX)))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        deserializer.deserialize_any(AnyCount)
    }
}

struct AnyCount;

impl<'de> Visitor<'de> for AnyCount {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Count, E> {
        Ok(Count::of(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Count, E> {
        Ok(Count::of(u64::try_from(number).unwrap_or(0)))
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and counts are bounded right after it"
    )]
    fn visit_f64<E>(self, number: f64) -> Result<Count, E> {
        Ok(Count::of(number as u64))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Count, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// An object, or nothing where anything else stands.
#[derive(Clone, Copy, Debug)]
struct Loose<T>(Option<T>);

impl<T> Default for Loose<T> {
    fn default() -> Loose<T> {
        Loose(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Loose<T>, D::Error> {
        deserializer.deserialize_any(AnyObject(std::marker::PhantomData))
    }
}

struct AnyObject<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyObject<T> {
    type Value = Loose<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Loose<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Some).map(Loose)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Loose<T>, A::Error> {
        AnyCount.visit_seq(items).map(|_| Loose(None))
    }

    fn visit_unit<E>(self) -> Result<Loose<T>, E> {
        Ok(Loose(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose<T>, E> {
        Ok(Loose(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Loose<T>, E> {
        Ok(Loose(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Loose<T>, E> {
        Ok(Loose(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose<T>, E> {
        Ok(Loose(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Loose<T>, E> {
        Ok(Loose(None))
    }
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
