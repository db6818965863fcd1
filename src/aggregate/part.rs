//! The part of a day that fits in memory: a contiguous range of recordsets.
//!
//! An aggregation starts with all recordsets from a given one on. When it exceeds its memory limit, it drops the second
//! half of them and continues without them. At the end it is complete for the recordsets that remain, in the order of
//! the ledger, so consecutive parts make the rows of one entry.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde::Serialize;
use uuid::Uuid;

use super::aggregation::{Aggregation, CellSums, Figures, NOWHERE, Overflow, PLACES};
use super::bounds::Bounds;
use super::delta::{Cell, DayDeltas, DeltaRow, Sums};
use super::tally::Counts;
use super::terms::{NewIds, Terms, jsonb_order};
use crate::event::{Rejection, StatType};

/// Interactions to count before checking the memory again.
const BETWEEN_LOOKS: usize = if cfg!(debug_assertions) {
    1 << 8
} else {
    1 << 17
};

/// The result of an aggregation.
#[derive(Debug)]
pub struct Part {
    /// The rows of the recordsets that were counted, in the order of the ledger.
    pub deltas: DayDeltas,
    /// Figures of all source rows; the same in each part.
    pub figures: Figures,
    /// All rejected events in the first part; empty in the others.
    pub rejections: Vec<Rejection>,
    /// Where the next part starts; `None` if this is the last.
    pub next: Option<Uuid>,
}

/// Sums over the parts of an entry.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PartSums {
    /// Delta rows.
    pub cells: usize,
    /// Parts; more than one if the day does not fit in memory. Each one reads the input once.
    pub parts: u32,
    /// Net interactions.
    pub interactions: i128,
    /// Net records.
    pub records: i128,
}

impl PartSums {
    /// Adds the next part.
    pub fn add(&mut self, part: &Part) {
        let Sums { count, total } = part.deltas.sums();
        self.cells += part.deltas.rows().len();
        self.parts += 1;
        self.interactions += count;
        self.records += total;
    }
}

impl Aggregation {
    /// An empty aggregation of the recordsets from `from` on, as many as fit in `memory` bytes.
    pub fn of_part(from: Uuid, memory: usize) -> Self {
        Self {
            terms: Terms::default(),
            recordsets: rustc_hash::FxHashMap::default(),
            cells: Vec::new(),
            geocodes: rustc_hash::FxHashMap::default(),
            part: Bounds {
                from,
                below: None,
                memory,
                since_look: 0,
            },
            figures: Figures::default(),
            rejections: Vec::new(),
        }
    }

    /// The deltas in the order of the ledger, the rejected events, and where the next part starts.
    pub fn finish(mut self) -> Result<Part, Overflow> {
        let (terms, new_ids) = self
            .terms
            .renumbered(&vec![true; self.terms.len()], jsonb_order);
        self.cells.sort_unstable_by_key(|(cell, _)| *cell);
        let rows = finish_cells(self.cells, &new_ids)?;
        Ok(Part {
            deltas: DayDeltas::new(terms, rows),
            figures: self.figures,
            rejections: self.rejections,
            next: self.part.below,
        })
    }

    /// Whether the counts need more than `memory` bytes. For a caller who stores them and continues with an empty
    /// aggregation; it must have been made without a limit.
    pub fn outgrows(&mut self, memory: usize) -> Result<bool, Overflow> {
        if self.part.since_look < BETWEEN_LOOKS {
            return Ok(false);
        }
        self.part.since_look = 0;
        if self.memory() <= memory {
            return Ok(false);
        }
        for (cell, sums) in &mut self.cells {
            sums.shrink().ok_or(Overflow(*cell))?;
        }
        Ok(self.memory() > memory / 4 * 3)
    }

