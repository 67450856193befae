//! What an attempt cost, in integers: a table of prices in pico-dollars a token. What the table does not know is
//! unpriced, never 0.

use std::{collections::HashMap, sync::LazyLock};

use foldhash::fast::RandomState;

use crate::{
    base::units::{PicoUsd, UnixTime},
    chat::usage::Usage,
};

/// Names the built-in table in the log: its source's date.
pub const TABLE: &str = "builtin-2026-08-21";

/// What `usage` cost at the time `at`. A bucket that holds tokens and has no price in the row makes the whole unpriced:
/// no bucket borrows another's price, except that reasoning is output, as both providers bill it.
#[must_use]
pub fn cost(provider: &str, model: &str, usage: &Usage, at: UnixTime) -> Cost {
    let priced = row(provider, model, at).and_then(|row| row.rates_for(usage).total(usage));
    match priced {
        None => Cost { amount: None, status: CostStatus::Unpriced },
        Some(pico_usd) => Cost {
            amount: Some(PicoUsd(pico_usd)),
            status: if usage.estimated { CostStatus::Estimated } else { CostStatus::Exact },
        },
    }
}

/// An amount and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// `None` exactly if unpriced.
    pub amount: Option<PicoUsd>,
    /// How far it can be trusted.
    pub status: CostStatus,
}

/// How far a cost can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostStatus {
    /// The provider's own token counts at a known price.
    Exact,
    /// Trunkline's own token counts at a known price.
    Estimated,
    /// The model, or a bucket of it, has no known price, or the sum is beyond 64 bits.
    Unpriced,
}

impl CostStatus {
    /// The word used in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CostStatus::Exact => "exact",
            CostStatus::Estimated => "estimated",
            CostStatus::Unpriced => "unpriced",
        }
    }
}

/// Prices of one model over one span of time.
#[derive(Debug)]
struct Row {
    provider: &'static str,
    /// Each also matches with `-latest` or a date behind it.
    models: &'static [&'static str],
    /// Seconds since 1970; the row holds in `from..until`.
    from: u64,
    until: u64,
    base: Rates,
    /// More input tokens than this, cached ones included: the other rates hold for the whole request.
    above: Option<(u64, Rates)>,
}

/// Pico-dollars a token: 1 USD a million tokens is 1,000,000. `None`: not known.
#[derive(Clone, Copy, Debug)]
struct Rates {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    audio_in: Option<u64>,
    output: Option<u64>,
    audio_out: Option<u64>,
}

impl Row {
    fn applies(&self, provider: &str, at: UnixTime) -> bool {
        self.provider == provider && (self.from..self.until).contains(&at.seconds())
    }

    fn rates_for(&self, usage: &Usage) -> &Rates {
        let input_tokens = [
            usage.input,
            usage.cache_read,
            usage.cache_write_5m,
            usage.cache_write_1h,
            usage.audio_in,
        ]
        .into_iter()
        .fold(0, u64::saturating_add); // an upstream's numbers are not to be trusted
        match &self.above {
            Some((threshold, rates)) if input_tokens > *threshold => rates,
            _ => &self.base,
        }
    }

    const fn between(mut self, from: u64, until: u64) -> Row {
        self.from = from;
        self.until = until;
        self
    }

    const fn above(mut self, input_tokens: u64, rates: Rates) -> Row {
        self.above = Some((input_tokens, rates));
        self
    }
}

impl Rates {
    fn total(&self, usage: &Usage) -> Option<u64> {
        [
            (usage.input, self.input),
            (usage.cache_read, self.cache_read),
            (usage.cache_write_5m, self.cache_write_5m),
            (usage.cache_write_1h, self.cache_write_1h),
            (usage.audio_in, self.audio_in),
            (usage.output, self.output),
            (usage.reasoning, self.output),
            (usage.audio_out, self.audio_out),
        ]
        .into_iter()
        .filter(|(tokens, _)| *tokens > 0)
        .try_fold(0_u64, |sum, (tokens, rate)| sum.checked_add(tokens.checked_mul(rate?)?))
    }
}

/// The row that holds for a model, by its name or by its name with a version behind it.
fn row(provider: &str, model: &str, at: UnixTime) -> Option<&'static Row> {
    let names = VERSION_SUFFIX_BYTES.iter().filter_map(|length| {
        let (name, suffix) = model.split_at_checked(model.len().checked_sub(*length)?)?;
        is_version_suffix(suffix.as_bytes()).then_some(name)
    });
    names
        .filter_map(|name| ROWS_BY_NAME.get(name))
        .flatten()
        .copied()
        .find(|row| row.applies(provider, at))
}

