//! A site: a page for each recordset that has data, and an index of them.
//!
//! Pages that are up to date stay as they are: each carries a mark that says what it was made from. The rows of all
//! others are read once, while another thread adds them up; the pages are written when all rows are there. Each file is
//! replaced in one step, so a web server can serve the folder meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};

use maud::html;
use rustc_hash::FxHashMap;
use serde::Serialize;
use uuid::Uuid;

use super::names::Names;
use super::page::{Mark, foreign, number, page, tile};
use super::recordset_numbers::{RecordsetNumbers, Tally, steps_of};
use super::recordset_page::{InSite, recordset_page};
use crate::day::Period;
use crate::destination::Destination;
use crate::error::{Error, ErrorKind};
use crate::hash::Hash;
use crate::ledger::Ledger;
use crate::ledger::survey::{RecordsetSum, Survey};
use crate::text::Grouped;
use crate::workspace::Workspace;

/// The folder of the recordsets' pages.
const RECORDSETS: &str = "recordset";
const INDEX: &str = "index.html";
/// The address of the index on the recordsets' pages.
const UP: &str = "../index.html";
/// Pages whose numbers are there, and which wait for a processor.
const PAGES_WAITING: usize = 8;
/// A page's mark is within its first bytes.
const HEAD_BYTES: u64 = 4096;

/// What was written.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Site {
    pub recordsets: usize,
    /// Pages that were made anew.
    pub pages_written: usize,
}

/// Creates the folders of a site that are missing.
pub fn create(folder: &Path) -> Result<(), Error> {
    let pages = folder.join(RECORDSETS);
    std::fs::create_dir_all(&pages).map_err(|error| cannot_write(&pages, error))
}

/// Whether a file is the index of the site in `folder`. Neither need exist.
pub fn is_index(folder: &Path, file: &Path) -> bool {
    let parent = file.parent().unwrap_or(file);
    let whole = |path: &Path| {
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .ok()
    };
    file.file_name().is_some_and(|name| name == INDEX)
        && whole(&folder.join(".")) == whole(&parent.join("."))
}

/// Brings the pages in `folder` up to date. `done` is told the number of rows read.
pub async fn site(
    ledger: &Ledger,
    asked: Option<Period>,
    names: &Names,
    folder: &Path,
    workspace: &Workspace,
    done: &mut dyn FnMut(u64),
) -> Result<Site, Error> {
    let mut survey = Survey::take(ledger, asked).await?;
    let ledger_id = survey.identity().await?.ledger_id;
    let covered = survey.covered().await?;
    let mut sums = survey.recordsets().await?;
    sums.sort_by_key(|sum| (std::cmp::Reverse(sum.total), sum.recordset_id));
    let mut stale = Stale {
        pages: folder.join(RECORDSETS),
        asked,
        marks: FxHashMap::default(),
    };
    if let Some(covered) = covered {
        stale.find(&sums, ledger_id, covered, names);
    }
    let index = index_page(&sums, names, asked);
    let (recordsets, pages_written) = (sums.len(), stale.marks.len());
    if let Some(covered) = covered.filter(|_| pages_written > 0) {
        sums.retain(|sum| stale.marks.contains_key(&sum.recordset_id));
        let ids: Vec<Uuid> = sums.iter().map(|sum| sum.recordset_id).collect();
        // All of them are asked for without a list, so that the server need not compare each row with it.
        let only = (ids.len() < recordsets).then_some(ids.as_slice());
        let tally = Tally::new(sums, covered, workspace);
        let tally = survey.rows(only, tally, Tally::add, done).await?;
        stale.write(tally, names)?;
    }
    replace_if_different(&folder.join(INDEX), &index)?;
    Ok(Site {
        recordsets,
        pages_written,
    })
}

/// The pages to be made.
struct Stale {
    pages: PathBuf,
    asked: Option<Period>,
    /// Their marks.
    marks: FxHashMap<Uuid, Mark>,
}

impl Stale {
    /// Finds the pages that do not carry the mark that they would carry now.
    fn find(&mut self, sums: &[RecordsetSum], ledger_id: Uuid, covered: Period, names: &Names) {
        for sum in sums {
            let id = sum.recordset_id;
            // A month that has ended since is no longer incomplete.
            let ends = steps_of(sum, covered).map(|steps| steps.incomplete_ends());
            let mark = mark(&format!(
                "{ledger_id} {id} {} {:?} {ends:?} {:?} {}",
                sum.entry_id,
                self.asked.map(|asked| (asked.from(), asked.to())),
                names.of(id),
                env!("CARGO_PKG_VERSION")
            ));
            if !is_current(&path_of(&self.pages, id), &mark) {
                self.marks.insert(id, mark);
            }
        }
    }

    /// Writes the pages on all processors, while the numbers of the next ones are put together.
    fn write(&self, tally: Tally, names: &Names) -> Result<(), Error> {
        let (sender, receiver) = mpsc::sync_channel(PAGES_WAITING);
        let receiver = Mutex::new(receiver);
        let next = || {
            let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.recv().ok()
        };
        let write_pages = || {
            while let Some(numbers) = next() {
                self.write_page(&numbers, names)?;
            }
            Ok(())
        };
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..processors).map(|_| scope.spawn(write_pages)).collect();
            let finished = tally.finish(|numbers| sender.send(numbers).map_err(|_| aborted()));
            drop(sender);
            // If all writers have failed, the sender has failed for that reason.
            let written: Vec<Result<(), Error>> = writers
                .into_iter()
                .map(|writer| writer.join().unwrap_or_else(|_| Err(aborted())))
                .collect();
            written.into_iter().collect::<Result<(), Error>>()?;
            finished
        })
    }

    fn write_page(&self, numbers: &RecordsetNumbers, names: &Names) -> Result<(), Error> {
        let id = numbers.sum.recordset_id;
        let in_site = self.marks.get(&id).map(|mark| InSite { mark, index: UP });
        let page = recordset_page(numbers, names.of(id), self.asked, in_site);
        replace(&path_of(&self.pages, id), &page)
    }
}

fn aborted() -> Error {
    Error::new(ErrorKind::Internal, "writing the pages was aborted")
}

/// The address of a recordset's page in a site, whose own address ends with a slash or is empty.
pub fn address(site: &str, recordset_id: Uuid) -> String {
    format!("{site}{RECORDSETS}/{recordset_id}.html")
}

fn path_of(pages: &Path, recordset_id: Uuid) -> PathBuf {
    pages.join(format!("{recordset_id}.html"))
}

/// The mark of a page that depends on this.
fn mark(of: &str) -> Mark {
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
                                    a href=(address("", id)) {
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
