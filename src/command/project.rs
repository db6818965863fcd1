//! `daybook project`: advances the projections to the ledger's newest entry. Safe to repeat.

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tracing::Instrument as _;

use super::rebuild::build_all;
use super::recorded::{finish, finish_with, start};
use crate::config::Settings;
use crate::elastic::Client;
use crate::error::{Error, ErrorKind, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::lock::{LockKind, Run, run_span};
use crate::ledger::{Ledger, PostedRows, Reader};
use crate::output::Output;
use crate::projection::advance::{Advanced, IfLackingMost, advance};
use crate::projection::{Projection, rebuild};
use crate::text::{Grouped, counted};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct ProjectArgs {}

/// Runs the command.
pub async fn run(_: ProjectArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let client = settings.elasticsearch()?;
    let (ledger, mut run) =
        unless_interrupted(start(settings, LockKind::Posting, "project")).await?;
    let projecting = Projecting {
        ledger: &ledger,
        client: &client,
        settings,
        output,
    };
    let mut figures = Map::new();
    let work = projecting.bring_up_to_date(&mut run, None, &mut figures);
    let done = unless_interrupted(Box::pin(work)).await;
    let figures = Value::Object(figures);
    finish_with(run, done.map(|()| (Exit::Done, &figures)), figures.clone()).await
}

/// What advancing the projections needs.
#[derive(Clone, Copy)]
pub struct Projecting<'a> {
    pub ledger: &'a Ledger,
    pub client: &'a Client,
    pub settings: &'a Settings,
    pub output: Output,
}

/// The result of advancing some projections.
struct Advances {
    /// Projections to be rebuilt instead.
    lacking: Vec<Projection>,
    /// The first failure.
    failed: Option<Error>,
}

impl Projecting<'_> {
    /// Brings all projections to the ledger's newest entry, and reports each: advances them, or rebuilds those that lack
    /// nearly all of the ledger. `posted_rows` are rows just posted, which need not be read back. `figures` are what was
    /// done, also if one of them fails.
    pub async fn bring_up_to_date(
        &self,
        run: &mut Run,
        posted_rows: Option<PostedRows>,
        figures: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        self.client.check_version().await?;
        let kinds = self.settings.plan.kinds();
        let advances = self
            .advance(&kinds, IfLackingMost::Leave, posted_rows, run, figures)
            .await?;
        let Advances { lacking, failed } = advances;
        // A problem of one index does not stop the others, but an unreachable cluster does.
        let is_gone = failed
            .as_ref()
            .is_some_and(|error| error.kind().is_transient());
        if !lacking.is_empty() && !is_gone {
            match (self.rebuild(lacking, run, figures).await, &failed) {
                (Ok(()), _) => {}
                (Err(error), None) => return Err(error),
                (Err(error), Some(_)) => self.output.report_error(&error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Advances projections concurrently, and reports each: one waits for the cluster while another reads the ledger.
    async fn advance(
        &self,
        kinds: &[Projection],
        if_lacking_most: IfLackingMost,
        posted_rows: Option<PostedRows>,
        run: &mut Run,
        figures: &mut Map<String, Value>,
    ) -> Result<Advances, Error> {
        const NAME: &str = "daybook projecting";
        let Self {
            ledger,
            client,
            settings,
            output,
        } = *self;
        let mut readers = vec![Reader::open(ledger, NAME).await?];
        run.lock_projections().await?;
        Reader::open_more(&mut readers, kinds.len(), ledger, NAME).await;
        for (kind, reader) in kinds.iter().zip(&mut readers) {
            // Totals are computed from balances.
            if *kind != Projection::Totals {
                reader.remember(posted_rows.clone());
            }
        }
        drop(posted_rows);
        let (mut lacking, mut failed) = (Vec::new(), None::<Error>);
        // In groups, if the server allows only few connections.
        for kinds in kinds.chunks(readers.len()) {
            let advance = |(kind, reader)| {
                advance(
                    kind,
                    &settings.plan,
                    ledger,
                    reader,
                    client,
                    if_lacking_most,
                )
            };
            let outcomes = join_all(kinds.iter().copied().zip(&mut readers).map(advance)).await;
            for (kind, outcome) in kinds.iter().zip(outcomes) {
                match (outcome, &failed) {
                    (Ok(Some(advanced)), _) => {
                        output.report("projected", &advanced, text(&advanced));
                        note(figures, "projected", &advanced);
                    }
                    (Ok(None), _) => lacking.push(*kind),
                    // A problem of one index does not stop the others.
                    (Err(error), None) => failed = Some(error),
                    (Err(error), Some(_)) => output.report_error(&error),
                }
            }
        }
        run.unlock_projections().await?;
        Ok(Advances { lacking, failed })
    }

    /// Rebuilds projections in a run of its own; advances them if another run is rebuilding.
    async fn rebuild(
        &self,
        kinds: Vec<Projection>,
        run: &mut Run,
        figures: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let Self {
            ledger,
            client,
            settings,
            output,
        } = *self;
        let span = run_span("rebuild");
        let mut rebuilding = match Run::start(ledger, LockKind::Rebuilding, "rebuild")
            .instrument(span.clone())
            .await
        {
            Err(error) if error.kind() == ErrorKind::Locked => {
                let Advances { failed, .. } = self
                    .advance(&kinds, IfLackingMost::Advance, None, run, figures)
                    .await?;
                return failed.map_or(Ok(()), Err);
            }
            started => started?,
        };
        // Resume an interrupted rebuild: there may be nobody to ask for it.
        let options = rebuild::RebuildOptions {
            resume: true,
            ..rebuild::RebuildOptions::of(kinds)
        };
        let work = build_all(options, settings, ledger, client, &mut rebuilding, output);
        // An interruption also ends this run, which is then recorded as not finished.
        let rebuilt = Box::pin(work.instrument(span)).await;
        let mut of_rebuild = Map::new();
        for rebuilt in rebuilt.iter().flatten() {
            note(&mut of_rebuild, "rebuilt", rebuilt);
        }
        figures.extend(of_rebuild.clone());
        finish(rebuilding, rebuilt.map(|_| (Exit::Done, of_rebuild))).await?;
        Ok(())
    }
}

/// Adds one projection's figures to a list.
fn note(figures: &mut Map<String, Value>, list: &str, one: &impl serde::Serialize) {
    let list = figures.entry(list).or_insert_with(|| json!([]));
    if let Value::Array(list) = list {
        list.push(json!(one));
    }
}

fn text(advanced: &Advanced) -> String {
    let Advanced {
        alias,
        index,
        from,
        through,
        written,
        looked_up,
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
    if looked_up.documents > 0 {
        let seconds = looked_up.waited.as_secs_f64();
        text += &format!(
            ", {} looked up first, {seconds:.2} s of waiting",
            Grouped(looked_up.documents)
        );
    }
    if written.lists_omitted > 0 {
        text += &format!(
            ", {} too large and written without lists",
            Grouped(written.lists_omitted)
        );
    }
    if written.overwritten > 0 {
        text += &format!(
            ", {} changed outside daybook and overwritten",
            Grouped(written.overwritten)
        );
    }
    text
}
