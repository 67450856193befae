//! `trunkline quickstart` as a newcomer meets it: every printed line is done as printed.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use crate::harness::{Answer, Conn, Driver, End, log, on_both_drivers, wait_for};

on_both_drivers!(what_is_printed_works_as_printed);

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn what_is_printed_works_as_printed(driver: Driver) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(["quickstart", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--driver", driver.flag(), "--workers", "2"]).current_dir(dir.path());
    for variable in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "CARGO"] {
        command.env_remove(variable);
    }
    command.env("GROQ_API_KEY", "gsk-from-the-environment");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut child = Killed(child);
    let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
    let mut printed: Vec<String> = Vec::new();
    // The last line names the providers found in the environment.
    while !printed.last().is_some_and(|line| line.contains("\"@groq/MODEL\"")) {
        printed.push(lines.next().expect("a line more").expect("text"));
    }
    let text = printed.join("\n");
    assert!(!text.contains("gsk-from-the-environment"), "{text}");
    let commands = commands(&printed);
    let [plain, stream, fallback, messages] = &commands.curls[..] else { panic!("{text}") };

    let got = plain.run();
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.json()["object"], "chat.completion");
    let got = stream.run();
    assert_eq!((got.status, got.end), (200, End::Chunked));
    assert!(got.text().ends_with("data: [DONE]\n\n"), "{}", got.text());
    let got = fallback.run();
    assert_eq!(got.header("x-portkey-provider"), Some("anthropic"));
    assert_eq!(got.header("x-portkey-last-used-option-index"), Some("config.targets[1]"));
    let got = messages.run();
    assert_eq!((got.status, got.json()["type"].as_str()), (200, Some("message")));

    let [shown, followed] = &commands.dumps[..] else { panic!("{text}") };
    let log_dir = dir.path().join(&shown[1]);
    assert_eq!((&*shown[0], &*followed[2]), ("trunkline-dump", "--follow"));
    let records = wait_for("four records", || {
        let records = log::records(&log_dir);
        (records.len() == 4).then_some(records)
    });
    let keys: Vec<_> = records.iter().map(|record| record["api_key"].clone()).collect();
    assert_eq!(keys, ["quickstart"; 4]);
    assert_eq!(records[2]["attempts"].as_array().map(Vec::len), Some(2));
    assert!(records.iter().all(|r| r["usage"]["output"].as_u64() > Some(0)), "{records:#?}");
}

/// The commands among the printed lines.
#[derive(Default)]
struct Commands {
    curls: Vec<Curl>,
    dumps: Vec<Vec<String>>,
}

/// What a printed curl line asks for.
struct Curl {
    address: SocketAddr,
    path: String,
    headers: Vec<String>,
    body: String,
}

impl Curl {
    fn run(&self) -> Answer {
        let Curl { address, path, headers, body } = self;
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\n");
        headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        Conn::to(*address).ask(request.as_bytes())
    }
}

/// Joins continued lines, splits them as a shell would, and keeps what is a command.
fn commands(lines: &[String]) -> Commands {
    let joined = lines.join("\n").replace("\\\n", " ");
    let mut commands = Commands::default();
    for line in joined.lines() {
        let words = words(line);
        match words.first().map(String::as_str) {
            Some("curl") => commands.curls.push(curl(&words[1..])),
            Some("trunkline-dump") => commands.dumps.push(words),
            _ => {}
        }
    }
    commands
}

fn curl(words: &[String]) -> Curl {
    let mut words = words.iter();
    let mut curl = Curl {
        address: SocketAddr::from(([0; 4], 0)),
        path: String::new(),
        headers: vec![],
        body: String::new(),
    };
    while let Some(word) = words.next() {
        match &**word {
            "-N" | "-i" => {}
            "-H" => curl.headers.push(words.next().expect("a header").clone()),
            "-d" => curl.body = words.next().expect("a body").clone(),
            url => {
                let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
                let (address, path) = rest.split_once('/').expect("a path");
                curl.address = address.parse().expect("an address");
                curl.path = format!("/{path}");
            }
        }
    }
    curl
}

/// The words of a line of shell, with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    for letter in line.chars() {
        match letter {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}
