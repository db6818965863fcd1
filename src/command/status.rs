//! `daybook status`: the state of the ledger and the projections. Changes nothing.

use serde::Serialize;
use uuid::Uuid;

use crate::config::Settings;
use crate::day::{Day, Period};
use crate::elastic::Client;
use crate::error::{Error, ErrorKind, Exit};
use crate::ledger::day_read::ranges;
use crate::ledger::lock::{self, LockKind};
use crate::ledger::{EntryId, Ledger, Past, Reader, RunStatus};
use crate::output::Output;
use crate::printable::one_line;
use crate::projection::advance::check_index;
use crate::projection::index::{self, Index, ListsOmitted};
use crate::projection::{Plan, Projection};
use crate::source::Source;
use crate::text::{Grouped, counted};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {}

#[derive(Serialize)]
struct LedgerStatus {
    ledger_id: Uuid,
    time_zone: String,
    newest_entry: EntryId,
    first_day: Option<Day>,
    last_day: Option<Day>,
    /// Closed days after the last applied one.
    days_behind: usize,
    /// Days that have entries but have not begun yet, as ranges.
    days_to_come: Vec<(Day, Day)>,
    /// The difference between the clocks of this machine and the server.
    clock_skew_seconds: i64,
    /// Both times, if the clocks differ too much.
    clock_problem: Option<String>,
    gaps: Vec<Day>,
    rejected_events: i64,
    #[serde(flatten)]
    past: Past,
    /// Days whose events the source no longer has; none if it was not checked.
    sealed: Option<Sealed>,
    /// Why the source was not checked.
    source_problem: Option<String>,
    /// The run that is posting or projecting.
    running: Option<String>,
    /// The run that is rebuilding or verifying documents.
    rebuilding: Option<String>,
}

/// Days whose events were purged from the source: only the ledger has their counts.
#[derive(Serialize)]
struct Sealed {
    days: usize,
    first: Option<Day>,
    last: Option<Day>,
}

#[derive(Serialize)]
struct ProjectionStatus {
    projection: Projection,
    alias: String,
    index: Option<String>,
    applied_through: Option<EntryId>,
    behind: Option<i64>,
    /// Documents that are too large for the cluster, and so were written without their lists.
    lists_omitted: u64,
    /// The newest of them.
    lists_omitted_ids: Vec<String>,
    problem: Option<String>,
}

/// Runs the command.
pub async fn run(_: StatusArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let (ledger, mut reader) = Ledger::open_for_reading(&settings.ledger, "daybook status").await?;
    let status = ledger_status(settings, &ledger, &mut reader).await?;
    output.report("ledger_status", &status, ledger_text(&status));
    for run in reader.last_runs().await? {
        let text = run_text(&run, status.is_running(&run));
        output.report("run_status", &run, text);
    }
    if !settings.has_elasticsearch() {
        output.report(
            "projections_unknown",
            serde_json::json!({}),
            "projections      not checked: no Elasticsearch is configured",
        );
        return Ok(Exit::Done);
    }
    // A person waits for the status, even if the cluster does not respond.
    let client = settings.elasticsearch_quick()?;
    let mut gone = None;
    for kind in settings.plan.kinds() {
        let mut status = ProjectionStatus::unknown(kind, &settings.plan);
        match &gone {
            None => {
                if let Err(error) =
                    look_at(&mut status, &settings.plan, &ledger, &mut reader, &client).await
                {
                    status.problem = Some(problem(&error));
                    gone = (error.kind() == ErrorKind::Unavailable).then_some(error);
                }
            }
            // Wait for an unreachable cluster only once.
            Some(error) => status.problem = Some(problem(error)),
        }
        output.report("projection_status", &status, projection_text(&status));
    }
    Ok(Exit::Done)
}

impl LedgerStatus {
    /// The sessions that hold a lock.
    fn holders(&self) -> impl Iterator<Item = &String> {
        self.running.iter().chain(&self.rebuilding)
    }

