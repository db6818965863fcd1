//! What commands that write have in common: each is a run, of whose start and end there is a record.

use std::time::Duration;

use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::ledger::Ledger;
use crate::ledger::lock::{Purpose, Run};

/// How long a failed run tries to record its end.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(3);

/// Finds the ledger and starts a run of a command that writes.
pub async fn start(settings: &Settings, purpose: Purpose, command: &str) -> Result<(Ledger, Run), Failure> {
    let ledger = Ledger::open(&settings.ledger).await?;
    let run = Run::start(&ledger, purpose, command).await?;
    Ok((ledger, run))
}

/// Records how a run ended, then ends the same way.
pub async fn finish(run: Run, outcome: Result<(Exit, impl serde::Serialize), Failure>) -> Result<Exit, Failure> {
    match outcome {
        Ok((exit, figures)) => {
            // What is done is done, recorded or not.
            let outcome = match exit {
                Exit::Diverged => "found what differs",
                Exit::Failed => "some of it was refused",
                _ => "done",
            };
            if let Err(error) = run.finish(exit, outcome, figures).await {
                tracing::warn!(error = error.message(), "the end of the run could not be recorded");
            }
            Ok(exit)
        }
        Err(failure) => {
            // The database may be what failed: the record is worth a try, not a wait.
            let (message, figures) = (failure.message(), serde_json::json!({}));
            let recording = run.finish(failure.exit(), &message, figures);
            match tokio::time::timeout(RECORDING_TIMEOUT, recording).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = error.message(), "the end of the run could not be recorded"),
                Err(_) => tracing::warn!("the end of the run could not be recorded in time"),
            }
            Err(failure)
        }
    }
}
