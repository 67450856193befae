//! Shadow traffic: a copy of a request to another target. Nobody waits for it, its answer is read and dropped, and it
//! makes a record of its own. The exchange that it is a copy of knows nothing of it.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;

use super::{
    Core,
    admission::Aside,
    arriving::{Arriving, Lost, Patience},
    attempt::{Prepared, note_fault},
    attempts::Attempts,
    guard::guard,
    outgoing::Outgoing,
    passing::{Media, digest_of, meta_of},
    question::Question,
    route::Call,
    target::check_address,
    upstream::{self, AnswerOf, Failed, Milestones, Total},
    waiter::Beside,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::RequestId,
        limits,
        units::Instant,
    },
    chat::usage::Usage,
    config::{Origin, Timeouts, policy::Mirror},
    io::{hub::Epoch, log::Submitted, net::Net, pool::Route, tls},
    journal::entry::{Attempt as AttemptEntry, Entry, Text},
    policy::{
        balance,
        plan::{LeafRef, Plan},
        price,
    },
    provider::{Adapter, Fit},
    wire::{head::Method, record},
};

/// The copies that a core has under way.
#[derive(Default)]
pub struct Mirrors {
    open: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

/// One copy's place among them.
struct Place(Rc<Mirrors>);

impl Mirrors {
    /// A place for one more; `None`: there are as many as may be.
    fn enter(self: &Rc<Mirrors>) -> Option<Place> {
        if self.open.get() >= limits::MIRRORS_IN_FLIGHT_MAX {
            return None;
        }
        self.open.set(self.open.get() + 1);
        Some(Place(Rc::clone(self)))
    }

    /// Whether none is under way.
    pub fn poll_none(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.get() == 0 {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0
            && let Some(waker) = self.0.waiting.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

/// A copy on its way: everything of the exchange that it needs, held by itself.
struct Shadow<N: Net> {
    core: Rc<Core<N>>,
    epoch: Arc<Epoch>,
    call: Call<'static>,
    method: Method,
    adapter: &'static dyn Adapter,
    origin: Origin,
    untrusted: bool,
    route: Route,
    tls: Option<Arc<tls::ClientConfig>>,
    outgoing: Outgoing,
    model: String,
    strict: bool,
    timeouts: Timeouts,
    request_timeout: Option<std::time::Duration>,
    total: Total,
    started: Instant,
    entry: Entry<'static>,
}

impl<'e> Attempts<'_, 'e> {
    /// Sends a copy of the request to the mirror of its first target, if it has one and the dice are for it. Returns at
    /// once.
    pub(super) fn mirror<N: Net>(&self, core: &Rc<Core<N>>, plan: &Plan<'_>, entry: &Entry<'e>) {
        let Some(first) = plan.leaves().next() else { return };
        // A request that guardrails look at is copied once they let it pass.
        if !self.brought.any(first.leaf) {
            self.mirror_of(core, first, entry);
        }
    }

    /// The same for this target.
    pub(super) fn mirror_of<N: Net>(
        &self,
        core: &Rc<Core<N>>,
        first: LeafRef<'_>,
        entry: &Entry<'e>,
    ) {
        let Some(mirror) = first.leaf.mirror.as_deref() else { return };
        let whole = self.call.typed && matches!(self.question, Question::Json { .. });
        if whole && balance::is_drawn(entry.seed, &mirror.path, mirror.sample) {
            self.begin_copy(core, mirror, entry);
        }
    }

    fn begin_copy<N: Net>(&self, core: &Rc<Core<N>>, mirror: &Mirror, entry: &Entry<'e>) {
        let Some(place) = core.mirrors.enter().filter(|_| !core.draining.get()) else {
            return core.counters.mirrors_skipped.add(1);
        };
        let started = core.net.now();
        let mut attempt =
            AttemptEntry { target: Rc::from(&*mirror.path), started: 1, ..AttemptEntry::default() };
        let within = self.epoch.config.timeouts.total;
        let within = mirror.leaf.parts.iter().fold(within, |least, part| least.min(part.total));
        let total = Total { by: started.after(within), within, of_part: true };
        let prepared = self.prepare(&mirror.leaf, &mut attempt, 0, started, total);
        let mut its_own = copied(core, entry, attempt);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return unfit(core, its_own, fault),
        };
        its_own.stream = prepared.outgoing.stream;
        let bytes = prepared.outgoing.parts.iter().map(bytes::Bytes::len).sum();
        let Some(room) = Aside::take(&core.admission, bytes) else {
            return core.counters.mirrors_skipped.add(1);
        };
        let copy = self.copy(core, prepared, its_own);
        core.counters.mirrors.add(1);
        let waiter = Beside::nobody(core, room);
        core.net.spawn(async move {
            // A panic in it has nobody to answer to: the hook has said it.
            let _ = guard(pin!(copy.run(waiter))).await;
            drop(place);
        });
    }

    /// What the copy needs, taken out of the exchange.
    fn copy<N: Net>(
        &self,
        core: &Rc<Core<N>>,
        asked: Prepared<'_>,
        entry: Entry<'static>,
    ) -> Shadow<N> {
        let attempt = self.attempt(&asked, &upstream::any_address);
        let (route, tls) = (attempt.route.clone(), attempt.tls.clone());
        let Prepared { leaf, target, outgoing, started, total, .. } = asked;
        Shadow {
            core: Rc::clone(core),
            epoch: Arc::clone(self.epoch),
            call: Call { rest: "", ..*self.call },
            method: self.incoming.head().method,
            adapter: target.adapter,
            untrusted: target.origin_untrusted,
            route,
            tls,
            model: target.model.as_deref().unwrap_or_default().to_owned(),
            strict: target.strict,
            timeouts: leaf.timeouts.over(self.epoch.config.timeouts),
            request_timeout: target.request_timeout,
            origin: target.origin.into_owned(),
            outgoing,
            total,
            started,
            entry,
        }
    }
}

impl<N: Net> Shadow<N> {
    async fn run(mut self, mut waiter: Beside<N>) {
        let mut times = Milestones::default();
        let outcome = self.ask(&mut waiter, &mut times).await;
        let entry = &mut self.entry;
        let at = |instant: Option<Instant>| instant.map_or(0, |instant| entry.at(instant));
        let reached = [at(times.connected), at(times.sent), at(times.first_byte)];
        let now = at(Some(self.core.net.now()));
        [entry.times.connected, entry.times.sent, entry.times.first_byte] = reached;
        (entry.times.flushed, entry.status) = (now, times.status);
        if let Some(attempt) = entry.attempts.last_mut() {
            (attempt.ended, attempt.status) = (now, times.status);
            if let Err(fault) = &outcome {
                note_fault(attempt, fault);
            }
        }
        entry.fault = outcome.err();
        submit(&self.core, &self.entry);
    }

