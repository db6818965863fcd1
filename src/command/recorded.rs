//! What commands that are runs have in common: of the start and the end of each there is a record.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::error::{Error, Exit};
use crate::ledger::Ledger;
use crate::ledger::lock::{LockKind, Run};

/// How long a run tries to record its end: worth a try, not a long wait.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(30);
const RECORDING_TIMEOUT_OF_FAILED: Duration = Duration::from_secs(3);

/// Finds the ledger and starts a run of a command.
pub async fn start(
    settings: &Settings,
    purpose: LockKind,
    command: &str,
) -> Result<(Ledger, Run), Error> {
    let ledger = Ledger::open(&settings.ledger).await?;
    let run = Run::start(&ledger, purpose, command).await?;
    Ok((ledger, run))
}

/// Records how a run ended, then ends the same way.
pub async fn finish(
    run: Run,
    outcome: Result<(Exit, impl Serialize), Error>,
) -> Result<Exit, Error> {
    finish_with(run, outcome, json!({})).await
}

/// The same; of a run that failed, these figures are recorded.
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
        Err(failure) => (failure.exit(), failure.message(), figures_of_failed),
    };
    // The database may be what failed.
    let longest = if outcome.is_ok() {
        RECORDING_TIMEOUT
    } else {
        RECORDING_TIMEOUT_OF_FAILED
    };
    match tokio::time::timeout(longest, run.finish(exit, &text, figures)).await {
        Ok(Ok(())) => {}
        // What is done is done, recorded or not.
        Ok(Err(error)) => tracing::warn!(
            error = error.message(),
            "the end of the run could not be recorded"
        ),
        Err(_) => tracing::warn!("the end of the run could not be recorded in time"),
    }
    outcome.map(|(exit, _)| exit)
}
