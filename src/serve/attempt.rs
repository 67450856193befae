//! One attempt: a target resolved, its request built and sent, and its answer taken to where the client may be told of
//! it. It waits through a [`Waiter`], so that it can run for a client or beside one.

use std::{borrow::Cow, cell::Cell, net::IpAddr, rc::Rc};

use super::{
    Core,
    arriving::{Arriving, Lost, Patience},
    attempts::Attempts,
    care::Using,
    client::Client,
    guarded::StreamGuard,
    judged::Guarding,
    judged_answer::Verdict,
    outgoing::{Outgoing, Sources},
    outgoing_head::Standing,
    passing::Media,
    upload,
    upstream::{self, AnswerOf, Failed, Milestones, Total},
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Fault, Kind},
        units::Instant,
    },
    chat::reply::Reply,
    config::policy::Leaf,
    io::{
        net::{Net, Reader, Writer},
        pool::Route,
    },
    journal::entry::{Attempt as AttemptEntry, kind_word},
    policy::{
        attempt::{Network, Outcome, retry_after},
        resolve::ResolvedTarget,
    },
    provider::{Adapter, Fit},
};

/// A request to one target, ready to go.
pub(super) struct Prepared<'p> {
    pub(super) leaf: &'p Leaf,
    pub(super) target: ResolvedTarget<'p>,
    pub(super) outgoing: Outgoing,
    /// The one of several credentials that it carries.
    pub(super) using: Option<Using>,
    pub(super) started: Instant,
    pub(super) total: Total,
}

/// An attempt that brought an answer. If that is a good one, it is at its commit point.
pub(super) struct Tried<N: Net> {
    pub(super) arriving: Arriving<N>,
    pub(super) media: Media,
    pub(super) route: Route,
    pub(super) adapter: &'static dyn Adapter,
    pub(super) fit: Fit,
    /// Whether usage is to be kept from the client.
    pub(super) withhold_usage: bool,
    /// Parameters that the provider has no counterpart for.
    pub(super) dropped: Vec<Cow<'static, str>>,
    pub(super) strict: bool,
    /// The model sent, where the answer is written anew.
    pub(super) model: String,
    /// A plain answer that is written anew, once it was read.
    pub(super) reply: Option<Box<Reply>>,
    /// The guardrails that look at it.
    pub(super) guarding: Option<Rc<Guarding>>,
    /// What a stream is judged by.
    pub(super) stream: Option<Box<StreamGuard>>,
    /// What guardrails made of a plain answer.
    pub(super) verdict: Option<Box<Verdict>>,
}

/// What came of an attempt. An error: nothing that could be shown.
pub(super) type Reached<N> = Result<Box<Tried<N>>, Failed>;

impl<N: Net> Tried<N> {
    pub(super) fn status(&self) -> u16 {
        self.arriving.answer.head.status
    }

    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status())
    }
}

/// Whether this is what the client was waiting for.
pub(super) fn is_good<N: Net>(reached: &Reached<N>) -> bool {
    reached.as_ref().is_ok_and(|tried| tried.is_good())
}

