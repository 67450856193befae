//! One exchange's facts, gathered as it goes and finished once, by value. Texts are borrowed from the epoch and from
//! the request's head wherever they live there.

use std::{borrow::Cow, rc::Rc};

use smallvec::SmallVec;

use crate::{
    base::{
        fault::{Deadline, Fault, Kind},
        ids::RequestId,
        units::{Instant, UnixTime},
    },
    chat::usage::Usage,
    dialect::Dialect,
    policy::price::Cost,
    wire::record::{AttemptRef, RecordRef, Times, UsageRecord},
};

/// A text that is borrowed if it can be.
pub type Text<'e> = Cow<'e, str>;

/// The metadata of an exchange.
pub type Metadata<'e> = SmallVec<[(Text<'e>, Text<'e>); 2]>;

/// One exchange, while it runs.
#[derive(Debug, Default)]
pub struct Entry<'e> {
    /// Its id.
    pub request_id: RequestId,
    /// When its first byte arrived.
    pub accepted: Instant,
    /// The same in civil time.
    pub accepted_unix: UnixTime,
    /// When each stage was reached; nanoseconds after `accepted`.
    pub times: Times,
    /// The API key's name.
    pub api_key: Text<'e>,
    /// The config's name, or `inline:DIGEST`.
    pub config: Text<'e>,
    /// The epoch it runs on.
    pub epoch: u64,
    /// The seed of its decisions.
    pub seed: u64,
    /// The client's dialect.
    pub dialect: Option<Dialect>,
    /// The method.
    pub method: Text<'e>,
    /// The path, without the query.
    pub path: Text<'e>,
    /// The model that the client wrote.
    pub requested_model: Text<'e>,
    /// The model that the provider said it served.
    pub served_model: Text<'e>,
    /// The status sent to the client.
    pub status: u16,
    /// What went wrong, if the exchange ended in a fault of its own.
    pub fault: Option<Fault>,
    /// Tries, in the order in which they were left; the last is the one that answered, or that runs.
    pub attempts: Vec<Attempt<'e>>,
    /// What it used.
    pub usage: Option<Usage>,
    /// What that cost.
    pub cost: Option<Cost>,
    /// Bytes from the client.
    pub client_bytes_in: u64,
    /// Bytes to the client.
    pub client_bytes_out: u64,
    /// The client's address and port.
    pub client_address: Option<Rc<str>>,
    /// The trace id that the client gave; empty: the request's id serves as one.
    pub trace_id: Text<'e>,
    /// Metadata, the API key's own included.
    pub metadata: Metadata<'e>,
    /// Parameters dropped in translation.
    pub dropped_params: Vec<String>,
    /// The conditions that chose a target: `config.conditions[1] -> name`.
    pub conditions: Vec<String>,
    /// Targets whose breaker was open when the plan was made.
    pub open_breakers: Vec<String>,
    /// What the balances saw.
    pub balance: Vec<(String, u64)>,
    /// What guardrails found: the target's place, the side, and the outcome in words.
    pub guardrails: Vec<String>,
    /// The client asked for a stream.
    pub stream: bool,
    /// The upstream broke after the commit point.
    pub truncated: bool,
    /// The client went away before the end.
    pub client_gone: bool,
    /// A second try was sent beside a slow one.
    pub hedged: bool,
    /// It is a copy that went to a mirror: no client waited for it.
    pub mirror: bool,
}

/// One try of one target.
#[derive(Debug, Default)]
pub struct Attempt<'e> {
    /// Its place in the config; the answer's head says it too.
    pub target: Rc<str>,
    /// The provider.
    pub provider: &'static str,
    /// The virtual key.
    pub virtual_key: Text<'e>,
    /// Which of several credentials, by number.
    pub credential: Text<'e>,
    /// The model sent.
    pub model: Text<'e>,
    /// The upstream's status; 0: no answer.
    pub status: u16,
    /// When it began.
    pub started: u64,
    /// When it was left or complete.
    pub ended: u64,
    /// Why it was left.
    pub left: &'static str,
    /// A sentence more about that.
    pub detail: Text<'e>,
    /// What it was besides one of the walk's: `hedge`.
    pub role: &'static str,
}

impl<'e> Entry<'e> {
    /// Nanoseconds since the first byte; never 0, which means "not reached".
    #[must_use]
    pub fn at(&self, now: Instant) -> u64 {
        now.nanos.saturating_sub(self.accepted.nanos).max(1)
    }

