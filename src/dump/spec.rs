//! What `--sum` and `--by` ask for, from their texts.

use crate::journal::field::{FieldName, Kind};

/// One figure of a sum.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    /// As it was written.
    pub(super) title: String,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// How many records.
    Requests,
    /// A figure over the known values of a field.
    Of(Figure, FieldName),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Sum,
    Mean,
    Min,
    Max,
    /// Of 100.
    Percentile(f64),
}

impl Metric {
    pub(super) fn kind(&self) -> Kind {
        match &self.what {
            What::Requests => Kind::Count,
            What::Of(_, field) => field.kind(),
        }
    }
}

/// The metrics of `--sum`.
///
/// # Errors
/// Says what to write instead.
pub(super) fn metrics(text: &str) -> Result<Vec<Metric>, String> {
    text.split(',').map(|item| metric(item.trim())).collect()
}

/// The fields of `--by`.
///
/// # Errors
/// Says which there are.
pub(super) fn groups(text: &str) -> Result<Vec<FieldName>, String> {
    let field =
        |name: &str| FieldName::find(name.trim()).map_err(|message| format!("--by: {message}"));
    text.split(',').map(field).collect()
}

fn metric(text: &str) -> Result<Metric, String> {
    let title = text.to_owned();
    if text == "requests" {
        return Ok(Metric { title, what: What::Requests });
    }
    let (figure, name) = match text.strip_suffix(')').and_then(|inner| inner.split_once('(')) {
        Some((figure, name)) => (parse_figure(figure)?, name),
        None => (Figure::Sum, text),
    };
    let field = FieldName::find(name).map_err(|message| format!("--sum: {message}, requests"))?;
    match field.kind() {
        Kind::Text | Kind::Flag => Err(format!(
            "--sum: {name} is no number; sum requests --by {name}, or filter with --where"
        )),
        _ => Ok(Metric { title, what: What::Of(figure, field) }),
    }
}

fn parse_figure(text: &str) -> Result<Figure, String> {
    match text {
        "sum" => return Ok(Figure::Sum),
        "mean" | "avg" => return Ok(Figure::Mean),
        "min" => return Ok(Figure::Min),
        "max" => return Ok(Figure::Max),
        _ => {}
    }
    let percent = text.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
    match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        Some(percent) => Ok(Figure::Percentile(percent)),
        None => Err(format!(
            "--sum: `{text}` is no figure: write sum, mean, min, max, or a percentile as p50 or p99.9"
        )),
    }
}
