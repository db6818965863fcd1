//! `daybook totals`: a recordset's counts, in the format of the old collector's aggregation object.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::arguments::{self, DateRangeArgs};
use super::table::{Field, Format, Table};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Exit};
use crate::event::{PerDimension, RecordType, StatType};
use crate::ledger::{Ledger, StoredRow};
use crate::output::Output;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  daybook totals 00038086-3303-4b89-b2d6-1b84e7598f0e --from 2020-02-01 --to 2020-02-29
  daybook totals 00038086-3303-4b89-b2d6-1b84e7598f0e --format csv > totals.csv")]
pub struct TotalsArgs {
    /// The recordset, by its UUID
    #[arg(value_name = "RECORDSET", value_parser = arguments::recordset)]
    recordset_id: Uuid,

    /// The days to sum up [default: all].
    #[command(flatten)]
    date_range: DateRangeArgs,

    /// Print a table of counts and totals instead, without terms
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

#[derive(Default, Serialize)]
struct Cell {
    count: i64,
    total: i64,
    #[serde(flatten)]
    terms: PerDimension<BTreeMap<String, i64>>,
}

/// Runs the command.
pub async fn run(options: TotalsArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let recordset_id = options.recordset_id;
    let format = options
        .format
        .map(|format| format.check(output))
        .transpose()?;
    let (_, mut reader) = Ledger::open_for_reading(&settings.ledger, "daybook totals").await?;
    let period = options.date_range.within(reader.period().await?)?;
    let mut cells: BTreeMap<(RecordType, StatType), Cell> = BTreeMap::new();
    let mut rows = reader.rows_of_recordset(recordset_id, period);
    while let Some(row) = rows.next().await? {
        let cell = cells
            .entry((row.cell.record_type, row.cell.stat_type))
            .or_default();
        cell.add(&row)?.ok_or_else(|| {
            Error::new(
                ErrorKind::FigureTooLarge,
                format!("the totals of {} exceed a bigint", row.cell),
            )
        })?;
    }
    if cells.is_empty() {
        tracing::warn!(%recordset_id, "the ledger has nothing for this recordset on these days");
    }
    if let Some(format) = format {
        return table(format, recordset_id, &cells);
    }
    let object = json!({ recordset_id.to_string(): aggregation_object(cells) });
    output.report("totals", json!({ "totals": object }), format!("{object:#}"));
    Ok(Exit::Done)
}

/// The cells that have interactions.
fn table(
    format: Format,
    recordset_id: Uuid,
    cells: &BTreeMap<(RecordType, StatType), Cell>,
) -> Result<Exit, Error> {
    let columns = &["recordset_id", "record_type", "stat_type", "count", "total"];
    let mut table = Table::begin(format, columns)?;
    for ((record_type, stat_type), cell) in cells {
        table.row(vec![
            Field::text(&recordset_id),
            Field::text(record_type.name()),
            Field::text(stat_type.name()),
            Field::number(cell.count),
            Field::number(cell.total),
        ])?;
    }
    table.end()?;
    Ok(Exit::Done)
}

impl Cell {
    /// Adds a row. Returns none if a sum overflows.
    fn add(&mut self, row: &StoredRow) -> Result<Option<()>, Error> {
        let maps = row.maps()?;
        let mut add = || {
            self.count = self.count.checked_add(row.count)?;
            self.total = self.total.checked_add(row.total)?;
            for (dimension, terms) in maps.as_ref() {
                let sums = &mut self.terms[dimension];
                for (term, n) in &terms.0 {
                    let sum = sums.entry(term.to_string()).or_default();
                    *sum = sum.checked_add(*n)?;
                    if *sum == 0 {
                        sums.remove(term.as_ref());
                    }
                }
            }
            Some(())
        };
        Ok(add())
    }
}

/// All ten cells, including empty ones.
fn aggregation_object(mut cells: BTreeMap<(RecordType, StatType), Cell>) -> Value {
    let mut object = Map::new();
    for record_type in RecordType::ALL {
        let of_type: Map<String, Value> = StatType::ALL
            .into_iter()
            .map(|stat_type| {
                let cell = cells.remove(&(record_type, stat_type)).unwrap_or_default();
                (stat_type.name().to_owned(), json!(cell))
            })
            .collect();
        object.insert(record_type.name().to_owned(), Value::Object(of_type));
    }
    Value::Object(object)
}
