//! `daybook project`: advances the projections to the ledger's newest entry. Repeats safely.

use crate::config::Settings;
use crate::elastic::Client;
use crate::failure::{Exit, Failure};
use crate::ledger::Ledger;
use crate::ledger::lock::Run;
use crate::ledger::read::Reader;
use crate::output::{Grouped, Output, counted};
use crate::projection::Projection;
use crate::projection::advance::{Advanced, advance};

/// What can be typed.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Advances all projections.
pub async fn run(_: Options, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let client = settings.elasticsearch()?;
    let ledger = Ledger::open(&settings.ledger).await?;
    let run = Run::start(&ledger, "project").await?;
    let advanced = advance_all(&ledger, &client, &settings.index_prefix, output).await;
    finish(run, advanced.map(|figures| (Exit::Done, figures))).await
}

/// Advances all projections and tells of each.
pub async fn advance_all(
    ledger: &Ledger,
    client: &Client,
    prefix: &str,
    output: Output,
) -> Result<Vec<Advanced>, Failure> {
    let mut reader = Reader::open(ledger, "daybook projecting").await?;
    let mut done = Vec::new();
    for projection in Projection::ALL {
        let advanced = advance(projection, ledger, &mut reader, client, prefix).await?;
        output.tell("projected", &advanced, text(&advanced));
        done.push(advanced);
    }
    Ok(done)
}

/// Records how a run ended, then ends the same way.
pub async fn finish(run: Run, outcome: Result<(Exit, impl serde::Serialize), Failure>) -> Result<Exit, Failure> {
    match outcome {
        Ok((exit, figures)) => {
            run.finish(exit, "done", figures).await?;
            Ok(exit)
        }
        Err(failure) => {
            let recorded = run
                .finish(failure.exit(), &failure.message(), serde_json::json!({}))
                .await;
            if let Err(error) = recorded {
                tracing::warn!(error = error.message(), "the end of the run could not be recorded");
            }
            Err(failure)
        }
    }
}

fn text(advanced: &Advanced) -> String {
    let Advanced {
        alias,
        index,
        from,
        through,
        written,
        duration,
        ..
    } = advanced;
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
    if written.overwritten > 0 {
        text += &format!(", {} changed by somebody else put right", Grouped(written.overwritten));
    }
    text
}
