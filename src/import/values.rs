//! Splits a text into its JSON documents, as a stream: one per line, pretty-printed, in an array, or in a saved search
//! response.
//!
//! Only one document of at most [`LONGEST`] bytes is in memory. Documents are not validated here; only their ends are
//! found. If an end cannot be found, the text is skipped up to the next line that starts with an object. So a truncated
//! line does not affect the others, and a file that is not JSON gives one message.

use std::io::{self, Read};

pub(super) use cursor::LONGEST;
use cursor::{Cursor, Kept};
use scan::{Container, Expected, OUT_OF_PLACE, Scanned};

mod cursor;
mod scan;
mod search_response;

/// What a text contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Documents.
    Documents,
    /// One object, whose members are returned.
    Members,
}

/// A document or member, or why there is none.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Where it starts; from 1.
    pub(super) line: u64,
    /// In bytes; from 1.
    pub(super) column: u64,
    /// The key of a member; empty for a document.
    pub(super) key: String,
    pub(super) content: Content<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Whole(&'a [u8]),
    /// Longer than [`LONGEST`].
    TooLong,
    /// How it starts, and what is wrong.
    Broken {
        start: &'a [u8],
        why: String,
    },
    /// A search response contains fewer documents than it found.
    Incomplete(String),
}

/// A text that is being split.
pub(super) struct Values<R> {
    text: Cursor<R>,
    shape: Shape,
    within: Within,
}

