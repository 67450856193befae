//! A request of Trunkline's own to another host, for a check of a guardrail: bounded in time and in what it takes, on
//! connections of the same pool. No client is behind it, so that it can also be made when nobody waits.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    Core, dial, target,
    upstream::{self, Answer, AnswerOf, Attempt, Total},
};
use crate::{
    base::{fault::Fault, limits, units::Instant},
    config::Origin,
    io::{
        buffer::WriteList,
        hub::Epoch,
        inbound::Inbound,
        net::{Net, Writer},
        pool::Upstream,
        race::{First, race},
    },
    journal::metrics::UpstreamPlace,
    policy::guardrail::webhook::Answered,
    wire::{
        body::{BodyReader, Pulled},
        head::{Method, Progress, ResponseHead, parse_response},
        render::{HeadWriter, RenderError},
    },
};

/// Where a request goes, and what it says.
pub struct Errand<'a> {
    /// POST with a body, GET without.
    pub body: Option<Bytes>,
    /// Where to.
    pub origin: &'a Origin,
    /// Path and query.
    pub target: &'a str,
    /// Headers besides its own.
    pub headers: &'a [(String, crate::base::secret::Secret)],
    /// How long all of it may take.
    pub within: Duration,
    /// Whether every address must pass the rules for custom hosts.
    pub guarded: bool,
    /// The most that is read of the answer's body; 0: none is.
    pub answer_bytes_max: usize,
}

/// Makes the request.
pub async fn run<N: Net>(core: &Rc<Core<N>>, epoch: &Epoch, errand: &Errand<'_>) -> Answered {
    let deadline = core.net.now().after(errand.within);
    let work = pin!(converse(core, epoch, errand, deadline));
    let time_is_up = pin!(core.net.sleep_until(deadline));
    match race(work, time_is_up).await {
        First::Left(answered) => answered,
        First::Right(()) => Err(format!("no answer came within {} ms", errand.within.as_millis())),
    }
}

async fn converse<N: Net>(
    core: &Rc<Core<N>>,
    epoch: &Epoch,
    errand: &Errand<'_>,
    deadline: Instant,
) -> Answered {
    let request = request(errand).map_err(|error| error.message().to_owned())?;
    let config = &epoch.config;
    let rule = |address| match errand.guarded {
        true => target::check_address(config, &core.listeners, errand.origin, address),
        false => Ok(()),
    };
    let proxy = config.edge.egress_proxy.as_ref();
    let tls = if errand.origin.tls { epoch.client_tls.client(None) } else { None };
    let attempt = Attempt {
        route: upstream::route_to(errand.origin, None, errand.guarded, proxy),
        allowed: &rule,
        tls,
        method: if errand.body.is_some() { Method::Post } else { Method::Get },
        request: &request,
        connect_by: deadline,
        connect_within: errand.within,
        request_timeout: None,
        first_byte_within: errand.within,
        first_token_within: None,
        total: Total { by: deadline, within: errand.within, of_part: false },
        shaking_hands: Cell::default(),
    };
    let pooled = core.pool.borrow_mut().take(&attempt.route, core.net.now());
    core.note_pool();
    if let Some(upstream) = pooled {
        // One that its peer had closed while it idled is replaced.
        if let Ok(answer) = send(upstream, &attempt).await {
            return finish(core, &attempt, answer, errand.answer_bytes_max).await;
        }
    }
    let opened = dial::connect(&core.net, &attempt, deadline).await;
    let (reader, writer) = opened.map_err(|fault: Fault| fault.message.into_owned())?;
    core.counters.upstream_connections.add(1);
    let place = UpstreamPlace::take(&core.counters);
    let inbound = Inbound::new(reader);
    let upstream = Upstream { inbound, writer, place };
    let answer = send(upstream, &attempt).await?;
    finish(core, &attempt, answer, errand.answer_bytes_max).await
}

