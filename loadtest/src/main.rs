//! `trunkline-load`: the command line to a load or to a fake provider, and its outcome to an exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use trunkline_loadtest::{
    args::{Arguments, Command, LoadArgs},
    hgrm, plan,
    report::Report,
    run, table, upstream,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Upstream(args)) => upstream::run(&args, io::stdout()).map(|()| true),
        None => load(&arguments.load),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_REFUSED),
        Err(reason) => {
            eprintln!("trunkline-load: {reason}");
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

/// Runs a load and prints its result; whether any request succeeded.
fn load(args: &LoadArgs) -> Result<bool, String> {
    let plan = plan::make(args)?;
    for note in &plan.notes {
        eprintln!("trunkline-load: {note}");
    }
    let measured = run::run(&plan).map_err(|error| format!("the load broke off: {error}"))?;
    if let (Some(path), [target, direct @ ..]) = (&args.hgrm, &measured.sides[..]) {
        hgrm::save(path, target, direct.first())?;
    }
    let report = Report::new(&plan, &measured);
    let text = if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        json + "\n"
    } else {
        table::render(&report)
    };
    // A reader that has gone wants no more.
    let _ = io::stdout().write_all(text.as_bytes());
    if report.target.ok == 0 {
        eprintln!("trunkline-load: not one request to the target succeeded");
    }
    Ok(report.target.ok > 0)
}

/// The input was refused, or nothing came of it.
const EXIT_REFUSED: u8 = 1;