    async fn ask(&mut self, waiter: &mut Beside<N>, times: &mut Milestones) -> Result<(), Fault> {
        let (epoch, listeners) = (&self.epoch, &self.core.listeners);
        let rule = |address| match self.untrusted {
            true => check_address(&epoch.config, listeners, &self.origin, address),
            false => Ok(()),
        };
        let Timeouts { connect, first_byte, first_token, .. } = self.timeouts;
        let until = |wait| (self.started.after(wait), wait);
        let attempt = upstream::Attempt {
            route: self.route.clone(),
            allowed: &rule,
            tls: self.tls.clone(),
            method: self.method,
            request: &self.outgoing.parts,
            connect_by: self.started.after(connect),
            connect_within: connect,
            request_timeout: self.request_timeout.map(until),
            first_byte_within: first_byte,
            first_token_within: first_token.filter(|_| self.outgoing.stream),
            total: self.total,
            shaking_hands: Cell::default(),
        };
        let answer = upstream::attempt(waiter, &attempt, times).await;
        let answer = answer.map_err(|failed| match failed {
            Failed::ClientGone => cut_by_drain(),
            failed => failed.into_fault(),
        })?;
        times.status = answer.head.status;
        self.read(waiter, answer, times).await
    }

    /// Reads the answer, for what it used.
    async fn read(
        &mut self,
        waiter: &mut Beside<N>,
        answer: AnswerOf<N>,
        times: &Milestones,
    ) -> Result<(), Fault> {
        let (fit, withhold) = (self.outgoing.fit, self.outgoing.withhold_usage);
        let media = Media::of(&answer);
        let good = answer.head.status < 300;
        let events = good && media == Media::Events;
        let id = self.entry.request_id;
        let meta = || meta_of(id, &self.model, self.entry.accepted_unix, self.strict, withhold);
        let digest = digest_of(&self.call, &answer, media, self.adapter, (fit, withhold), meta);
        let due = |within| Some((times.sent?.after(within), within));
        let patience = Patience {
            idle: self.timeouts.idle,
            token: self.timeouts.first_token.filter(|_| events).and_then(due),
            total: self.total,
        };
        let mut arriving = Arriving::new(answer, digest, events, patience);
        let (lost, usage, model) = if good && fit == Fit::Translate && !events {
            let mut body = BytesMut::new();
            let whole = arriving.collect(waiter, limits::REPLY_BYTES_MAX, &mut body).await;
            let reply = self.adapter.reply(&mut body).ok();
            let model = reply.as_ref().map(|reply| reply.model.clone());
            (whole.map(drop), reply.and_then(|reply| reply.usage), model)
        } else {
            let drained = arriving.drain(waiter).await;
            (drained, arriving.digest.usage(), arriving.digest.model())
        };
        let at = |instant: Option<Instant>| instant.map_or(0, |instant| self.entry.at(instant));
        let (first_token, last_byte) = (at(arriving.first_token), at(arriving.last_byte));
        (self.entry.times.first_token, self.entry.times.last_byte) = (first_token, last_byte);
        self.account(usage, model);
        match lost {
            Ok(()) => {
                upstream::recycle(&self.core, &self.route, arriving.answer);
                Ok(())
            }
            Err(Lost::Upstream(ended)) => Err(ended.fault),
            Err(Lost::Client) => Err(cut_by_drain()),
        }
    }

