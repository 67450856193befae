//! `trunkline explain`: which targets a request would be tried on and why, offline; or the path of a logged exchange,
//! made again from its record.

mod around;
mod copy;
mod logged;
mod recorded;
pub mod show;

use std::{
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::check;
use crate::{
    base::{limits, units::UnixTime},
    config::{Config, check::check, policy::Policy, variables::Variables},
    io::log::system_clock,
    policy::health::{Seen, Snapshot},
    serve::explain::{Ground, Imagined, Told, explain},
    wire::record::Record,
};
use show::Form;

/// Explains a decision: a request's, or a logged exchange's.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The configuration file; without it ./trunkline.yaml, and without that an open gateway's defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The request's body; `-` reads standard input.
    #[arg(long, value_name = "BODY.json")]
    pub request: Option<PathBuf>,
    /// A header of the request, `name: value`; as often as there are any.
    #[arg(long = "header", short = 'H', value_name = "'K: V'", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The method.
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    pub method: String,
    /// The path.
    #[arg(long, value_name = "PATH", default_value = "/v1/chat/completions")]
    pub path: String,
    /// Who is calling, by the name of an API key of the file, so that the key itself is not needed.
    #[arg(long, value_name = "NAME")]
    pub api_key: Option<String>,
    /// The seed of its dice; without it one is drawn, and shown.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// A target that is to count as open: its breaker lets nothing pass. By its place, e.g. `config.targets[0]`.
    #[arg(long, value_name = "PATH")]
    pub open: Vec<String>,
    /// A request log: with --id, explains an exchange that is in it.
    #[arg(long, value_name = "DIR", requires = "id", conflicts_with_all = ["request", "seed", "api_key", "open"])]
    pub log: Option<PathBuf>,
    /// The exchange, by its request id or the first digits of it.
    #[arg(long, value_name = "REQUEST-ID", requires = "log")]
    pub id: Option<String>,
    /// Variables of the file that are not set stand for any text: credentials are not needed to decide.
    #[arg(long)]
    pub no_env: bool,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  trunkline explain --config trunkline.yaml --request body.json --api-key support-team
  trunkline explain --config trunkline.yaml --request body.json --no-env \\
      --header 'authorization: Bearer tl-…' --header 'x-portkey-metadata: {\"task\":\"code\"}' --seed 7 --json
  trunkline explain --config trunkline.yaml --request body.json --open 'config.targets[0]'
  trunkline explain --log log/ --id 4f2a                   a logged exchange, on the epoch that it ran on
  trunkline explain --log log/ --id 4f2a --config trunkline.yaml   and whether the file still is that epoch

Nothing is sent and no name is looked up. Exit codes: 0 explained (also a request that would be refused), 1 the input
cannot be read or the logged exchange went another way than its record says, 2 usage.";

/// Finds the one exchange of an id in a log directory; `Err`: why there is none.
pub type Find<'f> = &'f dyn Fn(&Path, &str) -> Result<Record, String>;

/// Runs the command; the result is the exit code.
pub fn run(args: &ExplainArgs, find: Find<'_>) -> i32 {
    let made = match (&args.log, &args.id) {
        (Some(log), Some(id)) => logged::explained(args, log, id, find),
        _ => of_request(args).map(|text| (text, 0)),
    };
    match made {
        Ok((text, code)) => super::put_out(text.as_bytes(), code),
        Err(message) => {
            eprintln!("{}", message.trim_end());
            1
        }
    }
}

fn of_request(args: &ExplainArgs) -> Result<String, String> {
    let config = config(args)?.ok_or("there is no configuration")?;
    let body = match &args.request {
        Some(path) => body(path, config.limits.body_bytes)?,
        None if args.method.eq_ignore_ascii_case("post") => {
            return Err("name the request's body: --request BODY.json, or --request - for standard input; or --log \
                        and --id for a logged exchange"
                .to_owned());
        }
        None => Bytes::new(),
    };
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u64()
            .map_err(|error| format!("no randomness for a seed: {error}; give one with --seed"))?,
    };
    let (told, unknown) = of(args, &config, body, seed);
    if let Some(path) = unknown {
        return Err(format!(
            "--open {path}: no target of that place has a breaker (`cb_config`) in the config of this request"
        ));
    }
    let mut notes = Vec::new();
    let nobody = !config.open && args.api_key.is_none();
    if nobody && told.refused.as_ref().is_some_and(|(status, _)| *status == 401) {
        let names: Vec<&str> = config.api_keys.iter().map(|key| key.name.as_str()).collect();
        notes.push(format!(
            "say who is calling with --api-key NAME; there are {}",
            names.join(", ")
        ));
    }
    Ok(show::show(&Form::of_request(args, &told, &notes), args.json))
}

