//! The end of an aggregation: the delta rows, in batches that fit in memory, in the order of the ledger.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde::Serialize;

use super::aggregation::{Aggregation, Figures};
use super::cell_sums::{CellSums, Overflow};
use super::delta::{Cell, DayDeltas, DeltaRow, Sums};
use super::merge::MergedCells;
use super::spill::{AggregationError, SpilledRows};
use super::tally::Counts;
use super::terms::{NewIds, Terms, jsonb_order};
use crate::event::Rejection;

/// The result of an aggregation.
#[derive(Debug)]
pub struct Counted {
    pub rows: CountedRows,
    /// Figures of all source rows.
    pub figures: Figures,
    /// All rejected events.
    pub rejections: Vec<Rejection>,
}

/// The delta rows of an aggregation that have not been taken yet.
pub struct CountedRows {
    rest: Rest,
    spilled: u64,
}

enum Rest {
    /// Everything fits in memory: one batch.
    Whole(Terms, Vec<(Cell, CellSums)>),
    /// In temporary files.
    Spilled(Box<SpilledRows>),
    Taken,
}

/// Sums over the batches of an entry.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct EntrySums {
    /// Delta rows.
    pub cells: usize,
    /// Bytes in temporary files; 0 if the day fits in memory.
    pub spilled_bytes: u64,
    /// Net interactions.
    pub interactions: i128,
    /// Net records.
    pub records: i128,
}

impl EntrySums {
    /// Adds the next batch.
    pub fn add(&mut self, batch: &DayDeltas) {
        let Sums { count, total } = batch.sums();
        self.cells += batch.rows().len();
        self.interactions += count;
        self.records += total;
    }
}

impl Aggregation {
    /// The delta rows, the figures and the rejected events.
    pub fn finish(mut self) -> Result<Counted, AggregationError> {
        let (rest, spilled) = if self.spill.is_empty() {
            (Rest::Whole(self.terms, self.cells), 0)
        } else {
            if !self.cells.is_empty() {
                self.shrink()?;
                self.spill()?;
            }
            let spilled = self.spill.written();
            let rows = self.spill.merge(self.memory_limit)?;
            (Rest::Spilled(Box::new(rows)), spilled)
        };
        Ok(Counted {
            rows: CountedRows { rest, spilled },
            figures: self.figures,
            rejections: self.rejections,
        })
    }
}

impl CountedRows {
    /// The next batch; its cells follow those of the batch before. `None` after the last. There is at least one, which
    /// may be empty.
    pub fn next_batch(&mut self) -> Result<Option<DayDeltas>, AggregationError> {
        match std::mem::replace(&mut self.rest, Rest::Taken) {
            Rest::Taken => Ok(None),
            Rest::Whole(terms, cells) => Ok(Some(finish(&terms, cells)?)),
            Rest::Spilled(mut rows) => {
                let Some(MergedCells { terms, cells }) = rows.next_cells()? else {
                    return Ok(None);
                };
                self.rest = Rest::Spilled(rows);
                Ok(Some(finish(&terms, cells)?))
            }
        }
    }

    /// Bytes in temporary files; 0 if everything fits in memory, in one batch.
    pub fn spilled_bytes(&self) -> u64 {
        self.spilled
    }
}

impl std::fmt::Debug for CountedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountedRows")
            .field("spilled", &self.spilled)
            .finish_non_exhaustive()
    }
}

/// The rows of cells, in order, computed on all processors.
fn finish(terms: &Terms, mut cells: Vec<(Cell, CellSums)>) -> Result<DayDeltas, Overflow> {
    let (terms, new_ids) = terms.renumbered(jsonb_order);
    cells.sort_unstable_by_key(|(cell, _)| *cell);
    let finish = |(cell, sums): (Cell, CellSums)| sums.finish(cell, &new_ids).transpose();
    let rows: Result<_, _> = cells.into_par_iter().filter_map(finish).collect();
    Ok(DayDeltas::new(terms, rows?))
}

impl CellSums {
    /// The cell's row; `None` if it adds nothing.
    fn finish(self, cell: Cell, new_ids: &NewIds) -> Result<Option<DeltaRow>, Overflow> {
        let overflow = || Overflow(cell);
        let row = DeltaRow {
            cell,
            count: self.count,
            total: self.total,
            items: self.items.finish(new_ids).ok_or_else(overflow)?,
            queries: self.queries.finish(new_ids).ok_or_else(overflow)?,
            geocodes: self.geocodes.finish(new_ids).ok_or_else(overflow)?,
        };
        let is_zero = row.count == 0
            && row.total == 0
            && row.items.uuids.is_empty()
            && [&row.items.others, &row.queries, &row.geocodes]
                .into_iter()
                .all(Counts::is_empty);
        Ok((!is_zero).then_some(row))
    }
}
