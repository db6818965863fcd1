//! Documents in files, recognised by their content and never by their names: JSON in any form that [`Values`] splits,
//! compressed or not; the old backup's zip; an aggregation object of a whole day.
//!
//! Files are read as streams: only one document and one batch are in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use super::document::{Defect, Document, Found, FoundAt};
use super::legacy_format;
use super::values::{Content, LONGEST, Piece, Shape, Values};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::excerpt;
use crate::hash::Hash;
use crate::unpack::{self, Packing};

/// Passes the content of a file to `take`, which returns whether to continue. With a day, the file is an aggregation
/// object of that day.
pub(super) fn read(
    path: &Path,
    day: Option<Day>,
    take: &mut dyn FnMut(FoundAt) -> bool,
) -> Result<(), Error> {
    let done = match unpack::packing(path) {
        Ok(Packing::Zip) => read_archive(path, day, take),
        Ok(_) => unpack::open(path)
            .and_then(|text| read_text(&path.display().to_string(), text, day, take).map(drop)),
        Err(error) => Err(error),
    };
    done.map_err(|error| {
        Error::new(
            ErrorKind::InputUnusable,
            format!("reading {} failed", path.display()),
        )
        .caused_by(error)
    })
}

/// The hash of a file. Refuses anything that can be read only once.
pub(super) fn hash(path: &Path) -> Result<Hash, Error> {
    let unreadable = || Error::usage(format!("{} cannot be read", path.display()));
    let mut file = File::open(path).map_err(|error| unreadable().caused_by(error))?;
    let is_file = file
        .metadata()
        .map_err(|error| unreadable().caused_by(error))?
        .is_file();
    if !is_file {
        return Err(unreadable()
            .caused_by("it is not a file")
            .hint("give regular files; save piped input to a file first"));
    }
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(|error| unreadable().caused_by(error))?;
    Ok(hash.into())
}

