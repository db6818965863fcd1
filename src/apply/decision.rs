//! Decides what to do with a day. No IO.

use super::events::Origin;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::ledger::current_entry::{current_entry, is_import, takes_back};
use crate::ledger::{Entry, EntryId, EntryKind};
use crate::source::Fingerprint;
use crate::text::counted;

/// How to apply a day.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Post a correction if a day has fewer events than were posted, instead of refusing.
    pub accept_decrease: bool,
    /// Post the difference between an imported day and its source, instead of refusing.
    pub replace: bool,
    /// Also apply a day that was reversed.
    pub anew: bool,
}

/// How the ledger and the source compare for a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The ledger has no entry of the day.
    New,
    /// The ledger has the day, counted from the same events.
    Unchanged { entry_id: EntryId },
    /// The ledger has the day, but the source now has different events.
    Changed,
    /// The ledger has the day, but the source no longer has its events.
    Sealed {
        entry_id: EntryId,
        /// The number of events when it was posted.
        posted_events: i64,
    },
    /// The day was reversed.
    TakenBack {
        /// The reversal.
        entry_id: EntryId,
    },
    /// The day was imported, and the source has no events of it.
    Imported { entry_id: EntryId },
    /// The day was imported, and the source has events of it, too.
    ImportedAndInSource { entry_id: EntryId },
}

impl Decision {
    /// The kind of the entry that follows, if one does.
    pub fn entry_kind(self) -> EntryKind {
        match self {
            Self::New => EntryKind::Apply,
            _ => EntryKind::Correction,
        }
    }
}

/// The refusal to change a day without a person's decision.
#[derive(Debug)]
pub struct Refused(pub Error);

