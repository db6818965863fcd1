//! `daybook reverse`: reverses an entry by posting its negation, then advances the projections.

use serde_json::{Map, Value};

use super::arguments;
use super::project::Projecting;
use super::recorded::finish_with;
use crate::config::Settings;
use crate::error::{Error, Exit};
use crate::failpoint;
use crate::interrupt::unless_interrupted;
use crate::ledger::lock::Run;
use crate::ledger::{EntryId, Ledger};
use crate::output::Output;
use crate::reverse::{Report, reverse};
use crate::text::counted;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An entry can be reversed once. Reversing a reversal restores what it negated. The timer does not
apply a reversed day again; `daybook apply --day DAY` does.

Examples:
  daybook reverse 12 --reason 'bot traffic, ticket 815' --dry-run
  daybook reverse 12 --reason 'bot traffic, ticket 815'")]
pub struct ReverseArgs {
    /// The entry, by its number; `daybook log` lists them
    #[arg(value_name = "ENTRY", value_parser = arguments::entry_id)]
    entry_id: EntryId,

    /// Reason, kept in the journal
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,

    /// Report what would be posted; post nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not advance the projections
    #[arg(long)]
    no_project: bool,
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the reason must not be empty: the journal keeps it".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

/// Runs the command.
pub async fn run(options: ReverseArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    // Report missing settings for the projections before posting.
    let client = (!options.no_project && !options.dry_run)
        .then(|| settings.elasticsearch())
        .transpose()?;
    let (ledger, mut reader) = unless_interrupted(Ledger::open_for_reading(
        &settings.ledger,
        "daybook reading",
    ))
    .await?;
    let ReverseArgs {
        entry_id, reason, ..
    } = &options;
    if options.dry_run {
        let trying = reverse(
            &ledger,
            &mut reader,
            None,
            *entry_id,
            reason,
            &settings.workspace,
        );
        let report = unless_interrupted(trying).await?;
        output.report("reversal_dry_run", &report, text(&report));
        return Ok(Exit::Done);
    }
    let mut run = unless_interrupted(Run::start_posting(
        &ledger,
        "reverse",
        settings.max_clock_skew,
    ))
    .await?;
    let projecting = client.as_ref().map(|client| Projecting {
        ledger: &ledger,
        client,
        settings,
        output,
    });
    let mut figures = Map::new();
    let work = async {
        let reversing = reverse(
            &ledger,
            &mut reader,
            Some(&mut run),
            *entry_id,
            reason,
            &settings.workspace,
        );
        let report = reversing.await?;
        output.report("reversed", &report, text(&report));
        failpoint::reach("reverse.posted");
        figures.insert("entries_posted".to_owned(), Value::from(1));
        match projecting {
            Some(projecting) => Box::pin(projecting.bring_up_to_date(&mut run, None, &mut figures))
                .await
                .map_err(Error::after_posting),
            None => Ok(()),
        }
    };
    let done = unless_interrupted(work).await;
    let figures = Value::Object(figures);
    finish_with(run, done.map(|()| (Exit::Done, &figures)), figures.clone()).await
}

fn text(report: &Report) -> String {
    let Report {
        day,
        reverses,
        reversed_kind,
        ..
    } = report;
    let what = match report.entry_id {
        Some(entry_id) => format!("entry {entry_id} (reversal)"),
        None => "would post: reversal".to_owned(),
    };
    let mut text = format!(
        "{day}  {what} of entry {reverses} ({reversed_kind}) → {}, {}, {}",
        counted(report.sums.interactions, "interaction", "interactions"),
        counted(report.sums.records, "record", "records"),
        counted(report.sums.cells, "cell", "cells"),
    );
    if let Some(hash) = &report.entry_hash {
        text += &format!("; entry_hash {hash}");
    }
    if let Some(restored) = report.restores {
        text += &format!(
            "\n{:<10}  it restores entry {restored}, which entry {reverses} had reversed",
            ""
        );
    }
    if !report.posted_since.is_empty() {
        let entries: Vec<String> = report
            .posted_since
            .iter()
            .map(ToString::to_string)
            .collect();
        let entries = entries.join(", ");
        text += &format!(
            "\n{:<10}  caution: what was posted for the day since then still counts (entry {entries})",
            ""
        );
    }
    text
}
