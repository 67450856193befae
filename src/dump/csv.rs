//! Records as CSV for spreadsheets: what a spreadsheet would take for a formula is guarded with an apostrophe.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::when;
use crate::{
    journal::{
        field::{FIELDS, FieldName, Kind, Value},
        view,
    },
    wire::record::Record,
};

pub(crate) struct CsvWriter<'a> {
    csv: csv::Writer<&'a mut dyn Write>,
    fields: Vec<FieldName>,
}

impl<'a> CsvWriter<'a> {
    /// Writes the header line.
    pub(super) fn new(out: &'a mut dyn Write) -> io::Result<CsvWriter<'a>> {
        let fields: Vec<_> = FIELDS.iter().map(FieldName::Fixed).collect();
        let mut csv = csv::Writer::from_writer(out);
        csv.write_field("time")?;
        for field in &fields {
            csv.write_field(column_name(&field.name(), field.kind()))?;
        }
        csv.write_record(["metadata"])?;
        Ok(CsvWriter { csv, fields })
    }

    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        self.csv.write_field(when::rfc3339(record.accepted_unix_nanos))?;
        for field in &self.fields {
            self.csv.write_field(&*cell(field.value(record), field.kind()))?;
        }
        self.csv.write_record([&*guarded(&metadata(record))])?;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.csv.flush()
    }
}

/// The name with its unit.
pub(super) fn column_name(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Time => format!("{name}_ns"),
        Kind::Money => format!("{name}_usd"),
        Kind::Bytes | Kind::Count | Kind::Flag | Kind::Text => name.to_owned(),
    }
}

/// A value for programs; unknown is empty.
pub(super) fn cell(value: Value<'_>, kind: Kind) -> Cow<'_, str> {
    match value {
        Value::Missing => Cow::Borrowed(""),
        Value::Flag(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
        Value::Number(number) if kind == Kind::Money => view::usd(u128::from(number)).into(),
        Value::Number(number) => number.to_string().into(),
        Value::Text(text) => guarded(&text).into_owned().into(),
    }
}

fn metadata(record: &Record) -> String {
    if record.metadata.is_empty() {
        return String::new();
    }
    let pairs = record.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into()));
    serde_json::Value::Object(pairs.collect()).to_string()
}

fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_guarded() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert_eq!(guarded(text), format!("'{text}"));
        }
        assert_eq!(guarded("gpt-4o"), "gpt-4o");
    }
}
