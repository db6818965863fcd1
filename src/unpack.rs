//! Opens files for reading and decompresses them.
//!
//! The first bytes of a file determine its format, not its name. Files are streamed, so memory does not depend on their
//! size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// The number of bytes that identify the format.
const TELLING: u64 = 4;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not compressed.
    Plain,
    /// gzip, with one or more members.
    Gzip,
    Zstd,
    Zip,
}

impl Packing {
    fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // An empty archive consists only of its end record.
            b"PK\x03\x04" | b"PK\x05\x06" => Self::Zip,
            _ => Self::Plain,
        }
    }
}

/// The format of a file.
pub fn packing(path: &Path) -> io::Result<Packing> {
    let mut first = Vec::new();
    File::open(path)?.take(TELLING).read_to_end(&mut first)?;
    Ok(Packing::of(&first))
}

/// Opens a file, and decompresses gzip and zstd.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    unpacked(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
}

/// Decompresses a gzip or zstd stream; returns others unchanged.
pub fn unpacked<'a>(
    mut packed: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let mut first = Vec::new();
    packed.by_ref().take(TELLING).read_to_end(&mut first)?;
    let packing = Packing::of(&first);
    let whole = Cursor::new(first).chain(packed);
    Ok(match packing {
        Packing::Gzip => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            MultiGzDecoder::new(whole),
        )),
        Packing::Zstd => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            zstd::Decoder::with_buffer(whole)?,
        )),
        Packing::Plain | Packing::Zip => Box::new(whole),
    })
}
