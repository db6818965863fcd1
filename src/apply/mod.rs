//! Applying a day: makes the ledger agree with the source about the day.
//!
//! Reads what the ledger and the source have, compares them, and posts the difference. Can be repeated: a day whose
//! source is unchanged is left alone, so any number of runs posts one entry.

mod count;
pub mod date_ranges;
mod decision;
mod events;
mod rejected;

use std::time::Duration;

use serde::Serialize;

use count::{CountedDay, count_day};
pub(crate) use count::{CountingRows, CountingThread, subtract_posted};
pub use decision::{Decision, Refused, Rules, compare};
pub use events::{Events, Origin};

use crate::aggregate::{Cell, DayDeltas, EntrySums, Figures};
use crate::clock::{Stopwatch, timed};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use crate::hash::Hash;
use crate::ledger::current_entry::{current_entry, is_import, takes_back};
use crate::ledger::lock::Run;
use crate::ledger::post::{Header, Posting};
use crate::ledger::{Entry, EntryId, EntryKind, Ledger, PostedRows, Reader};
use crate::source::{Fingerprint, Source};
use crate::text::{Grouped, counted};
use crate::workspace::Workspace;

/// The result for a day.
#[derive(Debug, Serialize)]
pub struct DayReport {
    pub day: Day,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What was done with a day.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// An entry was posted, or would be in a dry run.
    Posted(PostedReport),
    /// The ledger agrees with the source.
    AlreadyApplied { entry_id: EntryId },
    /// The source no longer holds the day's events; the ledger keeps what it has.
    Sealed {
        entry_id: EntryId,
        /// The number of events when it was posted.
        posted_events: i64,
    },
    /// The day was reversed. It stays so.
    TakenBack {
        /// The reversal.
        entry_id: EntryId,
    },
    /// The day was imported, and the source has no events of it.
    Imported { entry_id: EntryId },
}

/// An entry that was posted, or would be in a dry run.
#[derive(Debug, Serialize)]
pub struct PostedReport {
    /// None in a dry run.
    pub entry_id: Option<EntryId>,
    /// Kept outside the database, it is a witness.
    pub entry_hash: Option<Hash>,
    pub kind: EntryKind,
    pub events: i64,
    pub counted: i64,
    pub ignored: i64,
    pub rejected: i64,
    /// By what the events were counted, if not by this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_by: Option<String>,
    #[serde(flatten)]
    pub sums: EntrySums,
    #[serde(rename = "read_seconds", serialize_with = "crate::text::as_seconds")]
    pub reading: Duration,
    #[serde(rename = "post_seconds", serialize_with = "crate::text::as_seconds")]
    pub posting: Duration,
}

/// A day that was applied, or needed nothing.
#[derive(Debug)]
pub struct Applied {
    pub report: DayReport,
    /// The entry with its rows, if it is the first of its day and fits in memory.
    pub posted_rows: Option<PostedRows>,
}

impl Applied {
    fn new(day: Day, outcome: Outcome, posted_rows: Option<PostedRows>) -> Self {
        Self {
            report: DayReport { day, outcome },
            posted_rows,
        }
    }
}

