//! `--sum … --by …`: sums, means and percentiles, one line a group.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use comfy_table::{Cell, CellAlignment};
use hdrhistogram::Histogram;

use super::{
    Args, Outcome, Refusal, World, csv, show,
    source::{self, Selection},
    spec::{self, Figure, Metric, What},
    table::{one_line, plain_table, write_trimmed},
};
use crate::{
    journal::{
        field::{FieldName, Kind, Value},
        view,
    },
    wire::record::Record,
};

pub(super) fn run(
    args: &Args,
    metrics: &str,
    selection: Selection,
    world: &World,
    out: &mut dyn Write,
) -> Result<Outcome, Refusal> {
    let metrics = spec::metrics(metrics).map_err(Refusal::Usage)?;
    let groups = args.by.as_deref().map(spec::groups).transpose().map_err(Refusal::Usage)?;
    let mut sums = Sums::new(metrics, groups.unwrap_or_default());
    let mut records = source::all(&args.dirs, &selection)?;
    while let Some(record) = records.next()? {
        sums.add(&record);
    }
    records.troubles.report();
    if sums.folded > 0 {
        eprintln!(
            "warning: over {GROUPS_MAX} groups; the rest, {} records, is in (other)",
            sums.folded
        );
    }
    if args.json {
        sums.write_json(out)?;
    } else if args.csv {
        sums.write_csv(out)?;
    } else {
        sums.write_table(world.width, out)?;
    }
    Ok(Outcome::Done)
}

struct Sums {
    metrics: Vec<Metric>,
    by: Vec<FieldName>,
    groups: HashMap<Vec<String>, Vec<Tally>>,
    total: Vec<Tally>,
    /// Records put into the group of those for which there was no room.
    folded: u64,
}

/// One metric of one group.
#[derive(Default)]
struct Tally {
    count: u64,
    sum: u128,
    min: Option<u64>,
    max: Option<u64>,
    histogram: Option<Histogram<u64>>,
}

impl Sums {
    fn new(metrics: Vec<Metric>, by: Vec<FieldName>) -> Sums {
        let total = metrics.iter().map(|_| Tally::default()).collect();
        Sums { metrics, by, groups: HashMap::new(), total, folded: 0 }
    }

    fn add(&mut self, record: &Record) {
        let mut key: Vec<_> = self.by.iter().map(|field| group_value(field, record)).collect();
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            self.folded += 1;
            key = vec!["(other)".to_owned(); key.len()];
        }
        let metrics = &self.metrics;
        let tallies = self
            .groups
            .entry(key)
            .or_insert_with(|| metrics.iter().map(|_| Tally::default()).collect());
        for ((metric, tally), total) in metrics.iter().zip(tallies).zip(&mut self.total) {
            tally.add(metric, record);
            total.add(metric, record);
        }
    }

    /// Largest first figure first.
    fn sorted(&self) -> Vec<(&Vec<String>, &Vec<Tally>)> {
        let mut rows: Vec<_> = self.groups.iter().collect();
        rows.sort_by(|(key_a, a), (key_b, b)| {
            let value = |tallies: &Vec<Tally>| tallies[0].value(&self.metrics[0]);
            value(b).cmp(&value(a)).then_with(|| key_a.cmp(key_b))
        });
        rows
    }

    fn write_table(&self, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
        let mut table = plain_table(width);
        let fields = self.by.iter().map(|field| Cell::new(field.name()));
        let metrics = self.metrics.iter();
        let metrics = metrics.map(|one| Cell::new(&one.title).set_alignment(CellAlignment::Right));
        table.set_header(one_line(fields.chain(metrics)));
        for (key, tallies) in self.sorted() {
            let group = key.iter().map(|text| Cell::new(named(text)));
            table.add_row(one_line(group.chain(self.cells(tallies))));
        }
        if self.groups.len() != 1 {
            let group = self.by.iter().map(|_| Cell::new("(all)"));
            table.add_row(one_line(group.chain(self.cells(&self.total))));
        }
        write_trimmed(&table, out)
    }

    fn cells(&self, tallies: &[Tally]) -> Vec<Cell> {
        let cell = |(metric, tally): (&Metric, &Tally)| {
            let value = tally.value(metric);
            let text = value.map_or("-".to_owned(), |value| show::number(value, metric.kind()));
            Cell::new(text).set_alignment(CellAlignment::Right)
        };
        self.metrics.iter().zip(tallies).map(cell).collect()
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        for (key, tallies) in self.sorted() {
            let mut object = serde_json::Map::new();
            for (field, value) in self.by.iter().zip(key) {
                let known = Some(value.clone()).filter(|value| !value.is_empty());
                object.insert(field.name(), known.into());
            }
            for (metric, tally) in self.metrics.iter().zip(tallies) {
                let value = tally.value(metric).map(|value| json_number(value, metric.kind()));
                object.insert(column(metric), value.into());
            }
            writeln!(out, "{}", serde_json::Value::Object(object))?;
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut csv = ::csv::Writer::from_writer(out);
        csv.write_record(
            self.by.iter().map(FieldName::name).chain(self.metrics.iter().map(column)),
        )?;
        for (key, tallies) in self.sorted() {
            let group = key
                .iter()
                .map(|text| csv::cell(Value::Text(text.as_str().into()), Kind::Text).into_owned());
            let figures = self.metrics.iter().zip(tallies).map(|(metric, tally)| {
                tally.value(metric).map_or(String::new(), |value| match metric.kind() {
                    Kind::Money => view::usd(value),
                    _ => value.to_string(),
                })
            });
            csv.write_record(group.chain(figures))?;
        }
        csv.flush()
    }
}

