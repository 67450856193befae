//! What the requests of one side came to: histograms of nanoseconds, and failures by kind. Pure.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use trunkline::base::units::Instant;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Connect,
    /// Not complete within the time-out, counted from when it was due.
    Timeout,
    /// The connection ended before an answer began.
    Closed,
    /// The connection ended within an answer that is no stream.
    ShortBody,
    /// What came is not HTTP, or there was more of it than one answer.
    Protocol,
    /// Status 3xx (or another without a class of its own).
    Redirect,
    /// Status 4xx.
    Client,
    /// Status 5xx.
    Server,
    /// A stream ended without its end mark, properly or not.
    Truncated,
    /// A stream held an error event.
    ErrorEvent,
    /// A stream was asked for, and the answer is none.
    NoStream,
}

impl Fault {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Fault; 11] = [
        Fault::Connect,
        Fault::Timeout,
        Fault::Closed,
        Fault::ShortBody,
        Fault::Protocol,
        Fault::Redirect,
        Fault::Client,
        Fault::Server,
        Fault::Truncated,
        Fault::ErrorEvent,
        Fault::NoStream,
    ];

    /// Its name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Connect => "connect",
            Fault::Timeout => "timeout",
            Fault::Closed => "closed",
            Fault::ShortBody => "short_body",
            Fault::Protocol => "protocol",
            Fault::Redirect => "status_3xx",
            Fault::Client => "status_4xx",
            Fault::Server => "status_5xx",
            Fault::Truncated => "truncated",
            Fault::ErrorEvent => "error_event",
            Fault::NoStream => "no_stream",
        }
    }
}

/// How one request went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// When it was due.
    pub due: Instant,
    /// When a connection took it up; `None`: none did in time.
    pub begun: Option<Instant>,
    /// When it was over.
    pub ended: Instant,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Bytes of the answer, head included.
    pub bytes: u64,
    /// What became of it.
    pub result: Result<(), Fault>,
}

/// The sum of many outcomes.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From when a request was due to the end of its answer.
    pub corrected: Histogram<u64>,
    /// From when a connection took it up: what a closed loop would have measured.
    pub uncorrected: Histogram<u64>,
    /// From when a stream was due to its first token.
    pub first_token: Histogram<u64>,
    /// From one token of a stream to the next.
    pub gap: Histogram<u64>,
    /// From when a request was due to when the load tester got round to it: its own fault, not the target's.
    pub lateness: Histogram<u64>,
    /// Requests that were due.
    pub requests: u64,
    /// Those with a complete 2xx answer.
    pub ok: u64,
    /// Streams that were answered as such.
    pub streams: u64,
    /// Tokens of all streams.
    pub tokens: u64,
    /// Failures, by kind, as in [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Bytes of all answers.
    pub bytes: u64,
    /// Connections that the peer had closed while they were idle; the request was sent again on a new one.
    pub reconnects: u64,
    /// Most requests that waited for a connection at once.
    pub backlog_max: u64,
    /// When the last request was over.
    pub last_end: Instant,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            corrected: histogram(),
            uncorrected: histogram(),
            first_token: histogram(),
            gap: histogram(),
            lateness: histogram(),
            requests: 0,
            ok: 0,
            streams: 0,
            tokens: 0,
            faults: [0; Fault::ALL.len()],
            statuses: BTreeMap::new(),
            bytes: 0,
            reconnects: 0,
            backlog_max: 0,
            last_end: Instant::default(),
        }
    }
}

impl Tally {
    /// Counts one request. Times are kept of complete 2xx answers and of time-outs: an error that comes at once must
    /// not look like a fast answer, and what never came must not be missing among the slow ones.
    pub fn note(&mut self, outcome: &Outcome) {
        self.requests += 1;
        self.bytes += outcome.bytes;
        self.last_end = self.last_end.max(outcome.ended);
        if let Some(status) = outcome.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        match outcome.result {
            Ok(()) => self.ok += 1,
            Err(fault) => {
                self.faults[fault as usize] += 1;
                if fault != Fault::Timeout {
                    return;
                }
            }
        }
        record(&mut self.corrected, outcome.due, outcome.ended);
        if let Some(begun) = outcome.begun {
            record(&mut self.uncorrected, begun, outcome.ended);
        }
    }

