//! The health of the targets of one exchange: what its plan is told, what its attempts ask and teach. For a policy
//! that asks for none of it, each call is one look at an empty list.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use smallvec::SmallVec;

use super::{
    Core,
    attempt::Prepared,
    attempts::Attempts,
    client::Client,
    health::{Health, Known, Running, Targets, snapshot},
    lesson::{Lesson, Probing, has_failed},
    upstream::AnswerOf,
};
use crate::{
    base::{
        ids::VirtualKeyId,
        limits,
        units::{Instant, UnixTime},
    },
    config::{
        Config, VirtualKey,
        health::{Hedge, Watch},
        policy::{Leaf, Policy},
    },
    io::net::{Net, Reader, Writer},
    journal::entry::{Attempt as AttemptEntry, Entry},
    policy::{
        attempt::{Outcome, Step, Walk},
        breaker::{self, Stage},
        credential::{self, Usable},
        health::Snapshot,
        hedge::Pace,
        key::Credential,
        plan::{LeafRef, Plan},
        rate_limit,
        resolve::ResolvedTarget,
    },
    provider::HeaderLookup,
};

/// What one exchange knows of its targets.
pub struct Care<'a> {
    health: &'a Health,
    config: &'a Config,
    seed: u64,
    targets: Targets,
    /// The target that this exchange alone may try while its breaker is half open.
    probing: Probing,
    /// The one of several credentials that the running try uses.
    using: Cell<Option<Using>>,
}

/// One of several credentials of a virtual key.
#[derive(Clone, Copy)]
pub(super) struct Using {
    key: VirtualKeyId,
    index: usize,
    /// Those that were tried since the target was come to, as bits.
    tried: u64,
    /// None was known to work.
    forced: bool,
}

impl<'a> Care<'a> {
    /// For an exchange that runs on this policy, with what its plan is to be told. The clock is only asked by those
    /// who need it.
    pub fn new(
        health: &'a Health,
        config: &'a Config,
        policy: &Policy,
        seed: u64,
        now: impl FnOnce() -> Instant,
    ) -> (Care<'a>, Snapshot) {
        let (targets, seen) = match policy.watched.is_empty() {
            true => (Targets::new(), Snapshot::default()),
            false => {
                let now = now();
                let targets = health.watch(policy, now);
                let seen = snapshot(policy, &targets, now);
                (targets, seen)
            }
        };
        let (probing, using) = (Probing::default(), Cell::default());
        (Care { health, config, seed, targets, probing, using }, seen)
    }

    /// Whether a target may be tried: while its breaker is half open, by one request at a time.
    pub fn may_try(&self, leaf: LeafRef<'_>, now: impl FnOnce() -> Instant) -> bool {
        let Some((Watch { breaker: Some(breaker), .. }, known)) = self.watched(leaf.leaf) else {
            return true;
        };
        let now = now();
        let state = known.breaker();
        let half_open = state.open_until != Instant::default() && now >= state.open_until;
        if !half_open || self.probing.is_of(known) {
            return true;
        }
        let taken = known.shared.take_probe(now, now.after(breaker::probe_lease(breaker)));
        if taken {
            self.probing.begin(known);
        }
        taken
    }

    /// How a try of this target is hedged, and what is known of its pace.
    pub(super) fn hedge(&self, leaf: LeafRef<'_>) -> Option<(Hedge, &RefCell<Pace>)> {
        let (watch, known) = self.watched(leaf.leaf)?;
        Some((watch.hedge?, &known.pace))
    }

    /// Whether a hedge may go to this target: it is in health, as far as is known.
    pub(super) fn may_hedge(&self, leaf: LeafRef<'_>, now: Instant) -> bool {
        self.watched(leaf.leaf).is_none_or(|(watch, known)| {
            let closed = watch.breaker.is_none() || known.breaker().stage(now) == Stage::Closed;
            closed && (!watch.rate_limit_aware || known.out_for_nanos(now) == 0)
        })
    }

    /// Counts a try among those that its target is answering.
    pub fn run(&self, leaf: LeafRef<'_>, now: impl FnOnce() -> Instant) -> Option<Running> {
        self.watched(leaf.leaf).map(|(_, known)| known.run(now()))
    }

