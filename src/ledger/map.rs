//! Term maps as the ledger stores them: jsonb objects `{term: n}`, read and written as the text of jsonb.
//!
//! The text must equal the server's byte for byte, because the content hash covers it and SQL must be able to recompute
//! the hash. Keys are ordered by length, then by bytes; a space follows each colon and comma; strings are escaped as
//! the server does it.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Appends a map as the text of jsonb. Terms must be put in the order of jsonb, each once.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    pub fn put(&mut self, term: &str, n: i64) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.extend_from_slice(b", ");
        }
        put_string(self.out, term);
        self.out.extend_from_slice(b": ");
        self.out
            .extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    }

    /// Puts a term if the whole text then has at most so many bytes, or if it is the first term. Returns whether it did.
    pub fn put_within(&mut self, most_bytes: usize, term: &str, n: i64) -> bool {
        let (before, is_first) = (self.out.len(), self.is_empty);
        self.put(term, n);
        // The brace that ends the map takes a byte.
        let fits = is_first || self.out.len() < most_bytes;
        if !fits {
            self.out.truncate(before);
        }
        fits
    }

    pub fn finish(self) {
        self.out.push(b'}');
    }
}

/// Appends a JSON string as the server writes it. Documents use the same form.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    let is_escaped = |byte: &u8| matches!(byte, 0..b' ' | b'"' | b'\\');
    // A check of many bytes at a time: record ids and query hashes have nothing to escape; geocodes have.
    if rest
        .iter()
        .fold(0, |any, byte| any | u8::from(is_escaped(byte)))
        == 0
    {
        out.extend_from_slice(rest);
        out.push(b'"');
        return;
    }
    while let Some(place) = rest.iter().position(is_escaped) {
        out.extend_from_slice(&rest[..place]);
        match rest[place] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write!(out, "\\u{control:04x}").expect("writing to memory does not fail"),
        }
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// A term of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term<'a> {
    /// As it is.
    Plain(&'a str),
    /// As jsonb writes it between quotes, because something in it has to be escaped.
    Escaped(&'a str),
}

impl<'a> Term<'a> {
    pub fn text(self) -> Result<Cow<'a, str>, serde_json::Error> {
        match self {
            Self::Plain(text) => Ok(Cow::Borrowed(text)),
            Self::Escaped(text) => serde_json::from_str(&format!("\"{text}\"")).map(Cow::Owned),
        }
    }
}

/// A text that jsonb does not print for a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an object of terms and numbers as jsonb prints it")]
pub struct NotAMap;

/// Calls `take` with each term of a map and its number, in the map's order. Terms are not unescaped: whoever has seen
/// one already need not do it again. `unreadable` makes the error for another text.
pub fn for_each<E>(
    text: &str,
    mut take: impl FnMut(Term<'_>, i64) -> Result<(), E>,
    unreadable: impl Fn(NotAMap) -> E,
) -> Result<(), E> {
    let unreadable = || unreadable(NotAMap);
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inner.ok_or_else(unreadable)?;
    while !rest.is_empty() {
        let (term, after) = split_term(rest).ok_or_else(unreadable)?;
        let end = memchr::memchr(b',', after.as_bytes()).unwrap_or(after.len());
        take(term, after[..end].parse().map_err(|_| unreadable())?)?;
        rest = match &after[end..] {
            "" => "",
            more => more
                .strip_prefix(", ")
                .filter(|more| !more.is_empty())
                .ok_or_else(unreadable)?,
        };
    }
    Ok(())
}

/// The term at the start of a text, and what follows its colon.
fn split_term(text: &str) -> Option<(Term<'_>, &str)> {
    let text = text.strip_prefix('"')?;
    let (mut end, mut is_plain) = (0, true);
    loop {
        end += memchr::memchr2(b'"', b'\\', text.as_bytes().get(end..)?)?;
        if text.as_bytes()[end] == b'"' {
            break;
        }
        // An escaped character does not end the term.
        is_plain = false;
        end += 2;
    }
    let term = text.get(..end)?;
    let term = if is_plain {
        Term::Plain(term)
    } else {
        Term::Escaped(term)
    };
    Some((term, text[end + 1..].strip_prefix(": ")?))
}

/// The terms of a map with their numbers, in the map's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermMap<'a>(pub Vec<(Cow<'a, str>, i64)>);

/// Reads a map from the text of jsonb.
pub fn read(text: &str) -> Result<TermMap<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

impl<'de: 'a, 'a> Deserialize<'de> for TermMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Term<'a>(#[serde(borrow)] Cow<'a, str>);

        struct TermMapVisitor;
        impl<'de> Visitor<'de> for TermMapVisitor {
            type Value = TermMap<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of terms and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TermMap<'de>, A::Error> {
                let mut terms = Vec::new();
                while let Some((Term(term), n)) = map.next_entry()? {
                    terms.push((term, n));
                }
                Ok(TermMap(terms))
            }
        }
        deserializer.deserialize_map(TermMapVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Result<Vec<(String, i64)>, NotAMap> {
        let mut terms = Vec::new();
        let push = |term: Term<'_>, n| {
            terms.push((term.text().map_err(|_| NotAMap)?.into_owned(), n));
            Ok(())
        };
        for_each(text, push, |error| error)?;
        Ok(terms)
    }

    #[test]
    fn terms_are_taken_one_by_one_as_they_are_read_at_once() {
        let quote = Term::Escaped("a\\\"b");
        let check = |term: Term<'_>, n: i64| {
            assert_eq!((term, n), (quote, 1));
            Ok(())
        };
        for_each("{\"a\\\"b\": 1}", check, |error| error).unwrap();
        for text in [
            "{}",
            r#"{"": 1}"#,
            r#"{"a, b": -1, "{\"c\": 1}": 9223372036854775807, "\\": 3, "é\u0001, \"": 4}"#,
        ] {
            let at_once = read(text).unwrap().0.into_iter();
            let at_once: Vec<(String, i64)> =
                at_once.map(|(term, n)| (term.into_owned(), n)).collect();
            assert_eq!(terms(text), Ok(at_once), "{text}");
        }
        for odd in [
            "",
            "{",
            "}",
            "[]",
            "null",
            r#"{"a"}"#,
            r#"{"a": }"#,
            r#"{"a": 1, }"#,
            r#"{"a": 1,"b": 1}"#,
            r#"{"a": 1.5}"#,
            r#"{"a": "1"}"#,
            r"{a: 1}",
            r#"{"a": 9223372036854775808}"#,
            r#"{"a\"#,
            r#"{"a\": 1}"#,
            r#"{"\x": 1}"#,
        ] {
            assert_eq!(terms(odd), Err(NotAMap), "{odd}");
        }
    }

    #[test]
    fn a_map_reads_back_as_it_was_written() {
        let terms = [("", 1), ("a\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}é😀", -2)];
        let mut text = Vec::new();
        let mut map = Writer::new(&mut text);
        for (term, n) in terms {
            map.put(term, n);
        }
        map.finish();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "{\"\": 1, \"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{7f}é😀\": -2}"
        );
        let read: Vec<(String, i64)> = read(&text)
            .unwrap()
            .0
            .into_iter()
            .map(|(term, n)| (term.into_owned(), n))
            .collect();
        assert_eq!(read, terms.map(|(term, n)| (term.to_owned(), n)));
    }
}
