//! Walks the plan: tries targets until one answers well enough. Its answer is then committed to.

use std::{rc::Rc, sync::Arc};

use smallvec::SmallVec;

use super::{
    Core,
    attempt::{Reached, Tried, note_fault, note_left, outcome_of},
    care::Care,
    client::{Client, Interrupted, gone},
    committed::Committed,
    connection::Incoming,
    health::Running,
    judged::Brought,
    lesson::Lesson,
    question::Question,
    respond::Notes,
    route::Call,
    target::TargetRules,
    upstream::{self, Failed, Milestones, Total},
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::RequestId,
        units::Instant,
    },
    io::{
        hub::Epoch,
        net::{Net, Reader, Writer},
    },
    journal::entry::{Attempt as AttemptEntry, Entry},
    policy::{
        attempt::{Outcome, Step, Walk},
        key::Caller,
        plan::{LeafRef, Plan},
        target::Choice,
    },
};

/// What all tries of an exchange share.
pub struct Attempts<'a, 'e> {
    /// The client's head.
    pub incoming: &'a Incoming,
    /// What it calls.
    pub call: &'a Call<'a>,
    /// Who calls.
    pub caller: &'a Caller<'a>,
    /// What it asks.
    pub question: &'a Question,
    /// The policy and what fills its leaves.
    pub choice: &'a Choice<'a>,
    /// The epoch.
    pub epoch: &'e Arc<Epoch>,
    /// The rules for hosts.
    pub rules: &'a TargetRules<'a>,
    /// The health of the targets.
    pub care: &'a Care<'a>,
    /// The request's id, for answers that need one.
    pub request_id: RequestId,
    /// The end of the whole exchange.
    pub total: Total,
    /// Guardrails of the request's own, and what is known of those of its target.
    pub brought: Brought,
}

/// What the client gets if no later try does better.
pub(super) enum Kept<N: Net> {
    Nothing,
    /// An answer that was not good enough, its body unread.
    Answer(Box<Tried<N>>),
    /// A fault of the network or the upstream.
    Fault(Fault),
}

impl<N: Net> Kept<N> {
    fn give_way_to(&mut self, newer: Kept<N>, core: &Core<N>) {
        if let Kept::Answer(older) = std::mem::replace(self, newer) {
            upstream::discard(core, &older.route, older.arriving.answer);
        }
    }
}

/// How a try ended, for the walk.
pub(super) enum End<'l, N: Net> {
    /// The client gets the answer of this target.
    Committed(Committed<N>, LeafRef<'l>),
    /// The walk decides.
    Left { outcome: Outcome, kept: Kept<N> },
}

/// One step of the walk: a target, and the one that a second try beside it would go to.
#[derive(Clone, Copy)]
pub(super) struct Turn<'l> {
    pub(super) leaf: LeafRef<'l>,
    pub(super) beside: Option<LeafRef<'l>>,
    pub(super) total: Total,
}

