//! Anthropic's token counts into disjoint buckets. Its convention: `input_tokens` excludes what was read from or
//! written to the cache; `output_tokens` includes thinking. In a stream each count is cumulative, and a later event may
//! leave out what an earlier one said.

use serde::Deserialize;

use crate::{base::limits::TOKEN_COUNT_MAX, chat::usage::Usage};

/// Counts as they come, possibly over several events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    thinking: Option<u64>,
}

impl Counts {
    /// Takes over what a `usage` object says, and keeps the rest.
    pub fn merge(&mut self, wire: &Wire) {
        let creation = wire.cache_creation.as_ref();
        let details = wire.output_tokens_details.as_ref();
        let keep = |new: Option<u64>, old: Option<u64>| new.map(|n| n.min(TOKEN_COUNT_MAX)).or(old);
        *self = Counts {
            input: keep(wire.input_tokens, self.input),
            output: keep(wire.output_tokens, self.output),
            cache_read: keep(wire.cache_read_input_tokens, self.cache_read),
            cache_write: keep(wire.cache_creation_input_tokens, self.cache_write),
            cache_write_1h: keep(
                creation.and_then(|c| c.ephemeral_1h_input_tokens),
                self.cache_write_1h,
            ),
            thinking: keep(details.and_then(|d| d.thinking_tokens), self.thinking),
        };
    }

    /// In buckets. `None`: nothing was said.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let write = self.cache_write.unwrap_or(0);
        let write_1h = self.cache_write_1h.unwrap_or(0).min(write);
        let output = self.output.unwrap_or(0);
        let reasoning = self.thinking.unwrap_or(0).min(output);
        Some(Usage {
            input: self.input.unwrap_or(0),
            cache_read: self.cache_read.unwrap_or(0),
            cache_write_5m: write - write_1h,
            cache_write_1h: write_1h,
            output: output - reasoning,
            reasoning,
            ..Usage::default()
        })
    }
}

/// Reads a `usage` object from its JSON text. `None`: it holds no token counts.
#[must_use]
pub fn from_json(usage: &[u8]) -> Option<Usage> {
    let mut counts = Counts::default();
    counts.merge(&serde_json::from_slice(usage).ok()?);
    counts.usage()
}

/// A `usage` object.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Wire {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation: Option<Creation>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Creation {
    #[serde(default)]
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_stand_beside_the_input_and_split_by_lifetime() {
        let usage = from_json(
            br#"{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":50,
                "cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":30},
                "output_tokens":7,"service_tier":"standard"}"#,
        );
        let expected = Usage {
            input: 10,
            cache_read: 100,
            cache_write_5m: 20,
            cache_write_1h: 30,
            output: 7,
            ..Usage::default()
        };
        assert_eq!(usage, Some(expected));
        assert_eq!(expected.input_total(), 160);
    }

    #[test]
    fn later_events_replace_what_they_name_and_keep_the_rest() {
        let mut counts = Counts::default();
        for event in [
            r#"{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1}"#,
            r#"{"output_tokens":9,"input_tokens":null,"output_tokens_details":{"thinking_tokens":4}}"#,
        ] {
            counts.merge(&serde_json::from_str(event).expect("test data"));
        }
        let usage = counts.usage().expect("has counts");
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (10, 5, 5, 4));
        assert_eq!(from_json(b"{}"), None);
    }
}
