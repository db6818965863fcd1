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

/// Consecutive days without an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    pub days: Period,
    pub why: WhyMissing,
}

/// Where days without an entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyMissing {
    /// Between the ledger's first day and its last.
    Gap,
    BeforeTheFirst,
    AfterTheLast,
}

/// The days of a period that have no entry, as ranges. `whole` are the days from the ledger's first to its last.
pub fn missing(
    days: &BTreeMap<Day, PostedDay>,
    shown: Period,
    whole: Option<Period>,
) -> Vec<Missing> {
    let why = |day: Day| match whole {
        Some(whole) if day < whole.from() => WhyMissing::BeforeTheFirst,
        Some(whole) if day <= whole.to() => WhyMissing::Gap,
        _ => WhyMissing::AfterTheLast,
    };
    let mut all: Vec<Missing> = Vec::new();
    for day in shown.days().filter(|day| !days.contains_key(day)) {
        let why = why(day);
        let before = all
            .pop_if(|last| last.why == why && last.days.to().next() == day)
            .map_or(day, |last| last.days.from());
        all.extend(Period::new(before, day).map(|days| Missing { days, why }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_without_an_entry_are_gaps_only_between_the_first_day_and_the_last() {
        let posted = PostedDay {
            count: 1,
            total: 1,
            is_quiet: false,
            is_corrected: false,
            is_imported: false,
            is_reversed: false,
        };
        let days: BTreeMap<Day, PostedDay> = ["2020-02-12", "2020-02-15"]
            .map(|day| (day.parse().unwrap(), posted.clone()))
            .into();
        let period = |from: &str, to: &str| Period::new(from.parse().unwrap(), to.parse().unwrap());
        let found = |shown: Option<Period>, whole| {
            let ranges = missing(&days, shown.unwrap(), whole);
            let text = |of: &Missing| format!("{} {} {:?}", of.days.from(), of.days.to(), of.why);
            ranges.iter().map(text).collect::<Vec<_>>()
        };
        // Of days asked for, those before and after may be in the ledger, too.
        let asked = period("2020-02-10", "2020-02-17");
        assert_eq!(
            found(asked, period("2020-02-11", "2020-02-16")),
            [
                "2020-02-10 2020-02-10 BeforeTheFirst",
                "2020-02-11 2020-02-11 Gap",
                "2020-02-13 2020-02-14 Gap",
                "2020-02-16 2020-02-16 Gap",
                "2020-02-17 2020-02-17 AfterTheLast"
            ]
        );
        let own = period("2020-02-12", "2020-02-15");
        assert_eq!(found(own, own), ["2020-02-13 2020-02-14 Gap"]);
    }
}
