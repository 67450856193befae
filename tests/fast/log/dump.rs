//! What `trunkline-dump` prints.

use std::{
    io::{self, Write},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use trunkline::{
    base::units::UnixTime,
    dump::{Args, Outcome, Refusal, World, run_on},
    wire::record::{AttemptRecord, Record},
};

use super::{NOON, run_dump, run_dump_wide, sample, start, submit, tempdir};

fn write_log(dir: &Path, process: u64, records: impl IntoIterator<Item = Record>) {
    let (writer, mut sender) = start(dir, process);
    for record in records {
        let _ = submit(&mut sender, record);
    }
    assert_eq!(writer.stop().depth, 0);
}

fn log_of(records: impl IntoIterator<Item = Record>) -> tempfile::TempDir {
    let dir = tempdir();
    write_log(dir.path(), 5, records);
    dir
}

#[test]
fn a_table_has_a_line_each_and_fits_the_terminal() {
    let dir = log_of((0..30).map(sample));
    for width in [20, 40, 60, 80, 120, 200] {
        let (_, table) = run_dump_wide(dir.path(), Some(width), |_| {}).unwrap();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 21, "width {width}:\n{table}");
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(width < 40 || widest <= usize::from(width), "{widest} in {width}:\n{table}");
    }
    let (_, table) = run_dump(dir.path(), |args| args.newest = Some(2)).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("time (UTC)"), "{table}");
    assert!(lines[1].starts_with("2026-04-23 12:00:28.000"), "{table}");
    assert!(lines[2].contains("gpt-4o-mini-2024-07-18"), "{table}");
    assert!(lines[2].contains("289ms") && lines[2].contains("$0.0002202"), "{table}");
    assert_eq!(run_dump(dir.path(), |args| args.newest = Some(0)).unwrap().1.lines().count(), 31);
}

#[test]
fn a_table_cannot_be_made_to_lie() {
    let record = Record {
        served_model: "\u{1b}[2J\u{202e}evil\nsecond line".into(),
        api_key: "a\u{200b}b\tc".into(),
        ..sample(1)
    };
    let dir = log_of([record]);
    let (_, table) = run_dump(dir.path(), |_| {}).unwrap();
    assert_eq!(table.lines().count(), 2);
    assert!(table.contains("\\u{1b}[2J\\u{202e}evil\\nsecond line"), "{table}");
    assert!(table.contains("a\\u{200b}b\\tc"), "{table}");
}

#[test]
fn json_has_every_field_and_null_for_the_unknown() {
    let dir = log_of([sample(1), Record { accepted_unix_nanos: NOON * 2, ..Record::default() }]);
    let (_, text) = run_dump(dir.path(), |args| args.json = true).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let full = &lines[0];
    assert_eq!(full["time"], "2026-04-23T12:00:01.000000000Z");
    assert_eq!(full["id"], "00000001000000000000000000000abc");
    assert_eq!(full["cost_usd"], "0.0002202");
    assert_eq!(full["cost_pico_usd"], 220_200_000);
    assert_eq!(full["usage"]["input"], 812);
    assert_eq!(full["times"]["first_token_ns"], 261_000_000);
    assert_eq!(full["ttft_ns"], 261_000_000);
    assert_eq!(full["attempts"][0]["target"], "config.targets[0]");
    assert_eq!(full["meta"]["team"], "blue");
    assert_eq!(full["seed"], "1311768467463790320");
    let empty = &lines[1];
    for key in
        ["status", "usage", "cost_usd", "cost_pico_usd", "ttft_ns", "provider", "error", "trace"]
    {
        assert!(empty[key].is_null(), "{key}: {empty}");
    }
    let keys =
        |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(full), keys(empty), "the same keys in the same order");
}

#[test]
fn csv_is_guarded_against_formulas() {
    let record = Record {
        requested_model: "=cmd|' /C calc'!A0".into(),
        metadata: vec![("k".into(), "a,\"b".into())],
        ..sample(1)
    };
    let dir = log_of([record]);
    let (_, text) = run_dump(dir.path(), |args| args.csv = true).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let cell = |name: &str| &row[headers.iter().position(|header| header == name).unwrap()];
    assert_eq!(cell("requested_model"), "'=cmd|' /C calc'!A0");
    assert_eq!(cell("cost_usd"), "0.0002202");
    assert_eq!(cell("ttft_ns"), "261000000");
    assert_eq!(cell("error"), "");
    assert_eq!(cell("metadata"), "{\"k\":\"a,\\\"b\"}");
}

