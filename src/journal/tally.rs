//! What is counted of an exchange when it ends: how it ended, what it moved and used, how long it took.

use super::{
    entry::Entry,
    histogram::{EXCHANGE_BOUNDS, GATEWAY_BOUNDS, Histogram},
    metrics::Counter,
};
use crate::{base::fault::Source, chat::usage::Usage};

/// One core's sums over the exchanges that have ended.
#[derive(Debug)]
pub struct Tally {
    /// By the class of the status that the client was sent; see [`STATUS_CLASSES`].
    pub statuses: [Counter; STATUS_CLASSES.len()],
    /// Those that ended in an error, by who is to blame; see [`SOURCES`].
    pub sources: [Counter; SOURCES.len()],
    /// Attempts that tried the same target again.
    pub retries: Counter,
    /// Attempts that went on to another target.
    pub fallbacks: Counter,
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// By bucket; see [`BUCKETS`].
    pub tokens: [Counter; BUCKETS.len()],
    /// What priced exchanges cost.
    pub cost_pico_usd: Counter,
    /// Exchanges that used something without a known price.
    pub unpriced: Counter,
    /// Exchanges slower than `slow_request`.
    pub slow: Counter,
    /// Until the request was out, of exchanges with one attempt.
    pub gateway: Histogram,
    /// Until the answer's first byte.
    pub first_byte: Histogram,
    /// Until the first token, of streams.
    pub first_token: Histogram,
    /// Until the end.
    pub total: Histogram,
}

/// The classes of statuses; `none` is an exchange whose client went before it was answered.
pub const STATUS_CLASSES: [&str; 5] = ["none", "2xx", "3xx", "4xx", "5xx"];

/// Who may be to blame for an error.
pub const SOURCES: [&str; 4] = ["client", "gateway", "upstream", "network"];

/// A bucket of tokens: its name, and how to read it.
type Bucket = (&'static str, fn(&Usage) -> u64);

/// The buckets of tokens.
pub const BUCKETS: [Bucket; 8] = [
    ("input", |usage| usage.input),
    ("cache_read", |usage| usage.cache_read),
    ("cache_write_5m", |usage| usage.cache_write_5m),
    ("cache_write_1h", |usage| usage.cache_write_1h),
    ("audio_in", |usage| usage.audio_in),
    ("output", |usage| usage.output),
    ("reasoning", |usage| usage.reasoning),
    ("audio_out", |usage| usage.audio_out),
];

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            statuses: Default::default(),
            sources: Default::default(),
            retries: Counter::default(),
            fallbacks: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            tokens: Default::default(),
            cost_pico_usd: Counter::default(),
            unpriced: Counter::default(),
            slow: Counter::default(),
            gateway: Histogram::new(GATEWAY_BOUNDS),
            first_byte: Histogram::new(EXCHANGE_BOUNDS),
            first_token: Histogram::new(EXCHANGE_BOUNDS),
            total: Histogram::new(EXCHANGE_BOUNDS),
        }
    }
}

impl Tally {
    /// Counts an exchange whose facts are complete.
    pub fn note(&self, entry: &Entry<'_>) {
        self.statuses[class_of(entry.status)].add(1);
        if let Some(source) = source_of(entry) {
            self.sources[source as usize - 1].add(1);
        }
        self.bytes_in.add(entry.client_bytes_in);
        self.bytes_out.add(entry.client_bytes_out);
        if entry.attempts.len() > 1 {
            self.note_further_attempts(entry);
        }
        if let Some(usage) = &entry.usage {
            self.note_usage(usage, entry);
        }
        self.note_times(entry);
    }

    fn note_further_attempts(&self, entry: &Entry<'_>) {
        let walked = || entry.attempts.iter().filter(|attempt| attempt.role.is_empty());
        for (before, after) in walked().zip(walked().skip(1)) {
            let again = before.target == after.target;
            if again { &self.retries } else { &self.fallbacks }.add(1);
        }
    }

    fn note_usage(&self, usage: &Usage, entry: &Entry<'_>) {
        for (counter, (_, read)) in self.tokens.iter().zip(BUCKETS) {
            counter.add(read(usage));
        }
        match entry.cost.and_then(|cost| cost.amount) {
            Some(amount) => self.cost_pico_usd.add(amount.0),
            None => self.unpriced.add(1),
        }
    }

