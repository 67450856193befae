//! A slow exchange, told whole: every stage, every attempt, and how busy its core was. No secret is in it, and no body.

use std::{
    fmt::{self, Display},
    sync::atomic::{AtomicU64, Ordering},
};

use crossbeam_queue::ArrayQueue;

use super::entry::{Entry, kind_word};
use crate::{
    base::{ids::RequestId, limits, units::UnixTime},
    wire::record::Times,
};

/// A slow exchange. Its texts are bounded, and so are its attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlowRequest {
    /// Its id.
    pub request_id: RequestId,
    /// When its first byte arrived.
    pub accepted_unix: UnixTime,
    /// When each stage was reached, in nanoseconds after that; 0: never.
    pub times: Times,
    /// What was compared with `slow_request`, in nanoseconds.
    pub waited_nanos: u64,
    /// The status sent to the client.
    pub status: u16,
    /// The kind of fault that it ended in; empty: none.
    pub error: &'static str,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The API key's name.
    pub api_key: String,
    /// The config's name.
    pub config: String,
    /// The model that the client wrote.
    pub model: String,
    /// Whether it was a stream.
    pub stream: bool,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// Its attempts, as many as are told.
    pub attempts: Vec<SlowAttempt>,
    /// Attempts that are not told.
    pub attempts_omitted: usize,
    /// How busy the core was.
    pub core: CoreState,
}

/// One attempt of a slow exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlowAttempt {
    /// Its place in the config.
    pub target: String,
    /// The provider.
    pub provider: &'static str,
    /// The virtual key.
    pub virtual_key: String,
    /// The upstream's status; 0: no answer.
    pub status: u16,
    /// When it began, in nanoseconds.
    pub started: u64,
    /// When it was left or complete; 0: not.
    pub ended: u64,
    /// Why it was left.
    pub left: &'static str,
}

/// How busy a core was when an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreState {
    /// The longest lag of its event loop of late, in nanoseconds.
    pub lag_nanos: u64,
    /// Exchanges under way on it.
    pub in_flight: u64,
}

/// What `slow_request` is compared with: the time to the first token of a stream, else to the end.
#[must_use]
pub fn waited_nanos(entry: &Entry<'_>) -> u64 {
    match entry.times.first_token {
        token @ 1.. if entry.stream => token,
        _ => entry.times.flushed,
    }
}

impl SlowRequest {
    /// Takes an exchange's facts down.
    #[must_use]
    pub fn of(entry: &Entry<'_>, core: CoreState) -> SlowRequest {
        let told = entry.attempts.iter().take(limits::SLOW_ATTEMPTS_MAX);
        let attempts: Vec<SlowAttempt> = told
            .map(|attempt| SlowAttempt {
                target: short(&attempt.target),
                provider: attempt.provider,
                virtual_key: short(&attempt.virtual_key),
                status: attempt.status,
                started: attempt.started,
                ended: attempt.ended,
                left: attempt.left,
            })
            .collect();
        SlowRequest {
            request_id: entry.request_id,
            accepted_unix: entry.accepted_unix,
            times: entry.times,
            waited_nanos: waited_nanos(entry),
            status: entry.status,
            error: entry.fault.as_ref().map_or("", |fault| kind_word(fault.kind)),
            method: short(&entry.method),
            path: short(&entry.path),
            api_key: short(&entry.api_key),
            config: short(&entry.config),
            model: short(&entry.requested_model),
            stream: entry.stream,
            bytes_in: entry.client_bytes_in,
            bytes_out: entry.client_bytes_out,
            attempts_omitted: entry.attempts.len() - attempts.len(),
            attempts,
            core,
        }
    }

    /// The stages by name, in their order; those that were reached.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let times = &self.times;
        [
            ("head", times.head),
            ("body", times.body),
            ("planned", times.planned),
            ("connected", times.connected),
            ("sent", times.sent),
            ("first_byte", times.first_byte),
            ("first_token", times.first_token),
            ("last_byte", times.last_byte),
            ("flushed", times.flushed),
        ]
        .into_iter()
        .filter(|(_, nanos)| *nanos > 0)
    }
}

