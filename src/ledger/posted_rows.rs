//! An entry that this very run has posted, with its rows still in memory: they need not be read back.
//!
//! Only [`post`](super::post) makes one: of an entry that is committed, of the deltas that its rows and its hash were made
//! from.

use std::sync::Arc;

use super::entry::EntryId;
use super::row::StoredRow;
use crate::aggregate::DayDeltas;
use crate::day::Day;
use crate::error::Error;

/// The only entry of its day, whole.
#[derive(Clone, Debug)]
pub struct PostedRows {
    entry_id: EntryId,
    day: Day,
    deltas: Arc<DayDeltas>,
}

impl PostedRows {
    /// A committed entry of all these deltas, before which there was none of the day.
    pub(super) fn new(entry_id: EntryId, day: Day, deltas: Arc<DayDeltas>) -> Self {
        Self {
            entry_id,
            day,
            deltas,
        }
    }

    /// Whether it is that entry.
    pub(super) fn is_entry(&self, entry_id: EntryId) -> bool {
        self.entry_id == entry_id
    }

    /// Whether what entries after one and up to another say of a day is what this entry says.
    pub(super) fn is_all_of(&self, day: Day, after: EntryId, through: EntryId) -> bool {
        self.day == day && after < self.entry_id && self.entry_id == through
    }

    /// So many rows.
    pub(super) fn len(&self) -> usize {
        self.deltas.rows().len()
    }

    /// Hands the rows to `take`, in the order of the ledger.
    pub(super) async fn rows(
        &self,
        mut take: impl AsyncFnMut(StoredRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        tracing::debug!(day = %self.day, entry_id = %self.entry_id, rows = self.len(), "not read back: the rows are in memory");
        for place in 0..self.len() {
            take(StoredRow::from_posted(self.entry_id, &self.deltas, place)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::aggregate::Aggregation;

    #[test]
    fn it_stands_for_its_day_only_as_the_last_of_the_entries_that_are_asked_for() {
        let nothing = Aggregation::of_part(Uuid::nil(), usize::MAX)
            .finish()
            .unwrap()
            .deltas;
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
            "it is not asked for"
        );
        assert!(
            !posted.is_all_of(day, fourth, fourth),
            "nothing is asked for"
        );
        assert!(posted.is_entry(fourth) && !posted.is_entry(third));
    }
}