/// Applies a day, or returns why that needs a person's decision. Without a run, it only reports what it would post.
pub async fn apply_day(
    ledger: &Ledger,
    mut events: Events<'_>,
    reader: &mut Reader,
    mut run: Option<&mut Run>,
    rules: Rules,
    workspace: &Workspace,
) -> Result<Result<Applied, Refused>, Error> {
    let stopwatch = Stopwatch::start();
    let (day, origin) = (events.day(), events.origin());
    let fingerprint = events.fingerprint().await?;
    // All decisions below refer to this entry: the posting is refused if another one came in between.
    let head = reader.head().await?;
    let entries = reader.entries_of(day).await?;
    tracing::info!(%day, source_events = fingerprint.rows, entries = entries.len(), "comparing the day with its source");
    let found = |outcome| Ok(Ok(Applied::new(day, outcome, None)));
    let decision = match compare(day, &entries, &fingerprint, origin, rules) {
        Ok(decision) => decision,
        Err(refused) => return Ok(Err(refused)),
    };
    if let Decision::ImportedAndInSource { entry_id } = decision {
        return Err(refuse_imported(reader, day, entry_id, &fingerprint, origin).await?);
    }
    if let Some(outcome) = outcome_without_entry(&decision) {
        return found(outcome);
    }
    let kind = decision.entry_kind();
    failpoint::reach("apply.compared");
    let posted_through = (kind == EntryKind::Correction).then_some(head);
    let mut report = PostedReport::new(kind);
    report.counted_by = events.counted_by();
    let mut counted =
        count_day(&mut events, reader, &fingerprint, posted_through, workspace).await?;
    report.reading = stopwatch.elapsed();
    report.sums.spilled_bytes = counted.rows.spilled_bytes();
    // Documents are made from all entries of a day, so rows are worth keeping only if there is one entry. A batch of
    // several makes room for the next.
    let is_whole_day = entries.is_empty() && counted.rows.spilled_bytes() == 0;
    let newest = current_entry(&entries);
    // Imported counts may differ in either direction, and --replace accepts that.
    let may_decrease =
        kind == EntryKind::Apply || rules.accept_decrease || newest.is_some_and(is_import);
    let terms_complete = entries.iter().all(|entry| entry.terms_complete);
    let mut posting = None;
    while let Some(deltas) = timed(&mut report.reading, counted.rows.next_batch()).await? {
        if !may_decrease && let Err(refused) = refuse_decrease(day, &deltas, origin) {
            return Ok(Err(refused));
        }
        failpoint::reach("apply.counted");
        report.sums.add(&deltas);
        if let Some(run) = run.as_deref_mut()
            && !deltas.rows().is_empty()
        {
            let work = async {
                let posting = match &mut posting {
                    Some(posting) => posting,
                    none => none.insert(Posting::begin(ledger, run, head, day).await?),
                };
                if !terms_complete {
                    posting.take_incomplete_terms();
                }
                if is_whole_day {
                    posting.add_all_rows(deltas).await
                } else {
                    posting.add_rows(deltas).await
                }
            };
            timed(&mut report.posting, work).await?;
        }
    }
    let CountedDay {
        figures,
        rejections,
        ..
    } = counted;
    report.set_figures(figures);
    if let Some(newest) = newest
        && report.sums.cells == 0
        && is_from_the_same_events(newest, &fingerprint, figures)
    {
        return found(Outcome::AlreadyApplied {
            entry_id: newest.entry_id,
        });
    }
    let mut posted_rows = None;
    if let Some(run) = run {
        let stopwatch = Stopwatch::start();
        let mut posting = match posting {
            Some(posting) => posting,
            None => Posting::begin(ledger, run, head, day).await?,
        };
        let counted_by = report.counted_by.as_deref();
        let reason = reason(kind, newest, &fingerprint, origin, counted_by);
        let header = Header {
            kind,
            reverses: None,
            figures,
            fingerprint: fingerprint.text,
            reason,
        };
        rejected::keep(&mut events, reader, &mut posting, rejections).await?;
        let posted = posting.commit(run, header).await?;
        (report.entry_id, report.entry_hash) = (Some(posted.entry_id), Some(posted.entry_hash));
        report.posting += stopwatch.elapsed();
        posted_rows = posted.posted_rows;
    } else if let Events::Counted(sets) = &events {
        sets.check_rejected()?;
    }
    Ok(Ok(Applied::new(day, Outcome::Posted(report), posted_rows)))
}

/// Whether an entry was posted from the same events, as far as two fingerprints can tell: those of tables and those of
/// deltas have only a part in common.
fn is_from_the_same_events(entry: &Entry, now: &Fingerprint, figures: Figures) -> bool {
    let posted = [
        entry.source_counted,
        entry.source_ignored,
        entry.source_rejected,
    ];
    now.may_equal(&entry.source_fingerprint)
        && posted == [figures.counted, figures.ignored, figures.rejected]
}

/// The outcome of a day that needs no entry; none if it needs one.
fn outcome_without_entry(decision: &Decision) -> Option<Outcome> {
    match *decision {
        Decision::New | Decision::Changed => None,
        Decision::Unchanged { entry_id } => Some(Outcome::AlreadyApplied { entry_id }),
        Decision::Sealed {
            entry_id,
            posted_events,
        } => Some(Outcome::Sealed {
            entry_id,
            posted_events,
        }),
        Decision::TakenBack { entry_id } => Some(Outcome::TakenBack { entry_id }),
        Decision::Imported { entry_id } | Decision::ImportedAndInSource { entry_id } => {
            Some(Outcome::Imported { entry_id })
        }
    }
}

fn refuse_decrease(day: Day, deltas: &DayDeltas, origin: Origin) -> Result<(), Refused> {
    let Some(row) = deltas.decrease() else {
        return Ok(());
    };
    let what = match origin {
        Origin::Source => format!("the source's events of {day} now count less than was posted"),
        Origin::Deltas => format!("the deltas of {day} are less than was posted"),
    };
    let error = Error::new(
        ErrorKind::SourceDecreased,
        format!(
            "{what}: {}, count {}, total {}",
            row.cell,
            Grouped(row.count),
            Grouped(row.total)
        ),
    )
    .hint(format!(
        "the day stays as posted; if {} right, run `daybook apply {} --accept-decrease`",
        origin.is(),
        origin.options(day)
    ));
    Err(Refused(error))
}

