//! Opening an upstream connection: resolve, connect to the first address that takes one, shake hands.

use std::{io, net::SocketAddr, pin::pin, sync::Arc};

use super::{
    client::{Client, Interrupted},
    upstream::{Attempt, Failed, UpstreamOf, unreachable},
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        units::Instant,
    },
    io::{
        buffer::WriteList,
        inbound::Inbound,
        net::{Net, Reader, Writer},
        pool::{Route, Upstream},
        race::{First, race},
        tls::{self, MaybeTlsReader, MaybeTlsWriter},
    },
    journal::metrics::UpstreamPlace,
};

/// Opens a connection to the first address that takes one.
pub async fn open<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    attempt: &Attempt<'_>,
) -> Result<UpstreamOf<N>, Failed> {
    let net = client.core.net.clone();
    let deadline = attempt.by(attempt.connect_by);
    let opening = pin!(async {
        let addresses = net
            .resolve(&attempt.route.host, attempt.route.port)
            .await
            .map_err(|error| unreachable(attempt, &format!("its name has no address: {error}")))?;
        connect_any(&net, attempt, &addresses, deadline).await
    });
    let (reader, writer) = match client.unless_gone(deadline, opening).await {
        Ok(opened) => opened?,
        Err(Interrupted::ClientGone) => return Err(Failed::ClientGone),
        Err(Interrupted::Deadline) => {
            return Err(attempt.ran_out(deadline, Stage::Connect, connect_timeout(attempt)));
        }
    };
    client.core.counters.upstream_connections.add(1);
    let place = UpstreamPlace::take(&client.core.counters);
    let inbound = Inbound::new(reader, client.core.pages.clone());
    Ok(Upstream { inbound, writer, spare: WriteList::new(), place })
}

type Halves<N> = (MaybeTlsReader<<N as Net>::Reader>, MaybeTlsWriter<<N as Net>::Writer>);

async fn connect_any<N: Net>(
    net: &N,
    attempt: &Attempt<'_>,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<Halves<N>, Fault> {
    let mut last = unreachable(attempt, "its name has no address");
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        // Checked at each connect and connected to as checked: a name that changes its mind gains nothing.
        (attempt.allowed)(address.ip())?;
        // An address that does not answer must leave time for those after it; the last one has it all.
        let share = deadline.since(net.now()) / u32::try_from(left).unwrap_or(u32::MAX);
        let give_up = if left == 1 { Instant { nanos: u64::MAX } } else { net.now().after(share) };
        let connected = pin!(connect_one(net, attempt, *address));
        let time_is_up = pin!(net.sleep_until(give_up));
        match race(connected, time_is_up).await {
            First::Left(Ok(halves)) => return Ok(halves),
            First::Left(Err(error)) => last = unreachable(attempt, &error.to_string()),
            First::Right(()) => last = connect_timeout(attempt),
        }
    }
    Err(last)
}

async fn connect_one<N: Net>(
    net: &N,
    attempt: &Attempt<'_>,
    address: SocketAddr,
) -> io::Result<Halves<N>> {
    let (reader, writer) = net.connect(address).await?;
    match &attempt.tls {
        Some(config) => tls::connect(Arc::clone(config), &attempt.route.host, reader, writer).await,
        None if attempt.route.tls => Err(io::Error::other("no trust store was loaded for it")),
        None => Ok((MaybeTlsReader::Plain(reader), MaybeTlsWriter::Plain(writer))),
    }
}

fn connect_timeout(attempt: &Attempt<'_>) -> Fault {
    let Route { host, port, .. } = &attempt.route;
    let message = format!("upstream {host}:{port} took no connection within timeouts.connect");
    Fault::new(Stage::Connect, Source::Network, Kind::ConnectTimeout, message)
}
