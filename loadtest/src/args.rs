//! The command line of `trunkline-load`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use trunkline::{io::event::Driver, sandbox::script::Script};

use crate::request::parse_header;

/// Puts load on a gateway or a provider at a fixed rate, and tells what its users would have felt.
#[derive(Debug, Parser)]
#[command(
    name = "trunkline-load",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub struct Arguments {
    /// Another job than a load.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scripted fake provider to put behind a gateway.
    Upstream(UpstreamArgs),
}

/// A load.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// The target. Without a path: /v1/chat/completions.
    #[arg(required = true, value_name = "URL")]
    pub url: Option<String>,
    /// Requests a second, sent when they are due whether or not earlier ones were answered.
    #[arg(long, default_value = "100", value_parser = parse_rate)]
    pub rate: f64,
    /// How long to go on; with --direct, on each of the two sides. With --replay: the log's own length unless given.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub duration: Option<Duration>,
    /// How requests follow one another: at equal distances, or at random as independent users make them.
    #[arg(long, value_enum, default_value_t = Spacing::Even, conflicts_with = "replay")]
    pub arrivals: Spacing,
    /// The seed of random arrivals.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Make all requests of a tick due at its beginning, in bunches: saves the load tester a timer for each, and is
    /// harder on the target.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub tick: Option<Duration>,
    /// Connections, opened before the load begins and used in turn. A request that finds none free waits, and its
    /// waiting counts. Default: 64, with --stream 512.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: Option<u32>,
    /// Threads that send.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Ask for streams, and measure the first token, the gaps between tokens and whether streams end properly.
    #[arg(long)]
    pub stream: bool,
    /// The body of every request, from a file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body_bytes", "model", "replay"])]
    pub body: Option<PathBuf>,
    /// The size of a made-up body.
    #[arg(long, value_name = "N", default_value_t = 1024, conflicts_with = "replay", value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
    pub body_bytes: u32,
    /// The model that a made-up body asks for.
    #[arg(long, value_name = "MODEL", default_value = "gpt-4o-mini", conflicts_with = "replay")]
    pub model: String,
    /// A header for every request; may be repeated.
    #[arg(long = "header", short = 'H', value_name = "K: V", value_parser = parse_header)]
    pub headers: Vec<(String, String)>,
    /// The same load straight to the upstream, in turns with the target: the difference is what the target adds.
    #[arg(long, value_name = "URL")]
    pub direct: Option<String>,
    /// A header for requests to --direct, in the place of a --header of that name; may be repeated.
    #[arg(long = "direct-header", value_name = "K: V", requires = "direct", value_parser = parse_header)]
    pub direct_headers: Vec<(String, String)>,
    /// With --direct: how long one side's turn is.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_time)]
    pub slice: Duration,
    /// How long a request may take, from when it was due.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    pub timeout: Duration,
    /// Take arrivals, paths, models and sizes from a request log.
    #[arg(long, value_name = "LOGDIR", conflicts_with_all = ["rate", "stream"])]
    pub replay: Option<PathBuf>,
    /// Replay so many times as fast.
    #[arg(long, value_name = "F", default_value = "1", requires = "replay", value_parser = parse_rate)]
    pub speed: f64,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Write histograms in HdrHistogram's text form: FILE holds the corrected latency; others are put beside it.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// A process whose CPU time a request is to be told: the target's.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Allow a target that is not on this machine.
    #[arg(long)]
    pub allow_remote: bool,
    /// The event interface; `auto` takes io_uring where it works.
    #[arg(long, value_enum, default_value_t = DriverFlag::Auto)]
    pub driver: DriverFlag,
}

/// A fake provider.
#[derive(Args, Clone, Debug)]
#[command(after_help = UPSTREAM_EXAMPLES)]
pub struct UpstreamArgs {
    /// Where it listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9100")]
    pub listen: SocketAddr,
    /// How it answers: `key=value` pairs joined by `&`.
    #[arg(long, value_name = "SCRIPT", default_value = "", value_parser = parse_script)]
    pub script: Script,
    /// Make each kind of answer once and repeat its bytes: for benchmarks, where the upstream's CPU matters. Takes
    /// scripts without chance and faults.
    #[arg(long)]
    pub fast: bool,
    /// With --fast: answer nothing between two times after the first request, to see what a stall does.
    #[arg(long, value_name = "FROM..TO", requires = "fast", value_parser = parse_freeze)]
    pub freeze: Option<Freeze>,
    /// Allow listening beyond this machine.
    #[arg(long)]
    pub allow_remote: bool,
    /// The event interface; `auto` takes io_uring where it works.
    #[arg(long, value_enum, default_value_t = DriverFlag::Auto)]
    pub driver: DriverFlag,
}

