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

/// How sums are made of `N` numbers.
#[derive(Clone, Copy, Debug)]
pub struct Rules<const N: usize> {
    /// Adds up two sums of a key; none if that is too large.
    pub plus: fn([i64; N], [i64; N]) -> Option<[i64; N]>,
    /// Makes the error if the sum of a key is too large.
    pub overflow: fn(&[u8]) -> Error,
}

/// Sums by key.
#[derive(Debug)]
pub struct Sums<const N: usize> {
    table: Table<N>,
    /// Memory for the table, in bytes.
    limit: usize,
    directory: TempDir,
    files: Vec<File>,
    rules: Rules<N>,
}

impl<const N: usize> Sums<N> {
    pub fn new(limit: usize, directory: TempDir, rules: Rules<N>) -> Self {
        Self {
            table: Table::default(),
            limit,
            directory,
            files: Vec::new(),
            rules,
        }
    }

    /// Adds to the sum of a key.
    pub fn add(&mut self, key: &[u8], sum: [i64; N]) -> Result<(), Error> {
        let is_new = self.table.add(key, sum, self.rules.plus);
        let is_new = is_new.ok_or_else(|| (self.rules.overflow)(key))?;
        if is_new && self.table.memory() > self.limit {
            self.spill()?;
        }
        Ok(())
    }

    /// Adds all of others' sums.
    pub fn add_all(&mut self, others: Self) -> Result<(), Error> {
        for file in others.files {
            self.keep(file)?;
        }
        for (key, sum) in others.table.records() {
            self.add(key, sum)?;
        }
        Ok(())
    }

    /// The keys and their sums, in the order of the keys.
    pub fn in_order(mut self) -> Result<InOrder<N>, Error> {
        let kept = if self.files.is_empty() {
            Kept::InMemory(self.table.order().into_iter())
        } else {
            self.spill()?;
            let files = std::mem::take(&mut self.files);
            Kept::InFiles(
                Merge::new(files, self.rules.plus)
                    .map_err(|error| failed(&self.directory, error))?,
            )
        };
        Ok(InOrder { sums: self, kept })
    }

    /// Moves everything to a file.
    fn spill(&mut self) -> Result<(), Error> {
        let table = std::mem::take(&mut self.table);
        tracing::debug!(
            keys = table.places.len(),
            "sums continue in a temporary file"
        );
        let write = || {
            let mut writer = Writer::new(tempfile::tempfile_in(self.directory.path())?)?;
            for (_, place) in table.order() {
                let (key, sum) = table.record(place);
                writer.write(key, sum)?;
            }
            writer.finish()
        };
        let file = write().map_err(|error| failed(&self.directory, error))?;
        self.keep(file)
    }

    /// Keeps a file for the end, and merges all if there are many.
    fn keep(&mut self, file: File) -> Result<(), Error> {
        self.files.push(file);
        if self.files.len() == FAN_IN {
            let files = std::mem::take(&mut self.files);
            let create = || tempfile::tempfile_in(self.directory.path());
            let merged = merged(files, self.rules.plus, create);
            self.files
                .push(merged.map_err(|error| self.merge_failed(error))?);
        }
        Ok(())
    }

    fn merge_failed(&self, error: MergeError) -> Error {
        match error {
            MergeError::Overflow(key) => (self.rules.overflow)(&key),
            MergeError::Io(error) => failed(&self.directory, error),
        }
    }
}

fn failed(directory: &TempDir, error: io::Error) -> Error {
    let directory = directory.path().display();
    Error::new(
        ErrorKind::OutputUnwritable,
        format!("adding up exceeds the memory limit, and a temporary file in {directory} failed"),
    )
    .caused_by(error)
    .hint("set --temp-dir (DAYBOOK_TEMP_DIR) to an existing, writable directory with enough free space, on a disk, or raise --memory")
}

/// A key and its sum.
pub type Keyed<'a, const N: usize> = (&'a [u8], [i64; N]);

/// Keys and their sums, in the order of the keys.
#[derive(Debug)]
pub struct InOrder<const N: usize> {
    sums: Sums<N>,
    kept: Kept<N>,
}

/// Where they are.
#[derive(Debug)]
enum Kept<const N: usize> {
    InMemory(std::vec::IntoIter<(Prefix, usize)>),
    InFiles(Merge<N>),
}

impl<const N: usize> InOrder<N> {
    /// The next key with its sum; none at the end.
    pub fn next(&mut self) -> Result<Option<Keyed<'_, N>>, Error> {
        let Self { sums, kept } = self;
        match kept {
            Kept::InMemory(places) => Ok(places.next().map(|(_, place)| sums.table.record(place))),
            Kept::InFiles(merge) => {
                let is_there = merge.advance();
                let is_there = is_there.map_err(|error| sums.merge_failed(error))?;
                Ok(is_there.then_some((merge.key.as_slice(), merge.sum)))
            }
        }
    }
}

