//! The files with events: what they are, and reading them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::date::DayInZone;
use super::event::{Take, unreadable};
use super::ndjson;
use crate::error::{Error, ErrorKind};
use crate::unpack;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// How a Parquet file starts.
const PARQUET: &[u8] = b"PAR1";

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// The files to read, without one that is given twice.
pub(super) fn check_distinct(files: &[PathBuf]) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for path in files {
        let is_stdin = path == Path::new(STDIN);
        let identity = if is_stdin {
            None
        } else {
            // A file that cannot be looked at cannot be read either, which is reported then.
            let Ok(metadata) = std::fs::metadata(path) else {
                continue;
            };
            Some((metadata.dev(), metadata.ino()))
        };
        if let Some(other) = seen.insert(identity, path) {
            return Err(Error::usage(format!(
                "{} and {} are one file: its events would be counted twice",
                other.display(),
                path.display()
            ))
            .hint("give each file once"));
        }
    }
    Ok(())
}

/// Reads the events of a file that are of the day. Returns how many are not.
pub(super) fn read(
    path: &Path,
    day: DayInZone,
    longest_line: u64,
    take: &mut Take<'_>,
) -> Result<i64, Error> {
    if path == Path::new(STDIN) {
        let stdin = BufReader::with_capacity(BUFFER_BYTES, io::stdin());
        return read_stream("stdin", stdin, day, longest_line, take);
    }
    let name = path.display().to_string();
    // Opened once: the start of a pipe cannot be read again.
    let mut file = File::open(path)
        .map(|file| BufReader::with_capacity(BUFFER_BYTES, file))
        .map_err(|error| unreadable(&name, error))?;
    let start = file.fill_buf().map_err(|error| unreadable(&name, error))?;
    if start.starts_with(PARQUET) {
        // The library panics on some damaged files.
        let reading = AssertUnwindSafe(|| read_parquet(path, day, take));
        return catch_unwind(reading).unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::InputUnusable,
                format!("{name} cannot be read as Parquet: it is damaged"),
            )
            .hint("get a complete copy of the file"))
        });
    }
    read_stream(&name, file, day, longest_line, take)
}

fn read_stream(
    name: &str,
    file: impl BufRead + Send + 'static,
    day: DayInZone,
    longest_line: u64,
    take: &mut Take<'_>,
) -> Result<i64, Error> {
    let mut file = unpack::unpacked(file).map_err(|error| unreadable(name, error))?;
    let start = file.fill_buf().map_err(|error| unreadable(name, error))?;
    if start.starts_with(PARQUET) {
        return Err(Error::usage(format!("{name} is Parquet in a stream"))
            .hint("Parquet is read from its end: give a file that is not compressed as a whole"));
    }
    if start.starts_with(b"PK\x03\x04") {
        return Err(Error::usage(format!("{name} is a zip archive"))
            .hint("unpack it, or compress the events with gzip or zstd"));
    }
    ndjson::read(name, file, day, longest_line, take)
}

#[cfg(feature = "parquet")]
use super::parquet::read as read_parquet;

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _day: DayInZone, _take: &mut Take<'_>) -> Result<i64, Error> {
    Err(Error::usage(format!("{} is Parquet", path.display()))
        .hint("this daybook was built without the feature parquet: build it with, or give NDJSON"))
}
