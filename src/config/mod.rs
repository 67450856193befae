//! One epoch: the immutable, checked configuration. Names are resolved to ids; whoever holds a [`Config`] need
//! not ask whether it is valid.

mod bounds;
pub mod check;
pub mod compile;
pub mod condition;
mod credentials;
pub mod digest;
pub mod edge;
pub mod guardrail;
mod guardrail_schema;
pub mod health;
pub mod hosts;
mod json_fit;
pub mod json_schema;
mod keyring;
mod nearest;
pub mod networks;
pub mod pattern;
pub mod policy;
pub mod providers;
pub mod recall;
pub mod report;
pub mod schema;
mod sections;
pub mod tree;
pub mod values;
pub mod variables;

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    base::{
        ids::{ApiKeyId, ConfigId, VirtualKeyId},
        limits,
        secret::Secret,
        units::UnixTime,
    },
    provider::Adapter,
};
use edge::Edge;
pub use keyring::Ids;
use policy::Policy;

/// One immutable state of all configuration.
#[derive(Debug)]
pub struct Config {
    /// SHA-256 over the configuration as read, secrets left out.
    pub digest: [u8; 32],
    /// Where clients connect.
    pub listen: SocketAddr,
    /// TLS of the client side.
    pub tls: Option<TlsFiles>,
    /// The admin interface; `None` is off.
    pub admin: Option<Admin>,
    /// Worker threads.
    pub workers: Workers,
    /// Where the admin API and the counters keep their state.
    pub state: PathBuf,
    /// Whether requests without an API key are served: no keys are defined, or the file says `auth: open`.
    pub open: bool,
    /// The file says `auth: open`: it may be open beyond loopback too.
    pub open_on_purpose: bool,
    /// By id.
    pub virtual_keys: Vec<VirtualKey>,
    /// By id.
    pub configs: Vec<NamedConfig>,
    /// By id.
    pub api_keys: Vec<ApiKey>,
    /// Names to ids.
    pub virtual_key_ids: Ids<VirtualKeyId>,
    /// Names to ids.
    pub config_ids: Ids<ConfigId>,
    /// SHA-256 of the key to its id.
    pub api_key_ids: HashMap<[u8; 32], ApiKeyId>,
    /// The request log; `None` is off.
    pub log: Option<Log>,
    /// Bounds.
    pub limits: Limits,
    /// Deadlines that hold where a policy names none.
    pub timeouts: Timeouts,
    /// Which hosts requests may name.
    pub custom_hosts: CustomHosts,
    /// From when on an exchange is slow, which is told; `None`: never.
    pub slow_request: Option<Duration>,
    /// What stands before Trunkline and behind it.
    pub edge: Edge,
}

impl Config {
    /// What `serve` runs without any file: open on loopback, each request bringing its own provider and key.
    #[must_use]
    pub fn open_defaults() -> Config {
        let mut config = Config {
            digest: [0; 32],
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            tls: None,
            admin: Some(Admin::default()),
            workers: Workers::Auto,
            state: PathBuf::from("./state"),
            open: true,
            open_on_purpose: false,
            virtual_keys: Vec::new(),
            configs: Vec::new(),
            api_keys: Vec::new(),
            virtual_key_ids: Ids::default(),
            config_ids: Ids::default(),
            api_key_ids: HashMap::new(),
            log: Some(Log::default()),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            custom_hosts: CustomHosts::default(),
            slow_request: None,
            edge: Edge::default(),
        };
        config.seal();
        config
    }

    /// Serves nobody but its own machine: then requests may name hosts on it.
    #[must_use]
    pub fn open_on_loopback(&self) -> bool {
        self.open && self.listen.ip().is_loopback()
    }

    /// Computes the digest again, after a flag has changed something.
    pub fn seal(&mut self) {
        self.digest = digest::digest(self);
    }

    /// The whole configuration without any secret, for records of past epochs.
    #[must_use]
    pub fn without_secrets(&self) -> serde_json::Value {
        digest::render(self)
    }
}

/// A name for a provider credential.
#[derive(Debug)]
pub struct VirtualKey {
    /// Its name.
    pub name: String,
    /// The provider.
    pub provider: &'static dyn Adapter,
    /// The credential; `None` only where the provider needs none.
    pub credential: Option<Secret>,
    /// If there are several, all of them: the one above is the first.
    pub credentials: Vec<PooledCredential>,
    /// Base URL without a trailing slash: the file's, else the provider's own.
    pub base: Origin,
    /// Models served, as globs; empty means all.
    pub models: Vec<String>,
    /// Custom hosts (`host` or `host:port`) that requests may redirect this credential to.
    pub allow_custom_host: Vec<String>,
    /// Private root certificates (PEM file) trusted for this upstream besides the system's.
    pub ca: Option<PathBuf>,
    /// Provider settings (`anthropic-version`, `openai-organization` …), as headers without `x-portkey-`.
    pub options: Vec<(String, String)>,
}

/// One of several credentials behind a virtual key.
#[derive(Debug)]
pub struct PooledCredential {
    /// It.
    pub secret: Secret,
    /// Its share of the requests; 0: only if no other is left.
    pub weight: f64,
    /// Names it in the tables of health: a hash that tells nothing of it.
    pub id: u64,
}

