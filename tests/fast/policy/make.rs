//! Small builders of policies, configurations and providers for the policy tests.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use trunkline::{
    base::{
        ids::{ApiKeyId, ConfigId, VirtualKeyId},
        secret::Secret,
        units::{Instant, UnixTime},
    },
    chat::{reply::Reply, request::Request, usage::Usage},
    config::{
        Allow, ApiKey, Config, NamedConfig, Origin, VirtualKey,
        condition::{Clause, Condition, Fact, Test, Then},
        policy::{Balance, Leaf, Node, NodeKind, Policy, Retry, Watched},
    },
    policy::{
        attempt::{Outcome, Shown, Step, Walk},
        condition::Refusal,
        plan::Plan,
    },
    provider::{
        Adapter, Endpoint, Fit, HeaderLookup, HeaderSink, Rendered, StreamError, Translate, Unfit,
        Watch,
    },
};

pub const NOW: UnixTime = UnixTime { nanos: 1_790_000_000_000_000_000 };

/// A provider that has a name and little else.
pub struct Fake {
    name: &'static str,
    base_url: Option<&'static str>,
    credential_optional: bool,
}

pub static OPENAI: Fake = Fake {
    name: "openai",
    base_url: Some("https://api.openai.com/v1"),
    credential_optional: false,
};
pub static ANTHROPIC: Fake = Fake {
    name: "anthropic",
    base_url: Some("https://api.anthropic.com:8443/v1"),
    credential_optional: false,
};
pub static HOUSE: Fake =
    Fake { name: "openai-compatible", base_url: None, credential_optional: true };
pub static OLLAMA: Fake =
    Fake { name: "ollama", base_url: Some("http://localhost:11434"), credential_optional: true };

pub fn provider(name: &str) -> Option<&'static dyn Adapter> {
    [&OPENAI, &ANTHROPIC, &HOUSE, &OLLAMA]
        .into_iter()
        .find(|fake| fake.name == name)
        .map(|fake| fake as &dyn Adapter)
}

impl Adapter for Fake {
    fn name(&self) -> &'static str {
        self.name
    }
    fn base_url(&self) -> Option<&'static str> {
        self.base_url
    }
    fn fit(&self, _: Endpoint) -> Fit {
        Fit::Same
    }
    fn path<'a>(&self, _: Endpoint, rest: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(rest)
    }
    fn headers(&self, _: Option<&str>, _: HeaderLookup<'_, '_>, _: HeaderSink<'_>) {}
    fn credential_optional(&self) -> bool {
        self.credential_optional
    }
    fn watch(&self, _: Endpoint, _: bool) -> Box<dyn Watch> {
        unreachable!("routing reads no answers")
    }
    fn usage(&self, _: Endpoint, _: &[u8]) -> Option<Usage> {
        None
    }
    fn render(&self, _: &Request) -> Result<Rendered, Unfit> {
        Ok(Rendered::default())
    }
    fn reply(&self, _: &mut [u8]) -> Result<Reply, String> {
        Err("routing reads no answers".into())
    }
    fn translate(&self) -> Box<dyn Translate> {
        unreachable!("routing reads no answers")
    }
    fn error(&self, _: u16, _: &[u8]) -> Option<StreamError> {
        None
    }
}

/// SplitMix64: the dice of the tests.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A policy from its root, with the paths filled in.
pub fn policy(mut root: Node) -> Policy {
    set_paths(&mut root, "config".into());
    let mut watched = Vec::new();
    number_watched(&mut root, &mut watched);
    Policy { root, inline: false, digest: [7; 32], total: None, watched }
}

/// Numbers the leaves that are watched.
fn number_watched(node: &mut Node, watched: &mut Vec<Watched>) {
    match &mut node.kind {
        NodeKind::Leaf(leaf) => {
            if let Some(watch) = &mut leaf.watch {
                watch.index = watched.len();
                let (key, path) = (watched.len() as u64, node.path.clone());
                watched.push(Watched { key, path, measured: true });
            }
        }
        NodeKind::Single(child) => number_watched(child, watched),
        NodeKind::Fallback { targets, .. }
        | NodeKind::LoadBalance { targets, .. }
        | NodeKind::Conditional { targets, .. } => {
            targets.iter_mut().for_each(|target| number_watched(target, watched));
        }
    }
}

fn set_paths(node: &mut Node, path: String) {
    match &mut node.kind {
        NodeKind::Leaf(_) => {}
        NodeKind::Single(child) => set_paths(child, format!("{path}.targets[0]")),
        NodeKind::Fallback { targets, .. }
        | NodeKind::LoadBalance { targets, .. }
        | NodeKind::Conditional { targets, .. } => {
            for (at, target) in targets.iter_mut().enumerate() {
                set_paths(target, format!("{path}.targets[{at}]"));
            }
        }
    }
    node.path = path;
}

fn node(kind: NodeKind) -> Node {
    Node { path: String::new(), name: None, weight: 1.0, kind }
}

pub fn leaf(leaf: Leaf) -> Node {
    node(NodeKind::Leaf(Box::new(leaf)))
}

