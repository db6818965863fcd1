//! What all pages have in common: the frame, the style, text from outside, tables. No IO.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::printable::one_line;
use crate::text::Grouped;

const STYLE: &str = include_str!("style.css");

/// The browser loads nothing and runs nothing, whatever a name or a reason may hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Text from outside is cut after this number of characters.
const MOST_CHARACTERS: usize = 200;

/// Identifies what a page is made from: if it is in a file, the file is up to date.
#[derive(Clone, Debug)]
pub struct Mark(pub String);

/// A whole page, with the mark of what it was made from.
pub fn page(title: &str, mark: Option<&Mark>, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                @if let Some(Mark(mark)) = mark { meta name="daybook-mark" content=(mark); }
                meta name="generator" content=(concat!("daybook ", env!("CARGO_PKG_VERSION")));
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    };
    page.into_string()
}

/// The table of contents.
pub fn contents(sections: &[(&str, &str)]) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul { @for (id, heading) in sections { li { a href=(format!("#{id}")) { (heading) } } } }
        }
    }
}

/// Text from outside: hidden characters are spelled out, its direction does not spread, and it is cut if it is long.
pub fn foreign(text: &str) -> Markup {
    let shown = one_line(text);
    let cut: String = shown.chars().take(MOST_CHARACTERS).collect();
    let is_cut = cut.len() < shown.len();
    html! { bdi { (cut) @if is_cut { "…" } } }
}

/// A figure of the overview, with a remark below.
pub fn tile(name: &str, value: &Markup, remark: &Markup) -> Markup {
    html! { div { dt { (name) } dd { span.value { (value) } small { (remark) } } } }
}

/// A table that can be moved sideways where it is wider than the page.
pub fn scrolled(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label=(label) { (table) } }
}

/// A cell with a number.
pub fn number(n: impl std::fmt::Display) -> Markup {
    html! { td.n { (Grouped(n)) } }
}

/// How to check the numbers above it.
pub fn audit(sql: &str) -> Markup {
    html! {
        details.audit {
            summary { "How to check these numbers" }
            p { "In SQL, with a login that has the role " code { "daybook_auditor" } ":" }
            pre tabindex="0" { code { (sql) } }
        }
    }
}

/// A number in few characters: `1.2k`, `383M`.
pub fn short(n: i128) -> String {
    const UNITS: [(i128, &str); 4] = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    // What rounds up to the next unit is written in it.
    let unit = UNITS
        .into_iter()
        .find(|(size, _)| n.abs() >= size - size / 2000);
    let Some((size, name)) = unit else {
        return n.to_string();
    };
    let rounded = |unit: i128| (n.abs() + unit / 2) / unit * n.signum();
    let tenths = rounded(size / 10);
    if tenths.abs() >= 100 {
        format!("{}{name}", rounded(size))
    } else if tenths % 10 == 0 {
        format!("{}{name}", tenths / 10)
    } else {
        format!("{}.{}{name}", tenths / 10, (tenths % 10).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_have_two_or_three_digits() {
        let shown = [
            0,
            999,
            1000,
            1250,
            99_999,
            999_499,
            999_500,
            383_011_472,
            2_000_000_000,
            -1250,
        ]
        .map(short);
        assert_eq!(
            shown,
            [
                "0", "999", "1k", "1.3k", "100k", "999k", "1M", "383M", "2G", "-1.3k"
            ]
        );
    }

    #[test]
    fn text_from_outside_is_inert_and_short() {
        let text = foreign("<script>alert(1)</script>\u{202e}x").into_string();
        assert_eq!(
            text,
            r"<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\u202ex</bdi>"
        );
        let long = foreign(&"é".repeat(10_000)).into_string();
        assert_eq!(long, format!("<bdi>{}…</bdi>", "é".repeat(MOST_CHARACTERS)));
    }
}
