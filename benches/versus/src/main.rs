//! Trunkline's HTTP/1.1 codec against monoio-http's and hyper's: what each costs on the same bytes, what each does with
//! faulty messages, and whether the reason for a codec of Trunkline's own still holds.

mod codec;
mod cost;
mod faults;
mod feed;
mod hyper_http;
mod monoio_http;
mod ours;

use std::{
    io::Read,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use codec::Codec;
use faults::{CASES, CONTROL, Case};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, codec, name] = &words[..]
        && word == "case"
    {
        let Some(case) = CASES.iter().find(|case| case.name == name) else {
            return ExitCode::from(2);
        };
        println!("{}", faults::answer(codec, case));
        return ExitCode::SUCCESS;
    }
    println!(
        "# Codecs compared: monoio-http {}, hyper {}\n",
        version("monoio-http"),
        version("hyper")
    );
    cost::print();
    println!();
    let Some(left) = print_faults() else {
        eprintln!(
            "A codec fails where nothing is wrong: the comparison itself is broken, and says nothing."
        );
        return ExitCode::FAILURE;
    };
    println!();
    conclude(&left);
    ExitCode::SUCCESS
}

/// Prints the table; returns the faults of monoio-http's, and those of ours. `None`: a codec fails the control.
fn print_faults() -> Option<[Vec<&'static str>; 2]> {
    let codecs = [ours::Ours::NAME, monoio_http::MonoioHttp::NAME, hyper_http::Hyper::NAME];
    let mut left = [Vec::new(), Vec::new()];
    println!("| case | what comes | wanted | {} |", codecs.join(" | "));
    println!("|---|---|---|---|---|---|");
    for case in CASES {
        let answers = codecs.map(|codec| asked(codec, case));
        if case.name == CONTROL && answers.iter().any(|answer| !answer.starts_with("good")) {
            eprintln!("{answers:?}");
            return None;
        }
        for (left, answer) in left.iter_mut().zip([&answers[1], &answers[0]]) {
            if answer.starts_with("FAULT") {
                left.push(case.name);
            }
        }
        let cells = answers.map(|answer| cell(&answer));
        println!("| {} | {} | {} | {} |", case.name, case.sent, case.wanted, cells.join(" | "));
    }
    Some(left)
}

fn conclude([theirs, ours]: &[Vec<&str>; 2]) {
    match theirs.len() {
        0 => println!(
            "**The reason has gone.** monoio-http {} has none of the faults for which it was left out: \
             look at it again before keeping a codec of our own.",
            version("monoio-http")
        ),
        count => println!(
            "**The reason for a codec of our own still holds:** monoio-http {} has {count} of the faults for which it \
             was left out: {}.",
            version("monoio-http"),
            theirs.join(", ")
        ),
    }
    if !ours.is_empty() {
        println!("**Trunkline's own codec has faults: {}.**", ours.join(", "));
    }
}

/// Runs one case in a process of its own, which is ended when its time is over. What it says fits in a pipe.
fn asked(codec: &str, case: &Case) -> String {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["case", codec, case.name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let Some(status) = wait(&mut child) else { return format!("FAULT hangs ({CASE_WITHIN:?})") };
    if !status.success() {
        let complaint = last_words(child.stderr.take());
        return format!(
            "FAULT the process dies: {}",
            if complaint.is_empty() { status.to_string() } else { complaint }
        );
    }
    let mut text = String::new();
    let read = child.stdout.take().map(|mut out| out.read_to_string(&mut text));
    read.expect("its output is piped").expect("its output is text");
    text.trim().to_owned()
}

/// What a panic said.
fn last_words(stderr: Option<impl Read>) -> String {
    let mut text = String::new();
    // A process that died may have said nothing, or no text.
    let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut text));
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at"));
    lines.nth(1).unwrap_or_default().to_owned()
}

fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < CASE_WITHIN {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Without line breaks and bars, which end cells.
fn cell(answer: &str) -> String {
    let (verdict, told) = answer.split_once(' ').unwrap_or((answer, ""));
    let told: String =
        told.chars().map(|c| if c.is_control() || c == '|' { ' ' } else { c }).take(90).collect();
    match verdict {
        "FAULT" => format!("**fault**: {told}"),
        "none" => "–".to_owned(),
        _ => told,
    }
}

/// A dependency's version, from the lock file.
fn version(name: &str) -> &'static str {
    let start = format!("name = \"{name}\"\nversion = \"");
    let rest = LOCK.split_once(&start[..]).map_or("?", |(_, rest)| rest);
    rest.split('"').next().unwrap_or("?")
}

const LOCK: &str = include_str!("../Cargo.lock");
const CASE_WITHIN: Duration = Duration::from_secs(10);
