//! Applying a day: makes the ledger's net of the day equal what the source holds.
//!
//! Load what the ledger has, load what the source has, compare, post the difference. Repeats safely: a day whose source
//! is unchanged is left alone, so that any number of runs post one entry.

mod finding;

use std::time::Duration;

use serde::Serialize;

pub use finding::{Finding, compare};

use crate::aggregate::{Aggregation, Cell, DayDeltas, Figures, Overflow, PostedRow, Sums};
use crate::clock::Stopwatch;
use crate::day::Day;
use crate::event::Rejection;
use crate::event::source::{DaySnapshot, Fingerprint, Source};
use crate::failpoint;
use crate::failure::Failure;
use crate::ledger::lock::Run;
use crate::ledger::post::{Posting, RejectedEvent, post};
use crate::ledger::read::{Reader, StoredRow};
use crate::ledger::{EntryId, EntryKind, Ledger};
use crate::output::Grouped;

/// How a day is to be applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Post that a day has fewer events than were posted, instead of refusing.
    pub accept_decrease: bool,
}

/// What came of a day.
#[derive(Debug, Serialize)]
pub struct DayReport {
    /// The day.
    pub day: Day,
    /// What was done.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What was done with a day.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// An entry was posted, or would be.
    Posted(PostedReport),
    /// The ledger has the day as the source has it.
    AlreadyApplied {
        /// The newest entry of the day.
        entry_id: EntryId,
    },
    /// The source no longer holds the day's events; the ledger keeps what it has.
    Sealed {
        /// The newest entry of the day.
        entry_id: EntryId,
        /// The events that were there when it was posted.
        posted_events: i64,
    },
}

/// An entry that was posted, or would be.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it, the schema comments them")]
pub struct PostedReport {
    /// None where it was only tried.
    pub entry_id: Option<EntryId>,
    pub kind: EntryKind,
    pub events: i64,
    pub counted: i64,
    pub ignored: i64,
    pub rejected: i64,
    /// Delta rows.
    pub cells: usize,
    /// Net interactions of the entry.
    pub interactions: i128,
    /// Net records of the entry.
    pub records: i128,
    #[serde(rename = "read_seconds", serialize_with = "crate::output::as_seconds")]
    pub reading: Duration,
    #[serde(rename = "post_seconds", serialize_with = "crate::output::as_seconds")]
    pub posting: Duration,
}

/// Applies a day. Without a run it only says what it would post.
pub async fn apply_day(
    ledger: &Ledger,
    source: &mut Source,
    reader: &mut Reader,
    run: Option<&mut Run>,
    day: Day,
    rules: Rules,
) -> Result<DayReport, Failure> {
    let stopwatch = Stopwatch::start();
    let mut snapshot = source.day(day).await?;
    let fingerprint = snapshot.fingerprint().await?;
    // All that is decided below is decided as of this entry: the posting is refused if another came in between.
    let head = reader.head().await?;
    let entries = reader.entries_of(day).await?;
    tracing::info!(%day, source_events = fingerprint.rows, entries = entries.len(), "comparing the day with its source");
    let kind = match compare(day, &entries, &fingerprint, rules)? {
        Finding::New => EntryKind::Apply,
        Finding::Changed => EntryKind::Correction,
        Finding::Unchanged { entry_id } => {
            return Ok(DayReport { day, outcome: Outcome::AlreadyApplied { entry_id } });
        }
        Finding::Sealed { entry_id, posted_events } => {
            return Ok(DayReport { day, outcome: Outcome::Sealed { entry_id, posted_events } });
        }
    };
    failpoint::reach("apply.compared");
    let Counted { deltas, figures, rejections } = count(&mut snapshot, &fingerprint, reader, kind, head).await?;
    if let Some(newest) = entries.last().filter(|newest| newest.source_fingerprint == fingerprint.text)
        && deltas.rows().is_empty()
    {
        return Ok(DayReport { day, outcome: Outcome::AlreadyApplied { entry_id: newest.entry_id } });
    }
    if let Some(row) = deltas.decrease().filter(|_| !rules.accept_decrease) {
        return Err(Failure::failed(format!(
            "the source's events of {day} now count less than was posted: {}, count {}, total {}",
            row.cell,
            Grouped(row.count),
            Grouped(row.total)
        ))
        .hint(format!(
            "the day stays as posted; if the source is right, run `daybook apply --day {day} --accept-decrease`"
        )));
    }
    let reading = stopwatch.elapsed();
    failpoint::reach("apply.counted");

    let Sums { count: interactions, total: records } = deltas.sums();
    let cells = deltas.rows().len();
    let mut entry_id = None;
    let stopwatch = Stopwatch::start();
    if let Some(run) = run {
        let rejected = keep_rejected(&mut snapshot, reader, day, rejections).await?;
        let reason = (kind == EntryKind::Correction).then(|| changed_from_to(&entries, &fingerprint));
        let posting = Posting {
            after: head,
            day,
            kind,
            reverses: None,
            figures,
            fingerprint: fingerprint.text,
            deltas,
            rejected,
            reason,
        };
        entry_id = Some(post(ledger, run, posting).await?.entry_id);
    }
    let Figures { counted, ignored, rejected, .. } = figures;
    let events = figures.events();
    let posting = stopwatch.elapsed();
    let report = PostedReport {
        entry_id,
        kind,
        events,
        counted,
        ignored,
        rejected,
        cells,
        interactions,
        records,
        reading,
        posting,
    };
    Ok(DayReport { day, outcome: Outcome::Posted(report) })
}