#[test]
fn filters_and_times_select() {
    let dir = log_of((0..100).map(sample));
    let lines = |set: &dyn Fn(&mut Args)| {
        let (_, text) = run_dump(dir.path(), |args| {
            args.json = true;
            set(args);
        })
        .unwrap();
        text.lines().count()
    };
    assert_eq!(lines(&|args| args.filter = Some("meta.team==red && ttft>=300ms".into())), 30);
    // The dump's clock stands an hour after noon.
    assert_eq!(lines(&|args| args.since = Some("59m".into())), 40);
    assert_eq!(lines(&|args| args.until = Some("2026-04-23T12:00:10Z".into())), 10);
    assert_eq!(lines(&|args| args.newest = Some(7)), 7);
    let refused = run_dump(dir.path(), |args| args.filter = Some("status>>5".into()));
    let Err(Refusal::Usage(said)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        said,
        "--where is no filter\n  status>>5\n         ^ column 8: write what status is compared with"
    );
    assert!(matches!(
        run_dump(dir.path(), |args| args.since = Some("soon".into())),
        Err(Refusal::Usage(_))
    ));
    assert!(matches!(run_dump(&dir.path().join("none"), |_| {}), Err(Refusal::Input(_))));
}

#[test]
fn sums_are_exact_and_grouped() {
    let dir = log_of((0..100).map(|number| Record {
        cost_pico_usd: (number != 99).then_some(u64::MAX / 4),
        ..sample(number)
    }));
    let sum = |set: &dyn Fn(&mut Args)| run_dump(dir.path(), |args| set(args)).unwrap().1;
    let table = sum(&|args| {
        args.sum = Some("requests,tokens,p50(ttft),p99(total),cost".into());
        args.by = Some("model,meta.team".into());
    });
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0],
        ["model", "meta.team", "requests", "tokens", "p50(ttft)", "p99(total)", "cost"]
    );
    assert_eq!(rows[1][1..5], ["blue", "50", "48800", "309ms"]);
    assert_eq!(rows[2][1..5], ["red", "50", "48800", "308ms"]);
    let cost = trunkline::journal::view::usd(99 * u128::from(u64::MAX / 4));
    assert_eq!(cost, "456556915.824311402397");
    let cost_shown = format!("${cost}");
    assert_eq!(rows[3], ["(all)", "(all)", "100", "97600", "309ms", "900ms", &cost_shown]);
    let json = sum(&|args| {
        args.sum = Some("cost,p99.9(ttft),mean(tokens),max(bytes_out)".into());
        args.json = true;
    });
    let figures = "\"p99.9_ttft_ns\":359000000,\"mean_tokens\":976,\"max_bytes_out\":9000";
    assert_eq!(json, format!("{{\"cost_usd\":\"{cost}\",{figures}}}\n"));
    let csv = sum(&|args| {
        args.sum = Some("requests".into());
        args.by = Some("provider".into());
        args.csv = true;
    });
    assert_eq!(csv, "provider,requests\nopenai,100\n");
    for (spec, expected) in [
        (
            "p101(ttft)",
            "--sum: `p101` is no figure: write sum, mean, min, max, or a percentile as p50 or p99.9",
        ),
        ("model", "--sum: model is no number; sum requests --by model, or filter with --where"),
        ("tokesn", "--sum: there is no field `tokesn`; did you mean `tokens`?, requests"),
    ] {
        let refused = run_dump(dir.path(), |args| args.sum = Some(spec.into()));
        let Err(Refusal::Usage(said)) = refused else { panic!("{refused:?}") };
        assert_eq!(said, expected);
    }
}