impl Tally {
    fn add(&mut self, metric: &Metric, record: &Record) {
        let (figure, field) = match &metric.what {
            What::Requests => {
                self.count += 1;
                return;
            }
            What::Of(figure, field) => (figure, field),
        };
        let Value::Number(value) = field.value(record) else { return };
        self.count += 1;
        self.sum += u128::from(value);
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        if matches!(figure, Figure::Percentile(_)) {
            if self.histogram.is_none() {
                self.histogram = Histogram::new(HISTOGRAM_DIGITS).ok();
            }
            if let Some(histogram) = &mut self.histogram {
                // It grows with its values; one that it refuses still counts in the maximum.
                let _ = histogram.record(value);
            }
        }
    }

    /// `None`: no record had a value.
    fn value(&self, metric: &Metric) -> Option<u128> {
        let figure = match &metric.what {
            What::Requests => return Some(u128::from(self.count)),
            What::Of(figure, _) => *figure,
        };
        if self.count == 0 {
            return None;
        }
        match figure {
            Figure::Sum => Some(self.sum),
            Figure::Mean => Some(self.sum / u128::from(self.count)),
            Figure::Min => self.min.map(u128::from),
            Figure::Max => self.max.map(u128::from),
            Figure::Percentile(percent) => {
                let value = self.histogram.as_ref()?.value_at_quantile(percent / 100.0);
                // A bucket's upper end may lie above every value in it.
                Some(u128::from(value.min(self.max?)))
            }
        }
    }
}

fn group_value(field: &FieldName, record: &Record) -> String {
    match field.value(record) {
        Value::Missing => String::new(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.into_owned(),
    }
}

fn named(text: &str) -> String {
    if text.is_empty() { "(none)".to_owned() } else { show::printable(text).into_owned() }
}

/// `p50(ttft)` as `p50_ttft_ns`.
fn column(metric: &Metric) -> String {
    csv::column_name(&metric.title.replace('(', "_").replace(')', ""), metric.kind())
}

/// Money as text, as it is no whole number of dollars; the rest as numbers.
fn json_number(value: u128, kind: Kind) -> serde_json::Value {
    match kind {
        Kind::Money => view::usd(value).into(),
        _ => u64::try_from(value).map_or_else(|_| value.to_string().into(), Into::into),
    }
}

/// Groups kept apart; each may hold histograms of tens of kilobytes.
const GROUPS_MAX: usize = 2000;
/// Percentiles are right to a thousandth.
const HISTOGRAM_DIGITS: u8 = 3;
