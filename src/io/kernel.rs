//! [`Net`] over the kernel: TCP on the event loop of one core.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use rustix::net::SocketFlags;

use super::{
    buffer::WriteList,
    clock::Dice,
    dns::Resolver,
    event::{Descriptor, EventLoop, Way},
    net::{Extent, Net, Reader, Writer},
};
use crate::base::units::{Instant, UnixTime};

/// One core's access to the machine.
#[derive(Clone)]
pub struct Kernel {
    core: Rc<Core>,
}

struct Core {
    events: EventLoop,
    dice: Cell<Dice>,
    resolver: Resolver,
}

impl Kernel {
    /// To be made on the thread that runs the event loop.
    #[must_use]
    pub fn new(events: EventLoop, dice: Dice, resolver: Resolver) -> Kernel {
        Kernel { core: Rc::new(Core { events, dice: Cell::new(dice), resolver }) }
    }

    /// The core's event loop.
    #[must_use]
    pub fn events(&self) -> &EventLoop {
        &self.core.events
    }

    /// The two halves of a connected socket. Nagle's algorithm is off: an event is never held back.
    fn halves(stream: Rc<Descriptor>) -> (TcpReader, TcpWriter) {
        // A socket that refuses the option is about to fail anyway, and says so on its first read or write.
        let _ = stream.with(|fd| rustix::net::sockopt::set_tcp_nodelay(fd, true));
        (TcpReader { stream: Rc::clone(&stream) }, TcpWriter { stream })
    }
}

impl Net for Kernel {
    type Reader = TcpReader;
    type Writer = TcpWriter;

    fn now(&self) -> Instant {
        self.core.events.clock().now()
    }

    fn unix_now(&self) -> UnixTime {
        self.core.events.clock().unix_now()
    }

    fn random(&self) -> u64 {
        let mut dice = self.core.dice.get();
        let value = dice.roll();
        self.core.dice.set(dice);
        value
    }

    async fn sleep_until(&self, at: Instant) {
        self.core.events.sleep_until(at).await;
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<(TcpReader, TcpWriter)> {
        let socket = Rc::new(self.core.events.add(begin_connect(address)?, false)?);
        poll_fn(|cx| socket.poll_connected(cx)).await?;
        Ok(Kernel::halves(socket))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.core.resolver.resolve(host, port, self.now()).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.core.events.spawn(task);
    }

    fn expect(&self, kept: usize, extents: &[Extent]) {
        self.core.events.expect(kept, extents);
    }
}

/// A socket that is on its way to `address`. Later calls say themselves that they do not want to wait: a ring does not
/// wait for a socket that is marked as one that never does.
fn begin_connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking(), None)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => {
            socket.set_nonblocking(false)?;
            Ok(socket.into())
        }
    }
}

/// A listening socket of a core.
pub struct Listener {
    socket: Descriptor,
}

impl Listener {
    /// Takes a listening socket into the core's event loop.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn new(kernel: &Kernel, listener: TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener { socket: kernel.events().add(listener.into(), true)? })
    }

    /// The next connection. May be dropped: none is lost.
    pub async fn accept(&self) -> io::Result<(TcpReader, TcpWriter, SocketAddr)> {
        let accept = |fd: std::os::fd::BorrowedFd<'_>| {
            rustix::net::acceptfrom_with(fd, SocketFlags::CLOEXEC)
        };
        let (fd, peer) = poll_fn(|cx| self.socket.poll_io(Way::In, cx, accept)).await?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let peer = peer.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = Rc::new(self.socket.events().add(fd, true)?);
        let (reader, writer) = Kernel::halves(stream);
        Ok((reader, writer, peer))
    }
}

/// The receiving half of a TCP connection.
pub struct TcpReader {
    stream: Rc<Descriptor>,
}

impl Reader for TcpReader {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_receive(cx, buffer)
    }
}

/// The sending half of a TCP connection.
pub struct TcpWriter {
    stream: Rc<Descriptor>,
}

impl Writer for TcpWriter {
    fn poll_write(&mut self, cx: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>> {
        self.stream.poll_send(cx, list)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}
