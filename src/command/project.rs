//! `daybook project`: advances the projections to the ledger's newest entry. Repeats safely.

use futures_util::future::join_all;
use serde_json::{Map, Value};

use super::rebuild::build_all;
use super::recorded::{finish, start};
use crate::config::Settings;
use crate::elastic::{Client, index};
use crate::failure::{Exit, Failure};
use crate::interrupt::unless_interrupted;
use crate::ledger::lock::{Purpose, Run};
use crate::ledger::read::Reader;
use crate::ledger::{EntryId, Ledger};
use crate::output::{Grouped, Output, counted};
use crate::projection::Plan;
use crate::projection::advance::{Advanced, advance, check_history};
use crate::projection::rebuild;

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

/// Brings all projections to the ledger's newest entry, and tells of each: advances them, or rebuilds them where what they
/// lack is nearly all of the ledger. A rebuild writes each document once, an advance once for each entry that touches
/// it.
pub async fn bring_up_to_date(
    ledger: &Ledger,
    client: &Client,
    settings: &Settings,
    run: &mut Run,
    output: Output,
) -> Result<Map<String, Value>, Failure> {
    client.check_version().await?;
    let mut reader = Reader::open(ledger, "daybook projecting").await?;
    if lacks_most(ledger, client, &settings.plan, &mut reader).await? {
        match Run::start(ledger, Purpose::Rebuilding, "rebuild").await {
            Ok(mut rebuilding) => {
                let options = rebuild::Options::of(settings.plan.kinds());
                let work = build_all(options, settings, ledger, client, &mut rebuilding, output);
                // Whoever interrupts the run interrupts this as well; the record of it then says that it did not finish.
                let rebuilt = Box::pin(work).await.map(|rebuilt| (Exit::Done, figures("rebuilt", &rebuilt)));
                let figures = rebuilt.as_ref().map(|(_, figures)| figures.clone()).unwrap_or_default();
                finish(rebuilding, rebuilt).await?;
                return Ok(figures);
            }
            // Somebody else rebuilds: what is there is advanced meanwhile.
            Err(failure) if failure.exit() == Exit::Locked => {}
            Err(failure) => return Err(failure),
        }
    }
    let projected = advance_all(ledger, client, &settings.plan, reader, run, output).await?;
    Ok(figures("projected", &projected))
}

fn figures(name: &str, of: &impl serde::Serialize) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), serde_json::json!(of))])
}

/// Whether every index that is kept up lacks many entries, and in them at least nine tenths of the ledger's rows.
///
/// With few entries a rebuild gains nothing: of 29 days that the indices lacked, an advance took 8.1 s and a rebuild 10.0 s,
/// comparing included; with as many days in them already the advance took 8.5 s and a rebuild of all 58 18.9 s.
async fn lacks_most(ledger: &Ledger, client: &Client, plan: &Plan, reader: &mut Reader) -> Result<bool, Failure> {
    let head = reader.head().await?;
    if head.number() < MANY_ENTRIES {
        return Ok(false);
    }
    let mut least = head;
    for kind in plan.kinds() {
        let through = match index::find(client, &plan.alias(kind)).await {
            Ok(None) => EntryId::NONE,
            Ok(Some(index)) => {
                if head.number() - index.checkpoint.applied_through.number() < MANY_ENTRIES {
                    return Ok(false);
                }
                // What an advance would refuse must not be replaced unasked.
                let sound =
                    index.check_ledger(ledger.ledger_id).and_then(|()| index.check_shape(plan.shape(kind).as_ref()));
                if sound.is_err() || check_history(&index, reader).await.is_err() {
                    return Ok(false);
                }
                index.checkpoint.applied_through
            }
            Err(_) => return Ok(false),
        };
        least = least.min(through);
    }
    let rows = reader.delta_rows_after(least).await?;
    Ok(rows.after.saturating_mul(10) >= rows.all.saturating_mul(9))
}

/// Advances all projections, side by side, and tells of each: one waits for the cluster while another reads the ledger.
async fn advance_all(
    ledger: &Ledger,
    client: &Client,
    plan: &Plan,
    reader: Reader,
    run: &mut Run,
    output: Output,
) -> Result<Vec<Advanced>, Failure> {
    run.lock_projections().await?;
    let kinds = plan.kinds();
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
    failed.map_or(Ok(done), Err)
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
