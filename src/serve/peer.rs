//! Who is at the other end of a client connection, where trusted proxies stand between: the PROXY protocol before a
//! connection's first byte, and `X-Forwarded-For` in each request.

use std::{future::poll_fn, net::SocketAddr, pin::pin, rc::Rc, task::Poll};

use bytes::{Buf, BytesMut};

use super::{Core, client::Client, connection::Incoming};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
    },
    config::Config,
    io::{
        net::{Net, Reader, Writer},
        race::{First, race},
    },
    policy::client_address,
    wire::proxy::{self, Prefix, ProxyError},
};

/// A connection whose client is known.
pub struct Arrived<R> {
    /// What it sends.
    pub reader: R,
    /// What it has sent already.
    pub received: BytesMut,
    /// The client's address.
    pub peer: SocketAddr,
    /// What is wrong with its PROXY header.
    pub error: Option<ProxyError>,
}

impl<R: Reader> Arrived<R> {
    /// From the client itself.
    pub fn directly(reader: R, peer: SocketAddr) -> Arrived<R> {
        Arrived { reader, received: BytesMut::new(), peer, error: None }
    }
}

/// Reads the PROXY header of a trusted peer, if it sends one. `None`: the connection ended, or idled too long.
pub async fn arrive<N: Net>(
    core: &Core<N>,
    reader: N::Reader,
    peer: SocketAddr,
    tls: bool,
) -> Option<Arrived<N::Reader>> {
    let mut arrived = Arrived::directly(reader, peer);
    let timer = core.wheel.timer();
    // Before a handshake, its own time holds.
    let first_byte_within = if tls { limits::HANDSHAKE_WITHIN } else { limits::KEEP_ALIVE_FOR };
    let mut deadline = core.net.now().after(first_byte_within);
    loop {
        match proxy::look(&arrived.received) {
            Ok(Prefix::NeedMore) => {}
            Ok(Prefix::Absent) => return Some(arrived),
            Ok(Prefix::Header { len, client }) => {
                arrived.received.advance(len);
                arrived.peer = client.map_or(peer, client_address::canonical);
                return Some(arrived);
            }
            Err(error) => {
                arrived.error = Some(error);
                return Some(arrived);
            }
        }
        let begun = !arrived.received.is_empty();
        let buffer = std::mem::take(&mut arrived.received);
        let read = pin!(arrived.reader.read(buffer));
        // A drain wakes every wait, and so has this looked at again; what was begun is finished.
        let drain = poll_fn(|_| match core.draining.get() && !begun {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        match timer.within(&core.net, deadline, race(read, drain)).await {
            Ok(First::Left((Ok(1..), filled))) => arrived.received = filled,
            _ => return None,
        }
        if !begun {
            deadline = core.net.now().after(limits::HEAD_WITHIN);
        }
    }
}

/// The fault of a PROXY header that is none.
pub fn malformed(error: ProxyError) -> Fault {
    Fault::new(Stage::Head, Source::Client, Kind::BadRequest, error.message())
}

/// The address that the record of a request names.
pub fn address<N: Net, R: Reader, W: Writer>(
    client: &Client<N, R, W>,
    incoming: &Incoming,
    config: &Config,
) -> Rc<str> {
    if config.edge.trusted_proxies.is_empty() {
        return Rc::clone(&client.address);
    }
    let forwarded = incoming.head().all(incoming.bytes(), "x-forwarded-for");
    match client_address::behind(client.peer.ip(), forwarded, &config.edge.trusted_proxies) {
        Some(hop) => Rc::from(hop.to_string()),
        None => Rc::clone(&client.address),
    }
}
