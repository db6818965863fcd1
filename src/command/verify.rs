//! `daybook verify`: recomputes and compares. Changes nothing, except documents with `--repair`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::arguments::DateRangeArgs;
use super::progress::ProgressReporter;
use super::recorded::{finish, start};
use crate::clock;
use crate::config::Settings;
use crate::day::Period;
use crate::elastic::Client;
use crate::error::{Error, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::day_read::ranges;
use crate::ledger::lock::{LockKind, Run};
use crate::ledger::{Ledger, Reader};
use crate::output::Output;
use crate::printable::one_line;
use crate::projection::advance::check_index;
use crate::projection::compare::{Comparing, Comparison, Part};
use crate::projection::progress::Progress as _;
use crate::projection::{Plan, Projection, index};
use crate::source::Source;
use crate::text::{Grouped, counted};
use crate::verify::{self, witness::Witnessed};

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --ledger, --source or --projections, all three are verified. Exit code 4 means that something
differs; every difference is reported. The ledger itself is never repaired.

Every posting prints the entry_hash of its entry; so does `daybook log --json`. Keep it where the
database's administrators cannot change it: --expect then proves that the ledger up to that entry
is unchanged.

Examples:
  daybook verify
  daybook verify --projections --repair
  daybook verify --from 2020-02-01 --to 2020-02-29 --sample 10
  daybook verify --ledger --expect-file witnessed.jsonl")]
pub struct VerifyArgs {
    /// Verify the ledger: recompute its hashes, chain, control sums and balances
    #[arg(long)]
    ledger: bool,

    /// Verify against the source: recount every day whose events it still has
    #[arg(long)]
    source: bool,

    /// Verify the projections: compare every document with the ledger
    #[arg(long)]
    projections: bool,

    /// The days to verify; of the projections, those of the daily documents.
    #[command(flatten)]
    date_range: DateRangeArgs,

    /// Check only every Nth document and day
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,

    /// Fail unless the entry still has this entry_hash; verifies the whole ledger. Repeatable
    #[arg(long, value_name = "ENTRY=HASH", conflicts_with_all = ["from", "to"])]
    expect: Vec<Witnessed>,

    /// File of ENTRY=HASH lines, or output of `daybook log --json` or `daybook apply --json`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    expect_file: Option<PathBuf>,

    /// Rewrite documents that differ; delete those the ledger does not produce
    #[arg(long)]
    repair: bool,
}

/// The maximum number of documents named in text output.
const SHOWN: usize = 20;

/// Runs the command.
pub async fn run(options: VerifyArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let all = !options.ledger && !options.source && !options.projections;
    if options.repair && !all && !options.projections {
        return Err(Error::usage(
            "--repair rewrites documents: use it with --projections",
        ));
    }
    let mut witnessed = BTreeSet::from_iter(options.expect);
    if let Some(file) = &options.expect_file {
        witnessed.append(&mut verify::witness::read_file(file)?);
    }
    let client = (all || options.projections)
        .then(|| settings.elasticsearch())
        .transpose()?;
    let (ledger, mut reader) = unless_interrupted(Ledger::open_for_verifying(
        &settings.ledger,
        "daybook verifying",
    ))
    .await?;
    let period = options.date_range.within(reader.period().await?)?;
    let mut wrong = 0;
    if all || options.ledger || !witnessed.is_empty() {
        wrong += unless_interrupted(verify_ledger(
            &ledger,
            &mut reader,
            period,
            &witnessed,
            output,
        ))
        .await?;
    }
    if all || options.source {
        let every = options.sample.unwrap_or(1);
        let work = verify_source(settings, &ledger, &mut reader, period, every, output);
        match unless_interrupted(work).await {
            Ok(differences) => wrong += differences,
            Err(error) => return after(error, wrong, output),
        }
    }
    if let Some(client) = client {
        // The indices must not change during the comparison.
        let mut run =
            match unless_interrupted(start(settings, LockKind::Rebuilding, "verify")).await {
                Ok((_, run)) => run,
                Err(error) => return after(error, wrong, output),
            };
        let part = Part {
            period,
            every: options.sample,
        };
        let verifying = VerifyingProjections {
            plan: &settings.plan,
            ledger: &ledger,
            reader: &mut reader,
            client: &client,
            part,
            repair: options.repair,
            output,
        };
        let work = verifying.run(&mut run);
        let differences = unless_interrupted(work).await;
        let exit = if wrong == 0 && matches!(differences, Ok(0)) {
            Exit::Done
        } else {
            Exit::Diverged
        };
        let figures = |differences| (exit, serde_json::json!({ "differences": differences }));
        return finish(run, differences.map(figures))
            .await
            .or_else(|error| after(error, wrong, output));
    }
    Ok(if wrong == 0 {
        Exit::Done
    } else {
        Exit::Diverged
    })
}

/// Ends a verification that failed: differences found before determine the exit code.
fn after(error: Error, wrong: u64, output: Output) -> Result<Exit, Error> {
    if wrong == 0 {
        return Err(error);
    }
    output.report_error(&error);
    Ok(Exit::Diverged)
}

async fn verify_ledger(
    ledger: &Ledger,
    reader: &mut Reader,
    period: Option<Period>,
    witnessed: &BTreeSet<Witnessed>,
    output: Output,
) -> Result<u64, Error> {
    let mut progress = ProgressReporter::of("row", "rows");
    progress.begin("reading the ledger", None);
    let rows = &mut |rows| progress.at(rows, 0);
    let check = verify::ledger(ledger, period, witnessed, rows).await;
    progress.end();
    let mut check = check?;
    let to_come = reader
        .days_to_come(ledger.zone.day_of(clock::now()))
        .await?;
    check.findings.extend(
        ranges(to_come)
            .into_iter()
            .map(|(first, last)| verify::days_to_come(first, last)),
    );
    let entries = counted(check.entries, "entry", "entries");
    tell_findings("ledger", &check.findings, output);
    let mut text = match check.findings.len() {
        0 => format!(
            "ledger           {entries}: hashes, chain, control sums and balances are correct"
        ),
        wrong => format!(
            "ledger           {entries}: {} found",
            counted(wrong, "problem", "problems")
        ),
    };
    match &check.schema_not_compared {
        None if check.findings.is_empty() => text += ", the schema matches the migrations",
        None => {}
        Some(why) => {
            text += &format!(
                "; its tables, functions and views were not compared with the migrations: {why}"
            );
        }
    }
    if check.witnessed > 0 && check.findings.is_empty() {
        text += &format!(
            "; {}",
            counted(
                check.witnessed,
                "entry matches its witness",
                "entries match their witnesses"
            )
        );
    }
    output.report("ledger_verified", &check, text);
    Ok(check.findings.len() as u64)
}

async fn verify_source(
    settings: &Settings,
    ledger: &Ledger,
    reader: &mut Reader,
    period: Option<Period>,
    every: u64,
    output: Output,
) -> Result<u64, Error> {
    let mut source = Source::open(&settings.source, ledger.zone, "daybook verifying").await?;
    let mut progress = ProgressReporter::of("day", "days");
    let done = &mut |done, days| match done {
        0 => progress.begin("recounting", Some(days)),
        _ => progress.at(done, done),
    };
    let workspace = &settings.workspace;
    let check = verify::source(&mut source, reader, period, every, workspace, done).await;
    progress.end();
    let check = check?;
    source.close().await;
    let days = counted(check.days, "day", "days");
    tell_findings("source", &check.findings, output);
    let mut text = match check.findings.len() {
        0 => format!("source           {days} recounted: the ledger agrees"),
        wrong => format!(
            "source           {days} recounted: {}",
            counted(wrong, "differs", "differ")
        ),
    };
    if check.sealed > 0 {
        text += &format!("; {} no longer in the source", Grouped(check.sealed));
    }
    if check.reversed > 0 {
        text += &format!("; {} reversed", Grouped(check.reversed));
    }
    if check.imported > 0 {
        let in_source = Grouped(check.imported_and_in_source);
        text += &format!(
            "; {} imported, {in_source} of them also in the source",
            Grouped(check.imported)
        );
    }
    output.report("source_verified", &check, text);
    Ok(check.findings.len() as u64)
}

fn tell_findings(area: &str, findings: &[verify::Finding], output: Output) {
    for finding in findings {
        let text = format!(
            "{area:<16} {}: {}",
            one_line(&finding.place),
            one_line(&finding.what)
        );
        output.report(
            "finding",
            serde_json::json!({ "area": area, "place": finding.place, "what": finding.what }),
            text,
        );
    }
}

/// Compares the projections with the ledger.
struct VerifyingProjections<'a> {
    plan: &'a Plan,
    ledger: &'a Ledger,
    reader: &'a mut Reader,
    client: &'a Client,
    part: Part,
    repair: bool,
    output: Output,
}

