//! Whole gateways in simulated worlds: clients, the request path, and upstreams that fail in every way, in virtual
//! time. A world reads like this:
//! `let gate = Gate::new(1); gate.target("a").refuses(); assert_eq!(gate.ask("hi").served_by(), "b");`

mod answer;
mod client;
mod draw;
mod target;

mod bugs;
mod ceilings;
mod clock;
mod commit;
mod cors;
mod cuts;
mod deadlines;
mod drain;
mod egress;
mod epochs;
mod explains;
mod fallback;
mod gone;
mod guarded_streams;
mod guardrails;
mod health;
mod hedge;
mod http;
mod mirror;
mod names;
mod proxied;
mod random;
mod repeated;
mod resets;
mod responses;
mod retries;
mod reuse;
mod slow;
mod uploads;
mod webhooks;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use trunkline::{
    base::units::Instant,
    config::{Config, check::check, variables::Variables},
    io::{
        hub::{Epoch, Hub},
        log::{LogSender, Unwritten},
        net::Net,
        race::{First, race},
        tls::Trust,
    },
    journal::metrics::Counters,
    serve::{Core, accept::Gateway},
    wire::record::{Record, decode},
};

use crate::world::{Link, Lookup, SimNet, World};
use answer::Answer;
use client::Conn;
use target::Target;

/// What a world is made of.
struct Setup {
    seed: u64,
    targets: Vec<(&'static str, &'static str)>,
    policy: Value,
    file: String,
    client_link: Link,
    upstream_link: Link,
    connections_max: usize,
    /// Targets are reached by name, `a.test`, and not by address.
    named: bool,
    change: Box<dyn FnOnce(&mut Config)>,
}

/// A world with a gateway, clients before it and targets behind it.
struct Gate {
    world: World,
    gateway: Rc<Gateway<SimNet>>,
    hub: Arc<Hub>,
    /// What a next epoch is made of, besides its policy.
    virtual_keys: Value,
    lines: String,
    targets: BTreeMap<&'static str, Rc<Target>>,
    counters: Arc<Counters>,
    unread: RefCell<Unwritten>,
}

impl Setup {
    /// Two targets, `a` and `b`, of OpenAI's format, in a fallback.
    fn new(seed: u64) -> Setup {
        Setup {
            seed,
            targets: vec![("a", "openai"), ("b", "openai")],
            policy: json!({
                "strategy": {"mode": "fallback"},
                "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
            }),
            file: String::new(),
            client_link: Link::default(),
            upstream_link: Link::default(),
            connections_max: 1000,
            named: false,
            change: Box::new(|_| {}),
        }
    }

    /// One more target, or the same one of another provider.
    fn target(mut self, name: &'static str, provider: &'static str) -> Setup {
        self.targets.retain(|(known, _)| *known != name);
        self.targets.push((name, provider));
        self
    }

    fn policy(mut self, policy: Value) -> Setup {
        self.policy = policy;
        self
    }

    /// Further lines of the configuration file.
    fn file(mut self, lines: &str) -> Setup {
        self.file.push_str(lines);
        self.file.push('\n');
        self
    }

    fn links(mut self, client: Link, upstream: Link) -> Setup {
        (self.client_link, self.upstream_link) = (client, upstream);
        self
    }

    fn connections_max(mut self, most: usize) -> Setup {
        self.connections_max = most;
        self
    }

    /// Changes the checked configuration by hand.
    fn change(mut self, change: impl FnOnce(&mut Config) + 'static) -> Setup {
        self.change = Box::new(change);
        self
    }

    /// Reaches the targets by name.
    fn named(mut self) -> Setup {
        self.named = true;
        self
    }

    fn open(self) -> Gate {
        let world = World::new(self.seed);
        let mut targets = BTreeMap::new();
        let mut keys = serde_json::Map::new();
        for (at, (name, provider)) in self.targets.iter().enumerate() {
            let address = SocketAddr::from(([10, 0, 0, at as u8 + 1], 80));
            let host = if self.named { host(name) } else { address.ip().to_string() };
            world.name(&host, &[address.ip()]);
            let url = format!("http://{host}/v1");
            let key = json!({"provider": provider, "base_url": url, "api_key": "sk-sim"});
            keys.insert((*name).to_owned(), key);
            targets.insert(*name, Target::listen(&world, address, self.upstream_link, name));
        }
        let virtual_keys = Value::Object(keys);
        let mut config = configured(&virtual_keys, &self.policy, &self.file);
        (self.change)(&mut config);
        let hub = Arc::new(Hub::new(epoch(1, config), Vec::new()));
        let (sender, unread) = LogSender::unwritten(0, 7);
        let counters = Arc::new(Counters::default());
        let listeners = vec![client::address()];
        let for_core = Arc::clone(&hub);
        let core = Core::new(world.net(), for_core, Some(sender), Arc::clone(&counters), listeners);
        let gateway = Rc::new(Gateway::new(core, self.connections_max));
        let serving = Rc::clone(&gateway);
        world.listen_over(client::address(), self.client_link, move |reader, writer| {
            serving.connected(reader, writer, SocketAddr::from(([127, 0, 0, 1], 50_000)));
            async {}
        });
        let (lines, unread) = (self.file, RefCell::new(unread));
        Gate { world, gateway, hub, virtual_keys, lines, targets, counters, unread }
    }
}

