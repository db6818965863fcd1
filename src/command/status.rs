//! `daybook status`: the state of the ledger and the projections, the worst first. Changes nothing.
//!
//! A monitor gets one line and an exit code (`--check`): 1 if somebody has to act, whatever the reason.

mod lines;
mod state;

use serde::Serialize;

use self::lines::Lines;
use self::state::{LedgerStatus, ProjectionStatus, Sealed};
use crate::aggregate::Sums;
use crate::config::Settings;
use crate::day::Period;
use crate::elastic::Client;
use crate::error::{Error, Exit};
use crate::ledger::day_read::ranges;
use crate::ledger::lock::{self, LockKind};
use crate::ledger::{Ledger, Reader};
use crate::output::Output;
use crate::printable::one_line;
use crate::projection::Plan;
use crate::projection::advance::check_index;
use crate::projection::index::{self, ListsOmitted};
use crate::source::Source;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct StatusArgs {
    /// For monitors: print one line, and exit with 1 if somebody has to act
    #[arg(long)]
    check: bool,

    /// Closed days that may be missing; implies --check [default: 1]
    #[arg(long, value_name = "DAYS")]
    max_lag: Option<usize>,
}

const AFTER_HELP: &str = "\
Examples:
  daybook status                       the worst first
  daybook status --check               DAYBOOK OK - ..., or DAYBOOK CRITICAL - ... and exit code 1
  daybook status --max-lag 3           the same, if up to three closed days may be missing";

/// Between midnight and the timer's run, the last closed day is missing.
const MAX_LAG: usize = 1;

/// What a monitor is told.
#[derive(Serialize)]
struct CheckResult<'a> {
    ok: bool,
    problems: &'a [String],
    days_behind: Option<usize>,
    gaps: Option<usize>,
    /// Entries that the index lacks that is furthest behind.
    entries_behind: Option<i64>,
}

/// Runs the command.
pub async fn run(options: StatusArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let max_lag = options.max_lag.unwrap_or(MAX_LAG);
    let mut report = Report {
        max_lag,
        lines: Lines::default(),
        ledger: None,
        entries_behind: None,
    };
    let gathered = report.gather(settings, output).await;
    if options.check || options.max_lag.is_some() {
        if let Err(error) = gathered {
            report
                .lines
                .add_problem(error.kind().name(), &problem(&error));
        }
        return Ok(report.check(output));
    }
    gathered?;
    for line in report.lines.worst_first() {
        output.remark(line);
    }
    Ok(Exit::Done)
}

/// What was found.
struct Report {
    max_lag: usize,
    lines: Lines,
    ledger: Option<LedgerStatus>,
    entries_behind: Option<i64>,
}

impl Report {
    /// Looks at everything, and reports each part in JSON.
    async fn gather(&mut self, settings: &Settings, output: Output) -> Result<(), Error> {
        let (ledger, mut reader) =
            Ledger::open_for_reading(&settings.ledger, "daybook status").await?;
        let status = ledger_status(settings, &ledger, &mut reader).await?;
        output.report("ledger_status", &status, "");
        self.lines.add_ledger(&status, self.max_lag);
        for run in reader.last_runs().await? {
            output.report("run_status", &run, "");
            self.lines.add_run(&run, status.is_running(&run));
        }
        let is_running = status.holders().next().is_some();
        self.ledger = Some(status);
        if settings.has_elasticsearch() {
            self.look_at_projections(settings, &ledger, &mut reader, is_running, output)
                .await
        } else {
            output.report("projections_unknown", serde_json::json!({}), "");
            self.lines
                .add_remark("projections", "not checked: no Elasticsearch is configured");
            Ok(())
        }
    }

    async fn look_at_projections(
        &mut self,
        settings: &Settings,
        ledger: &Ledger,
        reader: &mut Reader,
        is_running: bool,
        output: Output,
    ) -> Result<(), Error> {
        // A person waits for the status, even if the cluster does not respond.
        let client = settings.elasticsearch_quick()?;
        let mut gone = None;
        for kind in settings.plan.kinds() {
            let mut status = ProjectionStatus::unknown(kind, &settings.plan);
            match &gone {
                None => {
                    if let Err(error) =
                        look_at(&mut status, &settings.plan, ledger, reader, &client).await
                    {
                        status.set_problem(problem(&error), error.kind());
                        gone = error.kind().is_transient().then_some(error);
                    }
                }
                // Wait for an unreachable cluster only once.
                Some(error) => status.set_problem(problem(error), error.kind()),
            }
            output.report("projection_status", &status, "");
            self.entries_behind = self.entries_behind.max(status.behind);
            self.lines.add_projection(&status, is_running);
        }
        Ok(())
    }