impl<'e> Attempts<'_, 'e> {
    /// Tries targets until the client gets the answer of one. A fault is the answer that no target gave.
    pub async fn run<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        plan: &Plan<'_>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Committed<N>, Fault> {
        self.mirror(&client.core, plan, entry);
        let mut walk = Walk::new(plan);
        let mut step = walk.first();
        let mut kept: Kept<N> = Kept::Nothing;
        let (mut unfit, mut too_late) = (None, None);
        let mut parts = Parts::default();
        loop {
            let (leaf, not_before, retry_number) = match step {
                Step::Try { leaf, not_before, retry_number } => (leaf, not_before, retry_number),
                Step::Refuse(refusal) => return Err(refusal.into()),
                Step::Finish => break,
            };
            if let Some(next) = self.pass_over(client, &mut walk, (leaf, retry_number), entry) {
                step = next;
                continue;
            }
            let total = parts.total_of(leaf, self.total, || client.now());
            if client.now().max(not_before) >= total.by {
                // A try that could not be finished is not begun.
                too_late = Some(total.ran_out(Stage::Plan));
                match walk.pass_over(client.now()).filter(|_| total.of_part) {
                    Some(next) => step = next,
                    None => break,
                }
                continue;
            }
            self.wait_until(client, not_before).await?;
            notes.retry_count = i32::try_from(retry_number).unwrap_or(i32::MAX);
            let running = self.care.run(leaf, || client.now());
            let beside = if self.care.hedge(leaf).is_some() { walk.beside() } else { None };
            let turn = Turn { leaf, beside, total };
            let end = self.try_leaf(client, turn, entry, notes).await?;
            let outcome = match end {
                End::Committed(mut committed, by) => {
                    committed.lesson = self.lesson(client, (leaf, running), by);
                    return Ok(committed);
                }
                End::Left { outcome: Outcome::Unfit, kept: Kept::Fault(fault) } => {
                    unfit = Some(fault);
                    Outcome::Unfit
                }
                End::Left { outcome, kept: newer } => {
                    kept.give_way_to(newer, &client.core);
                    outcome
                }
            };
            drop(running);
            let now = client.now();
            step = self.next_step(&mut walk, leaf, &outcome, now, client.core.net.random());
            if client.body_taken > 0 && self.uploads() {
                break; // what was sent of an upload cannot be sent again
            }
        }
        if let Some(shown) = walk.shown() {
            notes.option_index = Some(Rc::from(shown.leaf.path));
        }
        notes.retry_count = walk.retry_attempt_count();
        match kept {
            Kept::Answer(tried) => Box::pin(self.commit_rest(client, tried, entry, notes)).await,
            Kept::Fault(fault) => Err(fault),
            Kept::Nothing => Err(too_late.or(unfit).unwrap_or_else(no_target)),
        }
    }

    /// What the end of an answer teaches of the target that it is `by`: the one that was tried and is running, or the
    /// one of the hedge beside it.
    fn lesson<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        (tried, running): (LeafRef<'_>, Option<Running>),
        by: LeafRef<'_>,
    ) -> Option<Box<Lesson>> {
        let running = match by.index == tried.index {
            true => running,
            false => self.care.run(by, || client.now()),
        };
        self.care.lesson(by.leaf, running)
    }

    fn uploads(&self) -> bool {
        matches!(self.question, Question::Upload)
    }

    async fn wait_until<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        not_before: Instant,
    ) -> Result<(), Fault> {
        if not_before <= client.now() {
            return Ok(());
        }
        match client.unless_gone(not_before, std::future::pending::<()>()).await {
            Err(Interrupted::Deadline) => Ok(()),
            _ => Err(gone("the client closed while a retry was waited for")),
        }
    }

    /// One try of one target: resolve, build, send, and commit to what is good.
    async fn try_leaf<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        turn: Turn<'l>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<End<'l, N>, Fault> {
        client.core.counters.attempts.add(1);
        let started = client.now();
        if self.brought.any(turn.leaf.leaf)
            && let Some(end) = Box::pin(self.judge_request(client, &turn, entry, notes)).await?
        {
            return Ok(end);
        }
        let number = entry.attempts.len() + 1;
        let mut attempt = begun(entry, turn.leaf, started);
        let prepared = self.prepare(turn.leaf.leaf, &mut attempt, number, started, turn.total);
        notes.provider = Some(attempt.provider).filter(|name| !name.is_empty());
        notes.option_index = Some(Rc::clone(&attempt.target));
        entry.attempts.push(attempt);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return Ok(self.unfit(client, entry, fault)),
        };
        self.care.uses(prepared.using);
        entry.stream |= prepared.outgoing.stream;
        client.hold.rendered(prepared.outgoing.rendered_bytes());
        let mut times = Milestones::default();
        let mut leaf = turn.leaf;
        let reached = match turn.beside {
            _ if self.uploads() => {
                Box::pin(self.reach_by_upload(client, &prepared, &mut times)).await
            }
            Some(beside) if self.may_be_sent_twice(turn.leaf, beside) => {
                let raced = self.race(client, (turn, beside), &prepared, entry, &mut times);
                let (reached, by) = Box::pin(raced).await;
                leaf = by;
                reached
            }
            _ => self.reach(client, &prepared, &mut times).await,
        };
        note_times(entry, notes, &times);
        if let Some(hedge) = entry.attempt().filter(|attempt| !attempt.role.is_empty()) {
            (notes.provider, notes.retry_count) = (Some(hedge.provider), 0);
            notes.option_index = Some(Rc::clone(&hedge.target));
        }
        self.judge(client, leaf, reached, entry, notes).await
    }

    /// Commits to what is good; of anything else the walk decides.
    async fn judge<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        leaf: LeafRef<'l>,
        reached: Reached<N>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<End<'l, N>, Fault> {
        match reached {
            Ok(tried) if tried.is_good() => {
                if let Some(attempt) = entry.attempt() {
                    attempt.status = tried.status();
                }
                if tried.guarding.is_some() && tried.status() == 200 {
                    return Box::pin(self.judge_answer(client, leaf, tried, entry, notes)).await;
                }
                let committed = self.commit_good(tried, entry, notes);
                Ok(End::Committed(committed, leaf))
            }
            Err(Failed::ClientGone) => Err(Failed::ClientGone.into_fault()),
            Err(Failed::Fault(fault))
                if matches!(fault.kind, Kind::HostRefused | Kind::ClientGone) =>
            {
                Err(fault)
            }
            reached => {
                if self.brought.any(leaf.leaf) {
                    self.note_found(client, entry);
                }
                Ok(self.left(client, entry, reached))
            }
        }
    }

    /// A try that the walk decides about.
    pub(super) fn left<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        reached: Reached<N>,
    ) -> End<'l, N> {
        let outcome = outcome_of(&reached);
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            note_left(attempt, &reached, at);
        }
        let kept = match reached {
            Ok(tried) => Kept::Answer(tried),
            Err(failed) => Kept::Fault(failed.into_fault()),
        };
        End::Left { outcome, kept }
    }

    /// A target that cannot take the request: nothing was sent.
    fn unfit<'l, N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        fault: Fault,
    ) -> End<'l, N> {
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
            note_fault(attempt, &fault);
        }
        End::Left { outcome: Outcome::Unfit, kept: Kept::Fault(fault) }
    }
}

