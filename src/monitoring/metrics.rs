//! A file of metrics for node_exporter's textfile collector.
//!
//! The metrics are read from the ledger, not remembered: after a run that failed they tell what the last good one did. If
//! the ledger cannot be reached, the file stays as it is, and the time of the last success in it grows old.

use std::fmt::Display;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::exposition::Exposition;
use super::figures::{ProjectionFigures, RunFigures};
use crate::config::Settings;
use crate::day::Period;
use crate::destination::Destination;
use crate::error::{Error, ErrorKind};
use crate::ledger::lock::TOOL_VERSION;
use crate::ledger::{EndedRun, Ledger, PastRuns, ProjectedThrough};

/// A run does not wait longer for its metrics.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Writes the metrics; logs a warning if that fails.
pub async fn write_metrics(settings: &Settings, path: &Path) {
    let file = path.display().to_string();
    let written = tokio::time::timeout(TIME_LIMIT, async {
        let text = State::read(settings).await?.text(&settings.plan.prefix);
        replace(path, &text).map_err(|error| {
            Error::new(ErrorKind::OutputUnwritable, "writing failed").caused_by(error)
        })
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(file, error = error.message(), "no metrics were written"),
        Err(_) => tracing::warn!(file, "no metrics were written: the ledger does not answer"),
    }
}

/// Replaces the file in one step. Whoever runs node_exporter may read it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = Destination::create(path)?;
    file.write_all(text.as_bytes())?;
    file.finish()?;
    if is_new {
        std::fs::set_permissions(path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// What the ledger knows.
struct State {
    days_behind: usize,
    gaps: usize,
    rejected_events: i64,
    newest_entry: i64,
    runs: PastRuns,
    last_run: Option<EndedRun>,
    projections: Vec<ProjectedThrough>,
}

impl State {
    async fn read(settings: &Settings) -> Result<Self, Error> {
        let (ledger, mut reader) =
            Ledger::open_for_reading(&settings.ledger, "daybook metrics").await?;
        let today = ledger.zone.day_of(reader.clocks().await?.here);
        let last_closed = reader.last_day(today.previous()).await?;
        let missing = last_closed.and_then(|last| Period::new(last.next(), today.previous()));
        Ok(Self {
            days_behind: missing.map_or(0, Period::day_count),
            gaps: reader.gaps().await?.len(),
            rejected_events: reader.rejected_events().await?,
            newest_entry: reader.head().await?.number(),
            runs: reader.past_runs().await?,
            last_run: reader.last_applying_run().await?,
            projections: reader.projected_through().await?,
        })
    }

    fn text(&self, prefix: &str) -> String {
        let last_success = self
            .runs
            .last_success
            .map_or_else(|| "0".to_owned(), seconds_since_1970);
        let mut metrics = Exposition::new(vec![("prefix", prefix.to_owned())]);
        metrics.gauges(
            "daybook_info",
            "The version of the program.",
            "version",
            [(TOOL_VERSION, 1)],
        );
        for (name, help, value) in [
            (
                "daybook_day_lag",
                "Closed days after the last applied one.",
                &self.days_behind as &dyn Display,
            ),
            (
                "daybook_gaps",
                "Days between the first and the last that have no entry.",
                &self.gaps as &dyn Display,
            ),
            (
                "daybook_rejected_events",
                "Events in the ledger that could not be counted.",
                &self.rejected_events as &dyn Display,
            ),
            (
                "daybook_newest_entry",
                "The newest entry of the ledger.",
                &self.newest_entry as &dyn Display,
            ),
            (
                "daybook_last_success_timestamp_seconds",
                "When the last successful run that applies days ended; 0 if there was none.",
                &last_success,
            ),
            (
                "daybook_failed_runs",
                "Runs that failed or were killed since the last successful one.",
                &self.runs.failed,
            ),
        ] {
            metrics.gauge(name, help, value);
        }
        metrics.gauges(
            "daybook_projection_entries_behind",
            "Entries that a projection lacked when a run last wrote to it.",
            "projection",
            self.projections.iter().map(|projection| {
                let behind = self.newest_entry - projection.entry;
                (projection.projection.as_str(), behind)
            }),
        );
        if let Some(run) = &self.last_run {
            add_run(&mut metrics, run);
        }
        metrics.into_text()
    }
}

/// Adds the figures of the last run that applied days.
fn add_run(metrics: &mut Exposition, run: &EndedRun) {
    let figures = RunFigures::new(&run.figures);
    let duration = (run.finished_at - run.started_at)
        .to_std()
        .unwrap_or_default();
    for (name, help, value) in [
        (
            "daybook_last_run_timestamp_seconds",
            "When the last run that applies days ended.",
            &seconds_since_1970(run.finished_at) as &dyn Display,
        ),
        (
            "daybook_last_run_exit_code",
            "Its exit code.",
            &run.exit_code,
        ),
        (
            "daybook_last_run_seconds",
            "How long it took.",
            &duration.as_secs_f64(),
        ),
        (
            "daybook_last_run_day_checks",
            "Days that it looked at.",
            &figures.days,
        ),
        (
            "daybook_last_run_day_failures",
            "Of these, days that could not be applied.",
            &figures.days_failed,
        ),
        (
            "daybook_last_run_events",
            "Events of the days that it posted.",
            &figures.events,
        ),
        (
            "daybook_last_run_rejected_events",
            "Of these, events that could not be counted.",
            &figures.rejected,
        ),
    ] {
        metrics.gauge(name, help, value);
    }
    let projections = figures.projections();
    let of_projections = |of: fn(&ProjectionFigures) -> u64| {
        projections
            .iter()
            .map(move |written| (written.projection.as_str(), of(written)))
    };
    let writing = projections
        .iter()
        .map(|written| (written.projection.as_str(), written.seconds));
    let stages = [
        ("read", figures.read_seconds),
        ("post", figures.post_seconds),
    ];
    metrics.gauges(
        "daybook_last_run_stage_seconds",
        "How long reading the source, posting, and writing each projection took.",
        "stage",
        stages.into_iter().chain(writing),
    );
    metrics.gauges(
        "daybook_last_run_documents",
        "Documents written.",
        "projection",
        of_projections(|written| written.documents),
    );
    metrics.gauges(
        "daybook_last_run_bytes",
        "Bytes sent to Elasticsearch.",
        "projection",
        of_projections(|written| written.bytes),
    );
    metrics.gauges(
        "daybook_last_run_retries",
        "Requests to Elasticsearch that were repeated.",
        "projection",
        of_projections(|written| written.retries),
    );
}

fn seconds_since_1970(time: DateTime<Utc>) -> String {
    format!("{}.{:03}", time.timestamp(), time.timestamp_subsec_millis())
}
