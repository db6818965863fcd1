//! Posts a day's documents as one entry of kind `import`.

use super::difference::Subtraction;
use super::staging::{StagedDay, Staging};
use super::verdict::OnConflict;
use crate::aggregate::Figures;
use crate::day::Day;
use crate::error::Error;
use crate::ledger::lock::Run;
use crate::ledger::post::{Header, Posted, Posting};
use crate::ledger::{Entry, EntryId, EntryKind, Ledger, Reader};
use crate::workspace::Workspace;

/// A day to post.
#[derive(Debug)]
pub(super) struct ToPost<'a> {
    pub(super) day: Day,
    pub(super) staged: &'a StagedDay,
    pub(super) rule: Option<OnConflict>,
    /// The newest entry of the ledger when the decision was made.
    pub(super) head: EntryId,
    /// The day's entries in the ledger.
    pub(super) entries: &'a [Entry],
    pub(super) reason: String,
    pub(super) workspace: Workspace,
}

/// Posts the difference between the documents and the ledger; `None` if there is none.
pub(super) async fn post_day(
    ledger: &Ledger,
    reader: &mut Reader,
    staging: &mut Staging,
    run: &mut Run,
    to_post: ToPost<'_>,
) -> Result<Option<Posted>, Error> {
    let ToPost {
        day,
        staged,
        rule,
        head,
        entries,
        reason,
        workspace,
    } = to_post;
    let mut subtraction = Subtraction::new(day, rule, entries, head, workspace);
    let mut posting = None;
    while let Some(deltas) = subtraction.next(reader, staging).await? {
        if deltas.rows().is_empty() {
            continue;
        }
        let posting = match &mut posting {
            Some(posting) => posting,
            none => none.insert(begin(ledger, run, head, day, staged, entries).await?),
        };
        posting.add_rows(deltas).await?;
    }
    let posting = match posting {
        Some(posting) => posting,
        // The ledger already has exactly this day, from elsewhere.
        None if subtraction.replaces() => return Ok(None),
        None => begin(ledger, run, head, day, staged, entries).await?,
    };
    let header = Header {
        kind: EntryKind::Import,
        reverses: None,
        figures: Figures::default(),
        fingerprint: staged.fingerprint.clone(),
        reason: Some(reason),
    };
    posting.commit(run, header).await.map(Some)
}

async fn begin(
    ledger: &Ledger,
    run: &mut Run,
    head: EntryId,
    day: Day,
    staged: &StagedDay,
    entries: &[Entry],
) -> Result<Posting, Error> {
    let mut posting = Posting::begin(ledger, run, head, day).await?;
    if staged.incomplete > 0 || entries.iter().any(|entry| !entry.terms_complete) {
        posting.take_incomplete_terms();
    }
    Ok(posting)
}
