//! Writes the file of an export, compressed if its name says so.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::destination::Destination;

/// Bytes to buffer before writing.
const BUFFER_BYTES: usize = 1 << 20;

/// The default level of zstd. It keeps up with reading the ledger.
const ZSTD_LEVEL: i32 = 3;

/// A file that is being written.
pub(super) enum Unfinished {
    Plain(BufWriter<Destination>),
    Gzip(GzEncoder<BufWriter<Destination>>),
    Zstd(zstd::Encoder<'static, BufWriter<Destination>>),
}

impl Unfinished {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, Destination::create(path)?);
        Ok(
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("gz") => Self::Gzip(GzEncoder::new(file, Compression::default())),
                Some("zst") => {
                    let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                    encoder.include_checksum(true)?;
                    Self::Zstd(encoder)
                }
                _ => Self::Plain(file),
            },
        )
    }

    /// Completes the file under its final name.
    pub(super) fn finish(self) -> io::Result<()> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .finish()
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
