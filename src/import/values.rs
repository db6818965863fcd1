//! Splits a text into its JSON documents, as a stream: one per line, pretty-printed, in an array, or in a saved search
//! response.
//!
//! Only one document of at most [`LONGEST`] bytes is in memory. Documents are not validated here; only their ends are
//! found. If an end cannot be found, the text is skipped up to the next line that starts with an object. So a truncated
//! line does not affect the others, and a file that is not JSON gives one message.

use std::io::{self, Read};

use serde::Deserialize;

/// The longest document in bytes: as much as the old index accepted in one request.
pub(super) const LONGEST: usize = 100 << 20;

/// The deepest nesting allowed.
const DEEPEST: usize = 1 << 20;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 16;

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
    text: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    line: u64,
    column: u64,
    shape: Shape,
    within: Within,
    /// The value that was read last.
    value: Vec<u8>,
    kept: Kept,
}

/// Whether the bytes that are read are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    All,
    /// There were too many.
    TooMany,
    Nothing,
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

/// The parts of a search response other than its hits.
#[derive(Debug, Default, Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards", default)]
    shards: Shards,
    #[serde(default)]
    hits: Hits,
}

#[derive(Debug, Default, Deserialize)]
struct Shards {
    #[serde(default)]
    failed: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Hits {
    #[serde(default)]
    total: Option<Total>,
}

/// The number of documents found: a number; since version 7 an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Total {
    Number(u64),
    Object { value: u64 },
}

