//! The result of a run for people.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::report::{Difference, Report, Side, Spread};

/// The whole result as text.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = heading(report);
    text.push_str(&latencies(report));
    text.push('\n');
    push_side(&mut text, "target", &report.target, report);
    if let Some(direct) = &report.direct {
        push_side(&mut text, "direct", direct, report);
    }
    let own = report.tester_cpu_us_per_request;
    let _ = write!(text, "CPU a request: {own:.1} µs of this load tester");
    if let Some(target) = report.target_cpu_us_per_request {
        let _ = write!(text, ", {target:.1} µs of the target");
    }
    text.push('\n');
    let late = &report.tester_late;
    if late.p99 > LATE_MICROS {
        let _ = writeln!(
            text,
            "The load tester itself was late, by {:.3} ms at p99 and {:.3} ms at most: this machine is too busy, or one\n\
             thread too few, for times from the due time to be the target's alone.",
            late.p99 / 1e3,
            late.max / 1e3
        );
    }
    text
}

/// Lateness of the load tester that is worth a warning.
const LATE_MICROS: f64 = 1000.0;

fn heading(report: &Report) -> String {
    let Report { url, rate, duration_s, connections, arrivals, threads, driver, .. } = report;
    let mut text = format!("{url}: {rate:.1} requests/s ({arrivals}) for {duration_s:.1} s");
    if let Some(direct) = &report.direct_url {
        let _ = write!(text, ", in turns with {direct}");
    }
    let _ = writeln!(text, "\n{connections} connections, {threads} thread(s), {driver}\n");
    text
}

/// One row a histogram: what it is, and its figures.
fn latencies(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ms", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    let mut sides = vec![("target", &report.target)];
    sides.extend(report.direct.as_ref().map(|direct| ("direct", direct)));
    for (name, side) in sides {
        table.add_row(spread_row(&format!("{name}, from due time"), &side.latency.corrected));
        table.add_row(spread_row("  uncorrected, from sending", &side.latency.uncorrected));
        if let Some(streams) = &side.streams {
            table.add_row(spread_row("  first token, from due time", &streams.first_token));
            table.add_row(spread_row("  gap between tokens", &streams.gap));
        }
    }
    if let Some(added) = &report.added {
        table.add_row(difference_row("target adds", &added.latency));
        table.add_row(difference_row("  uncorrected", &added.latency_uncorrected));
        for (name, each) in
            [("  to the first token", added.first_token), ("  to the gap", added.gap)]
        {
            if let Some(difference) = each {
                table.add_row(difference_row(name, &difference));
            }
        }
    }
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn spread_row(name: &str, spread: &Spread) -> Vec<String> {
    let Spread { mean, p50, p90, p99, p99_9, p99_99, max, .. } = *spread;
    row(name, &[mean, p50, p90, p99, p99_9, p99_99, max], |micros| {
        if spread.count == 0 { "-".to_owned() } else { format!("{:.3}", micros / 1e3) }
    })
}

fn difference_row(name: &str, difference: &Difference) -> Vec<String> {
    let Difference { mean, p50, p90, p99, p99_9 } = *difference;
    row(name, &[mean, p50, p90, p99, p99_9], |micros| format!("{:+.3}", micros / 1e3))
}

fn row(name: &str, values: &[f64], show: impl Fn(f64) -> String) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(values.iter().map(|value| show(*value))).collect()
}

/// What became of the requests of one side.
fn push_side(text: &mut String, name: &str, side: &Side, report: &Report) {
    let Side { requests, ok, answered_per_s, .. } = side;
    let failed = requests - ok;
    let mib = side.bytes as f64 / f64::from(1 << 20);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{name}: {requests} requests, {ok} answered ({answered_per_s:.1}/s, {mib:.1} MiB), {failed} failed"
    );
    if failed > 0 {
        let kinds: Vec<_> =
            side.errors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let _ = writeln!(text, "  errors: {}", kinds.join(", "));
        let statuses: Vec<_> =
            side.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let _ = writeln!(text, "  statuses: {}", statuses.join(", "));
    }
    if let Some(streams) = &side.streams {
        let (count, tokens) = (streams.count, streams.tokens);
        let _ =
            writeln!(text, "  {count} streams, {tokens} tokens, {} truncated", streams.truncated);
    }
    if side.reconnects > 0 {
        let _ =
            writeln!(text, "  {} idle connections had been closed by the peer", side.reconnects);
    }
    if side.backlog_max > 0 {
        let _ = writeln!(
            text,
            "  up to {} requests waited for one of the {} connections: the target was too slow for them",
            side.backlog_max, report.connections
        );
    }
}
