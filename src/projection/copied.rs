//! Copies lists of terms directly from a map's text, without parsing it. Pure.
//!
//! Nearly every cell has a single row for the day, whose maps already are what the document lists: each term once, in
//! order, without zeros. Only the exact form in which jsonb is printed is understood here. The caller parses any other
//! text the slow way, which also reports what is wrong with it.

use memchr::memchr2;

use crate::event::Dimension;

/// Appends the list of a map's terms. Returns `None` if the map's text is not in the form in which jsonb is printed;
/// the caller must then truncate what was appended.
pub(super) fn put_list(out: &mut Vec<u8>, map: &str, dimension: Dimension) -> Option<()> {
    let mut rest = map.as_bytes().strip_prefix(b"{")?.strip_suffix(b"}")?;
    let mut before: &[u8] = match dimension {
        Dimension::Geocodes => br#"[{"geo":"#,
        Dimension::Items | Dimension::Queries => br#"[{"term":"#,
    };
    if rest.is_empty() {
        out.extend_from_slice(b"[]");
        return Some(());
    }
    loop {
        out.extend_from_slice(before);
        rest = rest.strip_prefix(b"\"")?;
        rest = match dimension {
            Dimension::Geocodes => put_unescaped(out, rest)?,
            Dimension::Items | Dimension::Queries => put_quoted(out, rest, dimension)?,
        };
        out.extend_from_slice(br#","count":"#);
        rest = put_number(out, rest.strip_prefix(b": ")?)?;
        out.push(b'}');
        if rest.is_empty() {
            out.push(b']');
            return Some(());
        }
        rest = rest.strip_prefix(b", ")?;
        if before[0] == b'[' {
            before = match dimension {
                Dimension::Geocodes => br#",{"geo":"#,
                Dimension::Items | Dimension::Queries => br#",{"term":"#,
            };
        }
    }
}

/// Appends the rest of a string unchanged: documents escape as jsonb does. Returns the text after it.
fn put_quoted<'a>(out: &mut Vec<u8>, text: &'a [u8], dimension: Dimension) -> Option<&'a [u8]> {
    let mut end = 0;
    loop {
        end += memchr2(b'"', b'\\', &text[end..])?;
        if text[end] == b'"' {
            break;
        }
        // An escaped character does not end the string.
        end += 2;
        if end > text.len() {
            return None;
        }
    }
    if end == 0 && dimension == Dimension::Queries {
        out.extend_from_slice(b"null");
    } else {
        out.push(b'"');
        out.extend_from_slice(&text[..=end]);
    }
    Some(&text[end + 1..])
}

/// Appends the rest of a string unescaped: a geocode's term is JSON itself. Returns the text after it.
fn put_unescaped<'a>(out: &mut Vec<u8>, mut text: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        let place = memchr2(b'"', b'\\', text)?;
        out.extend_from_slice(&text[..place]);
        if text[place] == b'"' {
            return Some(&text[place + 1..]);
        }
        match *text.get(place + 1)? {
            // Canonical JSON contains no control characters, so nothing else is escaped.
            escaped @ (b'"' | b'\\') => out.push(escaped),
            _ => return None,
        }
        text = &text[place + 2..];
    }
}

/// Appends the integer that begins here. Returns the text after it.
fn put_number<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> Option<&'a [u8]> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let digits = text[sign..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    // 18 digits always fit into a bigint; a zero is never listed.
    if !(1..=18).contains(&digits) || text[sign] == b'0' {
        return None;
    }
    let (number, rest) = text.split_at(sign + digits);
    out.extend_from_slice(number);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(map: &str, dimension: Dimension) -> Option<String> {
        let mut out = Vec::new();
        put_list(&mut out, map, dimension)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_map_in_jsonb_s_own_form_becomes_the_list() {
        assert_eq!(list("{}", Dimension::Items).unwrap(), "[]");
        assert_eq!(
            list(r#"{"a": 1, "b\"\\\u0001é": -25}"#, Dimension::Items).unwrap(),
            r#"[{"term":"a","count":1},{"term":"b\"\\\u0001é","count":-25}]"#
        );
        assert_eq!(
            list(r#"{"": 3, "hash": 999999999999999999}"#, Dimension::Queries).unwrap(),
            r#"[{"term":null,"count":3},{"term":"hash","count":999999999999999999}]"#
        );
        assert_eq!(
            list(r#"{"": 3}"#, Dimension::Items).unwrap(),
            r#"[{"term":"","count":3}]"#
        );
        assert_eq!(
            list(
                r#"{"null": 1, "{\"city\":\"A \\\"B\\\" \\n\"}": 2}"#,
                Dimension::Geocodes
            )
            .unwrap(),
            r#"[{"geo":null,"count":1},{"geo":{"city":"A \"B\" \n"},"count":2}]"#
        );
    }

    #[test]
    fn every_other_text_is_left_to_the_reader_of_json() {
        for odd in [
            "",
            "{",
            "}",
            "{}}",
            "[]",
            "null",
            r#"{"a"}"#,
            r#"{"a": }"#,
            r#"{"a": 1, }"#,
            r#"{"a": 1,"b": 1}"#,
            r#"{"a":1}"#,
            r#"{ "a": 1}"#,
            r#"{"a": 1 }"#,
            r#"{"a": 1.0}"#,
            r#"{"a": 1e3}"#,
            r#"{"a": -}"#,
            r#"{"a": 0}"#,
            r#"{"a": 01}"#,
            r#"{"a": "1"}"#,
            r#"{"a": 1000000000000000000}"#,
            r#"{"a\": 1}"#,
            r#"{"a\"#,
            r#"{"a\}"#,
            r"{a: 1}",
            r#"{"a": {"b": 1}}"#,
        ] {
            for dimension in Dimension::ALL {
                assert_eq!(list(odd, dimension), None, "{odd}");
            }
        }
        assert_eq!(list(r#"{"\u0041": 1}"#, Dimension::Geocodes), None);
    }
}
