//! `daybook import`: adds days that are not in the source. Safe to repeat.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::DateRangeArgs;
use super::import_report::ImportReporter;
use super::project::Projecting;
use super::recorded::{finish, finish_with};
use crate::config::{FromIndexArgs, Settings};
use crate::day::{Day, Period};
use crate::elastic::Client;
use crate::error::{Error, Exit};
use crate::exchange::{self, Imported, Incoming};
use crate::import::{Import, OnConflict, Origin, Rules, Summary, Task};
use crate::interrupt::unless_interrupted;
use crate::ledger::Ledger;
use crate::ledger::lock::Run;
use crate::output::Output;
use crate::source::Source;
use crate::text::counted;

/// The location of documents.
#[derive(Debug, clap::Args)]
pub struct Documents {
    /// Documents of the old system: NDJSON, pretty-printed, a JSON array, or a saved search response; the old backup (.zip);
    /// aggregation objects with --day. `daybook import` also takes the output of `daybook export`, for an empty ledger. Files
    /// may be compressed
    #[arg(value_name = "FILE", required_unless_present = "from_index")]
    pub files: Vec<PathBuf>,

    /// A running old index.
    #[command(flatten)]
    pub from_index: FromIndexArgs,

    /// The files are aggregation objects of this day, YYYY-MM-DD
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    pub day: Option<Day>,
}

impl Documents {
    /// Where to read documents from.
    pub fn origin(self, settings: &Settings) -> Result<Origin, Error> {
        Ok(match settings.old_index(self.from_index)? {
            None => Origin::Files {
                paths: self.files,
                day: self.day,
            },
            Some((address, options)) => Origin::Index {
                address,
                options: Box::new(options),
            },
        })
    }
}

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// The documents.
    #[command(flatten)]
    pub documents: Documents,

    /// The days to import.
    #[command(flatten)]
    pub date_range: DateRangeArgs,

    /// Which of several conflicting documents of a recordset and day counts [default: the day is refused]
    #[arg(long, value_enum, value_name = "RULE")]
    pub on_conflict: Option<OnConflict>,

    /// Replace days that the ledger or the source already has: post the difference
    #[arg(long)]
    pub replace: bool,

    /// Report what would be posted; post nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not advance the projections
    #[arg(long)]
    pub no_project: bool,
}

const EXAMPLES: &str = "\
Examples:
  daybook import ledger.ndjson.zst                     a copy of another ledger, into an empty one
  daybook import --dry-run stats_backup.zip
  daybook import telem-output-structures-*.log
  daybook import --from 2016-01-01 --to 2016-12-31 --on-conflict max dump.ndjson.gz
  daybook import --day 2020-02-16 stats-dict-object.json
  daybook import --from-index http://old:9200/stats";

/// What a run did, as recorded with its end.
#[derive(Default, Serialize)]
struct Figures {
    #[serde(flatten)]
    summary: Option<Summary>,
    /// The results of the projections.
    #[serde(flatten)]
    projections: Map<String, Value>,
}

#[derive(Serialize)]
struct SummaryFields<'a> {
    dry_run: bool,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Runs the command.
pub async fn run(options: ImportArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    check_bounds(options.date_range)?;
    if let Some(export) = find_export(&options)? {
        return import_export(export, settings, output).await;
    }
    // Report missing settings for the projections before posting.
    let client = (!options.no_project && !options.dry_run)
        .then(|| settings.elasticsearch())
        .transpose()?;
    let ledger = unless_interrupted(Ledger::open(&settings.ledger)).await?;
    if options.dry_run {
        let importing = Box::pin(import(options, settings, &ledger, None, output));
        return unless_interrupted(importing)
            .await
            .map(|summary| exit_of(&summary, output));
    }
    let mut run = Run::start_posting(&ledger, "import", settings.max_clock_skew).await?;
    let mut figures = Figures::default();
    let work = import_and_project(
        options,
        settings,
        &ledger,
        client.as_ref(),
        &mut run,
        output,
        &mut figures,
    );
    let done = unless_interrupted(Box::pin(work)).await;
    let figures = serde_json::json!(figures);
    finish_with(run, done.map(|exit| (exit, &figures)), figures.clone()).await
}

/// Refuses a range that ends before it starts.
pub(super) fn check_bounds(date_range: DateRangeArgs) -> Result<(), Error> {
    if let (Some(from), Some(to)) = (date_range.from, date_range.to)
        && Period::new(from, to).is_none()
    {
        return Err(Error::usage(format!("--from {from} is after --to {to}")).hint("swap them"));
    }
    Ok(())
}

