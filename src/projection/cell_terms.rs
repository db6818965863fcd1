//! Adds up the all-time counts of one cell's terms, over the cell's rows. Pure.

use rustc_hash::FxHashMap;

use super::terms::{Dimension, Key};
use crate::aggregate::Cell;
use crate::error::Error;
use crate::ledger::{EntryId, StoredRow};

/// What the terms of one cell may take in memory; the few cells that have more are added up by the server, on its disk.
const MAX_BYTES: usize = if cfg!(debug_assertions) {
    4 << 10
} else {
    32 << 20
};

/// What a term takes beside its text: its place in the table, and the text's own block.
const BYTES_OF_TERM: usize = 96;

/// The terms of one cell.
#[derive(Debug)]
pub(super) struct CellTerms {
    cell: Cell,
    /// In the order of a row's maps; nothing once there are too many.
    sums: Option<[FxHashMap<Box<str>, Sum>; 3]>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    /// Wide enough for whatever comes before its opposite.
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

    /// Adds a row of the cell, with those of its maps whose terms have documents.
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
                        tracing::debug!(cell = %self.cell, "left to the server: its terms are too many");
                        self.sums = None;
                        return Ok(());
                    }
                    sums.insert(Box::from(term), Sum { count, entry_id });
                }
            }
        }
        Ok(())
    }

    /// What each term stands at, and the last entry that lists it, in no particular order; nothing if the cell has too many.
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
