//! The files with events: what they are, and reading them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::date::DayInZone;
use super::event::{Take, unreadable};
use super::ndjson;
use crate::error::Error;
use crate::unpack;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// How a Parquet file starts.
const PARQUET: &[u8] = b"PAR1";

/// Reads the events of a file that are of the day. Returns how many are not.
pub(super) fn read(path: &Path, day: DayInZone, take: &mut Take<'_>) -> Result<i64, Error> {
    if path == Path::new(STDIN) {
        let stdin = BufReader::with_capacity(1 << 20, io::stdin());
        let unpacked = unpack::unpacked(stdin).map_err(|error| unreadable("stdin", error))?;
        return read_unpacked("stdin", unpacked, day, take);
    }
    let name = path.display().to_string();
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PARQUET.len() as u64).read_to_end(&mut start))
        .map_err(|error| unreadable(&name, error))?;
    if start == PARQUET {
        // The library panics on some damaged files.
        let reading = AssertUnwindSafe(|| read_parquet(path, day, take));
        return catch_unwind(reading).unwrap_or_else(|_| {
            Err(
                Error::failed(format!("{name} cannot be read as Parquet: it is damaged"))
                    .hint("get a complete copy of the file"),
            )
        });
    }
    let unpacked = unpack::open(path).map_err(|error| unreadable(&name, error))?;
    read_unpacked(&name, unpacked, day, take)
}

fn read_unpacked(
    name: &str,
    mut file: Box<dyn BufRead + Send>,
    day: DayInZone,
    take: &mut Take<'_>,
) -> Result<i64, Error> {
    let start = file.fill_buf().map_err(|error| unreadable(name, error))?;
    if start.starts_with(PARQUET) {
        return Err(Error::usage(format!("{name} is Parquet in a stream"))
            .hint("Parquet is read from its end: give a file that is not compressed as a whole"));
    }
    if start.starts_with(b"PK\x03\x04") {
        return Err(Error::usage(format!("{name} is a zip archive"))
            .hint("unpack it, or compress the events with gzip or zstd"));
    }
    ndjson::read(name, file, day, take)
}

#[cfg(feature = "parquet")]
use super::parquet::read as read_parquet;

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _day: DayInZone, _take: &mut Take<'_>) -> Result<i64, Error> {
    Err(Error::usage(format!("{} is Parquet", path.display()))
        .hint("this daybook was built without the feature parquet: build it with, or give NDJSON"))
}
