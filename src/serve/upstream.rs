//! One request to an upstream: take or open a connection, send, read the answer's head. An answer may come before the
//! request is out; a pooled connection that dies at once without a byte of answer is replaced once.

use std::{cell::Cell, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    client::{Interrupted, gone},
    dial,
    digest::Ended,
    send::send,
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Deadline, Fault, Kind, Source, Stage},
        limits,
        units::Instant,
    },
    config::{Origin, edge::EgressProxy},
    io::{
        net::Net,
        pool::{Route, Upstream},
        tls::{self},
    },
    wire::{
        body::{BodyReader, Pulled},
        head::{Method, Progress, ResponseHead, parse_response},
    },
};

/// Checks a resolved address of a host that a request named.
pub type AddressRule<'a> = &'a dyn Fn(IpAddr) -> Result<(), Fault>;

/// Where and how an attempt goes.
pub struct Attempt<'a> {
    /// Where to.
    pub route: Route,
    /// The rule that every address must pass.
    pub allowed: AddressRule<'a>,
    /// TLS, if the route has it.
    pub tls: Option<Arc<tls::ClientConfig>>,
    /// The request's method, which decides whether its answer has a body.
    pub method: Method,
    /// Head and body, in order; cheap to clone.
    pub request: &'a [Bytes],
    /// Resolve, connect and shake hands until then.
    pub connect_by: Instant,
    /// How long that is.
    pub connect_within: Duration,
    /// A bound on the time to the answer's head that the request or config sets: its end, and its length.
    pub request_timeout: Option<(Instant, Duration)>,
    /// How long after the request is out the answer's head may take.
    pub first_byte_within: Duration,
    /// The same for the first content, of a stream.
    pub first_token_within: Option<Duration>,
    /// What bounds more than this attempt.
    pub total: Total,
    /// Whether the upstream took the connection, and its answer to the TLS handshake is waited for.
    pub shaking_hands: Cell<bool>,
}

/// The total that ends first: that of the exchange, or that of a part of the config.
#[derive(Clone, Copy, Debug)]
pub struct Total {
    /// Its end.
    pub by: Instant,
    /// Its length.
    pub within: Duration,
    /// Whether it is of a part.
    pub of_part: bool,
}

impl Total {
    /// The whole exchange took too long, or a part of the config did.
    pub fn ran_out(&self, stage: Stage) -> Fault {
        let what = if self.of_part { "this part of the config" } else { "the exchange" };
        let millis = self.within.as_millis();
        let message = format!("{what} took longer than its timeouts.total ({millis} ms)");
        Fault::new(stage, Source::Gateway, Kind::Timeout(Deadline::Total), message)
    }
}

/// An answer whose head has arrived.
pub struct Answer<R, W> {
    /// The connection.
    pub upstream: Upstream<R, W>,
    /// The head.
    pub head: ResponseHead,
    /// Its bytes.
    pub bytes: Bytes,
    /// Where in the body we are.
    pub body: BodyReader,
    /// Whether the request went out whole; if not, the connection cannot be used again.
    pub request_complete: bool,
}

/// When what happened, for the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Milestones {
    /// A connection was there.
    pub connected: Option<Instant>,
    /// The request was out.
    pub sent: Option<Instant>,
    /// The answer's first byte was in.
    pub first_byte: Option<Instant>,
    /// Its status; 0: no head came.
    pub status: u16,
}

/// Why no answer came.
#[derive(Debug)]
pub enum Failed {
    /// The client went away; nothing is left to do.
    ClientGone,
    /// `request_timeout` ran out.
    RequestTimeout(Fault),
    /// A fault of the attempt.
    Fault(Fault),
    /// A good answer broke before the client could be told of it.
    Broken(Ended),
}

impl Failed {
    /// The fault, unless the client is gone.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Failed::ClientGone => None,
            Failed::RequestTimeout(fault) | Failed::Fault(fault) => Some(fault),
            Failed::Broken(ended) => Some(&ended.fault),
        }
    }

    /// The same, by value.
    pub fn into_fault(self) -> Fault {
        match self {
            Failed::ClientGone => gone("the client closed before it was answered"),
            Failed::RequestTimeout(fault) | Failed::Fault(fault) => fault,
            Failed::Broken(ended) => ended.fault,
        }
    }
}

impl Attempt<'_> {
    /// The earlier of `deadline` and what bounds this attempt as a whole.
    pub(super) fn by(&self, deadline: Instant) -> Instant {
        let requested = self.request_timeout.map_or(deadline, |(until, _)| until);
        deadline.min(requested).min(self.total.by)
    }

    /// Which deadline ran out at `deadline`: one of the whole attempt, else the one of the stage.
    pub(super) fn ran_out(&self, deadline: Instant, stage: Stage, of_stage: Fault) -> Failed {
        match self.request_timeout {
            Some((until, wait)) if until <= deadline => {
                let millis = wait.as_millis();
                let message =
                    format!("Request exceeded the timeout sent in the request: {millis}ms");
                let kind = Kind::Timeout(Deadline::Request);
                Failed::RequestTimeout(Fault::new(stage, Source::Network, kind, message))
            }
            _ if self.total.by <= deadline => Failed::Fault(self.total.ran_out(stage)),
            _ => Failed::Fault(of_stage),
        }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Fault(fault)
    }
}

