//! The log record: one exchange and its attempts. `encode.rs` draws it byte by byte, `block.rs` the blocks and
//! segments around it.
//!
//! [`Record`] owns its texts and is what decoding gives; [`RecordRef`] borrows them and is what the request path
//! fills, so that logging allocates nothing. Both are the one struct [`Exchange`].

pub mod block;
mod cursor;
pub mod decode;
pub mod encode;
pub mod segment;

pub use decode::decode;
pub use encode::encode;

/// An exchange with texts and lists of its own, as read from a log.
pub type Record =
    Exchange<String, Vec<Attempt<String>>, Vec<(String, String)>, Vec<String>, Vec<(String, u64)>>;

/// An exchange whose texts and lists are borrowed, as given to [`encode()`].
pub type RecordRef<'a> = Exchange<
    &'a str,
    &'a [Attempt<&'a str>],
    &'a [(&'a str, &'a str)],
    &'a [String],
    &'a [(&'a str, u64)],
>;

/// One exchange, as logged. Times are nanoseconds after `accepted_unix_nanos`; 0 means that the stage was not reached
/// (except `head`, which may be 0). Use it as [`Record`] or [`RecordRef`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange<Text, Attempts, Pairs, Texts, Amounts> {
    /// The worker that served it.
    pub core: u16,
    /// Counts the records of that worker since its process started, from 1 on, without gaps.
    pub sequence: u64,
    /// Distinguishes the processes that wrote into one directory.
    pub process: u64,
    /// The request's id.
    pub request_id: u128,
    /// When its first byte arrived (civil time, nanoseconds).
    pub accepted_unix_nanos: u64,
    /// When each stage was reached.
    pub times: Times,
    /// The API key's name; empty: none.
    pub api_key: Text,
    /// The config's name, `inline:DIGEST`, or empty.
    pub config: Text,
    /// The epoch it ran on.
    pub epoch: u64,
    /// The seed of its decisions.
    pub seed: u64,
    /// `openai`, `anthropic`, `responses`.
    pub dialect: Text,
    /// The method.
    pub method: Text,
    /// The path, without the query.
    pub path: Text,
    /// As the client wrote it.
    pub requested_model: Text,
    /// As the provider said, else as sent.
    pub served_model: Text,
    /// The provider that answered last.
    pub provider: Text,
    /// The virtual key that answered last; empty: none.
    pub virtual_key: Text,
    /// The status sent to the client; 0: none was sent.
    pub status: u16,
    /// `client`, `gateway`, `upstream`, `network`; empty: no error.
    pub error_source: Text,
    /// The kind of the fault, snake case; empty: no error.
    pub error_kind: Text,
    /// The message of the fault; empty: no error.
    pub error_message: Text,
    /// In the order in which they were left; the last is the one that answered, if one did.
    pub attempts: Attempts,
    /// `DISABLED`, `HIT`, `MISS`, `REFRESH`.
    pub cache_status: Text,
    /// Token buckets; `None`: unknown.
    pub usage: Option<UsageRecord>,
    /// Cost in pico-dollars; `None`: unpriced or unknown usage.
    pub cost_pico_usd: Option<u64>,
    /// `exact`, `estimated`, `unpriced`.
    pub cost_status: Text,
    /// Names the price table used; empty: none.
    pub price_table: Text,
    /// Bytes read from the client, heads included.
    pub client_bytes_in: u64,
    /// Bytes written to the client, heads included.
    pub client_bytes_out: u64,
    /// Address and port of the client.
    pub client_address: Text,
    /// The trace id.
    pub trace_id: Text,
    /// Metadata, in order.
    pub metadata: Pairs,
    /// Parameters dropped in translation.
    pub dropped_params: Texts,
    /// The conditions that matched, as paths into the config, and the targets that they chose
    /// (`config.conditions[0] -> name`; `config.default -> name` if none did).
    pub conditions: Texts,
    /// The targets whose breaker was open when the plan was made, as paths into the config.
    pub open_breakers: Texts,
    /// What the decision was made from besides: `PATH what`, and how much. Of a balance: `hash`. Of a target, what is
    /// not 0: `half_open`, `out_for` (nanoseconds without quota), `latency` (nanoseconds), `in_flight` (requests). And
    /// `passed_over`: another request was trying it.
    pub balance: Amounts,
    /// Entries of the lists above that were left out because the record would have become too long.
    pub omitted: u64,
    /// What guardrails found: `config.targets[0] input NAME denied: default.contains`.
    pub guardrails: Texts,
    /// The client asked for a stream.
    pub stream: bool,
    /// The upstream broke after the commit point.
    pub truncated: bool,
    /// The client went away before the end.
    pub client_gone: bool,
    /// A hedge was sent.
    pub hedged: bool,
    /// It is a copy that went to a mirror, beside the exchange of the same trace id: no client waited for it.
    pub mirror: bool,
}