    /// Whether the run holds a lock: the name of its session contains its id.
    fn is_running(&self, run: &RunStatus) -> bool {
        let run_id = run.run_id.to_string();
        self.holders().any(|holder| holder.contains(&run_id))
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

impl ProjectionStatus {
    fn unknown(kind: Projection, plan: &Plan) -> Self {
        let alias = plan.alias(kind);
        Self {
            projection: kind,
            alias,
            index: None,
            applied_through: None,
            behind: None,
            lists_omitted: 0,
            lists_omitted_ids: Vec::new(),
            problem: None,
        }
    }

    fn set_index(&mut self, index: Option<&Index>, newest_entry: EntryId) {
        let applied_through = index.map(|index| index.checkpoint.applied_through);
        self.behind = Some(newest_entry.number() - applied_through.map_or(0, EntryId::number));
        self.applied_through = applied_through;
        self.index = index.map(|index| index.physical.clone());
    }
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

fn ledger_text(status: &LedgerStatus) -> String {
    let LedgerStatus {
        ledger_id,
        time_zone,
        newest_entry,
        ..
    } = status;
    let mut lines = vec![format!("ledger           {ledger_id}, days in {time_zone}")];
    match (status.first_day, status.last_day) {
        (Some(first), Some(last)) => {
            lines.push(format!(
                "applied          {first} to {last}, newest entry {newest_entry}"
            ));
        }
        _ => lines
            .push("applied          nothing yet: `daybook apply` posts the first day".to_owned()),
    }
    if status.days_behind > 0 {
        lines.push(format!(
            "behind           {}: run `daybook apply`",
            counted(status.days_behind, "closed day", "closed days")
        ));
    }
    if let Some(problem) = &status.clock_problem {
        lines.push(format!(
            "clocks           {problem}: nothing is posted until they agree"
        ));
    }
    if !status.days_to_come.is_empty() {
        lines.push(format!(
            "to come          {}: posted while a clock was wrong; compared with the source again once they are over",
            to_come_text(&status.days_to_come)
        ));
    }
    if !status.gaps.is_empty() {
        lines.push(format!("gaps             {}", gaps_text(&status.gaps)));
    }
    if status.rejected_events > 0 {
        let events = counted(status.rejected_events, "event", "events");
        lines.push(format!(
            "rejected         {events}: SELECT * FROM daybook.rejected_event"
        ));
    }
    lines.extend(past_text(&status.past));
    lines.extend(sealed_text(status));
    lines.extend(
        status
            .holders()
            .map(|holder| format!("running now      {holder}")),
    );
    lines.join("\n")
}

/// The days of the line `to come`.
pub(super) fn to_come_text(ranges: &[(Day, Day)]) -> String {
    let days: usize = ranges
        .iter()
        .filter_map(|(first, last)| Period::new(*first, *last))
        .map(Period::day_count)
        .sum();
    let named = |(first, last): &(Day, Day)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first} to {last}")
        }
    };
    let ranges: Vec<String> = ranges.iter().map(named).collect();
    format!(
        "{}, {}, with entries",
        ranges.join(", "),
        counted(days, "day", "days")
    )
}

fn past_text(past: &Past) -> Option<String> {
    let kinds = [
        (past.days_corrected, "corrected"),
        (past.days_imported, "imported"),
        (past.days_taken_back, "reversed"),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(days, _)| *days > 0)
        .map(|(days, what)| format!("{} {what}", Grouped(days)))
        .collect();
    (!kinds.is_empty()).then(|| format!("days             {}", kinds.join(", ")))
}

fn sealed_text(status: &LedgerStatus) -> Option<String> {
    if let Some(problem) = &status.source_problem {
        return Some(format!(
            "source           not checked: {}",
            one_line(problem)
        ));
    }
    let Sealed { days, first, last } = status.sealed.as_ref()?;
    let (first, last) = (first.as_ref()?, last.as_ref()?);
    let days = counted(*days, "day", "days");
    Some(format!(
        "sealed           {days}, {first} to {last}: no longer in the source, kept as posted"
    ))
}

fn gaps_text(gaps: &[Day]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = gaps.iter().take(SHOWN).map(Day::to_string).collect();
    let more = if gaps.len() > SHOWN { ", …" } else { "" };
    let days = counted(gaps.len(), "day has", "days have");
    format!(
        "{days} no entry: {}{more}; run `daybook apply --day DAY`",
        names.join(", ")
    )
}

fn run_text(run: &RunStatus, running: bool) -> String {
    let started = run.started_at.format("%Y-%m-%d %H:%M:%S UTC");
    let end = match (&run.outcome, run.exit_code) {
        (Some(outcome), Some(code)) => format!("exit {code}, {}", one_line(outcome)),
        _ if running => "still running".to_owned(),
        _ if run.command == "rebuild" => {
            "did not finish: it was killed; `daybook rebuild --resume` resumes it".to_owned()
        }
        _ => "did not finish: it was killed; run it again".to_owned(),
    };
    format!("last run         {} at {started}: {end}", run.command)
}

fn projection_text(status: &ProjectionStatus) -> String {
    let alias = &status.alias;
    let state = match (
        &status.problem,
        &status.index,
        status.applied_through,
        status.behind,
    ) {
        (Some(problem), ..) => one_line(problem).into_owned(),
        (None, Some(index), Some(through), Some(0)) => {
            format!("up to date with entry {through} ({index})")
        }
        (None, Some(index), Some(through), Some(behind)) => {
            format!("at entry {through}, {behind} behind: run `daybook project` ({index})")
        }
        _ => "no index yet: `daybook project` creates it".to_owned(),
    };
    let mut text = format!("{alias:<16} {state}");
    if status.lists_omitted > 0 {
        let documents = counted(status.lists_omitted, "document is", "documents are");
        let more = if status.lists_omitted > status.lists_omitted_ids.len() as u64 {
            ", …"
        } else {
            ""
        };
        text += &format!(
            "\n{alias:<16} {documents} too large for Elasticsearch and without lists: {}{more}; raise http.max_content_length, then run `daybook rebuild --only stats`",
            status.lists_omitted_ids.join(", ")
        );
    }
    text
}
