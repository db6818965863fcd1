//! Which entry determines the current state of a day. No IO.

use super::entry::{Entry, EntryKind};

/// The entry that determines the current state of a day, given all its entries, oldest first. This is the newest entry,
/// unless it only reverses the reversal before it: then both cancel out. None if there are no entries.
pub fn current_entry(entries: &[Entry]) -> Option<&Entry> {
    let mut entries = entries;
    while let [before @ .., reversal, newest] = entries
        && is_reversal(reversal)
        && newest.reverses == Some(reversal.entry_id)
    {
        entries = before;
    }
    entries.last()
}

/// Whether the entry reverses a posting. The reversal of a reversal does not: it restores the posting.
pub fn takes_back(current_entry: &Entry, entries: &[Entry]) -> bool {
    let reversed = entries
        .iter()
        .find(|entry| Some(entry.entry_id) == current_entry.reverses);
    reversed.is_some_and(|reversed| !is_reversal(reversed))
}

/// Whether a person decided the current state of the day: it was imported or reversed.
pub fn is_decided(entries: &[Entry]) -> bool {
    current_entry(entries)
        .is_some_and(|current_entry| is_import(current_entry) || takes_back(current_entry, entries))
}

pub fn is_import(entry: &Entry) -> bool {
    entry.kind == EntryKind::Import
}

fn is_reversal(entry: &Entry) -> bool {
    entry.kind == EntryKind::Reversal
}

/// An arbitrary entry.
#[cfg(test)]
pub(crate) fn entry_of_tests(number: i64) -> Entry {
    let hash = crate::hash::Hash::sha256(number.to_string());
    Entry {
        entry_id: number.to_string().parse().unwrap(),
        day: "2020-02-16".parse().unwrap(),
        kind: EntryKind::Apply,
        reverses: None,
        reversed_by: None,
        run_id: uuid::Uuid::nil(),
        rule_version: 1,
        tool_version: String::new(),
        source_events: 0,
        source_counted: 0,
        source_ignored: 0,
        source_rejected: 0,
        source_fingerprint: String::new(),
        delta_rows: 0,
        terms_complete: true,
        totals: sqlx::types::Json(Vec::new()),
        content_hash: hash,
        rejected_hash: hash,
        previous_hash: hash,
        entry_hash: hash,
        reason: None,
        posted_by: String::new(),
        posted_at: chrono::DateTime::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of these kinds, with the entries they reverse, numbered from 1.
    fn entries(of: &[(EntryKind, Option<i64>)]) -> Vec<Entry> {
        let entry = |(number, (kind, reverses)): (i64, &(EntryKind, Option<i64>))| Entry {
            kind: *kind,
            reverses: reverses.map(|number| number.to_string().parse().unwrap()),
            ..entry_of_tests(number)
        };
        (1..).zip(of).map(entry).collect()
    }

    #[test]
    fn a_reversal_and_its_reversal_leave_the_day_as_it_stood_before() {
        const APPLY: (EntryKind, Option<i64>) = (EntryKind::Apply, None);
        let reversal = |of| (EntryKind::Reversal, Some(of));
        for (of, stands, is_taken_back) in [
            (&[APPLY][..], 1, false),
            (&[APPLY, (EntryKind::Correction, None)], 2, false),
            (&[APPLY, reversal(1)], 2, true),
            (&[APPLY, reversal(1), reversal(2)], 1, false),
            (&[APPLY, reversal(1), reversal(2), reversal(3)], 2, true),
            (
                &[APPLY, reversal(1), reversal(2), reversal(3), reversal(4)],
                1,
                false,
            ),
            (
                &[APPLY, reversal(1), (EntryKind::Correction, None)],
                3,
                false,
            ),
            // Restored after it had been applied again: the day counts twice, which nobody intended.
            (
                &[
                    APPLY,
                    reversal(1),
                    (EntryKind::Correction, None),
                    reversal(2),
                ],
                4,
                false,
            ),
        ] {
            let entries = entries(of);
            let current_entry = current_entry(&entries).unwrap();
            assert_eq!(current_entry.entry_id.number(), stands, "{of:?}");
            assert_eq!(takes_back(current_entry, &entries), is_taken_back, "{of:?}");
        }
        assert!(current_entry(&[]).is_none());
    }

    #[test]
    fn what_was_imported_is_decided_also_when_it_is_restored() {
        assert!(is_decided(&entries(&[(EntryKind::Import, None)])));
        assert!(is_decided(&entries(&[
            (EntryKind::Import, None),
            (EntryKind::Reversal, Some(1))
        ])));
        assert!(is_decided(&entries(&[
            (EntryKind::Import, None),
            (EntryKind::Reversal, Some(1)),
            (EntryKind::Reversal, Some(2))
        ])));
        assert!(!is_decided(&entries(&[
            (EntryKind::Apply, None),
            (EntryKind::Reversal, Some(1)),
            (EntryKind::Reversal, Some(2))
        ])));
    }
}
