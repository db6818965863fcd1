//! Decides what to do with an imported day. No IO.

use serde::Serialize;

use crate::aggregate::Sums;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Entry, EntryId, EntryKind};
use crate::text::counted;

/// Which of conflicting documents counts.
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

/// The documents of a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub day: Day,
    pub fingerprint: &'a str,
    pub sums: Sums,
    /// Recordsets whose documents conflict.
    pub conflicting: i64,
    /// Documents of the day that cannot be read.
    pub(super) unreadable: u64,
}

/// What ledger and source have of the day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    /// Oldest first.
    pub(super) entries: &'a [Entry],
    pub(super) net: Sums,
    /// `None` if the source was not checked.
    pub(super) source_events: Option<i64>,
    /// The first day that is not over yet.
    pub(super) today: Day,
}

/// How a day may be imported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Which of conflicting documents counts; `None` refuses the day.
    pub on_conflict: Option<OnConflict>,
    /// Whether to post the difference from the ledger, instead of refusing.
    pub replace: bool,
}

/// What to do with a day that is not refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Neither the ledger nor the source has the day: post its documents.
    Post,
    /// The ledger has it from documents with the same content.
    AlreadyImported { entry_id: EntryId },
    /// The ledger or the source has it, possibly the same.
    Compare(Holders),
}

/// What the ledger and the source have of a day, as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    pub ledger: Option<String>,
    source: Option<String>,
}

impl Holders {
    /// The error that refuses the documents, with all figures.
    pub(super) fn refusal(self, day: Day, sums: Sums) -> Error {
        let has: Vec<String> = self.ledger.into_iter().chain(self.source).collect();
        Error::new(
            ErrorKind::ImportRefused,
            format!(
                "{day} is refused: {}, and the documents have {}",
                has.join(", "),
                figures(sums)
            ),
        )
        .hint("the day is unchanged; if the documents are right, --replace posts the difference")
    }
}

/// Why the documents of a day cannot be imported, and the hint.
pub(super) fn unusable(candidate: Candidate<'_>, rules: Rules) -> Option<(String, &'static str)> {
    if candidate.unreadable > 0 {
        let documents = counted(candidate.unreadable, "document", "documents");
        let what = format!(
            "{documents} of it cannot be read, the others have {}",
            figures(candidate.sums)
        );
        return Some((
            what,
            "correct or remove the documents listed above, then run the command again",
        ));
    }
    if candidate.conflicting > 0 && rules.on_conflict.is_none() {
        let recordsets = counted(candidate.conflicting, "recordset", "recordsets");
        let what = format!("its documents conflict on {recordsets}");
        return Some((
            what,
            "compare the versions above, then choose with --on-conflict first, last or max",
        ));
    }
    None
}

/// Decides what to do, or refuses.
pub(super) fn judge(candidate: Candidate<'_>, standing: Standing<'_>) -> Result<Verdict, Error> {
    let Candidate { day, sums, .. } = candidate;
    if day >= standing.today {
        return Err(Error::new(
            ErrorKind::ImportRefused,
            format!(
                "{day} is refused: it is not over yet, its documents have {}",
                figures(sums)
            ),
        )
        .hint("import it when it is over"));
    }
    let in_effect = in_effect(standing.entries);
    if let Some(entry_id) = imported_as(candidate.fingerprint, &in_effect) {
        return Ok(Verdict::AlreadyImported { entry_id });
    }
    let newest = in_effect
        .iter()
        .rev()
        .find(|entry| entry.kind != EntryKind::Reversal);
    let is_quiet = sums == Sums::default();
    let of_ledger = newest
        .filter(|_| standing.net != Sums::default() || is_quiet)
        .map(|newest| {
            format!(
                "the ledger has {} of it ({} {})",
                figures(standing.net),
                newest.kind,
                newest.entry_id
            )
        });
    let of_source = standing
        .source_events
        .filter(|events| *events > 0)
        .map(|events| {
            format!(
                "the source has {} of it",
                counted(events, "event", "events")
            )
        });
    if of_ledger.is_none() && of_source.is_none() {
        return Ok(Verdict::Post);
    }
    Ok(Verdict::Compare(Holders {
        ledger: of_ledger,
        source: of_source,
    }))
}

/// Sums as text.
pub fn figures(sums: Sums) -> String {
    format!(
        "{}, {}",
        counted(
            i64::try_from(sums.count).unwrap_or(i64::MAX),
            "interaction",
            "interactions"
        ),
        counted(
            i64::try_from(sums.total).unwrap_or(i64::MAX),
            "record",
            "records"
        )
    )
}

/// The entries that are not reversed; a reversal may itself be reversed. Oldest first.
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

/// The import with this fingerprint, if the ledger still has exactly its content: nothing was posted on top, and
/// nothing beneath was reversed.
fn imported_as(fingerprint: &str, in_effect: &[&Entry]) -> Option<EntryId> {
    let newest = in_effect
        .iter()
        .rev()
        .find(|entry| entry.kind != EntryKind::Reversal)?;
    let is_it = newest.kind == EntryKind::Import && newest.source_fingerprint == fingerprint;
    let undermined = in_effect.iter().any(|entry| {
        entry.entry_id > newest.entry_id
            && entry
                .reverses
                .is_some_and(|reversed| reversed <= newest.entry_id)
    });
    (is_it && !undermined).then_some(newest.entry_id)
}

#[cfg(test)]
mod tests;
