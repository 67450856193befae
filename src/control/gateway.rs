//! The gateway process: bind, start the workers and the admin interface, wait for signals, drain, close the log.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use super::{
    admin,
    load::{self, Origin, Overrides},
    reload::{self, Outcome, Reloader},
    slow::SlowRequests,
};
use crate::{
    base::limits,
    config::{Config, Workers},
    io::{
        clock::{Clock, Dice},
        dns,
        event::{self, Driver},
        hub::{Hub, Mailbox},
        kernel::{Kernel, TcpReader, TcpWriter},
        log::{LogSender, LogWriter, system_clock},
        worker::{self, Serve, Start},
    },
    journal::metrics::Counters,
    serve::{Core, accept::Gateway, guard},
};

/// How to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the configuration comes from.
    pub origin: Origin,
    /// What flags set over it.
    pub overrides: Overrides,
    /// The event interface; `None`: io_uring if it works.
    pub driver: Option<Driver>,
}

impl Serve for Gateway<Kernel> {
    fn connected(&self, reader: TcpReader, writer: TcpWriter, peer: SocketAddr) {
        Gateway::connected(self, reader, writer, peer);
    }

    fn drain(&self) {
        Gateway::drain(self);
    }

    fn cut(&self) {
        Gateway::cut(self);
    }

    async fn drained(&self) {
        Gateway::drained(self).await;
    }
}

/// Runs until a signal ends it. `ready` is called once the gateway answers.
pub fn run(plan: Plan, ready: impl FnOnce(&Running)) -> ExitCode {
    guard::install_hook();
    match start(plan) {
        Ok(running) => {
            ready(&running);
            running.wait()
        }
        Err(refusal) => {
            eprintln!("{}", refusal.trim_end());
            ExitCode::from(1)
        }
    }
}

/// A gateway that runs.
pub struct Running {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Whether they must speak TLS.
    pub tls: bool,
    /// The request log's directory; `None`: it is off.
    pub log_dir: Option<PathBuf>,
    hub: Arc<Hub>,
    reloader: Reloader,
    slow: Arc<SlowRequests>,
    clock: Clock,
    events: mpsc::Receiver<Event>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    admin: Option<admin::Server>,
    log: Option<LogWriter>,
}

fn start(plan: Plan) -> Result<Running, String> {
    // A file at its size limit is an error of that write, as a full disk is, and not the end of the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let clock = Clock::start();
    let looked = reload::first_look(&plan.origin);
    let config = load::configuration(&plan.origin, &plan.overrides)?;
    let cores = cores_of(&config.workers)?;
    let driver = choose_driver(plan.driver)?;
    let (listeners, listen) = bind(config.listen, cores.len())?;
    let admin = admin::bind(&config)?;
    let connections_max = connections_max(&config, cores.len());
    let tls = config.tls.is_some();
    let log_dir = config.log.as_ref().map(|log| log.dir.clone());
    let (log, senders) = open_log(&config, cores.len())?;
    let epoch = load::epoch(config, reload::next_number(0, clock))
        .map_err(|refusal| format!("trunkline: {refusal}"))?;
    let boxes: io::Result<Vec<_>> = cores.iter().map(|_| Mailbox::new()).collect();
    let boxes = boxes.map_err(|error| format!("trunkline: no socket pair: {error}"))?;
    let mailboxes = boxes.iter().map(|(mailbox, _)| Arc::clone(mailbox)).collect();
    let number = epoch.number;
    let hub = Arc::new(Hub::new(epoch, mailboxes));
    let questions = dns::start_threads().map_err(|error| format!("trunkline: {error}"))?;
    // Before it says that it listens: whoever has read that may send a signal.
    let (events, heard) = mpsc::channel();
    listen_for_events(&events).map_err(|_| "trunkline: signals cannot be heard here")?;
    eprintln!(
        "trunkline: listening on {}://{listen}, {} {} on {}, epoch {number}",
        if tls { "https" } else { "http" },
        cores.len(),
        if cores.len() == 1 { "worker" } else { "workers" },
        driver.as_str(),
    );
    let own: Vec<SocketAddr> =
        [listen].into_iter().chain(admin.as_ref().map(admin::Bound::address)).collect();
    let counters: Vec<Arc<Counters>> = cores.iter().map(|_| Arc::default()).collect();
    let mut workers = Vec::new();
    let parts = cores.into_iter().zip(listeners).zip(boxes).zip(senders).enumerate();
    for (number, (((core, listener), (mailbox, ear)), sender)) in parts {
        let questions = questions.clone();
        let start = Start { number, core, driver, clock, listener, questions, mailbox, ear };
        let hub = Arc::clone(&hub);
        let core = (hub, sender, Arc::clone(&counters[number]), own.clone());
        workers.push(spawn_worker(start, core, connections_max)?);
    }
    let reloader = Reloader::new(plan.origin, plan.overrides, Arc::clone(&hub), clock, looked);
    let slow = Arc::new(SlowRequests::new(counters.clone()));
    let process = admin::Process {
        hub: Arc::clone(&hub),
        reloads: reloader.reloads(),
        counters,
        log: log.as_ref().map(LogWriter::counters),
        slow: Arc::clone(&slow),
        driver,
        clock,
        started: clock.unix_now(),
        events,
    };
    let admin = admin.map(|admin| admin.serve(process)).transpose()?;
    let events = heard;
    Ok(Running { listen, tls, log_dir, hub, reloader, slow, clock, events, workers, admin, log })
}