/// Found by name: a walk over all rows was a twentieth of what a request costs.
static ROWS_BY_NAME: LazyLock<HashMap<&str, Vec<&Row>, RandomState>> = LazyLock::new(|| {
    let mut by_name: HashMap<&str, Vec<&Row>, RandomState> = HashMap::default();
    for row in TABLE_ROWS {
        for name in row.models {
            by_name.entry(name).or_default().push(row);
        }
    }
    by_name
});

/// How long what [`is_version_suffix`] takes can be: nothing, `-latest`, `-20260131`, `-2026-01-31`.
const VERSION_SUFFIX_BYTES: [usize; 4] = [0, 7, 9, 11];

/// Nothing, `-latest`, `-2025-08-07`, `-20250807` or `@20250807`: the same model by a fuller name.
fn is_version_suffix(suffix: &[u8]) -> bool {
    let version = match suffix {
        [] => return true,
        [b'-' | b'@', version @ ..] => version,
        _ => return false,
    };
    let digits = version.iter().filter(|byte| byte.is_ascii_digit()).count();
    let dashes = version.iter().filter(|byte| **byte == b'-').count();
    version == b"latest" || (digits == 8 && matches!(dashes, 0 | 2) && version.len() == 8 + dashes)
}

const NONE: Rates = Rates {
    input: None,
    cache_read: None,
    cache_write_5m: None,
    cache_write_1h: None,
    audio_in: None,
    output: None,
    audio_out: None,
};

/// Input and output, and no known price for anything else.
const fn plain(input: u64, output: u64) -> Rates {
    Rates { input: Some(input), output: Some(output), ..NONE }
}

const fn cached(input: u64, cache_read: u64, output: u64) -> Rates {
    Rates { cache_read: Some(cache_read), ..plain(input, output) }
}

const fn cached_writes(input: u64, cache_read: u64, cache_write: u64, output: u64) -> Rates {
    Rates { cache_write_5m: Some(cache_write), ..cached(input, cache_read, output) }
}

/// Anthropic's constant ratios: a cache read costs a tenth of input, a write 5/4 for 5 minutes and twice for 1 hour.
const fn claude(input: u64, output: u64) -> Rates {
    Rates {
        cache_write_1h: Some(input * 2),
        ..cached_writes(input, input / 10, input / 4 * 5, output)
    }
}

const fn openai(models: &'static [&'static str], base: Rates) -> Row {
    Row { provider: "openai", models, from: 0, until: u64::MAX, base, above: None }
}

const fn anthropic(models: &'static [&'static str], base: Rates) -> Row {
    Row { provider: "anthropic", models, from: 0, until: u64::MAX, base, above: None }
}

const JULY_30_2026: u64 = 1_785_369_600;
const SEPTEMBER_1_2026: u64 = 1_788_220_800;
const K272: u64 = 272_000;
const K200: u64 = 200_000;

