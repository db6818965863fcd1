//! Commands that are runs: their start and end are recorded.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::error::{Error, Exit};
use crate::ledger::Ledger;
use crate::ledger::lock::{LockKind, Run};
use crate::logging::SUMMARIES;
use crate::monitoring::RunFigures;

/// Time limits for recording the end of a run.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(30);
const RECORDING_TIMEOUT_OF_FAILED: Duration = Duration::from_secs(3);

/// Opens the ledger and starts a run of a command.
pub async fn start(
    settings: &Settings,
    purpose: LockKind,
    command: &str,
) -> Result<(Ledger, Run), Error> {
    let ledger = Ledger::open(&settings.ledger).await?;
    let run = Run::start(&ledger, purpose, command).await?;
    Ok((ledger, run))
}

/// Records how a run ended, and returns its outcome.
pub async fn finish(
    run: Run,
    outcome: Result<(Exit, impl Serialize), Error>,
) -> Result<Exit, Error> {
    finish_with(run, outcome, json!({})).await
}

/// The same, with figures to record for a failed run.
pub async fn finish_with(
    run: Run,
    outcome: Result<(Exit, impl Serialize), Error>,
    figures_of_failed: Value,
) -> Result<Exit, Error> {
    let (exit, text, figures) = match &outcome {
        Ok((exit, figures)) => {
            let text = match exit {
                Exit::Diverged => "found differences",
                Exit::Failed => "partly refused",
                _ => "done",
            };
            (
                *exit,
                text.to_owned(),
                serde_json::to_value(figures).unwrap_or_default(),
            )
        }
        Err(failure) => (
            failure.exit(),
            failure.message(),
            with_kind(failure, figures_of_failed),
        ),
    };
    summarise(&run, exit, &text, &figures);
    // The database may be what failed.
    let longest = if outcome.is_ok() {
        RECORDING_TIMEOUT
    } else {
        RECORDING_TIMEOUT_OF_FAILED
    };
    match tokio::time::timeout(longest, run.finish(exit, &text, figures)).await {
        Ok(Ok(())) => {}
        // A missing record does not undo the work.
        Ok(Err(error)) => tracing::warn!(
            error = error.message(),
            "the end of the run could not be recorded"
        ),
        Err(_) => tracing::warn!("the end of the run could not be recorded in time"),
    }
    outcome.map(|(exit, _)| exit)
}

/// Adds the kind of an error to the figures of a run.
fn with_kind(failure: &Error, mut figures: Value) -> Value {
    if let Value::Object(members) = &mut figures {
        members.insert("error_kind".to_owned(), failure.kind().name().into());
    }
    figures
}

/// Logs one line about the run. The system journal always has it, with the figures as fields.
fn summarise(run: &Run, exit: Exit, outcome: &str, recorded: &Value) {
    let figures = RunFigures::new(recorded);
    let RunFigures {
        days,
        entries_posted: entries,
        events,
        rejected,
        ..
    } = figures;
    let documents = figures.sum(|projection| projection.documents);
    let bytes = figures.sum(|projection| projection.bytes);
    let retries = figures.sum(|projection| projection.retries);
    let seconds = run.elapsed().as_secs_f64();
    tracing::info!(
        target: SUMMARIES,
        exit_code = exit.code(),
        days,
        entries,
        events,
        rejected,
        documents,
        bytes,
        retries,
        seconds,
        "run ended after {seconds:.1} s: {outcome} (days {days}, events {events}, rejected {rejected}, documents {documents})"
    );
}
