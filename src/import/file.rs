//! Documents in files: daily documents one a line, the old backup's zip, an aggregation object of a whole day.
//!
//! Files are read as streams: what is in memory is one document and a batch of those that were read.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use super::document::{self, Defect, Document};
use super::{Found, FoundAt};
use crate::day::Day;
use crate::failure::Failure;

/// The longest document in bytes: as much as the old index took in one request.
const LONGEST_DOCUMENT: usize = 100 << 20;

/// Hands what a file holds to `take`, which says whether it wants more. With a day, the file is an aggregation object of it.
pub(super) fn read(path: &Path, day: Option<Day>, take: &mut dyn FnMut(FoundAt) -> bool) -> Result<(), Failure> {
    let done = match day {
        _ if has_ending(path, "zip") => read_backup(path, take),
        Some(day) => open(path).and_then(|text| read_object(path, day, text, take)),
        None => open(path).and_then(|text| read_lines(path, text, take)),
    };
    done.map_err(|error| Failure::failed(format!("reading {} failed", path.display())).caused_by(error))
}

/// The SHA-256 of a file, in hexadecimal. What can be read only once is refused.
pub(super) fn digest(path: &Path) -> Result<String, Failure> {
    let unreadable = || Failure::usage(format!("{} cannot be read", path.display()));
    let mut file = File::open(path).map_err(|error| unreadable().caused_by(error))?;
    let is_file = file.metadata().map_err(|error| unreadable().caused_by(error))?.is_file();
    if !is_file {
        return Err(unreadable()
            .caused_by("it is no file")
            .hint("give the files themselves; what comes through a pipe must be put into one"));
    }
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(|error| unreadable().caused_by(error))?;
    Ok(format!("{:x}", hash.finalize()))
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// The text of a file, unpacked if its name says that it is packed.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = BufReader::with_capacity(1 << 16, File::open(path)?);
    Ok(if has_ending(path, "gz") {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else if has_ending(path, "zst") {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file)?))
    } else {
        Box::new(file)
    })
}

fn read_lines(path: &Path, mut text: Box<dyn BufRead>, take: &mut dyn FnMut(FoundAt) -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let whole = read_at_most(&mut *text, &mut line)?;
        if line.is_empty() {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let found = if whole { of_document(document::read(&line)) } else { too_long(None) };
        if !take(FoundAt { place: format!("{}:{number}", path.display()), found }) {
            break;
        }
    }
    Ok(())
}

/// Reads a line; of one that is too long the start, and passes over the rest.
fn read_at_most(text: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let limit = LONGEST_DOCUMENT as u64 + 1;
    text.take(limit).read_until(b'\n', line)?;
    if line.len() <= LONGEST_DOCUMENT || line.ends_with(b"\n") {
        return Ok(true);
    }
    line.truncate(1);
    loop {
        let buffer = text.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let passed = end.map_or(buffer.len(), |end| end + 1);
        text.consume(passed);
        if end.is_some() || passed == 0 {
            return Ok(false);
        }
    }
}

fn of_document(read: Result<Option<Document>, Defect>) -> Found {
    match read {
        Ok(Some(document)) => Found::Document(document),
        Ok(None) => Found::OtherKind,
        Err(defect) => Found::Unreadable(defect),
    }
}

fn too_long(day: Option<Day>) -> Found {
    let message = format!("it is longer than {} MiB", LONGEST_DOCUMENT >> 20);
    Found::Unreadable(Defect { day, message })
}

/// Members `…/search/RECORDSET/DATE.json.gz` are daily documents; the others are counted.
fn read_backup(path: &Path, take: &mut dyn FnMut(FoundAt) -> bool) -> io::Result<()> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?)).map_err(io::Error::other)?;
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).and_then(Result::ok).map(Cow::into_owned).unwrap_or_default();
        if name.ends_with('/') {
            continue;
        }
        let found = match MemberName::of(&name) {
            None => Found::OtherKind,
            Some(_) if name.contains('\0') => Found::OtherKind,
            Some(named) => match member(&mut archive, index) {
                Ok(Some(text)) => named.checked(of_document(document::read(&text))),
                Ok(None) => too_long(named.day()),
                // One member that is damaged does not keep the others back.
                Err(error) => {
                    Found::Unreadable(Defect { day: named.day(), message: format!("it cannot be unpacked: {error}") })
                }
            },
        };
        if !take(FoundAt { place: format!("{}:{name}", path.display()), found }) {
            break;
        }
    }
    Ok(())
}

