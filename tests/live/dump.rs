//! The request log against real processes: kill -9 in the middle of writes, a reader that hangs up, exit codes.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test that calls them")]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use trunkline::{
    config,
    io::log::{LogWriter, Submitted, system_clock},
    wire::record::{RecordRef, encode},
};

const CHILD_DIR: &str = "TRUNKLINE_TEST_LOG_DIR";

fn settings(dir: &Path) -> config::Log {
    config::Log {
        dir: dir.to_owned(),
        bodies: false,
        retain_for: None,
        retain_bytes: None,
        sync_every: Duration::from_millis(50),
        on_full: config::OnFull::Drop,
    }
}

fn dump(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline-dump")).args(args).output().unwrap()
}

fn log_some(dir: &Path, count: u64) {
    let (writer, mut senders, _) = LogWriter::start(&settings(dir), 1, 77, system_clock()).unwrap();
    for _ in 0..count {
        let submitted = senders[0].submit(|sequence, out| {
            let record =
                RecordRef { sequence, process: 77, path: "/v1/models", ..RecordRef::default() };
            encode(&record, out);
        });
        assert_eq!(submitted, Submitted::Queued);
    }
    assert_eq!(writer.stop().written, count);
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn child_that_logs_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let process = u64::from(std::process::id());
    let (_writer, mut senders, _) =
        LogWriter::start(&settings(Path::new(&dir)), 1, process, system_clock()).unwrap();
    println!("logging");
    for round in 0_u64.. {
        let path = "/x".repeat((round % 600) as usize);
        let _ = senders[0].submit(|sequence, out| {
            encode(&RecordRef { sequence, process, path: &path, ..RecordRef::default() }, out);
        });
        if round % 50 == 0 {
            thread::park_timeout(Duration::from_micros(300));
        }
    }
}

#[test]
fn kill_9_leaves_only_whole_records_and_the_next_start_repairs_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dump::child_that_logs_until_it_is_killed", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().expect("the child says that it logs").unwrap().contains("logging") {}
        thread::park_timeout(Duration::from_millis(60 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    log_some(dir.path(), 3);
    let check = dump(&[path, "--check"]);
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success(), "{said}");
    assert!(said.contains("of 6 processes in 6 segments"), "{said}");
    let json = dump(&[path, "--json"]);
    let records = String::from_utf8(json.stdout).unwrap();
    assert!(records.lines().count() > 100, "{}", records.lines().count());
    for line in records.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let (sequence, path) =
            (record["seq"].as_u64().unwrap(), record["path"].as_str().unwrap_or(""));
        let expected = "/x".repeat(((sequence - 1) % 600) as usize);
        assert!(path == expected || path == "/v1/models", "record {sequence} is what was logged");
    }
}

#[test]
fn a_reader_that_hangs_up_ends_the_program_quietly() {
    let dir = tempfile::tempdir().unwrap();
    log_some(dir.path(), 20_000);
    let mut child = Command::new(env!("CARGO_BIN_EXE_trunkline-dump"))
        .args([dir.path().to_str().unwrap(), "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(256, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.ends_with("}\n"), "{first}");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert_eq!(said, "");
}

#[test]
fn a_follower_ends_with_its_reader_though_nothing_new_comes() {
    let dir = tempfile::tempdir().unwrap();
    log_some(dir.path(), 3);
    let mut child = Command::new(env!("CARGO_BIN_EXE_trunkline-dump"))
        .args([dir.path().to_str().unwrap(), "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("time"), "{first}");
    for _ in 0..1000 {
        if let Some(status) = child.try_wait().unwrap() {
            return assert!(status.success(), "{status}");
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it follows for nobody");
}

#[test]
fn exit_codes_and_messages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    log_some(dir.path(), 3);
    let none = tempfile::tempdir().unwrap();
    let empty = none.path().to_str().unwrap();
    for (args, code, expected) in [
        (vec![path], 0, ""),
        (vec![], 2, "DIR"),
        (vec![path, "--where", "statsu==1"], 2, "did you mean `status`?"),
        (vec![path, "--since", "soon"], 2, "is no time: write"),
        (vec![path, "--by", "model"], 2, "--sum"),
        (vec!["/no/such/dir"], 1, "there is no such directory"),
        (vec![path, "--id", "ff"], 1, "no exchange of that id"),
        (vec![path, "--check"], 0, ""),
        (vec![empty], 0, "no segment of a request log is here yet"),
    ] {
        let output = dump(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
        assert!(code == 0 || output.stdout.is_empty(), "{args:?}");
    }
    let help = String::from_utf8(dump(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("--follow"), "{help}");
    let version = String::from_utf8(dump(&["--version"]).stdout).unwrap();
    assert!(version.starts_with("trunkline-dump "), "{version}");
}
