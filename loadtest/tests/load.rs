//! Whole loads over loopback against scripted upstreams: what is counted, what is measured, what a stall looks like.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use clap::Parser;
use trunkline_loadtest::{
    args::{Arguments, Command, LoadArgs},
    plan,
    report::Report,
    run, upstream,
};

/// Starts an upstream with these flags on any free port.
fn upstream(flags: &[&str]) -> SocketAddr {
    let line = ["trunkline-load", "upstream", "--listen", "127.0.0.1:0"];
    let parsed = Arguments::try_parse_from(line.iter().chain(flags)).expect("a command line");
    match parsed.command {
        Some(Command::Upstream(args)) => upstream::start(&args).expect("an upstream"),
        None => panic!("no upstream was asked for"),
    }
}

fn args(line: &[&str]) -> LoadArgs {
    let line = std::iter::once("trunkline-load").chain(line.iter().copied());
    Arguments::try_parse_from(line).expect("a command line").load
}

fn load(address: SocketAddr, flags: &[&str]) -> Report {
    let url = format!("http://{address}");
    let line: Vec<&str> = std::iter::once(url.as_str()).chain(flags.iter().copied()).collect();
    let plan = plan::make(&args(&line)).expect("a plan");
    let measured = run::run(&plan).expect("a run");
    Report::new(&plan, &measured)
}

#[test]
fn every_request_that_was_due_is_answered_and_counted() {
    for driver in ["io_uring", "epoll"] {
        if driver == "io_uring" && !trunkline::io::event::uring_works() {
            continue;
        }
        let address = upstream(&["--fast", "--driver", driver]);
        let flags = ["--rate", "300", "--duration", "1s", "--threads", "2", "--driver", driver];
        let report = load(address, &flags);
        assert_eq!((report.target.requests, report.target.ok), (300, 300), "{driver}");
        assert_eq!(report.target.statuses.get(&200), Some(&300));
        assert_eq!(report.target.latency.corrected.count, 300);
        assert!(report.target.latency.corrected.mean >= report.target.latency.uncorrected.mean);
        assert!(report.tester_cpu_us_per_request > 0.0);
        assert!(report.elapsed_s > 0.9, "{}", report.elapsed_s);
    }
}

#[test]
fn a_stall_of_a_second_shows_in_the_corrected_tail() {
    let address = upstream(&["--fast", "--freeze", "500ms..1500ms"]);
    let flags = ["--rate", "200", "--duration", "3s", "--connections", "1"];
    let Report { target, .. } = load(address, &flags);
    assert_eq!((target.requests, target.ok), (600, 600));
    let (corrected, uncorrected) = (target.latency.corrected, target.latency.uncorrected);
    assert!(corrected.max >= 900_000.0 && corrected.p99_9 >= 900_000.0, "{corrected:?}");
    // Two hundred requests were due in the stall; on average they waited for half of it.
    assert!(corrected.p90 >= 300_000.0, "{corrected:?}");
    // A closed loop sees one slow request, whatever the others would have felt.
    assert!(uncorrected.max >= 900_000.0 && uncorrected.p90 < corrected.p90, "{uncorrected:?}");
    assert!(target.backlog_max >= 100, "{}", target.backlog_max);
}

#[test]
fn streams_are_measured_by_their_tokens() {
    let script = "first_byte=30ms&interval=10ms&chunks=10";
    for fast in [&["--fast"] as &[&str], &[]] {
        let address = upstream(&[fast, &["--script", script]].concat());
        let report = load(address, &["--stream", "--rate", "20", "--duration", "1s"]);
        let streams = report.target.streams.expect("streams");
        assert_eq!((report.target.ok, streams.count, streams.truncated), (20, 20, 0));
        assert_eq!((streams.tokens, streams.gap.count), (200, 180));
        assert!(streams.first_token.min >= 30_000.0, "{:?}", streams.first_token);
        assert!(streams.gap.p50 >= 5_000.0, "{:?}", streams.gap);
        assert!(report.target.latency.corrected.min >= 120_000.0);
    }
}

