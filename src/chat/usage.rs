//! Token counts in disjoint buckets: no token is counted in two of them, whatever the provider's convention.

/// What one attempt used. Each bucket excludes all others; `input` is uncached text input, `output` is visible text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Uncached input tokens.
    pub input: u64,
    /// Input tokens read from the provider's prompt cache.
    pub cache_read: u64,
    /// Input tokens written to the provider's prompt cache for 5 minutes (or its only lifetime).
    pub cache_write_5m: u64,
    /// Input tokens written to the provider's prompt cache for 1 hour.
    pub cache_write_1h: u64,
    /// Audio input tokens.
    pub audio_in: u64,
    /// Output tokens, without reasoning and audio.
    pub output: u64,
    /// Reasoning tokens.
    pub reasoning: u64,
    /// Audio output tokens.
    pub audio_out: u64,
    /// True if the numbers are an estimate of Trunkline's, not the provider's word.
    pub estimated: bool,
}

impl Usage {
    /// All input tokens, cached ones included.
    #[must_use]
    pub fn input_total(&self) -> u64 {
        [self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_in]
            .into_iter()
            .fold(self.input, u64::saturating_add)
    }

    /// All output tokens, reasoning included.
    #[must_use]
    pub fn output_total(&self) -> u64 {
        self.output.saturating_add(self.reasoning).saturating_add(self.audio_out)
    }
}