/// How requests follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spacing {
    /// At equal distances.
    Even,
    /// At random.
    Random,
}

/// Which event interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DriverFlag {
    /// io_uring if it works.
    Auto,
    /// io_uring.
    #[value(name = "io_uring")]
    Uring,
    /// epoll.
    Epoll,
}

impl DriverFlag {
    /// The interface to use.
    #[must_use]
    pub fn choose(self) -> Driver {
        match self {
            DriverFlag::Auto if trunkline::io::event::uring_works() => Driver::Uring,
            DriverFlag::Uring => Driver::Uring,
            DriverFlag::Auto | DriverFlag::Epoll => Driver::Epoll,
        }
    }
}

/// A time in which nothing is answered, counted from the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number from 0.001 to 10000000".into())
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok();
    let time = time.filter(|time| !time.is_zero() && *time <= TIME_MAX);
    time.ok_or_else(|| "must be a time up to a day, such as 250ms, 30s or 5m".into())
}

fn parse_script(text: &str) -> Result<Script, String> {
    text.parse().map_err(|error: trunkline::sandbox::script::ScriptError| error.to_string())
}

fn parse_freeze(text: &str) -> Result<Freeze, String> {
    let times = text.split_once("..").and_then(|(from, to)| {
        let [from, to] = [from, to].map(|each| humantime::parse_duration(each).ok());
        Some(Freeze { from: from?, to: to? })
    });
    times
        .filter(|freeze| freeze.from < freeze.to && freeze.to <= TIME_MAX)
        .ok_or_else(|| "must be two times, the earlier one first, such as 5s..6s".into())
}

const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

const EXAMPLES: &str = "\
Examples:
  trunkline-load http://127.0.0.1:8787 --rate 2000 --duration 30s -H 'authorization: Bearer tl-…'
  trunkline-load http://127.0.0.1:8787 --stream --rate 50 --model script?chunks=40&interval=20ms
  trunkline-load http://127.0.0.1:8787/v1/messages --body request.json --json
  trunkline-load upstream --fast &
  trunkline-load http://127.0.0.1:8787 --direct http://127.0.0.1:9100 --rate 5000 --hgrm out.hgrm
  trunkline-load http://127.0.0.1:8787 --replay log/ --speed 10

Exit codes: 0 done, 1 refused or not one request succeeded, 2 usage.";

const UPSTREAM_EXAMPLES: &str = "\
Examples:
  trunkline-load upstream                                           answers at once
  trunkline-load upstream --script 'first_byte=~300ms&chunks=80&interval=15ms'
  trunkline-load upstream --script 'rate=0.01&status=503'           one in a hundred fails
  trunkline-load upstream --script 'rate=0.05&cut=900'              one in twenty is cut at byte 900
  trunkline-load upstream --script 'slow_read=20000'                reads 20 kB of request a second
  trunkline-load upstream --fast --freeze 5s..6s                    stands still for a second

Keys: first_byte (20ms, 20ms..80ms, ~50ms) chunks interval chunk_bytes text tool_calls usage cached_tokens
reasoning_tokens comments interim framing split keep_alive slow_read retry_after rate status error_body cut stall
stall_for malformed error_event. A request brings its own script in the header x-sandbox-script or behind a question
mark in its model's name (not with --fast, where the first request of a kind decides).";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let known = trunkline::sandbox::script::KEYS;
        assert!(known.iter().all(|key| UPSTREAM_EXAMPLES.contains(key)));
    }

    #[test]
    fn a_load_needs_a_url_and_an_upstream_none() {
        assert!(Arguments::try_parse_from(["trunkline-load"]).is_err());
        let parsed = Arguments::try_parse_from(["trunkline-load", "upstream", "--fast"]);
        assert!(parsed.is_ok_and(|parsed| parsed.command.is_some()));
        let parsed = Arguments::try_parse_from(["trunkline-load", "http://x", "--rate", "5"]);
        assert!(parsed.is_ok_and(|parsed| parsed.command.is_none() && parsed.load.rate == 5.0));
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for wrong in [
            &["http://x", "--rate", "0"] as &[&str],
            &["http://x", "--duration", "0s"],
            &["http://x", "--duration", "soon"],
            &["http://x", "--connections", "0"],
            &["http://x", "--body", "f", "--body-bytes", "3"],
            &["http://x", "--speed", "2"],
            &["http://x", "--header", "nothing"],
            &["http://x", "--replay", "log", "--rate", "3"],
            &["upstream", "--freeze", "5s..6s"],
            &["upstream", "--fast", "--freeze", "6s..5s"],
            &["upstream", "--script", "x=1"],
        ] {
            let line = std::iter::once("trunkline-load").chain(wrong.iter().copied());
            assert!(Arguments::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