    /// The try under way, or the last one.
    pub fn attempt(&mut self) -> Option<&mut Attempt<'e>> {
        self.attempts.last_mut()
    }

    /// Lends the entry as a record of worker `core`.
    pub fn lend<T>(
        &self,
        core: u16,
        process: u64,
        sequence: u64,
        use_it: impl FnOnce(&RecordRef<'_>) -> T,
    ) -> T {
        let (only, several): ([AttemptRef<'_>; 1], Vec<AttemptRef<'_>>);
        let attempts = match &*self.attempts {
            [attempt] => {
                only = [attempt.borrowed()];
                &only[..]
            }
            attempts => {
                several = attempts.iter().map(Attempt::borrowed).collect();
                &several[..]
            }
        };
        let metadata: SmallVec<[(&str, &str); 4]> =
            lent(&self.metadata, |(name, value)| (&**name, &**value));
        let balance: SmallVec<[(&str, u64); 2]> =
            lent(&self.balance, |(label, amount)| (&**label, *amount));
        let own_trace = self.request_id.digits();
        let last = self.attempts.last();
        use_it(&RecordRef {
            core,
            sequence,
            process,
            request_id: self.request_id.0,
            accepted_unix_nanos: self.accepted_unix.nanos,
            times: self.times,
            api_key: &self.api_key,
            config: &self.config,
            epoch: self.epoch,
            seed: self.seed,
            dialect: self.dialect.map_or("", Dialect::as_str),
            method: &self.method,
            path: &self.path,
            requested_model: &self.requested_model,
            served_model: &self.served_model,
            provider: last.map_or("", |attempt| attempt.provider),
            virtual_key: last.map_or("", |attempt| &attempt.virtual_key),
            status: self.status,
            error_source: self.fault.as_ref().map_or("", |fault| fault.source.as_str()),
            error_kind: self.fault.as_ref().map_or("", |fault| kind_word(fault.kind)),
            error_message: self.fault.as_ref().map_or("", |fault| &fault.message),
            attempts,
            cache_status: "DISABLED",
            usage: self.usage.as_ref().map(usage_record),
            cost_pico_usd: self.cost.and_then(|cost| cost.amount).map(|amount| amount.0),
            cost_status: self.cost.map_or("", |cost| cost.status.as_str()),
            price_table: self.cost.map_or("", |_| crate::policy::price::TABLE),
            client_bytes_in: self.client_bytes_in,
            client_bytes_out: self.client_bytes_out,
            client_address: self.client_address.as_deref().unwrap_or_default(),
            trace_id: if self.trace_id.is_empty() { own_trace.as_str() } else { &self.trace_id },
            metadata: &metadata,
            dropped_params: &self.dropped_params,
            conditions: &self.conditions,
            open_breakers: &self.open_breakers,
            balance: &balance,
            omitted: 0,
            guardrails: &self.guardrails,
            stream: self.stream,
            truncated: self.truncated,
            client_gone: self.client_gone,
            hedged: self.hedged,
            mirror: self.mirror,
        })
    }
}

/// A list of what `lend` makes of each item. Most have one or none, which makes this cheaper than collecting.
#[inline(always)]
fn lent<'a, T, A: smallvec::Array>(list: &'a [T], lend: impl Fn(&'a T) -> A::Item) -> SmallVec<A> {
    let mut lent = SmallVec::new();
    list.iter().for_each(|item| lent.push(lend(item)));
    lent
}

impl Attempt<'_> {
    /// One that begins at `started`. Written out: an `Rc<str>` of no text, as its default has one, is an allocation.
    #[must_use]
    pub fn begun(target: Rc<str>, started: u64) -> Self {
        Attempt {
            target,
            provider: "",
            virtual_key: Text::default(),
            credential: Text::default(),
            model: Text::default(),
            status: 0,
            started,
            ended: 0,
            left: "",
            detail: Text::default(),
            role: "",
        }
    }

    fn borrowed(&self) -> AttemptRef<'_> {
        AttemptRef {
            target: &self.target,
            provider: self.provider,
            virtual_key: &self.virtual_key,
            credential: &self.credential,
            model: &self.model,
            status: self.status,
            started: self.started,
            ended: self.ended,
            left: self.left,
            detail: &self.detail,
            role: self.role,
        }
    }
}

fn usage_record(usage: &Usage) -> UsageRecord {
    UsageRecord {
        input: usage.input,
        cache_read: usage.cache_read,
        cache_write_5m: usage.cache_write_5m,
        cache_write_1h: usage.cache_write_1h,
        audio_in: usage.audio_in,
        output: usage.output,
        reasoning: usage.reasoning,
        audio_out: usage.audio_out,
        estimated: usage.estimated,
    }
}

/// The word for a kind of fault, in logs and in an attempt's `left`.
#[must_use]
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => "bad_request",
        Kind::BadJson => "bad_json",
        Kind::BadConfig => "bad_config",
        Kind::Inexpressible => "unfit",
        Kind::Unauthenticated => "unauthenticated",
        Kind::NoCredential => "no_credential",
        Kind::Forbidden => "forbidden",
        Kind::CredentialRedirected => "credential_redirected",
        Kind::NoRoute => "no_route",
        Kind::Method => "method",
        Kind::ContentType => "content_type",
        Kind::BodyTooLarge => "body_too_large",
        Kind::HeadTooLarge => "head_too_large",
        Kind::Timeout(Deadline::Body) => "timeout_body",
        Kind::Timeout(Deadline::Send) => "timeout_send",
        Kind::Timeout(Deadline::Request) => "timeout_request",
        Kind::Timeout(Deadline::FirstByte) => "timeout_first_byte",
        Kind::Timeout(Deadline::FirstToken) => "timeout_first_token",
        Kind::Timeout(Deadline::Idle) => "timeout_idle",
        Kind::Timeout(Deadline::Total) => "timeout_total",
        Kind::ConnectTimeout => "timeout_connect",
        Kind::Unreachable => "unreachable",
        Kind::Protocol => "protocol",
        Kind::Truncated => "truncated",
        Kind::UpstreamError => "upstream_error",
        Kind::Overloaded => "overloaded",
        Kind::ClientGone => "client_gone",
        Kind::Bug => "bug",
        Kind::HostRefused => "host_refused",
        Kind::NotImplemented => "not_implemented",
        Kind::Guardrail => "guardrail",
    }
}
