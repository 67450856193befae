//! Reads request logs: tables, JSON, CSV, sums, one exchange, following, checking. `trunkline dump` and
//! `trunkline-dump` are both this module's [`run`].

mod args;
mod body;
mod check;
mod csv;
mod follow;
mod json;
mod one;
mod show;
mod source;
mod spec;
mod sum;
mod table;
mod when;

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

pub use args::Args;

use crate::{
    base::units::UnixTime,
    io::log::{
        disk::{Row, segments},
        system_clock,
    },
    wire::record::Record,
};
use source::Selection;

/// Runs the program: results on stdout, everything else on stderr.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let world = World { now: system_clock()(), width: table::terminal_width(), stdout: true };
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let done = run_on(args, &world, &mut out).and_then(|outcome| {
        out.flush()?;
        Ok(outcome)
    });
    match done {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Faulty) => ExitCode::from(EXIT_REFUSED),
        Err(Refusal::Closed) => ExitCode::SUCCESS,
        Err(Refusal::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(Refusal::Input(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

/// What a run depends on besides its arguments.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What `--since 1h` counts back from.
    pub now: UnixTime,
    /// Columns of the terminal; `None`: the output is no terminal, and nothing is shortened.
    pub width: Option<u16>,
    /// Whether the output is this process's standard output, so that `--follow` can see that its reader left.
    pub stdout: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// `--check` found something, or what was looked for is not there.
    Faulty,
}

/// Why a run gave up.
#[derive(Debug)]
pub enum Refusal {
    /// An argument makes no sense; says which and what to write.
    Usage(String),
    /// The input cannot be read; says what and why.
    Input(String),
    /// Whoever read the output went away.
    Closed,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Refusal::Closed,
            _ => Refusal::Input(error.to_string()),
        }
    }
}

/// [`run`] on any output.
///
/// # Errors
/// Says why there is no result.
pub fn run_on(args: &Args, world: &World, out: &mut dyn Write) -> Result<Outcome, Refusal> {
    for dir in &args.dirs {
        if !dir.is_dir() {
            let message = format!("{}: there is no such directory", dir.display());
            return Err(Refusal::Input(message));
        }
        if segments(dir, Row::Records)?.is_empty() {
            eprintln!("{}: no segment of a request log is here yet", dir.display());
        }
    }
    if args.check {
        return check::run(&args.dirs, out);
    }
    let selection = Selection::new(args, world)?;
    if args.id.is_some() {
        return one::run(args, &selection, out);
    }
    if let Some(spec) = &args.sum {
        return sum::run(args, spec, selection, world, out);
    }
    let mut printer = Printer::new(args, world, out)?;
    if args.follow {
        return follow::run(args, &selection, world, &mut printer);
    }
    list(args, &selection, &mut printer)
}

/// The one exchange of an id, or of its first digits, in a log directory.
///
/// # Errors
/// Says why there is none, or that there are several.
pub fn find(dir: &Path, id: &str) -> Result<Record, String> {
    if !dir.is_dir() {
        return Err(format!("{}: there is no such directory", dir.display()));
    }
    let found = Selection::of_id(id).and_then(|selection| one::find(&[dir.to_owned()], &selection));
    found.map_err(|refusal| match refusal {
        Refusal::Usage(message) | Refusal::Input(message) => message,
        Refusal::Closed => "the output was closed".to_owned(),
    })
}

/// All records of the selection, or the newest of them.
fn list(args: &Args, selection: &Selection, printer: &mut Printer<'_>) -> Result<Outcome, Refusal> {
    let newest = args.newest.or((!args.json && !args.csv).then_some(NEWEST_DEFAULT));
    if let Some(count) = newest.filter(|&count| count != 0) {
        let newest = source::newest(&args.dirs, selection, count)?;
        printer.print(&newest.records)?;
        newest.troubles.report();
        if newest.more && args.newest.is_none() {
            eprintln!("the newest {count}; -n 0 shows all");
        }
    } else {
        let mut records = source::all(&args.dirs, selection)?;
        let mut batch = Vec::new();
        while let Some(record) = records.next()? {
            batch.push(record);
            if batch.len() == BATCH_RECORDS {
                printer.print(&batch)?;
                batch.clear();
            }
        }
        printer.print(&batch)?;
        records.troubles.report();
    }
    printer.finish()?;
    Ok(Outcome::Done)
}

/// Prints records in the form that was asked for.
pub(crate) enum Printer<'a> {
    Table(table::RecordTable, &'a mut dyn Write),
    Json(&'a mut dyn Write),
    Csv(Box<csv::CsvWriter<'a>>),
}

impl<'a> Printer<'a> {
    fn new(args: &Args, world: &World, out: &'a mut dyn Write) -> Result<Printer<'a>, Refusal> {
        Ok(if args.json {
            Printer::Json(out)
        } else if args.csv {
            Printer::Csv(Box::new(csv::CsvWriter::new(out)?))
        } else {
            Printer::Table(table::RecordTable::new(world.width), out)
        })
    }

    fn print(&mut self, records: &[Record]) -> io::Result<()> {
        match self {
            Printer::Table(table, out) => table.print(records, *out),
            Printer::Json(out) => records.iter().try_for_each(|record| json::write(record, *out)),
            Printer::Csv(csv) => records.iter().try_for_each(|record| csv.write(record)),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Printer::Table(_, out) | Printer::Json(out) => out.flush(),
            Printer::Csv(csv) => csv.flush(),
        }
    }
}

/// Records shown where neither a number nor a form that is read by programs is asked for.
pub(crate) const NEWEST_DEFAULT: usize = 20;
/// Records printed at once; the first batch sets the widths of a table.
const BATCH_RECORDS: usize = 1000;
const EXIT_REFUSED: u8 = 1;
const EXIT_USAGE: u8 = 2;
