//! Walks the plan: tries targets until one answers well enough, and passes its answer on.

use std::borrow::Cow;

use super::{
    care::Care,
    client::{Client, Interrupted, gone},
    connection::{After, Incoming},
    outgoing::{Outgoing, Sources},
    outgoing_head::Standing,
    passing::Media,
    question::Question,
    respond::Notes,
    route::Call,
    target::TargetRules,
    upload,
    upstream::{self, AnswerOf, Failed, Milestones},
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::RequestId,
        units::Instant,
    },
    config::{Timeouts, policy::Leaf},
    io::{
        hub::Epoch,
        net::{Net, Reader, Writer},
        pool::Route,
    },
    journal::entry::{Attempt as AttemptEntry, Entry, kind_word},
    policy::{
        attempt::{Network, Outcome, Step, Walk, retry_after},
        key::Caller,
        plan::{LeafRef, Plan},
        resolve::ResolvedTarget,
        target::Choice,
    },
};

/// What all tries of an exchange share.
pub struct Attempts<'a> {
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
    pub epoch: &'a Epoch,
    /// The rules for hosts.
    pub rules: &'a TargetRules<'a>,
    /// The health of the targets.
    pub care: &'a Care<'a>,
    /// The request's id, for answers that need one.
    pub request_id: RequestId,
    /// The end of the whole exchange.
    pub total_by: Instant,
}

/// What the client gets if no later try does better.
enum Kept<N: Net> {
    Nothing,
    /// An answer that was not good enough, its body unread.
    Answer(Box<Tried<N>>),
    /// A fault of the network or the upstream.
    Fault(Fault),
}

/// A try that brought an answer.
pub(super) struct Tried<N: Net> {
    pub(super) answer: AnswerOf<N>,
    pub(super) media: Media,
    pub(super) route: Route,
    pub(super) outgoing: Outgoing,
    pub(super) adapter: &'static dyn crate::provider::Adapter,
    pub(super) timeouts: Timeouts,
    pub(super) strict: bool,
    /// The model sent.
    pub(super) model: String,
}

/// How a try ended, for the walk.
enum End<N: Net> {
    /// The exchange is over: the answer is out, or the client gone.
    Over(After),
    /// The walk decides.
    Left { outcome: Outcome, kept: Kept<N> },
}

