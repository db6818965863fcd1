//! Finds the end of a JSON value.

use std::io::{self, Read};

use super::cursor::{Cursor, Kept};

/// The deepest nesting allowed.
pub(super) const DEEPEST: usize = 1 << 20;

/// How a value ended.
pub(super) enum Scanned {
    Whole,
    /// The hits of a search answer start here.
    Hits,
    Broken(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

pub(super) const OUT_OF_PLACE: &str = "an unexpected character";
const STRING_CUT: &str = "a string does not end on its line";
const CUT_SHORT: &str = "the file ends in the middle of it";

impl<R: Read> Cursor<R> {
    /// Reads to the end of a value, or of the containers in `open`.
    pub(super) fn scan(
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
}
