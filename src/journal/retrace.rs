//! Whether the attempts that a record tells of are those that its plan leads to: the same machine walks the plan again,
//! fed with what the record says of each attempt.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::{
    base::{limits, units::Instant},
    policy::{
        attempt::{Network, Outcome, Step, Walk},
        plan::Plan,
    },
    wire::record::{AttemptRecord, Record},
};

/// Walks `plan` as `record` says that it went. `Err`: where the two part, in a sentence.
pub fn retrace(plan: &Plan<'_>, record: &Record) -> Result<Retraced, String> {
    if record.hedged {
        return Ok(Retraced::Hedged);
    }
    let mut walk = Walk::new(plan);
    let mut step = walk.first();
    for (at, attempt) in record.attempts.iter().enumerate() {
        let number = at + 1;
        while let Step::Try { leaf, retry_number: 0, .. } = step
            && was_passed_over(record, leaf.path)
            && leaf.path != attempt.target
        {
            let next = walk.pass_over(Instant::default());
            step = next.ok_or_else(|| format!("there is nothing behind {}", leaf.path))?;
        }
        match step {
            Step::Try { leaf, .. } if leaf.path == attempt.target => {}
            Step::Try { leaf, .. } => {
                let target = &attempt.target;
                return Err(format!("attempt {number} was of {target}, not of {}", leaf.path));
            }
            Step::Refuse(_) | Step::Finish => {
                let target = &attempt.target;
                return Err(format!("attempt {number}, of {target}, is one too many"));
            }
        }
        let next = record.attempts.get(number);
        match (next, attempt.left.is_empty()) {
            (None, true) => return Ok(Retraced::Same), // its answer was kept
            (Some(_), true) => return Err(format!("attempt {number} was kept, yet not the last")),
            (next, false) => (walk, step) = follow(&walk, attempt, next, record),
        }
    }
    match step {
        Step::Try { leaf, .. } => Ok(Retraced::CutShort { next: leaf.path.to_owned() }),
        _ => Ok(Retraced::Same),
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retraced {
    /// The attempts are those that the plan leads to.
    Same,
    /// So they are, but something else ended the exchange before the plan did: a deadline, the client, an upload that
    /// cannot be sent twice.
    CutShort {
        /// What would have been tried next.
        next: String,
    },
    /// A hedge was sent: which of two answers first is no decision.
    Hedged,
}

/// The walk after this attempt. A record does not say how long an upstream asked to wait, or which of two deadlines
/// ran out: of what may have been, that counts which leads to the attempt that came next.
fn follow<'p>(
    walk: &Walk<'p>,
    attempt: &AttemptRecord,
    next: Option<&AttemptRecord>,
    record: &Record,
) -> (Walk<'p>, Step<'p>) {
    let now = Instant::default();
    let other_credential = next
        .is_some_and(|next| next.target == attempt.target && next.credential != attempt.credential);
    let mut first = None;
    for outcome in outcomes(attempt) {
        let (mut retried, mut rotated) = (walk.clone(), walk.clone());
        let step = match other_credential {
            true => rotated.again_at_once(&outcome, now),
            false => retried.after(&outcome, now, 0),
        };
        let led = (if other_credential { rotated } else { retried }, step);
        let fits = match (step, next) {
            (Step::Try { leaf, retry_number, .. }, Some(next)) => {
                let passed = retry_number == 0 && was_passed_over(record, leaf.path);
                leaf.path == next.target || passed
            }
            (Step::Try { .. }, None) => false,
            (_, next) => next.is_none(),
        };
        if fits {
            return led;
        }
        first.get_or_insert(led);
    }
    first.unwrap_or_else(|| (walk.clone(), Step::Finish))
}

/// How an attempt may have ended, by its status and the word for why it was left.
fn outcomes(attempt: &AttemptRecord) -> SmallVec<[Outcome; 4]> {
    let network = |fault| smallvec![Outcome::Network(fault)];
    match attempt.left.as_str() {
        "status" => {
            let code = attempt.status;
            let waits = [None, Some(Duration::ZERO), Some(limits::RETRY_AFTER_MAX)];
            waits.map(|retry_after| Outcome::Status { code, retry_after }).into_iter().collect()
        }
        "timeout_connect" => network(Network::ConnectTimeout),
        "unreachable" => network(Network::Unreachable),
        "truncated" => network(Network::Truncated),
        "timeout_first_byte" | "timeout_idle" | "timeout" => {
            smallvec![Outcome::Network(Network::FirstByteTimeout), Outcome::RequestTimeout]
        }
        // An error event stands for the status that the provider would have sent, which the record does not hold.
        "upstream_error" | "protocol" | "overloaded" => {
            let events =
                STREAM_STATUSES.iter().map(|status| Network::StreamError { status: *status });
            let all = [Network::Protocol].into_iter().chain(events);
            all.map(Outcome::Network).collect()
        }
        _ => smallvec![Outcome::Unfit],
    }
}

fn was_passed_over(record: &Record, path: &str) -> bool {
    let label = |label: &str| label.strip_suffix(" passed_over") == Some(path);
    record.balance.iter().any(|(known, _)| label(known))
}

/// Statuses that error events of streams stand for.
const STREAM_STATUSES: [u16; 12] = [500, 529, 429, 503, 502, 504, 400, 401, 403, 404, 408, 413];
