//! The gateway's command line: arguments to a plan, and the plan run.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use trunkline::{
    control::{
        check::{self, CheckArgs},
        explain::{self, ExplainArgs},
        gateway::{self, Plan},
        key_command::{self, KeyArgs},
        load::{Origin, Overrides},
        quickstart,
    },
    dump,
    io::uring::Driver,
    policy::api_key,
    sandbox::{self, Sandbox},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A self-hosted LLM gateway: one endpoint in front of every AI provider.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  trunkline quickstart                         try it: no file, key or network needed
  trunkline check trunkline.yaml               all mistakes of a configuration at once
  trunkline serve --config trunkline.yaml      run the gateway
  trunkline explain --config trunkline.yaml --request body.json   which targets, and why
  trunkline key new                            make an API key and its hash
  trunkline dump log/ --follow                 tail the request log";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(ServeArgs),
    /// Run the gateway with a built-in sandbox provider and a ready configuration.
    Quickstart(ServeArgs),
    /// Tell all mistakes of a configuration file at once.
    Check(CheckArgs),
    /// Explain which targets a request would be tried on, or a logged one was, and why.
    Explain(ExplainArgs),
    /// Make an API key, or the hash of one.
    Key(KeyArgs),
    /// Read, tail, filter, sum and check request logs; the same as `trunkline-dump`.
    Dump(dump::Args),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline serve                              ./trunkline.yaml, else open on loopback
  trunkline serve --config prod.yaml --listen 0.0.0.0:8787
  trunkline serve --workers 1 --driver epoll --log off")]
struct ServeArgs {
    /// The configuration file; without it ./trunkline.yaml, and without that the gateway is open on loopback.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect; the default is 127.0.0.1:8787.
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Where the admin interface listens, or `off`; the default is 127.0.0.1:8788.
    #[arg(long, value_name = "ADDR|off", value_parser = parse_admin)]
    admin: Option<AdminFlag>,
    /// Worker threads; the default is one a core.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// The request log's directory, or `off`; the default is ./log.
    #[arg(long, value_name = "DIR|off")]
    log: Option<PathBuf>,
    /// The event interface; `auto` takes io_uring where it works.
    #[arg(long, value_enum, default_value_t = DriverFlag::Auto)]
    driver: DriverFlag,
}

#[derive(Clone, Copy, Debug)]
struct AdminFlag(Option<SocketAddr>);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DriverFlag {
    Auto,
    #[value(name = "io_uring")]
    Uring,
    Epoll,
}

fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an address and a port such as 127.0.0.1:8787 or 0.0.0.0:8787")
}

fn parse_admin(text: &str) -> Result<AdminFlag, String> {
    if text == "off" {
        return Ok(AdminFlag(None));
    }
    let address = text.parse().map_err(|_| "write an address such as 127.0.0.1:8788, or off")?;
    Ok(AdminFlag(Some(address)))
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(args) => {
            let origin = args.origin();
            gateway::run(args.plan(origin), |_| {})
        }
        Command::Quickstart(args) => quickstart(&args),
        Command::Check(args) => exit(check::run(&args)),
        Command::Explain(args) => exit(explain::run(&args, &dump::find)),
        Command::Key(args) => exit(key_command::run(&args)),
        Command::Dump(args) => dump::run(&args),
    }
}

/// The sandbox, a configuration around it, and lines to paste. A file or a key is not needed; a configuration file
/// would contradict the built-in one.
fn quickstart(args: &ServeArgs) -> ExitCode {
    if args.config.is_some() {
        eprintln!(
            "trunkline: quickstart brings its own configuration: use `trunkline serve --config`"
        );
        return ExitCode::from(2);
    }
    let mut random = [0; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        eprintln!("trunkline: no random bytes for an API key: {error}");
        return ExitCode::from(1);
    }
    let api_key = api_key::from_random(random);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let port = match sandbox::host::start(loopback, Sandbox::lively) {
        Ok(address) => address.port(),
        Err(error) => {
            eprintln!("trunkline: the sandbox could not be started: {error}");
            return ExitCode::from(1);
        }
    };
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let hash = hex::encode(api_key::hash(api_key.reveal()));
    let origin = Origin::Text(quickstart::config_yaml(port, &hash, &env));
    gateway::run(args.plan(origin), |running| {
        let banner = quickstart::Banner {
            listen: running.listen,
            api_key: api_key.reveal(),
            log_dir: running.log_dir.as_deref(),
            through_cargo: std::env::var_os("CARGO").is_some(),
            virtual_keys: &quickstart::virtual_keys(&env),
        };
        // The text is this command's result; a closed stdout is no reason to stop the gateway.
        let _ = io::Write::write_all(&mut io::stdout(), quickstart::banner(&banner).as_bytes());
    })
}

impl ServeArgs {
    fn origin(&self) -> Origin {
        let beside = PathBuf::from("trunkline.yaml");
        match &self.config {
            Some(path) => Origin::File(path.clone()),
            None if beside.exists() => Origin::File(beside),
            None => Origin::Defaults,
        }
    }

    fn plan(&self, origin: Origin) -> Plan {
        let off = |dir: &PathBuf| dir.as_os_str() == "off";
        let log = self.log.clone().map(|dir| (!off(&dir)).then_some(dir));
        let overrides = Overrides {
            listen: self.listen,
            admin: self.admin.map(|flag| flag.0),
            workers: self.workers,
            log,
        };
        let driver = match self.driver {
            DriverFlag::Auto => None,
            DriverFlag::Uring => Some(Driver::Uring),
            DriverFlag::Epoll => Some(Driver::Epoll),
        };
        Plan { origin, overrides, driver }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(70))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_contradicts_itself() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
