//! The health of the targets of one exchange: what its plan is told, what its attempts ask and teach. For a policy
//! that asks for none of it, each call is one look at an empty list.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use smallvec::SmallVec;

use super::{
    attempts::Attempts,
    client::Client,
    health::{Health, Known, Running, Targets, snapshot},
    upstream::AnswerOf,
};
use crate::{
    base::{
        fault::Kind,
        ids::VirtualKeyId,
        limits,
        units::{Instant, UnixTime},
    },
    config::{
        Config, VirtualKey,
        health::{Breaker, Watch},
        policy::Policy,
    },
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::{
        attempt::{Network, Outcome, Step, Walk},
        breaker::{self, Verdict},
        credential::{self, Usable},
        health::Snapshot,
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
    probing: RefCell<Option<Rc<Known>>>,
    /// The one of several credentials that the running try uses.
    using: Cell<Option<Using>>,
}

/// One of several credentials of a virtual key.
#[derive(Clone, Copy)]
struct Using {
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
        let (probing, using) = (RefCell::default(), Cell::default());
        (Care { health, config, seed, targets, probing, using }, seen)
    }

    /// Whether a target may be tried: while its breaker is half open, by one request at a time.
    pub fn may_try(&self, leaf: LeafRef<'_>, now: impl FnOnce() -> Instant) -> bool {
        let Some((Watch { breaker: Some(breaker), .. }, known)) = self.watched(leaf) else {
            return true;
        };
        let now = now();
        let state = known.breaker();
        let half_open = state.open_until != Instant::default() && now >= state.open_until;
        if !half_open || self.is_probing(known) {
            return true;
        }
        let taken = known.shared.take_probe(now, now.after(breaker::probe_lease(breaker)));
        if taken {
            *self.probing.borrow_mut() = Some(Rc::clone(known));
        }
        taken
    }

    /// Counts a try among those that its target is answering.
    pub fn run(&self, leaf: LeafRef<'_>, now: impl FnOnce() -> Instant) -> Option<Running> {
        self.watched(leaf).map(|(_, known)| known.run(now()))
    }

    /// Whether anything is to be learnt from the head of an answer.
    pub fn listens(&self, leaf: LeafRef<'_>) -> bool {
        self.using.get().is_some() || self.watched(leaf).is_some()
    }

    /// Chooses among several credentials. Noted in the attempt's record by number, never by text.
    pub fn pick_credential<'t>(
        &self,
        target: &mut ResolvedTarget<'t>,
        entry: &mut Entry<'_>,
        now: Instant,
    ) where
        'a: 't,
    {
        let key = target.virtual_key.and_then(|id| Some((id, self.pooled(id)?)));
        let Some((id, key)) = key else {
            self.using.set(None);
            return;
        };
        let tried = self.using.get().filter(|using| using.key == id);
        let tried = tried.map_or(0, |using| using.tried);
        let usable = self.usable(key, tried, now);
        let seed = self.seed.wrapping_add(entry.attempts.len() as u64);
        let index = credential::choose(seed, &key.name, &usable);
        let Some(chosen) = key.credentials.get(index) else { return };
        target.credential = Some(Credential::new(chosen.secret.reveal()));
        let forced = usable.get(index).is_some_and(|one| one.out_for_nanos > 0);
        self.using.set(Some(Using { key: id, index, tried: tried | 1 << index, forced }));
        if let Some(attempt) = entry.attempt() {
            attempt.credential = format!("#{}", index + 1).into();
        }
    }

    /// The head of an answer has come, `took` after the try began.
    pub fn heard(
        &self,
        leaf: LeafRef<'_>,
        status: u16,
        headers: HeaderLookup<'_, '_>,
        took_nanos: u64,
        (now, unix_now): (Instant, UnixTime),
    ) {
        let out_for = rate_limit::out_for(status, headers, unix_now);
        let mut out_until = out_for.map(|wait| now.after(wait));
        if let Some(using) = self.using.get() {
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
            401 | 403 | 408 | 429 | 500.. => self.has_failed(known, now),
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
        let Some((watch, known)) = self.watched(leaf) else { return };
        if matches!(outcome, Outcome::Network(_) | Outcome::RequestTimeout) {
            self.has_failed(known, now);
        }
        if let Some(breaker) = watch.breaker.as_ref().filter(|_| !again) {
            self.learn(known, breaker, breaker::verdict(breaker, outcome), now);
        }
    }

    /// The exchange is over with the answer of this target.
    pub fn over(&self, leaf: LeafRef<'_>, entry: &Entry<'_>, now: impl FnOnce() -> Instant) {
        if !entry.client_gone && self.watched(leaf).is_some() {
            let denied = entry.fault.as_ref().is_some_and(|fault| fault.kind == Kind::Guardrail);
            let outcome = match entry.truncated && !denied {
                true => Outcome::Network(Network::Truncated),
                false => Outcome::Status { code: 200, retry_after: None },
            };
            self.tried(leaf, &outcome, false, now());
        }
    }

    fn learn(&self, known: &Rc<Known>, breaker: &Breaker, verdict: Verdict, now: Instant) {
        let probing = self.is_probing(known);
        let open_until = known.breaker().open_until;
        let closed = open_until == Instant::default();
        match verdict {
            Verdict::Success if closed => known.did_well(now),
            Verdict::Success if now >= open_until => known.shared.close(),
            Verdict::Failure if closed => count_failure(known, breaker, now),
            Verdict::Failure if probing => known.shared.open(now.after(breaker.cooldown)),
            Verdict::Nothing if probing => known.shared.give_probe_back(),
            _ => {}
        }
        if probing {
            *self.probing.borrow_mut() = None;
        }
    }

    fn has_failed(&self, known: &Known, now: Instant) {
        known.answered(limits::LATENCY_OF_FAILURE.as_nanos() as u64, now);
    }

    fn is_probing(&self, known: &Rc<Known>) -> bool {
        self.probing.borrow().as_ref().is_some_and(|probing| Rc::ptr_eq(probing, known))
    }

    fn watched<'l>(&self, leaf: LeafRef<'l>) -> Option<(&'l Watch, &Rc<Known>)> {
        let watch = leaf.leaf.watch.as_ref()?;
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

impl Drop for Care<'_> {
    /// An exchange that ends without a word on the target that it tried keeps no other from trying.
    fn drop(&mut self) {
        if let Some(known) = self.probing.borrow_mut().take() {
            known.shared.give_probe_back();
        }
    }
}

/// Opens a breaker that was closed, if this failure is one too many.
fn count_failure(known: &Known, breaker: &Breaker, now: Instant) {
    if breaker::trips(breaker, known.failed(now)) {
        known.shared.open(now.after(breaker.cooldown));
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

impl Attempts<'_> {
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
    pub(super) fn hear<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        leaf: LeafRef<'_>,
        answer: &AnswerOf<N>,
        started: Instant,
    ) {
        let now = (client.now(), client.core.net.unix_now());
        let took_nanos = now.0.nanos.saturating_sub(started.nanos);
        self.care.heard(leaf, answer.head.status, &answer.lookup(), took_nanos, now);
    }
}
