//! Opening an upstream connection: resolve, connect to the first address that takes one, shake hands.

use std::{io, net::SocketAddr, pin::pin, sync::Arc};

use super::{
    client::Interrupted,
    tunnel,
    upstream::{AddressRule, Attempt, Failed, UpstreamOf, unreachable},
    waiter::Waiter,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        units::Instant,
    },
    io::{
        inbound::Inbound,
        net::Net,
        pool::{Route, Upstream},
        race::{First, race},
        tls::{self, MaybeTlsReader, MaybeTlsWriter},
    },
    journal::metrics::UpstreamPlace,
};

/// Opens a connection to the first address that takes one.
pub async fn open<N: Net, P: Waiter<N>>(
    waiter: &mut P,
    attempt: &Attempt<'_>,
) -> Result<UpstreamOf<N>, Failed> {
    let net = waiter.core().net.clone();
    let deadline = attempt.by(attempt.connect_by);
    let opening = pin!(connect(&net, attempt, deadline));
    let (reader, writer) = match waiter.unless_gone(deadline, opening).await {
        Ok(opened) => opened?,
        Err(Interrupted::ClientGone) => return Err(Failed::ClientGone),
        Err(Interrupted::Deadline) => {
            return Err(attempt.ran_out(deadline, Stage::Connect, connect_timeout(attempt)));
        }
    };
    waiter.core().counters.upstream_connections.add(1);
    let place = UpstreamPlace::take(&waiter.core().counters);
    let inbound = Inbound::new(reader);
    Ok(Upstream { inbound, writer, place })
}

/// Connects to the first address that takes it, or through the egress proxy.
pub async fn connect<N: Net>(
    net: &N,
    attempt: &Attempt<'_>,
    deadline: Instant,
) -> Result<Halves<N>, Fault> {
    if let Some(proxy) = &attempt.route.via {
        return Box::pin(tunnel::open(net, attempt, proxy, deadline)).await;
    }
    let addresses = net
        .resolve(&attempt.route.host, attempt.route.port)
        .await
        .map_err(|error| unreachable(attempt, &format!("its name has no address: {error}")))?;
    let to = async |address: SocketAddr, _: Instant| connect_one(net, attempt, address).await;
    first_of(net, attempt, &addresses, attempt.allowed, deadline, to).await
}

/// Both halves of a connection to an upstream.
pub type Halves<N> = (MaybeTlsReader<<N as Net>::Reader>, MaybeTlsWriter<<N as Net>::Writer>);

/// What the first of these addresses that takes a connection makes of it. `connect` is told by when it should be done,
/// and is given up then.
pub async fn first_of<N: Net, T>(
    net: &N,
    attempt: &Attempt<'_>,
    addresses: &[SocketAddr],
    allowed: AddressRule<'_>,
    deadline: Instant,
    connect: impl AsyncFn(SocketAddr, Instant) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut last = unreachable(attempt, "its name has no address");
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        // Checked at each connect and connected to as checked: a name that changes its mind gains nothing.
        allowed(address.ip())?;
        attempt.shaking_hands.set(false);
        // An address that does not answer must leave time for those after it; the last one has it all.
        let share = deadline.since(net.now()) / u32::try_from(left).unwrap_or(u32::MAX);
        let (by, give_up) = match left {
            1 => (deadline, Instant { nanos: u64::MAX }),
            _ => (net.now().after(share), net.now().after(share)),
        };
        let connected = pin!(connect(*address, by));
        let time_is_up = pin!(net.sleep_until(give_up));
        match race(connected, time_is_up).await {
            First::Left(Ok(made)) => return Ok(made),
            First::Left(Err(fault)) => last = fault,
            First::Right(()) => last = connect_timeout(attempt),
        }
    }
    Err(last)
}

/// Connects to one address.
pub async fn connect_one<N: Net>(
    net: &N,
    attempt: &Attempt<'_>,
    address: SocketAddr,
) -> Result<Halves<N>, Fault> {
    let connected = net.connect(address).await;
    let (reader, writer) = connected.map_err(|error| unreachable(attempt, &error.to_string()))?;
    secured::<N>(attempt, reader, writer).await
}

/// TLS over a connection to the upstream, if its route has it.
pub async fn secured<N: Net>(
    attempt: &Attempt<'_>,
    reader: N::Reader,
    writer: N::Writer,
) -> Result<Halves<N>, Fault> {
    let shaken = match &attempt.tls {
        Some(config) => {
            attempt.shaking_hands.set(true);
            tls::connect(Arc::clone(config), &attempt.route.host, reader, writer).await
        }
        None if attempt.route.tls => Err(io::Error::other("no trust store was loaded for it")),
        None => Ok((MaybeTlsReader::Plain(reader), MaybeTlsWriter::Plain(writer))),
    };
    shaken.map_err(|error| unreachable(attempt, &error.to_string()))
}

fn connect_timeout(attempt: &Attempt<'_>) -> Fault {
    let Route { host, port, via, .. } = &attempt.route;
    let millis = attempt.connect_within.as_millis();
    let what = match attempt.shaking_hands.get() {
        true => "took the connection, but did not answer the TLS handshake",
        false => "took no connection",
    };
    let mut message =
        format!("upstream {host}:{port} {what} within timeouts.connect ({millis} ms)");
    if let Some(proxy) = via {
        message.push_str(", asked for through the egress proxy ");
        message.push_str(&proxy.authority);
    }
    Fault::new(Stage::Connect, Source::Network, Kind::ConnectTimeout, message)
}