/// What a core is made of besides its machine; see [`Core::new`].
type CoreParts = (Arc<Hub>, Option<LogSender>, Arc<Counters>, Vec<SocketAddr>);

fn spawn_worker(
    start: Start,
    (hub, log, counters, listeners): CoreParts,
    connections_max: usize,
) -> Result<JoinHandle<io::Result<()>>, String> {
    let name = format!("worker-{}", start.number);
    let run = move || {
        worker::run(start, |net| {
            Gateway::new(Core::new(net, hub, log, counters, listeners), connections_max)
        })
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(run)
        .map_err(|error| format!("trunkline: a worker thread could not be started: {error}"))
}

/// The cores to run on; `None`: not pinned.
fn cores_of(workers: &Workers) -> Result<Vec<Option<usize>>, String> {
    let granted = worker::granted_cores();
    let cores: Vec<Option<usize>> = match workers {
        Workers::Auto => granted.into_iter().map(Some).collect(),
        // More workers than cores are for tests: they float.
        Workers::Count(count) => (0..*count).map(|n| granted.get(n).copied()).collect(),
        Workers::Cores(cores) => cores.iter().copied().map(Some).collect(),
    };
    if cores.is_empty() || cores.len() > limits::WORKERS_MAX {
        return Err(format!("trunkline: workers must be from 1 to {}", limits::WORKERS_MAX));
    }
    Ok(cores)
}

fn choose_driver(wanted: Option<Driver>) -> Result<Driver, String> {
    match wanted {
        Some(Driver::Epoll) => Ok(Driver::Epoll),
        Some(Driver::Uring) if !event::uring_works() => {
            Err("trunkline: io_uring is not available here (Linux older than 6.1, \
                 kernel.io_uring_disabled, or a container profile that forbids it): \
                 run with --driver epoll or --driver auto"
                .into())
        }
        None if !event::uring_works() => {
            eprintln!("trunkline: io_uring is not available here; running on epoll");
            Ok(Driver::Epoll)
        }
        _ => Ok(Driver::Uring),
    }
}

/// Binds once without SO_REUSEPORT, which would share a port in use silently, then once for each worker with it.
fn bind(address: SocketAddr, workers: usize) -> Result<(Vec<TcpListener>, SocketAddr), String> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "trunkline: {address} is in use by another process: stop that one, or choose another \
             with --listen {}:{} or `listen:` in the file",
            address.ip(),
            address.port().wrapping_add(1).max(1024),
        ),
        _ => format!("trunkline: cannot listen on {address}: {error}"),
    };
    let probe = listener(address, false).map_err(refused)?;
    let address = probe.local_addr().map_err(refused)?;
    drop(probe);
    let listeners: io::Result<Vec<_>> = (0..workers).map(|_| listener(address, true)).collect();
    Ok((listeners.map_err(refused)?, address))
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// `limits.connections`, or what the descriptor limit leaves after upstream connections and files.
fn connections_max(config: &Config, workers: usize) -> usize {
    let descriptors = worker::raise_descriptor_limit();
    let all = config
        .limits
        .connections
        .unwrap_or_else(|| descriptors.saturating_sub(limits::DESCRIPTORS_KEPT) / 2);
    (all / workers).max(1)
}

type OpenedLog = (Option<LogWriter>, Vec<Option<LogSender>>);

