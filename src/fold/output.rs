//! Where a day is counted to: one delta set, or a directory with one for each range of recordsets.

use std::path::{Path, PathBuf};

use super::directory::{Directory, Writing, unwritable};
use super::manifest::{FILE, FileDigest, Manifest, RowSums};
use super::range::RecordsetRange;
use crate::error::Error;
use uuid::Uuid;

/// Delta sets that are being written together. If it is dropped before they are complete, what was written is deleted.
pub(super) struct Output {
    // Dropped before the directory that contains them.
    directories: Vec<Directory>,
    ranges: Option<u32>,
    _parent: Option<Parent>,
}

/// A new directory, which is deleted in the end if it is empty.
struct Parent(PathBuf);

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

impl Output {
    pub(super) fn create(path: &Path, ranges: Option<u32>) -> Result<Self, Error> {
        let Some(ranges) = ranges else {
            return Ok(Self {
                directories: vec![Directory::create(path)?],
                ranges: None,
                _parent: None,
            });
        };
        let parent = (!path.exists()).then(|| Parent(path.to_owned()));
        check_contents(path, ranges)?;
        let of_range = |number| path.join(format!("range-{number}"));
        if !of_range(0).join(FILE).exists() {
            forget_manifests((1..ranges).map(of_range))?;
        }
        let directories = (0..ranges).map(|number| Directory::create(&of_range(number)));
        Ok(Self {
            directories: directories.collect::<Result<_, _>>()?,
            ranges: Some(ranges),
            _parent: parent,
        })
    }

    /// The directory of the rejected events, and for whatever is only needed until they are complete.
    pub(super) fn first(&self) -> &Directory {
        &self.directories[0]
    }

    /// Starts the files of delta rows.
    pub(super) fn deltas(&self) -> Result<DeltaFiles<'_>, Error> {
        Ok(DeltaFiles {
            output: self,
            current: self.first().deltas()?,
            sums: RowSums::default(),
            finished: Vec::new(),
        })
    }

    /// The empty files of rejected events of all ranges but the first.
    pub(super) fn no_rejects(&self) -> Result<Vec<FileDigest>, Error> {
        let empty = |directory: &Directory| Ok(directory.rejected()?.finish()?.1);
        self.directories[1..].iter().map(empty).collect()
    }

    pub(super) fn range(&self, number: usize) -> Option<RecordsetRange> {
        let number = u32::try_from(number).ok()?;
        self.ranges.map(|of| RecordsetRange { number, of })
    }

    /// Writes the manifests, that of the first range last: with it, all are complete.
    pub(super) fn complete(&self, manifests: &[Manifest]) -> Result<(), Error> {
        for (directory, manifest) in self.directories.iter().zip(manifests).rev() {
            directory.complete(manifest)?;
        }
        Ok(())
    }
}

/// Fails if a directory has anything but ranges.
fn check_contents(path: &Path, ranges: u32) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Ok(());
    };
    let is_range = |name: &str| {
        let number = name.strip_prefix("range-").map(str::parse::<u32>);
        number.is_some_and(|number| number.is_ok_and(|number| number < ranges))
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !is_range(&name) {
            let path = path.display();
            return Err(
                Error::usage(format!("{path} is not empty: it contains {name}"))
                    .hint("give a directory that is empty or does not exist"),
            );
        }
    }
    Ok(())
}

/// Deletes manifests of ranges whose run was interrupted before the first range was complete.
fn forget_manifests(directories: impl Iterator<Item = PathBuf>) -> Result<(), Error> {
    for directory in directories {
        let manifest = directory.join(FILE);
        if manifest.exists() {
            std::fs::remove_file(&manifest).map_err(|error| unwritable(&manifest, error))?;
        }
    }
    Ok(())
}

/// Delta rows, written to the file of their range. Rows come in the order of the ledger, so one file is open at a time.
pub(super) struct DeltaFiles<'o> {
    output: &'o Output,
    current: Writing,
    sums: RowSums,
    finished: Vec<(RowSums, FileDigest)>,
}

impl DeltaFiles<'_> {
    pub(super) fn put(
        &mut self,
        recordset: Uuid,
        [count, total]: [i64; 2],
        line: &[u8],
    ) -> Result<(), Error> {
        if let Some(of) = self.output.ranges {
            let number = RecordsetRange::number_for(recordset, of) as usize;
            while self.finished.len() < number {
                self.next_file()?;
            }
        }
        self.sums.add(count, total);
        self.current.put(line)
    }

    fn next_file(&mut self) -> Result<(), Error> {
        let next = self.output.directories[self.finished.len() + 1].deltas()?;
        let (_, digest) = std::mem::replace(&mut self.current, next).finish()?;
        self.finished.push((std::mem::take(&mut self.sums), digest));
        Ok(())
    }

    /// What each range has.
    pub(super) fn finish(mut self) -> Result<Vec<(RowSums, FileDigest)>, Error> {
        while self.finished.len() + 1 < self.output.directories.len() {
            self.next_file()?;
        }
        let (_, digest) = self.current.finish()?;
        self.finished.push((self.sums, digest));
        Ok(self.finished)
    }
}