pub fn retrying(retry: Retry) -> Node {
    leaf(Leaf { retry, ..Leaf::default() })
}

pub fn target() -> Node {
    leaf(Leaf::default())
}

pub fn single(child: Node) -> Node {
    node(NodeKind::Single(Box::new(child)))
}

pub fn fallback(targets: Vec<Node>) -> Node {
    node(NodeKind::Fallback { on_status_codes: None, targets })
}

pub fn fallback_on(codes: &[u16], targets: Vec<Node>) -> Node {
    node(NodeKind::Fallback { on_status_codes: Some(codes.to_vec()), targets })
}

pub fn balance(targets: Vec<(f64, Node)>) -> Node {
    let targets = targets.into_iter().map(|(weight, target)| Node { weight, ..target }).collect();
    node(NodeKind::LoadBalance { balance: Balance::Weight, targets })
}

/// A conditional node; its children are chosen by index.
pub fn conditional(
    conditions: Option<Vec<Condition>>,
    default: Option<Then>,
    targets: Vec<Node>,
) -> Node {
    node(NodeKind::Conditional { conditions, default, targets })
}

/// A condition that holds, or does not, or that cannot be asked (`None`).
pub fn condition(holds: Option<bool>, then: Then) -> Condition {
    let query = match holds {
        Some(true) => Vec::new(),
        Some(false) => vec![Clause::Any(Vec::new())],
        None => vec![Clause::Tests(Fact::Unknown, vec![Test::Unsupported("$x".into())])],
    };
    Condition { query, then, written: "{}".into() }
}

pub fn status(code: u16) -> Outcome {
    Outcome::Status { code, retry_after: None }
}

/// One try, as a walk asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub path: String,
    pub retry_number: u32,
    pub waited_nanos: u64,
}

/// Walks a plan to its end; `world` answers `(path, retry number)`.
pub fn walk<'p>(
    plan: &'p Plan<'_>,
    dice: u64,
    world: impl FnMut(&str, u32) -> Outcome,
) -> (Vec<Tried>, Option<Shown<'p>>) {
    let (tried, end) = walk_or_refusal(plan, dice, world);
    (tried, end.expect("the policy refused"))
}

/// The same where the policy itself may refuse on the way.
pub fn walk_or_refusal<'p>(
    plan: &'p Plan<'_>,
    dice: u64,
    mut world: impl FnMut(&str, u32) -> Outcome,
) -> (Vec<Tried>, Result<Option<Shown<'p>>, Refusal<'p>>) {
    let mut walk = Walk::new(plan);
    let mut now = Instant { nanos: 5 };
    let mut tried = Vec::new();
    let mut step = walk.first();
    while let Step::Try { leaf, not_before, retry_number } = step {
        let waited_nanos = not_before.nanos.saturating_sub(now.nanos);
        now.nanos += waited_nanos + 1_000;
        tried.push(Tried { path: leaf.path.to_owned(), retry_number, waited_nanos });
        step = walk.after(&world(leaf.path, retry_number), now, dice);
    }
    match step {
        Step::Refuse(refusal) => (tried, Err(refusal)),
        _ => (tried, Ok(walk.shown())),
    }
}

pub fn paths(tried: &[Tried]) -> Vec<&str> {
    tried.iter().map(|one| one.path.as_str()).collect()
}

/// A configuration with nothing in it, closed.
pub fn config() -> Config {
    Config { open: false, admin: None, log: None, ..Config::open_defaults() }
}

pub fn add_virtual_key(
    config: &mut Config,
    name: &str,
    provider: &'static dyn Adapter,
    base: Origin,
) -> VirtualKeyId {
    let id = VirtualKeyId(config.virtual_keys.len() as u32);
    config.virtual_keys.push(VirtualKey {
        name: name.into(),
        provider,
        credential: Some(Secret::new(format!("secret-of-{name}"))),
        credentials: Vec::new(),
        base,
        models: Vec::new(),
        allow_custom_host: Vec::new(),
        ca: None,
        options: Vec::new(),
    });
    config.virtual_key_ids.insert(name.into(), id);
    id
}

pub fn add_config(config: &mut Config, name: &str, policy: Policy) -> ConfigId {
    let id = ConfigId(config.configs.len() as u32);
    config.configs.push(NamedConfig { name: name.into(), policy });
    config.config_ids.insert(name.into(), id);
    id
}

pub fn add_api_key(config: &mut Config, text: &str) -> ApiKeyId {
    let id = ApiKeyId(config.api_keys.len() as u32);
    let sha256: [u8; 32] = Sha256::digest(text).into();
    config.api_keys.push(ApiKey {
        name: format!("name-of-{text}"),
        sha256,
        expires: None,
        config: None,
        metadata: Vec::new(),
        allow: Allow::default(),
    });
    config.api_key_ids.insert(sha256, id);
    id
}

pub fn origin(host: &str, port: u16) -> Origin {
    let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authority = format!("{bare}:{port}");
    Origin { tls: true, host: host.into(), port, path: "/v1".into(), authority }
}
