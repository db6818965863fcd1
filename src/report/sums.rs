//! Sums by key within a memory limit.
//!
//! What exceeds the limit goes, sorted, into temporary files, which are merged in the end. The files have no names, so a
//! crash leaves nothing behind.

use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write as _};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::error::{Error, ErrorKind};
use crate::workspace::TempDir;

/// Maximum number of files in one merge.
const FAN_IN: usize = if cfg!(debug_assertions) { 3 } else { 32 };

/// The fastest level that is worth it: neighbours have most of their keys in common.
const COMPRESSION_LEVEL: i32 = 1;

/// Interactions and records involved.
pub type Sum = [i64; 2];

/// Sums by key.
#[derive(Debug)]
pub struct Sums {
    table: Table,
    /// Memory for the table, in bytes.
    limit: usize,
    directory: TempDir,
    files: Vec<File>,
    /// Makes the error if the sum of a key exceeds a bigint.
    overflow: fn(&[u8]) -> Error,
}

impl Sums {
    pub fn new(limit: usize, directory: TempDir, overflow: fn(&[u8]) -> Error) -> Self {
        Self {
            table: Table::default(),
            limit,
            directory,
            files: Vec::new(),
            overflow,
        }
    }

    /// Adds to the sum of a key.
    pub fn add(&mut self, key: &[u8], sum: Sum) -> Result<(), Error> {
        let is_new = self.table.add(key, sum);
        let is_new = is_new.ok_or_else(|| (self.overflow)(key))?;
        if is_new && self.table.memory() > self.limit {
            self.spill()?;
        }
        Ok(())
    }

    /// Calls `take` with each key and its sum, in the order of the keys.
    pub fn for_each(
        mut self,
        mut take: impl FnMut(&[u8], Sum) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.files.is_empty() {
            return self
                .table
                .in_order()
                .try_for_each(|(key, sum)| take(key, sum));
        }
        self.spill()?;
        let files = std::mem::take(&mut self.files);
        let mut merge = Merge::new(files).map_err(|error| self.failed(error))?;
        while merge.advance().map_err(|error| self.merge_failed(error))? {
            take(&merge.key, merge.sum)?;
        }
        Ok(())
    }

