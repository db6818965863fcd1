//! The counting rules as a filter: events from files become a *delta set*, a directory with the deltas of some events of
//! a day, without any server.
//!
//! A delta set has a file of delta rows in the order of the ledger, one row a cell (`row.rs`), a file of the rejected
//! events by id, and a manifest, written last, with figures and the digest of each file (`manifest.rs`). A directory
//! without a manifest is not a delta set. Delta sets of different events add up: `merge` makes one of many, reading all
//! of them line by line. `apply` posts them. A day can also be counted to a set for each of several ranges of recordsets
//! (`range.rs`), which can be merged independently.
//!
//! Memory is bounded: what the counts need beyond it goes into temporary files (`aggregate`). Rejected events are written
//! to sorted runs, which are merged at the end.

mod count;
mod date;
mod directory;
mod event;
mod fingerprint;
mod input;
mod lines;
mod manifest;
mod merge;
mod ndjson;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod range;
mod row;
mod set;

use std::path::{Path, PathBuf};

pub use manifest::Manifest;
pub use merge::{Expected, merge};
pub use range::MOST_RANGES;
pub use set::{DeltaSets, Rejected};

use crate::day::{Day, TimeZone};
use crate::error::Error;
use crate::memory::Memory;

/// What to count.
#[derive(Clone, Debug)]
pub struct Counting {
    pub day: Day,
    pub zone: TimeZone,
    pub memory: Memory,
    /// Whether to write a delta set for each of so many ranges of recordsets.
    pub ranges: Option<u32>,
}

/// What was counted.
#[derive(Debug)]
pub struct Folded {
    /// Of each range of recordsets, or of all.
    pub manifests: Vec<Manifest>,
    /// Events that were read, but are not of the day.
    pub outside: i64,
}

/// Counts the events of a day in files, and writes them as a delta set, or one for each range of recordsets.
pub fn fold(counting: &Counting, files: &[PathBuf], output: &Path) -> Result<Folded, Error> {
    input::check_distinct(files)?;
    let output = output::Output::create(output, counting.ranges)?;
    let mut counter = count::Counter::new(counting, &output)?;
    let mut outside = 0;
    let longest_line = counting.memory.for_a_line() as u64;
    let day = date::DayInZone::new(counting.day, counting.zone);
    for file in files {
        outside += input::read(file, day, longest_line, &mut |event| counter.add(event))?;
    }
    let manifests = counter.finish()?;
    output.complete(&manifests)?;
    Ok(Folded { manifests, outside })
}