impl Attempts<'_> {
    /// Tries targets until the exchange is over. A fault is the answer that no target gave.
    pub async fn run<'e, N: Net, R: Reader, W: Writer>(
        &mut self,
        client: &mut Client<N, R, W>,
        plan: &Plan<'_>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        let mut walk = Walk::new(plan);
        let mut step = walk.first();
        let mut kept: Kept<N> = Kept::Nothing;
        let mut unfit = None;
        let mut too_late = None;
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
            if client.now().max(not_before) >= self.total_by {
                too_late = Some(upstream::total_timeout(Stage::Plan));
                break; // a try that could not be finished is not begun
            }
            self.wait_until(client, not_before).await?;
            note_target(notes, leaf, retry_number);
            let running = self.care.run(leaf, || client.now());
            let end = self.try_leaf(client, leaf, entry, notes).await?;
            drop(running);
            let (outcome, now) = match end {
                End::Over(after) => {
                    self.care.over(leaf, entry, || client.now());
                    return Ok(after);
                }
                End::Left { outcome, kept: Kept::Fault(fault) } if outcome == Outcome::Unfit => {
                    unfit = Some(fault);
                    (outcome, client.now())
                }
                End::Left { outcome, kept: newer } => {
                    if let Kept::Answer(older) = std::mem::replace(&mut kept, newer) {
                        upstream::discard(&client.core, &older.route, older.answer);
                    }
                    (outcome, client.now())
                }
            };
            step = self.next_step(&mut walk, leaf, &outcome, now, client.core.net.random());
            if client.body_taken > 0 && self.uploads() {
                break; // what was sent of an upload cannot be sent again
            }
        }
        if let Some(shown) = walk.shown() {
            note_target(notes, shown.leaf, 0);
        }
        notes.retry_count = walk.retry_attempt_count();
        match kept {
            Kept::Answer(tried) => Box::pin(self.pass_on(client, tried, entry, notes)).await,
            Kept::Fault(fault) => Err(fault),
            Kept::Nothing => Err(too_late.or(unfit).unwrap_or_else(no_target)),
        }
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

    /// One try of one target: resolve, build, send, and pass on what is good.
    async fn try_leaf<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        leaf: LeafRef<'_>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<End<N>, Fault> {
        client.core.counters.attempts.add(1);
        let started = client.now();
        entry.attempts.push(AttemptEntry {
            target: Cow::Owned(leaf.path.to_owned()),
            started: entry.at(started),
            ..AttemptEntry::default()
        });
        let built = self.choice.resolve(leaf.leaf).and_then(|mut target| {
            self.note_attempt(entry, notes, &target);
            self.care.pick_credential(&mut target, entry, started);
            let outgoing = self.sources(&target, leaf.leaf).build()?;
            Ok((target, outgoing))
        });
        let (target, outgoing) = match built {
            Ok(built) => built,
            Err(fault) => return Ok(self.left(client, entry, Outcome::Unfit, fault)),
        };
        entry.stream |= outgoing.stream;
        client.hold.rendered(outgoing.rendered_bytes());
        let mut times = Milestones::default();
        let asked = self.ask(client, leaf.leaf, &target, &outgoing, started, &mut times).await;
        note_times(entry, notes, &times);
        let (route, timeouts, outcome) = asked;
        match outcome {
            Ok(answer) => {
                if self.care.listens(leaf) {
                    self.hear(client, leaf, &answer, started);
                }
                let adapter = target.adapter;
                let strict = target.strict;
                let model = target.model.as_deref().unwrap_or_default().to_owned();
                let media = Media::of(&answer);
                let tried =
                    Tried { answer, media, route, outgoing, adapter, timeouts, strict, model };
                self.answered(client, Box::new(tried), entry, notes).await
            }
            Err(Failed::ClientGone) => Err(gone("the client closed before it was answered")),
            Err(Failed::RequestTimeout(fault)) => {
                Ok(self.left(client, entry, Outcome::RequestTimeout, fault))
            }
            Err(Failed::Fault(fault)) if fault.kind == Kind::HostRefused => Err(fault),
            Err(Failed::Fault(fault)) if fault.kind == Kind::ClientGone => Err(fault),
            Err(Failed::Fault(fault)) => {
                let outcome = Outcome::Network(network(&fault));
                Ok(self.left(client, entry, outcome, fault))
            }
        }
    }

    /// Sends the request and waits for the answer's head.
    async fn ask<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        leaf: &Leaf,
        target: &ResolvedTarget<'_>,
        outgoing: &Outgoing,
        started: Instant,
        times: &mut Milestones,
    ) -> (Route, Timeouts, Result<AnswerOf<N>, Failed>) {
        let config = &self.epoch.config;
        let timeouts = leaf.timeouts.over(config.timeouts);
        let key = target.virtual_key.and_then(|id| config.virtual_keys.get(id.0 as usize));
        let ca = key.and_then(|key| key.ca.clone());
        let tls =
            if target.origin.tls { self.epoch.client_tls.client(ca.as_deref()) } else { None };
        let guarded = target.origin_untrusted;
        let rule = |address| match guarded {
            true => self.rules.check_address(&target.origin, address),
            false => Ok(()),
        };
        let proxy = config.edge.egress_proxy.as_ref();
        let route = upstream::route_to(&target.origin, ca, guarded, proxy);
        let attempt = upstream::Attempt {
            route,
            allowed: &rule,
            tls,
            method: self.incoming.head().method,
            request: &outgoing.parts,
            connect_by: started.after(timeouts.connect),
            request_timeout: target.request_timeout.map(|wait| (started.after(wait), wait)),
            first_byte_within: timeouts.first_byte,
            total_by: self.total_by,
        };
        let outcome = match self.question {
            Question::Upload => {
                let most = config.limits.upload_bytes;
                Box::pin(upload::attempt(client, self.incoming, &attempt, most, times)).await
            }
            _ => upstream::attempt(client, &attempt, times).await,
        };
        (attempt.route, timeouts, outcome)
    }

    /// An answer's head has come: a good one is passed on, another is kept while the walk decides.
    async fn answered<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<End<N>, Fault> {
        let status = tried.answer.head.status;
        if let Some(attempt) = entry.attempt() {
            attempt.status = status;
        }
        if (200..300).contains(&status) || status < 200 {
            return match self.pass_on_or_leave(client, tried, entry, notes).await? {
                Ok(after) => Ok(End::Over(after)),
                Err(ended) => {
                    let outcome = Outcome::Network(match ended.status {
                        Some(status) => Network::StreamError { status },
                        None => network(&ended.fault),
                    });
                    Ok(self.left(client, entry, outcome, ended.fault))
                }
            };
        }
        let wait = retry_after(&tried.answer.lookup());
        let outcome = Outcome::Status { code: status, retry_after: wait };
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            (attempt.ended, attempt.left) = (at, "status");
        }
        Ok(End::Left { outcome, kept: Kept::Answer(tried) })
    }

    fn sources<'s>(&'s self, target: &'s ResolvedTarget<'s>, leaf: &'s Leaf) -> Sources<'s> {
        Sources {
            incoming: self.incoming,
            call: self.call,
            caller: self.caller,
            question: self.question,
            rewritten_model: self.choice.rewritten_model,
            target,
            leaf,
            standing: Standing::of(&self.choice.policy),
            epoch: self.epoch.number,
        }
    }

    fn note_attempt<'e>(
        &self,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
        target: &ResolvedTarget<'_>,
    ) {
        notes.provider = Some(target.adapter.name());
        let keys = &self.epoch.config.virtual_keys;
        let key = target.virtual_key.and_then(|id| keys.get(id.0 as usize));
        if let Some(attempt) = entry.attempt() {
            attempt.provider = target.adapter.name();
            attempt.virtual_key = Cow::Owned(key.map_or_else(String::new, |key| key.name.clone()));
            let model = target.model.as_deref().unwrap_or_default();
            attempt.model = Cow::Owned(model.to_owned());
        }
    }

    /// A try that brought nothing.
    fn left<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        outcome: Outcome,
        fault: Fault,
    ) -> End<N> {
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
            attempt.left = left_word(&fault);
            attempt.detail = Cow::Owned(match &fault.told {
                Some(told) => format!("{}: {}", told.kind, fault.message),
                None => fault.message.clone().into_owned(),
            });
        }
        End::Left { outcome, kept: Kept::Fault(fault) }
    }
}