struct Counted {
    deltas: DayDeltas,
    figures: Figures,
    rejections: Vec<Rejection>,
}

/// Counts the day's events, less what is posted already.
async fn count(
    snapshot: &mut DaySnapshot<'_>,
    fingerprint: &Fingerprint,
    reader: &mut Reader,
    kind: EntryKind,
    head: EntryId,
) -> Result<Counted, Failure> {
    let day = snapshot.day();
    let overflow = |error: Overflow| {
        Failure::failed(format!("counting the events of {day} failed, nothing was posted"))
            .caused_by(error)
            .hint("look for events with absurd numbers: SELECT id, payload FROM stats WHERE … ORDER BY length(payload::text) DESC")
    };
    let mut aggregation = Aggregation::default();
    let rows = snapshot.for_each(|row| aggregation.add(row).map_err(overflow)).await?;
    let figures = aggregation.figures();
    if rows != fingerprint.rows || figures.events() != rows {
        return Err(Failure::failed(format!(
            "{day} has {} events in the source, but {rows} were read and {} accounted for: nothing was posted",
            fingerprint.rows,
            figures.events()
        ))
        .hint("each event must have one query at the most: look for ids that stand twice in the table queries"));
    }
    if kind == EntryKind::Correction {
        subtract_posted(reader, day, head, &mut aggregation).await?;
    }
    let (deltas, rejections) = aggregation.finish().map_err(overflow)?;
    Ok(Counted { deltas, figures, rejections })
}

async fn subtract_posted(
    reader: &mut Reader,
    day: Day,
    head: EntryId,
    aggregation: &mut Aggregation,
) -> Result<(), Failure> {
    reader
        .rows_of_day(day, EntryId::NONE, head, async |row: StoredRow| {
            let [items, queries, geocodes] = row.maps()?;
            let posted = PostedRow {
                cell: row.cell,
                count: row.count,
                total: row.total,
                maps: [&items.0, &queries.0, &geocodes.0],
            };
            aggregation.subtract(posted).map_err(|error| {
                Failure::failed(format!("comparing {day} with what is posted failed, nothing was posted"))
                    .caused_by(error)
            })
        })
        .await
}

/// The rejected events that the ledger does not hold yet, with their rows.
async fn keep_rejected(
    snapshot: &mut DaySnapshot<'_>,
    reader: &mut Reader,
    day: Day,
    mut rejections: Vec<Rejection>,
) -> Result<Vec<RejectedEvent>, Failure> {
    const BATCH: usize = 100;
    if rejections.is_empty() {
        return Ok(Vec::new());
    }
    let kept = reader.rejected_of(day).await?;
    rejections.retain(|rejection| !kept.contains(&rejection.source_id));
    let mut events = Vec::with_capacity(rejections.len());
    for batch in rejections.chunks(BATCH) {
        let ids: Vec<i64> = batch.iter().map(|rejection| rejection.source_id).collect();
        let mut rows = snapshot.keep(&ids).await?;
        for rejection in batch {
            let Some(place) = rows.iter().position(|row| row.source_id == rejection.source_id) else {
                return Err(Failure::failed(format!(
                    "event {} of {day} cannot be read a second time: nothing was posted",
                    rejection.source_id
                )));
            };
            events.push(RejectedEvent {
                source_id: rejection.source_id,
                reason: rejection.reason,
                message: rejection.message.clone(),
                row: rows.swap_remove(place).json,
            });
        }
    }
    events.sort_by_key(|event| event.source_id);
    Ok(events)
}

fn changed_from_to(entries: &[crate::ledger::read::Entry], now: &Fingerprint) -> String {
    let before = entries.last().map_or(0, |entry| entry.source_events);
    format!("the source had {before} events of the day when it was last posted, and has {} now", now.rows)
}

/// How the ledger's net of a day stands to a fresh count of its source.
#[derive(Debug)]
pub enum Recount {
    /// They are equal.
    Equal,
    /// The source no longer holds the day's events.
    Sealed,
    /// They differ.
    Different {
        /// Cells in which they differ.
        cells: usize,
        /// The first of them.
        first: Cell,
        /// Events in the source now.
        events_now: i64,
        /// Events in the source when the day's newest entry was posted.
        events_posted: i64,
    },
}

/// Counts a posted day's source again and compares it with the ledger's net, cell by cell and term by term.
pub async fn recount(source: &mut Source, reader: &mut Reader, day: Day) -> Result<Recount, Failure> {
    let mut snapshot = source.day(day).await?;
    let fingerprint = snapshot.fingerprint().await?;
    let events_posted = reader.entries_of(day).await?.last().map_or(0, |entry| entry.source_events);
    if fingerprint.rows == 0 && events_posted > 0 {
        return Ok(Recount::Sealed);
    }
    let head = reader.head().await?;
    let Counted { deltas, .. } = count(&mut snapshot, &fingerprint, reader, EntryKind::Correction, head).await?;
    let cells = deltas.rows().len();
    Ok(match deltas.rows().first() {
        None => Recount::Equal,
        Some(row) => Recount::Different { cells, first: row.cell, events_now: fingerprint.rows, events_posted },
    })
}
