//! The program as a user runs it: exit codes, what goes to which stream, the shape of its JSON, its files.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trunkline-load");

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().expect("the program")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// An upstream in a process of its own, ended with the test.
struct Upstream {
    process: Child,
    url: String,
}

impl Upstream {
    fn start() -> Upstream {
        let mut process = Command::new(PROGRAM)
            .args(["upstream", "--fast", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut url = String::new();
        let out = process.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut url).expect("a line");
        Upstream { process, url: url.trim().to_owned() }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn json_is_one_object_with_all_figures() {
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().expect("a directory");
    let hgrm = dir.path().join("out.hgrm");
    let (pid, hgrm) = (upstream.process.id().to_string(), hgrm.to_string_lossy());
    let flags = ["--rate", "100", "--duration", "1s", "--slice", "200ms", "--json", "--stream"];
    let rest = ["--direct", upstream.url.as_str(), "--pid", &pid, "--hgrm", &hgrm];
    let done = run(&[&[upstream.url.as_str()] as &[&str], &flags, &rest].concat());
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(text(&done.stderr), "", "nothing but the result where stderr is no terminal");
    let json: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
    for pointer in [
        "/rate",
        "/elapsed_s",
        "/tester_cpu_us_per_request",
        "/tester_late/p99",
        "/target_cpu_us_per_request",
        "/target/answered_per_s",
        "/target/latency/corrected/p99_9",
        "/target/latency/uncorrected/p50",
        "/target/streams/first_token/p99",
        "/target/streams/gap/p50",
        "/target/streams/truncated",
        "/direct/latency/corrected/max",
        "/added/latency/p50",
        "/added/latency/p99",
        "/added/first_token/p99",
    ] {
        assert!(json.pointer(pointer).is_some_and(Value::is_number), "{pointer} in {json:#}");
    }
    assert_eq!(json["target"]["ok"], 100);
    assert_eq!(json["target"]["statuses"]["200"], 100);
    assert_eq!(json["target"]["errors"], serde_json::json!({}));
    for name in
        ["out.hgrm", "out.uncorrected.hgrm", "out.ttft.hgrm", "out.gap.hgrm", "out.direct.hgrm"]
    {
        let histogram = std::fs::read_to_string(dir.path().join(name)).expect(name);
        assert!(histogram.contains("#[Mean    =") && histogram.contains("1/(1-Percentile)"));
    }
}

#[test]
fn the_table_says_what_was_measured() {
    let upstream = Upstream::start();
    let done = run(&[upstream.url.as_str(), "--rate", "50", "--duration", "1s"]);
    assert_eq!(done.status.code(), Some(0));
    let table = text(&done.stdout);
    for piece in
        ["p99.9", "from due time", "uncorrected", "50 requests, 50 answered", "CPU a request"]
    {
        assert!(table.contains(piece), "{piece} is missing in\n{table}");
    }
}

#[test]
fn targets_elsewhere_are_refused_with_a_warning() {
    for args in [
        &["http://192.0.2.1/"] as &[&str],
        &["http://127.0.0.1:1/", "--direct", "http://192.0.2.1/"],
        &["upstream", "--listen", "0.0.0.0:0"],
    ] {
        let done = run(args);
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        let said = text(&done.stderr);
        assert!(done.stdout.is_empty());
        assert!(said.contains("--allow-remote") || said.contains("nobody listens"), "{said}");
    }
    assert!(text(&run(&["http://192.0.2.1/"]).stderr).contains("an attack"));
}

#[test]
fn exit_codes_tell_what_happened() {
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert!(text(&run(&["--help"]).stdout).contains("Examples:"));
    assert!(text(&run(&["upstream", "--help"]).stdout).contains("Examples:"));
    let version = run(&["--version"]);
    assert!(text(&version.stdout).starts_with("trunkline-load "));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["http://127.0.0.1:1/", "--rate", "none"]).status.code(), Some(2));
    assert_eq!(run(&["not a url"]).status.code(), Some(1));
    let upstream = Upstream::start();
    let wrong = format!("{}/v1/nothing", upstream.url);
    let done = run(&[&wrong, "--rate", "20", "--duration", "1s"]);
    assert_eq!(done.status.code(), Some(1), "nothing succeeded");
    assert!(text(&done.stdout).contains("status_4xx 20"));
    assert!(text(&done.stderr).contains("not one request"));
}

#[test]
fn the_measuring_commands_say_what_they_do() {
    for name in ["compare", "memory", "endurance", "log", "gone", "start", "hedge"] {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let told = Command::new(path).arg("--help").output().expect("python3 and the command");
        assert!(told.status.success(), "{name}: {}", text(&told.stderr));
        assert!(text(&told.stdout).contains("--gateway"), "{name}: {}", text(&told.stdout));
    }
}
