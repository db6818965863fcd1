//! Adds up the all-time counts of the terms of one cell. Pure.

use rustc_hash::FxHashMap;

use super::terms::{Dimension, Key};
use crate::aggregate::Cell;
use crate::error::Error;
use crate::ledger::{EntryId, StoredRow};

/// Memory for the terms of one cell, in bytes. The server adds up the few larger cells, on its disk.
const MAX_BYTES: usize = if cfg!(debug_assertions) {
    4 << 10
} else {
    32 << 20
};

/// What a term takes beside its text, in bytes: its slot in the table, and the allocation of the text.
const BYTES_OF_TERM: usize = 96;

#[derive(Debug)]
pub(super) struct CellTerms {
    cell: Cell,
    /// In the order of a row's maps; `None` once the cell has too many terms.
    sums: Option<[FxHashMap<Box<str>, Sum>; 3]>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    /// Wide enough for sums that a later entry reverses.
    count: i128,
    entry_id: EntryId,
}

impl CellTerms {
    pub(super) fn new(cell: Cell) -> Self {
        Self {
            cell,
            sums: Some(Default::default()),
            bytes: 0,
        }
    }

    pub(super) fn cell(&self) -> Cell {
        self.cell
    }

    /// Adds a row of the cell, which has only the maps whose terms have documents.
    pub(super) fn add(&mut self, row: &StoredRow) -> Result<(), Error> {
        let Some(sums) = &mut self.sums else {
            return Ok(());
        };
        for (sums, terms) in sums.iter_mut().zip(row.maps()?) {
            for (term, n) in terms.0 {
                let (count, entry_id) = (i128::from(n), row.entry_id);
                if let Some(sum) = sums.get_mut(&*term) {
                    sum.count += count;
                    sum.entry_id = sum.entry_id.max(entry_id);
                } else {
                    self.bytes += term.len() + BYTES_OF_TERM;
                    if self.bytes > MAX_BYTES {
                        tracing::debug!(cell = %self.cell, "too many terms for memory: left to the server");
                        self.sums = None;
                        return Ok(());
                    }
                    sums.insert(Box::from(term), Sum { count, entry_id });
                }
            }
        }
        Ok(())
    }

    /// The count of each term and the last entry that lists it, in no particular order; `None` if the cell has too many
    /// terms.
    pub(super) fn totals(self) -> Option<impl Iterator<Item = Result<(Key, i64, EntryId), Error>>> {
        let Self { cell, sums, .. } = self;
        let totals = Dimension::ALL
            .into_iter()
            .zip(sums?)
            .flat_map(move |(dimension, sums)| {
                sums.into_iter()
                    .map(move |(term, Sum { count, entry_id })| {
                        let key = Key {
                            cell,
                            dimension,
                            term: term.into_string(),
                        };
                        let count = i64::try_from(count).map_err(|_| key.exceeds_a_bigint())?;
                        Ok((key, count, entry_id))
                    })
            });
        Some(totals)
    }
}