/// When each stage was reached, in nanoseconds after the request's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The head was complete.
    pub head: u64,
    /// The body was complete.
    pub body: u64,
    /// The targets were chosen.
    pub planned: u64,
    /// The last attempt had a connection.
    pub connected: u64,
    /// The request was written to the last target.
    pub sent: u64,
    /// The first byte of the last target's answer.
    pub first_byte: u64,
    /// The first content event of a stream.
    pub first_token: u64,
    /// The last byte from the upstream.
    pub last_byte: u64,
    /// The last byte to the client.
    pub flushed: u64,
}

/// An attempt with texts of its own.
pub type AttemptRecord = Attempt<String>;

/// An attempt whose texts are borrowed.
pub type AttemptRef<'a> = Attempt<&'a str>;

/// One try of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt<Text> {
    /// `config`, `config.targets[1]` …
    pub target: Text,
    /// The provider.
    pub provider: Text,
    /// The virtual key; empty: none.
    pub virtual_key: Text,
    /// Which of several credentials behind it: `#2`; empty: there is one.
    pub credential: Text,
    /// The model sent.
    pub model: Text,
    /// Upstream status; 0: no answer.
    pub status: u16,
    /// When it began, in nanoseconds after the request's first byte.
    pub started: u64,
    /// When it was left or complete, likewise.
    pub ended: u64,
    /// Why it was left: `status`, `timeout_connect`, `timeout_first_byte`, `unreachable`, `protocol`, `unfit`, …;
    /// `hedge_lost`: the other try beside it was faster; empty: it was not left.
    pub left: Text,
    /// A sentence more about that.
    pub detail: Text,
    /// `hedge`: a second try beside a slow one; empty: one of the usual kind.
    pub role: Text,
}

/// Token buckets, disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageRecord {
    /// Uncached input.
    pub input: u64,
    /// Read from the provider's prompt cache.
    pub cache_read: u64,
    /// Written to it for 5 minutes.
    pub cache_write_5m: u64,
    /// Written to it for 1 hour.
    pub cache_write_1h: u64,
    /// Audio in.
    pub audio_in: u64,
    /// Visible output.
    pub output: u64,
    /// Reasoning.
    pub reasoning: u64,
    /// Audio out.
    pub audio_out: u64,
    /// An estimate of Trunkline's.
    pub estimated: bool,
}

impl Record {
    /// Lends the record as a [`RecordRef`] to `use_it`: for what re-encodes records, not for the request path.
    pub fn lend<T>(&self, use_it: impl FnOnce(&RecordRef<'_>) -> T) -> T {
        let attempts: Vec<_> = self.attempts.iter().map(Attempt::borrowed).collect();
        let metadata: Vec<_> = self.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        let balance: Vec<_> = self.balance.iter().map(|(target, n)| (&**target, *n)).collect();
        use_it(&RecordRef {
            core: self.core,
            sequence: self.sequence,
            process: self.process,
            request_id: self.request_id,
            accepted_unix_nanos: self.accepted_unix_nanos,
            times: self.times,
            api_key: &self.api_key,
            config: &self.config,
            epoch: self.epoch,
            seed: self.seed,
            dialect: &self.dialect,
            method: &self.method,
            path: &self.path,
            requested_model: &self.requested_model,
            served_model: &self.served_model,
            provider: &self.provider,
            virtual_key: &self.virtual_key,
            status: self.status,
            error_source: &self.error_source,
            error_kind: &self.error_kind,
            error_message: &self.error_message,
            attempts: &attempts,
            cache_status: &self.cache_status,
            usage: self.usage,
            cost_pico_usd: self.cost_pico_usd,
            cost_status: &self.cost_status,
            price_table: &self.price_table,
            client_bytes_in: self.client_bytes_in,
            client_bytes_out: self.client_bytes_out,
            client_address: &self.client_address,
            trace_id: &self.trace_id,
            metadata: &metadata,
            dropped_params: &self.dropped_params,
            conditions: &self.conditions,
            open_breakers: &self.open_breakers,
            balance: &balance,
            omitted: self.omitted,
            guardrails: &self.guardrails,
            stream: self.stream,
            truncated: self.truncated,
            client_gone: self.client_gone,
            hedged: self.hedged,
            mirror: self.mirror,
        })
    }
}

impl AttemptRecord {
    /// The same attempt with its texts borrowed.
    #[must_use]
    pub fn borrowed(&self) -> AttemptRef<'_> {
        Attempt {
            target: &self.target,
            provider: &self.provider,
            virtual_key: &self.virtual_key,
            credential: &self.credential,
            model: &self.model,
            status: self.status,
            started: self.started,
            ended: self.ended,
            left: &self.left,
            detail: &self.detail,
            role: &self.role,
        }
    }
}
