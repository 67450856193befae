//! The log record: one exchange and its attempts.

/// One exchange, as logged. Times are nanoseconds after `accepted_unix_nanos`; 0 means that the stage was not reached
/// (except `head`, which may be 0).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
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
    pub api_key: String,
    /// The config's name, `inline:DIGEST`, or empty.
    pub config: String,
    /// The epoch it ran on.
    pub epoch: u64,
    /// The seed of its decisions.
    pub seed: u64,
    /// `openai`, `anthropic`, `responses`.
    pub dialect: String,
    /// Method and path, without the query.
    pub method: String,
    /// The path.
    pub path: String,
    /// As the client wrote it.
    pub requested_model: String,
    /// As the provider said, else as sent.
    pub served_model: String,
    /// The provider that answered last.
    pub provider: String,
    /// The virtual key that answered last; empty: none.
    pub virtual_key: String,
    /// The status sent to the client; 0: none was sent.
    pub status: u16,
    /// `client`, `gateway`, `upstream`, `network`; empty: no error.
    pub error_source: String,
    /// The kind of the fault, snake case; empty: no error.
    pub error_kind: String,
    /// The message of the fault; empty: no error.
    pub error_message: String,
    /// In the order they were made.
    pub attempts: Vec<AttemptRecord>,
    /// `DISABLED`, `HIT`, `MISS`, `REFRESH`.
    pub cache_status: String,
    /// Token buckets; `None`: unknown.
    pub usage: Option<UsageRecord>,
    /// Cost in pico-dollars; `None`: unpriced or unknown usage.
    pub cost_pico_usd: Option<u64>,
    /// `exact`, `estimated`, `unpriced`.
    pub cost_status: String,
    /// Names the price table used; empty: none.
    pub price_table: String,
    /// Bytes read from and written to the client, heads included.
    pub client_bytes_in: u64,
    /// See above.
    pub client_bytes_out: u64,
    /// Address and port of the client.
    pub client_address: String,
    /// The trace id.
    pub trace_id: String,
    /// Metadata, in order.
    pub metadata: Vec<(String, String)>,
    /// Parameters dropped in translation.
    pub dropped_params: Vec<String>,
    /// The client asked for a stream.
    pub stream: bool,
    /// The upstream broke after the commit point.
    pub truncated: bool,
    /// The client went away before the end.
    pub client_gone: bool,
    /// A hedge was sent.
    pub hedged: bool,
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

/// One try of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptRecord {
    /// `config`, `config.targets[1]` …
    pub target: String,
    /// The provider.
    pub provider: String,
    /// The virtual key; empty: none.
    pub virtual_key: String,
    /// The model sent.
    pub model: String,
    /// Upstream status; 0: no answer.
    pub status: u16,
    /// When it began, in nanoseconds after the request's first byte.
    pub started: u64,
    /// When it was left or complete, likewise.
    pub ended: u64,
    /// Why it was left: `status`, `timeout_connect`, `timeout_first_byte`, `unreachable`, `protocol`, `unfit`, …;
    /// empty: it was not left.
    pub left: String,
    /// A sentence more about that.
    pub detail: String,
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
