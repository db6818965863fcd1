//! Reversing an entry: posts its negation, once.
//!
//! The rows of the entry are read and negated, within the memory limit. The reversal belongs to the
//! entry's day and has no source events, so the day can be applied again. Reversing a reversal restores the original
//! entry.

use serde::Serialize;

use crate::aggregate::{Aggregation, EntrySums, Figures, Overflow};
use crate::apply::{CountingRows, CountingThread};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use crate::hash::Hash;
use crate::ledger::lock::Run;
use crate::ledger::post::{Header, Posting};
use crate::ledger::{Entry, EntryId, EntryKind, Ledger, Reader};
use crate::workspace::Workspace;

/// What was posted, or would be.
#[derive(Debug, Serialize)]
pub struct Report {
    /// None in a dry run.
    pub entry_id: Option<EntryId>,
    pub entry_hash: Option<Hash>,
    pub day: Day,
    pub reverses: EntryId,
    /// The kind of the entry that is reversed.
    pub reversed_kind: EntryKind,
    /// The entry that counts again, if the reversed entry is a reversal.
    pub restores: Option<EntryId>,
    /// If an entry counts again: the entries posted for the day since it was reversed, which still count.
    pub posted_since: Vec<EntryId>,
    #[serde(flatten)]
    pub sums: EntrySums,
}

/// Reverses an entry. Without a run, only reports what it would post.
pub async fn reverse(
    ledger: &Ledger,
    reader: &mut Reader,
    mut run: Option<&mut Run>,
    entry_id: EntryId,
    reason: &str,
    workspace: &Workspace,
) -> Result<Report, Error> {
    // The decisions below depend on this entry: the posting is refused if another one was posted since.
    let head = reader.head().await?;
    let entry = find(reader, entry_id, head).await?;
    let mut report = Report::of(&entry, &reader.entries_of(entry.day).await?);
    failpoint::reach("reverse.decided");
    let mut posting = match run.as_deref_mut() {
        Some(run) => Some(Posting::begin(ledger, run, head, entry.day).await?),
        None => None,
    };
    if let Some(posting) = posting.as_mut().filter(|_| !entry.terms_complete) {
        posting.take_incomplete_terms();
    }
    let mut opposite = opposite(reader, &entry, workspace).await?;
    report.sums.spilled_bytes = opposite.spilled_bytes();
    while let Some(deltas) = opposite.next_batch().await? {
        report.sums.add(&deltas);
        if let Some(posting) = &mut posting {
            posting.add_rows(deltas).await?;
        }
    }
    if let (Some(run), Some(posting)) = (run, posting) {
        let header = Header {
            kind: EntryKind::Reversal,
            reverses: Some(entry_id),
            figures: Figures::default(),
            fingerprint: String::new(),
            reason: Some(reason.to_owned()),
        };
        let posted = posting.commit(run, header).await?;
        (report.entry_id, report.entry_hash) = (Some(posted.entry_id), Some(posted.entry_hash));
    }
    Ok(report)
}

/// The entry; fails if it does not exist or was reversed already.
async fn find(reader: &mut Reader, entry_id: EntryId, head: EntryId) -> Result<Entry, Error> {
    let Some(entry) = reader.entry(entry_id).await? else {
        return Err(Error::new(
            ErrorKind::EntryMissing,
            format!("there is no entry {entry_id} to reverse: the newest is {head}"),
        )
        .hint("`daybook log` lists the entries"));
    };
    if let Some(reversal) = entry.reversed_by {
        return Err(Error::new(ErrorKind::AlreadyReversed, format!("entry {entry_id} was already reversed by entry {reversal}")).hint(format!(
            "nothing was posted; to make entry {entry_id} count again, run `daybook reverse {reversal} --reason …`; to count the day's events again, run `daybook apply --day {}`",
            entry.day
        )));
    }
    Ok(entry)
}

/// Negates the rows of an entry.
async fn opposite(
    reader: &mut Reader,
    entry: &Entry,
    workspace: &Workspace,
) -> Result<CountingRows, Error> {
    let entry_id = entry.entry_id;
    let overflow = move |error: Overflow| {
        Error::new(
            ErrorKind::LedgerDamaged,
            format!("negating entry {entry_id} failed; nothing was posted"),
        )
        .caused_by(error)
    };
    let thread = CountingThread::start()?;
    let mut opposite = Aggregation::new(workspace).expecting(entry.delta_rows);
    let (mut stored, mut rows) = (reader.rows_of_entry(entry_id), 0);
    while let Some(row) = stored.next().await? {
        rows += 1;
        row.subtract_from(&mut opposite, overflow)?;
    }
    if rows != entry.delta_rows {
        let said = entry.delta_rows;
        return Err(Error::new(ErrorKind::LedgerDamaged, format!(
            "entry {entry_id} has {rows} rows, but its header says {said}: nothing was posted"
        ))
        .hint(
            "somebody has tampered with the ledger: `daybook verify --ledger` reports what is wrong",
        ));
    }
    let (rows, ..) = thread.finish(opposite, overflow).await?;
    Ok(rows)
}

impl Report {
    /// The report of a reversal without its sums; `entries` are those of the day.
    fn of(entry: &Entry, entries: &[Entry]) -> Self {
        let restores = entry.reverses;
        let posted_since = entries.iter().map(|other| other.entry_id);
        let posted_since = posted_since
            .filter(|other| restores.is_some() && *other > entry.entry_id)
            .collect();
        Self {
            entry_id: None,
            entry_hash: None,
            day: entry.day,
            reverses: entry.entry_id,
            reversed_kind: entry.kind,
            restores,
            posted_since,
            sums: EntrySums::default(),
        }
    }
}