impl<'a, 'e> Attempts<'a, 'e> {
    /// Resolves a target and builds its request. An error makes it unfit. `number`: of the attempt.
    pub(super) fn prepare<'p>(
        &'p self,
        leaf: &'p Leaf,
        attempt: &mut AttemptEntry<'e>,
        number: usize,
        started: Instant,
        total: Total,
    ) -> Result<Prepared<'p>, Fault> {
        let mut target = self.choice.resolve(leaf)?;
        self.note_target(attempt, &target);
        let using = self.care.pick_credential(&mut target, attempt, number, started);
        let guarding = self.brought.judged(leaf);
        let outgoing = self.sources(&target, leaf, guarding.as_deref()).build()?;
        Ok(Prepared { leaf, target, outgoing, using, started, total })
    }

    fn sources<'s>(
        &'s self,
        target: &'s ResolvedTarget<'s>,
        leaf: &'s Leaf,
        guarding: Option<&'s Guarding>,
    ) -> Sources<'s> {
        Sources {
            incoming: self.incoming,
            call: self.call,
            caller: self.caller,
            question: guarding.and_then(|one| one.question.as_ref()).unwrap_or(self.question),
            rewritten_model: self.choice.rewritten_model,
            target,
            leaf,
            standing: Standing::of(&self.choice.policy),
            epoch: self.epoch.number,
        }
    }

    pub(super) fn note_target(&self, attempt: &mut AttemptEntry<'e>, target: &ResolvedTarget<'_>) {
        let keys = &self.epoch.config.virtual_keys;
        let key = target.virtual_key.and_then(|id| keys.get(id.0 as usize));
        attempt.provider = target.adapter.name();
        attempt.virtual_key = key.map_or(Cow::Borrowed(""), |key| Cow::Borrowed(&key.name));
        attempt.model = Cow::Owned(target.model.as_deref().unwrap_or_default().to_owned());
    }

    /// Sends the request and takes the answer to its commit point.
    pub(super) async fn reach<N: Net, P: Waiter<N>>(
        &self,
        waiter: &mut P,
        asked: &Prepared<'_>,
        times: &mut Milestones,
    ) -> Reached<N> {
        let rule = |address| self.may_reach(asked, address);
        let attempt = self.attempt(asked, &rule);
        let answer = upstream::attempt(waiter, &attempt, times).await?;
        let upstream::Attempt { route, .. } = attempt;
        self.answered(waiter, asked, route, answer, times).await
    }

    /// The same for a body that is passed on as it comes.
    pub(super) async fn reach_by_upload<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        asked: &Prepared<'_>,
        times: &mut Milestones,
    ) -> Reached<N> {
        let rule = |address| self.may_reach(asked, address);
        let attempt = self.attempt(asked, &rule);
        let most = self.epoch.config.limits.upload_bytes;
        let answer = upload::attempt(client, self.incoming, &attempt, most, times).await?;
        let upstream::Attempt { route, .. } = attempt;
        self.answered(client, asked, route, answer, times).await
    }

    /// Whether a request may go to this address of its target: one that the operator declared may be anywhere.
    fn may_reach(&self, asked: &Prepared<'_>, address: IpAddr) -> Result<(), Fault> {
        match asked.target.origin_untrusted {
            true => self.rules.check_address(&asked.target.origin, address),
            false => Ok(()),
        }
    }

    /// Where and how a prepared request goes.
    pub(super) fn attempt<'r>(
        &self,
        asked: &'r Prepared<'_>,
        allowed: upstream::AddressRule<'r>,
    ) -> upstream::Attempt<'r> {
        let Prepared { leaf, target, outgoing, started, total, .. } = asked;
        let config = &self.epoch.config;
        let timeouts = leaf.timeouts.over(config.timeouts);
        let key = target.virtual_key.and_then(|id| config.virtual_keys.get(id.0 as usize));
        let ca = key.and_then(|key| key.ca.clone());
        let tls =
            if target.origin.tls { self.epoch.client_tls.client(ca.as_deref()) } else { None };
        let proxy = config.edge.egress_proxy.as_ref();
        upstream::Attempt {
            route: upstream::route_to(&target.origin, ca, target.origin_untrusted, proxy),
            allowed,
            tls,
            method: self.incoming.head().method,
            request: &outgoing.parts,
            connect_by: started.after(timeouts.connect),
            connect_within: timeouts.connect,
            request_timeout: target.request_timeout.map(|wait| (started.after(wait), wait)),
            first_byte_within: timeouts.first_byte,
            first_token_within: timeouts.first_token.filter(|_| outgoing.stream),
            total: *total,
            shaking_hands: Cell::default(),
        }
    }

    /// The answer's head has come. A good one is taken to its commit point; of another the status says enough for now.
    async fn answered<N: Net, P: Waiter<N>>(
        &self,
        waiter: &mut P,
        asked: &Prepared<'_>,
        route: Route,
        answer: AnswerOf<N>,
        times: &mut Milestones,
    ) -> Reached<N> {
        times.status = answer.head.status;
        if self.care.listens(asked.leaf, asked.using) {
            self.hear(waiter.core(), asked, &answer);
        }
        let mut tried = self.tried(waiter.core(), asked, route, answer, times);
        if !tried.is_good() {
            return Ok(tried);
        }
        match self.hold(waiter, &mut tried).await {
            Ok(()) => Ok(tried),
            Err(Lost::Client) => Err(Failed::ClientGone),
            Err(Lost::Upstream(ended)) => Err(Failed::Broken(ended)),
        }
    }

    fn tried<N: Net>(
        &self,
        core: &Rc<Core<N>>,
        asked: &Prepared<'_>,
        route: Route,
        answer: AnswerOf<N>,
        times: &Milestones,
    ) -> Box<Tried<N>> {
        let Prepared { leaf, target, outgoing, total, .. } = asked;
        let timeouts = leaf.timeouts.over(self.epoch.config.timeouts);
        let due = |within| Some((times.sent?.after(within), within));
        let patience = Patience {
            idle: timeouts.idle,
            token: timeouts.first_token.filter(|_| outgoing.stream).and_then(due),
            total: *total,
        };
        let fit = outgoing.fit;
        let model = match fit {
            Fit::Translate => target.model.as_deref().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let media = Media::of(&answer);
        let events = answer.head.status < 300 && media == Media::Events;
        let digest = self.digest(&answer, media, target, outgoing);
        let guarding = self.brought.judged(leaf).filter(|_| answer.head.status == 200);
        let (digest, stream) = match &guarding {
            Some(guarding) if events => self.guard_stream(core, guarding, target.strict, digest),
            _ => (digest, None),
        };
        let mut arriving = Arriving::new(answer, digest, events, patience);
        arriving.held_whole = !events && self.needs_length(arriving.answer.head.framing);
        // The place first, as for the exchange itself.
        let place = Box::new_uninit();
        let tried = Tried {
            arriving,
            media,
            route,
            adapter: target.adapter,
            fit,
            withhold_usage: outgoing.withhold_usage,
            dropped: outgoing.dropped.clone(),
            strict: target.strict,
            model,
            reply: None,
            guarding,
            stream,
            verdict: None,
        };
        Box::write(place, tried)
    }
}

