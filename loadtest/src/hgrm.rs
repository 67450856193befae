//! Histograms in HdrHistogram's text form, in milliseconds, as its plotter reads them.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use hdrhistogram::Histogram;

use crate::tally::Tally;

/// Writes `path` with the corrected latency, and beside it what else there is of the target and of the direct side.
///
/// # Errors
/// If a file cannot be written; says which.
pub fn save(path: &Path, target: &Tally, direct: Option<&Tally>) -> Result<(), String> {
    save_one(path, &target.corrected)?;
    let mut others = vec![
        ("uncorrected", &target.uncorrected),
        ("ttft", &target.first_token),
        ("gap", &target.gap),
    ];
    if let Some(direct) = direct {
        others.extend([
            ("direct", &direct.corrected),
            ("direct-uncorrected", &direct.uncorrected),
            ("direct-ttft", &direct.first_token),
            ("direct-gap", &direct.gap),
        ]);
    }
    let others = others.into_iter().filter(|(_, histogram)| !histogram.is_empty());
    others.into_iter().try_for_each(|(name, histogram)| save_one(&beside(path, name), histogram))
}

/// `out.hgrm` and `ttft` make `out.ttft.hgrm`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let mut file = path.file_stem().map(OsString::from).unwrap_or_default();
    file.push(format!(".{name}.hgrm"));
    path.with_file_name(file)
}

fn save_one(path: &Path, histogram: &Histogram<u64>) -> Result<(), String> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(histogram, &mut out)?;
        out.flush()
    });
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a histogram of nanoseconds as a table of percentiles in milliseconds.
///
/// # Errors
/// Whatever `out` says.
pub fn write(histogram: &Histogram<u64>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value, quantile) =
            (millis(step.value_iterated_to() as f64), step.quantile_iterated_to());
        write!(out, "{value:12.3} {quantile:1.12} {total:10}")?;
        match quantile < 1.0 {
            true => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile))?,
            false => writeln!(out)?,
        }
    }
    let (mean, deviation) = (millis(histogram.mean()), millis(histogram.stdev()));
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    let (max, count) = (millis(histogram.max() as f64), histogram.len());
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]")?;
    let (buckets, width) = (histogram.buckets(), SUB_BUCKETS);
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {width:12}]")
}

fn millis(nanos: f64) -> f64 {
    nanos / 1e6
}

/// How many lines a halving of the distance to 100 % gets: what the other implementations write.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Of a histogram of three digits.
const SUB_BUCKETS: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_hdrhistogram() {
        let mut histogram = Tally::default().corrected;
        (1..=1000_u64).for_each(|millis| histogram.saturating_record(millis * 1_000_000));
        let mut text = Vec::new();
        write(&histogram, &mut text).expect("memory takes all");
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        let fields: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(&fields[1..], ["0.000000000000", "1", "1.00"]);
        let half = lines.iter().find(|line| line.contains(" 0.500000000000 ")).expect("a median");
        let fields: Vec<&str> = half.split_whitespace().collect();
        assert!(fields[0].parse::<f64>().is_ok_and(|value| (value - 500.0).abs() < 1.0));
        assert_eq!(&fields[2..], ["500", "2.00"]);
        let last = lines.iter().rfind(|line| !line.starts_with('#')).expect("a last line");
        let fields: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(&fields[1..], ["1.000000000000", "1000"]);
        assert!(text.contains("Total count    =         1000]"));
    }

    #[test]
    fn further_files_are_named_after_the_first() {
        assert_eq!(beside(Path::new("a/out.hgrm"), "gap"), Path::new("a/out.gap.hgrm"));
    }
}
