//! Keeps an aggregation within its memory limit.

use rayon::iter::{IntoParallelRefMutIterator as _, ParallelIterator as _};

use super::aggregation::{Aggregation, Places};
use super::cell_sums::{CellSums, Overflow};
use super::delta::Cell;
use super::spill::AggregationError;

/// Interactions to count before checking the memory again.
const BETWEEN_LOOKS: usize = if cfg!(debug_assertions) {
    1 << 8
} else {
    1 << 17
};

impl Aggregation {
    /// Checks the memory from time to time, and writes everything to a temporary file if it exceeds the limit.
    pub(super) fn keep_within_memory(
        &mut self,
        interactions: usize,
    ) -> Result<(), AggregationError> {
        self.since_look += interactions;
        if self.since_look < BETWEEN_LOOKS {
            return Ok(());
        }
        self.since_look = 0;
        if self.memory() <= self.memory_limit {
            return Ok(());
        }
        self.shrink()?;
        // Staying just below the limit would mean shrinking again at every check.
        if self.memory() > self.memory_limit / 4 * 3 {
            self.spill()?;
        }
        Ok(())
    }

    /// Merges all sums, on all processors.
    pub(super) fn shrink(&mut self) -> Result<(), Overflow> {
        self.cells
            .par_iter_mut()
            .try_for_each(|(cell, sums)| sums.shrink().ok_or(Overflow(*cell)))
    }

    /// Writes all cells, whose sums must be merged, to a temporary file and forgets them and their terms.
    pub(super) fn spill(&mut self) -> Result<(), AggregationError> {
        let mut cells = std::mem::take(&mut self.cells);
        let terms = std::mem::take(&mut self.terms);
        self.recordsets = rustc_hash::FxHashMap::default();
        self.geocodes = rustc_hash::FxHashMap::default();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        let progress = self.expected.map(|expected| (self.taken, expected));
        self.spill.write(&terms, cells, self.memory_limit, progress)
    }

    /// Memory in use, in bytes, without rejected events: they stay in memory.
    fn memory(&self) -> usize {
        let cells: usize = self.cells.iter().map(|(_, sums)| sums.memory()).sum();
        // A box and its slot in the table.
        let geocodes: usize = self.geocodes.keys().map(|text| text.len() + 40).sum();
        cells
            + self.cells.capacity() * size_of::<(Cell, CellSums)>()
            + self.recordsets.capacity() * (size_of::<u128>() + size_of::<Places>())
            + self.terms.memory()
            + geocodes
    }
}

impl CellSums {
    pub(super) fn memory(&self) -> usize {
        self.items.memory() + self.queries.memory() + self.geocodes.memory()
    }

    /// Merges the sums, and releases memory that is mostly unused; `None` if a sum overflows.
    pub(super) fn shrink(&mut self) -> Option<()> {
        self.queries.shrink();
        self.geocodes.shrink();
        self.items.shrink()
    }
}