    /// Counts a token of a stream that was due at `due` and had its last one at `last`.
    pub fn note_token(&mut self, due: Instant, last: Option<Instant>, now: Instant) {
        self.tokens += 1;
        match last {
            Some(last) => record(&mut self.gap, last, now),
            None => record(&mut self.first_token, due, now),
        }
    }

    /// Notes when the load tester got round to a request, and how many wait for a connection then.
    pub fn note_due(&mut self, due: Instant, now: Instant, waiting: usize) {
        record(&mut self.lateness, due, now);
        self.backlog_max = self.backlog_max.max(waiting as u64);
    }

    /// Takes in what another thread counted.
    pub fn merge(&mut self, other: &Tally) {
        for (mine, theirs) in [
            (&mut self.corrected, &other.corrected),
            (&mut self.uncorrected, &other.uncorrected),
            (&mut self.first_token, &other.first_token),
            (&mut self.gap, &other.gap),
            (&mut self.lateness, &other.lateness),
        ] {
            // Histograms of the same bounds always fit into one another.
            let _ = mine.add(theirs);
        }
        self.requests += other.requests;
        self.ok += other.ok;
        self.streams += other.streams;
        self.tokens += other.tokens;
        self.faults.iter_mut().zip(other.faults).for_each(|(mine, theirs)| *mine += theirs);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.bytes += other.bytes;
        self.reconnects += other.reconnects;
        self.backlog_max += other.backlog_max;
        self.last_end = self.last_end.max(other.last_end);
    }

    /// How many failed in this way.
    #[must_use]
    pub fn failed(&self, fault: Fault) -> u64 {
        self.faults.get(fault as usize).copied().unwrap_or_default()
    }
}

fn record(histogram: &mut Histogram<u64>, from: Instant, to: Instant) {
    histogram.saturating_record(u64::try_from(to.since(from).as_nanos()).unwrap_or(u64::MAX));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NANOS_MAX, DIGITS).expect("1 ns to an hour are sound bounds")
}

/// An hour: longer than any time-out that makes sense.
const NANOS_MAX: u64 = 3_600_000_000_000;
/// Significant digits that are kept.
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant { nanos: micros * 1000 }
    }

    fn outcome(due: u64, begun: Option<u64>, ended: u64, result: Result<(), Fault>) -> Outcome {
        let begun = begun.map(at);
        Outcome { due: at(due), begun, ended: at(ended), status: Some(200), bytes: 10, result }
    }

    #[test]
    fn waiting_for_a_connection_counts_in_the_corrected_times_alone() {
        let mut tally = Tally::default();
        tally.note(&outcome(0, Some(1000), 1100, Ok(())));
        assert!(tally.corrected.max().abs_diff(1_100_000) < 2000);
        assert!(tally.uncorrected.max().abs_diff(100_000) < 200);
    }

    #[test]
    fn quick_errors_are_no_fast_answers_and_timeouts_are_slow_ones() {
        let mut tally = Tally::default();
        tally.note(&outcome(0, Some(0), 5, Err(Fault::Server)));
        assert_eq!((tally.corrected.len(), tally.failed(Fault::Server)), (0, 1));
        tally.note(&outcome(0, None, 9_000_000, Err(Fault::Timeout)));
        assert_eq!((tally.corrected.len(), tally.uncorrected.len()), (1, 0));
        assert_eq!((tally.requests, tally.ok), (2, 0));
    }

    #[test]
    fn every_fault_has_its_own_count() {
        let mut tally = Tally::default();
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index);
            for _ in 0..=index {
                tally.note(&outcome(0, Some(0), 5, Err(fault)));
            }
        }
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(tally.failed(fault), index as u64 + 1, "{}", fault.name());
        }
    }

    #[test]
    fn merging_is_as_counting_together() {
        let (mut left, mut right, mut both) =
            (Tally::default(), Tally::default(), Tally::default());
        for micros in 1..100 {
            let each = outcome(0, Some(0), micros * 7, Ok(()));
            if micros % 3 == 0 {
                left.note(&each)
            } else {
                right.note(&each)
            }
            both.note(&each);
        }
        right.note_token(at(0), None, at(3));
        right.note_token(at(0), Some(at(3)), at(3));
        left.merge(&right);
        assert_eq!(left.corrected, both.corrected);
        assert_eq!((left.requests, left.bytes), (99, 990));
        assert_eq!((left.tokens, left.first_token.len(), left.gap.max()), (2, 1, 0));
        assert_eq!(left.statuses, both.statuses);
    }
}