    /// Checks the memory from time to time, and drops recordsets if it exceeds the limit. `None` if a sum overflows.
    pub(super) fn keep_within_memory(&mut self, interactions: usize) -> Option<()> {
        self.part.since_look += interactions;
        if self.part.since_look < BETWEEN_LOOKS || self.part.memory == usize::MAX {
            return Some(());
        }
        self.part.since_look = 0;
        if self.memory() <= self.part.memory {
            return Some(());
        }
        for (_, sums) in &mut self.cells {
            sums.shrink()?;
        }
        // Staying just below the limit would mean shrinking again at every check.
        if self.memory() > self.part.memory / 4 * 3 {
            self.let_go();
        }
        Some(())
    }

    /// Memory in use, in bytes.
    fn memory(&self) -> usize {
        let cells: usize = self.cells.iter().map(|(_, sums)| sums.memory()).sum();
        // A box and its slot in the table.
        let geocodes: usize = self.geocodes.keys().map(|text| text.len() + 40).sum();
        let rejections: usize = self
            .rejections
            .iter()
            .map(|rejection| rejection.message.len() + 64)
            .sum();
        cells
            + self.cells.capacity() * size_of::<(Cell, CellSums)>()
            + self.recordsets.capacity()
                * (size_of::<u128>() + size_of::<super::aggregation::Places>())
            + self.terms.memory()
            + geocodes
            + rejections
    }

    /// Drops the recordsets in the second half of the memory, but keeps at least one.
    fn let_go(&mut self) {
        self.cells.sort_unstable_by_key(|(cell, _)| *cell);
        let half = self
            .cells
            .iter()
            .map(|(_, sums)| sums.memory())
            .sum::<usize>()
            / 2;
        let mut taken = 0;
        let first = self.cells.first().map(|(cell, _)| cell.recordset_id);
        let below = self.cells.iter().find(|(cell, sums)| {
            taken += sums.memory();
            taken > half && Some(cell.recordset_id) != first
        });
        let Some(below) = below.map(|(cell, _)| cell.recordset_id) else {
            tracing::debug!("a single recordset exceeds the memory limit");
            return self.find_places();
        };
        tracing::debug!(%below, "the day exceeds the memory limit: the recordsets from here on go to another part");
        self.part.below = Some(below);
        self.cells.retain(|(cell, _)| cell.recordset_id < below);
        self.cells.shrink_to_fit();
        self.find_places();
        self.forget_terms();
    }

    /// Rebuilds the indices of the cells.
    fn find_places(&mut self) {
        self.recordsets.clear();
        for (place, (cell, _)) in (0..).zip(&self.cells) {
            let places = self
                .recordsets
                .entry(cell.recordset_id.as_u128())
                .or_insert([NOWHERE; PLACES]);
            places[cell.record_type as usize * StatType::ALL.len() + cell.stat_type as usize] =
                place;
        }
    }

    /// Drops the terms that no cell uses.
    fn forget_terms(&mut self) {
        let mut in_use = vec![false; self.terms.len()];
        for (_, sums) in &self.cells {
            for tally in [&sums.items.others, &sums.queries, &sums.geocodes] {
                tally.mark(&mut in_use);
            }
        }
        let (terms, new_ids) = self.terms.renumbered(&in_use, Ord::cmp);
        self.terms = terms;
        self.terms.index();
        for (_, sums) in &mut self.cells {
            for tally in [
                &mut sums.items.others,
                &mut sums.queries,
                &mut sums.geocodes,
            ] {
                tally.renumber(&new_ids);
            }
        }
        // Filled again when the geocodes occur again.
        self.geocodes.clear();
    }
}

impl CellSums {
    fn memory(&self) -> usize {
        self.items.memory() + self.queries.memory() + self.geocodes.memory()
    }

    fn shrink(&mut self) -> Option<()> {
        self.queries.shrink();
        self.geocodes.shrink();
        self.items.shrink()
    }

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

/// The rows of cells, in order, computed on all processors.
fn finish_cells(cells: Vec<(Cell, CellSums)>, new_ids: &NewIds) -> Result<Vec<DeltaRow>, Overflow> {
    let finish = |(cell, sums): (Cell, CellSums)| sums.finish(cell, new_ids).transpose();
    cells.into_par_iter().filter_map(finish).collect()
}