/// The text of a member: plain whatever its name says, as the old backup wrote it, or packed; none if it is too long.
fn member(archive: &mut ZipArchive<BufReader<File>>, index: usize) -> io::Result<Option<Vec<u8>>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let limit = LONGEST_DOCUMENT as u64 + 1;
    let mut text = Vec::new();
    archive.by_index(index).map_err(io::Error::other)?.take(limit).read_to_end(&mut text)?;
    if text.starts_with(&GZIP) {
        let packed = std::mem::take(&mut text);
        MultiGzDecoder::new(&packed[..]).take(limit).read_to_end(&mut text)?;
    }
    Ok((text.len() <= LONGEST_DOCUMENT).then_some(text))
}

/// What the name of a member says of the document in it.
struct MemberName<'a> {
    recordset: &'a str,
    harvest_date: &'a str,
}

impl<'a> MemberName<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let mut parts = name.rsplit('/');
        let (file, recordset, folder) = (parts.next()?, parts.next()?, parts.next()?);
        let harvest_date = file.strip_suffix(".gz").unwrap_or(file).strip_suffix(".json")?;
        (folder == "search").then_some(Self { recordset, harvest_date })
    }

    fn day(&self) -> Option<Day> {
        self.harvest_date.parse().ok().map(Day::previous)
    }

    /// Refuses a document that is not the one that the name says.
    fn checked(&self, found: Found) -> Found {
        match found {
            Found::Document(document)
                if self.recordset.parse() != Ok(document.recordset_id) || self.day() != Some(document.day) =>
            {
                let Document { day, recordset_id, .. } = document;
                let holds = format!("recordset {recordset_id}, harvest_date {}", day.next());
                let message = format!("its name does not fit what it holds: {holds}");
                Found::Unreadable(Defect { day: Some(day), message })
            }
            Found::Unreadable(defect) => Found::Unreadable(Defect { day: defect.day.or(self.day()), ..defect }),
            found => found,
        }
    }
}

/// Reads `{recordset: {record type: {stat type: …}}}`, one recordset at a time.
fn read_object(path: &Path, day: Day, text: Box<dyn BufRead>, take: &mut dyn FnMut(FoundAt) -> bool) -> io::Result<()> {
    let place = path.display().to_string();
    let mut wants_more = true;
    let mut deserializer = serde_json::Deserializer::from_reader(text);
    let members = Recordsets { day, place: &place, take, wants_more: &mut wants_more };
    let read = members.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match read {
        Err(error) if wants_more && error.is_io() => Err(error.into()),
        Err(error) if wants_more => {
            let message = format!("it cannot be read as an aggregation object: {error}");
            take(FoundAt { place, found: Found::Unreadable(Defect { day: Some(day), message }) });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Hands on each recordset of an aggregation object as it comes.
struct Recordsets<'a> {
    day: Day,
    place: &'a str,
    take: &'a mut dyn FnMut(FoundAt) -> bool,
    wants_more: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Recordsets<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Recordsets<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of recordsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((recordset, text)) = map.next_entry::<String, Box<RawValue>>()? {
            let found = if text.get().len() > LONGEST_DOCUMENT {
                too_long(Some(self.day))
            } else {
                of_document(document::read_member(self.day, &recordset, text.get()).map(Some))
            };
            let place = format!("{}:{}", self.place, crate::event::excerpt(&recordset));
            if !(self.take)(FoundAt { place, found }) {
                *self.wants_more = false;
                return Err(A::Error::custom("nobody wants more"));
            }
        }
        Ok(())
    }
}