fn open_log(config: &Config, workers: usize) -> Result<OpenedLog, String> {
    let Some(settings) = &config.log else {
        return Ok((None, (0..workers).map(|_| None).collect()));
    };
    let process = Dice::from_system().roll();
    let (writer, senders, recovery) = LogWriter::start(settings, workers, process, system_clock())
        .map_err(|error| match error.raw_os_error() {
            // The system's own words name no file.
            Some(_) => format!(
                "trunkline: log: cannot write into {}: {error}; free space on that disk, name another directory with \
                 --log DIR, or turn the log off with --log off",
                settings.dir.display()
            ),
            None => format!("trunkline: {error}"),
        })?;
    for cut in &recovery.cuts {
        eprintln!(
            "trunkline: {}: a torn tail of {} bytes was cut at {} ({} records lost)",
            cut.path.display(),
            cut.bytes,
            cut.offset,
            cut.records,
        );
    }
    Ok((Some(writer), senders.into_iter().map(Some).collect()))
}

/// What the main thread is told.
pub(super) enum Event {
    /// A signal.
    Signal(i32),
    /// It is time to look at the watched files.
    Look,
    /// Reload, and tell what came of it.
    Reload(tokio::sync::oneshot::Sender<Outcome>),
}

impl Running {
    /// Waits for signals; ends with the drain.
    fn wait(mut self) -> ExitCode {
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Signal(SIGHUP) => drop(self.reloader.reload()),
                Event::Look => {
                    self.reloader.watch();
                    say_slow(&self.slow, self.clock);
                }
                // Whoever asked may have gone meanwhile.
                Event::Reload(tell) => drop(tell.send(self.reloader.reload())),
                Event::Signal(_) => break,
            }
        }
        let most = limits::DRAIN_FOR.as_secs();
        eprintln!("trunkline: draining, for at most {most} s; a second signal cuts what is left");
        self.hub.drain();
        let hub = Arc::clone(&self.hub);
        std::thread::spawn(move || hear_on(&self.events, &hub, self.clock));
        let mut broken = false;
        for worker in self.workers {
            if !matches!(worker.join(), Ok(Ok(()))) {
                eprintln!("trunkline: a worker ended with an error");
                broken = true;
            }
        }
        say_slow(&self.slow, self.clock);
        if let Some(admin) = self.admin {
            admin.stop();
        }
        if let Some(log) = self.log {
            let summary = log.stop();
            eprintln!(
                "trunkline: stopped; {} records written, {} dropped",
                summary.written,
                summary.dropped + summary.lost
            );
        }
        match (broken, self.hub.is_cutting()) {
            (true, _) => ExitCode::from(70),
            (false, true) => ExitCode::from(1),
            (false, false) => ExitCode::SUCCESS,
        }
    }
}

/// What signals do while the gateway drains: the second one cuts what runs. A third, or an end that does not come, ends
/// the process as it stands.
fn hear_on(events: &mpsc::Receiver<Event>, hub: &Hub, clock: Clock) {
    let is_stop = |event: &Event| matches!(event, Event::Signal(SIGTERM | SIGINT));
    loop {
        match events.recv() {
            Ok(event) if is_stop(&event) => break,
            Ok(_) => {}
            Err(_) => return, // nobody is left who could tell
        }
    }
    eprintln!("trunkline: a second signal: what is left is cut; a third ends at once");
    hub.cut();
    let last = clock.now().after(limits::STOP_WITHIN);
    while let left @ 1.. = last.nanos.saturating_sub(clock.now().nanos) {
        match events.recv_timeout(Duration::from_nanos(left)) {
            Ok(event) if !is_stop(&event) => {}
            _ => break,
        }
    }
    eprintln!("trunkline: ended at once; what the log had not written is lost");
    std::process::exit(1);
}

/// The main thread may wait for whoever reads stderr; a worker must not.
fn say_slow(slow: &SlowRequests, clock: Clock) {
    slow.lines(clock.now()).iter().for_each(|line| eprintln!("{line}"));
}

/// Signals, and a regular look at the watched files, on the channel.
fn listen_for_events(events: &mpsc::Sender<Event>) -> io::Result<()> {
    let (sender, looks) = (events.clone(), events.clone());
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if sender.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        loop {
            std::thread::park_timeout(reload::WATCH_EVERY);
            if looks.send(Event::Look).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