/// What contains the next value.
#[derive(Debug)]
enum Within {
    Text,
    /// An array, or the object whose members are returned.
    List {
        end: u8,
    },
    /// The hits of a search response that starts at this location.
    Hits {
        /// The response up to its hits.
        envelope: Vec<u8>,
        line: u64,
        column: u64,
        seen: u64,
    },
}

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl<R: Read> Values<R> {
    /// Fails if the first bytes show that the text is not UTF-8.
    pub(super) fn new(text: R, shape: Shape) -> io::Result<Self> {
        Ok(Self {
            text: Cursor::new(text)?,
            shape,
            within: Within::Text,
        })
    }

    /// The next document; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        loop {
            let byte = self.skip_blanks()?;
            let (line, column) = (self.text.line, self.text.column);
            match (byte, &mut self.within) {
                (None, Within::Text) => return Ok(None),
                (None, _) => {
                    self.within = Within::Text;
                    self.text.value.clear();
                    return Ok(Some(self.broken(
                        line,
                        column,
                        "the file ends before the list of documents does",
                    )));
                }
                (Some(b'['), Within::Text) if self.shape == Shape::Documents => {
                    self.text.bump();
                    self.within = Within::List { end: b']' };
                }
                (Some(b'{'), Within::Text) if self.shape == Shape::Members => {
                    self.text.bump();
                    self.within = Within::List { end: b'}' };
                }
                (Some(found), Within::List { end }) if found == *end => {
                    self.text.bump();
                    self.within = Within::Text;
                }
                (Some(b']'), Within::Hits { .. }) => {
                    if let Some(incomplete) = self.end_hits()? {
                        let (line, column, what) = incomplete;
                        let content = Content::Incomplete(what);
                        return Ok(Some(Piece {
                            line,
                            column,
                            key: String::new(),
                            content,
                        }));
                    }
                }
                (Some(_), Within::Hits { seen, .. }) => {
                    *seen += 1;
                    return self.value(line, column).map(Some);
                }
                (Some(_), Within::List { .. }) => return self.value(line, column).map(Some),
                (Some(b'{'), Within::Text) => match self.document()? {
                    Scanned::Whole => return Ok(Some(self.whole(line, column, String::new()))),
                    Scanned::Broken(why) => return self.resume(line, column, why).map(Some),
                    Scanned::Hits => {
                        let envelope = std::mem::take(&mut self.text.value);
                        self.within = Within::Hits {
                            envelope,
                            line,
                            column,
                            seen: 0,
                        };
                    }
                },
                (Some(_), Within::Text) => {
                    self.text.keep_all();
                    return self.resume(line, column, OUT_OF_PLACE).map(Some);
                }
            }
        }
    }

    /// Reads a value of a list, and its key if it is a member.
    fn value(&mut self, line: u64, column: u64) -> io::Result<Piece<'_>> {
        let mut key = String::new();
        if matches!(self.within, Within::List { end: b'}' }) {
            self.text.keep_all();
            match self.key()? {
                Some(found) => key = found,
                None => return self.resume(line, column, OUT_OF_PLACE),
            }
        }
        self.text.keep_all();
        match self.text.scan(Vec::new(), Expected::Value, false)? {
            Scanned::Whole | Scanned::Hits => Ok(self.whole(line, column, key)),
            Scanned::Broken(why) => self.resume(line, column, why),
        }
    }

    /// Reads the key of a member, up to its value.
    fn key(&mut self) -> io::Result<Option<String>> {
        if self.text.peek()? != Some(b'"') || !self.text.string()? {
            return Ok(None);
        }
        let key = serde_json::from_slice(&self.text.value).ok();
        if self.skip_blanks()? != Some(b':') {
            return Ok(None);
        }
        self.text.bump();
        Ok(self.skip_blanks()?.and(key))
    }

    fn document(&mut self) -> io::Result<Scanned> {
        self.text.keep_all();
        self.text.scan(Vec::new(), Expected::Value, true)
    }

    fn whole(&mut self, line: u64, column: u64, key: String) -> Piece<'_> {
        let content = match self.text.kept {
            Kept::TooMany => Content::TooLong,
            Kept::All | Kept::Nothing => Content::Whole(&self.text.value),
        };
        Piece {
            line,
            column,
            key,
            content,
        }
    }

    /// Skips from a broken place to the next line that starts with an object or ends the list.
    fn resume(&mut self, line: u64, column: u64, why: &str) -> io::Result<Piece<'_>> {
        while let Some(byte) = self.text.peek()? {
            let is_start = match byte {
                b'{' => true,
                b'[' => matches!(self.within, Within::Text),
                b']' => !matches!(self.within, Within::Text),
                _ => false,
            };
            if is_start && self.text.column == 1 && self.text.line > line {
                break;
            }
            self.text.skip_line()?;
        }
        let through = if self.text.column == 1 {
            self.text.line - 1
        } else {
            self.text.line
        };
        if through > line {
            return Ok(self.broken(
                line,
                column,
                &format!("{why}; skipped up to line {through}"),
            ));
        }
        Ok(self.broken(line, column, why))
    }

    fn broken(&mut self, line: u64, column: u64, why: &str) -> Piece<'_> {
        let content = Content::Broken {
            start: &self.text.value,
            why: why.to_owned(),
        };
        Piece {
            line,
            column,
            key: String::new(),
            content,
        }
    }

    /// Ends a search response. Returns what is missing, if anything.
    fn end_hits(&mut self) -> io::Result<Option<(u64, u64, String)>> {
        let Within::Hits {
            mut envelope,
            line,
            column,
            seen,
        } = std::mem::replace(&mut self.within, Within::Text)
        else {
            return Ok(None);
        };
        self.text.keep_all();
        self.text.bump();
        let outer = vec![Container::Object, Container::Object];
        if let Scanned::Broken(_) = self.text.scan(outer, Expected::CommaOrEnd, false)? {
            let _ = self.resume(self.text.line, self.text.column, OUT_OF_PLACE)?;
            return Ok(Some((
                line,
                column,
                "the search response is broken after its hits".to_owned(),
            )));
        }
        envelope.extend_from_slice(&self.text.value);
        Ok(search_response::missing(&envelope, seen).map(|what| (line, column, what)))
    }

    /// Skips whitespace, and commas between values. Returns the next byte.
    fn skip_blanks(&mut self) -> io::Result<Option<u8>> {
        self.text.kept = Kept::Nothing;
        loop {
            match self.text.peek()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.text.bump(),
                Some(b',') if !matches!(self.within, Within::Text) => self.text.bump(),
                // At the start of a file, or between concatenated files.
                Some(byte)
                    if BYTE_ORDER_MARK.contains(&byte) && matches!(self.within, Within::Text) =>
                {
                    self.text.bump();
                }
                other => return Ok(other),
            }
        }
    }
}

#[cfg(test)]
mod tests;
