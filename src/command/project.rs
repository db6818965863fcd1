//! `daybook project`: advances the projections to the ledger's newest entry. Repeats safely.

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::rebuild::build_all;
use super::recorded::{finish, start};
use crate::config::Settings;
use crate::elastic::Client;
use crate::elastic::index::{self, Index};
use crate::failure::{Exit, Failure};
use crate::interrupt::unless_interrupted;
use crate::ledger::lock::{Purpose, Run};
use crate::ledger::read::Reader;
use crate::ledger::{EntryId, Ledger};
use crate::output::{Grouped, Output, counted};
use crate::projection::advance::{Advanced, advance, check_history};
use crate::projection::{Kind, Plan, rebuild};

/// What can be typed.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Advances all projections.
pub async fn run(_: Options, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let client = settings.elasticsearch()?;
    let (ledger, mut run) = unless_interrupted(start(settings, Purpose::Posting, "project")).await?;
    let done = unless_interrupted(bring_up_to_date(&ledger, &client, settings, &mut run, output)).await;
    finish(run, done.map(|figures| (Exit::Done, figures))).await
}

/// Entries that an index must be behind for a rebuild to be worth a thought.
const MANY_ENTRIES: i64 = 30;

/// Brings all projections to the ledger's newest entry, and tells of each: advances them, or rebuilds those that lack
/// nearly all of the ledger. A rebuild writes each document once, an advance once for each entry that touches it.
pub async fn bring_up_to_date(
    ledger: &Ledger,
    client: &Client,
    settings: &Settings,
    run: &mut Run,
    output: Output,
) -> Result<Map<String, Value>, Failure> {
    client.check_version().await?;
    let mut reader = Reader::open(ledger, "daybook projecting").await?;
    let lacking = lacking_most(ledger, client, &settings.plan, &mut reader).await?;
    let (lacking, others): (Vec<Kind>, Vec<Kind>) =
        settings.plan.kinds().into_iter().partition(|kind| lacking.contains(kind));
    let advanced = advance_all(ledger, client, &settings.plan, &others, reader, run, output).await;
    // What is wrong with one index does not keep the others back; a cluster that is gone does.
    let is_gone = matches!(&advanced, Err(failure) if failure.exit() == Exit::Unreachable);
    if lacking.is_empty() || is_gone {
        return advanced;
    }
    match (advanced, rebuild_all(lacking, ledger, client, settings, run, output).await) {
        (Ok(advanced), Ok(rebuilt)) => Ok(advanced.into_iter().chain(rebuilt).collect()),
        (Ok(_), Err(failure)) | (Err(failure), Ok(_)) => Err(failure),
        (Err(failure), Err(another)) => {
            output.tell_failure(&another);
            Err(failure)
        }
    }
}

/// Rebuilds projections in a run of its own. If somebody else rebuilds, what is there is advanced.
async fn rebuild_all(
    kinds: Vec<Kind>,
    ledger: &Ledger,
    client: &Client,
    settings: &Settings,
    run: &mut Run,
    output: Output,
) -> Result<Map<String, Value>, Failure> {
    let mut rebuilding = match Run::start(ledger, Purpose::Rebuilding, "rebuild").await {
        Err(failure) if failure.exit() == Exit::Locked => {
            let reader = Reader::open(ledger, "daybook projecting").await?;
            return advance_all(ledger, client, &settings.plan, &kinds, reader, run, output).await;
        }
        started => started?,
    };
    // Nobody may be there to say that it is to go on with what a run that was ended left.
    let options = rebuild::Options { resume: true, ..rebuild::Options::of(kinds) };
    let work = build_all(options, settings, ledger, client, &mut rebuilding, output);
    // Whoever interrupts the run interrupts this as well; the record of it then says that it did not finish.
    let rebuilt = Box::pin(work).await.map(|rebuilt| figures("rebuilt", &rebuilt));
    let figures = rebuilt.as_ref().cloned().unwrap_or_default();
    finish(rebuilding, rebuilt.map(|figures| (Exit::Done, figures))).await?;
    Ok(figures)
}

fn figures(name: &str, of: &impl serde::Serialize) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), json!(of))])
}

/// The projections whose indices lack many entries, and in them at least nine tenths of the ledger's rows.
///
/// With few entries a rebuild gains nothing: of 29 days that the indices lacked, an advance took 8.1 s and a rebuild 10.0 s,
/// comparing included; with as many days in them already the advance took 8.5 s and a rebuild of all 58 18.9 s.
async fn lacking_most(
    ledger: &Ledger,
    client: &Client,
    plan: &Plan,
    reader: &mut Reader,
) -> Result<Vec<Kind>, Failure> {
    let head = reader.head().await?;
    let mut lacking = Vec::new();
    if head.number() < MANY_ENTRIES {
        return Ok(lacking);
    }
    for kind in plan.kinds() {
        // Whatever is wrong with an index, the advance says.
        let Ok(index) = index::find(client, &plan.alias(kind)).await else { continue };
        let through = index.as_ref().map_or(EntryId::NONE, |index| index.checkpoint.applied_through);
        if head.number() - through.number() < MANY_ENTRIES {
            continue;
        }
        // What an advance would refuse must not be replaced unasked.
        if let Some(index) = &index
            && !is_sound(index, kind, plan, ledger, reader).await
        {
            continue;
        }
        let rows = reader.delta_rows_after(through).await?;
        if rows.after.saturating_mul(10) >= rows.all.saturating_mul(9) {
            lacking.push(kind);
        }
    }
    Ok(lacking)
}

/// Whether an advance would take the index as it is.
async fn is_sound(index: &Index, kind: Kind, plan: &Plan, ledger: &Ledger, reader: &mut Reader) -> bool {
    index.check_ledger(ledger.ledger_id).is_ok()
        && index.check_shape(plan.shape(kind).as_ref()).is_ok()
        && check_history(index, reader).await.is_ok()
}

/// Advances projections side by side, and tells of each: one waits for the cluster while another reads the ledger.
async fn advance_all(
    ledger: &Ledger,
    client: &Client,
    plan: &Plan,
    kinds: &[Kind],
    reader: Reader,
    run: &mut Run,
    output: Output,
) -> Result<Map<String, Value>, Failure> {
    if kinds.is_empty() {
        return Ok(Map::new());
    }
    run.lock_projections().await?;
    let mut readers = vec![reader];
    while readers.len() < kinds.len()
        && let Ok(another) = Reader::open(ledger, "daybook projecting").await
    {
        readers.push(another);
    }
    let (mut done, mut failed): (_, Option<Failure>) = (Vec::new(), None);
    // One after the other where the server has no more connections to give.
    for kinds in kinds.chunks(readers.len()) {
        let advance = |(kind, reader)| advance(kind, plan, ledger, reader, client);
        for outcome in join_all(kinds.iter().copied().zip(&mut readers).map(advance)).await {
            match (outcome, &failed) {
                (Ok(advanced), _) => {
                    output.tell("projected", &advanced, text(&advanced));
                    done.push(advanced);
                }
                // What is wrong with one index does not keep the others back.
                (Err(failure), None) => failed = Some(failure),
                (Err(failure), Some(_)) => output.tell_failure(&failure),
            }
        }
    }
    run.unlock_projections().await?;
    failed.map_or_else(|| Ok(figures("projected", &done)), Err)
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