/// Writes into an attempt's record how it was left.
pub(super) fn note_left<N: Net>(attempt: &mut AttemptEntry<'_>, reached: &Reached<N>, at: u64) {
    attempt.ended = at;
    match reached {
        Ok(tried) => (attempt.status, attempt.left) = (tried.status(), "status"),
        Err(failed) => {
            if let Some(fault) = failed.fault() {
                note_fault(attempt, fault);
            }
        }
    }
}

/// The same for a fault.
pub(super) fn note_fault(attempt: &mut AttemptEntry<'_>, fault: &Fault) {
    attempt.left = kind_word(fault.kind);
    attempt.detail = Cow::Owned(match &fault.told {
        Some(told) => format!("{}: {}", told.kind, fault.message),
        None => fault.message.clone().into_owned(),
    });
}

/// What the walk makes of an attempt that was not good.
pub(super) fn outcome_of<N: Net>(reached: &Reached<N>) -> Outcome {
    match reached {
        Ok(tried) => Outcome::Status {
            code: tried.status(),
            retry_after: retry_after(&tried.arriving.answer.lookup()),
        },
        Err(Failed::RequestTimeout(_)) => Outcome::RequestTimeout,
        Err(Failed::Broken(ended)) if ended.fault.kind == Kind::Guardrail => {
            Outcome::Denied { answer: true }
        }
        Err(Failed::Broken(ended)) => Outcome::Network(match ended.status {
            Some(status) => Network::StreamError { status },
            None => network(&ended.fault),
        }),
        Err(Failed::Fault(fault)) => Outcome::Network(network(fault)),
        Err(Failed::ClientGone) => Outcome::Unfit, // the exchange ends: nobody asks
    }
}

/// What the walk makes of a fault.
fn network(fault: &Fault) -> Network {
    match fault.kind {
        Kind::ConnectTimeout => Network::ConnectTimeout,
        Kind::Timeout(_) => Network::FirstByteTimeout,
        Kind::Truncated => Network::Truncated,
        Kind::Unreachable => Network::Unreachable,
        _ => Network::Protocol,
    }
}
