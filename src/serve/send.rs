//! A request on its way to an upstream, which may answer before it has all of it.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    client::Interrupted,
    upstream::{Attempt, Failed, UpstreamOf, unreachable},
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Deadline, Fault, Kind, Source, Stage},
        limits,
    },
    io::{
        buffer::WriteList,
        inbound::Inbound,
        net::{Net, Reader, Writer},
        pool::{Route, Upstream},
    },
};

/// Writes the request. `Ok(false)`: the upstream answered before all of it was out.
pub async fn send<N: Net, P: Waiter<N>>(
    waiter: &mut P,
    attempt: &Attempt<'_>,
    upstream: &mut UpstreamOf<N>,
) -> Result<bool, Failed> {
    let mut list = waiter.core().lists.take();
    list.extend(attempt.request.iter().cloned());
    let floor = Duration::from_secs(list.len() as u64 / limits::SEND_BYTES_PER_SECOND_MIN);
    let within = attempt.first_byte_within.saturating_add(floor);
    let deadline = attempt.by(waiter.now().after(within));
    let write = write_unless_answered(upstream, &mut list);
    let written = waiter.unless_gone(deadline, write).await;
    waiter.core().lists.give(list);
    match written {
        Ok(Ok(complete)) => Ok(complete),
        Ok(Err(error)) => {
            let message = format!("the request could not be sent: {error}");
            Err(unreachable(attempt, &message).into())
        }
        Err(Interrupted::ClientGone) => Err(Failed::ClientGone),
        Err(Interrupted::Deadline) => {
            Err(attempt.ran_out(deadline, Stage::Send, send_timeout(attempt)))
        }
    }
}

/// Writes a part of a request. `Ok(false)`: the upstream answered before it had all of it; then the connection serves
/// no other request.
pub fn write_unless_answered<R: Reader, W: Writer>(
    upstream: &mut Upstream<R, W>,
    list: &mut WriteList,
) -> impl Future<Output = io::Result<bool>> + Unpin {
    let Upstream { inbound, writer, .. } = upstream;
    // The read is posted with the write, in one submission; what it brings early is an answer all the same.
    poll_fn(move |cx| {
        let written = writer.poll_write(cx, list);
        if let Poll::Ready(Ok(())) = written {
            return Poll::Ready(Ok(true));
        }
        if has_early_answer(inbound, cx) {
            return Poll::Ready(Ok(false));
        }
        // An upstream that closes or breaks fails the write too, which says more.
        written.map_ok(|()| true)
    })
}

/// Whether more than 1xx answers has come.
fn has_early_answer<R: Reader>(inbound: &mut Inbound<R>, cx: &mut Context<'_>) -> bool {
    while let Poll::Ready(Ok(1..)) = inbound.poll_fill(cx) {
        if !is_only_interim(inbound.buffer()) {
            return true;
        }
    }
    false
}

/// Whether these bytes, as far as they go, are 1xx answers and nothing else: then the rest of the request is wanted.
/// More of them than any head may have is taken for an answer, for whoever reads it to refuse.
pub fn is_only_interim(mut bytes: &[u8]) -> bool {
    if bytes.len() > limits::UPSTREAM_HEAD_BYTES_MAX {
        return false;
    }
    while !bytes.is_empty() {
        let start = &bytes[..bytes.len().min(INTERIM_START.len())];
        if !INTERIM_START.starts_with(start) {
            return false;
        }
        match memchr::memmem::find(bytes, b"\r\n\r\n") {
            Some(end) => bytes = &bytes[end + 4..],
            None => return true,
        }
    }
    true
}

fn send_timeout(attempt: &Attempt<'_>) -> Fault {
    let Route { host, port, .. } = &attempt.route;
    let message = format!("upstream {host}:{port} did not take the request in time");
    Fault::new(Stage::Send, Source::Network, Kind::Timeout(Deadline::Send), message)
}

const INTERIM_START: &[u8] = b"HTTP/1.1 1";
