//! What there is to do for an imported day. Pure.

use serde::Serialize;

use crate::aggregate::Sums;
use crate::day::Day;
use crate::failure::Failure;
use crate::ledger::read::Entry;
use crate::ledger::{EntryId, EntryKind};
use crate::output::counted;

/// Which of contradicting documents counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The one that is read first
    First,
    /// The one that is read last
    Last,
    /// The one with the larger total; of the same total the larger count, of the same count the later
    Max,
}

/// What the documents of a day are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) day: Day,
    pub(super) fingerprint: &'a str,
    pub(super) sums: Sums,
    /// Recordsets whose documents contradict each other.
    pub(super) contradicting: i64,
    /// Documents of the day that cannot be read.
    pub(super) unreadable: u64,
}

/// What ledger and source have of the day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    /// Oldest first.
    pub(super) entries: &'a [Entry],
    pub(super) net: Sums,
    /// None if the source was not looked at.
    pub(super) source_events: Option<i64>,
    /// The first day that is not over yet.
    pub(super) today: Day,
}

/// How a day may be imported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Which of contradicting documents counts; none refuses the day.
    pub on_conflict: Option<OnConflict>,
    /// Whether the difference to what the ledger has is posted, instead of refusing.
    pub replace: bool,
}

/// What is done with a day that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its documents are posted; of a day that the ledger has, the difference.
    Post,
    /// The ledger has it from documents that say the same.
    AlreadyImported { entry_id: EntryId },
}

/// Decides, or refuses with both figures and the way out.
pub(super) fn judge(candidate: Candidate<'_>, standing: Standing<'_>, rules: Rules) -> Result<Verdict, Failure> {
    let Candidate { day, sums, .. } = candidate;
    if candidate.unreadable > 0 {
        let documents = counted(candidate.unreadable, "document", "documents");
        return Err(Failure::failed(format!(
            "{day} is refused: {documents} of it cannot be read, the others have {}",
            figures(sums)
        ))
        .hint("put right or take out what is listed above by its place, then import the day again"));
    }
    if candidate.contradicting > 0 && rules.on_conflict.is_none() {
        let recordsets = counted(candidate.contradicting, "recordset", "recordsets");
        return Err(Failure::failed(format!("{day} is refused: its documents contradict each other on {recordsets}"))
            .hint("look at both versions above; --on-conflict first, last or max says which of them counts"));
    }
    if day >= standing.today {
        return Err(Failure::failed(format!(
            "{day} is refused: it is not over yet, its documents have {}",
            figures(sums)
        ))
        .hint("import it when it is over"));
    }
    let in_effect = in_effect(standing.entries);
    if let Some(entry_id) = imported_as(candidate.fingerprint, &in_effect) {
        return Ok(Verdict::AlreadyImported { entry_id });
    }
    if rules.replace {
        return Ok(Verdict::Post);
    }
    let newest = in_effect.iter().rev().find(|entry| entry.kind != EntryKind::Reversal.name());
    let has_net = standing.net != Sums::default() && newest.is_some();
    let of_ledger = newest
        .filter(|_| has_net)
        .map(|newest| format!("the ledger has {} of it ({} {})", figures(standing.net), newest.kind, newest.entry_id));
    let of_source = standing
        .source_events
        .filter(|events| *events > 0)
        .map(|events| format!("the source has {} of it", counted(events, "event", "events")));
    let has: Vec<String> = of_ledger.into_iter().chain(of_source).collect();
    if has.is_empty() {
        return Ok(Verdict::Post);
    }
    Err(Failure::failed(format!("{day} is refused: {}, and the documents have {}", has.join(", "), figures(sums)))
        .hint("the day stays as it is; if the documents are right, --replace posts the difference"))
}

/// Sums in words.
fn figures(sums: Sums) -> String {
    format!(
        "{}, {}",
        counted(i64::try_from(sums.count).unwrap_or(i64::MAX), "interaction", "interactions"),
        counted(i64::try_from(sums.total).unwrap_or(i64::MAX), "record", "records")
    )
}

/// The entries that no reversal has taken back, which one may have been taken back itself. Oldest first.
fn in_effect(entries: &[Entry]) -> Vec<&Entry> {
    let mut taken_back = Vec::new();
    let mut in_effect = Vec::new();
    for entry in entries.iter().rev() {
        if !taken_back.contains(&entry.entry_id) {
            taken_back.extend(entry.reverses);
            in_effect.push(entry);
        }
    }
    in_effect.reverse();
    in_effect
}

/// The import with this fingerprint whose content the ledger still has: nothing was posted on top, nothing beneath was
/// taken away.
fn imported_as(fingerprint: &str, in_effect: &[&Entry]) -> Option<EntryId> {
    let newest = in_effect.iter().rev().find(|entry| entry.kind != EntryKind::Reversal.name())?;
    let is_it = newest.kind == EntryKind::Import.name() && newest.source_fingerprint == fingerprint;
    let undermined = in_effect.iter().any(|entry| {
        entry.entry_id > newest.entry_id && entry.reverses.is_some_and(|reversed| reversed <= newest.entry_id)
    });
    (is_it && !undermined).then_some(newest.entry_id)
}

#[cfg(test)]
mod tests;
