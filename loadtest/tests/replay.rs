//! A replay of a log that this test writes with the gateway's own encoder and log writer.

use std::{path::Path, sync::Arc, time::Duration};

use clap::Parser;
use trunkline::{
    config::Log,
    io::log::{LogWriter, Submitted, system_clock},
    wire::record::{Record, encode},
};
use trunkline_loadtest::{
    args::{Arguments, Command},
    plan, replay,
    report::Report,
    run,
    schedule::Arrivals,
    upstream,
};

fn record(number: u64, at_millis: u64, model: &str) -> Record {
    Record {
        sequence: number,
        accepted_unix_nanos: 1_700_000_000_000_000_000 + at_millis * 1_000_000,
        dialect: "openai".into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        requested_model: model.into(),
        status: 200,
        client_bytes_in: 2000 + number,
        stream: number.is_multiple_of(2),
        ..Record::default()
    }
}

fn write(dir: &Path, records: &[Record]) {
    let settings = Log { dir: dir.to_owned(), ..Log::default() };
    let (writer, mut senders, _) =
        LogWriter::start(&settings, 1, 7, Arc::clone(&system_clock())).expect("a log");
    for record in records {
        let queued = record.lend(|record| senders[0].submit(|_, out| encode(record, out)));
        assert_eq!(queued, Submitted::Queued);
    }
    drop(senders);
    let summary = writer.stop();
    assert_eq!(summary.written, records.len() as u64);
}

#[test]
fn arrivals_models_and_sizes_come_from_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    // Written in the order in which they ended, as a gateway does.
    let mut records = vec![record(1, 400, "gpt-b"), record(2, 0, "gpt-a"), record(3, 900, "gpt-a")];
    records.push(Record { path: "/v1/files".into(), ..record(4, 950, "gpt-a") });
    write(dir.path(), &records);

    let log = replay::read(dir.path()).expect("a log");
    let seen: Vec<_> = log
        .requests
        .iter()
        .map(|each| (each.at / 1_000_000, each.model.as_str(), each.bytes))
        .collect();
    assert_eq!(seen, [(0, "gpt-a", 2002), (400, "gpt-b", 2001), (900, "gpt-a", 2003)]);
    assert_eq!((log.left_out, log.damaged), (1, 0));

    let line = ["trunkline-load", "upstream", "--listen", "127.0.0.1:0"];
    let Some(Command::Upstream(args)) = Arguments::parse_from(line).command else {
        panic!("no upstream")
    };
    let url = format!("http://{}", upstream::start(&args).expect("an upstream"));
    let dir = dir.path().to_string_lossy();
    let line = ["trunkline-load", url.as_str(), "--replay", &dir, "--speed", "2"];
    let plan = plan::make(&Arguments::parse_from(line).load).expect("a plan");
    assert_eq!(plan.duration.as_millis(), 450);
    assert!(plan.notes.iter().any(|note| note.starts_with("1 records")), "{:?}", plan.notes);
    let Arrivals::Listed(arrivals) = &plan.arrivals else { panic!("not from the log") };
    assert_eq!(arrivals.iter().map(|(at, _)| at / 1_000_000).collect::<Vec<_>>(), [0, 200, 450]);
    let report = Report::new(&plan, &run::run(&plan).expect("a run"));
    assert_eq!((report.target.requests, report.target.ok), (3, 3), "{:?}", report.target);
    assert_eq!(report.target.streams.map(|streams| streams.count), Some(1));
    assert_eq!(report.arrivals, "replay");
    assert!(report.elapsed_s >= 0.4, "{}", report.elapsed_s);
    assert!(plan.timeout > Duration::ZERO);
}

#[test]
fn a_directory_without_requests_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = replay::read(dir.path()).expect_err("refused");
    assert!(said.contains("no request to replay"), "{said}");
    assert!(replay::read(Path::new("/nowhere/at/all")).is_err());
}