/// The name of a target's host, where targets have names.
fn host(target: &str) -> String {
    format!("{target}.test")
}

fn epoch(number: u64, config: Config) -> Arc<Epoch> {
    Arc::new(Epoch { number, config, server_tls: None, client_tls: trust() })
}

fn configured(virtual_keys: &Value, policy: &Value, lines: &str) -> Config {
    checked(&json!({"virtual_keys": virtual_keys, "configs": {"main": policy}}), lines)
}

/// YAML takes JSON for what it is, so a map may be built as one and more lines be put around it.
fn checked(file: &Value, lines: &str) -> Config {
    let mut text = lines.to_owned();
    for (section, value) in file.as_object().expect("a map") {
        text.push_str(&format!("{section}: {value}\n"));
    }
    let checked = check(&text, Variables::Lookup(&|_| None));
    checked.config.unwrap_or_else(|| panic!("{:?}\n{text}", checked.mistakes))
}

/// The system's roots are read once: that takes longer than a hundred worlds.
fn trust() -> Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    TRUST.get_or_init(|| Trust::load(std::iter::empty()).expect("no file to fail on")).clone()
}

impl Gate {
    fn new(seed: u64) -> Gate {
        Setup::new(seed).open()
    }

    fn target(&self, name: &str) -> &Target {
        self.targets.get(name).unwrap_or_else(|| panic!("there is no target {name}"))
    }

    /// A next epoch, with this policy: what a reload publishes.
    fn next_epoch(&self, number: u64, policy: &Value) -> Arc<Epoch> {
        epoch(number, configured(&self.virtual_keys, policy, &self.lines))
    }

    /// From now on a look-up of this target's name ends so.
    fn look_up(&self, target: &str, lookup: Lookup) {
        self.world.net().name(&host(target), lookup);
    }

    /// A plain call, from connect to its answer.
    fn ask(&self, words: &str) -> Answer {
        self.post(&client::chat(words, false))
    }

    /// The same, streamed.
    fn stream(&self, words: &str) -> Answer {
        self.post(&client::chat(words, true))
    }

    /// One request on a connection of its own.
    fn post(&self, request: &[u8]) -> Answer {
        let (net, request) = (self.world.net(), request.to_vec());
        self.run(async move {
            let mut conn = Conn::open(&net).await;
            conn.send(&request).await;
            conn.answer().await
        })
    }

    /// A connection with a request on it, after this long.
    fn begin(&self, request: &[u8], wait: Duration) -> Conn {
        let (net, request) = (self.world.net(), request.to_vec());
        let conn = self.run(async move {
            let mut conn = Conn::open(&net).await;
            conn.send(&request).await;
            conn
        });
        self.world.run_for(wait);
        conn
    }

    /// Runs until the future is ready; what takes more than a day never will be.
    fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let net = self.world.net();
        let end = net.now().after(Duration::from_secs(86_400));
        let raced = async move { race(pin!(future), pin!(net.sleep_until(end))).await };
        match self.world.run_until(raced) {
            First::Left(value) => value,
            First::Right(()) => panic!("nothing came for a day"),
        }
    }

    fn now(&self) -> Instant {
        self.world.net().now()
    }

    /// The records since the last time.
    fn records(&self) -> Vec<Record> {
        self.world.run_for(Duration::ZERO);
        let mut unread = self.unread.borrow_mut();
        let records = unread.by_ref().map(|bytes| {
            let (record, taken) = decode(&bytes).expect("a record");
            assert_eq!(taken, bytes.len());
            record
        });
        records.collect()
    }

    /// The only record since the last time.
    fn record(&self) -> Record {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "one exchange, one record: {records:?}");
        records.remove(0)
    }

    /// What exchanges and upstream connections took is all given back.
    fn holds_nothing(&self) {
        let Counters { in_flight, exchange_bytes, streams_open, .. } = &*self.counters;
        let held = [in_flight.get(), exchange_bytes.get(), streams_open.get()];
        assert_eq!(held, [0; 3], "exchanges, bytes and streams are still held");
        let upstream = [self.counters.upstream_open.get(), self.counters.upstream_idle.get()];
        assert_eq!(upstream[0], upstream[1], "upstream connections open and idle");
    }

    /// Drains; nothing may be left then but what runs as long as a core does.
    fn close(&self) {
        self.gateway.drain();
        let gateway = Rc::clone(&self.gateway);
        self.run(async move { gateway.drained().await });
        self.world.run_for(Duration::from_secs(1));
        assert_eq!(self.world.open_connections(), 0, "connections were left open");
        assert_eq!(self.world.tasks(), CORE_TASKS, "tasks were left");
        for watched in &self.hub.epoch().config.configs[0].policy.watched {
            let known = self.hub.health(watched.key).expect("room");
            assert_eq!(known.in_flight(), 0, "{} is held for busy", watched.path);
            let probe_until = known.breaker().probe_until;
            assert_eq!(probe_until, Instant::default(), "{} is held for tried", watched.path);
        }
        let Counters { connections_open, upstream_idle, .. } = &*self.counters;
        assert_eq!((connections_open.get(), upstream_idle.get()), (0, 0), "gauges that lie");
        self.holds_nothing();
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The wheel, and what is done beside the connections.
const CORE_TASKS: usize = 2;