    /// Prints the line for a monitor, as a Nagios plugin does, and returns the exit code.
    fn check(&self, output: Output) -> Exit {
        let problems = self.lines.problems();
        let ledger = self.ledger.as_ref();
        let result = CheckResult {
            ok: problems.is_empty(),
            problems: &problems,
            days_behind: ledger.map(|ledger| ledger.days_behind),
            gaps: ledger.map(|ledger| ledger.gaps.len()),
            entries_behind: self.entries_behind,
        };
        output.report("status_check", &result, self.line(&result));
        if result.ok { Exit::Done } else { Exit::Failed }
    }

    fn line(&self, result: &CheckResult<'_>) -> String {
        let text = match (&result.problems, &self.ledger) {
            ([], Some(ledger)) => {
                let through = ledger.last_day.map(|day| format!("applied through {day}"));
                format!(
                    "DAYBOOK OK - {}",
                    through.unwrap_or_else(|| "nothing is applied yet".to_owned())
                )
            }
            (problems, _) => format!("DAYBOOK CRITICAL - {}", problems.join("; ")),
        };
        // What follows a bar are figures.
        let text = one_line(&text).replace('|', "/");
        let max_lag = self.max_lag;
        let figures = [
            result
                .days_behind
                .map(|days| format!("days_behind={days};;{max_lag}")),
            result.gaps.map(|gaps| format!("gaps={gaps};;0")),
            result
                .entries_behind
                .map(|entries| format!("entries_behind={entries};;0")),
        ];
        let figures: Vec<String> = figures.into_iter().flatten().collect();
        if figures.is_empty() {
            text
        } else {
            format!("{text} | {}", figures.join(" "))
        }
    }
}

async fn ledger_status(
    settings: &Settings,
    ledger: &Ledger,
    reader: &mut Reader,
) -> Result<LedgerStatus, Error> {
    let period = reader.period().await?;
    let clocks = reader.clocks().await?;
    let today = ledger.zone.day_of(clocks.here);
    let last_closed = reader.last_day(today.previous()).await?;
    let missing = last_closed.and_then(|last| Period::new(last.next(), today.previous()));
    let Sums { count, total } = reader.sums().await?;
    let (sealed, source_problem) = match sealed(settings, ledger, reader).await {
        Ok(sealed) => (Some(sealed), None),
        // The ledger's own state does not depend on the source.
        Err(error) => (None, Some(problem(&error))),
    };
    Ok(LedgerStatus {
        ledger_id: ledger.ledger_id,
        time_zone: ledger.zone.to_string(),
        newest_entry: reader.head().await?,
        first_day: period.map(Period::from),
        last_day: period.map(Period::to),
        count,
        total,
        days_behind: missing.map_or(0, Period::day_count),
        days_to_come: ranges(reader.days_to_come(today).await?),
        clock_skew_seconds: clocks.apart.num_seconds(),
        clock_problem: (!clocks.agree(settings.max_clock_skew)).then(|| clocks.text()),
        gaps: reader.gaps().await?,
        rejected_events: reader.rejected_events().await?,
        past: reader.past().await?,
        sealed,
        source_problem,
        running: lock::holder(reader.connection(), LockKind::Posting).await?,
        rebuilding: lock::holder(reader.connection(), LockKind::Rebuilding).await?,
    })
}

/// The days whose events were counted and are no longer in the source.
async fn sealed(
    settings: &Settings,
    ledger: &Ledger,
    reader: &mut Reader,
) -> Result<Sealed, Error> {
    let counted = reader.days_counted().await?;
    if counted.is_empty() {
        return Ok(Sealed {
            days: 0,
            first: None,
            last: None,
        });
    }
    let mut source = Source::open(&settings.source, ledger.zone, "daybook status").await?;
    let gone = source.days_without_events(&counted).await?;
    source.close().await;
    Ok(Sealed {
        days: gone.len(),
        first: gone.first().copied(),
        last: gone.last().copied(),
    })
}

/// An error with its hint on one line.
fn problem(error: &Error) -> String {
    let remedy = error
        .hint_text()
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    error.message() + &remedy
}

/// Checks the index of a projection, and fills in its status.
async fn look_at(
    status: &mut ProjectionStatus,
    plan: &Plan,
    ledger: &Ledger,
    reader: &mut Reader,
    client: &Client,
) -> Result<(), Error> {
    let newest_entry = reader.head().await?;
    let found = index::find(client, &status.alias).await?;
    if let Some(index) = &found {
        check_index(index, status.projection, plan, ledger, reader).await?;
    }
    status.set_index(found.as_ref(), newest_entry);
    if let Some(index) = &found {
        let ListsOmitted { documents, ids } = index.lists_omitted(client).await?;
        (status.lists_omitted, status.lists_omitted_ids) = (documents, ids);
    }
    Ok(())
}
