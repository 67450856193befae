//! A routing policy: Portkey's config object, compiled. Inheritance is resolved here once, so that a leaf
//! stands on its own.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    base::{ids::VirtualKeyId, secret::Secret},
    provider::Adapter,
    wire::json::PathStep,
};

pub use super::health::{Balance, Breaker, HashBy, HashField, Hedge, HedgeAfter, Watch, Watched};
use super::{
    Origin, Timeouts,
    condition::{Condition, Then},
    guardrail::Guardrails,
};

/// A compiled config object, from the file or from a request's header.
#[derive(Debug)]
pub struct Policy {
    /// The tree.
    pub root: Node,
    /// True if it came with a request: it may not redirect held credentials.
    pub inline: bool,
    /// SHA-256 of its JSON text; inline configs are logged as `inline:DIGEST`.
    pub digest: [u8; 32],
    /// The deadline of an exchange that runs on it, in the place of the file's.
    pub total: Option<Duration>,
    /// The targets whose health its decisions ask for; empty: its plans know of none.
    pub watched: Vec<Watched>,
}

impl Policy {
    /// One target that says nothing: the request fills it.
    #[must_use]
    pub fn bare() -> Policy {
        let path = "config".to_owned();
        let kind = NodeKind::Leaf(Box::default());
        let root = Node { path, name: None, weight: 1.0, kind };
        Policy { root, inline: false, digest: [0; 32], total: None, watched: Vec::new() }
    }
}

/// A node of the tree.
#[derive(Debug)]
pub struct Node {
    /// Its place: `config`, `config.targets[1].targets[0]`.
    pub path: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its weight among its siblings; 0 is never drawn.
    pub weight: f64,
    /// What it does.
    pub kind: NodeKind,
}

/// What a node does with its children.
#[derive(Debug)]
pub enum NodeKind {
    /// One target.
    Leaf(Box<Leaf>),
    /// The first child only.
    Single(Box<Node>),
    /// In order, until one does well.
    Fallback {
        /// The statuses that fall through; `None`: every status that is not 2xx, and every network error.
        on_status_codes: Option<Vec<u16>>,
        /// In order.
        targets: Vec<Node>,
    },
    /// One child, drawn by weight or chosen by what is known of them.
    LoadBalance {
        /// How.
        balance: Balance,
        /// Any order; at least one has a weight above 0.
        targets: Vec<Node>,
    },
    /// The child that the first condition which holds names.
    Conditional {
        /// In order; `None`: none were given, which only a request may do.
        conditions: Option<Vec<Condition>>,
        /// The child chosen if no condition holds.
        default: Option<Then>,
        /// Chosen by name.
        targets: Vec<Node>,
    },
}

impl Node {
    /// The children; none below a leaf.
    #[must_use]
    pub fn children(&self) -> &[Node] {
        match &self.kind {
            NodeKind::Leaf(_) => &[],
            NodeKind::Single(child) => std::slice::from_ref(child),
            NodeKind::Fallback { targets, .. }
            | NodeKind::LoadBalance { targets, .. }
            | NodeKind::Conditional { targets, .. } => targets,
        }
    }
}

/// A target with everything that its ancestors handed down.
#[derive(Clone, Default)]
pub struct Leaf {
    /// The virtual key, if it names one.
    pub virtual_key: Option<VirtualKeyId>,
    /// The provider; `None`: the request's provider header fills it. With a virtual key: that key's provider.
    pub provider: Option<&'static dyn Adapter>,
    /// The credential of the config itself.
    pub api_key: Option<Secret>,
    /// Where to go instead of the provider's base URL.
    pub custom_host: Option<Origin>,
    /// Whether addresses of the host are exempt from the guard against forged requests: the file or the operator
    /// named the host. Meaningless where the request's own custom-host header replaces it.
    pub host_trusted: bool,
    /// Top-level fields set in the body: name and raw JSON value, in the order of the config.
    pub override_params: Vec<(String, String)>,
    /// The same, set only where the client sent none.
    pub default_params: Vec<(String, String)>,
    /// What is taken out of the body at the end.
    pub drop_params: Vec<DropPath>,
    /// Client headers passed on, lower case.
    pub forward_headers: Vec<String>,
    /// Retries of this target.
    pub retry: Retry,
    /// Bound on the time to the answer's head, a try.
    pub request_timeout: Option<Duration>,
    /// Deadlines that the config sets.
    pub timeouts: TimeoutOverrides,
    /// `strict_open_ai_compliance`.
    pub strict: Option<bool>,
    /// Provider-specific settings (`anthropic_version`, `openai_organization` …), as headers without `x-portkey-`.
    pub options: Vec<(String, String)>,
    /// The parts of the config around it, itself included, that have a total of their own; from the outermost inward.
    pub parts: Vec<Part>,
    /// What of its health decisions ask for; `None`: nothing.
    pub watch: Option<Watch>,
    /// Where a copy of what goes here goes too.
    pub mirror: Option<Arc<Mirror>>,
    /// What is checked of requests and answers; `None`: nothing.
    pub guardrails: Option<Arc<Guardrails>>,
}