/// An answer over the halves of one kind of machine. Boxed: it goes through many hands.
pub type AnswerOf<N> = Box<Answer<<N as Net>::Reader, <N as Net>::Writer>>;
/// A connection over the halves of one kind of machine.
pub type UpstreamOf<N> = Upstream<<N as Net>::Reader, <N as Net>::Writer>;

/// Makes one attempt.
pub async fn attempt<N: Net, P: Waiter<N>>(
    waiter: &mut P,
    attempt: &Attempt<'_>,
    times: &mut Milestones,
) -> Result<AnswerOf<N>, Failed> {
    let now = waiter.now();
    let pooled = waiter.core().pool.borrow_mut().take(&attempt.route, now);
    waiter.core().note_pool();
    if let Some(upstream) = pooled {
        waiter.core().counters.upstream_reused.add(1);
        times.connected = Some(now);
        match converse(waiter, attempt, upstream, times).await {
            // The peer had closed it while it idled: the request was not served, so it is sent again.
            Err(Broken { failed: Failed::Fault(_), stale: true }) => {}
            other => return other.map_err(|broken| broken.failed),
        }
    }
    // Boxed, like every way that few requests take: the usual one is not to be as large as the largest.
    let upstream = Box::pin(dial::open(waiter, attempt)).await?;
    times.connected = Some(waiter.now());
    converse(waiter, attempt, upstream, times).await.map_err(|broken| broken.failed)
}

/// A conversation that brought no answer.
pub struct Broken {
    /// Why.
    pub failed: Failed,
    /// No byte came back: on a pooled connection, a sign that the peer had closed it.
    stale: bool,
}

/// Sends the request and reads the answer's head.
async fn converse<N: Net, P: Waiter<N>>(
    waiter: &mut P,
    attempt: &Attempt<'_>,
    mut upstream: UpstreamOf<N>,
    times: &mut Milestones,
) -> Result<AnswerOf<N>, Broken> {
    match send(waiter, attempt, &mut upstream).await {
        Ok(complete) => await_head(waiter, attempt, upstream, complete, times).await,
        Err(failed) => Err(Broken { failed, stale: true }),
    }
}

/// Reads the answer's head, past any 1xx.
pub async fn await_head<N: Net, P: Waiter<N>>(
    waiter: &mut P,
    attempt: &Attempt<'_>,
    mut upstream: UpstreamOf<N>,
    request_complete: bool,
    times: &mut Milestones,
) -> Result<AnswerOf<N>, Broken> {
    let sent_at = waiter.now();
    times.sent = Some(sent_at);
    let within = attempt.first_byte_within;
    let within = attempt.first_token_within.map_or(within, |token| token.min(within));
    let deadline = attempt.by(sent_at.after(within));
    let mut heads = Heads::default();
    loop {
        if !upstream.inbound.buffer().is_empty() {
            times.first_byte.get_or_insert_with(|| waiter.now());
            let found = heads.next(upstream.inbound.buffer(), attempt.method);
            let broke = |why: &str| Broken { failed: protocol(attempt, why).into(), stale: false };
            if let Some((head, bytes)) = found.map_err(broke)? {
                let body = BodyReader::new(head.framing);
                let answer = Answer { upstream, head, bytes, body, request_complete };
                return Ok(Box::new(answer));
            }
        }
        let filled = waiter.unless_gone(deadline, upstream.inbound.fill()).await;
        let failed = match filled {
            Ok(Ok(1..)) => continue,
            Ok(ended) => ended_early(attempt, ended).into(),
            Err(Interrupted::ClientGone) => Failed::ClientGone,
            Err(Interrupted::Deadline) => {
                let fault = no_head_timeout(attempt);
                let failed = attempt.ran_out(deadline, Stage::FirstByte, fault);
                return Err(Broken { failed, stale: false });
            }
        };
        // Later than at once, the upstream had the request: to send it once more is the policy's decision.
        let at_once = waiter.now() <= sent_at.after(limits::STALE_WITHIN);
        return Err(Broken { failed, stale: at_once && times.first_byte.is_none() });
    }
}

/// Takes heads off a buffer until the real one.
#[derive(Default)]
struct Heads {
    progress: Progress,
    interim: usize,
}

impl Heads {
    fn next(
        &mut self,
        buffer: &mut BytesMut,
        method: Method,
    ) -> Result<Option<(ResponseHead, Bytes)>, &'static str> {
        loop {
            let parsed = parse_response(buffer, &mut self.progress, method);
            let Some(head) = parsed.map_err(|error| error.message())? else { return Ok(None) };
            let bytes = buffer.split_to(head.len).freeze();
            if head.status == 101 {
                return Err("it switched protocols, which nobody had asked for");
            }
            if !head.is_interim() {
                return Ok(Some((head, bytes)));
            }
            self.progress = Progress::default();
            self.interim += 1;
            if self.interim > limits::INTERIM_RESPONSES_MAX {
                return Err("it sent 1xx answers without end");
            }
        }
    }
}