#[test]
fn one_exchange_is_told_in_full() {
    let attempt = |target: &str, status, started, ended, left: &str| AttemptRecord {
        target: target.into(),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        status,
        started,
        ended,
        left: left.into(),
        detail: if left.is_empty() { String::new() } else { "rate limited".into() },
        ..AttemptRecord::default()
    };
    let attempts = vec![
        attempt("config.targets[0]", 429, 40_000, 200_000_000, "status"),
        attempt("config.targets[1]", 200, 200_000_000, 900_000_000, ""),
    ];
    let dir = log_of([Record { attempts, ..sample(1) }, sample(2)]);
    let (_, said) = run_dump(dir.path(), |args| args.id = Some("00000001".into())).unwrap();
    for part in [
        "id               00000001000000000000000000000abc\n",
        "cost             $0.0002202\n",
        "tokens           976: 812 input, 164 output\n",
        "meta.team        blue\n",
        "  first token     261ms  +11.0ms ",
        "status 429, status: rate limited\n",
        "status 200, kept\n",
        "config.targets[1] openai/gpt-4o",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let missing = run_dump(dir.path(), |args| args.id = Some("ff".into()));
    assert!(matches!(missing, Err(Refusal::Input(_))));
    let Err(Refusal::Input(said)) = run_dump(dir.path(), |args| args.id = Some("0000".into()))
    else {
        panic!("not unique")
    };
    assert!(said.contains("several ids begin like that"), "{said}");
    let wrong = run_dump(dir.path(), |args| args.id = Some("xyz".into()));
    assert!(matches!(wrong, Err(Refusal::Usage(_))));
}

#[test]
fn directories_are_merged_by_time() {
    let (a, b) = (tempdir(), tempfile::tempdir().unwrap());
    write_log(a.path(), 5, (0..20).filter(|n| n % 3 == 0).map(sample));
    write_log(b.path(), 6, (0..20).filter(|n| n % 3 != 0).map(sample));
    let (_, text) = run_dump(a.path(), |args| {
        args.dirs.push(b.path().to_owned());
        args.json = true;
    })
    .unwrap();
    let times: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["time"].to_string())
        .collect();
    assert_eq!(times.len(), 20);
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let dir = log_of((0..5).map(sample));
    for set in
        [|args: &mut Args| args.json = true, |args: &mut Args| args.csv = true, |_: &mut Args| {}]
    {
        let mut args = Args { dirs: vec![dir.path().to_owned()], ..Args::default() };
        set(&mut args);
        let world = World { now: UnixTime { nanos: NOON }, width: None, stdout: false };
        let ended = run_on(&args, &world, &mut Closed);
        assert!(matches!(ended, Err(Refusal::Closed)), "{ended:?}");
    }
}

/// Passes lines on; reports a closed pipe once nobody listens.
struct Lines(mpsc::Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8(self.1.drain(..=end).collect()).unwrap();
            self.0.send(line).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn following_goes_on_across_restarts_and_torn_tails() {
    let dir = log_of((0..30).map(sample));
    let (sender, lines) = mpsc::channel();
    let args = Args {
        dirs: vec![dir.path().to_owned()],
        json: true,
        follow: true,
        newest: Some(2),
        ..Args::default()
    };
    let follower = thread::spawn(move || {
        let world = World { now: UnixTime { nanos: NOON }, width: None, stdout: false };
        run_on(&args, &world, &mut Lines(sender, Vec::new()))
    });
    let next = || {
        let line = lines.recv_timeout(Duration::from_secs(10)).expect("a line in time");
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["accepted_unix_ns"]
            .as_u64()
            .unwrap()
    };
    let time_of = |number: u64| NOON + number * 1_000_000_000;
    assert_eq!([next(), next()], [28, 29].map(time_of));
    for process in 10..13 {
        let (writer, mut log) = start(dir.path(), process);
        for number in 0..3 {
            let _ = submit(&mut log, sample(process * 100 + number));
            assert_eq!(next(), time_of(process * 100 + number), "while the process runs");
        }
        drop(writer);
        // What a process leaves that is killed in the middle of a write; the next one cuts it.
        let newest =
            trunkline::io::log::disk::segments(dir.path(), trunkline::io::log::disk::Row::Records);
        let path = newest.unwrap().pop().unwrap().path;
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"\xffTLKBLK\xfe torn").unwrap();
    }
    drop(lines);
    write_log(dir.path(), 20, [sample(1)]);
    assert!(matches!(follower.join().unwrap(), Err(Refusal::Closed)));
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let dir = tempdir();
    assert_eq!(
        run_dump(dir.path(), |args| args.json = true).unwrap(),
        (Outcome::Done, String::new())
    );
    assert_eq!(run_dump(dir.path(), |args| args.check = true).unwrap().0, Outcome::Done);
}