/// A part of a config that may take only so long, with all of its targets and their tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Numbers the parts of a config.
    pub index: usize,
    /// How long, from its first try on.
    pub total: Duration,
}

/// Shadow traffic: `mirror`.
#[derive(Debug)]
pub struct Mirror {
    /// Its target's place in the config.
    pub path: String,
    /// Its target.
    pub leaf: Leaf,
    /// The share of requests that are copied.
    pub sample: f64,
}

/// Settings may be credentials (`aws-secret-access-key`): only their names are shown.
impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&str> = self.options.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Leaf")
            .field("virtual_key", &self.virtual_key)
            .field("provider", &self.provider)
            .field("api_key", &self.api_key)
            .field("custom_host", &self.custom_host)
            .field("host_trusted", &self.host_trusted)
            .field("override_params", &self.override_params)
            .field("default_params", &self.default_params)
            .field("drop_params", &self.drop_params)
            .field("forward_headers", &self.forward_headers)
            .field("retry", &self.retry)
            .field("request_timeout", &self.request_timeout)
            .field("timeouts", &self.timeouts)
            .field("strict", &self.strict)
            .field("options", &options)
            .field("parts", &self.parts)
            .field("watch", &self.watch)
            .field("mirror", &self.mirror)
            .field("guardrails", &self.guardrails)
            .finish()
    }
}

/// A part of the body that is taken out: `messages[*].name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropPath {
    /// The top-level field.
    pub field: String,
    /// The way from its value on; empty: the field itself.
    pub rest: Vec<PathStep>,
}

impl fmt::Display for DropPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        self.rest.iter().try_for_each(|step| match step {
            PathStep::Key(key) => write!(f, ".{key}"),
            PathStep::Index(index) => write!(f, "[{index}]"),
            PathStep::Every => f.write_str("[*]"),
        })
    }
}

/// Retries of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Extra tries.
    pub attempts: u32,
    /// Statuses that are tried again.
    pub on_status_codes: Vec<u16>,
    /// Whether a 429's `retry-after` sets the wait.
    pub use_retry_after: bool,
    /// Whether the back-off gets 0 to +20 % on top.
    pub jitter: bool,
}

/// The retry codes where a config names none.
pub const RETRY_CODES_DEFAULT: [u16; 6] = [429, 500, 502, 503, 504, 529];

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 0,
            on_status_codes: RETRY_CODES_DEFAULT.to_vec(),
            use_retry_after: false,
            jitter: true,
        }
    }
}

/// Deadlines a config sets; the rest comes from the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// See [`super::Timeouts`].
    pub connect: Option<Duration>,
    /// See [`super::Timeouts`].
    pub first_byte: Option<Duration>,
    /// See [`super::Timeouts`].
    pub first_token: Option<Duration>,
    /// See [`super::Timeouts`].
    pub idle: Option<Duration>,
    /// The innermost that was given; see [`Policy::total`] and [`Leaf::parts`].
    pub total: Option<Duration>,
}

impl TimeoutOverrides {
    /// These over those of the file, for one try. The total bounds more than one: it stays the file's here.
    #[must_use]
    pub fn over(self, file: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(file.connect),
            first_byte: self.first_byte.unwrap_or(file.first_byte),
            first_token: self.first_token.or(file.first_token),
            idle: self.idle.unwrap_or(file.idle),
            total: file.total,
        }
    }
}
