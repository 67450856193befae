//! Golden files of the translations. `<case>.in.json` is a client's request and `<case>.out.json` what the provider gets;
//! `<case>.reply.in.json` is the provider's answer and `<case>.reply.out.json` what the client gets; `<case>.sse` is the
//! provider's stream and `<case>.out.sse` the client's. `UPDATE=1` rewrites what is expected: read the difference.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use trunkline::{
    chat::{reply::Reply, request::Request},
    dialect::{Dialect, Malformed, Writer, anthropic, error_event, openai},
    provider::{Adapter, Endpoint, by_name},
};

/// Splits a stream that comes in pieces into events. The seam for another scanner than this test's own.
trait Scanner {
    fn push(&mut self, bytes: &[u8], event: &mut dyn FnMut(&[u8], &[u8]));
}

fn scanner() -> Box<dyn Scanner> {
    Box::new(PlainScanner::default())
}

#[test]
fn requests_become_what_the_provider_expects() {
    each_case(".in.json", ".out.json", |side, input| {
        let rendered = side.read(&mut input.to_vec()).map(|request| side.adapter.render(&request));
        let shown = match rendered {
            Err(error) => json!({"malformed": {"field": error.field, "message": error.message}}),
            Ok(Err(error)) => json!({"unfit": {"field": error.field, "message": error.message}}),
            Ok(Ok(rendered)) => json!({
                "dropped": rendered.dropped,
                "unknown": rendered.unknown,
                "body": parsed(&rendered.body),
            }),
        };
        pretty(&shown)
    });
}

#[test]
fn answers_become_what_the_client_expects() {
    each_case(".reply.in.json", ".reply.out.json", |side, input| {
        let written: Vec<Value> = [true, false]
            .iter()
            .map(|strict| match side.adapter.reply(&mut input.to_vec()) {
                Ok(reply) => parsed(&side.write_reply(&reply, *strict)),
                Err(error) => json!({ "broken": error }),
            })
            .collect();
        if written[0] == written[1] {
            return pretty(&written[0]);
        }
        pretty(&json!({"strict": written[0], "loose": written[1]}))
    });
}

#[test]
fn streams_become_what_the_client_expects_wherever_they_are_cut() {
    each_case(".sse", ".out.sse", |side, input| {
        let whole = side.replay(&[input]);
        for at in 0..input.len() {
            let cut = side.replay(&[&input[..at], &input[at..]]);
            assert_eq!(cut, whole, "cut at byte {at}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(side.replay(&bytes), whole, "cut everywhere");
        whole
    });
}

#[test]
fn hostile_bytes_never_panic() {
    let seed = 0x5eed_u64;
    println!("seed {seed:#x}");
    let mut random = seed;
    for folder in entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fast/golden")) {
        let side = Side::of(&folder.file_name().expect("a folder").to_string_lossy());
        for file in entries(&folder) {
            let name = file.to_string_lossy().into_owned();
            let bytes = fs::read(&file).expect("readable");
            for _ in 0..8 {
                let mangled = mangled(&bytes, &mut random);
                if name.ends_with(".sse") {
                    let _ = side.replay(&[&mangled]);
                    watch_all(side.adapter, &mangled);
                } else if name.ends_with(".reply.in.json") {
                    let _ = side.adapter.reply(&mut mangled.clone());
                    let _ = side.adapter.error(500, &mangled);
                    let _ = side.adapter.usage(Endpoint::Messages, &mangled);
                } else if let Ok(request) = side.read(&mut mangled.clone()) {
                    let _ = side.adapter.render(&request);
                }
            }
        }
    }
}

/// A few bytes changed, or the end cut off.
fn mangled(bytes: &[u8], random: &mut u64) -> Vec<u8> {
    const WORTHY: &[u8] = b"\"\\{}[]:,0-9etn\n\0\xff ";
    let mut next = |below: usize| {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        usize::try_from(*random % below.max(1) as u64).expect("below a usize")
    };
    let mut bytes = bytes.to_vec();
    if next(4) == 0 {
        bytes.truncate(next(bytes.len()));
    }
    for _ in 0..=next(3) {
        let (at, worthy) = (next(bytes.len()), next(WORTHY.len()));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = WORTHY[worthy];
        }
    }
    bytes
}

fn watch_all(adapter: &dyn Adapter, stream: &[u8]) {
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Responses] {
        let mut watch = adapter.watch(endpoint, true);
        scanner().push(stream, &mut |name, data| {
            watch.event(name, data);
        });
    }
}

/// A provider, and the dialect of the clients that its cases speak for.
struct Side {
    adapter: &'static dyn Adapter,
    dialect: Dialect,
}

impl Side {
    fn of(provider: &str) -> Side {
        let dialect = if provider == "anthropic" { Dialect::OpenAi } else { Dialect::Anthropic };
        Side { adapter: by_name(provider).expect("folders are named after providers"), dialect }
    }

