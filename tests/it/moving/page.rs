//! The blocks of docs/moving.md and docs/reading.md, taken out of the pages.

use chrono::{NaiveDate, TimeDelta};

/// What the operator does.
pub const MOVING: &str = include_str!("../../../docs/moving.md");

/// What the readers of the indices ask.
pub const READING: &str = include_str!("../../../docs/reading.md");

/// The day that is today in the page.
const TODAY: &str = "2020-02-19";

/// What kind of thing a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Typed in a shell.
    Shell,
    /// Sent to the source's and the ledger's database.
    Sql,
    /// Sent to Elasticsearch: method and path, then the body.
    Http,
    /// Written into a unit.
    Unit,
}

/// Something that the page tells its reader to do.
#[derive(Debug)]
pub struct Block {
    pub language: Language,
    pub text: String,
}

impl Block {
    /// Its first line, by which it is known.
    pub fn name(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// All blocks of a page, in their order.
pub fn blocks(page: &str) -> std::vec::IntoIter<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let language = match language {
            "sh" => Language::Shell,
            "sql" => Language::Sql,
            "http" => Language::Http,
            "ini" => Language::Unit,
            _ => panic!("what is a block that begins with '{line}'?"),
        };
        let text = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .collect::<Vec<_>>()
            .join("\n");
        blocks.push(Block { language, text });
    }
    blocks.into_iter()
}

/// A date of the page, as it is when the page's today is today.
pub fn date(of_page: &str) -> String {
    let parse = |text: &str| text.parse::<NaiveDate>().expect("a date");
    let offset: TimeDelta = daybook::clock::now().date_naive() - parse(TODAY);
    (parse(of_page) + offset).to_string()
}

/// A text of the page with its dates moved to where today is today.
pub fn with_dates_of_now(text: &str) -> String {
    let mut moved = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("2020-02-") {
        let (before, date_and_rest) = rest.split_at(at);
        let (of_page, after) = date_and_rest.split_at(TODAY.len());
        moved += before;
        moved += &date(of_page);
        rest = after;
    }
    moved + rest
}
