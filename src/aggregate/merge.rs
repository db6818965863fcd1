//! Merges runs: adds up the rows of each cell, in the order of cells.
//!
//! Memory holds a block of each run and the cells of one batch: as many as fit in a limit, but at least one.

use std::io::{self, Read};

use super::cell_sums::{CellSums, Overflow};
use super::delta::Cell;
use super::run::RunReader;
use super::terms::Terms;

/// A merge under way.
pub(super) struct Merge<R> {
    runs: Vec<RunReader<R>>,
    /// Memory for a batch, in bytes.
    limit: usize,
}

/// Consecutive cells with their merged sums.
pub(super) struct MergedCells {
    pub(super) terms: Terms,
    pub(super) cells: Vec<(Cell, CellSums)>,
}

/// Why runs cannot be merged.
#[derive(Debug)]
pub(super) enum MergeError {
    Overflow(Overflow),
    Io(io::Error),
}

impl From<io::Error> for MergeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<R: Read> Merge<R> {
    /// A merge of runs, read from where they start, in batches of `limit` bytes.
    pub(super) fn new(runs: impl IntoIterator<Item = R>, limit: usize) -> io::Result<Self> {
        let runs = runs
            .into_iter()
            .map(RunReader::new)
            .collect::<Result<_, _>>()?;
        Ok(Self { runs, limit })
    }

    /// The dictionaries of the runs.
    pub(super) fn dictionaries(&self) -> impl Iterator<Item = &Terms> {
        self.runs.iter().map(RunReader::dictionary)
    }

    /// The next cells; `None` after the last.
    pub(super) fn next_cells(&mut self) -> Result<Option<MergedCells>, MergeError> {
        self.runs.iter_mut().for_each(RunReader::forget_ids);
        let (mut terms, mut cells, mut memory) = (Terms::default(), Vec::new(), 0);
        while let Some(cell) = self.runs.iter().filter_map(RunReader::cell).min() {
            let overflow = || MergeError::Overflow(Overflow(cell));
            let mut sums = CellSums::default();
            for run in &mut self.runs {
                if run.cell() == Some(cell) {
                    run.add_to(&mut sums, &mut terms)?.ok_or_else(overflow)?;
                }
            }
            sums.shrink().ok_or_else(overflow)?;
            memory += sums.memory() + size_of::<(Cell, CellSums)>();
            cells.push((cell, sums));
            if memory + terms.memory() > self.limit {
                break;
            }
        }
        Ok((!cells.is_empty()).then_some(MergedCells { terms, cells }))
    }
}
