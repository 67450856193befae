//! The admin interface: what operators ask of a running gateway and tell it, on a port and a thread of its own.
//! Nothing here is hot, and a tokio runtime lives here and nowhere else.

mod answer;
mod door;
mod explain;
mod families;
mod metrics;
mod page;
mod routes;
mod show;
mod targets;
pub mod token;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    runtime::Runtime,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
};

use super::{gateway::Event, reload::Reloads, slow::SlowRequests};
use crate::{
    base::{limits, units::UnixTime},
    config::Config,
    io::{clock::Clock, event::Driver, hub::Hub, log::LogCounters},
    journal::metrics::Counters,
};
use token::Tokens;

/// What the admin interface sees of the process.
pub struct Process {
    /// The published epoch and whether the process is draining.
    pub hub: Arc<Hub>,
    /// What became of the reloads.
    pub reloads: Arc<Reloads>,
    /// One a worker.
    pub counters: Vec<Arc<Counters>>,
    /// The log's; `None`: it is off.
    pub log: Option<Arc<LogCounters>>,
    /// The slow requests.
    pub slow: Arc<SlowRequests>,
    /// What the workers run on.
    pub driver: Driver,
    /// The process's clock.
    pub clock: Clock,
    /// When the process started.
    pub started: UnixTime,
    /// Where the main thread hears.
    pub(super) events: mpsc::Sender<Event>,
}

/// The admin port, taken and not served yet: what can be refused is refused before the gateway starts.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tokens: Tokens,
}

/// Takes the port and makes sure that there is a token; `None`: the interface is off.
pub fn bind(config: &Config) -> Result<Option<Bound>, String> {
    let Some(admin) = &config.admin else { return Ok(None) };
    let listener =
        TcpListener::bind(admin.listen).map_err(|error| refused(admin.listen, &error))?;
    let address = listener.local_addr().map_err(|error| refused(admin.listen, &error))?;
    let tokens = Tokens::new(&config.state);
    let token = match admin.token {
        Some(_) => "its token is in the configuration".to_owned(),
        None => {
            tokens.make_sure()?;
            format!("its token is in {}", tokens.path().display())
        }
    };
    eprintln!("trunkline: the admin interface listens on http://{address}, {token}");
    Ok(Some(Bound { listener, address, tokens }))
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    let next = address.port().wrapping_add(1).max(1024);
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "trunkline: {address}, the admin interface's address, is in use by another process: stop that one, \
             choose another with --admin {}:{next} or `admin.listen` in the file, or turn it off with --admin off",
            address.ip(),
        ),
        _ => format!("trunkline: the admin interface cannot listen on {address}: {error}"),
    }
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own.
    pub fn serve(self, process: Process) -> Result<Server, String> {
        let told = |error: io::Error| format!("trunkline: the admin interface: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(told)?;
        self.listener.set_nonblocking(true).map_err(told)?;
        let on_loopback = self.address.ip().is_loopback();
        let gate = routes::Gate { process, tokens: self.tokens, on_loopback };
        let (stop, stopped) = oneshot::channel();
        let listener = self.listener;
        let run = move || run(&runtime, listener, gate, stopped);
        let thread = std::thread::Builder::new().name("admin".into()).spawn(run).map_err(told)?;
        Ok(Server { stop, thread })
    }
}

/// The admin interface at work.
pub struct Server {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Closes the port and ends the thread.
    pub fn stop(self) {
        // Gone already means that it has stopped by itself.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            eprintln!("trunkline: the admin interface ended with an error");
        }
    }
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    gate: routes::Gate,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        tokio::spawn(accept(listener, gate));
        // Both a word and a sender that is gone mean the end; connections end with the runtime.
        let _ = stopped.await;
    });
}

async fn accept(listener: TcpListener, gate: routes::Gate) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("trunkline: the admin interface: {error}"),
    };
    let service = TowerToHyperService::new(routes::router(Arc::new(gate)));
    let places = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(TokioIo::new(stream), service.clone(), place));
            }
            // Out of descriptors, or a connection reset in the queue: let others finish first.
            Err(_) => tokio::time::sleep(limits::ADMIN_ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(
    stream: TokioIo<tokio::net::TcpStream>,
    service: TowerToHyperService<axum::Router>,
    place: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::ADMIN_HEAD_WITHIN)
        .max_headers(limits::ADMIN_HEADERS_MAX)
        .max_buf_size(limits::ADMIN_HEAD_BYTES_MAX)
        .serve_connection(stream, service);
    // A client that misbehaves has been answered as far as it can be.
    let _ = tokio::time::timeout(limits::ADMIN_CONNECTION_FOR, connection).await;
    drop(place);
}
