//! A second try beside one that is slow. Whichever comes to its commit point first is the answer; the other is dropped
//! at once, and its connection with it. The walk knows nothing of it: a hedge that fails changes nothing.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use super::{
    admission::Aside,
    attempt::{Prepared, Reached, is_good, note_fault, note_left, outcome_of},
    attempts::{Attempts, Turn, begun},
    client::{Client, Interrupted},
    judged::Brought,
    question::Question,
    route::Call,
    upstream::{Failed, Milestones},
    waiter::Beside,
};
use crate::{
    base::{fault::Stage, limits, units::Instant},
    io::{
        net::{Net, Reader, Writer},
        race::{First, race},
    },
    journal::entry::{Attempt as AttemptEntry, Entry},
    policy::plan::LeafRef,
    provider::Endpoint,
};

/// A try, and perhaps another one beside it.
struct Contest<'l, 'e> {
    turn: Turn<'l>,
    beside: LeafRef<'l>,
    /// How long the first may take before the second begins; `None`: for ever.
    wait: Option<Duration>,
    started: Instant,
    times: [Milestones; 2],
    /// The second, if it was begun.
    second: Option<(AttemptEntry<'e>, Instant)>,
}

/// What came of a try, and when; `None`: it was dropped, for the other was faster.
type Ending<N> = Option<(Reached<N>, Instant)>;

impl<'e> Attempts<'_, 'e> {
    /// Whether a request may reach an upstream twice.
    pub(super) fn may_be_sent_twice(&self, leaf: LeafRef<'_>, beside: LeafRef<'_>) -> bool {
        why_once(self.call, self.question, &self.brought, (leaf, beside)).is_none()
    }

    /// Tries a target, and another one beside it if it is slow. Returns whose answer it is; that one's record is then
    /// the last, and `times` are its.
    pub(super) async fn race<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        (turn, beside): (Turn<'l>, LeafRef<'l>),
        prepared: &Prepared<'_>,
        entry: &mut Entry<'e>,
        times: &mut Milestones,
    ) -> (Reached<N>, LeafRef<'l>) {
        let (wait, started) = (self.begin(turn.leaf), prepared.started);
        let times_of_both = [Milestones::default(); 2];
        let mut contest =
            Contest { turn, beside, wait, started, times: times_of_both, second: None };
        let endings = self.contend(client, &mut contest, prepared, entry).await;
        let now = client.now();
        let (reached, won, by) = match endings {
            Ok(endings) => self.settle(&mut contest, endings, entry, now),
            Err(interrupted) => {
                if let Some((attempt, _)) = contest.second.take() {
                    insert_before_last(entry, attempt);
                }
                (Err(contest.interrupted(interrupted)), 0, turn.leaf)
            }
        };
        *times = contest.times[won];
        (reached, by)
    }

    /// Runs the first, and if it is slow both, until one is good or none is left. What lost is gone when this returns.
    async fn contend<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        contest: &mut Contest<'l, 'e>,
        prepared: &Prepared<'_>,
        entry: &mut Entry<'e>,
    ) -> Result<(Ending<N>, Ending<N>), Interrupted> {
        let core = Rc::clone(&client.core);
        let [first_times, second_times] = &mut contest.times;
        // The tries end themselves at the total.
        let end = contest.turn.total.by.after(limits::HEDGE_GRACE);
        let hedge_at = contest.wait.map_or(end, |wait| contest.started.after(wait)).min(end);
        let mut waiter = Beside::exchange(&core, Aside::of_exchange(&core.admission));
        let mut first = pin!(self.reach(&mut waiter, prepared, first_times));
        match ended(client, hedge_at, first.as_mut()).await {
            Err(Interrupted::Deadline) => {}
            ending => return ending.map(|ending| (ending, None)),
        }
        let (turn, beside) = (contest.turn, contest.beside);
        let begun = if hedge_at < end { self.second(client, &turn, beside, entry) } else { None };
        let Some((other, attempt, room)) = begun else {
            return Ok((ended(client, end, first).await?, None));
        };
        contest.second = Some((attempt, other.started));
        let _running = self.care.run(beside, || other.started);
        let mut waiter = Beside::exchange(&core, room);
        let second = pin!(self.reach(&mut waiter, &other, second_times));
        both(client, end, first, second).await
    }

    /// The second try, if there may be one: the budget has it, its target is in health and can take the request, and
    /// there is room.
    fn second<'p, N: Net, R: Reader, W: Writer>(
        &'p self,
        client: &Client<N, R, W>,
        turn: &Turn<'_>,
        beside: LeafRef<'p>,
        entry: &mut Entry<'e>,
    ) -> Option<(Prepared<'p>, AttemptEntry<'e>, Aside)> {
        let now = client.now();
        let (_, pace) = self.care.hedge(turn.leaf)?;
        if entry.hedged || !self.care.may_hedge(beside, now) || !pace.borrow_mut().spend() {
            return None;
        }
        let mut attempt = begun(entry, beside, now);
        attempt.role = "hedge";
        let number = entry.attempts.len() + 1;
        let room = match self.prepare(beside.leaf, &mut attempt, number, now, turn.total) {
            Ok(prepared) => {
                let bytes = prepared.outgoing.rendered_bytes();
                let room = Aside::take(&client.core.admission, bytes);
                room.map(|room| (prepared, room))
            }
            Err(fault) => {
                attempt.ended = entry.at(now);
                note_fault(&mut attempt, &fault);
                insert_before_last(entry, std::mem::take(&mut attempt));
                None
            }
        };
        let Some((prepared, room)) = room else {
            pace.borrow_mut().give_back();
            return None;
        };
        entry.hedged = true;
        client.core.counters.attempts.add(1);
        client.core.counters.hedges.add(1);
        Some((prepared, attempt, room))
    }

    /// Decides whose answer it is, and writes the records of both.
    fn settle<'l, N: Net>(
        &self,
        contest: &mut Contest<'l, 'e>,
        (first, second): (Ending<N>, Ending<N>),
        entry: &mut Entry<'e>,
        now: Instant,
    ) -> (Reached<N>, usize, LeafRef<'l>) {
        let (leaf, beside) = (contest.turn.leaf, contest.beside);
        let since = |started: Instant| now.nanos.saturating_sub(started.nanos);
        let statuses = contest.times.map(|times| times.status);
        match (first, second, contest.second.take()) {
            (first, Some((reached, _)), Some((mut attempt, started))) if is_good(&reached) => {
                self.note_pace(beside, since(started));
                let ended = first.as_ref().map_or(now, |(_, when)| *when);
                let at = entry.at(ended);
                match (first, entry.attempt()) {
                    (Some((failed, _)), loser) => {
                        self.care.tried(leaf, &outcome_of(&failed), false, now);
                        loser.into_iter().for_each(|loser| note_left(loser, &failed, at));
                    }
                    (None, loser) => {
                        let waited = contest.wait.unwrap_or_default().as_nanos();
                        self.note_pace(leaf, u64::try_from(waited).unwrap_or(u64::MAX));
                        loser.into_iter().for_each(|loser| lose(loser, statuses[0], at));
                    }
                }
                attempt.status = statuses[1];
                entry.attempts.push(attempt);
                (reached, 1, beside)
            }
            (Some((reached, when)), other, second) => {
                if is_good(&reached) {
                    self.note_pace(leaf, when.nanos.saturating_sub(contest.started.nanos));
                }
                if let Some((mut attempt, _)) = second {
                    match other {
                        Some((failed, when)) => {
                            note_left(&mut attempt, &failed, entry.at(when));
                            self.care.tried_beside(beside, &outcome_of(&failed), when);
                        }
                        None => lose(&mut attempt, statuses[1], entry.at(now)),
                    }
                    insert_before_last(entry, attempt);
                }
                (reached, 0, leaf)
            }
            (None, ..) => (Err(contest.interrupted(Interrupted::Deadline)), 0, leaf),
        }
    }

    /// A try of a target that is hedged begins: it earns its share of a hedge. How long it may take.
    fn begin(&self, leaf: LeafRef<'_>) -> Option<Duration> {
        let (hedge, pace) = self.care.hedge(leaf)?;
        let mut pace = pace.borrow_mut();
        pace.earn(&hedge);
        pace.after(&hedge)
    }

    fn note_pace(&self, leaf: LeafRef<'_>, nanos: u64) {
        if let Some((_, pace)) = self.care.hedge(leaf) {
            pace.borrow_mut().note(nanos);
        }
    }
}

