//! What a policy says of the health of its targets: circuit breakers, and how a balance chooses among them.

use std::time::Duration;

use super::condition::Fact;

/// A target whose health the decisions of a policy ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Names it over all cores, and over reloads for as long as the target is the same.
    pub key: u64,
    /// Its place in the config.
    pub path: String,
    /// Whether its latency and its running requests are asked for.
    pub measured: bool,
}

impl Watched {
    /// The bit of a key that came with a request: such keys have a table of their own, which they may fill.
    pub const INLINE: u64 = 1 << 63;
}

/// What of a target's health decisions ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Its index in [`super::policy::Policy::watched`].
    pub index: usize,
    /// Its circuit breaker.
    pub breaker: Option<Breaker>,
    /// Whether it is passed over while its own headers say that it is out of quota.
    pub rate_limit_aware: bool,
    /// When a second target is asked as well.
    pub hedge: Option<Hedge>,
}

/// A second try beside one that is slow: `hedge`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge {
    /// How slow.
    pub after: HedgeAfter,
    /// The most hedges a try of the target, over the long run.
    pub max_ratio: f64,
}

/// When a hedge is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// So long after the try began.
    Fixed(Duration),
    /// When 95 of 100 of the target's latest answers had come.
    P95,
}

/// A circuit breaker: `cb_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// So many failures within the window open it.
    pub failure_threshold: Option<u32>,
    /// So many failures of a hundred requests within the window open it.
    pub failure_percentage: Option<f64>,
    /// The share counts from so many requests on.
    pub minimum_requests: u32,
    /// How long it is open.
    pub cooldown: Duration,
    /// What counts as a failure; `None`: 500 and above.
    pub failure_status_codes: Option<Vec<u16>>,
}

/// How a balance chooses one of its targets.
#[derive(Clone, Debug, PartialEq)]
pub enum Balance {
    /// By weight, anew for each request.
    Weight,
    /// By a hash of the request, so that what belongs together stays together.
    Hash(HashBy),
    /// The better of two that were drawn, by latency and running requests.
    Latency,
}

/// What is hashed: `strategy.sticky` or `affinity`.
#[derive(Clone, Debug, PartialEq)]
pub struct HashBy {
    /// What of a request is hashed. A request that has none of it is drawn by weight.
    pub fields: Vec<HashField>,
    /// How much of each is hashed, in bytes.
    pub bytes_max: usize,
    /// Whether a target with more than its share of running requests passes some on to the next.
    pub bounded: bool,
}

/// One thing that is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashField {
    /// A fact, as conditions know it.
    Fact(Fact),
    /// The beginning of the conversation: the system prompt and what follows up to the first word of the user.
    Conversation,
}
