//! Tables to take away: CSV for spreadsheets and pandas, JSON, or aligned text.
//!
//! CSV is that of RFC 4180: lines end in CRLF, and a field is quoted if it must be. Values are exact, whatever a
//! spreadsheet may take them for. Only on a terminal are hidden characters escaped.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::output::Output;
use crate::printable::{one_line, printable};
use crate::text::Grouped;

/// The form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values (RFC 4180)
    Csv,
    /// One JSON array of objects
    Json,
    /// Aligned columns
    Table,
}

impl Format {
    /// Refuses `--json`, which prints messages instead of a table.
    pub fn check(self, output: Output) -> Result<Self, Error> {
        if output.is_json() {
            return Err(Error::usage("--format and --json exclude each other")
                .hint("leave out --json, and give --format json for a JSON array"));
        }
        Ok(self)
    }
}

/// A value of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Number(i128),
    Text(String),
    Nothing,
}

impl Field {
    pub fn text(value: &(impl ToString + ?Sized)) -> Self {
        Self::Text(value.to_string())
    }

    pub fn number(value: impl Into<i128>) -> Self {
        Self::Number(value.into())
    }

    pub fn optional(value: Option<&str>) -> Self {
        value.map_or(Self::Nothing, Self::text)
    }

    fn exact(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Text(text) => text.clone(),
            Self::Nothing => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            // Numbers beyond 64 bits do not come from a ledger that is sound.
            Self::Number(n) => i64::try_from(*n).map_or_else(|_| n.to_string().into(), Value::from),
            Self::Text(text) => Value::from(text.as_str()),
            Self::Nothing => Value::Null,
        }
    }
}

/// A table that is being printed.
pub struct Table {
    format: Format,
    columns: &'static [&'static str],
    /// The rows of aligned text, which is printed at the end.
    aligned: Vec<Vec<Field>>,
    rows: usize,
    /// Whether the reader of the output has gone (`| head`).
    is_closed: bool,
}

impl Table {
    /// Prints the heading.
    pub fn begin(format: Format, columns: &'static [&'static str]) -> Result<Self, Error> {
        let mut table = Self {
            format,
            columns,
            aligned: Vec::new(),
            rows: 0,
            is_closed: false,
        };
        match format {
            Format::Csv => table.print(&csv_line(columns.iter().copied())?)?,
            Format::Json => table.print("[")?,
            Format::Table => {}
        }
        Ok(table)
    }

    /// Prints a row, which has a field for each column.
    pub fn row(&mut self, fields: Vec<Field>) -> Result<(), Error> {
        match self.format {
            Format::Csv => {
                let line = csv_line(fields.iter().map(Field::exact))?;
                self.print(&line)?;
            }
            Format::Json => {
                let names = self.columns.iter().map(|name| (*name).to_owned());
                let object: Map<String, Value> =
                    names.zip(fields.iter().map(Field::json)).collect();
                let before = if self.rows == 0 { "\n" } else { ",\n" };
                // Hidden characters are escaped, which is the same JSON.
                let line = format!("{before}{}", printable(&Value::Object(object).to_string()));
                self.print(&line)?;
            }
            Format::Table => self.aligned.push(fields),
        }
        self.rows += 1;
        Ok(())
    }

    /// Prints the end.
    pub fn end(mut self) -> Result<(), Error> {
        match self.format {
            Format::Csv => Ok(()),
            Format::Json => self.print("\n]\n"),
            Format::Table => {
                let text = aligned(self.columns, &self.aligned);
                self.print(&text)
            }
        }
    }

    fn print(&mut self, text: &str) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = if self.format == Format::Csv && stdout.is_terminal() {
            stdout.write_all(printable(&text.replace('\r', "")).as_bytes())
        } else {
            stdout.write_all(text.as_bytes())
        };
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_closed = true,
            Err(error) => {
                return Err(
                    Error::new(ErrorKind::OutputUnwritable, "stdout cannot be written")
                        .caused_by(error),
                );
            }
            Ok(()) => {}
        }
        Ok(())
    }
}

fn csv_line(fields: impl Iterator<Item = impl AsRef<[u8]>>) -> Result<String, Error> {
    let failed = || Error::new(ErrorKind::Internal, "a row cannot be written as CSV");
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer
        .write_record(fields)
        .map_err(|error| failed().caused_by(error))?;
    let line = writer
        .into_inner()
        .map_err(|error| failed().caused_by(error.to_string()))?;
    String::from_utf8(line).map_err(|error| failed().caused_by(error))
}

/// Columns under their headings: numbers to the right, with commas.
fn aligned(columns: &[&str], rows: &[Vec<Field>]) -> String {
    let shown = |field: &Field| match field {
        Field::Number(n) => Grouped(*n).to_string(),
        Field::Text(text) => one_line(text).into_owned(),
        Field::Nothing => String::new(),
    };
    let rows: Vec<Vec<(String, bool)>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|field| (shown(field), matches!(field, Field::Number(_))))
                .collect()
        })
        .collect();
    let mut text = String::new();
    let width = |column: usize| {
        let fields = rows.iter().map(|row| row[column].0.chars().count());
        fields.max().unwrap_or(0).max(columns[column].len())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let is_number = |column: usize| {
        !rows.is_empty()
            && rows
                .iter()
                .all(|row| row[column].1 || row[column].0.is_empty())
    };
    let mut line = |fields: Vec<&str>| {
        let padded: Vec<String> = fields
            .into_iter()
            .enumerate()
            .map(|(column, field)| {
                let width = widths[column];
                if is_number(column) {
                    format!("{field:>width$}")
                } else {
                    format!("{field:<width$}")
                }
            })
            .collect();
        text += padded.join("  ").trim_end();
        text.push('\n');
    };
    line(columns.to_vec());
    for row in &rows {
        line(row.iter().map(|(field, _)| field.as_str()).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_only_if_it_must_be_and_lines_end_as_the_standard_says() {
        let line = csv_line(["a", "b,c", "d\"e", "f\ng", "=1+1", ""].iter()).unwrap();
        assert_eq!(line, "a,\"b,c\",\"d\"\"e\",\"f\ng\",=1+1,\r\n");
    }

    #[test]
    fn numbers_stand_to_the_right_and_text_cannot_fake_a_line() {
        let rows = [
            vec![Field::text("a"), Field::number(1234), Field::Nothing],
            vec![Field::text("b\nc"), Field::number(5), Field::text("x")],
        ];
        assert_eq!(
            aligned(&["name", "count", "note"], &rows),
            "name  count  note\na     1,234\nb\\nc      5  x\n"
        );
    }
}
