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

const EXIT_BUG: u8 = 70;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What a panic says is on stderr by then.
    std::panic::catch_unwind(|| dump::run(&cli.args)).unwrap_or(ExitCode::from(EXIT_BUG))
}
