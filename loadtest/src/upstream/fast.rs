//! The fast upstream: one thread, one read and one write a request, answers from memory.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    net::{SocketAddr, TcpListener},
    rc::Rc,
};

use bytes::{Buf, Bytes, BytesMut};
use trunkline::{
    base::units::Instant,
    io::{
        buffer::WriteList,
        clock::Clock,
        dns,
        event::Driver,
        hub::Mailbox,
        kernel::{Kernel, TcpReader, TcpWriter},
        net::{Net, Reader, Writer},
        worker::{self, Serve, Start},
    },
    sandbox::{Sandbox, script::Script, wire::Step},
};

use super::{
    known::{Known, REFUSAL},
    request::{Found, find},
};
use crate::args::Freeze;

/// Starts it on a thread of its own and tells where it listens. It ends with the process.
///
/// # Errors
/// If the address or the event loop cannot be had.
pub fn start(
    address: SocketAddr,
    script: Script,
    freeze: Option<Freeze>,
    driver: Driver,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let (mailbox, ear) = Mailbox::new()?;
    let start = Start {
        number: 0,
        core: None,
        driver,
        clock: Clock::start(),
        listener,
        questions: dns::start_threads()?,
        mailbox,
        ear,
    };
    std::thread::Builder::new().name("upstream".into()).spawn(move || {
        let ended = worker::run(start, |net| {
            let known = RefCell::new(Known::new(Sandbox::new().scripted(script)));
            let (freeze, first) = (freeze, Cell::new(None));
            Host { net, shared: Rc::new(Shared { known, freeze, first }) }
        });
        if let Err(error) = ended {
            eprintln!("trunkline-load: the upstream ended: {error}");
        }
    })?;
    Ok(address)
}

struct Host {
    net: Kernel,
    shared: Rc<Shared>,
}

struct Shared {
    known: RefCell<Known>,
    freeze: Option<Freeze>,
    /// When the first request came.
    first: Cell<Option<Instant>>,
}

impl Serve for Host {
    fn connected(&self, reader: TcpReader, writer: TcpWriter, _peer: SocketAddr) {
        let (net, shared) = (self.net.clone(), Rc::clone(&self.shared));
        let (buffer, list) = (BytesMut::new(), WriteList::new());
        let connection = Connection { net, shared, reader, writer, buffer, list };
        // A connection that ends, however it ends, concerns nobody else.
        self.net.spawn(async move { drop(connection.serve().await) });
    }

    fn drain(&self) {}

    fn cut(&self) {}

    async fn drained(&self) {}
}

impl Shared {
    /// When an answer to a request that came at `now` may be given.
    fn not_before(&self, now: Instant) -> Instant {
        let Some(freeze) = self.freeze else { return now };
        let first = self.first.get().unwrap_or(now);
        self.first.set(Some(first));
        let since = now.since(first);
        if freeze.from <= since && since < freeze.to { first.after(freeze.to) } else { now }
    }
}

struct Connection {
    net: Kernel,
    shared: Rc<Shared>,
    reader: TcpReader,
    writer: TcpWriter,
    buffer: BytesMut,
    list: WriteList,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        loop {
            self.fill().await?;
            loop {
                match find(&self.buffer) {
                    Found::Part => break,
                    Found::Refused => return self.write(Bytes::from_static(REFUSAL)).await,
                    Found::Whole(seen) => {
                        let unix_now = self.net.unix_now();
                        let steps =
                            self.shared.known.borrow_mut().answer(&self.buffer, &seen, unix_now);
                        self.consume(seen.bytes);
                        self.play(&steps).await?;
                        if seen.close {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let (result, buffer) = self.reader.read(mem::take(&mut self.buffer)).await;
        self.buffer = buffer;
        match result? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn consume(&mut self, count: usize) {
        if count == self.buffer.len() {
            // Keeps its capacity, which advancing would use up.
            self.buffer.clear();
        } else {
            self.buffer.advance(count);
        }
    }

    async fn play(&mut self, steps: &[Step]) -> io::Result<()> {
        if let ([only], None) = (steps, self.shared.freeze)
            && only.at.is_zero()
        {
            return self.write(only.bytes.clone()).await;
        }
        let start = self.shared.not_before(self.net.now());
        for step in steps {
            self.net.sleep_until(start.after(step.at)).await;
            self.write(step.bytes.clone()).await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.list.push(bytes);
        let (result, list) = self.writer.write(mem::take(&mut self.list)).await;
        self.list = list;
        result
    }
}