/// Explains, and says which of the targets that are to count as open there is not.
fn of(args: &ExplainArgs, config: &Config, body: Bytes, seed: u64) -> (Told, Option<String>) {
    let found = std::cell::RefCell::new(Vec::new());
    let health = |policy: &Policy| {
        let open = |path: &str| args.open.iter().any(|one| one == path);
        let watched = policy.watched.iter();
        found.borrow_mut().extend(watched.clone().map(|one| one.path.clone()));
        Snapshot::of(watched.map(|one| Seen {
            breaker: if open(&one.path) { OPEN } else { Default::default() },
            ..Seen::default()
        }))
    };
    let imagined = Imagined {
        method: &args.method,
        path: &args.path,
        headers: &args.headers,
        body,
        api_key: args.api_key.as_deref(),
    };
    let listeners: Vec<SocketAddr> =
        [Some(config.listen), config.admin.as_ref().map(|admin| admin.listen)]
            .into_iter()
            .flatten()
            .collect();
    let now: UnixTime = system_clock()();
    let told =
        explain(&imagined, &Ground { config, listeners: &listeners, seed, now, health: &health });
    let found = found.into_inner();
    let unknown = match told.refused {
        Some(_) => None,
        None => args.open.iter().find(|one| !found.contains(one)).cloned(),
    };
    (told, unknown)
}

const OPEN: crate::policy::breaker::Stage = crate::policy::breaker::Stage::Open;

/// The configuration: the file's that is named, else the one beside, else an open gateway's.
fn config(args: &ExplainArgs) -> Result<Option<Config>, String> {
    let beside = PathBuf::from("trunkline.yaml");
    match &args.config {
        Some(path) => file(path, args.no_env).map(Some),
        None if beside.exists() => file(&beside, args.no_env).map(Some),
        None => Ok(Some(Config::open_defaults())),
    }
}

fn file(path: &Path, no_env: bool) -> Result<Config, String> {
    let name = path.display().to_string();
    let text = check::read(path).map_err(|message| format!("{name}: {message}"))?;
    let of_environment = |variable: &str| std::env::var(variable).ok();
    let or_any = |variable: &str| of_environment(variable).or_else(|| Some(ANY.to_owned()));
    let variables = match no_env {
        true => Variables::Lookup(&or_any),
        false => Variables::Lookup(&of_environment),
    };
    let checked = check(&text, variables);
    checked.config.ok_or_else(|| {
        let mut all = check::lines(&name, "", &checked.mistakes);
        if !no_env && all.contains("is not set") {
            all.push_str("--no-env explains without the variables\n");
        }
        all
    })
}

fn body(path: &Path, bytes_max: u64) -> Result<Bytes, String> {
    let told = |error: io::Error| format!("{}: cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    let most = bytes_max.saturating_add(1);
    match path.as_os_str() == "-" {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(told)?,
        false => {
            let file = std::fs::File::open(path).map_err(told)?;
            file.take(most).read_to_end(&mut bytes).map_err(told)?
        }
    };
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{}: is larger than limits.body, {bytes_max} bytes", path.display()));
    }
    Ok(Bytes::from(bytes))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    if text.len() > limits::HEAD_BYTES_DEFAULT {
        return Err(format!("it is longer than {} bytes", limits::HEAD_BYTES_DEFAULT));
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// What an unset variable stands for: text that most keys take.
const ANY: &str = "unset";