    /// Only of what reached an upstream: refusals take no time, and would make the others look fast.
    fn note_times(&self, entry: &Entry<'_>) {
        let times = &entry.times;
        if times.sent == 0 {
            return;
        }
        if entry.attempts.len() == 1 {
            self.gateway.note(times.sent);
        }
        if times.first_byte > 0 {
            self.first_byte.note(times.first_byte);
        }
        if entry.stream && times.first_token > 0 {
            self.first_token.note(times.first_token);
        }
        self.total.note(times.flushed);
    }
}

fn class_of(status: u16) -> usize {
    match status {
        200..300 => 1,
        300..400 => 2,
        400..500 => 3,
        500..600 => 4,
        _ => 0,
    }
}

/// Who is to blame; an error that a provider answered with is its own.
fn source_of(entry: &Entry<'_>) -> Option<Source> {
    let of_fault = entry.fault.as_ref().map(|fault| fault.source);
    of_fault.or_else(|| (entry.status >= 400).then_some(Source::Upstream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            fault::{Fault, Kind, Stage},
            units::PicoUsd,
        },
        journal::entry::Attempt,
        policy::price::{Cost, CostStatus},
    };

    fn counts<const N: usize>(counters: &[Counter; N]) -> [u64; N] {
        std::array::from_fn(|at| counters[at].get())
    }

    #[test]
    fn statuses_and_blame_are_counted_apart() {
        let tally = Tally::default();
        for status in [0, 200, 246, 304, 404, 446, 503, 599] {
            tally.note(&Entry { status, ..Entry::default() });
        }
        assert_eq!(counts(&tally.statuses), [1, 2, 1, 2, 2]);
        assert_eq!(counts(&tally.sources), [0, 0, 4, 0], "an upstream's own errors");
        for source in [Source::Client, Source::Gateway, Source::Upstream, Source::Network] {
            let fault = Fault::new(Stage::Relay, source, Kind::Truncated, "");
            tally.note(&Entry { status: 200, fault: Some(fault), ..Entry::default() });
        }
        assert_eq!(counts(&tally.sources), [1, 1, 5, 1]);
    }

    #[test]
    fn the_words_for_blame_are_those_of_the_header() {
        for source in [Source::Client, Source::Gateway, Source::Upstream, Source::Network] {
            assert_eq!(SOURCES[source as usize - 1], source.as_str());
        }
    }

    #[test]
    fn the_same_target_again_is_a_retry_and_another_one_a_fallback() {
        let attempt =
            |target: &'static str| Attempt { target: target.into(), ..Attempt::default() };
        let attempts = ["a", "a", "b", "b", "b", "a"].map(attempt).into_iter().collect();
        let tally = Tally::default();
        tally.note(&Entry { attempts, ..Entry::default() });
        assert_eq!((tally.retries.get(), tally.fallbacks.get()), (3, 2));
    }

    #[test]
    fn tokens_and_money_are_added_up_and_what_has_no_price_is_counted() {
        let tally = Tally::default();
        let usage = Some(Usage { input: 3, output: 5, reasoning: 7, ..Usage::default() });
        let cost = |amount, status| Some(Cost { amount, status });
        for cost in [cost(Some(PicoUsd(11)), CostStatus::Exact), cost(None, CostStatus::Unpriced)] {
            tally.note(&Entry { usage, cost, ..Entry::default() });
        }
        assert_eq!(counts(&tally.tokens), [6, 0, 0, 0, 0, 10, 14, 0]);
        assert_eq!((tally.cost_pico_usd.get(), tally.unpriced.get()), (11, 1));
    }

    #[test]
    fn what_never_reached_an_upstream_is_in_no_histogram() {
        let tally = Tally::default();
        let mut entry = Entry::default();
        entry.times.flushed = 100;
        tally.note(&entry);
        let count = |histogram: &Histogram| Histogram::read([histogram].into_iter()).count;
        assert_eq!(count(&tally.total), 0);
        entry.times.sent = 10;
        entry.times.first_token = 20;
        entry.attempts.push(Attempt::default());
        tally.note(&entry);
        entry.stream = true;
        entry.times.first_byte = 15;
        entry.attempts.push(Attempt::default());
        tally.note(&entry);
        let all = [&tally.gateway, &tally.first_byte, &tally.first_token, &tally.total];
        assert_eq!(all.map(count), [1, 1, 1, 2]);
    }
}
