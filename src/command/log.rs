//! `daybook log`: the journal.

use uuid::Uuid;

use super::table::{Field, Format, Table};
use crate::config::Settings;
use crate::day::Day;
use crate::error::{Error, Exit};
use crate::ledger::{Entry, EntryFilter, EntryId, EntryKind, Ledger};
use crate::output::Output;
use crate::printable::one_line;
use crate::text::Grouped;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct LogArgs {
    /// Number of entries to list, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,

    /// Only entries before this one: the next page
    #[arg(long, value_name = "ENTRY")]
    before: Option<EntryId>,

    /// Only entries of this day
    #[arg(long, value_name = "DAY")]
    day: Option<Day>,

    /// Only entries of this kind; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<EntryKind>,

    /// Only entries that change the counts of this recordset
    #[arg(long, value_name = "UUID")]
    recordset: Option<Uuid>,

    /// Only entries that this run posted
    #[arg(long, value_name = "UUID")]
    run: Option<Uuid>,

    /// Print a table: all columns, with the sums of each entry
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

const AFTER_HELP: &str = "\
Examples:
  daybook log --day 2020-02-16                what became of a day
  daybook log --kind reversal --kind import   what people decided
  daybook log --before 81                     the page before entry 81";

/// Runs the command.
pub async fn run(options: LogArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let LogArgs {
        limit,
        before,
        day,
        kind,
        recordset,
        run,
        format,
    } = options;
    let which = EntryFilter {
        day,
        kinds: kind,
        recordset,
        run,
        before,
    };
    let (_, mut reader) = Ledger::open_for_reading(&settings.ledger, "daybook log").await?;
    let format = format.map(|format| format.check(output)).transpose()?;
    // One more tells whether there is another page.
    let mut entries = reader
        .newest_entries(&which, limit.saturating_add(1))
        .await?;
    let length = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = entries.len() > length;
    entries.truncate(length);
    if let Some(format) = format {
        return table(format, &entries);
    }
    if !entries.is_empty() {
        output.remark(format!(
            "{:>8}  {:<10}  {:<10}  {:>12}  {:>9}  {:>8}  {:<20}  posted by",
            "entry", "day", "kind", "events", "rejected", "cells", "posted at"
        ));
    } else if which.is_empty() {
        output.remark("the ledger has no entries yet: `daybook apply` posts the first");
    } else {
        output.remark("no entry matches");
    }
    for entry in &entries {
        output.report("entry", entry, line(entry));
    }
    if let (true, Some(oldest)) = (has_more, entries.last()) {
        output.remark(format!("there are more: --before {}", oldest.entry_id));
    }
    Ok(Exit::Done)
}

const COLUMNS: &[&str] = &[
    "entry_id",
    "day",
    "kind",
    "reverses",
    "reversed_by",
    "source_events",
    "source_counted",
    "source_ignored",
    "source_rejected",
    "delta_rows",
    "count",
    "total",
    "posted_at",
    "posted_by",
    "reason",
    "entry_hash",
];

fn table(format: Format, entries: &[Entry]) -> Result<Exit, Error> {
    let mut table = Table::begin(format, COLUMNS)?;
    for entry in entries {
        let number =
            |id: Option<EntryId>| id.map_or(Field::Nothing, |id| Field::number(id.number()));
        let totals = &entry.totals.0;
        table.row(vec![
            Field::number(entry.entry_id.number()),
            Field::text(&entry.day),
            Field::text(&entry.kind),
            number(entry.reverses),
            number(entry.reversed_by),
            Field::number(entry.source_events),
            Field::number(entry.source_counted),
            Field::number(entry.source_ignored),
            Field::number(entry.source_rejected),
            Field::number(entry.delta_rows),
            Field::number(totals.iter().map(|total| total.count).sum::<i128>()),
            Field::number(totals.iter().map(|total| total.total).sum::<i128>()),
            Field::text(&entry.posted_at.format("%Y-%m-%dT%H:%M:%S%.6fZ")),
            Field::text(&entry.posted_by),
            Field::optional(entry.reason.as_deref()),
            Field::text(&entry.entry_hash),
        ])?;
    }
    table.end()?;
    Ok(Exit::Done)
}

fn line(entry: &Entry) -> String {
    let mut line = format!(
        "{:>8}  {:<10}  {:<10}  {:>12}  {:>9}  {:>8}  {:<20}  {}",
        entry.entry_id,
        entry.day,
        entry.kind,
        Grouped(entry.source_events),
        Grouped(entry.source_rejected),
        Grouped(entry.cells()),
        entry.posted_at.format("%Y-%m-%d %H:%M:%SZ"),
        one_line(&entry.posted_by),
    );
    for (what, other) in [
        ("reverses", entry.reverses),
        ("reversed by", entry.reversed_by),
    ] {
        if let Some(other) = other {
            line += &format!("  {what} entry {other}");
        }
    }
    line
}
