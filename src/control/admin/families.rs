//! The families of metrics: their names, what they mean, and where they are read.

use super::page::Kind;
use crate::{
    io::log::LogStats,
    journal::{
        histogram::Histogram,
        metrics::Counters,
        tally::{BUCKETS, SOURCES, STATUS_CLASSES, Tally},
    },
};

/// Samples with the value of their label.
type Samples = Vec<(u64, &'static str)>;

/// A family of several samples a worker: its name, kind, help and label, and how to read them.
type LabelledRow = (&'static str, Kind, &'static str, &'static str, fn(&Counters) -> Samples);

/// What each worker counts apart by a label.
pub const WORKER_LABELLED: &[LabelledRow] = &[
    (
        "trunkline_exchanges_ended_total",
        Kind::Counter,
        "Exchanges ended, by the class of the status sent; none: the client had gone before.",
        "status",
        |c| c.ended.statuses.iter().map(|count| count.get()).zip(STATUS_CLASSES).collect(),
    ),
    (
        "trunkline_errors_total",
        Kind::Counter,
        "Exchanges that ended in an error, by who is to blame, as x-trunkline-error-source says.",
        "source",
        |c| c.ended.sources.iter().map(|count| count.get()).zip(SOURCES).collect(),
    ),
    (
        "trunkline_exchanges_refused_total",
        Kind::Counter,
        "Exchanges answered 503 because a ceiling was reached, by which one.",
        "limit",
        |c| vec![(c.refused_in_flight.get(), "in_flight"), (c.refused_memory.get(), "memory")],
    ),
    (
        "trunkline_tokens_total",
        Kind::Counter,
        "Tokens used, in buckets of which none holds what another does.",
        "bucket",
        |c| c.ended.tokens.iter().zip(BUCKETS).map(|(n, (name, _))| (n.get(), name)).collect(),
    ),
    (
        "trunkline_guardrails_total",
        Kind::Counter,
        "Guardrails that ran, by how they ended; error: checks that could not be made.",
        "outcome",
        |c| {
            let counts = &c.guardrails;
            vec![
                (counts.passed.get(), "passed"),
                (counts.failed.get(), "failed"),
                (counts.denied.get(), "denied"),
                (counts.errors.get(), "error"),
                (counts.not_called.get(), "not_called"),
            ]
        },
    ),
    (
        "trunkline_memory_accounted_bytes",
        Kind::Gauge,
        "Memory that limits.memory counts: of exchanges and their bodies, and of the log's queues.",
        "part",
        |c| vec![(c.exchange_bytes.get(), "exchanges"), (c.log_bytes.get(), "log")],
    ),
];

/// A histogram of all workers: its name and help, and where it is.
type TimesRow = (&'static str, &'static str, fn(&Tally) -> &Histogram);

/// How long exchanges that reached an upstream took.
pub const EXCHANGE_TIMES: &[TimesRow] = &[
    (
        "trunkline_gateway_duration_seconds",
        "From a request's first byte until it was out to the upstream, of exchanges with one attempt.",
        |tally| &tally.gateway,
    ),
    (
        "trunkline_first_byte_duration_seconds",
        "From a request's first byte to that of its answer, of exchanges that reached an upstream.",
        |tally| &tally.first_byte,
    ),
    (
        "trunkline_first_token_duration_seconds",
        "From a request's first byte to the first token of its stream.",
        |tally| &tally.first_token,
    ),
    (
        "trunkline_exchange_duration_seconds",
        "From a request's first byte to the last one sent, of exchanges that reached an upstream.",
        |tally| &tally.total,
    ),
];

/// A family of one sample: its name, kind and help, and how to read it.
pub type Row<T> = (&'static str, Kind, &'static str, fn(&T) -> u64);

/// What each worker counts.
pub const WORKER: &[Row<Counters>] = &[
    ("trunkline_connections_open", Kind::Gauge, "Client connections that are open.", |c| {
        c.connections_open.get()
    }),
    ("trunkline_connections_limit", Kind::Gauge, "Client connections that may be open.", |c| {
        c.connections_max.get()
    }),
    ("trunkline_connections_total", Kind::Counter, "Client connections accepted.", |c| {
        c.connections.get()
    }),
    (
        "trunkline_connections_refused_total",
        Kind::Counter,
        "Client connections refused because limits.connections was reached.",
        |c| c.connections_refused.get(),
    ),
    (
        "trunkline_tls_failures_total",
        Kind::Counter,
        "TLS handshakes with clients that failed.",
        |c| c.tls_failures.get(),
    ),
    (
        "trunkline_malformed_heads_total",
        Kind::Counter,
        "Requests whose head was not HTTP; they make no log record.",
        |c| c.malformed_heads.get(),
    ),
    ("trunkline_exchanges_total", Kind::Counter, "Exchanges begun.", |c| c.exchanges.get()),
    ("trunkline_attempts_total", Kind::Counter, "Attempts made at targets.", |c| c.attempts.get()),
    ("trunkline_hedges_total", Kind::Counter, "Second tries beside slow ones.", |c| c.hedges.get()),
    ("trunkline_mirrors_total", Kind::Counter, "Copies sent to mirrors.", |c| c.mirrors.get()),
    (
        "trunkline_mirrors_skipped_total",
        Kind::Counter,
        "Copies not sent to mirrors, for want of room.",
        |c| c.mirrors_skipped.get(),
    ),
    (
        "trunkline_clients_gone_total",
        Kind::Counter,
        "Exchanges whose client went away before the end.",
        |c| c.clients_gone.get(),
    ),
    (
        "trunkline_truncated_total",
        Kind::Counter,
        "Answers whose upstream broke after the client had a part of them.",
        |c| c.truncated.get(),
    ),
    ("trunkline_bugs_total", Kind::Counter, "Panics caught: each is a bug.", |c| c.bugs.get()),
    (
        "trunkline_metadata_ignored_total",
        Kind::Counter,
        "Metadata headers that were not JSON and so ignored.",
        |c| c.metadata_ignored.get(),
    ),
    (
        "trunkline_upstream_connections_total",
        Kind::Counter,
        "Connections to upstreams opened.",
        |c| c.upstream_connections.get(),
    ),
    (
        "trunkline_upstream_reused_total",
        Kind::Counter,
        "Attempts on a connection from the pool.",
        |c| c.upstream_reused.get(),
    ),
    (
        "trunkline_upstream_open",
        Kind::Gauge,
        "Connections to upstreams that are open, in use or idle.",
        |c| c.upstream_open.get(),
    ),
    (
        "trunkline_upstream_idle",
        Kind::Gauge,
        "Connections to upstreams that idle in the pool.",
        |c| c.upstream_idle.get(),
    ),
    ("trunkline_in_flight", Kind::Gauge, "Exchanges under way.", |c| c.in_flight.get()),
    ("trunkline_streams_open", Kind::Gauge, "Streams of events under way to clients.", |c| {
        c.streams_open.get()
    }),
    ("trunkline_retries_total", Kind::Counter, "Attempts at the same target again.", |c| {
        c.ended.retries.get()
    }),
    ("trunkline_fallbacks_total", Kind::Counter, "Attempts that went on to another target.", |c| {
        c.ended.fallbacks.get()
    }),
    (
        "trunkline_client_received_bytes_total",
        Kind::Counter,
        "Bytes from clients, of exchanges that have ended.",
        |c| c.ended.bytes_in.get(),
    ),
    (
        "trunkline_client_sent_bytes_total",
        Kind::Counter,
        "Bytes to clients, of exchanges that have ended.",
        |c| c.ended.bytes_out.get(),
    ),
    (
        "trunkline_unpriced_exchanges_total",
        Kind::Counter,
        "Exchanges that used something without a known price.",
        |c| c.ended.unpriced.get(),
    ),
    ("trunkline_slow_requests_total", Kind::Counter, "Exchanges slower than slow_request.", |c| {
        c.ended.slow.get()
    }),
    (
        "trunkline_log_records_dropped_total",
        Kind::Counter,
        "Log records of this worker dropped because its queue was full.",
        |c| c.records_dropped.get(),
    ),
];

/// What the request log counts.
pub const LOG: &[Row<LogStats>] = &[
    ("trunkline_log_queued_total", Kind::Counter, "Log records queued.", |s| s.queued),
    (
        "trunkline_log_dropped_total",
        Kind::Counter,
        "Log records dropped because the queue was full.",
        |s| s.dropped,
    ),
    ("trunkline_log_written_total", Kind::Counter, "Log records in a file.", |s| s.written),
    (
        "trunkline_log_lost_total",
        Kind::Counter,
        "Log records given up at the stop because the disk refused them.",
        |s| s.lost,
    ),
    ("trunkline_log_queue_depth", Kind::Gauge, "Log records queued, not yet written.", |s| s.depth),
    (
        "trunkline_log_written_bytes_total",
        Kind::Counter,
        "Bytes of records and bodies written.",
        |s| s.written_bytes,
    ),
    ("trunkline_log_write_errors_total", Kind::Counter, "Writes that the disk refused.", |s| {
        s.write_errors
    }),
    ("trunkline_log_sync_errors_total", Kind::Counter, "Syncs that failed.", |s| s.sync_errors),
    (
        "trunkline_log_deleted_segments_total",
        Kind::Counter,
        "Segments deleted by retention.",
        |s| s.deleted_segments,
    ),
    ("trunkline_log_bodies_written_total", Kind::Counter, "Bodies in a file.", |s| {
        s.bodies_written
    }),
    (
        "trunkline_log_bodies_dropped_total",
        Kind::Counter,
        "Bodies dropped because their queue was full or the disk refused.",
        |s| s.bodies_dropped,
    ),
];