fn note_target(notes: &mut Notes<'_>, leaf: LeafRef<'_>, retry_number: u32) {
    notes.option_index = Some(Cow::Owned(leaf.path.to_owned()));
    notes.retry_count = i32::try_from(retry_number).unwrap_or(i32::MAX);
}

fn note_times(entry: &mut Entry<'_>, notes: &mut Notes<'_>, times: &Milestones) {
    let at = |instant: Option<Instant>| instant.map_or(0, |instant| entry.at(instant));
    let (connected, sent, first) = (at(times.connected), at(times.sent), at(times.first_byte));
    entry.times.connected = connected;
    entry.times.sent = sent;
    entry.times.first_byte = first;
    (notes.timing.sent, notes.timing.first_byte) = (times.sent, times.first_byte);
}

/// What the walk makes of a fault.
fn network(fault: &Fault) -> Network {
    match fault.kind {
        Kind::ConnectTimeout => Network::ConnectTimeout,
        Kind::Timeout => Network::FirstByteTimeout,
        Kind::Truncated => Network::Truncated,
        Kind::Unreachable => Network::Unreachable,
        _ => Network::Protocol,
    }
}

/// Why a try was left, in a word.
fn left_word(fault: &Fault) -> &'static str {
    match (fault.kind, fault.stage) {
        (Kind::Timeout, Stage::FirstByte) => "timeout_first_byte",
        (Kind::Timeout, Stage::Relay) => "timeout_idle",
        (kind, _) => kind_word(kind),
    }
}

fn no_target() -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, "the config has no target to try")
}
