//! An entry that this run has posted, with its rows still in memory, so that they need not be read back.
//!
//! Only [`post`](super::post) makes one, after the commit, from the deltas that were stored and hashed.

use std::sync::Arc;

use super::entry::EntryId;
use super::row::StoredRow;
use crate::aggregate::DayDeltas;
use crate::day::Day;

/// The only entry of its day, with all its rows.
#[derive(Clone, Debug)]
pub struct PostedRows {
    entry_id: EntryId,
    day: Day,
    deltas: Arc<DayDeltas>,
}

impl PostedRows {
    /// The entry must be committed and the first of its day, and `deltas` must be all its rows.
    pub(super) fn new(entry_id: EntryId, day: Day, deltas: Arc<DayDeltas>) -> Self {
        Self {
            entry_id,
            day,
            deltas,
        }
    }

    pub(super) fn is_entry(&self, entry_id: EntryId) -> bool {
        self.entry_id == entry_id
    }

    /// Whether this entry alone holds the rows of `day` after entry `after`, up to entry `through`.
    pub(super) fn is_all_of(&self, day: Day, after: EntryId, through: EntryId) -> bool {
        self.day == day && after < self.entry_id && self.entry_id == through
    }

    pub(super) fn len(&self) -> usize {
        self.deltas.rows().len()
    }

    pub(super) fn note_use(&self) {
        tracing::debug!(day = %self.day, entry_id = %self.entry_id, rows = self.len(), "using the rows in memory instead of reading them back");
    }

    /// The row at a place, in the order of the ledger; none after the last.
    pub(super) fn row(&self, place: usize) -> Option<StoredRow> {
        (place < self.len()).then(|| StoredRow::from_posted(self.entry_id, &self.deltas, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregation;

    #[test]
    fn it_stands_for_its_day_only_as_the_last_of_the_entries_that_are_asked_for() {
        let nothing = Aggregation::without_limit().finish().unwrap().rows;
        let nothing = { nothing }.next_batch().unwrap().unwrap();
        let [day, other]: [Day; 2] = ["2020-02-16", "2020-02-17"].map(|day| day.parse().unwrap());
        let [third, fourth, fifth] =
            [3, 4, 5].map(|n| (0..n).fold(EntryId::NONE, |id, _| id.next()));
        let posted = PostedRows::new(fourth, day, Arc::new(nothing));
        assert!(
            posted.is_all_of(day, EntryId::NONE, fourth) && posted.is_all_of(day, third, fourth)
        );
        assert!(!posted.is_all_of(other, third, fourth), "another day");
        assert!(
            !posted.is_all_of(day, third, fifth),
            "a later entry may be about the day"
        );
        assert!(
            !posted.is_all_of(day, EntryId::NONE, third),
            "the range ends before it"
        );
        assert!(!posted.is_all_of(day, fourth, fourth), "the range is empty");
        assert!(posted.is_entry(fourth) && !posted.is_entry(third));
    }
}
