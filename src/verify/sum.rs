//! The sum over a term map, computed from its text: no term is decoded or stored.

/// The sum of the numbers in a map, given as the text of jsonb; none if it is not an object of integers within bigint.
pub(super) fn sum(text: &[u8]) -> Option<i128> {
    let mut rest = text.strip_prefix(b"{")?;
    let mut sum = 0;
    if rest == b"}" {
        return Some(sum);
    }
    loop {
        rest = skip_string(rest)?.strip_prefix(b": ")?;
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
        sum += i128::from(number(&rest[..end])?);
        match &rest[end..] {
            b"}" => return Some(sum),
            behind => rest = behind.strip_prefix(b", ")?,
        }
    }
}

/// What follows a string.
fn skip_string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let place = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let escapes = rest[place] == b'\\';
        // A backslash escapes the byte after it; the digits of \u0001 are not quotes.
        rest = rest.get(place + 1 + usize::from(escapes)..)?;
        if !escapes {
            return Some(rest);
        }
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::sum;
    use crate::ledger::map;

    #[test]
    fn the_sum_is_over_all_terms_whatever_they_hold() {
        let terms = [
            ("", 1),
            ("\\", 2),
            ("\"", 4),
            ("{\"a\": 99, \"b\": \"c\\\\\"}", 8),
            ("}, \": \u{1}é", -32),
        ];
        let mut text = Vec::new();
        let mut map = map::Writer::new(&mut text);
        for (term, n) in terms {
            map.put(term, n);
        }
        map.finish();
        assert_eq!(sum(&text), Some(-17));
        assert_eq!(sum(b"{}"), Some(0));
        let most = format!(r#"{{"a": {0}, "b": {0}}}"#, i64::MAX);
        assert_eq!(sum(most.as_bytes()), Some(2 * i128::from(i64::MAX)));
    }

    #[test]
    fn what_is_no_map_of_whole_numbers_has_no_sum() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "1",
            "\"a\"",
            r#"{"a": "1"}"#,
            r#"{"a": 1.0}"#,
            r#"{"a": null}"#,
            r#"{"a": true}"#,
            r#"{"a": {}}"#,
            r#"{"a": {"b": 1}}"#,
            r#"{"a": [1, 2]}"#,
            r#"{"a": 9223372036854775808}"#,
            r#"{"a": 1"#,
            r#"{"a": 1}}"#,
            r#"{"a": 1, }"#,
            r#"{"a\"#,
            r#"{"a"#,
            r#"{"a": }"#,
        ] {
            assert_eq!(sum(text.as_bytes()), None, "{text}");
        }
    }
}