/// Compares the entries of a day, oldest first, with the fingerprint of its source. Only the day's current entry
/// counts.
///
/// Refuses a day whose source has fewer events than before, unless the rules accept that.
pub fn compare(
    day: Day,
    entries: &[Entry],
    source: &Fingerprint,
    origin: Origin,
    rules: Rules,
) -> Result<Decision, Refused> {
    let Some(newest) = current_entry(entries) else {
        // Deltas of no events are those of a job that did not find its input.
        if origin == Origin::Deltas && source.rows == 0 && !rules.accept_decrease {
            let error = Error::new(ErrorKind::SourceDecreased, format!("the deltas count no events of {day}")).hint(
                "check what they were counted from; if the day really has no events, add --accept-decrease",
            );
            return Err(Refused(error));
        }
        return Ok(Decision::New);
    };
    let entry_id = newest.entry_id;
    if is_import(newest) {
        return Ok(match source.rows {
            0 => Decision::Imported { entry_id },
            _ if rules.replace => Decision::Changed,
            _ => Decision::ImportedAndInSource { entry_id },
        });
    }
    if takes_back(newest, entries) && !rules.anew {
        return Ok(Decision::TakenBack { entry_id });
    }
    // Events that were edited in place may have the same fingerprint: --accept-decrease counts them again.
    if newest.source_fingerprint == source.text && !rules.accept_decrease {
        return Ok(Decision::Unchanged { entry_id });
    }
    if source.rows < newest.source_events && !rules.accept_decrease {
        // Tables are purged.
        if source.rows == 0 && origin == Origin::Source {
            return Ok(Decision::Sealed {
                entry_id,
                posted_events: newest.source_events,
            });
        }
        let error = Error::new(
            ErrorKind::SourceDecreased,
            format!(
                "{} {} {} of {day}, but {} {} when entry {entry_id} was posted",
                origin.subject(),
                origin.has(),
                counted(source.rows, "event", "events"),
                origin.had(),
                counted(newest.source_events, "event", "events"),
            ),
        )
        .hint(format!(
            "the day stays as posted; if {} right, run `daybook apply {} --accept-decrease`",
            origin.is(),
            origin.options(day)
        ));
        return Err(Refused(error));
    }
    Ok(Decision::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::EntryKind;
    use crate::ledger::current_entry::entry_of_tests;

    fn rules() -> Rules {
        Rules {
            accept_decrease: false,
            replace: false,
            anew: false,
        }
    }

    fn entry(number: i64, rows: i64, text: &str) -> Entry {
        Entry {
            source_events: rows,
            source_fingerprint: text.to_owned(),
            ..entry_of_tests(number)
        }
    }

    #[test]
    fn the_newest_entry_is_compared_with_the_source() {
        let day: Day = "2020-02-16".parse().unwrap();
        let entries = [entry(1, 5, "five"), entry(4, 7, "seven")];
        let entry_id = entries[1].entry_id;
        let find = |entries: &[Entry], rows, text: &str, accept_decrease| {
            compare(
                day,
                entries,
                &Fingerprint {
                    rows,
                    text: text.to_owned(),
                },
                Origin::Source,
                Rules {
                    accept_decrease,
                    ..rules()
                },
            )
        };
        assert_eq!(find(&[], 7, "seven", false).unwrap(), Decision::New);
        assert_eq!(
            find(&entries, 7, "seven", false).unwrap(),
            Decision::Unchanged { entry_id }
        );
        assert_eq!(find(&entries, 7, "seven", true).unwrap(), Decision::Changed);
        assert_eq!(
            find(&entries, 8, "eight", false).unwrap(),
            Decision::Changed
        );
        assert_eq!(
            find(&entries, 7, "other seven", false).unwrap(),
            Decision::Changed
        );
        assert_eq!(
            find(&entries, 0, "none", false).unwrap(),
            Decision::Sealed {
                entry_id,
                posted_events: 7
            }
        );
        assert_eq!(find(&entries, 5, "five", true).unwrap(), Decision::Changed);
        let Refused(refusal) = find(&entries, 5, "five", false).unwrap_err();
        assert!(
            refusal
                .message()
                .contains("5 events of 2020-02-16, but had 7 events when entry 4")
        );
        assert!(refusal.hint_text().unwrap().contains("--accept-decrease"));
    }

    #[test]
    fn an_imported_day_is_replaced_by_its_source_only_if_the_rules_say_so() {
        let day: Day = "2020-02-16".parse().unwrap();
        let imported = Entry {
            kind: EntryKind::Import,
            ..entry(3, 0, "import:…")
        };
        let entry_id = imported.entry_id;
        let find = |rows, replace| {
            let source = Fingerprint {
                rows,
                text: rows.to_string(),
            };
            compare(
                day,
                std::slice::from_ref(&imported),
                &source,
                Origin::Source,
                Rules { replace, ..rules() },
            )
            .unwrap()
        };
        assert_eq!(find(0, true), Decision::Imported { entry_id });
        assert_eq!(find(7, false), Decision::ImportedAndInSource { entry_id });
        assert_eq!(find(7, true), Decision::Changed);
    }
    #[test]
    fn a_day_that_was_taken_back_stays_so_unless_it_is_named_and_one_that_was_restored_is_as_before()
     {
        let day: Day = "2020-02-16".parse().unwrap();
        let reversal = |number: i64, of: &Entry| Entry {
            kind: EntryKind::Reversal,
            reverses: Some(of.entry_id),
            ..entry(number, 0, "")
        };
        let applied = entry(1, 7, "seven");
        let taken_back = reversal(2, &applied);
        let restored = reversal(3, &taken_back);
        let find = |entries: &[Entry], rows, text: &str, anew| {
            let rules = Rules { anew, ..rules() };
            compare(
                day,
                entries,
                &Fingerprint {
                    rows,
                    text: text.to_owned(),
                },
                Origin::Source,
                rules,
            )
            .unwrap()
        };
        let entry_id = applied.entry_id;
        let entries = [applied, taken_back, restored];
        assert_eq!(
            find(&entries[..2], 7, "seven", false),
            Decision::TakenBack {
                entry_id: entries[1].entry_id
            }
        );
        assert_eq!(find(&entries[..2], 7, "seven", true), Decision::Changed);
        for anew in [false, true] {
            assert_eq!(
                find(&entries, 7, "seven", anew),
                Decision::Unchanged { entry_id }
            );
            assert_eq!(find(&entries, 8, "eight", anew), Decision::Changed);
            assert_eq!(
                find(&entries, 0, "none", anew),
                Decision::Sealed {
                    entry_id,
                    posted_events: 7
                }
            );
        }
    }
}
