//! What became of each day, from the entries about it. No IO.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::day::{Day, Period};
use crate::ledger::{Entry, EntryId, EntryKind};

/// A day that has entries.
#[derive(Clone, Debug)]
pub struct PostedDay {
    /// Net interactions and records involved.
    pub count: i128,
    pub total: i128,
    /// Whether none of its entries has rows.
    pub is_quiet: bool,
    pub is_corrected: bool,
    pub is_imported: bool,
    /// Whether its newest entry reverses another one.
    pub is_reversed: bool,
}

impl PostedDay {
    /// What is special about the day, in words.
    pub fn remarks(&self) -> String {
        let remarks = [
            (self.is_quiet, "quiet"),
            (self.is_corrected, "corrected"),
            (self.is_imported, "imported"),
            (self.is_reversed, "reversed"),
        ];
        let named: Vec<&str> = remarks
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect();
        named.join(", ")
    }
}

/// All days with entries, earliest first.
pub fn posted_days(entries: &[Entry]) -> BTreeMap<Day, PostedDay> {
    let kinds: FxHashMap<EntryId, EntryKind> = entries
        .iter()
        .map(|entry| (entry.entry_id, entry.kind))
        .collect();
    let mut days = BTreeMap::new();
    for entry in entries {
        let day = days.entry(entry.day).or_insert(PostedDay {
            count: 0,
            total: 0,
            is_quiet: true,
            is_corrected: false,
            is_imported: false,
            is_reversed: false,
        });
        for total in &entry.totals.0 {
            day.count += total.count;
            day.total += total.total;
        }
        day.is_quiet &= entry.delta_rows == 0;
        day.is_corrected |= entry.kind == EntryKind::Correction;
        day.is_imported |= entry.kind == EntryKind::Import;
        let reversed_kind = entry.reverses.and_then(|reversed| kinds.get(&reversed));
        day.is_reversed = reversed_kind.is_some_and(|kind| *kind != EntryKind::Reversal);
    }
    days
}

/// The days between the first and the last that have no entry, as ranges.
pub fn gaps(days: &BTreeMap<Day, PostedDay>) -> Vec<Period> {
    let after = days.keys().skip(1);
    days.keys()
        .zip(after)
        .filter_map(|(day, after)| Period::new(day.next(), after.previous()))
        .collect()
}
