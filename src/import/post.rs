//! Posting a day's documents, in as many parts as the memory asks for: one entry of the kind import.

use uuid::Uuid;

use super::document;
use super::staging::{StagedDay, Staging};
use super::verdict::OnConflict;
use crate::aggregate::{Aggregation, Figures, Overflow, PostedRow};
use crate::apply::subtract_posted;
use crate::config::Memory;
use crate::day::Day;
use crate::failure::Failure;
use crate::ledger::lock::Run;
use crate::ledger::post::{Header, Posting};
use crate::ledger::read::{Entry, Reader};
use crate::ledger::{EntryId, EntryKind, Ledger};

/// A day that is to be posted.
#[derive(Debug)]
pub(super) struct ToPost<'a> {
    pub(super) day: Day,
    pub(super) staged: &'a StagedDay,
    pub(super) rule: Option<OnConflict>,
    /// The newest entry of the ledger, as of which it was decided.
    pub(super) head: EntryId,
    /// What the ledger has of the day.
    pub(super) entries: &'a [Entry],
    pub(super) reason: String,
    pub(super) memory: Memory,
}

/// What was posted.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) entry_id: EntryId,
    pub(super) entry_hash: String,
    pub(super) cells: u64,
}

/// Why a document cannot be added up.
#[derive(Debug, thiserror::Error)]
enum NotAdded {
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Body(#[from] serde_json::Error),
}

/// Posts what the documents have more or less than the ledger; nothing comes back where that is nothing.
pub(super) async fn post_day(
    ledger: &Ledger,
    reader: &mut Reader,
    staging: &mut Staging,
    run: &mut Run,
    to_post: ToPost<'_>,
) -> Result<Option<Posted>, Failure> {
    let ToPost { day, staged, rule, head, entries, reason, memory } = to_post;
    let replaces = entries.iter().any(|entry| entry.delta_rows > 0);
    let mut posting = None;
    let mut next = Some(Uuid::nil());
    while let Some(from) = next {
        let mut aggregation =
            add_documents(staging, day, rule, Aggregation::of_part(from, memory.for_counting()), from).await?;
        if replaces {
            aggregation = subtract_posted(reader, day, head, aggregation).await?;
        }
        let finishing = tokio::task::spawn_blocking(move || aggregation.finish()).await;
        let finished = finishing.map_err(|error| adding_up(day).caused_by(error))?;
        let part = finished.map_err(|error| adding_up(day).caused_by(error))?;
        next = part.next;
        if part.deltas.rows().is_empty() {
            continue;
        }
        let posting = match &mut posting {
            Some(posting) => posting,
            none => none.insert(begin(ledger, run, head, day, staged, entries).await?),
        };
        posting.add_rows(part.deltas).await?;
    }
    let mut posting = match posting {
        Some(posting) => posting,
        // The ledger has the day to the term, from elsewhere.
        None if replaces => return Ok(None),
        None => begin(ledger, run, head, day, staged, entries).await?,
    };
    let header = Header {
        kind: EntryKind::Import,
        reverses: None,
        figures: Figures::default(),
        fingerprint: staged.fingerprint.clone(),
        reason: Some(reason),
    };
    posting.write_header(run, header).await?;
    let posted = posting.commit(run).await?;
    Ok(Some(Posted { entry_id: posted.entry_id, entry_hash: posted.entry_hash, cells: posted.delta_rows }))
}

async fn begin(
    ledger: &Ledger,
    run: &mut Run,
    head: EntryId,
    day: Day,
    staged: &StagedDay,
    entries: &[Entry],
) -> Result<Posting, Failure> {
    let mut posting = Posting::begin(ledger, run, head, day).await?;
    if staged.incomplete > 0 || entries.iter().any(|entry| !entry.terms_complete) {
        posting.take_incomplete_terms();
    }
    Ok(posting)
}

/// Adds the documents that count, from a recordset on.
async fn add_documents(
    staging: &mut Staging,
    day: Day,
    rule: Option<OnConflict>,
    mut aggregation: Aggregation,
    from: Uuid,
) -> Result<Aggregation, Failure> {
    let add = |recordset_id, body: &str| {
        let add_cell = |cell: PostedRow<'_>| aggregation.add_counted(cell).map_err(NotAdded::from);
        document::for_each_cell(recordset_id, body, add_cell).map_err(|error| adding_up(day).caused_by(error))
    };
    staging.bodies(day, rule, from, add).await?;
    Ok(aggregation)
}

fn adding_up(day: Day) -> Failure {
    Failure::failed(format!("adding up the documents of {day} failed, nothing was posted"))
}