    fn account(&mut self, usage: Option<Usage>, model: Option<String>) {
        let model = model.filter(|model| !model.is_empty());
        self.entry.served_model = Cow::Owned(model.unwrap_or_else(|| self.model.clone()));
        let (name, at) = (self.adapter.name(), self.entry.accepted_unix);
        self.entry.cost =
            usage.as_ref().map(|usage| price::cost(name, &self.entry.served_model, usage, at));
        self.entry.usage = usage;
    }
}

/// The record of a copy: what the exchange has that holds for it, under an id of its own and the exchange's trace id.
fn copied<N: Net>(core: &Core<N>, of: &Entry<'_>, attempt: AttemptEntry<'_>) -> Entry<'static> {
    let owned = |text: &Text<'_>| Cow::Owned(text.clone().into_owned());
    let id = u128::from(core.net.random()) << 64 | u128::from(core.net.random());
    let trace_id = match of.trace_id.is_empty() {
        true => Cow::Owned(of.request_id.digits().as_str().to_owned()),
        false => owned(&of.trace_id),
    };
    let attempt = AttemptEntry {
        target: attempt.target,
        provider: attempt.provider,
        virtual_key: owned(&attempt.virtual_key),
        credential: owned(&attempt.credential),
        model: owned(&attempt.model),
        started: attempt.started,
        ..AttemptEntry::default()
    };
    Entry {
        request_id: RequestId(id),
        accepted: core.net.now(),
        accepted_unix: core.net.unix_now(),
        api_key: owned(&of.api_key),
        config: owned(&of.config),
        epoch: of.epoch,
        seed: of.seed,
        dialect: of.dialect,
        method: owned(&of.method),
        path: owned(&of.path),
        requested_model: owned(&of.requested_model),
        attempts: vec![attempt],
        client_address: of.client_address.clone(),
        trace_id,
        metadata: of.metadata.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
        mirror: true,
        ..Entry::default()
    }
}

/// The mirror cannot take the request: that is in its record, and nowhere else.
fn unfit<N: Net>(core: &Core<N>, mut entry: Entry<'static>, fault: Fault) {
    if let Some(attempt) = entry.attempts.last_mut() {
        attempt.ended = 1;
        note_fault(attempt, &fault);
    }
    entry.times.flushed = 1;
    entry.fault = Some(fault);
    submit(core, &entry);
}

/// Hands the record to the log. It never waits for room.
fn submit<N: Net>(core: &Core<N>, entry: &Entry<'_>) {
    let mut log = core.log.borrow_mut();
    let Some(log) = log.as_mut() else { return };
    let (number, process) = (log.core(), log.process());
    let submitted = log.submit(|sequence, out| {
        entry.lend(number, process, sequence, |record| record::encode(record, out));
    });
    if matches!(submitted, Submitted::Dropped) {
        core.counters.records_dropped.add(1);
    }
}

fn cut_by_drain() -> Fault {
    let message = "the gateway is on its way out, and no client waits for this copy";
    Fault::new(Stage::Relay, Source::Gateway, Kind::Overloaded, message)
}
