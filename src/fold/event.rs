//! An event that was read from a file.

use std::io;

use crate::error::{Error, ErrorKind};
use crate::event::{Rejection, SourceRow};
use crate::source::Texts;

/// An event of the day, with the columns that are counted.
pub(super) struct FileEvent<'a> {
    pub(super) id: i64,
    /// Type, record type, payload, geocode and query hash, as UTF-8 unless the file holds something else.
    pub(super) columns: [Option<&'a [u8]>; 5],
    /// The whole event as JSON, made only if it is rejected.
    pub(super) json: &'a dyn Fn() -> Vec<u8>,
}

impl FileEvent<'_> {
    /// Calls `take` with the row, or with the rejection of an event that is not text.
    pub(super) fn decode<T>(&self, take: impl FnOnce(Result<SourceRow<'_>, Rejection>) -> T) -> T {
        take(Texts::of_utf8(self.id, self.columns).decode())
    }
}

/// What is done with each event of the day.
pub(super) type Take<'t> = dyn FnMut(&FileEvent<'_>) -> Result<(), Error> + 't;

/// The error of a file that cannot be read.
pub(super) fn unreadable(name: &str, error: io::Error) -> Error {
    let what = format!("{name} cannot be read");
    let failure = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            Error::usage(what).hint("check the name and the permissions of the file")
        }
        _ => Error::new(ErrorKind::InputUnusable, what).hint("get a complete copy of the file"),
    };
    failure.caused_by(error)
}
