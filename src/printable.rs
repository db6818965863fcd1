//! Makes text from outside (a server's error, a reason, a file name, a geocode) safe to print.
//!
//! Characters that move the cursor, start an escape sequence, change the direction of writing or have no width are
//! escaped as in JSON (`\u001b`). So a line of output is what it looks like, and JSON stays valid.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is invisible or affects how other text is displayed.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Escapes hidden characters, except line breaks.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && c != '\n')
}

/// Escapes hidden characters and line breaks.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String does not fail.
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_escaped_as_json_escapes_it_and_all_else_is_kept() {
        let plain = "Zürich, São Paulo → 東京, عمان 👍 \\u";
        assert!(matches!(one_line(plain), Cow::Borrowed(shown) if shown == plain));
        assert_eq!(
            one_line("a\u{1b}[31mb\r\n\tc\u{7f}\u{9b}"),
            "a\\u001b[31mb\\r\\n\\tc\\u007f\\u009b"
        );
        assert_eq!(
            printable("a\nb\u{202e}c\u{200b}\u{2066}\u{e0041}"),
            "a\nb\\u202ec\\u200b\\u2066\\udb40\\udc41"
        );
        let json = serde_json::to_string("x\u{1b}\n\u{202e}\u{e0041}y").unwrap();
        let shown = printable(&json);
        assert!(!shown.chars().any(is_hidden), "{shown}");
        assert_eq!(
            serde_json::from_str::<String>(&shown).unwrap(),
            "x\u{1b}\n\u{202e}\u{e0041}y"
        );
    }
}