impl VirtualKey {
    /// Whether a request may lead this credential to a host: only where `allow_custom_host` lists it. A bare host
    /// stands for https on its usual port; anything else has to be listed with its port.
    #[must_use]
    pub fn may_go_to(&self, origin: &Origin) -> bool {
        let suffix = format!(":{}", origin.port);
        let host = origin.authority.strip_suffix(&suffix).unwrap_or(&origin.authority);
        let usual = origin.tls && origin.port == 443;
        self.allow_custom_host.iter().any(|allowed| {
            let name = allowed.strip_suffix(&suffix).or(usual.then_some(allowed));
            name.is_some_and(|name| name.eq_ignore_ascii_case(host))
        })
    }
}

/// Scheme, host and port of an upstream, and the path below which its API lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// True for https.
    pub tls: bool,
    /// Host name, or an address literal (IPv6 without brackets).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path prefix without a trailing slash; may be empty.
    pub path: String,
    /// The value of the `host` header.
    pub authority: String,
}

/// A config of the file.
#[derive(Debug)]
pub struct NamedConfig {
    /// Its name.
    pub name: String,
    /// What it says.
    pub policy: Policy,
}

/// What an application presents, and what it may do.
#[derive(Debug)]
pub struct ApiKey {
    /// Its name, for logs.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// When it stops working.
    pub expires: Option<UnixTime>,
    /// The config used when a request names none.
    pub config: Option<ConfigId>,
    /// Metadata that wins over the request's.
    pub metadata: Vec<(String, String)>,
    /// Allow-lists.
    pub allow: Allow,
}

/// Allow-lists of an API key. `None`: anything.
#[derive(Debug, Default)]
pub struct Allow {
    /// Named configs.
    pub configs: Option<Vec<ConfigId>>,
    /// Virtual keys.
    pub virtual_keys: Option<Vec<VirtualKeyId>>,
    /// Provider names.
    pub providers: Option<Vec<String>>,
    /// Model globs.
    pub models: Option<Vec<String>>,
    /// Inline configs; `None`: allowed unless `configs` is set.
    pub inline: Option<bool>,
}

/// PEM files of the TLS listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Clients must present a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

/// The admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its bearer token; `None`: one is generated and kept in `state`.
    pub token: Option<Secret>,
    /// May it listen beyond loopback without TLS.
    pub insecure: bool,
    /// `/metrics` without a token.
    pub metrics_open: bool,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            listen: SocketAddr::from(([127, 0, 0, 1], 8788)),
            token: None,
            insecure: false,
            metrics_open: false,
        }
    }
}

/// How many workers, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One a core.
    Auto,
    /// That many, pinned to the first cores.
    Count(usize),
    /// One pinned to each of these cores.
    Cores(Vec<usize>),
}

/// The request log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Directory.
    pub dir: PathBuf,
    /// Whether request and answer bodies are logged, in segments of their own.
    pub bodies: bool,
    /// Age at which segments are deleted.
    pub retain_for: Option<Duration>,
    /// Total size above which the oldest segments are deleted, in bytes.
    pub retain_bytes: Option<u64>,
    /// How often the log is synced to the disk: the most that a power loss can cost.
    pub sync_every: Duration,
    /// What a full queue does.
    pub on_full: OnFull,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            dir: PathBuf::from("./log"),
            bodies: false,
            retain_for: Some(Duration::from_secs(30 * 86_400)),
            retain_bytes: Some(20 << 30),
            sync_every: Duration::from_millis(200),
            on_full: OnFull::Drop,
        }
    }
}

/// What happens when the log's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The record is dropped and counted; traffic never stops.
    Drop,
    /// The exchange waits; no record is dropped.
    Wait,
}

/// Bounds of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request head, in bytes.
    pub head_bytes: usize,
    /// Largest buffered body, in bytes.
    pub body_bytes: u64,
    /// Largest streamed upload, in bytes.
    pub upload_bytes: u64,
    /// Client connections; `None`: from RLIMIT_NOFILE.
    pub connections: Option<usize>,
    /// Exchanges at once; `None`: as many as there are connections and memory for.
    pub in_flight: Option<usize>,
    /// The ceiling of accounted memory, in bytes.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: limits::HEAD_BYTES_DEFAULT,
            body_bytes: limits::BODY_BYTES_DEFAULT,
            upload_bytes: limits::UPLOAD_BYTES_DEFAULT,
            connections: None,
            in_flight: None,
            memory_bytes: limits::MEMORY_BYTES_DEFAULT,
        }
    }
}

/// Deadlines of an attempt and of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolve, connect and TLS handshake.
    pub connect: Duration,
    /// From the request sent to the answer's head.
    pub first_byte: Duration,
    /// From the request sent to the first content of a stream; `None`: only the others bound it.
    pub first_token: Option<Duration>,
    /// Between two reads of the answer.
    pub idle: Duration,
    /// The whole exchange with all its attempts.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(600),
            first_token: None,
            idle: Duration::from_secs(300),
            total: Duration::from_secs(3600),
        }
    }
}

/// Which hosts a request may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomHosts {
    /// Names that pass the checks: exact, or `*.suffix`.
    pub trusted: Vec<String>,
    /// Whether private addresses pass.
    pub allow_private: bool,
}

impl std::fmt::Debug for dyn Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
