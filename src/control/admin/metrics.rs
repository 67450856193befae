//! `GET /metrics`: everything that is counted, in Prometheus' text format.

use std::fmt::{Display, Write};

use super::Process;
use crate::{io::log::LogStats, journal::metrics::Counters};

/// The text format's own content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page.
pub fn text(process: &Process) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    about_process(process, &mut page);
    about_epoch(process, &mut page);
    for (name, kind, help, read) in WORKER {
        page.family(name, *kind, help);
        for (number, counters) in process.counters.iter().enumerate() {
            page.sample(name, &[("worker", &number)], read(counters));
        }
    }
    if let Some(log) = &process.log {
        let stats = log.stats();
        for (name, kind, help, read) in LOG {
            page.one(name, *kind, help, read(&stats));
        }
    }
    page.0
}

fn about_process(process: &Process, page: &mut Page) {
    let name = "trunkline_info";
    page.family(name, Kind::Gauge, "The version, and what the workers run on.");
    let labels: Labels<'_> =
        &[("version", &env!("CARGO_PKG_VERSION")), ("driver", &process.driver.as_str())];
    page.sample(name, labels, 1);
    let started = process.started.nanos as f64 / 1e9;
    let help = "When the process started, in seconds since 1970.";
    page.one("process_start_time_seconds", Kind::Gauge, help, started);
    if let Some(bytes) = resident_bytes() {
        let help = "Memory that the process holds, in bytes.";
        page.one("process_resident_memory_bytes", Kind::Gauge, help, bytes);
    }
    let help = "1 while the process ends and takes no new connections.";
    page.one("trunkline_draining", Kind::Gauge, help, u8::from(process.hub.is_draining()));
}

fn about_epoch(process: &Process, page: &mut Page) {
    let told = process.reloads.told();
    let help = "The number of the epoch in force.";
    page.one("trunkline_epoch", Kind::Gauge, help, process.hub.number());
    if let Some(current) = told.epochs.back() {
        let name = "trunkline_epoch_info";
        page.family(name, Kind::Gauge, "The digest of the configuration in force.");
        page.sample(name, &[("digest", &hex::encode(current.digest))], 1);
        let since = current.since.nanos as f64 / 1e9;
        let help = "Since when the epoch is in force, in seconds since 1970.";
        page.one("trunkline_epoch_since_seconds", Kind::Gauge, help, since);
    }
    let name = "trunkline_reloads_total";
    page.family(name, Kind::Counter, "Configurations that came into force, or had mistakes.");
    page.sample(name, &[("result", &"applied")], told.applied);
    page.sample(name, &[("result", &"refused")], told.refused);
    let help = "1 while the configuration file has mistakes and an older epoch goes on.";
    let refused = u8::from(process.hub.refusal().is_some());
    page.one("trunkline_reload_refused", Kind::Gauge, help, refused);
}

/// What the kernel says that the process holds.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

type Labels<'a> = &'a [(&'static str, &'a dyn Display)];

/// The page as it grows. Writing into a string cannot fail.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample. Values of labels are ours and hold nothing that must be escaped.
    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

type Row<T> = (&'static str, Kind, &'static str, fn(&T) -> u64);

/// What each worker counts.
const WORKER: &[Row<Counters>] = &[
    ("trunkline_connections_open", Kind::Gauge, "Client connections that are open.", |c| {
        c.connections_open.get()
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
        "trunkline_upstream_idle",
        Kind::Gauge,
        "Connections to upstreams that idle in the pool.",
        |c| c.upstream_idle.get(),
    ),
];

/// What the request log counts.
const LOG: &[Row<LogStats>] = &[
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