#[test]
fn streams_that_are_cut_are_counted_as_truncated() {
    let address = upstream(&["--script", "cut=1500&chunks=40"]);
    let report = load(address, &["--stream", "--rate", "30", "--duration", "1s"]);
    assert_eq!((report.target.requests, report.target.ok), (30, 0));
    assert_eq!(report.target.errors.get("truncated"), Some(&30));
    assert_eq!(report.target.streams.map(|streams| streams.truncated), Some(30));
    assert_eq!(report.target.latency.corrected.count, 0);
}

#[test]
fn errors_are_told_by_kind() {
    for (script, kind) in [
        ("status=503", "status_5xx"),
        ("status=429", "status_4xx"),
        ("status=302", "status_3xx"),
        ("cut=0", "closed"),
        ("cut=400", "short_body"),
        ("malformed=http", "protocol"),
        ("stall=0", "timeout"),
    ] {
        let address = upstream(&["--script", script]);
        let flags = ["--rate", "20", "--duration", "500ms", "--timeout", "700ms"];
        let report = load(address, &flags);
        assert_eq!(report.target.errors.get(kind), Some(&10), "{script}: {:?}", report.target);
    }
    let address = upstream(&["--script", "error_event=1"]);
    let report = load(address, &["--stream", "--rate", "20", "--duration", "500ms"]);
    assert_eq!(report.target.errors.get("error_event"), Some(&10), "{:?}", report.target);
}

#[test]
fn a_target_that_goes_away_is_a_connect_error_and_the_load_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let plan =
        plan::make(&args(&[&format!("http://{address}"), "--rate", "50", "--duration", "1s"]));
    drop(listener);
    let plan = plan.expect("a plan");
    let report = Report::new(&plan, &run::run(&plan).expect("a run"));
    assert_eq!(report.target.errors.get("connect"), Some(&50), "{:?}", report.target);
}

#[test]
fn a_connection_closed_while_idle_is_opened_again_and_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Says that the connection lives on, and closes it.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|count| count > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            }
        }
    });
    let report = load(address, &["--rate", "20", "--duration", "1s", "--connections", "1"]);
    assert_eq!((report.target.ok, report.target.reconnects), (20, 19), "{:?}", report.target);
}

#[test]
fn the_direct_way_takes_turns_and_the_difference_is_told() {
    let slow = upstream(&["--fast", "--script", "first_byte=80ms"]);
    let quick = upstream(&["--fast"]);
    let direct = format!("http://{quick}");
    let flags =
        ["--rate", "50", "--duration", "1s", "--slice", "250ms", "--direct", direct.as_str()];
    let report = load(slow, &flags);
    let straight = report.direct.expect("a direct side");
    assert_eq!((report.target.ok, straight.ok), (50, 50));
    let added = report.added.expect("a difference");
    assert!((50_000.0..500_000.0).contains(&added.latency_uncorrected.p50), "{added:?}");
    assert!(report.elapsed_s >= 1.7, "{}", report.elapsed_s);
}

#[test]
fn pinned_headers_and_bodies_arrive() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            request.truncate(count);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            if count > 0 {
                let _ = sender.send(String::from_utf8_lossy(&request).into_owned());
            }
        }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("body.json");
    std::fs::write(&file, br#"{"model":"m"}"#).expect("a file");
    let url = format!("http://{address}/v1/messages");
    let path = file.to_string_lossy();
    let flags = [
        url.as_str(),
        "--rate",
        "1",
        "--duration",
        "1s",
        "--connections",
        "1",
        "--body",
        &path,
        "-H",
        "x-a: 1",
    ];
    let plan = plan::make(&args(&flags)).expect("a plan");
    run::run(&plan).expect("a run");
    let request = received.recv_timeout(Duration::from_secs(5)).expect("a request");
    assert!(request.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nx-a: 1\r\n") && request.contains("\r\ncontent-length: 13\r\n"));
    assert!(request.ends_with("\r\n\r\n{\"model\":\"m\"}"));
}
