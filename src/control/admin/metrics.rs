//! `GET /metrics`: everything that is counted, in Prometheus' text format.

use super::{
    Process,
    families::{EXCHANGE_TIMES, LOG, WORKER, WORKER_LABELLED},
    page::{Kind, Labels, Page},
};
use crate::journal::histogram::Histogram;

/// The whole page.
pub fn text(process: &Process) -> String {
    let mut page = Page::new();
    about_process(process, &mut page);
    about_epoch(process, &mut page);
    about_ceilings(process, &mut page);
    about_workers(process, &mut page);
    about_exchanges(process, &mut page);
    about_log(process, &mut page);
    page.text()
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

/// The ceilings that all workers share.
fn about_ceilings(process: &Process, page: &mut Page) {
    let help = "What limits.memory allows, in bytes.";
    page.one("trunkline_memory_limit_bytes", Kind::Gauge, help, process.hub.memory.total());
    if let Some(most) = process.hub.epoch().config.limits.in_flight {
        let help = "What limits.in_flight allows; absent if that is auto.";
        page.one("trunkline_in_flight_limit", Kind::Gauge, help, most);
    }
}

fn about_workers(process: &Process, page: &mut Page) {
    let workers = || process.counters.iter().enumerate();
    for (name, kind, help, read) in WORKER {
        page.family(name, *kind, help);
        for (number, counters) in workers() {
            page.sample(name, &[("worker", &number)], read(counters));
        }
    }
    for (name, kind, help, label, samples) in WORKER_LABELLED {
        page.family(name, *kind, help);
        for (number, counters) in workers() {
            for (value, text) in samples(counters) {
                page.sample(name, &[("worker", &number), (label, &text)], value);
            }
        }
    }
    let name = "trunkline_event_loop_lag_seconds";
    page.family(
        name,
        Kind::Histogram,
        "How late a worker's event loop comes, sampled ten times a second.",
    );
    for (number, counters) in workers() {
        let read = Histogram::read(std::iter::once(&counters.lag.samples));
        page.histogram(name, &[("worker", &number)], &read);
    }
    let name = "trunkline_event_loop_lag_recent_seconds";
    page.family(name, Kind::Gauge, "The longest lag of the last five to ten seconds.");
    for (number, counters) in workers() {
        let seconds = counters.lag.recent_nanos.get() as f64 / 1e9;
        page.sample(name, &[("worker", &number)], seconds);
    }
}

/// Of all workers together: a histogram a worker would make the page long and tell nothing more.
fn about_exchanges(process: &Process, page: &mut Page) {
    for (name, help, read) in EXCHANGE_TIMES {
        page.family(name, Kind::Histogram, help);
        let all = process.counters.iter().map(|counters| read(&counters.ended));
        page.histogram(name, &[], &Histogram::read(all));
    }
    let name = "trunkline_cost_usd_total";
    page.family(name, Kind::Counter, "What exchanges that have a price cost, in US dollars.");
    for (number, counters) in process.counters.iter().enumerate() {
        let usd = counters.ended.cost_pico_usd.get() as f64 / 1e12;
        page.sample(name, &[("worker", &number)], usd);
    }
}

fn about_log(process: &Process, page: &mut Page) {
    let Some(log) = &process.log else { return };
    let stats = log.stats();
    for (name, kind, help, read) in LOG {
        page.one(name, *kind, help, read(&stats));
    }
    let names = ["trunkline_log_queue_bytes", "trunkline_log_queue_limit_bytes"];
    let helps = ["Bytes that a worker's log queue holds.", "Bytes that it may hold."];
    for at in 0..2 {
        page.family(names[at], Kind::Gauge, helps[at]);
        for (number, level) in log.queues().enumerate() {
            let value = [level.bytes, level.bytes_max][at];
            page.sample(names[at], &[("worker", &number)], value);
        }
    }
    if let Some(level) = log.body_queue() {
        let help = "Bytes of bodies that wait to be logged.";
        page.one("trunkline_log_body_queue_bytes", Kind::Gauge, help, level.bytes);
        let help = "Bytes of bodies that may wait.";
        page.one("trunkline_log_body_queue_limit_bytes", Kind::Gauge, help, level.bytes_max);
    }
}
