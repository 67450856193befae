//! The command line of `trunkline-dump`.

use std::path::PathBuf;

/// What to read, what to pick from it, and how to show it.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Log directories; several are read as one, merged by time.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Only the newest N records; 0 shows all. A table shows 20 unless told, the other forms show all.
    #[arg(short = 'n', long = "newest", value_name = "N")]
    pub newest: Option<usize>,
    /// Go on with what is being written, across segments and restarts.
    #[arg(short, long, conflicts_with_all = ["sum", "id", "check", "until"])]
    pub follow: bool,
    /// Only records that pass this filter.
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
    /// Only requests from then on: `90s`, `1h`, `2d` ago, or `2026-04-23T14:15:00Z`, or a date.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only requests before then; likewise.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// One JSON object a line, with every field.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// CSV with a header line.
    #[arg(long)]
    pub csv: bool,
    /// Adds up, over all records: requests, a field's name for its sum, or sum, mean, min, max, p50, p99.9 (FIELD).
    #[arg(long, value_name = "WHAT,…", conflicts_with_all = ["id", "check"])]
    pub sum: Option<String>,
    /// One sum for each value of these fields.
    #[arg(long, value_name = "FIELD,…", requires = "sum")]
    pub by: Option<String>,
    /// One exchange in full: its stages, its attempts, its cost. The first digits of the id do.
    #[arg(long, value_name = "REQUEST-ID", conflicts_with = "check")]
    pub id: Option<String>,
    /// With --id: its logged bodies too.
    #[arg(long, requires = "id")]
    pub bodies: bool,
    /// Reads everything and reports damage, gaps and torn tails; exit code 1 if there is any.
    #[arg(long)]
    pub check: bool,
}

const EXAMPLES: &str = "\
Examples:
  trunkline-dump log/                                    the newest records
  trunkline-dump log/ --follow                           and those to come
  trunkline-dump log/ --where 'status>=500 && model~\"gpt\" && ttft>2s' --since 1h --json
  trunkline-dump log/ --sum cost,tokens,requests,p50(ttft),p99(total) --by model,meta.team
  trunkline-dump log/ --id 4f2a                          one exchange: stages, attempts, cost
  trunkline-dump log/ --check                            checksums, gaps, torn tails
  trunkline-dump node1/ node2/ --csv > all.csv

Filters: == != < <= > >= ~ (regular expression) !~ && || ! ( ), times as 2s or 250ms, sizes as 64KiB, dollars as
0.01. A misspelt field lists all of them. A value that is unknown makes every comparison false.

Exit codes: 0 done, 1 the input was refused or --check found something, 2 usage.";
