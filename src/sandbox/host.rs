//! The sandbox on a thread of its own, listening on loopback.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
};

use super::{Sandbox, server::serve_connection};
use crate::io::{
    clock::Clock,
    dns,
    event::{self, Driver},
    hub::Mailbox,
    kernel::{Kernel, TcpReader, TcpWriter},
    net::Net,
    worker::{self, Serve, Start},
};

/// Starts a sandbox on `address` (port 0: any free one) and tells where it listens. It ends with the process.
pub fn start(
    address: SocketAddr,
    make: impl FnOnce() -> Sandbox + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let (mailbox, ear) = Mailbox::new()?;
    let driver = if event::uring_works() { Driver::Uring } else { Driver::Epoll };
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
    std::thread::Builder::new().name("sandbox".into()).spawn(move || {
        let ended = worker::run(start, |net| Host { net, sandbox: Rc::new(make()) });
        if let Err(error) = ended {
            eprintln!("trunkline: the sandbox ended: {error}");
        }
    })?;
    Ok(address)
}

struct Host {
    net: Kernel,
    sandbox: Rc<Sandbox>,
}

impl Serve for Host {
    fn connected(&self, reader: TcpReader, writer: TcpWriter, _peer: SocketAddr) {
        let net = self.net.clone();
        let sandbox = Rc::clone(&self.sandbox);
        self.net.spawn(async move { serve_connection(net, reader, writer, sandbox).await });
    }

    fn drain(&self) {}

    fn cut(&self) {}

    async fn drained(&self) {}
}
