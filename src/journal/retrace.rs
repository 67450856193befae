//! Whether the attempts that a record tells of are those that its plan leads to: the same machine walks the plan again,
//! fed with what the record says of each attempt.

use std::{borrow::Cow, time::Duration};

use smallvec::{SmallVec, smallvec};

use crate::{
    base::{limits, units::Instant},
    policy::{
        attempt::{FAILED_STATUS, Network, Outcome, Step, Walk},
        plan::Plan,
    },
    wire::record::{AttemptRecord, Record},
};

/// Walks `plan` as `record` says that it went. `Err`: where the two part, in a sentence.
pub fn retrace(plan: &Plan<'_>, record: &Record) -> Result<Retraced, String> {
    let mut walk = Walk::new(plan);
    let mut step = walk.first();
    let tries = tries(&record.attempts);
    for (at, one) in tries.iter().enumerate() {
        let attempt = &*one.attempt;
        let number = one.number;
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
        check_hedge(one, &walk)?;
        let next = tries.get(at + 1).map(|next| &*next.attempt);
        match (next, attempt.left.is_empty()) {
            (None, true) => return Ok(one.kept()),
            (Some(_), true) => return Err(format!("attempt {number} was kept, yet not the last")),
            (next, false) => (walk, step) = follow(&walk, attempt, next, record),
        }
    }
    match step {
        Step::Try { leaf, .. } => Ok(Retraced::CutShort { next: leaf.path.to_owned() }),
        _ => Ok(Retraced::Same),
    }
}

/// A try as the walk knew it.
struct Try<'r> {
    /// What came of it. If its hedge was faster: of that one, under the target that the walk had tried.
    attempt: Cow<'r, AttemptRecord>,
    /// Its number in the record.
    number: usize,
    /// The second try beside it.
    hedge: Option<&'r AttemptRecord>,
    /// Whether what came of the hedge counted.
    overtaken: bool,
}

impl Try<'_> {
    /// Its answer was kept.
    fn kept(&self) -> Retraced {
        match self.hedge.filter(|_| self.overtaken) {
            Some(hedge) => Retraced::Hedged { by: hedge.target.clone() },
            None => Retraced::Same,
        }
    }
}

/// The tries of a record. The walk knows of no hedges: one that lost, or failed, stands before the try that it was
/// beside, and nothing followed from it; one that answered stands behind, in that try's place.
fn tries(attempts: &[AttemptRecord]) -> Vec<Try<'_>> {
    let mut tries: Vec<Try<'_>> = Vec::with_capacity(attempts.len());
    let mut before = None;
    for (at, attempt) in attempts.iter().enumerate() {
        if attempt.role != HEDGE {
            let (attempt, hedge) = (Cow::Borrowed(attempt), before.take());
            tries.push(Try { attempt, number: at + 1, hedge, overtaken: false });
            continue;
        }
        let began_before =
            |next: &&AttemptRecord| next.role != HEDGE && next.started <= attempt.started;
        let lost = tries.last().is_some_and(|last| last.attempt.left == HEDGE_LOST);
        match tries.last_mut() {
            Some(last) if lost || attempts.get(at + 1).filter(began_before).is_none() => {
                let (target, credential) = (&last.attempt.target, &last.attempt.credential);
                last.attempt = Cow::Owned(AttemptRecord {
                    target: target.clone(),
                    credential: credential.clone(),
                    ..attempt.clone()
                });
                (last.hedge, last.overtaken) = (Some(attempt), true);
            }
            _ => before = Some(attempt),
        }
    }
    tries
}

/// Whether a hedge went where the walk would have sent it.
fn check_hedge(one: &Try<'_>, walk: &Walk<'_>) -> Result<(), String> {
    let Some(hedge) = one.hedge else { return Ok(()) };
    match walk.beside() {
        Some(beside) if beside.path == hedge.target => Ok(()),
        beside => {
            let (target, number) = (&hedge.target, one.number);
            let beside = beside.map_or("no target", |beside| beside.path);
            Err(format!("the hedge beside attempt {number} was of {target}, not of {beside}"))
        }
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
    /// So they are, and the answer is a hedge's: which of two is faster is no decision.
    Hedged {
        /// The target of the hedge.
        by: String,
    },
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
        "guardrail_failed" => smallvec![Outcome::Status { code: FAILED_STATUS, retry_after: None }],
        "guardrail" => [false, true].map(|answer| Outcome::Denied { answer }).into_iter().collect(),
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

/// The role of an attempt that was a hedge.
const HEDGE: &str = "hedge";
/// Why a try was left whose hedge was faster.
const HEDGE_LOST: &str = "hedge_lost";