/// The refusal of a day that was imported and is in the source, with both counts.
async fn refuse_imported(
    reader: &mut Reader,
    day: Day,
    entry_id: EntryId,
    now: &Fingerprint,
    origin: Origin,
) -> Result<Error, Error> {
    let net = reader.net_of_day(day).await?;
    Ok(Error::new(ErrorKind::DayImported, format!(
        "{day} was imported as entry {entry_id} ({}, {}), and {} {} {} of it",
        counted(net.count, "interaction", "interactions"),
        counted(net.total, "record", "records"),
        origin.subject(),
        origin.has(),
        counted(now.rows, "event", "events"),
    ))
    .hint(format!(
        "the day stays as imported; if {} right and whole, `daybook apply {} --replace` posts the difference",
        origin.is(),
        origin.options(day)
    )))
}

/// The reason of an entry, as text for people; none if there is nothing to say.
fn reason(
    kind: EntryKind,
    newest: Option<&Entry>,
    now: &Fingerprint,
    origin: Origin,
    counted_by: Option<&str>,
) -> Option<String> {
    let changed = (kind == EntryKind::Correction).then(|| changed_from_to(newest, now, origin));
    let counted_by = counted_by.map(|by| format!("counted by {by}"));
    match (changed, counted_by) {
        (Some(changed), Some(counted_by)) => Some(format!("{changed}; {counted_by}")),
        (changed, counted_by) => changed.or(counted_by),
    }
}

fn changed_from_to(newest: Option<&Entry>, now: &Fingerprint, origin: Origin) -> String {
    let before = newest.map_or(0, |entry| entry.source_events);
    if origin == Origin::Deltas {
        return format!(
            "the day was last posted from {}, and the deltas count {}",
            counted(before, "event", "events"),
            now.rows
        );
    }
    if before == now.rows {
        return format!(
            "the source's {} of the day have changed since it was last posted: their ids, queries, geocodes, types or payloads differ",
            counted(before, "event", "events")
        );
    }
    format!(
        "the source had {before} events of the day when it was last posted, and has {} now",
        now.rows
    )
}

impl PostedReport {
    fn new(kind: EntryKind) -> Self {
        Self {
            entry_id: None,
            entry_hash: None,
            kind,
            events: 0,
            counted: 0,
            ignored: 0,
            rejected: 0,
            counted_by: None,
            sums: EntrySums::default(),
            reading: Duration::ZERO,
            posting: Duration::ZERO,
        }
    }

    fn set_figures(&mut self, figures: Figures) {
        let Figures {
            counted,
            ignored,
            rejected,
            ..
        } = figures;
        (self.events, self.counted, self.ignored, self.rejected) =
            (figures.events(), counted, ignored, rejected);
    }
}

/// How the ledger's sums of a day compare with a fresh count of its source.
#[derive(Debug)]
pub enum Recount {
    /// They are equal.
    Equal,
    /// The source no longer has the day's events.
    Sealed,
    /// The day was reversed. It stays so, whatever the source has.
    Reversed,
    /// The day was imported.
    Imported {
        /// Whether the source has events of it, too.
        in_source: bool,
    },
    /// They differ.
    Different {
        /// Number of cells in which they differ.
        cells: usize,
        /// The first of them.
        first: Cell,
        events_now: i64,
        /// Events in the source when the day's current entry was posted.
        events_posted: i64,
    },
}

/// Counts a day's events again and compares the result with the ledger, cell by cell and term by term.
pub async fn recount(
    source: &mut Source,
    reader: &mut Reader,
    day: Day,
    workspace: &Workspace,
) -> Result<Recount, Error> {
    let mut events = Events::Source(source.day(day).await?);
    let fingerprint = events.fingerprint().await?;
    let entries = reader.entries_of(day).await?;
    let newest = current_entry(&entries);
    if newest.is_some_and(|newest| takes_back(newest, &entries)) {
        return Ok(Recount::Reversed);
    }
    if newest.is_some_and(is_import) {
        return Ok(Recount::Imported {
            in_source: fingerprint.rows > 0,
        });
    }
    let events_posted = newest.map_or(0, |entry| entry.source_events);
    if fingerprint.rows == 0 && events_posted > 0 {
        return Ok(Recount::Sealed);
    }
    let head = reader.head().await?;
    let counting = count_day(&mut events, reader, &fingerprint, Some(head), workspace);
    let mut counted = counting.await?;
    let (mut cells, mut first) = (0, None);
    while let Some(deltas) = counted.rows.next_batch().await? {
        cells += deltas.rows().len();
        first = first.or(deltas.rows().first().map(|row| row.cell));
    }
    Ok(match first {
        None => Recount::Equal,
        Some(first) => Recount::Different {
            cells,
            first,
            events_now: fingerprint.rows,
            events_posted,
        },
    })
}