fn request(errand: &Errand<'_>) -> Result<Vec<Bytes>, RenderError> {
    let mut out = BytesMut::with_capacity(512);
    let method = if errand.body.is_some() { "POST" } else { "GET" };
    let mut head = HeadWriter::request(&mut out, method, &[errand.target.as_bytes()])?;
    head.own("host", &errand.origin.authority)?;
    let named =
        |wanted: &str| errand.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if errand.body.is_some() && !named("content-type") {
        head.own("content-type", "application/json")?;
    }
    if !named("accept") {
        head.own("accept", if errand.body.is_some() { "application/json" } else { "*/*" })?;
    }
    head.own("accept-encoding", "identity")?;
    for (name, value) in errand.headers {
        head.header(name, value.reveal())?;
    }
    if let Some(body) = &errand.body {
        head.length(body.len() as u64)?;
    }
    head.finish();
    let head = out.freeze();
    Ok(std::iter::once(head).chain(errand.body.clone()).collect())
}

async fn send<R: crate::io::net::Reader, W: Writer>(
    mut upstream: Upstream<R, W>,
    attempt: &Attempt<'_>,
) -> Result<Box<Answer<R, W>>, String> {
    let mut list = WriteList::new();
    list.extend(attempt.request.iter().cloned());
    let (written, _) = upstream.writer.write(list).await;
    written.map_err(|error| format!("the request could not be sent: {error}"))?;
    let (mut progress, mut interim) = (Progress::default(), 0);
    loop {
        let buffer = upstream.inbound.buffer();
        if !buffer.is_empty() {
            let parsed = parse_response(buffer, &mut progress, attempt.method);
            if let Some(head) = parsed.map_err(|error| error.message().to_owned())? {
                let bytes = buffer.split_to(head.len).freeze();
                if !head.is_interim() {
                    return Ok(answer(upstream, head, bytes));
                }
                (progress, interim) = (Progress::default(), interim + 1);
                if interim > limits::INTERIM_RESPONSES_MAX {
                    return Err("it sent 1xx answers without end".to_owned());
                }
                continue;
            }
        }
        match upstream.inbound.fill().await {
            Ok(1..) => {}
            Ok(0) => return Err("it closed before an answer came".to_owned()),
            Err(error) => return Err(format!("its connection broke: {error}")),
        }
    }
}

fn answer<R, W>(upstream: Upstream<R, W>, head: ResponseHead, bytes: Bytes) -> Box<Answer<R, W>> {
    let body = BodyReader::new(head.framing);
    Box::new(Answer { upstream, head, bytes, body, request_complete: true })
}

/// Reads the body as far as it may go, and gives the connection back.
async fn finish<N: Net>(
    core: &Rc<Core<N>>,
    attempt: &Attempt<'_>,
    mut answer: AnswerOf<N>,
    bytes_max: usize,
) -> Answered {
    let status = answer.head.status;
    if bytes_max == 0 {
        upstream::discard(core, &attempt.route, answer);
        return Ok((status, Vec::new()));
    }
    let mut body = Vec::new();
    loop {
        match answer.body.pull(answer.upstream.inbound.buffer()) {
            Ok(Pulled::Data(piece)) if body.len() + piece.len() > bytes_max => {
                return Err(format!("its answer is longer than {bytes_max} bytes"));
            }
            Ok(Pulled::Data(piece)) => {
                body.extend_from_slice(&piece);
                continue;
            }
            Ok(Pulled::Done) => break,
            Ok(Pulled::NeedMore) => {}
            Err(error) => return Err(error.message().to_owned()),
        }
        let inbound: &mut Inbound<_> = &mut answer.upstream.inbound;
        match inbound.fill().await {
            Ok(1..) => {}
            Ok(0) if answer.body.end_of_input().is_ok() => return Ok((status, body)),
            Ok(0) => return Err("its answer ended before it was complete".to_owned()),
            Err(error) => return Err(format!("its connection broke: {error}")),
        }
    }
    upstream::recycle(core, &attempt.route, answer);
    Ok((status, body))
}

/// Whether a host has an address that may be connected to.
pub async fn has_address<N: Net>(core: &Rc<Core<N>>, epoch: &Epoch, origin: &Origin) -> bool {
    let found = pin!(core.net.resolve(&origin.host, origin.port));
    let time_is_up = pin!(core.net.sleep_until(core.net.now().after(limits::WEBHOOK_WITHIN)));
    let allowed = |address: std::net::IpAddr| {
        target::check_address(&epoch.config, &core.listeners, origin, address).is_ok()
    };
    match race(found, time_is_up).await {
        First::Left(Ok(addresses)) => addresses.iter().any(|address| allowed(address.ip())),
        _ => false,
    }
}