impl Contest<'_, '_> {
    fn interrupted(&self, by: Interrupted) -> Failed {
        match by {
            Interrupted::ClientGone => Failed::ClientGone,
            Interrupted::Deadline => Failed::Fault(self.turn.total.ran_out(Stage::FirstByte)),
        }
    }
}

/// Why a request may not reach an upstream twice. `None`: it may, nothing of it stays there.
pub(super) fn why_once(
    call: &Call<'_>,
    question: &Question,
    brought: &Brought,
    (leaf, beside): (LeafRef<'_>, LeafRef<'_>),
) -> Option<&'static str> {
    let says = |name: &str, word: &[u8]| question.field(name) == Some(word);
    let stays = match call.endpoint {
        Endpoint::Responses => !says("store", b"false") || says("background", b"true"),
        _ => says("store", b"true"),
    };
    if !call.typed || !matches!(question, Question::Json { .. }) {
        return Some("the request is passed through");
    }
    if stays {
        return Some("the answer is stored at the provider");
    }
    let alike = brought.judged_alike(leaf.leaf, beside.leaf);
    (!alike).then_some("the second target has other guardrails, or one that asks for the model")
}

/// Waits for one try.
async fn ended<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    until: Instant,
    work: Pin<&mut impl Future<Output = Reached<N>>>,
) -> Result<Ending<N>, Interrupted> {
    let reached = client.unless_gone(until, work).await?;
    Ok(Some((reached, client.now())))
}

/// Waits for the first of two that is good, or for both.
async fn both<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    until: Instant,
    mut first: Pin<&mut impl Future<Output = Reached<N>>>,
    mut second: Pin<&mut impl Future<Output = Reached<N>>>,
) -> Result<(Ending<N>, Ending<N>), Interrupted> {
    let faster = client.unless_gone(until, race(first.as_mut(), second.as_mut())).await?;
    let now = client.now();
    Ok(match faster {
        First::Left(reached) if is_good(&reached) => (Some((reached, now)), None),
        First::Right(reached) if is_good(&reached) => (None, Some((reached, now))),
        First::Left(failed) => (Some((failed, now)), ended(client, until, second).await?),
        First::Right(failed) => (ended(client, until, first).await?, Some((failed, now))),
    })
}

/// Writes into the record of a try that the other was faster.
fn lose(attempt: &mut AttemptEntry<'_>, status: u16, at: u64) {
    (attempt.status, attempt.ended, attempt.left) = (status, at, "hedge_lost");
}

/// The last is the one that answers: the record has the others in the order in which they were left.
fn insert_before_last<'e>(entry: &mut Entry<'e>, attempt: AttemptEntry<'e>) {
    let at = entry.attempts.len().saturating_sub(1);
    entry.attempts.insert(at, attempt);
}
