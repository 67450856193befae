//! What a log record costs: `cargo bench -p trunkline-benches --bench log [-- SECONDS DIR]`. Encodes and submits typical
//! records of about 380 bytes, then holds 200,000 a second for some seconds with the disk synced every 200 ms, then goes
//! as fast as it can.
//!
//! Without `--bench`, as `cargo test` calls it, it runs for a moment only, to prove that it still works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]

use std::{
    fs,
    hint::black_box,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use trunkline::{
    config,
    io::log::{LogSender, LogStats, LogWriter, Submitted, system_clock},
    wire::record::encode,
};
use trunkline_benches::typical::with_typical;

fn main() {
    let brief = !std::env::args().any(|arg| arg == "--bench");
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(5_u64);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("log-bench-{}", std::process::id()));
    let length = if brief { Duration::from_millis(100) } else { Duration::from_secs(seconds) };
    encoding(brief);
    paced(&dir, length);
    flat_out(&dir, length);
    fs::remove_dir_all(&dir).expect("the directory was made above");
}

/// The best of many short rounds, as others may run on this machine.
fn encoding(brief: bool) {
    let rounds = if brief { 10 } else { 500 };
    let mut out = Vec::with_capacity(4096);
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        for sequence in 0..RECORDS_A_ROUND {
            out.clear();
            with_typical(0, 5, black_box(sequence), |record| encode(record, &mut out));
            black_box(&out);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / RECORDS_A_ROUND as f64);
    }
    println!("encode: {best:.0} ns a record of {} bytes (best of {rounds} rounds)", out.len());
}

const RECORDS_A_ROUND: u64 = 2000;

/// Bursts of a millisecond's worth of records, a burst a millisecond.
fn paced(dir: &std::path::Path, length: Duration) {
    let (writer, mut senders) = start(dir);
    let begun = Instant::now();
    let mut spent = Duration::ZERO;
    let mut count = 0_u64;
    while begun.elapsed() < length {
        let due = begun.elapsed().as_micros() as u64 / 5;
        let burst = Instant::now();
        while count < due {
            submit(&mut senders[count as usize % 2]);
            count += 1;
        }
        spent += burst.elapsed();
        thread::park_timeout(Duration::from_millis(1));
    }
    let writer_cpu = writer_cpu();
    let stats = writer.stop();
    println!(
        "paced: {count} records in {:.1} s, {:.0} ns a submit, {:.0} ns of the writer's CPU a record, {}",
        length.as_secs_f64(),
        spent.as_nanos() as f64 / count as f64,
        writer_cpu.as_nanos() as f64 / count as f64,
        told(&stats)
    );
}

fn flat_out(dir: &std::path::Path, length: Duration) {
    let (writer, mut senders) = start(dir);
    let begun = Instant::now();
    while begun.elapsed() < length {
        for _ in 0..100 {
            while !senders[0].has_room() {
                thread::yield_now();
            }
            submit(&mut senders[0]);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let stats = writer.stop();
    println!("flat out: {:.0} records a second, {}", stats.queued as f64 / took, told(&stats));
}

fn told(stats: &LogStats) -> String {
    let LogStats { dropped, lost, written, written_bytes, sync_errors, .. } = stats;
    let megabytes = written_bytes / 1_000_000;
    format!(
        "written {written} ({megabytes} MB), dropped {dropped}, lost {lost}, sync errors {sync_errors}"
    )
}

fn start(dir: &std::path::Path) -> (LogWriter, Vec<LogSender>) {
    let settings = config::Log {
        dir: dir.to_owned(),
        bodies: false,
        retain_for: None,
        retain_bytes: Some(2 << 30),
        sync_every: Duration::from_millis(200),
        on_full: config::OnFull::Drop,
    };
    let (writer, senders, _) =
        LogWriter::start(&settings, 2, 5, system_clock()).expect("the directory is writable");
    (writer, senders)
}

fn submit(sender: &mut LogSender) {
    let (core, process) = (sender.core(), sender.process());
    let submitted = sender.submit(|sequence, out| {
        with_typical(core, process, sequence, |record| encode(record, out));
    });
    // A drop shows in the counts.
    let _ = black_box::<Submitted>(submitted);
}

/// CPU time of the thread that writes.
fn writer_cpu() -> Duration {
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() == "log-writer" {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
            return Duration::from_nanos(nanos.unwrap_or(0));
        }
    }
    Duration::ZERO
}