/// How a value ended.
enum Scanned {
    Whole,
    /// The hits of a search answer start here.
    Hits,
    Broken(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
const OUT_OF_PLACE: &str = "an unexpected character";
const STRING_CUT: &str = "a string does not end on its line";
const CUT_SHORT: &str = "the file ends in the middle of it";

impl<R: Read> Values<R> {
    /// Fails if the first bytes show that the text is not UTF-8.
    pub(super) fn new(text: R, shape: Shape) -> io::Result<Self> {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        let mut values = Self {
            text,
            buffer,
            at: 0,
            end: 0,
            line: 1,
            column: 1,
            shape,
            within: Within::Text,
            value: Vec::new(),
            kept: Kept::Nothing,
        };
        values.fill()?;
        if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] =
            values.buffer[..values.end]
        {
            let what = "it is in UTF-16 or UTF-32: convert it, for example with `iconv -f UTF-16 -t UTF-8`";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(values)
    }

    /// The next document; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        loop {
            let byte = self.skip_blanks()?;
            let (line, column) = (self.line, self.column);
            match (byte, &mut self.within) {
                (None, Within::Text) => return Ok(None),
                (None, _) => {
                    self.within = Within::Text;
                    self.value.clear();
                    return Ok(Some(self.broken(
                        line,
                        column,
                        "the file ends before the list of documents does",
                    )));
                }
                (Some(b'['), Within::Text) if self.shape == Shape::Documents => {
                    self.bump();
                    self.within = Within::List { end: b']' };
                }
                (Some(b'{'), Within::Text) if self.shape == Shape::Members => {
                    self.bump();
                    self.within = Within::List { end: b'}' };
                }
                (Some(found), Within::List { end }) if found == *end => {
                    self.bump();
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
                        let envelope = std::mem::take(&mut self.value);
                        self.within = Within::Hits {
                            envelope,
                            line,
                            column,
                            seen: 0,
                        };
                    }
                },
                (Some(_), Within::Text) => {
                    self.keep_all();
                    return self.resume(line, column, OUT_OF_PLACE).map(Some);
                }
            }
        }
    }

    /// Reads a value of a list, and its key if it is a member.
    fn value(&mut self, line: u64, column: u64) -> io::Result<Piece<'_>> {
        let mut key = String::new();
        if matches!(self.within, Within::List { end: b'}' }) {
            self.keep_all();
            match self.key()? {
                Some(found) => key = found,
                None => return self.resume(line, column, OUT_OF_PLACE),
            }
        }
        self.keep_all();
        match self.scan(Vec::new(), Expected::Value, false)? {
            Scanned::Whole | Scanned::Hits => Ok(self.whole(line, column, key)),
            Scanned::Broken(why) => self.resume(line, column, why),
        }
    }

    /// Reads the key of a member, up to its value.
    fn key(&mut self) -> io::Result<Option<String>> {
        if self.peek()? != Some(b'"') || !self.string()? {
            return Ok(None);
        }
        let key = serde_json::from_slice(&self.value).ok();
        if self.skip_blanks()? != Some(b':') {
            return Ok(None);
        }
        self.bump();
        Ok(self.skip_blanks()?.and(key))
    }

    fn document(&mut self) -> io::Result<Scanned> {
        self.keep_all();
        self.scan(Vec::new(), Expected::Value, true)
    }

    fn whole(&mut self, line: u64, column: u64, key: String) -> Piece<'_> {
        let content = match self.kept {
            Kept::TooMany => Content::TooLong,
            Kept::All | Kept::Nothing => Content::Whole(&self.value),
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
        while let Some(byte) = self.peek()? {
            let is_start = match byte {
                b'{' => true,
                b'[' => matches!(self.within, Within::Text),
                b']' => !matches!(self.within, Within::Text),
                _ => false,
            };
            if is_start && self.column == 1 && self.line > line {
                break;
            }
            self.skip_line()?;
        }
        let through = if self.column == 1 {
            self.line - 1
        } else {
            self.line
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
            start: &self.value,
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
        self.keep_all();
        self.bump();
        let outer = vec![Container::Object, Container::Object];
        if let Scanned::Broken(_) = self.scan(outer, Expected::CommaOrEnd, false)? {
            let _ = self.resume(self.line, self.column, OUT_OF_PLACE)?;
            return Ok(Some((
                line,
                column,
                "the search response is broken after its hits".to_owned(),
            )));
        }
        envelope.extend_from_slice(&self.value);
        // If the rest of the response cannot be parsed, its documents count anyway.
        let answer: SearchAnswer = serde_json::from_slice(&envelope).unwrap_or_default();
        let total = match answer.hits.total {
            Some(Total::Number(total) | Total::Object { value: total }) => total,
            None => seen,
        };
        let failed = answer.shards.failed;
        Ok(if answer.timed_out || failed > 0 {
            Some((
                line,
                column,
                format!(
                    "the search response is incomplete: {failed} shards failed or it timed out"
                ),
            ))
        } else if seen < total {
            let what = format!(
                "the search response holds {seen} of {total} documents: save the others as well, or use --from-index"
            );
            Some((line, column, what))
        } else {
            None
        })
    }

    /// Reads to the end of a value, or of the containers in `open`.
    fn scan(
        &mut self,
        mut open: Vec<Container>,
        mut expected: Expected,
        search: bool,
    ) -> io::Result<Scanned> {
        use Container::{Array, Object};
        use Expected::{Colon, CommaOrEnd, Key, KeyOrEnd, Value, ValueOrEnd};
        // How many containers were open at the latest key if that was "hits", and whether the value is inside the first
        // "hits".
        let (mut hits_key_at, mut is_in_hits) = (0, false);
        loop {
            let Some(byte) = self.peek()? else {
                return Ok(Scanned::Broken(CUT_SHORT));
            };
            match (byte, expected) {
                (b' ' | b'\t' | b'\r' | b'\n', _) => {
                    self.bump();
                    continue;
                }
                (b'"', Key | KeyOrEnd) => {
                    let start = self.value.len();
                    if !self.string()? {
                        return Ok(Scanned::Broken(STRING_CUT));
                    }
                    let is_hits = search && self.value.get(start..) == Some(b"\"hits\"");
                    hits_key_at = if is_hits { open.len() } else { 0 };
                    expected = Colon;
                    continue;
                }
                (b'"', Value | ValueOrEnd) => {
                    if !self.string()? {
                        return Ok(Scanned::Broken(STRING_CUT));
                    }
                }
                (b':', Colon) => {
                    self.bump();
                    expected = Value;
                    continue;
                }
                (b',', CommaOrEnd) => {
                    self.bump();
                    expected = if open.last() == Some(&Object) {
                        Key
                    } else {
                        Value
                    };
                    continue;
                }
                (b'{', Value | ValueOrEnd) if open.len() < DEEPEST => {
                    if open.len() == 1 {
                        is_in_hits = hits_key_at == 1;
                    }
                    self.bump();
                    open.push(Object);
                    expected = KeyOrEnd;
                    continue;
                }
                (b'[', Value | ValueOrEnd) if open.len() < DEEPEST => {
                    self.bump();
                    if is_in_hits && hits_key_at == 2 && open.len() == 2 && self.kept == Kept::All {
                        return Ok(Scanned::Hits);
                    }
                    open.push(Array);
                    expected = ValueOrEnd;
                    continue;
                }
                (b'}', KeyOrEnd | CommaOrEnd) if open.last() == Some(&Object) => {
                    self.bump();
                    open.pop();
                    is_in_hits &= open.len() > 1;
                }
                (b']', ValueOrEnd | CommaOrEnd) if open.last() == Some(&Array) => {
                    self.bump();
                    open.pop();
                }
                (b'{' | b'[', Value | ValueOrEnd) => {
                    return Ok(Scanned::Broken("nested too deeply"));
                }
                (
                    b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z',
                    Value | ValueOrEnd,
                ) => {
                    while matches!(
                        self.peek()?,
                        Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
                    ) {
                        self.bump();
                    }
                }
                _ => return Ok(Scanned::Broken(OUT_OF_PLACE)),
            }
            if open.is_empty() {
                return Ok(Scanned::Whole);
            }
            expected = CommaOrEnd;
        }
    }

    /// Reads a string; false if its line or the text ends first.
    fn string(&mut self) -> io::Result<bool> {
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

    /// Skips whitespace, and commas between values. Returns the next byte.
    fn skip_blanks(&mut self) -> io::Result<Option<u8>> {
        self.kept = Kept::Nothing;
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.bump(),
                Some(b',') if !matches!(self.within, Within::Text) => self.bump(),
                // At the start of a file, or between concatenated files.
                Some(byte)
                    if BYTE_ORDER_MARK.contains(&byte) && matches!(self.within, Within::Text) =>
                {
                    self.bump();
                }
                other => return Ok(other),
            }
        }
    }

    /// Skips the rest of a line, but keeps its start.
    fn skip_line(&mut self) -> io::Result<()> {
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

    fn keep_all(&mut self) {
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
    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.end {
            self.fill()?;
        }
        Ok(self.buffer[..self.end].get(self.at).copied())
    }

    /// Consumes a peeked byte.
    #[inline]
    fn bump(&mut self) {
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

#[cfg(test)]
mod tests;
