//! `daybook log`: the journal.

use crate::config::Settings;
use crate::error::{Error, Exit};
use crate::ledger::{Entry, Ledger};
use crate::output::Output;
use crate::printable::one_line;
use crate::text::Grouped;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Number of entries to list, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

/// Runs the command.
pub async fn run(options: LogArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let (_, mut reader) = Ledger::open_for_reading(&settings.ledger, "daybook log").await?;
    let entries = reader.newest_entries(options.limit).await?;
    if entries.is_empty() && !output.is_json() {
        output.report(
            "",
            (),
            "the ledger has no entries yet: `daybook apply` posts the first",
        );
    } else if !output.is_json() {
        output.report(
            "",
            (),
            format!(
                "{:>8}  {:<10}  {:<10}  {:>12}  {:>9}  {:>8}  {:<20}  posted by",
                "entry", "day", "kind", "events", "rejected", "cells", "posted at"
            ),
        );
    }
    for entry in &entries {
        output.report("entry", entry, line(entry));
    }
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
        Grouped(entry.delta_rows),
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