    /// Moves everything to a file.
    fn spill(&mut self) -> Result<(), Error> {
        let table = std::mem::take(&mut self.table);
        let write = || {
            let mut writer = Writer::new(tempfile::tempfile_in(self.directory.path())?)?;
            for (key, sum) in table.in_order() {
                writer.write(key, sum)?;
            }
            writer.finish()
        };
        let file = write().map_err(|error| self.failed(error))?;
        self.files.push(file);
        if self.files.len() == FAN_IN {
            let files = std::mem::take(&mut self.files);
            let merged = merged(files, || tempfile::tempfile_in(self.directory.path()));
            self.files
                .push(merged.map_err(|error| self.merge_failed(error))?);
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> Error {
        let directory = self.directory.path().display();
        Error::new(
            ErrorKind::OutputUnwritable,
            format!("counting exceeds the memory limit, and a temporary file in {directory} failed"),
        )
        .caused_by(error)
        .hint("set --temp-dir (DAYBOOK_TEMP_DIR) to an existing, writable directory with enough free space, on a disk, or raise --memory")
    }

    fn merge_failed(&self, error: MergeError) -> Error {
        match error {
            MergeError::Overflow(key) => (self.overflow)(&key),
            MergeError::Io(error) => self.failed(error),
        }
    }
}

fn merged(files: Vec<File>, create: impl Fn() -> io::Result<File>) -> Result<File, MergeError> {
    let mut merge = Merge::new(files)?;
    let mut writer = Writer::new(create()?)?;
    while merge.advance()? {
        writer.write(&merge.key, merge.sum)?;
    }
    Ok(writer.finish()?)
}

/// Sums in memory. All are in one buffer, each beside its key, so that finding and adding touch the same memory.
#[derive(Debug, Default)]
struct Table {
    /// For each key: its sum, its length, the key.
    records: Vec<u8>,
    /// Where in `records` each begins.
    places: HashTable<usize>,
}

/// Bytes of a record before its key.
const RECORD_HEAD: usize = size_of::<Sum>() + size_of::<u32>();

/// Bytes of a key that are compared first.
type Prefix = [u8; 16];

impl Table {
    /// Adds to the sum of a key. Returns whether the key is new; none if the sum exceeds a bigint.
    fn add(&mut self, key: &[u8], sum: Sum) -> Option<bool> {
        let hash = FxBuildHasher.hash_one(key);
        let found = self
            .places
            .find(hash, |place| key_at(&self.records, *place) == key);
        if let Some(&place) = found {
            let sum = plus(sum_at(&self.records, place), sum)?;
            self.records[place..place + size_of::<Sum>()].copy_from_slice(&bytes_of(sum));
            return Some(false);
        }
        let length = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        let place = self.records.len();
        self.records.extend(bytes_of(sum));
        self.records.extend(length.to_le_bytes());
        self.records.extend(key);
        self.places.insert_unique(hash, place, |place| {
            FxBuildHasher.hash_one(key_at(&self.records, *place))
        });
        Some(true)
    }

    /// The keys and their sums, in the order of the keys.
    fn in_order(&self) -> impl Iterator<Item = (&[u8], Sum)> {
        let mut places: Vec<(Prefix, usize)> = self
            .places
            .iter()
            .map(|place| (prefix_of(key_at(&self.records, *place)), *place))
            .collect();
        // Keys with the same prefix lie in the cache when they are compared with each other.
        places.sort_unstable_by_key(|(prefix, _)| *prefix);
        for same in places.chunk_by_mut(|(a, _), (b, _)| a == b) {
            same.sort_unstable_by_key(|(_, place)| key_at(&self.records, *place));
        }
        places.into_iter().map(|(_, place)| {
            let key = key_at(&self.records, place);
            (key, sum_at(&self.records, place))
        })
    }

    /// Memory in use, in bytes, with what sorting takes.
    fn memory(&self) -> usize {
        self.records.capacity()
            + self.places.allocation_size()
            + self.places.len() * size_of::<(Prefix, usize)>()
    }
}

/// The beginning of a key. Shorter keys are filled up with zeros, which keeps the order; keys that differ only in zeros
/// at their end have the same prefix.
fn prefix_of(key: &[u8]) -> Prefix {
    let mut prefix = Prefix::default();
    let length = key.len().min(prefix.len());
    prefix[..length].copy_from_slice(&key[..length]);
    prefix
}

fn bytes_of([count, total]: Sum) -> [u8; size_of::<Sum>()] {
    let mut bytes = [0; size_of::<Sum>()];
    let (first, second) = bytes.split_at_mut(size_of::<i64>());
    first.copy_from_slice(&count.to_le_bytes());
    second.copy_from_slice(&total.to_le_bytes());
    bytes
}

fn sum_at(records: &[u8], place: usize) -> Sum {
    [0, size_of::<i64>()].map(|offset| {
        let bytes = records[place + offset..].first_chunk();
        i64::from_le_bytes(*bytes.expect("a record has a sum"))
    })
}

fn key_at(records: &[u8], place: usize) -> &[u8] {
    let length = records[place + size_of::<Sum>()..].first_chunk();
    let length = u32::from_le_bytes(*length.expect("a record has a length"));
    let start = place + RECORD_HEAD;
    &records[start..start + length as usize]
}

fn plus([count, total]: Sum, [more_count, more_total]: Sum) -> Option<Sum> {
    Some([
        count.checked_add(more_count)?,
        total.checked_add(more_total)?,
    ])
}

/// Writes sums to a file: the length of each key, the key, the sums.
struct Writer(zstd::Encoder<'static, BufWriter<File>>);

impl Writer {
    fn new(file: File) -> io::Result<Self> {
        let encoder = zstd::Encoder::new(BufWriter::new(file), COMPRESSION_LEVEL)?;
        Ok(Self(encoder))
    }

    fn write(&mut self, key: &[u8], sum: Sum) -> io::Result<()> {
        let length = u32::try_from(key.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(key)?;
        self.0.write_all(&bytes_of(sum))
    }

    /// The file, to be read from its start.
    fn finish(self) -> io::Result<File> {
        let mut file = self.0.finish()?.into_inner()?;
        file.rewind()?;
        Ok(file)
    }
}

/// Reads what [`Writer`] has written.
struct Reader {
    input: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    key: Vec<u8>,
    /// The sum of `key`; none at the end.
    sum: Option<Sum>,
}

impl Reader {
    fn new(file: File) -> io::Result<Self> {
        let mut reader = Self {
            input: BufReader::new(zstd::Decoder::new(file)?),
            key: Vec::new(),
            sum: None,
        };
        reader.advance()?;
        Ok(reader)
    }

    fn advance(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.sum = None;
        if let Err(error) = self.input.read_exact(&mut length) {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(()),
                _ => Err(error),
            };
        }
        self.key.resize(u32::from_le_bytes(length) as usize, 0);
        self.input.read_exact(&mut self.key)?;
        let (mut count, mut total) = ([0; 8], [0; 8]);
        self.input.read_exact(&mut count)?;
        self.input.read_exact(&mut total)?;
        self.sum = Some([i64::from_le_bytes(count), i64::from_le_bytes(total)]);
        Ok(())
    }
}

/// Adds up the sums of several files, key by key.
struct Merge {
    readers: Vec<Reader>,
    /// The current key and its sum.
    key: Vec<u8>,
    sum: Sum,
}

#[derive(Debug)]
enum MergeError {
    Overflow(Box<[u8]>),
    Io(io::Error),
}

impl From<io::Error> for MergeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Merge {
    fn new(files: Vec<File>) -> io::Result<Self> {
        let readers = files.into_iter().map(Reader::new);
        Ok(Self {
            readers: readers.collect::<io::Result<_>>()?,
            key: Vec::new(),
            sum: [0; 2],
        })
    }

    /// Goes to the next key. Returns false at the end.
    fn advance(&mut self) -> Result<bool, MergeError> {
        let keys = self
            .readers
            .iter()
            .filter(|reader| reader.sum.is_some())
            .map(|reader| &reader.key);
        let Some(key) = keys.min() else {
            return Ok(false);
        };
        self.key.clone_from(key);
        self.sum = [0; 2];
        for reader in &mut self.readers {
            if let Some(sum) = reader.sum.filter(|_| reader.key == self.key) {
                self.sum = plus(self.sum, sum)
                    .ok_or_else(|| MergeError::Overflow(self.key.as_slice().into()))?;
                reader.advance()?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn temp_dir() -> TempDir {
        TempDir::new(Some(std::env::temp_dir()), None).unwrap()
    }

    fn overflow(key: &[u8]) -> Error {
        Error::new(ErrorKind::FigureTooLarge, format!("the sum of {key:?}"))
    }

    fn all_of(sums: Sums) -> Result<Vec<(Vec<u8>, Sum)>, Error> {
        let mut all = Vec::new();
        sums.for_each(|key, sum| {
            all.push((key.to_vec(), sum));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn sums_are_the_same_in_memory_and_in_files() {
        for limit in [usize::MAX, 4096, 100] {
            let mut sums = Sums::new(limit, temp_dir(), overflow);
            let mut expected: BTreeMap<Vec<u8>, Sum> = BTreeMap::new();
            for n in 0..2000_i64 {
                // Keys of any length, also an empty one, that come again and again.
                let key = format!("{}", n * n % 331).into_bytes()[1..].to_vec();
                sums.add(&key, [1, n - 700]).unwrap();
                let sum = expected.entry(key).or_default();
                *sum = plus(*sum, [1, n - 700]).unwrap();
            }
            assert_eq!(sums.files.is_empty(), limit == usize::MAX);
            assert!(sums.files.len() < FAN_IN);
            let expected: Vec<(Vec<u8>, Sum)> = expected.into_iter().collect();
            assert_eq!(all_of(sums).unwrap(), expected, "{limit}");
        }
    }

    #[test]
    fn a_sum_that_exceeds_a_bigint_is_an_error_that_names_its_key() {
        for limit in [usize::MAX, 1] {
            let mut sums = Sums::new(limit, temp_dir(), overflow);
            sums.add(b"a", [1, i64::MAX]).unwrap();
            let added = sums.add(b"a", [0, 1]);
            let error = added.and_then(|()| all_of(sums)).unwrap_err();
            assert_eq!(error.message(), "the sum of [97]", "{limit}");
        }
    }

    #[test]
    fn a_directory_that_takes_no_files_is_named() {
        let gone = TempDir::new(None, Some("/nowhere".into())).unwrap();
        let mut sums = Sums::new(1, gone, overflow);
        let error = sums.add(b"a", [1, 1]).unwrap_err();
        assert!(
            error
                .message()
                .contains("a temporary file in /nowhere failed"),
            "{}",
            error.message()
        );
    }
}