fn merged<const N: usize>(
    files: Vec<File>,
    plus: Plus<N>,
    create: impl Fn() -> io::Result<File>,
) -> Result<File, MergeError> {
    let mut merge = Merge::new(files, plus)?;
    let mut writer = Writer::new(create()?)?;
    while merge.advance()? {
        writer.write(&merge.key, merge.sum)?;
    }
    Ok(writer.finish()?)
}

type Plus<const N: usize> = fn([i64; N], [i64; N]) -> Option<[i64; N]>;

/// Sums in memory. All are in one buffer, each beside its key, so that finding and adding touch the same memory.
#[derive(Debug, Default)]
struct Table<const N: usize> {
    /// For each key: its sum, its length, the key.
    records: Vec<u8>,
    /// Where in `records` each begins.
    places: HashTable<usize>,
}

/// Bytes of a key that are compared first.
type Prefix = [u8; 16];

impl<const N: usize> Table<N> {
    const SUM: usize = size_of::<[i64; N]>();
    /// Bytes of a record before its key.
    const HEAD: usize = Self::SUM + size_of::<u32>();

    /// Adds to the sum of a key. Returns whether the key is new; none if the sum is too large.
    fn add(&mut self, key: &[u8], sum: [i64; N], plus: Plus<N>) -> Option<bool> {
        let hash = FxBuildHasher.hash_one(key);
        let found = self
            .places
            .find(hash, |place| key_at::<N>(&self.records, *place) == key);
        if let Some(&place) = found {
            let sum = plus(sum_at(&self.records, place), sum)?;
            for (bytes, n) in self.records[place..place + Self::SUM]
                .chunks_exact_mut(8)
                .zip(sum)
            {
                bytes.copy_from_slice(&n.to_le_bytes());
            }
            return Some(false);
        }
        let length = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        let place = self.records.len();
        for n in sum {
            self.records.extend(n.to_le_bytes());
        }
        self.records.extend(length.to_le_bytes());
        self.records.extend(key);
        self.places.insert_unique(hash, place, |place| {
            FxBuildHasher.hash_one(key_at::<N>(&self.records, *place))
        });
        Some(true)
    }

    /// Where the records begin, in the order of their keys.
    fn order(&self) -> Vec<(Prefix, usize)> {
        let mut places: Vec<(Prefix, usize)> = self
            .places
            .iter()
            .map(|place| (prefix_of(key_at::<N>(&self.records, *place)), *place))
            .collect();
        // Keys with the same prefix lie in the cache when they are compared with each other.
        places.sort_unstable_by_key(|(prefix, _)| *prefix);
        for same in places.chunk_by_mut(|(a, _), (b, _)| a == b) {
            same.sort_unstable_by_key(|(_, place)| key_at::<N>(&self.records, *place));
        }
        places
    }

    /// The key that begins at a place, and its sum.
    fn record(&self, place: usize) -> Keyed<'_, N> {
        (
            key_at::<N>(&self.records, place),
            sum_at(&self.records, place),
        )
    }

    /// The keys and their sums, in no particular order.
    fn records(&self) -> impl Iterator<Item = Keyed<'_, N>> {
        self.places.iter().map(|place| self.record(*place))
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

fn sum_at<const N: usize>(records: &[u8], place: usize) -> [i64; N] {
    std::array::from_fn(|n| {
        let bytes = records[place + n * size_of::<i64>()..].first_chunk();
        i64::from_le_bytes(*bytes.expect("a record has a sum"))
    })
}

fn key_at<const N: usize>(records: &[u8], place: usize) -> &[u8] {
    let length = records[place + Table::<N>::SUM..].first_chunk();
    let length = u32::from_le_bytes(*length.expect("a record has a length"));
    let start = place + Table::<N>::HEAD;
    &records[start..start + length as usize]
}

