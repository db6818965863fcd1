//! Reads a text byte by byte, and keeps what was read of a value.

use std::io::{self, Read};

/// The longest value in bytes: as much as the old index accepted in one request.
pub(in crate::import) const LONGEST: usize = 100 << 20;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// A place in a text.
pub(super) struct Cursor<R> {
    text: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// From 1.
    pub(super) line: u64,
    /// In bytes; from 1.
    pub(super) column: u64,
    /// The value that was read last.
    pub(super) value: Vec<u8>,
    pub(super) kept: Kept,
}

/// Whether the bytes that are read are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    All,
    /// There were too many.
    TooMany,
    Nothing,
}

impl<R: Read> Cursor<R> {
    /// Fails if the first bytes show that the text is not UTF-8.
    pub(super) fn new(text: R) -> io::Result<Self> {
        let mut cursor = Self {
            text,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            at: 0,
            end: 0,
            line: 1,
            column: 1,
            value: Vec::new(),
            kept: Kept::Nothing,
        };
        cursor.fill()?;
        if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] =
            cursor.buffer[..cursor.end]
        {
            let what = "it is in UTF-16 or UTF-32: convert it, for example with `iconv -f UTF-16 -t UTF-8`";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(cursor)
    }

    /// Reads a string; false if its line or the text ends first.
    pub(super) fn string(&mut self) -> io::Result<bool> {
        self.bump();
        loop {
            if self.peek()?.is_none() {
                return Ok(false);
            }
            let rest = &self.buffer[self.at..self.end];
            let plain = memchr::memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
            self.take(plain);
            match self.peek()? {
                Some(b'"') => {
                    self.bump();
                    return Ok(true);
                }
                Some(b'\\') => {
                    self.bump();
                    if matches!(self.peek()?, None | Some(b'\n')) {
                        return Ok(false);
                    }
                    self.bump();
                }
                Some(b'\n') => return Ok(false),
                Some(_) | None => {}
            }
        }
    }

    /// Skips the rest of a line, but keeps its start.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        const SHOWN: usize = 200;
        loop {
            if self.peek()?.is_none() {
                return Ok(());
            }
            if self.value.len() > SHOWN {
                self.kept = Kept::Nothing;
            }
            let rest = &self.buffer[self.at..self.end];
            match memchr::memchr(b'\n', rest) {
                Some(length) => {
                    self.take(length);
                    self.kept = Kept::Nothing;
                    self.bump();
                    return Ok(());
                }
                None => self.take(rest.len()),
            }
        }
    }

    pub(super) fn keep_all(&mut self) {
        self.value.clear();
        self.kept = Kept::All;
    }

    fn fill(&mut self) -> io::Result<()> {
        (self.at, self.end) = (0, 0);
        // A stream may return fewer bytes than requested before its end.
        while self.end < 2 {
            match self.text.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.end {
            self.fill()?;
        }
        Ok(self.buffer[..self.end].get(self.at).copied())
    }

    /// Consumes a peeked byte.
    #[inline]
    pub(super) fn bump(&mut self) {
        let byte = self.buffer[self.at];
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        if self.kept == Kept::All {
            self.value.push(byte);
            self.forget_what_is_too_long();
        }
    }

    /// Consumes bytes of the buffer that contain no line feed.
    fn take(&mut self, bytes: usize) {
        if self.kept == Kept::All {
            self.value
                .extend_from_slice(&self.buffer[self.at..self.at + bytes]);
            self.forget_what_is_too_long();
        }
        self.at += bytes;
        self.column += bytes as u64;
    }

    fn forget_what_is_too_long(&mut self) {
        if self.value.len() > LONGEST {
            self.kept = Kept::TooMany;
            self.value = Vec::new();
        }
    }
}
