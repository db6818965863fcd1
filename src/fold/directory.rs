//! The directory of a delta set while it is written.
//!
//! Files get their final names at once; the manifest, written in one step at the end, makes the directory a delta set.
//! What an interrupted run left is replaced, so a job can be run again. Anything else in the directory is refused.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::lines::Source;
use super::manifest::{DELTAS, FILE, FileDigest, Manifest, REJECTED};
use crate::destination::Destination;
use crate::error::{Error, ErrorKind};
use crate::workspace::TempDir;

/// The end of the names of files that exist only while the others are made.
const UNFINISHED: &str = ".unfinished";

/// Sorted runs are read many at a time, each with a window of this size (as a power of two): less than the default.
const WINDOW_LOG: u32 = 18;

/// A directory that is being filled. If it is dropped before it is complete, what was written is deleted.
pub(super) struct Directory {
    path: PathBuf,
    is_new: bool,
    runs: Cell<u64>,
    is_complete: Cell<bool>,
}

impl Directory {
    /// Creates a directory, or takes an empty one.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let is_new = !path.exists();
        let cannot = |error: io::Error| {
            Error::usage(format!("{} cannot be written to", path.display()))
                .caused_by(error)
                .hint("check the name and the permissions of the directory")
        };
        std::fs::create_dir_all(path).map_err(cannot)?;
        let directory = Self {
            path: path.to_owned(),
            is_new,
            runs: Cell::new(0),
            is_complete: Cell::new(true),
        };
        directory.check_empty(cannot)?;
        directory.is_complete.set(false);
        directory.clear();
        Ok(directory)
    }

    fn check_empty(&self, cannot: impl Fn(io::Error) -> Error) -> Result<(), Error> {
        let path = self.path.display();
        for entry in std::fs::read_dir(&self.path).map_err(&cannot)? {
            let name = entry.map_err(&cannot)?.file_name();
            let name = name.to_string_lossy();
            if name == FILE {
                return Err(Error::usage(format!("{path} already holds deltas"))
                    .hint("give another directory, or remove this one"));
            }
            if !is_ours(&name) {
                return Err(
                    Error::usage(format!("{path} is not empty: it contains {name}"))
                        .hint("give a directory that is empty or does not exist"),
                );
            }
        }
        Ok(())
    }

    /// Where counting may write temporary files, which have no names.
    pub(super) fn for_temporary_files(&self) -> Result<TempDir, Error> {
        TempDir::new(Some(self.path.clone()), None)
    }

    /// Starts the file of delta rows.
    pub(super) fn deltas(&self) -> Result<Writing, Error> {
        Writing::create(self.path.join(DELTAS), 3)
    }

    /// Starts the file of rejected events.
    pub(super) fn rejected(&self) -> Result<Writing, Error> {
        Writing::create(self.path.join(REJECTED), 3)
    }

    /// Starts a file that is needed only until the others are made.
    pub(super) fn run(&self) -> Result<Writing, Error> {
        let number = self.runs.get();
        self.runs.set(number + 1);
        Writing::create(self.path.join(format!("run-{number}{UNFINISHED}")), 1)
    }

    /// Deletes a run that is not needed any more.
    pub(super) fn discard(&self, source: &Source) {
        let is_run = source.path.parent() == Some(&self.path)
            && source
                .path
                .extension()
                .is_some_and(|end| end == "unfinished");
        if is_run {
            // What remains is deleted at the end.
            let _ = std::fs::remove_file(&source.path);
        }
    }

    /// Writes the manifest. From then on, the directory is a delta set.
    pub(super) fn complete(&self, manifest: &Manifest) -> Result<(), Error> {
        let path = self.path.join(FILE);
        let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| {
            Error::new(ErrorKind::Internal, "writing a manifest failed").caused_by(error)
        })?;
        text.push(b'\n');
        let write = || {
            let mut file = Destination::create(&path)?;
            file.write_all(&text)?;
            file.finish()
        };
        self.clear_runs();
        write().map_err(|error| unwritable(&path, error))?;
        self.is_complete.set(true);
        Ok(())
    }

    /// Deletes what this or an interrupted run has written.
    fn clear(&self) {
        self.delete(is_ours);
    }

    fn clear_runs(&self) {
        self.delete(|name| is_ours(name) && name.ends_with(UNFINISHED));
    }

    fn delete(&self, which: impl Fn(&str) -> bool) {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            if which(&entry.file_name().to_string_lossy()) {
                // What remains is replaced by the next run.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.is_complete.get() {
            self.clear();
            if self.is_new {
                let _ = std::fs::remove_dir(&self.path);
            }
        }
    }
}

fn is_ours(name: &str) -> bool {
    matches!(name, DELTAS | REJECTED)
        || ((name.starts_with("run-") || name.starts_with(FILE)) && name.ends_with(UNFINISHED))
}

pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::OutputUnwritable,
        format!("{} cannot be written", path.display()),
    )
    .caused_by(error)
    .hint("check that the disk has space")
}

/// A file of lines that is being written, compressed.
pub(super) struct Writing {
    path: PathBuf,
    file: zstd::Encoder<'static, Hashing>,
    rows: u64,
}

impl Writing {
    fn create(path: PathBuf, level: i32) -> Result<Self, Error> {
        let open = || {
            let mut encoder = zstd::Encoder::new(Hashing::create(&path)?, level)?;
            encoder.include_checksum(true)?;
            encoder.window_log(WINDOW_LOG)?;
            Ok(encoder)
        };
        let file = open().map_err(|error| unwritable(&path, error))?;
        Ok(Self {
            path,
            file,
            rows: 0,
        })
    }

    /// Adds a line, which must end with a line feed.
    pub(super) fn put(&mut self, line: &[u8]) -> Result<(), Error> {
        self.rows += 1;
        self.file
            .write_all(line)
            .map_err(|error| unwritable(&self.path, error))
    }

    /// Writes the file to disk. Returns its path and its digest.
    pub(super) fn finish(self) -> Result<(PathBuf, FileDigest), Error> {
        let Self { path, file, rows } = self;
        let name = path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let finish = || {
            let Hashing {
                file,
                digest,
                bytes,
            } = file.finish()?;
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            Ok(FileDigest {
                name,
                rows,
                bytes,
                sha256: digest.into(),
            })
        };
        match finish() {
            Ok(digest) => Ok((path, digest)),
            Err(error) => Err(unwritable(&path, error)),
        }
    }
}

/// A file, and the hash of what was written to it.
struct Hashing {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Hashing {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, File::create(path)?),
            digest: Sha256::new(),
            bytes: 0,
        })
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
