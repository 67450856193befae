//! The request log: its format, its writer, its reader.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test that calls them")]

mod damage;
mod dump;
mod filter;
mod format;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use trunkline::{
    base::units::UnixTime,
    config,
    dump::{Args, Outcome, Refusal, World, run_on},
    io::log::{Clock, LogSender, LogWriter, Submitted},
    wire::record::{AttemptRecord, Record, Times, UsageRecord, encode},
};

/// A clock that tests turn.
#[derive(Clone, Default)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    fn at(nanos: u64) -> Hands {
        Hands(Arc::new(AtomicU64::new(nanos)))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let nanos = Arc::clone(&self.0);
        Arc::new(move || UnixTime { nanos: nanos.load(Ordering::SeqCst) })
    }
}

/// A directory in memory where there is one: these tests sync thousands of files.
pub(crate) fn tempdir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Noon of some day.
pub(crate) const NOON: u64 = 1_776_945_600_000_000_000;

pub(crate) fn settings(dir: &Path) -> config::Log {
    config::Log {
        dir: dir.to_owned(),
        bodies: false,
        retain_for: None,
        retain_bytes: None,
        sync_every: Duration::from_millis(5),
        on_full: config::OnFull::Drop,
    }
}

pub(crate) fn start(dir: &Path, process: u64) -> (LogWriter, LogSender) {
    let (writer, mut senders, _) =
        LogWriter::start(&settings(dir), 1, process, Hands::at(NOON).clock()).unwrap();
    (writer, senders.pop().unwrap())
}

/// A typical exchange; `number` makes it different from others.
pub(crate) fn sample(number: u64) -> Record {
    Record {
        request_id: u128::from(number) << 96 | 0xabc,
        accepted_unix_nanos: NOON + number * 1_000_000_000,
        times: Times {
            head: 10_000,
            body: 20_000,
            planned: 30_000,
            connected: 1_000_000,
            sent: 1_100_000,
            first_byte: 250_000_000,
            first_token: 260_000_000 + number * 1_000_000,
            last_byte: 900_000_000,
            flushed: 900_100_000,
        },
        api_key: "support-team".into(),
        config: "support".into(),
        epoch: 3,
        seed: 0x1234_5678_9abc_def0,
        dialect: "openai".into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        requested_model: "gpt-4o-mini".into(),
        served_model: "gpt-4o-mini-2024-07-18".into(),
        provider: "openai".into(),
        virtual_key: "openai-prod".into(),
        status: 200,
        attempts: vec![AttemptRecord {
            target: "config.targets[0]".into(),
            provider: "openai".into(),
            virtual_key: "openai-prod".into(),
            model: "gpt-4o-mini".into(),
            status: 200,
            started: 40_000,
            ended: 900_000_000,
            ..AttemptRecord::default()
        }],
        cache_status: "MISS".into(),
        usage: Some(UsageRecord { input: 812, output: 164, ..UsageRecord::default() }),
        cost_pico_usd: Some(220_200_000),
        cost_status: "exact".into(),
        price_table: "2026-04".into(),
        client_bytes_in: 1_400,
        client_bytes_out: 9_000,
        client_address: "10.1.2.3:50123".into(),
        trace_id: "trace-1".into(),
        metadata: vec![(
            "team".into(),
            if number.is_multiple_of(2) { "red" } else { "blue" }.into(),
        )],
        stream: true,
        ..Record::default()
    }
}

pub(crate) fn submit(sender: &mut LogSender, mut record: Record) -> Submitted {
    record.process = sender.process();
    record.core = sender.core();
    sender.submit(|sequence, out| {
        record.sequence = sequence;
        record.lend(|record| encode(record, out));
    })
}

/// Runs the dump program on a directory as a pipe would see it.
pub(crate) fn run_dump(
    dir: &Path,
    set: impl FnOnce(&mut Args),
) -> Result<(Outcome, String), Refusal> {
    run_dump_wide(dir, None, set)
}

pub(crate) fn run_dump_wide(
    dir: &Path,
    width: Option<u16>,
    set: impl FnOnce(&mut Args),
) -> Result<(Outcome, String), Refusal> {
    let mut args = Args { dirs: vec![dir.to_owned()], ..Args::default() };
    set(&mut args);
    let world = World { now: UnixTime { nanos: NOON + 3_600_000_000_000 }, width, stdout: false };
    let mut out = Vec::new();
    let outcome = run_on(&args, &world, &mut out)?;
    Ok((outcome, String::from_utf8(out).unwrap()))
}

pub(crate) fn check(dir: &Path) -> (Outcome, String) {
    run_dump(dir, |args| args.check = true).unwrap()
}
