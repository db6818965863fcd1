//! `daybook show`: an entry and its sums.

use std::fmt::Write as _;

use serde::Serialize;

use super::arguments;
use super::table::{Field, Format, Table};
use crate::config::Settings;
use crate::day::Day;
use crate::error::{Error, ErrorKind, Exit};
use crate::ledger::{DeltaCell, Entry, EntryId, Ledger, Reader, RejectedEvent};
use crate::output::Output;
use crate::printable::one_line;
use crate::text::Grouped;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  daybook show 5
  daybook show 5 --format csv > entry-5.csv
  daybook show --day 2020-02-16 --format csv > 2020-02-16.csv")]
pub struct ShowArgs {
    /// The entry, by its number; `daybook log` lists them
    #[arg(value_name = "ENTRY", value_parser = arguments::entry_id, required_unless_present = "day")]
    entry_id: Option<EntryId>,

    /// Print the delta rows of all entries about a day instead, YYYY-MM-DD
    #[arg(long, value_name = "DAY", conflicts_with = "entry_id")]
    day: Option<Day>,

    /// Print a table of the delta rows, without terms [default with --day: table]
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    rejected_events: &'a [RejectedEvent],
}

/// The maximum number of rejected events to list; the table has them all.
const REJECTED_SHOWN: i64 = 20;

/// Runs the command.
pub async fn run(options: ShowArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let format = options
        .format
        .map(|format| format.check(output))
        .transpose()?;
    let (_, mut reader) = Ledger::open_for_reading(&settings.ledger, "daybook show").await?;
    if let Some(day) = options.day {
        let format = Format::Table
            .check(output)
            .map(|table| format.unwrap_or(table))?;
        return day_table(&mut reader, day, format).await;
    }
    let entry_id = options.entry_id.unwrap_or(EntryId::NONE);
    let Some(entry) = reader.entry(entry_id).await? else {
        let head = reader.head().await?;
        return Err(Error::new(
            ErrorKind::EntryMissing,
            format!("there is no entry {entry_id}: the newest is {head}"),
        )
        .hint("`daybook log` lists the entries"));
    };
    if let Some(format) = format {
        let mut table = Table::begin(format, COLUMNS)?;
        reader
            .delta_cells_of_entry(entry_id, async |cell| table.row(fields(&cell)))
            .await?;
        table.end()?;
        return Ok(Exit::Done);
    }
    let rejected = reader
        .rejected_events_of(entry.entry_id, REJECTED_SHOWN)
        .await?;
    let shown = Shown {
        entry: &entry,
        rejected_events: &rejected,
    };
    output.report("entry_shown", &shown, text(&shown));
    Ok(Exit::Done)
}

async fn day_table(reader: &mut Reader, day: Day, format: Format) -> Result<Exit, Error> {
    if reader.entries_of(day).await?.is_empty() {
        return Err(
            Error::new(ErrorKind::EntryMissing, format!("no entry is about {day}"))
                .hint("`daybook status` shows which days have entries"),
        );
    }
    let mut table = Table::begin(format, COLUMNS)?;
    reader
        .delta_cells_of_day(day, async |cell| table.row(fields(&cell)))
        .await?;
    table.end()?;
    Ok(Exit::Done)
}

const COLUMNS: &[&str] = &[
    "entry_id",
    "day",
    "recordset_id",
    "record_type",
    "stat_type",
    "count",
    "total",
    "count_balance",
    "total_balance",
];

fn fields(cell: &DeltaCell) -> Vec<Field> {
    vec![
        Field::number(cell.entry_id.number()),
        Field::text(&cell.day),
        Field::text(&cell.recordset_id),
        Field::text(&cell.record_type),
        Field::text(&cell.stat_type),
        Field::number(cell.count),
        Field::number(cell.total),
        Field::number(cell.count_balance),
        Field::number(cell.total_balance),
    ]
}

fn text(shown: &Shown<'_>) -> String {
    let Entry {
        entry_id,
        day,
        kind,
        run_id,
        rule_version,
        tool_version,
        ..
    } = shown.entry;
    let entry = shown.entry;
    let mut text = format!("entry {entry_id}: {kind} of {day}\n");
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<14} {value}");
    };
    line(
        "posted",
        format!(
            "{} by {}, run {run_id}",
            entry.posted_at.format("%Y-%m-%d %H:%M:%S UTC"),
            one_line(&entry.posted_by)
        ),
    );
    line(
        "rules",
        format!("version {rule_version}, daybook {tool_version}"),
    );
    line(
        "source",
        format!(
            "{} events: {} counted, {} ignored, {} rejected; fingerprint {}",
            Grouped(entry.source_events),
            Grouped(entry.source_counted),
            Grouped(entry.source_ignored),
            Grouped(entry.source_rejected),
            entry.source_fingerprint,
        ),
    );
    if let Some(reverses) = entry.reverses {
        line("reverses", format!("entry {reverses}"));
    }
    if let Some(reversed_by) = entry.reversed_by {
        line("reversed by", format!("entry {reversed_by}"));
    }
    if let Some(reason) = &entry.reason {
        line("reason", one_line(reason).into_owned());
    }
    line("content hash", entry.content_hash.to_string());
    line("rejected hash", entry.rejected_hash.to_string());
    line("previous hash", entry.previous_hash.to_string());
    line("entry hash", entry.entry_hash.to_string());
    line("adds", format!("{} cells", Grouped(entry.cells())));
    for sum in &entry.totals.0 {
        line(
            "",
            format!(
                "{:<12} {:<8} {:>14} interactions {:>16} records in {:>6} recordsets",
                sum.record_type,
                sum.stat_type,
                Grouped(sum.count),
                Grouped(sum.total),
                Grouped(sum.cells),
            ),
        );
    }
    for rejected in shown.rejected_events {
        line(
            "rejected",
            format!(
                "event {} ({}): {}",
                rejected.source_id,
                rejected.reason,
                one_line(&rejected.message)
            ),
        );
    }
    if shown.rejected_events.len() == usize::try_from(REJECTED_SHOWN).unwrap_or(usize::MAX) {
        line(
            "",
            format!(
                "all of them: SELECT * FROM daybook.rejected_event WHERE entry_id = {entry_id}"
            ),
        );
    }
    text.trim_end().to_owned()
}
