//! `daybook compare`: compares documents of the old system with the ledger. Changes nothing.

use super::arguments::DateRangeArgs;
use super::import::{Documents, check_bounds};
use super::import_report::ImportReporter;
use crate::config::Settings;
use crate::error::{Error, Exit};
use crate::exchange;
use crate::import::{Import, OnConflict, Rules, Task};
use crate::interrupt::unless_interrupted;
use crate::ledger::Ledger;
use crate::output::Output;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each day of the documents is the same as the ledger's to the last term, or the recordsets that differ are named
with both figures. Documents that are there twice count once. Exit code 4 means that something differs.

Examples:
  daybook compare --from-index http://old:9200/stats
  daybook compare --from 2020-01-01 stats_backup.zip
  daybook compare --day 2020-02-16 stats-dict-object.json")]
pub struct CompareArgs {
    /// The documents.
    #[command(flatten)]
    documents: Documents,

    /// The days to compare.
    #[command(flatten)]
    date_range: DateRangeArgs,

    /// Which of several conflicting documents of a recordset and day counts [default: the day differs]
    #[arg(long, value_enum, value_name = "RULE")]
    on_conflict: Option<OnConflict>,
}

/// Runs the command.
pub async fn run(options: CompareArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    check_bounds(options.date_range)?;
    for file in &options.documents.files {
        if exchange::is_export(file)? {
            return Err(
                Error::usage(format!("{} is a ledger export", file.display())).hint(
                    "compare is for documents of the old system; `daybook verify` checks a ledger",
                ),
            );
        }
    }
    unless_interrupted(Box::pin(compare(options, settings, output))).await
}

async fn compare(options: CompareArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let ledger = Ledger::open(&settings.ledger).await?;
    let rules = Rules {
        on_conflict: options.on_conflict,
        replace: false,
    };
    let mut reporter = ImportReporter::new(output);
    let import = Import::new(
        &ledger,
        (options.date_range.bounds(), rules),
        Task::Compare,
        settings.workspace.clone(),
        &mut reporter,
    )
    .await?;
    let comparison = import.compare(options.documents.origin(settings)?).await?;
    if let Some(error) = comparison.nothing_found() {
        return Err(error);
    }
    output.report("compare_summary", &comparison, comparison.text());
    Ok(if comparison.differs() {
        Exit::Diverged
    } else {
        Exit::Done
    })
}