/// One line. Texts that others wrote are quoted and escaped, so that they cannot pretend to be another line.
impl Display for SlowRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.stream { "the first token" } else { "the end" };
        let waited = Millis(self.waited_nanos);
        write!(f, "slow request {}: {waited} ms to {what}", self.request_id)?;
        write!(f, ", status {}", self.status)?;
        if !self.error.is_empty() {
            write!(f, " ({})", self.error)?;
        }
        write!(f, ", {:?} {:?}, model {:?}", self.method, self.path, self.model)?;
        write!(f, ", key {:?}, config {:?}", self.api_key, self.config)?;
        write!(f, ", {} bytes in, {} out; ms:", self.bytes_in, self.bytes_out)?;
        for (name, nanos) in self.stages() {
            write!(f, " {name} {}", Millis(nanos))?;
        }
        write!(f, "; attempts:")?;
        for attempt in &self.attempts {
            write!(f, " [{:?} {} {:?}", attempt.target, attempt.provider, attempt.virtual_key)?;
            write!(f, " from {} to {}", Millis(attempt.started), Millis(attempt.ended))?;
            write!(f, " status {}", attempt.status)?;
            if !attempt.left.is_empty() {
                write!(f, " left: {}", attempt.left)?;
            }
            write!(f, "]")?;
        }
        if self.attempts_omitted > 0 {
            write!(f, " and {} more", self.attempts_omitted)?;
        }
        let CoreState { lag_nanos, in_flight } = self.core;
        write!(f, "; event-loop lag {} ms, {in_flight} in flight", Millis(lag_nanos))
    }
}

/// Nanoseconds, shown as milliseconds.
struct Millis(u64);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0 as f64 / 1e6)
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(limits::SLOW_TEXT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The way of slow requests from their core to whoever tells of them: a full one lets go of the oldest.
#[derive(Debug)]
pub struct SlowQueue {
    waiting: ArrayQueue<Box<SlowRequest>>,
    lost: AtomicU64,
}

impl Default for SlowQueue {
    fn default() -> SlowQueue {
        let waiting = ArrayQueue::new(limits::SLOW_WAITING_MAX);
        SlowQueue { waiting, lost: AtomicU64::new(0) }
    }
}

impl SlowQueue {
    /// Leaves one to be told. Never waits.
    pub fn push(&self, slow: SlowRequest) {
        if self.waiting.force_push(Box::new(slow)).is_some() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The oldest that waits.
    pub fn pop(&self) -> Option<Box<SlowRequest>> {
        self.waiting.pop()
    }

    /// How many were let go of since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::Attempt;

    fn entry() -> Entry<'static> {
        let mut entry = Entry { status: 200, method: "POST".into(), ..Entry::default() };
        entry.times.flushed = 2_000_000;
        entry
    }

    #[test]
    fn a_stream_is_judged_by_its_first_token_and_anything_else_by_its_end() {
        let mut entry = entry();
        assert_eq!(waited_nanos(&entry), 2_000_000);
        entry.times.first_token = 1_000_000;
        assert_eq!(waited_nanos(&entry), 2_000_000, "a plain answer");
        entry.stream = true;
        assert_eq!(waited_nanos(&entry), 1_000_000);
        entry.times.first_token = 0;
        assert_eq!(waited_nanos(&entry), 2_000_000, "a stream that never began");
    }

    #[test]
    fn what_others_wrote_stays_on_the_line_and_is_bounded() {
        let mut entry = entry();
        entry.requested_model =
            format!("m\ntrunkline: \u{202e}\u{1b}[2J{}", "x".repeat(9999)).into();
        for _ in 0..=limits::SLOW_ATTEMPTS_MAX {
            let target = "t\u{7}".repeat(1000).into();
            entry.attempts.push(Attempt { target, left: "status", ..Attempt::default() });
        }
        let line = SlowRequest::of(&entry, CoreState::default()).to_string();
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line}");
        assert!(line.contains(" and 1 more;"), "{line}");
        assert!(line.len() < 16_000, "{}", line.len());
    }

    #[test]
    fn a_full_queue_keeps_the_newest_and_counts_the_others() {
        let queue = SlowQueue::default();
        for status in 0..limits::SLOW_WAITING_MAX as u16 + 2 {
            queue.push(SlowRequest { status, ..SlowRequest::default() });
        }
        assert_eq!((queue.take_lost(), queue.take_lost()), (2, 0));
        let kept: Vec<u16> = std::iter::from_fn(|| queue.pop()).map(|slow| slow.status).collect();
        assert_eq!((kept.len(), kept[0]), (limits::SLOW_WAITING_MAX, 2));
    }
}
