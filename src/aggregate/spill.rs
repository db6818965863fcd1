//! What exceeds the memory of an aggregation: runs in temporary files, merged in the end.
//!
//! The files have no names, so a crash leaves nothing behind. A merge reads a bounded number of runs at once; whenever
//! there are as many of about one size, they are merged to one.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::PathBuf;

use indicatif::DecimalBytes;

use super::cell_sums::{CellSums, Overflow};
use super::delta::Cell;
use super::merge::{Merge, MergeError, MergedCells};
use super::run::RunWriter;
use super::terms::Terms;
use crate::error::{Error, ErrorKind};
use crate::workspace::TempDir;

/// Maximum number of runs in one merge.
const FAN_IN: usize = if cfg!(debug_assertions) { 3 } else { 32 };

/// Why an aggregation failed.
#[derive(Debug, thiserror::Error)]
pub enum AggregationError {
    /// A sum exceeds its range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// A temporary file cannot be written or read.
    #[error(transparent)]
    Spill(#[from] SpillError),
}

/// A temporary file cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("a temporary file in {} failed", directory.display())]
pub struct SpillError {
    directory: PathBuf,
    /// Bytes in temporary files so far.
    written: u64,
    /// Roughly how many more there would be, if known.
    more: Option<u64>,
    source: io::Error,
}

impl AggregationError {
    /// The error to report; `of_overflow` makes it if a sum overflows.
    pub fn report(self, of_overflow: impl FnOnce(Overflow) -> Error) -> Error {
        match self {
            Self::Overflow(overflow) => of_overflow(overflow),
            Self::Spill(error) => error.report(),
        }
    }
}

impl SpillError {
    fn report(self) -> Error {
        let directory = self.directory.display();
        let more = self
            .more
            .filter(|more| *more > 0)
            .map(|more| format!(", about {} more are needed", DecimalBytes(more)))
            .unwrap_or_default();
        Error::new(ErrorKind::OutputUnwritable, format!(
            "counting exceeds the memory limit, and the temporary files in {directory} failed after {} were written{more}; nothing was posted",
            DecimalBytes(self.written)
        ))
        .caused_by(self.source)
        .hint("set --temp-dir (DAYBOOK_TEMP_DIR) to an existing, writable directory with enough free space, on a disk, or raise --memory")
    }
}

/// The runs of an aggregation.
#[derive(Debug)]
pub(super) struct Spill {
    directory: TempDir,
    /// Runs by the number of merges that they have been through.
    tiers: Vec<Vec<Run>>,
    /// Bytes of all runs that were written, also of those merged since.
    written: u64,
}

#[derive(Debug)]
struct Run {
    file: File,
    bytes: u64,
}

impl Spill {
    pub(super) fn new(directory: TempDir) -> Self {
        Self {
            directory,
            tiers: Vec::new(),
            written: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes a run of `cells` in order, whose sums must be merged. `share` is the memory limit of the aggregation;
    /// `progress` is how many of how many rows were taken.
    pub(super) fn write(
        &mut self,
        terms: &Terms,
        cells: Vec<(Cell, CellSums)>,
        share: usize,
        progress: Option<(u64, u64)>,
    ) -> Result<(), AggregationError> {
        let dictionary = dictionary_of(terms, &cells, dictionary_limit(share));
        let run = self
            .create()
            .and_then(|file| write_run(file, &dictionary, terms, cells));
        let run = run.map_err(|error| {
            let more = progress.and_then(|progress| self.to_come(progress, share));
            self.failed(error, more)
        })?;
        tracing::debug!(bytes = run.bytes, directory = %self.directory.path().display(), "the memory limit is reached: wrote a temporary file");
        self.add(run, 0);
        let full = |runs: &Vec<Run>| runs.len() == FAN_IN;
        while let Some(tier) = self.tiers.iter().position(full) {
            let runs = std::mem::take(&mut self.tiers[tier]);
            let run = self.merge_to_one(runs, share)?;
            self.add(run, tier + 1);
        }
        Ok(())
    }

    /// Merges all runs, in batches.
    pub(super) fn merge(mut self, share: usize) -> Result<SpilledRows, AggregationError> {
        let mut runs: Vec<Run> = std::mem::take(&mut self.tiers)
            .into_iter()
            .flatten()
            .collect();
        while runs.len() > FAN_IN {
            runs.sort_by_key(|run| std::cmp::Reverse(run.bytes));
            let small = runs.split_off(runs.len() - FAN_IN);
            runs.push(self.merge_to_one(small, share)?);
        }
        let merge = self.open(runs, share)?;
        Ok(SpilledRows { spill: self, merge })
    }

    fn merge_to_one(&mut self, runs: Vec<Run>, share: usize) -> Result<Run, AggregationError> {
        let more = runs.iter().map(|run| run.bytes).sum();
        let mut merge = self.open(runs, share)?;
        let mut merged = || {
            let dictionary = dictionary_of_all(merge.dictionaries(), dictionary_limit(share));
            let file = self.create()?;
            let mut writer = RunWriter::new(&file, &dictionary)?;
            while let Some(batch) = merge.next_cells()? {
                writer.write(&batch.terms, batch.cells)?;
            }
            let bytes = writer.finish()?;
            Ok(Run { file, bytes })
        };
        let merged = merged();
        merged.map_err(|error| self.merge_failed(error, Some(more)))
    }

    fn open(&self, runs: Vec<Run>, share: usize) -> Result<Merge<File>, AggregationError> {
        let files = runs.into_iter().map(|run| run.file).collect::<Vec<_>>();
        let open = || {
            for mut file in &files {
                file.rewind()?;
            }
            Merge::new(files, batch_limit(share))
        };
        open().map_err(|error| self.failed(error, None))
    }

    fn create(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.directory.path())
    }

    fn add(&mut self, run: Run, tier: usize) {
        self.written += run.bytes;
        self.tiers
            .resize_with(self.tiers.len().max(tier + 1), Vec::new);
        self.tiers[tier].push(run);
    }

    fn merge_failed(&self, error: MergeError, more: Option<u64>) -> AggregationError {
        match error {
            MergeError::Overflow(overflow) => overflow.into(),
            MergeError::Io(error) => self.failed(error, more),
        }
    }

    /// Roughly how many bytes are still to be written. Before anything is, half of the memory is a guess.
    fn to_come(&self, (taken, expected): (u64, u64), share: usize) -> Option<u64> {
        let so_far = self.written.max(share as u64 / 2);
        let all = u128::from(so_far) * u128::from(expected) / u128::from(taken.max(1));
        u64::try_from(all).ok()?.checked_sub(self.written)
    }

    fn failed(&self, source: io::Error, more: Option<u64>) -> AggregationError {
        AggregationError::Spill(SpillError {
            directory: self.directory.path().to_owned(),
            written: self.written,
            more,
            source,
        })
    }
}

/// The merged rows of all runs.
pub(super) struct SpilledRows {
    spill: Spill,
    merge: Merge<File>,
}

impl SpilledRows {
    pub(super) fn next_cells(&mut self) -> Result<Option<MergedCells>, AggregationError> {
        let merged = self.merge.next_cells();
        merged.map_err(|error| self.spill.merge_failed(error, None))
    }
}

/// Memory for the cells of a batch. The rest of the share is for reading runs, and for what is done with the batch.
fn batch_limit(share: usize) -> usize {
    share / 3
}

/// Memory for the terms of a run's dictionary: all runs of a merge together need a quarter of the share.
fn dictionary_limit(share: usize) -> usize {
    share / 4 / FAN_IN
}

fn write_run(
    file: File,
    dictionary: &Terms,
    terms: &Terms,
    cells: Vec<(Cell, CellSums)>,
) -> io::Result<Run> {
    let mut writer = RunWriter::new(&file, dictionary)?;
    writer.write(terms, cells)?;
    let bytes = writer.finish()?;
    Ok(Run { file, bytes })
}

/// The terms that most cells have, as many as fit in `limit` bytes. A term of one cell is better written as text.
fn dictionary_of(terms: &Terms, cells: &[(Cell, CellSums)], limit: usize) -> Terms {
    let mut uses = vec![0_u32; terms.len()];
    for (_, sums) in cells {
        for tally in [&sums.items.others, &sums.queries, &sums.geocodes] {
            for (term, _) in tally.iter() {
                uses[term.index()] += 1;
            }
        }
    }
    let mut chosen: Vec<_> = terms.ids().filter(|id| uses[id.index()] > 1).collect();
    chosen.sort_by_key(|id| std::cmp::Reverse(uses[id.index()]));
    let mut bytes = 0;
    let fit = chosen.iter().take_while(|id| {
        bytes += memory_of(terms.text(**id));
        bytes <= limit
    });
    let fit = fit.count();
    chosen.truncate(fit);
    // In the order of their numbers, so that the differences within a cell are small.
    chosen.sort_unstable();
    let mut dictionary = Terms::default();
    for id in chosen {
        dictionary.intern(terms.text(id));
    }
    dictionary
}

/// The terms of several dictionaries, as many as fit in `limit` bytes.
fn dictionary_of_all<'a>(all: impl Iterator<Item = &'a Terms>, limit: usize) -> Terms {
    let (mut dictionary, mut bytes) = (Terms::default(), 0);
    for terms in all {
        for id in terms.ids() {
            bytes += memory_of(terms.text(id));
            if bytes > limit {
                return dictionary;
            }
            dictionary.intern(terms.text(id));
        }
    }
    dictionary
}

/// A term with its entries in the tables of a dictionary.
fn memory_of(term: &str) -> usize {
    term.len() + 24
}
