//! Merges sorted files: rows of one cell are added up, rejected events stand one behind the other.
//!
//! Memory holds one cell and the keys of the next lines, however many files there are. Too many to open at a time are
//! merged in several passes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use super::directory::{Directory, Writing};
use super::lines::{Key, Lines, Source};
use super::manifest::{FileDigest, Manifest, RowSums, Scope};
use super::row::{CellSum, RejectedRow, RowWriter, SourceId};
use super::set::DeltaSets;
use crate::aggregate::Cell;
use crate::day::{Day, TimeZone};
use crate::error::{Error, ErrorKind};

/// Files to open at a time.
const OPEN_FILES: usize = if cfg!(debug_assertions) { 7 } else { 100 };

/// What delta sets are expected to be of; anything if it is not said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    pub day: Option<Day>,
    pub zone: Option<TimeZone>,
}

/// Merges delta sets of different events into one. If all are of one range of recordsets, so is the result.
pub fn merge(
    directories: &[PathBuf],
    expected: Expected,
    output: &Path,
) -> Result<Manifest, Error> {
    let sets = DeltaSets::open(directories)?;
    sets.check_expected(expected.day, expected.zone)?;
    let directory = Directory::create(output)?;
    let mut sums = RowSums::default();
    let deltas = merge_deltas(sets.deltas(), &directory, &mut sums)?;
    let rejects = merge_rejected(sets.rejects(), &directory)?;
    let mut said = RowSums::default();
    for manifest in sets.manifests() {
        said.add(manifest.interactions, manifest.records);
    }
    let failed = |wrong: String| {
        Error::new(ErrorKind::InputUnusable, format!("merging {} failed: {wrong}", sets.day())).hint(
            "a directory is damaged: make them again with `daybook fold`, or merge fewer at a time to find it",
        )
    };
    if said != sums {
        return Err(failed(format!(
            "the rows add up to {} interactions and {} records, but the manifests to {} and {}",
            sums.interactions, sums.records, said.interactions, said.records
        )));
    }
    let files = [deltas, rejects];
    let scope = Scope {
        day: sets.day(),
        zone: sets.zone(),
        parts: sets.parts(),
        range: sets.range(),
    };
    let manifest = Manifest::new(scope, sets.figures(), sums, &sets.events()?, files);
    let manifest = manifest.map_err(failed)?;
    directory.complete(&manifest)?;
    Ok(manifest)
}

/// Merges files of delta rows into that of a directory.
fn merge_deltas(
    sources: Vec<Source>,
    directory: &Directory,
    sums: &mut RowSums,
) -> Result<FileDigest, Error> {
    let mut writer = RowWriter::default();
    let mut pass = |sources: &[Source], out: &mut Writing, sums: &mut RowSums| {
        each_key::<Cell>(sources, |places, lines| {
            let mut sum: Option<CellSum> = None;
            for place in places {
                let line = lines[*place].line()?;
                let added = match &mut sum {
                    Some(sum) => sum.add(line),
                    none => CellSum::new(line).map(|first| *none = Some(first)),
                };
                added.map_err(|wrong| lines[*place].refused(&wrong))?;
                lines[*place].release();
            }
            sum.map_or(Ok(()), |sum| out.put(sum.line(&mut writer, sums)))
        })
    };
    let sources = in_passes(sources, directory, |sources, out| {
        pass(sources, out, &mut RowSums::default())
    })?;
    let mut out = directory.deltas()?;
    pass(&sources, &mut out, sums)?;
    Ok(out.finish()?.1)
}

/// Merges files of rejected events into that of a directory.
pub(super) fn merge_rejected(
    sources: Vec<Source>,
    directory: &Directory,
) -> Result<FileDigest, Error> {
    let pass = |sources: &[Source], out: &mut Writing| {
        each_key::<SourceId>(sources, |places, lines| {
            if let [_, second, ..] = places {
                return Err(lines[*second]
                    .refused("is about an event that another file also has")
                    .hint("count each event once"));
            }
            for place in places {
                let line = lines[*place].line()?;
                let checked = RejectedRow::parse(line).map(drop);
                if checked.is_ok() {
                    out.put(line.as_bytes())?;
                }
                checked.map_err(|wrong| lines[*place].refused(&wrong))?;
            }
            Ok(())
        })
    };
    let sources = in_passes(sources, directory, pass)?;
    let mut out = directory.rejected()?;
    pass(&sources, &mut out)?;
    Ok(out.finish()?.1)
}

/// Merges until so few files are left that they can be opened at a time.
fn in_passes(
    mut sources: Vec<Source>,
    directory: &Directory,
    mut pass: impl FnMut(&[Source], &mut Writing) -> Result<(), Error>,
) -> Result<Vec<Source>, Error> {
    while sources.len() > OPEN_FILES {
        let mut merged = Vec::new();
        for sources in sources.chunks(OPEN_FILES) {
            let mut out = directory.run()?;
            pass(sources, &mut out)?;
            let (path, digest) = out.finish()?;
            merged.push(Source {
                path,
                rows: digest.rows,
            });
            for source in sources {
                directory.discard(source);
            }
        }
        sources = merged;
    }
    Ok(sources)
}

/// Calls `take` for each key in order, with the places of the files that have it.
fn each_key<K: Key>(
    sources: &[Source],
    mut take: impl FnMut(&[usize], &mut [Lines<K>]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut lines = sources
        .iter()
        .map(Lines::<K>::open)
        .collect::<Result<Vec<_>, _>>()?;
    let mut heads: BinaryHeap<Reverse<(K, usize)>> = lines
        .iter()
        .enumerate()
        .filter_map(|(place, lines)| Some(Reverse((lines.head()?, place))))
        .collect();
    let mut places = Vec::new();
    while let Some(Reverse((key, place))) = heads.pop() {
        places.clear();
        places.push(place);
        while let Some(Reverse((next, place))) = heads.peek()
            && *next == key
        {
            places.push(*place);
            heads.pop();
        }
        take(&places, &mut lines)?;
        for place in &places {
            lines[*place].advance()?;
            heads.extend(lines[*place].head().map(|head| Reverse((head, *place))));
        }
    }
    Ok(())
}
