//! A site: a page for each recordset that has data, and an index of them.
//!
//! Pages that are up to date stay as they are: each carries a mark that says what it was made from. The rows of all
//! others are read once, ordered by recordset, while another thread adds them up and writes the pages. Each file is
//! replaced in one step, so a web server can serve the folder meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use maud::html;
use rustc_hash::FxHashMap;
use serde::Serialize;
use uuid::Uuid;

use super::names::Names;
use super::page::{Mark, foreign, number, page, tile};
use super::recordset_page::{RecordsetNumbers, recordset_page};
use crate::day::Period;
use crate::destination::Destination;
use crate::error::{Error, ErrorKind};
use crate::hash::Hash;
use crate::ledger::Ledger;
use crate::ledger::survey::{RecordsetSum, Survey, SurveyedRow};
use crate::projection::place::Places;
use crate::text::Grouped;

/// The folder of the recordsets' pages.
const RECORDSETS: &str = "recordset";
/// A page's mark is within its first bytes.
const HEAD_BYTES: u64 = 4096;

/// What was written.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Site {
    pub recordsets: usize,
    /// Pages that were made anew.
    pub pages_written: usize,
}

/// Brings the pages in `folder` up to date.
pub async fn site(
    ledger: &Ledger,
    asked: Option<Period>,
    names: Names,
    folder: &Path,
) -> Result<Site, Error> {
    let pages = folder.join(RECORDSETS);
    std::fs::create_dir_all(&pages).map_err(|error| cannot_write(&pages, error))?;
    let mut survey = Survey::take(ledger, asked).await?;
    let identity = survey.identity().await?;
    let mut sums = survey.recordsets().await?;
    sums.sort_by_key(|sum| (std::cmp::Reverse(sum.total), sum.recordset_id));
    let mut marks = FxHashMap::default();
    for sum in &sums {
        let mark = mark(identity.ledger_id, sum, asked, names.of(sum.recordset_id));
        if !is_current(&path_of(&pages, sum.recordset_id), &mark) {
            marks.insert(sum.recordset_id, mark);
        }
    }
    let index = index_page(&sums, &names, asked);
    let stale: Vec<Uuid> = marks.keys().copied().collect();
    let writer = Writer {
        pages,
        names,
        asked,
        marks,
        places: Places::default(),
        current: None,
        written: 0,
    };
    let recordsets = sums.len();
    let pages_written = if stale.is_empty() {
        0
    } else {
        // All of them are asked for without a list, so that the server need not compare each row with it.
        let only = (stale.len() < recordsets).then_some(stale.as_slice());
        let mut writer = survey.rows(only, writer, Writer::add).await?;
        writer.finish()?;
        writer.written
    };
    replace_if_different(&folder.join("index.html"), &index)?;
    Ok(Site {
        recordsets,
        pages_written,
    })
}

/// Makes the pages while rows arrive.
struct Writer {
    pages: PathBuf,
    names: Names,
    asked: Option<Period>,
    /// The marks of the pages to be made.
    marks: FxHashMap<Uuid, Mark>,
    places: Places,
    current: Option<RecordsetNumbers>,
    written: usize,
}

impl Writer {
    fn add(&mut self, row: &SurveyedRow<'_>) -> Result<(), Error> {
        let is_next = |current: &RecordsetNumbers| current.recordset_id != row.recordset_id;
        if self.current.as_ref().is_none_or(is_next) {
            self.finish()?;
        }
        let current = self
            .current
            .get_or_insert_with(|| RecordsetNumbers::new(row.recordset_id));
        current.add(row, &mut self.places)
    }

    /// Writes the page of the current recordset.
    fn finish(&mut self) -> Result<(), Error> {
        let Some(numbers) = self.current.take() else {
            return Ok(());
        };
        let id = numbers.recordset_id;
        let name = self.names.of(id);
        let page = recordset_page(&numbers, name, self.asked, self.marks.get(&id));
        replace(&path_of(&self.pages, id), &page)?;
        self.written += 1;
        Ok(())
    }
}

fn path_of(pages: &Path, recordset_id: Uuid) -> PathBuf {
    pages.join(format!("{recordset_id}.html"))
}

/// What a page depends on.
fn mark(ledger_id: Uuid, sum: &RecordsetSum, asked: Option<Period>, name: Option<&str>) -> Mark {
    let asked = asked.map(|asked| (asked.from(), asked.to()));
    let of = format!(
        "{ledger_id} {} {} {asked:?} {name:?} {}",
        sum.recordset_id,
        sum.entry_id,
        env!("CARGO_PKG_VERSION")
    );
    Mark(Hash::sha256(of).to_string())
}

/// Whether a file has the mark.
fn is_current(path: &Path, mark: &Mark) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains(&mark.0)
}

fn index_page(sums: &[RecordsetSum], names: &Names, asked: Option<Period>) -> String {
    let count: i128 = sums.iter().map(|sum| i128::from(sum.count)).sum();
    let total: i128 = sums.iter().map(|sum| i128::from(sum.total)).sum();
    let body = html! {
        header {
            h1 { "Interactions with records, by recordset" }
            @if let Some(asked) = asked { p { "Only " (asked.from()) " to " (asked.to()) } }
        }
        main id="main" {
            dl.tiles {
                (tile("Recordsets", &html! { (Grouped(sums.len())) }, &html! { "that have interactions" }))
                (tile("Interactions", &html! { (Grouped(count)) }, &html! { "of all recordsets" }))
                (tile("Records involved", &html! { (Grouped(total)) }, &html! { "in all interactions" }))
            }
            div.scroll tabindex="0" role="group" aria-label="Recordsets" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Recordset" } th.n scope="col" { "Interactions" } th.n scope="col" { "Records" }
                            th scope="col" { "First day" } th scope="col" { "Last day" }
                        }
                    }
                    tbody {
                        @for sum in sums {
                            @let id = sum.recordset_id;
                            tr {
                                th.long scope="row" {
                                    a href=(format!("{RECORDSETS}/{id}.html")) {
                                        @if let Some(name) = names.of(id) { (foreign(name)) } @else { (id) }
                                    }
                                }
                                (number(sum.count)) (number(sum.total)) td.date { (sum.first_day) } td.date { (sum.last_day) }
                            }
                        }
                    }
                }
            }
        }
        footer { "Made by daybook " (env!("CARGO_PKG_VERSION")) "." }
    };
    page("Interactions with records, by recordset", None, &body)
}

/// Writes a file in one step, unless it has this content already.
fn replace_if_different(path: &Path, content: &str) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(());
    }
    replace(path, content)
}

fn replace(path: &Path, content: &str) -> Result<(), Error> {
    let write = || {
        let mut file = Destination::create(path)?;
        file.write_all(content.as_bytes())?;
        file.finish()
    };
    write().map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::OutputUnwritable,
        format!("{} cannot be written", path.display()),
    )
    .caused_by(error)
    .hint("give another folder with --site")
}