    /// Whether anything is to be learnt from the head of an answer.
    pub(super) fn listens(&self, leaf: &Leaf, using: Option<Using>) -> bool {
        using.is_some() || self.watched(leaf).is_some()
    }

    /// Chooses among several credentials. Noted in the attempt's record by number, never by text. `number`: of the
    /// attempt.
    pub(super) fn pick_credential<'t>(
        &self,
        target: &mut ResolvedTarget<'t>,
        attempt: &mut AttemptEntry<'_>,
        number: usize,
        now: Instant,
    ) -> Option<Using>
    where
        'a: 't,
    {
        let id = target.virtual_key?;
        let key = self.pooled(id)?;
        let tried = self.using.get().filter(|using| using.key == id);
        let tried = tried.map_or(0, |using| using.tried);
        let usable = self.usable(key, tried, now);
        let seed = self.seed.wrapping_add(number as u64);
        let index = credential::choose(seed, &key.name, &usable);
        let chosen = key.credentials.get(index)?;
        target.credential = Some(Credential::new(chosen.secret.reveal()));
        let forced = usable.get(index).is_some_and(|one| one.out_for_nanos > 0);
        attempt.credential = format!("#{}", index + 1).into();
        Some(Using { key: id, index, tried: tried | 1 << index, forced })
    }

    /// The try that may be repeated with another credential uses this one.
    pub(super) fn uses(&self, using: Option<Using>) {
        self.using.set(using);
    }

    /// The head of an answer has come, `took` after the try began.
    fn heard(
        &self,
        leaf: &Leaf,
        using: Option<Using>,
        status: u16,
        headers: HeaderLookup<'_, '_>,
        took_nanos: u64,
        (now, unix_now): (Instant, UnixTime),
    ) {
        let out_for = rate_limit::out_for(status, headers, unix_now);
        let mut out_until = out_for.map(|wait| now.after(wait));
        if let Some(using) = using {
            let until = match status {
                401 | 403 => Some(now.after(limits::CREDENTIAL_DEAD_FOR)),
                200..300 if using.forced => Some(out_until.unwrap_or_default()),
                _ => out_until,
            };
            self.credential_is_out(using, until, now);
            out_until = self.all_out_until(using, now);
        }
        let Some((watch, known)) = self.watched(leaf) else { return };
        if let Some(until) = out_until.filter(|_| watch.rate_limit_aware) {
            known.shared.be_out(until);
        }
        match status {
            200..300 => known.answered(took_nanos, now),
            401 | 403 | 408 | 429 | 500.. => has_failed(known, now),
            _ => {} // the request was wrong: that says nothing of the target
        }
    }

    /// Whether another credential is to be tried at once.
    pub fn rotates(&self, outcome: &Outcome, now: Instant) -> bool {
        let (Outcome::Status { code, .. }, Some(using)) = (outcome, self.using.get()) else {
            return false;
        };
        let usable = self.pooled(using.key).map(|key| self.usable(key, using.tried, now));
        usable.is_some_and(|usable| credential::another_helps(*code, &usable))
    }

    /// A try is over. `again`: the same target is tried once more, so that its breaker learns nothing yet.
    pub fn tried(&self, leaf: LeafRef<'_>, outcome: &Outcome, again: bool, now: Instant) {
        self.using.set(None);
        self.learn_from(leaf.leaf, outcome, again, now);
    }

    /// The same of a try beside it.
    pub(super) fn tried_beside(&self, leaf: LeafRef<'_>, outcome: &Outcome, now: Instant) {
        self.learn_from(leaf.leaf, outcome, false, now);
    }

    fn learn_from(&self, leaf: &Leaf, outcome: &Outcome, again: bool, now: Instant) {
        let Some((watch, known)) = self.watched(leaf) else { return };
        let breaker = watch.breaker.as_ref().filter(|_| !again);
        self.probing.learn(known, breaker, outcome, now);
    }

    /// What is still to be learnt of the target whose answer the client gets.
    pub(super) fn lesson(&self, leaf: &Leaf, running: Option<Running>) -> Option<Box<Lesson>> {
        let (watch, known) = self.watched(leaf)?;
        let (known, probing) = (Rc::clone(known), self.probing.hand_over(known));
        Some(Box::new(Lesson { known, breaker: watch.breaker.clone(), probing, running }))
    }

    fn watched<'l>(&self, leaf: &'l Leaf) -> Option<(&'l Watch, &Rc<Known>)> {
        let watch = leaf.watch.as_ref()?;
        Some((watch, self.targets.get(watch.index)?.as_ref()?))
    }

    /// A virtual key with several credentials.
    fn pooled(&self, id: VirtualKeyId) -> Option<&'a VirtualKey> {
        let key = self.config.virtual_keys.get(id.0 as usize);
        key.filter(|key| !key.credentials.is_empty())
    }

    fn usable(&self, key: &VirtualKey, tried: u64, now: Instant) -> SmallVec<[Usable; 8]> {
        let all = key.credentials.iter().enumerate();
        all.map(|(index, one)| Usable {
            weight: one.weight,
            out_for_nanos: self.health.of(one.id, now).map_or(0, |one| one.out_for_nanos(now)),
            tried: tried >> index & 1 == 1,
        })
        .collect()
    }

    fn credential_is_out(&self, using: Using, until: Option<Instant>, now: Instant) {
        let Some(until) = until else { return };
        let key = self.pooled(using.key);
        let id = key.and_then(|key| key.credentials.get(using.index)).map(|one| one.id);
        if let Some(known) = id.and_then(|id| self.health.of(id, now)) {
            known.shared.be_out(until);
        }
    }

    /// Until when no credential works; `None`: one does.
    fn all_out_until(&self, using: Using, now: Instant) -> Option<Instant> {
        let usable = self.usable(self.pooled(using.key)?, 0, now);
        let first = usable.iter().map(|one| one.out_for_nanos).min().filter(|nanos| *nanos > 0)?;
        Some(Instant { nanos: now.nanos.saturating_add(first) })
    }
}

