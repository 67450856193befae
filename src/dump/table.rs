//! Records as a table, one line each, as wide as the terminal at most: what there is no room for is left out, the least
//! telling columns first.

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
    /// Of each column, 0 if it is not shown; set by the first batch.
    widths: Option<Vec<u16>>,
}

struct Column {
    title: &'static str,
    /// `None`: the time.
    field: Option<FieldName>,
    /// 0 is shown always, the highest is left out first.
    rank: u16,
}

impl RecordTable {
    pub(super) fn new(width: Option<u16>) -> RecordTable {
        let columns = COLUMNS
            .iter()
            .map(|&(title, name, rank)| Column { title, field: FieldName::find(name).ok(), rank })
            .collect();
        RecordTable { width, columns, widths: None }
    }

    pub(super) fn print(&mut self, records: &[Record], out: &mut dyn Write) -> io::Result<()> {
        let first = self.widths.is_none();
        if records.is_empty() && !first {
            return Ok(());
        }
        let mut table = plain_table(self.width);
        if first {
            table.set_header(one_line(self.columns.iter().map(|column| Cell::new(column.title))));
        }
        for record in records {
            table.add_row(one_line(self.columns.iter().map(|column| column.cell(record))));
        }
        let natural = table.column_max_content_widths();
        let widths = self.widths.get_or_insert_with(|| fit(&self.columns, &natural, self.width));
        for (index, (column, width)) in self.columns.iter().zip(widths).enumerate() {
            let Some(shape) = table.column_mut(index) else { continue };
            if column.is_number() {
                shape.set_cell_alignment(CellAlignment::Right);
            }
            shape.set_constraint(match width {
                0 => ColumnConstraint::Hidden,
                _ => ColumnConstraint::Absolute(Width::Fixed(*width + COLUMN_GAP)),
            });
        }
        write_trimmed(&table, out)
    }
}

impl Column {
    fn is_text(&self) -> bool {
        self.field.as_ref().is_some_and(|field| field.kind() == Kind::Text) && self.title != "id"
    }

    fn is_number(&self) -> bool {
        self.field.is_some() && !self.is_text() && !["id", "status"].contains(&self.title)
    }

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

/// The columns' widths: every column as wide as it would like, or, in a narrow terminal, texts shortened and the
/// columns of the highest ranks left out.
fn fit(columns: &[Column], natural: &[u16], available: Option<u16>) -> Vec<u16> {
    let wanted = |column: &Column, natural: u16| match column.is_text() {
        true => natural.clamp(TEXT_WIDTH_MIN, TEXT_WIDTH_MAX),
        false => natural.max(NUMBER_WIDTH_MIN),
    };
    let wanted: Vec<_> = columns.iter().zip(natural).map(|(c, n)| wanted(c, *n)).collect();
    let Some(available) = available.map(usize::from) else { return wanted };
    let shortest = |index: usize| match columns[index].is_text() {
        true => wanted[index].min(TEXT_WIDTH_SHORT),
        false => wanted[index],
    };
    let mut widths: Vec<_> = (0..columns.len()).map(shortest).collect();
    let mut by_rank: Vec<_> = (0..columns.len()).filter(|&i| columns[i].rank > 0).collect();
    by_rank.sort_by_key(|&index| columns[index].rank);
    while total(&widths) > available {
        let Some(last) = by_rank.pop() else { break };
        widths[last] = 0;
    }
    for index in 0..columns.len() {
        if widths[index] != 0 {
            let spare = available.saturating_sub(total(&widths));
            let more = usize::from(wanted[index] - widths[index]).min(spare);
            widths[index] += more as u16;
        }
    }
    widths
}

fn total(widths: &[u16]) -> usize {
    widths.iter().filter(|width| **width != 0).map(|width| usize::from(width + COLUMN_GAP)).sum()
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

/// Title, field, rank.
const COLUMNS: &[(&str, &str, u16)] = &[
    ("time (UTC)", "", 0),
    ("id", "id", 10),
    ("status", "status", 0),
    ("api key", "api_key", 9),
    ("provider", "provider", 6),
    ("model", "model", 1),
    ("cache", "cache", 11),
    ("tries", "attempts", 12),
    ("ttft", "ttft", 4),
    ("total", "total", 2),
    ("gw", "gw", 13),
    ("input", "input", 7),
    ("output", "output", 8),
    ("cost", "cost", 3),
    ("error", "error", 5),
];
const NUMBER_WIDTH_MIN: u16 = 6;
const TEXT_WIDTH_MIN: u16 = 8;
/// What a text is shortened to before columns are left out.
const TEXT_WIDTH_SHORT: u16 = 18;
/// The longest model names have about that.
const TEXT_WIDTH_MAX: u16 = 60;
/// Blanks around a cell.
const COLUMN_GAP: u16 = 2;
