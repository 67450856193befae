//! Walks the plan: tries targets until one answers well enough, and passes its answer on.

use std::{borrow::Cow, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    client::{Client, Interrupted, gone},
    connection::{After, Incoming},
    digest::{Digest, Ended, Opaque, Translated, Watched},
    outgoing::{Outgoing, Sources},
    question::Question,
    relay::{self, Collected, Passage},
    rescue,
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
        limits,
        units::Instant,
    },
    chat::usage::Usage,
    config::{Timeouts, policy::Leaf},
    dialect::{
        self,
        speak::{self, Meta},
    },
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
        price,
        resolve::ResolvedTarget,
        target::Choice,
    },
    provider::{Endpoint, Fit},
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
struct Tried<N: Net> {
    answer: AnswerOf<N>,
    route: Route,
    outgoing: Outgoing,
    adapter: &'static dyn crate::provider::Adapter,
    timeouts: Timeouts,
    strict: bool,
    /// The model sent.
    model: String,
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
        while let Step::Try { leaf, not_before, retry_number } = step {
            self.wait_until(client, not_before).await?;
            note_target(notes, leaf, retry_number);
            let end = self.try_leaf(client, leaf, entry, notes).await?;
            let (outcome, now) = match end {
                End::Over(after) => return Ok(after),
                End::Left { outcome, kept: Kept::Fault(fault) } if outcome == Outcome::Unfit => {
                    unfit = Some(fault);
                    (outcome, client.now())
                }
                End::Left { outcome, kept: newer } => {
                    kept = newer;
                    (outcome, client.now())
                }
            };
            step = walk.after(&outcome, now, client.core.net.random());
            if self.uploads() {
                break; // what was sent of an upload cannot be sent again
            }
        }
        if let Some(shown) = walk.shown() {
            note_target(notes, shown.leaf, 0);
        }
        notes.retry_count = walk.retry_attempt_count();
        match kept {
            Kept::Answer(tried) => self.pass_on(client, *tried, entry, notes).await,
            Kept::Fault(fault) => Err(fault),
            Kept::Nothing => Err(unfit.unwrap_or_else(no_target)),
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
        let until = not_before.min(self.total_by);
        match client.unless_gone(until, std::future::pending::<()>()).await {
            Err(Interrupted::Deadline) if not_before <= self.total_by => Ok(()),
            Err(Interrupted::Deadline) => Err(upstream::total_timeout(Stage::Plan)),
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
        let built = self.choice.resolve(leaf.leaf).and_then(|target| {
            self.note_attempt(entry, notes, &target);
            let outgoing = self.sources(&target, leaf.leaf).build()?;
            Ok((target, outgoing))
        });
        let (target, outgoing) = match built {
            Ok(built) => built,
            Err(fault) => return Ok(self.left(client, entry, Outcome::Unfit, fault)),
        };
        entry.stream |= outgoing.stream;
        let mut times = Milestones::default();
        let asked = self.ask(client, leaf.leaf, &target, &outgoing, started, &mut times).await;
        note_times(entry, notes, &times);
        let (route, timeouts, outcome) = asked;
        match outcome {
            Ok(answer) => {
                let adapter = target.adapter;
                let strict = target.strict;
                let model = target.model.as_deref().unwrap_or_default().to_owned();
                let tried =
                    Tried { answer, route, outgoing, adapter, timeouts, strict, model };
                self.answered(client, tried, entry, notes).await
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
        let timeouts = timeouts_of(leaf, config.timeouts);
        let key = target.virtual_key.and_then(|id| config.virtual_keys.get(id.0 as usize));
        let ca = key.and_then(|key| key.ca.clone());
        let tls = if target.origin.tls { self.epoch.client_tls.client(ca.as_deref()) } else { None };
        let guarded = target.origin_untrusted;
        let rule = |address| match guarded {
            true => self.rules.check_address(&target.origin, address),
            false => Ok(()),
        };
        let route = upstream::route_to(&target.origin, ca, guarded);
        let attempt = upstream::Attempt {
            route,
            allowed: &rule,
            tls,
            method: self.incoming.head.method,
            request: &outgoing.parts,
            connect_by: started.after(timeouts.connect),
            request_timeout: target.request_timeout.map(|wait| (started.after(wait), wait)),
            first_byte_within: timeouts.first_byte,
            total_by: self.total_by,
        };
        let outcome = match self.question {
            Question::Upload => {
                let most = config.limits.upload_bytes;
                upload::attempt(client, self.incoming, &attempt, most, times).await
            }
            _ => upstream::attempt(client, &attempt, times).await,
        };
        (attempt.route, timeouts, outcome)
    }

    /// An answer's head has come: a good one is passed on, another is kept while the walk decides.
    async fn answered<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: Tried<N>,
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
        let wait = wait_of(&tried.answer);
        let outcome = Outcome::Status { code: status, retry_after: wait };
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            (attempt.ended, attempt.left) = (at, "status");
        }
        Ok(End::Left { outcome, kept: Kept::Answer(Box::new(tried)) })
    }

    /// Passes on the answer that is left when no target does better.
    async fn pass_on<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: Tried<N>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<After, Fault> {
        notes.provider = Some(tried.adapter.name());
        notes.error_source = Some(Source::Upstream.as_str());
        match self.pass_on_or_leave(client, tried, entry, notes).await? {
            Ok(after) => Ok(after),
            Err(ended) => Err(ended.fault),
        }
    }

    /// Passes an answer on. The inner error: it broke before anything was sent.
    async fn pass_on_or_leave<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Tried<N>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Result<After, Ended>, Fault> {
        let dropped = &tried.outgoing.dropped;
        notes.dropped_params = dropped.join(",");
        entry.dropped_params = dropped.iter().cloned().collect();
        let status = tried.answer.head.status;
        if self.must_rewrite(&tried) {
            return self.rewrite(client, tried, entry, notes).await;
        }
        notes.timing.now = client.now();
        let mut digest = self.digest(&tried);
        let mut passage = Passage {
            incoming: self.incoming,
            dialect: self.call.dialect,
            notes,
            events: is_events(&tried),
            content_type: (tried.outgoing.fit == Fit::Translate).then_some("text/event-stream"),
            idle: tried.timeouts.idle,
            total_by: self.total_by,
        };
        let relayed = relay::relay(client, &mut tried.answer, &mut *digest, &mut passage).await;
        let passed = match relayed {
            Ok(passed) => passed,
            Err(ended) => return Ok(Err(ended)),
        };
        entry.status = status;
        entry.times.first_token = passed.first_token.map_or(0, |at| entry.at(at));
        entry.times.last_byte = passed.last_byte.map_or(0, |at| entry.at(at));
        self.account(entry, &tried, digest.usage(), digest.model());
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        if let Some(fault) = passed.fault {
            entry.client_gone = fault.kind == Kind::ClientGone;
            entry.truncated = !entry.client_gone;
            entry.fault = Some(fault);
        } else {
            upstream::recycle(&client.core, &tried.route, tried.answer);
        }
        Ok(Ok(passed.after))
    }

    fn digest<N: Net>(&self, tried: &Tried<N>) -> Box<dyn Digest> {
        let Tried { adapter, outgoing, answer, .. } = tried;
        if is_events(tried) && outgoing.fit == Fit::Translate {
            let writer = speak::writer(self.call.dialect, self.meta(tried));
            return Box::new(Translated::new(adapter.translate(), writer));
        }
        if is_events(tried) && !is_encoded(answer) {
            let watch = adapter.watch(self.call.endpoint, outgoing.withhold_usage);
            return Box::new(Watched::new(watch, has_end(self.call.endpoint)));
        }
        let json = media_of(answer).is_some_and(|media| media.contains("json"));
        let tapped = json && !is_encoded(answer) && answer.head.status < 300;
        Box::new(Opaque::new(*adapter, self.call.endpoint, tapped))
    }

    /// Whether the body must be had whole to be written anew: a translated plain answer, an error in another
    /// dialect, an error that no SDK can read.
    fn must_rewrite<N: Net>(&self, tried: &Tried<N>) -> bool {
        let status = tried.answer.head.status;
        let translated = tried.outgoing.fit == Fit::Translate;
        if status < 400 {
            return translated && !is_events(tried);
        }
        let json = media_of(&tried.answer).is_some_and(|media| media.contains("json"));
        translated || (self.call.typed && !json && !is_encoded(&tried.answer))
    }

    async fn rewrite<'e, N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Tried<N>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Result<After, Ended>, Fault> {
        let status = tried.answer.head.status;
        let most = if status < 400 { limits::REPLY_BYTES_MAX } else { limits::ERROR_BODY_BYTES_MAX };
        let mut body = BytesMut::new();
        let Timeouts { idle, .. } = tried.timeouts;
        let collected =
            relay::collect(client, &mut tried.answer, most, idle, self.total_by, &mut body).await;
        entry.times.last_byte = entry.at(client.now());
        let whole = match collected {
            Ok(whole) => whole,
            Err(Collected::ClientGone) => return Err(gone("the client closed")),
            // Of an error the status says enough.
            Err(_) if status >= 400 => true,
            Err(Collected::TooSlow) => return Ok(Err(ended(Kind::Timeout, "the upstream paused"))),
            Err(Collected::Broken(why)) => return Ok(Err(ended(Kind::Truncated, &why))),
        };
        let text = if status >= 400 {
            self.error_text(&tried, &body)
        } else if !whole {
            return Ok(Err(ended(Kind::Protocol, "the upstream's answer is too large")));
        } else {
            match self.reply_text(&tried, &mut body, entry) {
                Ok(text) => text,
                Err(why) => return Ok(Err(ended(Kind::Protocol, &why))),
            }
        };
        notes.timing.now = client.now();
        entry.status = status;
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
        }
        let head = (&tried.answer.head, &*tried.answer.bytes);
        let after = rescue::rewritten(client, self.incoming, head, Bytes::from(text), notes).await;
        upstream::recycle(&client.core, &tried.route, tried.answer);
        after.map(Ok)
    }

    /// A provider's error in the client's dialect, its status kept.
    fn error_text<N: Net>(&self, tried: &Tried<N>, body: &[u8]) -> Vec<u8> {
        let status = tried.answer.head.status;
        let told = tried.adapter.error(status, body);
        let (kind, message) = match told {
            Some(error) => (error.kind, format!("{} error: {}", tried.adapter.name(), error.message)),
            None => {
                let text = String::from_utf8_lossy(body);
                let text: String = text.chars().take(limits::ERROR_EXCERPT_CHARS_MAX).collect();
                let name = tried.adapter.name();
                ("upstream_error".to_owned(), format!("{name} answered {status}: {}", text.trim()))
            }
        };
        dialect::error_body(self.call.dialect, status, &kind, &message, None, None)
    }

    fn reply_text<'e, N: Net>(
        &self,
        tried: &Tried<N>,
        body: &mut BytesMut,
        entry: &mut Entry<'e>,
    ) -> Result<Vec<u8>, String> {
        let reply = tried.adapter.reply(body)?;
        let model = (!reply.model.is_empty()).then(|| reply.model.clone());
        self.account(entry, tried, reply.usage, model);
        Ok(speak::write_reply(self.call.dialect, &reply, self.meta(tried)))
    }

    fn meta<N: Net>(&self, tried: &Tried<N>) -> Meta {
        Meta {
            id: format!("chatcmpl-{}", self.request_id),
            model: tried.model.clone(),
            created: self.incoming.accepted_unix.seconds(),
            include_usage: !tried.outgoing.withhold_usage,
            strict: tried.strict,
        }
    }

    /// Notes tokens and money.
    fn account<'e, N: Net>(
        &self,
        entry: &mut Entry<'e>,
        tried: &Tried<N>,
        usage: Option<Usage>,
        model: Option<String>,
    ) {
        if let Some(model) = model {
            entry.served_model = Cow::Owned(model);
        } else if let Some(attempt) = entry.attempts.last() {
            entry.served_model = attempt.model.clone();
        }
        entry.usage = usage;
        if let Some(usage) = &entry.usage {
            let provider = tried.adapter.name();
            let at = self.incoming.accepted_unix;
            entry.cost = Some(price::cost(provider, &entry.served_model, usage, at));
        }
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
            attempt.detail = Cow::Owned(fault.message.clone().into_owned());
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

fn timeouts_of(leaf: &Leaf, file: Timeouts) -> Timeouts {
    Timeouts {
        connect: leaf.timeouts.connect.unwrap_or(file.connect),
        first_byte: leaf.timeouts.first_byte.unwrap_or(file.first_byte),
        idle: leaf.timeouts.idle.unwrap_or(file.idle),
        total: file.total,
    }
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

/// How long an answer asks to wait.
fn wait_of<R, W>(answer: &upstream::Answer<R, W>) -> Option<Duration> {
    retry_after(&answer.lookup())
}

fn is_events<N: Net>(tried: &Tried<N>) -> bool {
    tried.answer.head.status < 300
        && media_of(&tried.answer).is_some_and(|media| media.starts_with("text/event-stream"))
}

fn media_of<R, W>(answer: &upstream::Answer<R, W>) -> Option<String> {
    let value = answer.head.find(&answer.bytes, "content-type")?;
    Some(String::from_utf8_lossy(value).to_ascii_lowercase())
}

fn is_encoded<R, W>(answer: &upstream::Answer<R, W>) -> bool {
    let coding = answer.head.find(&answer.bytes, "content-encoding");
    coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

fn ended(kind: Kind, why: &str) -> Ended {
    let fault = Fault::new(Stage::Relay, Source::Upstream, kind, why.to_owned());
    Ended { fault, status: None, told: false }
}

fn no_target() -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, "the config has no target to try")
}

/// Endpoints whose streams say themselves when they are complete.
fn has_end(endpoint: Endpoint) -> bool {
    use Endpoint::{ChatCompletions, Completions, Messages, Responses};
    matches!(endpoint, ChatCompletions | Completions | Messages | Responses)
}
