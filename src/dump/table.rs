//! Records as a table, one line each, as wide as the terminal at most.

use std::io::{self, Write};

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};

use super::{show, when};
use crate::{
    journal::field::{FieldName, Kind, Value},
    wire::record::Record,
};

/// Columns of the terminal that stdout is; `None` if it is none.
pub(super) fn terminal_width() -> Option<u16> {
    Table::new().width()
}

/// Prints batches of records under one header.
pub(crate) struct RecordTable {
    width: Option<u16>,
    columns: Vec<Column>,
    /// Set by the first batch.
    widths: Option<Vec<u16>>,
}

struct Column {
    title: &'static str,
    /// `None`: the time.
    field: Option<FieldName>,
}

impl RecordTable {
    pub(super) fn new(width: Option<u16>) -> RecordTable {
        let fits = |from: u16| width.is_none_or(|width| width >= from);
        let columns = COLUMNS
            .iter()
            .filter(|(_, _, from)| fits(*from))
            .map(|(title, name, _)| Column { title, field: FieldName::find(name).ok() })
            .collect();
        RecordTable { width, columns, widths: None }
    }

    pub(super) fn print(&mut self, records: &[Record], out: &mut dyn Write) -> io::Result<()> {
        if records.is_empty() && self.widths.is_some() {
            return Ok(());
        }
        let mut table = plain_table(self.width);
        let first = self.widths.is_none();
        if first {
            table.set_header(one_line(self.columns.iter().map(|column| Cell::new(column.title))));
        }
        for record in records {
            table.add_row(one_line(self.columns.iter().map(|column| column.cell(record))));
        }
        self.align(&mut table);
        write_trimmed(&table, out)
    }

    /// Numbers to the right; all batches as wide as the first.
    fn align(&mut self, table: &mut Table) {
        let natural = table.column_max_content_widths();
        let widths = self
            .widths
            .get_or_insert_with(|| natural.iter().map(|width| (*width).max(WIDTH_MIN)).collect());
        for (index, column) in self.columns.iter().enumerate() {
            let Some(shape) = table.column_mut(index) else { continue };
            let is_number = column.field.as_ref().is_some_and(|field| {
                !matches!(field.kind(), Kind::Text | Kind::Flag) && column.title != "status"
            });
            if is_number {
                shape.set_cell_alignment(CellAlignment::Right);
            }
            let width = Width::Fixed(widths[index] + COLUMN_GAP);
            match column.field.as_ref().map(FieldName::kind) {
                Some(Kind::Text) => shape.set_constraint(ColumnConstraint::UpperBoundary(width)),
                _ => shape.set_constraint(ColumnConstraint::Absolute(width)),
            };
        }
    }
}

impl Column {
    fn cell(&self, record: &Record) -> Cell {
        Cell::new(match &self.field {
            None => when::short(record.accepted_unix_nanos),
            Some(field) => match field.value(record) {
                Value::Text(id) if self.title == "id" => id[..8].to_owned(),
                value => show::value(&value, field.kind()),
            },
        })
    }
}

/// A table without lines around it.
pub(super) fn plain_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_truncation_indicator("…");
    match width {
        Some(width) => {
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

/// A row that is cut instead of folded.
pub(super) fn one_line(cells: impl Iterator<Item = Cell>) -> Row {
    let mut row = Row::from(cells.collect::<Vec<_>>());
    row.max_height(1);
    row
}

/// Writes the lines without the blanks that fill them up.
pub(super) fn write_trimmed(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    for line in table.lines() {
        let line = line.strip_prefix(' ').unwrap_or(&line);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Title, field, and the width of the terminal from which on the column is shown.
const COLUMNS: &[(&str, &str, u16)] = &[
    ("time (UTC)", "", 0),
    ("id", "id", 100),
    ("status", "status", 0),
    ("api key", "api_key", 120),
    ("provider", "provider", 90),
    ("model", "model", 0),
    ("cache", "cache", 140),
    ("tries", "attempts", 130),
    ("ttft", "ttft", 80),
    ("total", "total", 0),
    ("gw", "gw", 150),
    ("input", "input", 110),
    ("output", "output", 110),
    ("cost", "cost", 70),
    ("error", "error", 60),
];
const WIDTH_MIN: u16 = 6;
/// Blanks around a cell.
const COLUMN_GAP: u16 = 2;
