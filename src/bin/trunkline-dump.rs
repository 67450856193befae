//! Reads, follows, filters, sums and checks request logs.

use std::process::ExitCode;

use clap::Parser;
use trunkline::dump;

/// Reads, follows, filters, sums and checks the request logs of trunkline.
#[derive(Parser)]
#[command(name = "trunkline-dump", version)]
struct Cli {
    #[command(flatten)]
    args: dump::Args,
}

fn main() -> ExitCode {
    dump::run(&Cli::parse().args)
}
