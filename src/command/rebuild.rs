//! `daybook rebuild`: rebuilds the indices from the ledger and switches the aliases.

use serde_json::json;

use super::progress::ProgressReporter;
use super::recorded::{finish, start};
use crate::config::Settings;
use crate::elastic::Client;
use crate::error::{Error, ErrorKind, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::Ledger;
use crate::ledger::lock::{LockKind, Run};
use crate::output::Output;
use crate::projection::Projection;
use crate::projection::aliases;
use crate::projection::rebuild::{Rebuild, RebuildOptions, Rebuilt};
use crate::text::counted;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Readers keep the current indices until the new ones are complete and compared. `daybook apply` may
post meanwhile. An interrupted rebuild changes nothing that readers see.

Examples:
  daybook rebuild
  daybook rebuild --only totals,terms
  daybook rebuild --resume           resume an interrupted rebuild
  daybook rebuild --rollback         switch back to the previous indices")]
pub struct RebuildArgs {
    /// Rebuild only these projections
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_enum)]
    only: Vec<Projection>,

    /// Previous generations to keep
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,

    /// Report what would be built; build nothing
    #[arg(long)]
    dry_run: bool,

    /// Resume an interrupted rebuild
    #[arg(long)]
    resume: bool,

    /// Switch the aliases back to the previous generation, which the next advance brings up to date
    #[arg(long, conflicts_with_all = ["keep", "resume"])]
    rollback: bool,
}

/// Runs the command.
pub async fn run(options: RebuildArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let client = settings.elasticsearch()?;
    let kinds = chosen(&options.only, settings)?;
    if options.dry_run {
        return unless_interrupted(dry_run(&kinds, options.rollback, settings, output)).await;
    }
    let (ledger, mut run) =
        unless_interrupted(start(settings, LockKind::Rebuilding, "rebuild")).await?;
    let done = if options.rollback {
        unless_interrupted(roll_back(
            &kinds, settings, &ledger, &client, &mut run, output,
        ))
        .await
    } else {
        let building = build(options, kinds, settings, &ledger, &client, &mut run, output);
        unless_interrupted(Box::pin(building))
            .await
            .map_err(resumable)
    };
    finish(run, done.map(|figures| (Exit::Done, figures))).await
}

/// Adds a hint how to resume the rebuild, if that may be possible.
fn resumable(error: Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::Interrupted => "",
        kind if kind.is_transient() => {
            "check that Postgres and Elasticsearch are reachable and healthy; "
        }
        _ => return error,
    };
    error.hint(format!(
        "{hint}`daybook rebuild --resume`, with the same --only, continues with what is built; readers still use the current indices"
    ))
}

async fn build(
    options: RebuildArgs,
    kinds: Vec<Projection>,
    settings: &Settings,
    ledger: &Ledger,
    client: &Client,
    run: &mut Run,
    output: Output,
) -> Result<serde_json::Value, Error> {
    let RebuildArgs { keep, resume, .. } = options;
    let options = RebuildOptions {
        keep,
        resume,
        ..RebuildOptions::of(kinds)
    };
    let rebuilt = build_all(options, settings, ledger, client, run, output).await?;
    Ok(json!({ "rebuilt": rebuilt }))
}

/// Rebuilds projections and reports each.
pub(super) async fn build_all(
    options: RebuildOptions,
    settings: &Settings,
    ledger: &Ledger,
    client: &Client,
    run: &mut Run,
    output: Output,
) -> Result<Vec<Rebuilt>, Error> {
    client.check_version().await?;
    let progress = ProgressReporter::of("document", "documents");
    let work = Rebuild {
        plan: &settings.plan,
        ledger,
        client,
        options,
        progress,
    };
    let rebuilt = Box::pin(work.run(run)).await?;
    for one in &rebuilt {
        let (alias, index, through) = (&one.alias, &one.index, one.through);
        let documents = counted(one.documents, "document", "documents");
        let (seconds, comparing) = (one.duration.as_secs_f64(), one.comparing.as_secs_f64());
        let text = format!(
            "{alias:<16} {documents} through entry {through}, {seconds:.2} s, including {comparing:.2} s for comparing; served from {index}"
        );
        output.report("rebuilt", one, text);
    }
    Ok(rebuilt)
}

async fn roll_back(
    kinds: &[Projection],
    settings: &Settings,
    ledger: &Ledger,
    client: &Client,
    run: &mut Run,
    output: Output,
) -> Result<serde_json::Value, Error> {
    let previous = aliases::roll_back(&settings.plan, ledger, client, kinds, run).await?;
    for index in &previous {
        let (alias, physical, through) = (
            &index.alias,
            &index.physical,
            index.checkpoint.applied_through,
        );
        let fields = json!({ "alias": alias, "index": physical, "through": through });
        let text = format!(
            "{alias:<16} served from {physical} again, through entry {through}; `daybook project` brings it up to date"
        );
        output.report("rolled_back", fields, text);
    }
    Ok(
        json!({ "rolled_back": previous.into_iter().map(|index| index.physical).collect::<Vec<_>>() }),
    )
}

async fn dry_run(
    kinds: &[Projection],
    rollback: bool,
    settings: &Settings,
    output: Output,
) -> Result<Exit, Error> {
    let client = settings.elasticsearch()?;
    let (_, mut reader) = Ledger::open_for_reading(&settings.ledger, "daybook rebuild").await?;
    let head = reader.head().await?;
    for kind in kinds {
        let alias = settings.plan.alias(*kind);
        let serving = crate::projection::index::behind(&client, &alias)
            .await?
            .join(", ");
        let next = crate::projection::index::next_generation(&client, &alias).await?;
        let index = crate::projection::index::physical_name(&alias, next);
        let fields = json!({ "alias": alias, "serving": serving, "index": index, "through": head, "rollback": rollback });
        let text = if rollback {
            format!("{alias:<16} would be served from the generation before {serving}")
        } else {
            format!(
                "{alias:<16} would be built as {index}, through entry {head}; served from [{serving}] until then"
            )
        };
        output.report("rebuild_dry_run", fields, text);
    }
    Ok(Exit::Done)
}

fn chosen(only: &[Projection], settings: &Settings) -> Result<Vec<Projection>, Error> {
    let kept = settings.plan.kinds();
    let Some(not_kept) = only.iter().find(|kind| !kept.contains(kind)) else {
        return Ok(kept
            .into_iter()
            .filter(|kind| only.is_empty() || only.contains(kind))
            .collect());
    };
    Err(Error::usage(format!(
        "{} is turned off by DAYBOOK_TERMS",
        settings.plan.alias(*not_kept)
    ))
    .hint("leave it out of --only, or change the setting"))
}
