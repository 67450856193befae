//! Whole gateways in simulated worlds: clients, the request path, and upstreams that fail in every way, in virtual
//! time. A world reads like this:
//! `let gate = Gate::new(1); gate.target("a").refuses(); assert_eq!(gate.ask("hi").served_by(), "b");`

mod answer;
mod client;
mod target;

mod bugs;
mod commit;
mod cors;
mod cuts;
mod drain;
mod egress;
mod fallback;
mod gone;
mod health;
mod http;
mod proxied;
mod random;
mod retries;
mod reuse;
mod slow;
mod uploads;

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

use crate::world::{Link, SimNet, World};
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
    change: Box<dyn FnOnce(&mut Config)>,
}

/// A world with a gateway, clients before it and targets behind it.
struct Gate {
    world: World,
    gateway: Rc<Gateway<SimNet>>,
    targets: BTreeMap<&'static str, Rc<Target>>,
    counters: Arc<Counters>,
    hub: Arc<Hub>,
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

    fn open(self) -> Gate {
        let world = World::new(self.seed);
        let mut targets = BTreeMap::new();
        let mut keys = serde_json::Map::new();
        for (at, (name, provider)) in self.targets.iter().enumerate() {
            let address = SocketAddr::from(([10, 0, 0, at as u8 + 1], 80));
            let url = format!("http://{}/v1", address.ip());
            let key = json!({"provider": provider, "base_url": url, "api_key": "sk-sim"});
            keys.insert((*name).to_owned(), key);
            targets.insert(*name, Target::listen(&world, address, self.upstream_link, name));
        }
        let file = json!({"virtual_keys": keys, "configs": {"main": self.policy}});
        let mut config = checked(&file, &self.file);
        (self.change)(&mut config);
        let client_tls = trust();
        let epoch = Arc::new(Epoch { number: 1, config, server_tls: None, client_tls });
        let hub = Arc::new(Hub::new(epoch, Vec::new()));
        let (sender, unread) = LogSender::unwritten(0, 7);
        let counters = Arc::new(Counters::default());
        let listeners = vec![client::address()];
        let core = Core::new(
            world.net(),
            Arc::clone(&hub),
            Some(sender),
            Arc::clone(&counters),
            listeners,
        );
        let gateway = Rc::new(Gateway::new(core, self.connections_max));
        let serving = Rc::clone(&gateway);
        world.listen_over(client::address(), self.client_link, move |reader, writer| {
            serving.connected(reader, writer, SocketAddr::from(([127, 0, 0, 1], 50_000)));
            async {}
        });
        Gate { world, gateway, targets, counters, hub, unread: RefCell::new(unread) }
    }
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
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The wheel and the sweeper of the pool.
const CORE_TASKS: usize = 2;
