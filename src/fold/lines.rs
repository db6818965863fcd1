//! Sorted lines, read one at a time.
//!
//! A line starts with its key. Only the key of the next line is in memory until the line is asked for, so that hundreds of
//! files with very long lines can be merged.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// The longest line accepted: longer than any row that the server accepts.
const LONGEST_LINE: u64 = 1 << 30;

/// The longest start of a line with its key.
const LONGEST_KEY: u64 = 1 << 10;

/// Bytes read at a time. Hundreds of files are open together.
const BUFFER_BYTES: usize = 1 << 16;

/// The largest window accepted, as a power of two: that of zstd's default level, and more than daybook uses.
const LARGEST_WINDOW_LOG: u32 = 21;

/// What lines are sorted by.
pub(super) trait Key: Copy + Ord + fmt::Display {
    /// The number of fields that make up the key.
    const FIELDS: usize;

    /// Reads an object of these fields.
    fn parse(object: &str) -> Option<Self>;
}

/// A file of sorted lines.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// How many lines it must have.
    pub(super) rows: u64,
}

/// The lines of a file.
pub(super) struct Lines<K> {
    path: PathBuf,
    file: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    line: Vec<u8>,
    number: u64,
    rows: u64,
    head: Option<K>,
}

impl<K: Key> Lines<K> {
    /// Opens a file, and reads the key of its first line.
    pub(super) fn open(source: &Source) -> Result<Self, Error> {
        let Source { path, rows } = source;
        let file = unpacked(path).map_err(|error| unreadable(path, error))?;
        let mut lines = Self {
            path: path.clone(),
            file,
            line: Vec::new(),
            number: 0,
            rows: *rows,
            head: None,
        };
        lines.advance()?;
        Ok(lines)
    }

    /// The key of the current line; none at the end.
    pub(super) fn head(&self) -> Option<K> {
        self.head
    }

    /// Reads the current line to its end.
    pub(super) fn line(&mut self) -> Result<&str, Error> {
        let limit = LONGEST_LINE - LONGEST_KEY;
        let mut file = (&mut self.file).take(limit);
        file.read_until(b'\n', &mut self.line)
            .map_err(|error| unreadable(&self.path, error))?;
        if self.line.last() != Some(&b'\n') {
            return Err(self.refused("is cut off or too long"));
        }
        str::from_utf8(&self.line).map_err(|error| self.refused("is not UTF-8").caused_by(error))
    }

    /// Frees the memory of the current line, which must have been read.
    pub(super) fn release(&mut self) {
        self.line = Vec::new();
    }

    /// Continues with the next line. The current one must have been read.
    pub(super) fn advance(&mut self) -> Result<(), Error> {
        self.line.clear();
        let before = self.head.take();
        let mut file = (&mut self.file).take(LONGEST_KEY);
        for _ in 0..K::FIELDS {
            file.read_until(b',', &mut self.line)
                .map_err(|error| unreadable(&self.path, error))?;
        }
        if self.line.is_empty() {
            return self.check_rows();
        }
        self.number += 1;
        let object = str::from_utf8(&self.line).ok();
        let object = object.and_then(|text| text.strip_suffix(','));
        let Some(key) = object.and_then(|fields| K::parse(&format!("{fields}}}"))) else {
            return Err(self.refused("does not start as daybook writes it"));
        };
        match before {
            Some(before) if before == key => Err(self.refused(&format!("repeats {key}"))),
            Some(before) if before > key => {
                Err(self.refused(&format!("is out of order: {key} comes after {before}")))
            }
            _ => {
                self.head = Some(key);
                Ok(())
            }
        }
    }

    fn check_rows(&self) -> Result<(), Error> {
        if self.number == self.rows {
            return Ok(());
        }
        Err(refused(
            &self.path,
            &format!(
                "it has {} lines, but the manifest says {}",
                self.number, self.rows
            ),
        ))
    }

    /// The refusal of the current line.
    pub(super) fn refused(&self, what: &str) -> Error {
        refused(&self.path, &format!("line {} {what}", self.number))
    }
}

/// Opens a file of a delta set. A window that is too large is refused before memory is taken for it.
fn unpacked(path: &Path) -> io::Result<BufReader<zstd::Decoder<'static, BufReader<File>>>> {
    let file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let mut decoder = zstd::Decoder::with_buffer(file)?;
    decoder.window_log_max(LARGEST_WINDOW_LOG)?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, decoder))
}

/// The refusal of a file or directory.
pub(super) fn refused(path: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::InputUnusable,
        format!("{} is refused: {what}", path.display()),
    )
    .hint("get a complete copy of the directory, or make it again with `daybook fold`")
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::InputUnusable,
        format!("{} cannot be read", path.display()),
    )
    .caused_by(error)
    .hint("get a complete copy of the directory, or make it again with `daybook fold`")
}