async fn import_export(path: &Path, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let ledger = unless_interrupted(Ledger::open(&settings.ledger)).await?;
    let export = Incoming::open(path)?;
    let mut run = unless_interrupted(Run::start_posting(
        &ledger,
        "import",
        settings.max_clock_skew,
    ))
    .await?;
    let done = unless_interrupted(export.import_into(&ledger, &mut run)).await;
    let done = done.map(|import| (Exit::Done, report_import(import, output)));
    finish(run, done).await
}

/// Reports the import of an export, and returns what was imported.
fn report_import(import: exchange::Import, output: Output) -> Imported {
    let imported = match import {
        exchange::Import::Imported(imported) => imported,
        exchange::Import::AlreadyThere {
            ledger_id,
            last_entry,
        } => {
            let fields = serde_json::json!({ "ledger_id": ledger_id, "last_entry": last_entry });
            let text = format!(
                "ledger {ledger_id} already has the entries up to {last_entry}: nothing was imported"
            );
            output.report("already_imported", fields, text);
            return Imported::default();
        }
    };
    let Imported {
        ledger_id,
        entries,
        delta_rows,
        rejected_events,
        ..
    } = &imported;
    let mut text = format!(
        "ledger {ledger_id}: {}, {} and {} imported, hashes and chain verified; `daybook project` creates the documents",
        counted(*entries, "entry", "entries"),
        counted(*delta_rows, "row", "rows"),
        counted(*rejected_events, "rejected event", "rejected events"),
    );
    if let (Some(entry), Some(hash)) = (imported.last_entry, &imported.last_hash) {
        text += &format!("; entry {entry}, entry_hash {hash}");
    }
    output.report("imported", &imported, text);
    imported
}

/// The ledger export to import, if one is given. It must be the only file, without other options.
fn find_export(options: &ImportArgs) -> Result<Option<&Path>, Error> {
    for file in &options.documents.files {
        if !exchange::is_export(file)? {
            continue;
        }
        let alone = options.documents.files.len() == 1
            && options.documents.day.is_none()
            && options.date_range.is_open();
        if alone && options.on_conflict.is_none() && !options.replace && !options.dry_run {
            return Ok(Some(file));
        }
        return Err(Error::usage(format!(
            "{} is a ledger export, which can only be imported as a whole",
            file.display()
        ))
        .hint("give it as the only file and without other options, and import it into an empty ledger"));
    }
    Ok(None)
}

async fn import_and_project(
    options: ImportArgs,
    settings: &Settings,
    ledger: &Ledger,
    client: Option<&Client>,
    run: &mut Run,
    output: Output,
    figures: &mut Figures,
) -> Result<Exit, Error> {
    let summary = import(options, settings, ledger, Some(&mut *run), output).await?;
    let exit = exit_of(&summary, output);
    figures.summary = Some(summary);
    let projected = match client {
        Some(client) => {
            let projecting = Projecting {
                ledger,
                client,
                settings,
                output,
            };
            let figures = &mut figures.projections;
            Box::pin(projecting.bring_up_to_date(run, None, figures)).await
        }
        None => Ok(()),
    };
    match (exit, projected) {
        (exit, Ok(())) => Ok(exit),
        (Exit::Done, Err(error)) => Err(error.after_posting()),
        (exit, Err(behind)) => {
            // Report both. The refused day determines the exit code: the next run advances the projection anyway.
            output.report_error(&behind);
            Ok(exit)
        }
    }
}

async fn import(
    options: ImportArgs,
    settings: &Settings,
    ledger: &Ledger,
    run: Option<&mut Run>,
    output: Output,
) -> Result<Summary, Error> {
    let dry_run = run.is_none();
    let task = run.map_or(Task::DryRun, Task::Post);
    let rules = Rules {
        on_conflict: options.on_conflict,
        replace: options.replace,
    };
    let bounds = options.date_range.bounds();
    let mut reporter = ImportReporter::new(output);
    let mut import = Import::new(
        ledger,
        (bounds, rules),
        task,
        settings.workspace.clone(),
        &mut reporter,
    )
    .await?;
    import.look_at(Source::open(&settings.source, ledger.zone, "daybook source").await);
    let summary = import.import(options.documents.origin(settings)?).await?;
    output.report(
        "import_summary",
        SummaryFields {
            dry_run,
            summary: &summary,
        },
        summary.text(dry_run),
    );
    Ok(summary)
}

/// The exit code. Reports an error if anything was refused.
fn exit_of(summary: &Summary, output: Output) -> Exit {
    match summary.refusal() {
        Some(refusal) => {
            output.report_error(&refusal);
            refusal.exit()
        }
        None => Exit::Done,
    }
}
