//! The row of a rejected event as the ledger stores it: JSON that a column of type json accepts, whatever the source
//! held.
//!
//! The source's own JSON is stored unchanged, except for what the ledger's database would refuse:
//! - a byte that is not text (`characters`) is written as `\xHH`, in JSON a string with an escaped backslash;
//! - a column whose JSON is nested deeper than [`DEEPEST`] levels is stored as a string that contains that JSON.

use std::fmt::Write as _;

use super::characters::{Characters, Piece, Pieces};
use crate::event::payload::{Member, Members};

/// JSON that is nested deeper could exceed the ledger's `max_stack_depth`. Its default of 2 MB is enough for several
/// thousand levels.
const DEEPEST: usize = 1000;

/// The row in the form in which it is stored.
pub(super) fn row(json: Pieces<'_>) -> String {
    let text = escaped(json, r"\\x");
    if depth(&text) <= DEEPEST {
        return text;
    }
    // The query returns only objects of columns. Anything else would be stored as one string.
    serde_json::from_str(&text).map_or_else(
        |_| string(&text),
        |Members(columns)| with_flat_columns(&columns),
    )
}

/// An event that comes from elsewhere, as JSON assumed to be UTF-8, in the form in which it is stored.
pub fn kept_json(json: &[u8]) -> String {
    row(Characters::Utf8.pieces(json))
}

/// The text, with each byte that is not text written as `mark` and two hexadecimal digits.
fn escaped(pieces: Pieces<'_>, mark: &str) -> String {
    let mut text = String::with_capacity(pieces.length());
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Bytes(bytes) => {
                for byte in bytes {
                    // Writing to a String does not fail.
                    let _ = write!(text, "{mark}{byte:02x}");
                }
            }
        }
    }
    text
}

/// The first characters of a text from outside, printable, for a message.
pub(super) fn excerpt(pieces: Pieces<'_>) -> String {
    const SHOWN: usize = 60;
    let mut shown = String::new();
    let mut left = SHOWN;
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                let start = text.chars().take(left);
                left -= start.clone().count();
                shown.extend(start.flat_map(char::escape_debug));
            }
            Piece::Bytes(bytes) => {
                for byte in bytes.iter().take(left) {
                    let _ = write!(shown, "\\x{byte:02x}");
                    left -= 1;
                }
            }
        }
        if left == 0 {
            shown.push('…');
            break;
        }
    }
    shown
}

/// How deep the arrays and objects of a JSON text are nested.
fn depth(json: &str) -> usize {
    let (mut deepest, mut depth, mut in_string, mut bytes) =
        (0_usize, 0_usize, false, json.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            // Skips the escaped byte.
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The row, with deeply nested columns as strings.
fn with_flat_columns(columns: &[Member<'_>]) -> String {
    let mut row = String::from("{");
    for Member { key, value } in columns {
        if row.len() > 1 {
            row.push(',');
        }
        row.push_str(&string(key));
        row.push(':');
        // The row itself is one level.
        if depth(value.get()) < DEEPEST {
            row.push_str(value.get());
        } else {
            row.push_str(&string(value.get()));
        }
    }
    row.push('}');
    row
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &[u8]) -> String {
        super::row(Characters::Utf8.pieces(json))
    }

    #[test]
    fn what_the_ledger_takes_is_kept_to_the_letter() {
        for json in [
            r#"{ "a":  1e400, "b": "\u0000", "a": "\ud800\\" }"#,
            "{}",
            r#"{"é":"[[["}"#,
        ] {
            assert_eq!(row(json.as_bytes()), json);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        assert_eq!(
            row(b"{\"a\":\"\xc3\xa9\xff\xc3\"}"),
            r#"{"a":"é\\xff\\xc3"}"#
        );
        let value: serde_json::Value = serde_json::from_str(&row(b"{\"a\":\"\xff\"}")).unwrap();
        assert_eq!(value["a"], r"\xff");
        assert_eq!(excerpt(Characters::Utf8.pieces(b"a\n\xff")), r"a\n\xff");
        assert_eq!(
            excerpt(Characters::Utf8.pieces(&[0xff; 61])),
            r"\xff".repeat(60) + "…"
        );
    }

    #[test]
    fn a_column_that_is_nested_too_deeply_is_kept_as_a_string() {
        let deep = |levels: usize| "[".repeat(levels) + "\"[\\\"\"" + &"]".repeat(levels);
        let of = |payload: &str| format!(r#"{{"id":7,"payload":{payload},"q":"\""}}"#);
        let shallow = of(&deep(DEEPEST - 1));
        assert_eq!(row(shallow.as_bytes()), shallow);
        for levels in [DEEPEST, 200_000] {
            let kept = row(of(&deep(levels)).as_bytes());
            let value: serde_json::Value = serde_json::from_str(&kept).unwrap();
            assert_eq!((&value["id"], &value["q"]), (&7.into(), &"\"".into()));
            assert_eq!(value["payload"], deep(levels));
        }
    }
}
