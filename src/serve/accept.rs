//! From an accepted socket to a served connection: the cap, TLS, and the drain.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};

use super::{
    Core,
    client::Client,
    connection,
    guard::guard,
    peer::{self, Arrived},
    tend::tend,
};
use crate::{
    base::{limits, units::counted},
    io::{
        net::{Net, Writer},
        race::race,
        tls::{self, MaybeTlsReader, MaybeTlsWriter, ServerConfig},
    },
    journal::metrics::Counters,
    policy::client_address,
    wire::proxy::ProxyError,
};

/// What a worker runs: the gateway on one core.
pub struct Gateway<N: Net> {
    core: Rc<Core<N>>,
    connections: Rc<Connections>,
    connections_max: usize,
}

/// Counts a core's connections, and tells when the last one has gone.
struct Connections {
    open: Cell<usize>,
    counters: Arc<Counters>,
    waiting: RefCell<Option<Waker>>,
}

/// One connection's place in the count.
struct Place(Rc<Connections>);

impl Connections {
    fn set(&self, open: usize) {
        self.open.set(open);
        self.counters.connections_open.set(open);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.open.get() - 1);
        if self.0.open.get() == 0
            && let Some(waker) = self.0.waiting.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

impl<N: Net> Gateway<N> {
    /// The gateway on `core`, and its background tasks.
    pub fn new(core: Core<N>, connections_max: usize) -> Gateway<N> {
        let core = Rc::new(core);
        core.net.spawn(core.wheel.clone().run(core.net.clone()));
        core.net.spawn(tend(Rc::clone(&core)));
        let counters = Arc::clone(&core.counters);
        counters.connections_max.set(connections_max);
        let connections = Connections { open: Cell::new(0), counters, waiting: RefCell::default() };
        Gateway { core, connections: Rc::new(connections), connections_max }
    }

    /// Begins to serve one connection; returns at once.
    pub fn connected(&self, reader: N::Reader, writer: N::Writer, peer: SocketAddr) {
        let peer = client_address::canonical(peer);
        let core = Rc::clone(&self.core);
        core.counters.connections.add(1);
        if self.connections.open.get() >= self.connections_max {
            core.counters.connections_refused.add(1);
            core.net.spawn(refuse(writer));
            return;
        }
        self.connections.set(self.connections.open.get() + 1);
        let place = Place(Rc::clone(&self.connections));
        let tls = core.epoch().server_tls.clone();
        let net = core.net.clone();
        // Boxed: what is needed to arrive goes when the client is there.
        let arriving = Box::pin(arrive(core, tls, reader, writer, peer));
        net.spawn(async move {
            // A panic outside an exchange has nobody to answer to: the hook has said it, the connection closes.
            let _ = guard(pin!(serve(arriving))).await;
            drop(place);
        });
    }

    /// Stop: idle connections are closed, the others after their answer.
    pub fn drain(&self) {
        self.core.draining.set(true);
        self.core.pool.borrow_mut().clear();
        self.core.note_pool();
        self.core.wheel.wake_all();
    }

    /// Stop now: what is under way is told that it ends here, and makes its record.
    pub fn cut(&self) {
        self.core.cutting.set(true);
        self.core.wheel.end_by(self.core.net.now().after(limits::CUT_WITHIN));
    }

    /// Waits until all connections have ended. They are cut when the drain deadline has passed, if not before.
    pub async fn drained(&self) {
        let Core { net, wheel, cutting, .. } = &*self.core;
        // Of the wheel, whose waits a cut ends.
        let timer = wheel.timer();
        let deadline = net.now().after(limits::DRAIN_FOR);
        if timer.within(net, deadline, self.all_gone()).await.is_ok() {
            return;
        }
        if !cutting.get() {
            let open = self.connections.open.get() as u64;
            let open = counted(open, "connection was", "connections were");
            eprintln!("trunkline: {open} still open after {:?} and cut", limits::DRAIN_FOR);
            self.cut();
        }
        let deadline = net.now().after(2 * limits::CUT_WITHIN);
        let time_is_up = pin!(net.sleep_until(deadline));
        // Those whose waits did not end for it are dropped as they are.
        race(self.all_gone(), time_is_up).await;
    }

    fn all_gone(&self) -> impl Future<Output = ()> + Unpin {
        poll_fn(|cx| {
            if self.connections.open.get() == 0 {
                return self.core.mirrors.poll_none(cx);
            }
            *self.connections.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

async fn serve<N: Net>(
    arriving: Pin<Box<impl Future<Output = Option<(Connected<N>, Option<ProxyError>)>>>>,
) {
    // The client stays where it is put: taken out, it would have two places.
    let mut arrived = arriving.await;
    match &mut arrived {
        None => {}
        Some((client, None)) => connection::serve(client).await,
        Some((client, Some(error))) => {
            let fault = peer::malformed(*error);
            Box::pin(connection::refuse(client, &fault)).await;
        }
    }
}

/// A client as an exchange sees one.
type Connected<N> =
    Client<N, MaybeTlsReader<<N as Net>::Reader>, MaybeTlsWriter<<N as Net>::Writer>>;

/// Takes the PROXY header and shakes hands, as far as there is need. A client that speaks wrongly is still to be told.
async fn arrive<N: Net>(
    core: Rc<Core<N>>,
    tls: Option<Arc<ServerConfig>>,
    reader: N::Reader,
    writer: N::Writer,
    peer: SocketAddr,
) -> Option<(Connected<N>, Option<ProxyError>)> {
    let mut arrived = Arrived::directly(reader, peer);
    if core.epoch().config.edge.trusted_proxies.contains(peer.ip()) {
        arrived = peer::arrive(&core, arrived.reader, peer, tls.is_some()).await?;
    }
    let Arrived { reader, mut received, peer, error } = arrived;
    if error.is_some() && tls.is_some() {
        // Who waits for a handshake cannot read an answer.
        core.counters.malformed_heads.add(1);
        return None;
    }
    let (reader, writer) = match tls {
        None => (MaybeTlsReader::Plain(reader), MaybeTlsWriter::Plain(writer)),
        Some(config) => {
            let deadline = core.net.now().after(limits::HANDSHAKE_WITHIN);
            let timer = core.wheel.timer();
            let received = std::mem::take(&mut received);
            let handshake = Box::pin(tls::accept(config, reader, writer, received));
            let shaken = timer.within(&core.net, deadline, handshake).await;
            let Ok(Ok(halves)) = shaken else {
                core.counters.tls_failures.add(1);
                return None;
            };
            halves
        }
    };
    let mut client = Client::new(core, reader, writer, peer);
    *client.inbound.buffer() = received;
    Some((client, error))
}

/// Over the cap: said in a few bytes, without reading anything.
async fn refuse<W: Writer>(mut writer: W) {
    let answer = bytes::Bytes::from_static(super::rescue::TOO_MANY_CONNECTIONS);
    let _ = writer.write(crate::io::buffer::WriteList::of(answer)).await;
    let _ = writer.shutdown().await;
}