/// Writes sums to a file: the length of each key, the key, the numbers.
struct Writer(BufWriter<zstd::Encoder<'static, File>>);

impl Writer {
    fn new(file: File) -> io::Result<Self> {
        let encoder = zstd::Encoder::new(file, COMPRESSION_LEVEL)?;
        // A call of the encoder costs more than compressing so few bytes.
        Ok(Self(BufWriter::new(encoder)))
    }

    fn write<const N: usize>(&mut self, key: &[u8], sum: [i64; N]) -> io::Result<()> {
        let length = u32::try_from(key.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(key)?;
        sum.into_iter()
            .try_for_each(|n| self.0.write_all(&n.to_le_bytes()))
    }

    /// The file, to be read from its start.
    fn finish(self) -> io::Result<File> {
        let mut file = self.0.into_inner()?.finish()?;
        file.rewind()?;
        Ok(file)
    }
}

/// Reads what [`Writer`] has written.
struct Reader<const N: usize> {
    input: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    key: Vec<u8>,
    /// The sum of `key`; none at the end.
    sum: Option<[i64; N]>,
}

impl<const N: usize> std::fmt::Debug for Reader<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<const N: usize> Reader<N> {
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
        let mut sum = [0; N];
        for n in &mut sum {
            let mut bytes = [0; size_of::<i64>()];
            self.input.read_exact(&mut bytes)?;
            *n = i64::from_le_bytes(bytes);
        }
        self.sum = Some(sum);
        Ok(())
    }
}

/// Adds up the sums of several files, key by key.
#[derive(Debug)]
struct Merge<const N: usize> {
    readers: Vec<Reader<N>>,
    plus: Plus<N>,
    /// The current key and its sum.
    key: Vec<u8>,
    sum: [i64; N],
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

impl<const N: usize> Merge<N> {
    fn new(files: Vec<File>, plus: Plus<N>) -> io::Result<Self> {
        let readers = files.into_iter().map(Reader::new);
        Ok(Self {
            readers: readers.collect::<io::Result<_>>()?,
            plus,
            key: Vec::new(),
            sum: [0; N],
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
        let mut all: Option<[i64; N]> = None;
        for reader in &mut self.readers {
            if let Some(sum) = reader.sum.filter(|_| reader.key == self.key) {
                let sum = all.map_or(Some(sum), |all| (self.plus)(all, sum));
                let sum = sum.ok_or_else(|| MergeError::Overflow(self.key.as_slice().into()))?;
                all = Some(sum);
                reader.advance()?;
            }
        }
        self.sum = all.unwrap_or([0; N]);
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

    type Sum = [i64; 2];

    fn plus([a, b]: Sum, [c, d]: Sum) -> Option<Sum> {
        Some([a.checked_add(c)?, b.checked_add(d)?])
    }

    const RULES: Rules<2> = Rules {
        plus,
        overflow: |key| Error::new(ErrorKind::FigureTooLarge, format!("the sum of {key:?}")),
    };

    fn all_of(sums: Sums<2>) -> Result<Vec<(Vec<u8>, Sum)>, Error> {
        let (mut all, mut sums) = (Vec::new(), sums.in_order()?);
        while let Some((key, sum)) = sums.next()? {
            all.push((key.to_vec(), sum));
        }
        Ok(all)
    }

    #[test]
    fn sums_are_the_same_in_memory_and_in_files() {
        for limit in [usize::MAX, 4096, 100] {
            let mut parts = [(); 2].map(|()| Sums::new(limit, temp_dir(), RULES));
            let mut expected: BTreeMap<Vec<u8>, Sum> = BTreeMap::new();
            for n in 0..2000_i64 {
                // Keys of any length, also an empty one, that come again and again.
                let key = format!("{}", n * n % 331).into_bytes()[1..].to_vec();
                let part = &mut parts[usize::from(n % 3 == 0)];
                part.add(&key, [1, n - 700]).unwrap();
                let sum = expected.entry(key).or_default();
                *sum = plus(*sum, [1, n - 700]).unwrap();
            }
            let [mut sums, others] = parts;
            sums.add_all(others).unwrap();
            assert_eq!(sums.files.is_empty(), limit == usize::MAX);
            assert!(sums.files.len() < FAN_IN);
            let expected: Vec<(Vec<u8>, Sum)> = expected.into_iter().collect();
            assert_eq!(all_of(sums).unwrap(), expected, "{limit}");
        }
    }

    #[test]
    fn a_sum_that_exceeds_a_bigint_is_an_error_that_names_its_key() {
        for limit in [usize::MAX, 1] {
            let mut sums = Sums::new(limit, temp_dir(), RULES);
            sums.add(b"a", [1, i64::MAX]).unwrap();
            let added = sums.add(b"a", [0, 1]);
            let error = added.and_then(|()| all_of(sums)).unwrap_err();
            assert_eq!(error.message(), "the sum of [97]", "{limit}");
        }
    }

    #[test]
    fn a_directory_that_takes_no_files_is_named() {
        let gone = TempDir::new(None, Some("/nowhere".into())).unwrap();
        let mut sums = Sums::new(1, gone, RULES);
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
