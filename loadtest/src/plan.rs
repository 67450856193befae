//! From the command line to a load that can be run: targets checked, requests made, arrivals fixed.

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use trunkline::io::event::Driver;

use crate::{
    args::{LoadArgs, Spacing},
    lane::Destination,
    replay,
    request::{self, Prepared, Wish},
    schedule::Arrivals,
    target::{self, Place},
};

/// A load, ready to run.
#[derive(Clone)]
pub struct Plan {
    /// What is shown of each side: the target's URL, and the direct upstream's.
    pub urls: Vec<String>,
    /// The target and, if wanted, the direct upstream.
    pub sides: Vec<Destination>,
    /// How requests follow one another.
    pub arrivals: Arrivals,
    /// Requests a second of one side.
    pub rate: f64,
    /// How long the load of one side goes on.
    pub duration: Duration,
    /// The turn of a side.
    pub slice: Duration,
    /// All requests of a tick are due at its beginning.
    pub tick: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// Threads.
    pub threads: usize,
    /// Streams were asked for.
    pub stream: bool,
    /// The event interface.
    pub driver: Driver,
    /// A process to watch.
    pub pid: Option<u32>,
    /// What the user should know before it begins.
    pub notes: Vec<String>,
}

/// Makes a plan.
///
/// # Errors
/// What is wrong, in a sentence that says what to do.
pub fn make(args: &LoadArgs) -> Result<Plan, String> {
    let mut places = vec![target::parse(args.url.as_deref().unwrap_or_default())?];
    if let Some(direct) = &args.direct {
        places.push(target::parse(direct)?);
    }
    let load = Load::of(args)?;
    let mut sides = Vec::new();
    let connections = connections(args);
    for (number, place) in places.iter().enumerate() {
        let addresses = target::resolve(place)?;
        target::admit(place, &addresses, args.allow_remote)?;
        let headers = if number == 0 { args.headers.clone() } else { direct_headers(args) };
        sides.push(Destination {
            address: target::find_listener(place, &addresses)?,
            requests: load.requests(args, place, &headers)?.into(),
            connections: connections.div_ceil(args.threads as usize),
        });
    }
    if let Some(pid) = args.pid.filter(|pid| crate::cpu::of(*pid).is_none()) {
        return Err(format!("--pid {pid}: there is no such process"));
    }
    let mut notes = load.notes;
    if args.allow_remote && sides.iter().any(|side| !side.address.ip().is_loopback()) {
        let total = load.rate * load.duration.as_secs_f64() * sides.len() as f64;
        notes.push(format!(
            "this load leaves the machine: about {total:.0} requests, each at the price that its receiver asks"
        ));
    }
    Ok(Plan {
        urls: places.into_iter().map(|place| place.url).collect(),
        sides,
        arrivals: load.arrivals,
        rate: load.rate,
        duration: load.duration,
        slice: args.slice,
        tick: args.tick.unwrap_or_default(),
        timeout: args.timeout,
        threads: args.threads as usize,
        stream: load.stream,
        driver: args.driver.choose(),
        pid: args.pid,
        notes,
    })
}

fn connections(args: &LoadArgs) -> usize {
    let default = if args.stream { STREAM_CONNECTIONS } else { CONNECTIONS };
    args.connections.unwrap_or(default) as usize
}

fn direct_headers(args: &LoadArgs) -> Vec<(String, String)> {
    let replaced =
        |name: &str| args.direct_headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let kept = args.headers.iter().filter(|(name, _)| !replaced(name));
    kept.chain(&args.direct_headers).cloned().collect()
}

/// What is sent and when, wherever it goes.
struct Load {
    arrivals: Arrivals,
    rate: f64,
    duration: Duration,
    stream: bool,
    /// The kinds of a log.
    kinds: Option<Vec<replay::Logged>>,
    notes: Vec<String>,
}

impl Load {
    fn of(args: &LoadArgs) -> Result<Load, String> {
        if let Some(dir) = &args.replay {
            return Load::replayed(args, &replay::read(dir)?);
        }
        let arrivals = match args.arrivals {
            Spacing::Even => Arrivals::Even { rate: args.rate },
            Spacing::Random => Arrivals::Random { rate: args.rate, seed: args.seed },
        };
        let duration = args.duration.unwrap_or(DURATION);
        let (stream, rate) = (args.stream, args.rate);
        Ok(Load { arrivals, rate, duration, stream, kinds: None, notes: Vec::new() })
    }

    fn replayed(args: &LoadArgs, log: &replay::Log) -> Result<Load, String> {
        let (arrivals, kinds) = log.arrivals(args.speed);
        let last = arrivals.last().map_or(0, |(at, _)| *at);
        let duration = args.duration.unwrap_or(Duration::from_nanos(last + 1));
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let count = arrivals.partition_point(|(at, _)| *at < nanos);
        if count == 0 {
            return Err("--replay: no request falls into the duration".into());
        }
        let mut notes = Vec::new();
        if log.left_out + log.damaged > 0 {
            notes.push(format!(
                "{} records of the log are left out (no model call that can be made again) and {} are damaged",
                log.left_out, log.damaged
            ));
        }
        Ok(Load {
            rate: count as f64 / duration.as_secs_f64().max(1e-9),
            arrivals: Arrivals::Listed(Arc::from(arrivals)),
            duration,
            stream: kinds.iter().any(|kind| kind.stream),
            kinds: Some(kinds),
            notes,
        })
    }

    fn requests(
        &self,
        args: &LoadArgs,
        place: &Place,
        headers: &[(String, String)],
    ) -> Result<Vec<Prepared>, String> {
        if let Some(kinds) = &self.kinds {
            if !place.path.is_empty() {
                return Err(format!(
                    "{}: with --replay the paths come from the log; give host and port alone",
                    place.url
                ));
            }
            return Ok(replay::prepare(kinds, &place.authority, headers));
        }
        let path = if place.path.is_empty() { DEFAULT_PATH } else { &place.path };
        let body = match &args.body {
            Some(file) => body_of_file(file, args.stream)?,
            None => {
                let wish = Wish { path, model: &args.model, stream: args.stream };
                wish.frame().fill(args.body_bytes as usize).into_bytes()
            }
        };
        let head = request::head(path, &place.authority, headers, args.stream, body.len());
        let whole = [head.as_bytes(), &body].concat();
        Ok(vec![Prepared { parts: vec![Bytes::from(whole)], stream: args.stream }])
    }
}

fn body_of_file(file: &std::path::Path, stream: bool) -> Result<Vec<u8>, String> {
    let body = fs::read(file).map_err(|error| format!("--body {}: {error}", file.display()))?;
    let asked = serde_json::from_slice::<Value>(&body).ok();
    let asked = asked.is_some_and(|json| json["stream"] == Value::Bool(true));
    match (asked, stream) {
        (false, true) => Err(format!(
            "--stream: the body in {} does not say \"stream\": true; add that to it",
            file.display()
        )),
        (true, false) => Err(format!(
            "the body in {} asks for a stream; say --stream too, so that it is measured as one",
            file.display()
        )),
        _ => Ok(body),
    }
}

/// What a URL without a path means.
const DEFAULT_PATH: &str = "/v1/chat/completions";
/// How long a load goes on unless told.
const DURATION: Duration = Duration::from_secs(10);
/// Connections for plain answers: what other load testers take.
const CONNECTIONS: u32 = 64;
/// Streams hold theirs for long.
const STREAM_CONNECTIONS: u32 = 512;
