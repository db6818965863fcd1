//! Opens files for reading, whichever way they are compressed.
//!
//! A file is recognised by its first bytes, never by its name. Everything is a stream: memory does not depend on how much
//! there is to unpack.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// How many bytes tell how a file is packed.
const TELLING: u64 = 4;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// As gzip does, in one member or several.
    Gzip,
    /// As zstd does.
    Zstd,
    /// An archive of files.
    Zip,
}

impl Packing {
    /// What the first bytes of a file say.
    fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // An archive without members consists of its end alone.
            b"PK\x03\x04" | b"PK\x05\x06" => Self::Zip,
            _ => Self::Plain,
        }
    }
}

/// How a file is packed.
pub fn packing(path: &Path) -> io::Result<Packing> {
    let mut first = Vec::new();
    File::open(path)?.take(TELLING).read_to_end(&mut first)?;
    Ok(Packing::of(&first))
}

/// Opens a file; what gzip or zstd packed comes unpacked.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    unpacked(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
}

/// The text of a stream; what gzip or zstd packed comes unpacked.
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
