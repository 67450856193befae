//! [`Net`] over monoio: io_uring where the kernel allows it, epoll where not.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::TcpStream,
};

use super::{
    buffer::WriteList,
    clock::{Dice, EventClock},
    dns::Resolver,
    net::{Net, Reader, Writer},
};
use crate::base::{
    limits,
    units::{Instant, UnixTime},
};

/// Which event interface a worker runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// The word used in flags and log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Uring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// One core's access to the machine.
#[derive(Clone)]
pub struct Uring {
    core: Rc<Core>,
}

struct Core {
    driver: Driver,
    clock: EventClock,
    dice: Cell<Dice>,
    resolver: Resolver,
    /// Buffers to join short writes in.
    joined: RefCell<Vec<BytesMut>>,
}

impl Uring {
    /// To be made on the thread that runs the event loop.
    #[must_use]
    pub fn new(driver: Driver, clock: EventClock, dice: Dice, resolver: Resolver) -> Uring {
        Uring {
            core: Rc::new(Core {
                driver,
                clock,
                dice: Cell::new(dice),
                resolver,
                joined: RefCell::default(),
            }),
        }
    }

    /// The two halves of a connected stream. Nagle's algorithm is off: an event is never held back.
    pub fn halves(&self, stream: TcpStream) -> (TcpReader, TcpWriter) {
        self.event();
        // A socket that refuses the option is about to fail anyway, and says so on its first read or write.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let net = || self.clone();
        (TcpReader { half: reader, net: net() }, TcpWriter { half: writer, net: net() })
    }

    /// The parts of a short list in one buffer: the kernel's work on a vector costs more than the copy.
    fn join(&self, list: &WriteList) -> BytesMut {
        let mut joined = self.core.joined.borrow_mut().pop().unwrap_or_default();
        joined.clear();
        joined.reserve(limits::JOINED_WRITE_BYTES);
        list.rest().iter().for_each(|part| joined.extend_from_slice(part));
        joined
    }

    /// Takes the buffer of [`Uring::join`] back.
    fn give_joined(&self, joined: BytesMut) {
        let mut free = self.core.joined.borrow_mut();
        if free.len() < limits::JOINED_WRITES_KEPT {
            free.push(joined);
        }
    }

    /// Something has happened: the next look at the clock sees a new time.
    pub fn event(&self) {
        self.core.clock.event();
    }
}

impl Net for Uring {
    type Reader = TcpReader;
    type Writer = TcpWriter;

    fn now(&self) -> Instant {
        self.core.clock.now()
    }

    fn unix_now(&self) -> UnixTime {
        self.core.clock.unix_now()
    }

    fn random(&self) -> u64 {
        let mut dice = self.core.dice.get();
        let value = dice.roll();
        self.core.dice.set(dice);
        value
    }

    async fn sleep_until(&self, at: Instant) {
        if at.nanos == u64::MAX {
            return std::future::pending().await;
        }
        let wait = at.since(self.now());
        if wait > Duration::ZERO {
            monoio::time::sleep(wait).await;
            self.event();
        }
    }

    /// Connects by hand: monoio's own connect future leaks its socket when it is dropped, and a deadline drops it.
    async fn connect(&self, address: SocketAddr) -> io::Result<(TcpReader, TcpWriter)> {
        let socket = begin_connect(address)?;
        // A second descriptor of the same socket, to ask for the outcome once the stream owns the first.
        let probe = socket.try_clone()?;
        let stream = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(socket)))?;
        let connected = stream.writable(false).await;
        self.event();
        connected?;
        if let Some(error) = probe.take_error()? {
            return Err(error);
        }
        // io_uring answers EAGAIN on a non-blocking socket instead of waiting; epoll needs it non-blocking.
        probe.set_nonblocking(self.core.driver == Driver::Epoll)?;
        Ok(self.halves(stream))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.core.resolver.resolve(host, port, self.now()).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(monoio::spawn(task));
    }
}

fn begin_connect(address: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking(), None)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// The receiving half of a TCP connection.
pub struct TcpReader {
    half: OwnedReadHalf<TcpStream>,
    net: Uring,
}

impl Reader for TcpReader {
    async fn read(&mut self, buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
        let (filled, room) = (buffer.len(), buffer.capacity());
        // The slice makes the read append: handed the bare buffer, monoio writes from its start.
        let (result, slice) = self.half.read(buffer.slice_mut(filled..room)).await;
        self.net.event();
        (result, slice.into_inner())
    }
}

/// The sending half of a TCP connection.
pub struct TcpWriter {
    half: OwnedWriteHalf<TcpStream>,
    net: Uring,
}

impl Writer for TcpWriter {
    async fn write(&mut self, mut list: WriteList) -> (io::Result<()>, WriteList) {
        while !list.is_empty() {
            let result;
            if let [only] = list.rest() {
                (result, _) = self.half.write(only.clone()).await;
            } else if list.len() <= limits::JOINED_WRITE_BYTES {
                let (written, joined) = self.half.write(self.net.join(&list)).await;
                self.net.give_joined(joined);
                result = written;
            } else {
                list.prepare();
                (result, list) = self.half.writev(list).await;
            }
            self.net.event();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), list),
                Ok(written) => list.advance(written),
                Err(error) => return (Err(error), list),
            }
        }
        list.clear();
        (Ok(()), list)
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }
}
