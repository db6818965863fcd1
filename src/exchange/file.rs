//! The file of an export: compressed by its name when it is written, by its first bytes when it is read.
//!
//! It is written under another name beside and gets its own when it is complete, so that what broke off never looks whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Read and written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// The level of zstd: its default, which is as fast as the ledger is read.
const ZSTD_LEVEL: i32 = 3;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file that is being written.
pub(super) struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    encoder: Option<Encoder>,
}

enum Encoder {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Unfinished {
    /// Creates the file under its temporary name.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        name.push(format!(".{}.unfinished", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&temporary)?);
        let encoder = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Encoder::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => {
                let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
            _ => Encoder::Plain(file),
        };
        Ok(Self { path: path.to_owned(), temporary, encoder: Some(encoder) })
    }

    /// Gives the file its name, once all of it is on the disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let file = match self.encoder.take() {
            Some(Encoder::Plain(file)) => file,
            Some(Encoder::Gzip(encoder)) => encoder.finish()?,
            Some(Encoder::Zstd(encoder)) => encoder.finish()?,
            None => return Ok(()),
        };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&self.temporary, &self.path)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Some(Encoder::Plain(file)) => file.write(bytes),
            Some(Encoder::Gzip(encoder)) => encoder.write(bytes),
            Some(Encoder::Zstd(encoder)) => encoder.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.encoder {
            Some(Encoder::Plain(file)) => file.flush(),
            Some(Encoder::Gzip(encoder)) => encoder.flush(),
            Some(Encoder::Zstd(encoder)) => encoder.flush(),
            None => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After it was renamed there is none; where it cannot be removed, its name says what it is.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// Opens a file for reading, whichever way it is compressed.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut first = Vec::new();
    File::open(path)?.take(ZSTD.len() as u64).read_to_end(&mut first)?;
    let file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    Ok(if first.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)))
    } else if first.starts_with(&ZSTD) {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::with_buffer(file)?))
    } else {
        Box::new(file)
    })
}
