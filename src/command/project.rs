//! `daybook project`: advances the projections to the ledger's newest entry. Repeats safely.

use std::time::Duration;

use crate::config::Settings;
use crate::elastic::Client;
use crate::failure::{Exit, Failure};
use crate::interrupt::unless_interrupted;
use crate::ledger::Ledger;
use crate::ledger::lock::{Purpose, Run};
use crate::ledger::read::Reader;
use crate::output::{Grouped, Output, counted};
use crate::projection::Plan;
use crate::projection::advance::{Advanced, advance};

/// How long a failed run tries to record its end.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(3);

/// What can be typed.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Advances all projections.
pub async fn run(_: Options, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let client = settings.elasticsearch()?;
    let (ledger, mut run) = unless_interrupted(start(settings, Purpose::Posting, "project")).await?;
    let advanced = unless_interrupted(advance_all(&ledger, &client, &settings.plan, &mut run, output)).await;
    finish(run, advanced.map(|projected| (Exit::Done, serde_json::json!({ "projected": projected })))).await
}

/// Finds the ledger and starts a run of a command that writes.
pub async fn start(settings: &Settings, purpose: Purpose, command: &str) -> Result<(Ledger, Run), Failure> {
    let ledger = Ledger::open(&settings.ledger).await?;
    let run = Run::start(&ledger, purpose, command).await?;
    Ok((ledger, run))
}

/// Advances all projections and tells of each.
pub async fn advance_all(
    ledger: &Ledger,
    client: &Client,
    plan: &Plan,
    run: &mut Run,
    output: Output,
) -> Result<Vec<Advanced>, Failure> {
    client.check_version().await?;
    let mut reader = Reader::open(ledger, "daybook projecting").await?;
    run.lock_projections().await?;
    let (mut done, mut failed) = (Vec::new(), None);
    for kind in plan.kinds() {
        match advance(kind, plan, ledger, &mut reader, client).await {
            Ok(advanced) => {
                output.tell("projected", &advanced, text(&advanced));
                done.push(advanced);
            }
            // What is wrong with one index does not keep the others back; a cluster that is gone does.
            Err(failure) if failed.is_none() && failure.exit() != Exit::Unreachable => failed = Some(failure),
            Err(failure) if failed.is_none() => return Err(failure),
            Err(failure) => output.tell_failure(&failure),
        }
    }
    run.unlock_projections().await?;
    failed.map_or(Ok(done), Err)
}

/// Records how a run ended, then ends the same way.
pub async fn finish(run: Run, outcome: Result<(Exit, impl serde::Serialize), Failure>) -> Result<Exit, Failure> {
    match outcome {
        Ok((exit, figures)) => {
            // What is done is done, recorded or not.
            let outcome = if exit == Exit::Diverged { "found what differs" } else { "done" };
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

fn text(advanced: &Advanced) -> String {
    let Advanced { alias, index, from, through, written, looked_up, duration, .. } = advanced;
    if from == through {
        return format!("{alias:<16} up to date with entry {through} ({index})");
    }
    let documents = counted(written.documents, "document", "documents");
    let seconds = duration.as_secs_f64();
    let entries = match from.next() {
        first if first == *through => format!("entry {first}"),
        first => format!("entries {first} to {through}"),
    };
    let mut text = format!("{alias:<16} {documents} for {entries}, {seconds:.2} s ({index})");
    if looked_up.documents > 0 {
        let seconds = looked_up.waited.as_secs_f64();
        text += &format!(", {} looked up first, {seconds:.2} s of waiting", Grouped(looked_up.documents));
    }
    if written.overwritten > 0 {
        text += &format!(", {} changed by somebody else put right", Grouped(written.overwritten));
    }
    text
}