/// From pydantic/genai-prices (MIT), 2026-08-21, checked against models.dev (MIT), 2026-07-02. Where the two differ:
/// models.dev alone knows the price of `gpt-4o-2024-05-13` and the long-context rates of `gpt-5.5` and
/// `gpt-5.5-pro`, which both sources give for their siblings. The first row that applies counts.
const TABLE_ROWS: &[Row] = &[
    openai(&["gpt-5.6-sol", "gpt-5.6"], cached_writes(5_000_000, 500_000, 6_250_000, 30_000_000))
        .above(K272, cached_writes(10_000_000, 1_000_000, 12_500_000, 45_000_000)),
    openai(&["gpt-5.6-terra"], cached_writes(2_500_000, 250_000, 3_125_000, 15_000_000))
        .above(K272, cached_writes(5_000_000, 500_000, 6_250_000, 22_500_000))
        .between(0, JULY_30_2026),
    openai(&["gpt-5.6-terra"], cached_writes(2_000_000, 200_000, 2_500_000, 12_000_000))
        .above(K272, cached_writes(4_000_000, 400_000, 5_000_000, 18_000_000))
        .between(JULY_30_2026, u64::MAX),
    openai(&["gpt-5.6-luna"], cached_writes(1_000_000, 100_000, 1_250_000, 6_000_000))
        .above(K272, cached_writes(2_000_000, 200_000, 2_500_000, 9_000_000))
        .between(0, JULY_30_2026),
    openai(&["gpt-5.6-luna"], cached_writes(200_000, 20_000, 250_000, 1_200_000))
        .above(K272, cached_writes(400_000, 40_000, 500_000, 1_800_000))
        .between(JULY_30_2026, u64::MAX),
    openai(&["gpt-5.5", "gpt-5.5-chat", "gpt-5.5-codex"], cached(5_000_000, 500_000, 30_000_000))
        .above(K272, cached(10_000_000, 1_000_000, 45_000_000)),
    openai(&["gpt-5.5-pro"], plain(30_000_000, 180_000_000))
        .above(K272, plain(60_000_000, 270_000_000)),
    openai(&["gpt-5.4"], cached(2_500_000, 250_000, 15_000_000))
        .above(K272, cached(5_000_000, 500_000, 22_500_000)),
    openai(&["gpt-5.4-mini"], cached(750_000, 75_000, 4_500_000)),
    openai(&["gpt-5.4-nano"], cached(200_000, 20_000, 1_250_000)),
    openai(&["gpt-5.4-pro"], plain(30_000_000, 180_000_000))
        .above(K272, plain(60_000_000, 270_000_000)),
    openai(&["gpt-5.3", "gpt-5.3-chat", "gpt-5.3-codex"], cached(1_750_000, 175_000, 14_000_000)),
    openai(&["gpt-5.2", "gpt-5.2-chat", "gpt-5.2-codex"], cached(1_750_000, 175_000, 14_000_000)),
    openai(&["gpt-5.2-pro"], plain(21_000_000, 168_000_000)),
    openai(
        &["gpt-5.1", "gpt-5.1-chat", "gpt-5.1-codex", "gpt-5.1-codex-max"],
        cached(1_250_000, 125_000, 10_000_000),
    ),
    openai(&["gpt-5.1-codex-mini", "gpt-5.1-mini"], cached(250_000, 25_000, 2_000_000)),
    openai(&["gpt-5", "gpt-5-chat", "gpt-5-codex"], cached(1_250_000, 125_000, 10_000_000)),
    openai(&["gpt-5-mini"], cached(250_000, 25_000, 2_000_000)),
    openai(&["gpt-5-nano"], cached(50_000, 5_000, 400_000)),
    openai(&["gpt-5-pro"], plain(15_000_000, 120_000_000)),
    openai(&["gpt-4.1"], cached(2_000_000, 500_000, 8_000_000)),
    openai(&["gpt-4.1-mini"], cached(400_000, 100_000, 1_600_000)),
    openai(&["gpt-4.1-nano"], cached(100_000, 25_000, 400_000)),
    openai(&["gpt-4o-2024-05-13"], plain(5_000_000, 15_000_000)),
    openai(&["gpt-4o"], cached(2_500_000, 1_250_000, 10_000_000)),
    openai(&["gpt-4o-mini"], cached(150_000, 75_000, 600_000)),
    openai(&["o1"], cached(15_000_000, 7_500_000, 60_000_000)),
    openai(&["o3"], cached(2_000_000, 500_000, 8_000_000)),
    openai(&["o3-mini"], cached(1_100_000, 550_000, 4_400_000)),
    openai(&["o3-pro"], plain(20_000_000, 80_000_000)),
    openai(&["o4-mini"], cached(1_100_000, 275_000, 4_400_000)),
    openai(&["text-embedding-3-large"], Rates { input: Some(130_000), ..NONE }),
    openai(&["text-embedding-3-small"], Rates { input: Some(20_000), ..NONE }),
    anthropic(&["claude-fable-5"], claude(10_000_000, 50_000_000)),
    anthropic(
        &["claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6"],
        claude(5_000_000, 25_000_000),
    ),
    anthropic(&["claude-opus-4-5"], claude(5_000_000, 25_000_000)),
    anthropic(
        &["claude-opus-4-1", "claude-opus-4-0", "claude-opus-4"],
        claude(15_000_000, 75_000_000),
    ),
    anthropic(&["claude-sonnet-5"], claude(2_000_000, 10_000_000)).between(0, SEPTEMBER_1_2026),
    anthropic(&["claude-sonnet-5"], claude(3_000_000, 15_000_000))
        .between(SEPTEMBER_1_2026, u64::MAX),
    anthropic(&["claude-sonnet-4-6"], claude(3_000_000, 15_000_000)),
    anthropic(&["claude-sonnet-4-5"], claude(3_000_000, 15_000_000))
        .above(K200, claude(6_000_000, 22_500_000)),
    anthropic(&["claude-sonnet-4-0", "claude-sonnet-4"], claude(3_000_000, 15_000_000)),
    anthropic(&["claude-3-7-sonnet", "claude-3-5-sonnet"], claude(3_000_000, 15_000_000)),
    anthropic(&["claude-haiku-4-5"], claude(1_000_000, 5_000_000)),
    anthropic(&["claude-3-5-haiku"], claude(800_000, 4_000_000)),
];