impl VerifyingProjections<'_> {
    /// Returns the number of differences.
    async fn run(mut self, run: &mut Run) -> Result<u64, Error> {
        self.client.check_version().await?;
        run.lock_projections().await?;
        let mut wrong = 0;
        for kind in self.plan.kinds() {
            wrong += self.compare(kind).await?;
        }
        run.unlock_projections().await?;
        Ok(wrong)
    }

    /// Compares the index behind an alias. A problem of the whole index is a finding, too.
    async fn compare(&mut self, kind: Projection) -> Result<u64, Error> {
        let Self {
            plan,
            ledger,
            reader,
            client,
            part,
            repair,
            output,
        } = self;
        let (output, repair) = (*output, *repair);
        let alias = plan.alias(kind);
        // A failed lookup is an error, not a finding.
        let found = index::look_up(client, &alias).await?;
        let mut index = match index::identify(&alias, found) {
            Ok(Some(index)) => index,
            Ok(None) if reader.head().await? == crate::ledger::EntryId::NONE => return Ok(0),
            Ok(None) => {
                return Ok(tell_index_finding(
                    &alias,
                    "there is no index: run `daybook project`",
                    output,
                ));
            }
            Err(error) => return Ok(tell_index_failure(&alias, &error, output)),
        };
        if let Err(error) = check_index(&index, kind, plan, ledger, reader).await {
            return Ok(tell_index_failure(&alias, &error, output));
        }
        let through = index.checkpoint.applied_through;
        let comparing = Comparing {
            kind,
            plan,
            ledger,
            reader,
            client,
            index: &mut index,
            through,
            part: *part,
            repair,
            progress: ProgressReporter::of("document", "documents"),
        };
        let comparison = comparing.run().await?;
        for finding in
            comparison
                .findings
                .iter()
                .take(if output.is_json() { usize::MAX } else { SHOWN })
        {
            let fields =
                serde_json::json!({ "area": alias, "place": finding.id, "what": finding.defect });
            output.report(
                "finding",
                fields,
                format!("{alias:<16} {}", one_line(&finding.to_string())),
            );
        }
        let fields = serde_json::json!({ "alias": alias, "index": index.physical, "through": through, "comparison": comparison });
        output.report(
            "projection_verified",
            fields,
            comparison_text(&alias, &comparison, repair),
        );
        let head = reader.head().await?;
        let behind = if through < head {
            let what = format!(
                "{} contains entries up to {through}, the ledger is at {head}: run `daybook project`",
                index.physical
            );
            tell_index_finding(&alias, &what, output)
        } else {
            0
        };
        // Repaired documents no longer count.
        Ok(comparison.differences() - comparison.repaired + behind)
    }
}

fn comparison_text(alias: &str, comparison: &Comparison, repair: bool) -> String {
    let documents = counted(comparison.compared, "document", "documents");
    if comparison.differences() == 0 {
        return format!("{alias:<16} {documents} compared: all match the ledger");
    }
    let Comparison {
        missing,
        different,
        extra,
        repaired,
        ..
    } = comparison;
    let mut text = format!(
        "{alias:<16} {documents} compared: {} missing, {} different, {} extra",
        Grouped(missing),
        Grouped(different),
        Grouped(extra)
    );
    text += &if repair {
        format!("; {} repaired", Grouped(repaired))
    } else {
        "; --repair corrects them".to_owned()
    };
    text
}

fn tell_index_failure(alias: &str, error: &Error, output: Output) -> u64 {
    let what = match error.hint_text() {
        Some(remedy) => format!("{}: {remedy}", error.message()),
        None => error.message(),
    };
    tell_index_finding(alias, &what, output)
}

fn tell_index_finding(alias: &str, what: &str, output: Output) -> u64 {
    let fields = serde_json::json!({ "area": alias, "place": alias, "what": what });
    output.report("finding", fields, format!("{alias:<16} {}", one_line(what)));
    1
}