impl<R, W> Answer<R, W> {
    /// Looks a header up by its lower-case name.
    pub fn lookup<'a>(&'a self) -> impl Fn(&str) -> Option<&'a str> {
        move |name| std::str::from_utf8(self.head.find(&self.bytes, name)?).ok()
    }

    /// Lets go of the head's text, which holds a read buffer: the client was told, and the body may take its time.
    pub fn forget_head(&mut self) {
        self.bytes = Bytes::new();
        self.head.forget_headers();
    }

    /// Whether the connection is fit for another request: everything was sent and read, and both sides agree.
    pub fn is_reusable(&self) -> bool {
        self.request_complete && self.head.keep_alive && self.body.is_done()
    }
}

/// Lets go of an answer that nobody will read: if its body is all there already, as those of errors are, the
/// connection lives on.
pub fn discard<N: Net>(core: &super::Core<N>, route: &Route, mut answer: AnswerOf<N>) {
    loop {
        match answer.body.pull(answer.upstream.inbound.buffer()) {
            Ok(Pulled::Data(_)) => {}
            Ok(Pulled::Done) => return recycle(core, route, answer),
            Ok(Pulled::NeedMore) | Err(_) => return,
        }
    }
}

/// Gives the connection back to the pool if it is fit for another request; else closes it.
#[expect(
    clippy::boxed_local,
    reason = "its callers have it in its box, and a move out would be a copy more"
)]
pub fn recycle<N: Net>(core: &super::Core<N>, route: &Route, answer: AnswerOf<N>) {
    if answer.is_reusable() && !core.draining.get() {
        let Answer { upstream, bytes, .. } = *answer;
        drop(bytes); // of its read buffer, which the connection gives back when it idles
        core.pool.borrow_mut().give(route, upstream, core.net.now());
        core.note_pool();
    }
}

/// The address rule of hosts that the operator declared.
pub fn any_address(_: IpAddr) -> Result<(), Fault> {
    Ok(())
}

/// The key of the pool, for a private root file.
pub fn route_to(
    origin: &Origin,
    ca: Option<PathBuf>,
    guarded: bool,
    proxy: Option<&Arc<EgressProxy>>,
) -> Route {
    let via = proxy.filter(|proxy| proxy.leads_to(&origin.host)).map(Arc::clone);
    Route { tls: origin.tls, host: origin.host.clone(), port: origin.port, ca, guarded, via }
}

pub(super) fn unreachable(attempt: &Attempt<'_>, why: &str) -> Fault {
    let Route { host, port, .. } = &attempt.route;
    let message = format!("upstream {host}:{port} could not be reached: {why}");
    Fault::new(Stage::Connect, Source::Network, Kind::Unreachable, message)
}

fn ended_early(attempt: &Attempt<'_>, ended: io::Result<usize>) -> Fault {
    let why = ended.map_or_else(|error| error.to_string(), |_| "it closed".into());
    unreachable(attempt, &format!("the connection ended before an answer came: {why}"))
}

fn protocol(attempt: &Attempt<'_>, why: &str) -> Fault {
    let Route { host, port, .. } = &attempt.route;
    let message = format!("upstream {host}:{port} broke HTTP: {why}");
    Fault::new(Stage::FirstByte, Source::Upstream, Kind::Protocol, message)
}

/// The answer's head did not come; of a stream, and so no content either, if that was due first.
fn no_head_timeout(attempt: &Attempt<'_>) -> Fault {
    let Route { host, port, .. } = &attempt.route;
    if let Some(within) = attempt.first_token_within.filter(|&it| it < attempt.first_byte_within) {
        return first_token_timeout(&format!("upstream {host}:{port}"), Stage::FirstByte, within);
    }
    let millis = attempt.first_byte_within.as_millis();
    let message =
        format!("upstream {host}:{port} sent no answer within timeouts.first_byte ({millis} ms)");
    let kind = Kind::Timeout(Deadline::FirstByte);
    Fault::new(Stage::FirstByte, Source::Network, kind, message)
}

/// A stream brought no content in time.
pub fn first_token_timeout(who: &str, stage: Stage, within: Duration) -> Fault {
    let millis = within.as_millis();
    let message = format!("{who} sent no content within timeouts.first_token ({millis} ms)");
    Fault::new(stage, Source::Network, Kind::Timeout(Deadline::FirstToken), message)
}

/// The exchange took too long.
pub fn total_timeout(stage: Stage) -> Fault {
    let message = "the exchange took longer than its timeouts.total";
    Fault::new(stage, Source::Gateway, Kind::Timeout(Deadline::Total), message)
}