/// When the parts of the config that have a total of their own were begun.
#[derive(Default)]
struct Parts {
    begun: SmallVec<[Option<Instant>; 2]>,
}

impl Parts {
    /// The total that ends first for this target. Its parts begin now, if they have not.
    fn total_of(
        &mut self,
        leaf: LeafRef<'_>,
        exchange: Total,
        now: impl FnOnce() -> Instant,
    ) -> Total {
        if leaf.leaf.parts.is_empty() {
            return exchange;
        }
        let now = now();
        leaf.leaf.parts.iter().fold(exchange, |first, part| {
            if self.begun.len() <= part.index {
                self.begun.resize(part.index + 1, None);
            }
            let begun = *self.begun[part.index].get_or_insert(now);
            let total = Total { by: begun.after(part.total), within: part.total, of_part: true };
            if total.by < first.by { total } else { first }
        })
    }
}

/// The record of a try that begins.
pub(super) fn begun<'e>(
    entry: &Entry<'e>,
    leaf: LeafRef<'_>,
    started: Instant,
) -> AttemptEntry<'e> {
    AttemptEntry::begun(Rc::from(leaf.path), entry.at(started))
}

fn note_times(entry: &mut Entry<'_>, notes: &mut Notes<'_>, times: &Milestones) {
    let at = |instant: Option<Instant>| instant.map_or(0, |instant| entry.at(instant));
    let (connected, sent, first) = (at(times.connected), at(times.sent), at(times.first_byte));
    entry.times.connected = connected;
    entry.times.sent = sent;
    entry.times.first_byte = first;
    (notes.timing.sent, notes.timing.first_byte) = (times.sent, times.first_byte);
}

fn no_target() -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, "the config has no target to try")
}