    fn read(&self, body: &mut [u8]) -> Result<Request, Malformed> {
        match self.dialect {
            Dialect::Anthropic => anthropic::read(body),
            _ => openai::read(body),
        }
    }

    fn write_reply(&self, reply: &Reply, strict: bool) -> Vec<u8> {
        match self.dialect {
            Dialect::Anthropic => anthropic::write_reply(reply, &anthropic_meta()),
            _ => openai::write_reply(reply, &openai_meta(false, strict)),
        }
    }

    fn writer(&self, options: &str) -> Box<dyn Writer> {
        match self.dialect {
            Dialect::Anthropic => Box::new(anthropic::AnthropicWriter::new(anthropic_meta())),
            _ => {
                let usage = options.contains("include_usage");
                let meta = openai_meta(usage, !options.contains("loose"));
                Box::new(openai::OpenAiWriter::new(meta))
            }
        }
    }

    /// The client's stream, and what was learnt beside it as comments at its end. A first line `: …` holds options.
    fn replay(&self, pieces: &[&[u8]]) -> String {
        let all = pieces.concat();
        let options = String::from_utf8_lossy(&all);
        let options = options.lines().next().filter(|line| line.starts_with(':')).unwrap_or("");
        let (mut scanner, mut writer) = (scanner(), self.writer(options));
        let mut translate = self.adapter.translate();
        let (mut out, mut deltas) = (Vec::new(), Vec::new());
        let (mut events, mut first_content, mut ended) = (0, None, None);
        for piece in pieces {
            scanner.push(piece, &mut |name, data| {
                if ended.is_some() {
                    return;
                }
                events += 1;
                let seen = match translate.event(name, data, &mut deltas) {
                    Ok(seen) => seen,
                    Err(error) => {
                        ended = Some(format!("broken: {error}"));
                        return;
                    }
                };
                deltas.drain(..).for_each(|delta| writer.delta(&delta, &mut out));
                if seen.content && first_content.is_none() {
                    first_content = Some(events);
                }
                if let Some(error) = seen.error {
                    let kind = &error.kind;
                    out.extend(error_event(self.dialect, error.status, kind, &error.message));
                    ended = Some(format!("error, status {}", error.status));
                } else if seen.done {
                    writer.finish(&mut out);
                    ended = Some("complete".to_owned());
                }
            });
        }
        format!(
            "{}: {}\n: content begins with event {first_content:?} of {events}\n: {:?}\n: {:?}\n",
            String::from_utf8(out).expect("events are UTF-8"),
            ended.unwrap_or_else(|| "truncated".to_owned()),
            translate.model(),
            translate.usage(),
        )
    }
}

fn openai_meta(include_usage: bool, strict: bool) -> openai::Meta {
    let (id, model) = ("chatcmpl-own".to_owned(), "asked-for".to_owned());
    openai::Meta { id, model, created: 1_700_000_000, include_usage, strict }
}

fn anthropic_meta() -> anthropic::Meta {
    anthropic::Meta { id: "msg_own".to_owned(), model: "asked-for".to_owned() }
}

fn each_case(from: &str, to: &str, run: impl Fn(&Side, &[u8]) -> String) {
    let update = std::env::var_os("UPDATE").is_some();
    let mut cases = 0;
    for folder in entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fast/golden")) {
        let side = Side::of(&folder.file_name().expect("a folder").to_string_lossy());
        for file in entries(&folder) {
            let name = file.to_string_lossy().into_owned();
            let Some(case) = name.strip_suffix(from) else { continue };
            let other = case.ends_with(".out") || (case.ends_with(".reply") && from == ".in.json");
            if other {
                continue;
            }
            let got = run(&side, &fs::read(&file).expect("readable"));
            let expected = format!("{case}{to}");
            if update {
                fs::write(&expected, &got).expect("writable");
            }
            let wanted = fs::read_to_string(&expected).unwrap_or_default();
            assert!(got == wanted, "{case}: UPDATE=1 shows the difference; got\n{got}");
            cases += 1;
        }
    }
    assert!(cases > 0, "no golden file ends in {from}");
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).expect("the golden files are there");
    let mut entries: Vec<PathBuf> = listed.map(|entry| entry.expect("readable").path()).collect();
    entries.sort();
    entries
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_else(|error| {
        panic!("not JSON: {error}: {}", String::from_utf8_lossy(json));
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Names and data only, a line at a time: enough for streams that were written by hand.
#[derive(Default)]
struct PlainScanner {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
}

impl Scanner for PlainScanner {
    fn push(&mut self, bytes: &[u8], event: &mut dyn FnMut(&[u8], &[u8])) {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                if !self.data.is_empty() {
                    event(&self.name, &self.data);
                }
                self.name.clear();
                self.data.clear();
            } else if let Some(name) = line.strip_prefix(b"event: ") {
                self.name = name.to_vec();
            } else if let Some(data) = line.strip_prefix(b"data: ") {
                self.data.extend_from_slice(data);
            }
        }
    }
}