/// Writes into the record what the decision was made from.
pub fn note(entry: &mut Entry<'_>, policy: &Policy, health: &Snapshot, plan: &Plan<'_>) {
    if health.is_empty() && plan.hashed().is_empty() {
        return;
    }
    let noted = health.noted(policy, plan.hashed());
    entry.open_breakers = noted.open_breakers;
    entry.balance = noted.balance;
}

impl Attempts<'_, '_> {
    /// Passes over a target that another request is trying, if there is one behind it.
    pub(super) fn pass_over<'p, N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        walk: &mut Walk<'p>,
        (leaf, retry_number): (LeafRef<'p>, u32),
        entry: &mut Entry<'_>,
    ) -> Option<Step<'p>> {
        if retry_number > 0 || self.care.may_try(leaf, || client.now()) {
            return None;
        }
        let next = walk.pass_over(client.now())?;
        entry.balance.push((format!("{} passed_over", leaf.path), 1));
        Some(next)
    }

    /// What next: another credential of the same target at once, else what the policy says.
    pub(super) fn next_step<'p>(
        &self,
        walk: &mut Walk<'p>,
        leaf: LeafRef<'p>,
        outcome: &Outcome,
        now: Instant,
        dice: u64,
    ) -> Step<'p> {
        if self.care.rotates(outcome, now) {
            return walk.again_at_once(outcome, now);
        }
        let step = walk.after(outcome, now, dice);
        let again = matches!(step, Step::Try { retry_number: 1.., .. });
        self.care.tried(leaf, outcome, again, now);
        step
    }

    /// Learns from the head of an answer.
    pub(super) fn hear<N: Net>(&self, core: &Core<N>, asked: &Prepared<'_>, answer: &AnswerOf<N>) {
        let now = (core.net.now(), core.net.unix_now());
        let took_nanos = now.0.nanos.saturating_sub(asked.started.nanos);
        let status = answer.head.status;
        self.care.heard(asked.leaf, asked.using, status, &answer.lookup(), took_nanos, now);
    }
}