/// Passes the documents of a text, or with a day the members of an aggregation object, to `take`. Returns whether to
/// continue.
fn read_text(
    place: &str,
    text: impl BufRead,
    day: Option<Day>,
    take: &mut dyn FnMut(FoundAt) -> bool,
) -> io::Result<bool> {
    let shape = if day.is_some() {
        Shape::Members
    } else {
        Shape::Documents
    };
    let mut values = Values::new(text, shape)?;
    while let Some(Piece {
        line,
        column,
        key,
        content,
    }) = values.next()?
    {
        let unreadable = |message| Found::Unreadable(Defect { day, message });
        let found = match content {
            Content::Whole(text) => of_document(match day {
                Some(day) => legacy_format::read_member(day, &key, text).map(Some),
                None => legacy_format::read(text),
            }),
            Content::TooLong => unreadable(too_long(day)),
            Content::Broken { start, why } => {
                let kind = if day.is_some() {
                    "an aggregation object"
                } else {
                    "JSON"
                };
                let start = String::from_utf8_lossy(start);
                unreadable(format!(
                    "it is not {kind} ({why}): it starts '{}'",
                    excerpt(&start)
                ))
            }
            Content::Incomplete(what) => unreadable(what),
        };
        let place = match day {
            Some(_) if !key.is_empty() => format!("{place}:{}", excerpt(&key)),
            // As compilers write locations; the column only if it is not the first.
            _ if column > 1 => format!("{place}:{line}:{column}"),
            _ => format!("{place}:{line}"),
        };
        if !take(FoundAt { place, found }) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn of_document(read: Result<Option<Document>, Defect>) -> Found {
    match read {
        Ok(Some(document)) => Found::Document(document),
        Ok(None) => Found::OtherKind,
        Err(defect) => Found::Unreadable(defect),
    }
}

fn too_long(day: Option<Day>) -> String {
    let remedy = if day.is_none() {
        " (an aggregation object of a whole day is imported with --day)"
    } else {
        ""
    };
    format!("it is longer than {} MiB{remedy}", LONGEST >> 20)
}

/// Reads an archive. Members `…/search/RECORDSET/DATE.json.gz` are daily documents of the old backup; its other kinds
/// are only counted. Other members are read like files if they look like JSON.
fn read_archive(
    path: &Path,
    day: Option<Day>,
    take: &mut dyn FnMut(FoundAt) -> bool,
) -> io::Result<()> {
    let mut archive =
        ZipArchive::new(BufReader::new(File::open(path)?)).map_err(io::Error::other)?;
    for index in 0..archive.len() {
        let name = archive
            .name_for_index(index)
            .and_then(Result::ok)
            .map(Cow::into_owned)
            .unwrap_or_default();
        if name.ends_with('/') {
            continue;
        }
        let place = format!("{}:{name}", path.display());
        let found = match MemberName::of(&name) {
            _ if name.contains('\0') => Found::OtherKind,
            Some(MemberName { kind, .. }) if legacy_format::is_other_kind(kind) => Found::OtherKind,
            Some(named) if named.kind == "search" && day.is_none() => {
                named.checked(match member(&mut archive, index) {
                    Ok(Some(text)) => of_document(legacy_format::read(&text)),
                    Ok(None) => Found::Unreadable(Defect {
                        day: None,
                        message: too_long(None),
                    }),
                    // A damaged member does not stop the others.
                    Err(error) => Found::Unreadable(damaged(None, &error)),
                })
            }
            _ => match read_member(&place, &mut archive, index, day, take) {
                Ok(Some(true)) => continue,
                Ok(Some(false)) => break,
                Ok(None) => Found::OtherKind,
                Err(error) => Found::Unreadable(damaged(day, &error)),
            },
        };
        if !take(FoundAt { place, found }) {
            break;
        }
    }
    Ok(())
}

fn damaged(day: Option<Day>, error: &io::Error) -> Defect {
    Defect {
        day,
        message: format!("it cannot be unpacked: {error}"),
    }
}

/// Reads a member like a file; `None` if it does not look like JSON.
fn read_member(
    place: &str,
    archive: &mut ZipArchive<BufReader<File>>,
    index: usize,
    day: Option<Day>,
    take: &mut dyn FnMut(FoundAt) -> bool,
) -> io::Result<Option<bool>> {
    let member = archive.by_index(index).map_err(io::Error::other)?;
    let mut text = unpack::unpacked(BufReader::new(member))?;
    let is_blank = |byte: &&u8| {
        byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf | 0xfe | 0xff | 0)
    };
    match text.fill_buf()?.iter().find(|byte| !is_blank(byte)) {
        Some(b'{' | b'[') => read_text(place, text, day, take).map(Some),
        _ => Ok(None),
    }
}

/// The text of a member, compressed or not: the old backup stored plain text under names in .gz. `None` if it is too
/// long.
fn member(archive: &mut ZipArchive<BufReader<File>>, index: usize) -> io::Result<Option<Vec<u8>>> {
    let member = archive.by_index(index).map_err(io::Error::other)?;
    let mut text = Vec::new();
    unpack::unpacked(BufReader::new(member))?
        .take(LONGEST as u64 + 1)
        .read_to_end(&mut text)?;
    Ok((text.len() <= LONGEST).then_some(text))
}

/// What the name of a member says about its document.
struct MemberName<'a> {
    /// The folder of its kind: search, api, digest.
    kind: &'a str,
    recordset: &'a str,
    harvest_date: &'a str,
}

impl<'a> MemberName<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let mut parts = name.rsplit('/');
        let (file, recordset, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let harvest_date = file
            .strip_suffix(".gz")
            .unwrap_or(file)
            .strip_suffix(".json")?;
        Some(Self {
            kind,
            recordset,
            harvest_date,
        })
    }

    fn day(&self) -> Option<Day> {
        self.harvest_date.parse().ok().map(Day::previous)
    }

    /// Refuses a document that does not match the member's name.
    fn checked(&self, found: Found) -> Found {
        match found {
            Found::Document(document)
                if self.recordset.parse() != Ok(document.recordset_id)
                    || self.day() != Some(document.day) =>
            {
                let Document {
                    day, recordset_id, ..
                } = document;
                let holds = format!("recordset {recordset_id}, harvest_date {}", day.next());
                let message = format!("its name does not match its content: {holds}");
                Found::Unreadable(Defect {
                    day: Some(day),
                    message,
                })
            }
            Found::Unreadable(defect) => Found::Unreadable(Defect {
                day: defect.day.or(self.day()),
                ..defect
            }),
            found => found,
        }
    }
}