#[cfg(test)]
mod tests {
    use super::*;

    const AUGUST_2026: UnixTime = UnixTime { nanos: 1_787_000_000_000_000_000 };
    const OCTOBER_2026: UnixTime = UnixTime { nanos: 1_791_000_000_000_000_000 };

    fn pico(provider: &str, model: &str, usage: Usage) -> Option<u64> {
        cost(provider, model, &usage, AUGUST_2026).amount.map(|amount| amount.0)
    }

    #[test]
    fn buckets_add_up_exactly() {
        let usage =
            Usage { input: 1_000, cache_read: 200, output: 30, reasoning: 7, ..Usage::default() };
        let expected = 1_000 * 150_000 + 200 * 75_000 + (30 + 7) * 600_000;
        assert_eq!(pico("openai", "gpt-4o-mini", usage), Some(expected));
        let usage = Usage { cache_write_5m: 8, cache_write_1h: 3, ..Usage::default() };
        let expected = 8 * 3_750_000 + 3 * 6_000_000;
        assert_eq!(pico("anthropic", "claude-sonnet-4-6", usage), Some(expected));
    }

    #[test]
    fn dated_names_are_the_same_model_and_siblings_are_not() {
        let one = Usage { input: 1, ..Usage::default() };
        for (model, expected) in [
            ("gpt-5-mini", Some(250_000)),
            ("gpt-5-mini-2025-08-07", Some(250_000)),
            ("gpt-5-chat-latest", Some(1_250_000)),
            ("gpt-4o-2024-08-06", Some(2_500_000)),
            ("gpt-4o-2024-05-13", Some(5_000_000)),
            ("gpt-4o-audio-preview", None),
            ("gpt-5-mini-turbo", None),
            ("gpt-5-minimal", None),
            ("", None),
        ] {
            assert_eq!(pico("openai", model, one), expected, "{model}");
        }
        assert_eq!(pico("anthropic", "claude-haiku-4-5-20251001", one), Some(1_000_000));
        assert_eq!(pico("anthropic", "claude-haiku-4-5@20251001", one), Some(1_000_000));
        assert_eq!(pico("groq", "gpt-5-mini", one), None, "another provider, another price");
    }

    #[test]
    fn a_long_context_costs_more_for_the_whole_request() {
        let usage = |input| Usage { input, cache_read: 1_000, output: 1, ..Usage::default() };
        assert_eq!(
            pico("openai", "gpt-5.4", usage(271_000)),
            Some(271_000 * 2_500_000 + 1_000 * 250_000 + 15_000_000)
        );
        assert_eq!(
            pico("openai", "gpt-5.4", usage(271_001)),
            Some(271_001 * 5_000_000 + 1_000 * 500_000 + 22_500_000)
        );
    }

    #[test]
    fn prices_change_with_their_date() {
        let one = Usage { input: 1, ..Usage::default() };
        assert_eq!(pico("anthropic", "claude-sonnet-5", one), Some(2_000_000));
        let later = cost("anthropic", "claude-sonnet-5", &one, OCTOBER_2026);
        assert_eq!(later.amount, Some(PicoUsd(3_000_000)));
    }

    #[test]
    fn what_is_not_known_is_unpriced_and_never_zero() {
        let unpriced = Cost { amount: None, status: CostStatus::Unpriced };
        for usage in [
            Usage { input: 5, audio_in: 1, ..Usage::default() },
            Usage { input: 5, cache_write_1h: 1, ..Usage::default() },
            Usage { input: u64::MAX, ..Usage::default() },
            Usage { input: u64::MAX, cache_read: u64::MAX, ..Usage::default() },
        ] {
            assert_eq!(cost("openai", "gpt-4o", &usage, AUGUST_2026), unpriced, "{usage:?}");
        }
    }

    #[test]
    fn an_estimate_says_so() {
        let usage = Usage { input: 5, estimated: true, ..Usage::default() };
        assert_eq!(cost("openai", "gpt-4o", &usage, AUGUST_2026).status, CostStatus::Estimated);
    }
}
