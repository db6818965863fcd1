//! Imports the documents of the old system as entries of kind `import`. Can be repeated safely.
//!
//! Reads and normalises every document ([`document`], no IO) from files or an index (`file`, `index`); keeps documents
//! in a temporary table (`staging`) until a day is complete; decides what to do with the day (`verdict`, no IO);
//! computes how the documents differ from the ledger (`difference`); posts that (`post`), or only reports it. A day is
//! identified by the content of its documents, so any number of runs posts one entry.

mod comparison;
mod difference;
pub mod document;
mod file;
mod index;
mod legacy_format;
mod post;
mod staging;
mod summary;
mod values;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tokio::sync::mpsc;
use tracing::Instrument as _;

pub use difference::Difference;
use difference::Subtraction;
pub use document::Defect;
use document::{Found, FoundAt};
use index::OldIndex;
use post::ToPost;
use secrecy::SecretString;
pub use staging::StagedDay;
use staging::Staging;
use verdict::{Candidate, Holders, Standing, Verdict, judge};

use crate::clock;
use crate::day::{Bounds, Day};
use crate::elastic::ClientOptions;
use crate::error::{Error, ErrorKind};
use crate::ledger::lock::Run;
use crate::ledger::{Ledger, Reader};
use crate::source::Source;
use crate::workspace::Workspace;

pub use comparison::Comparison;
pub use difference::Differing;
pub use staging::Conflict;
pub use summary::{DayComparison, Event, Listener, Outcome, Summary, interactions, records};
pub use verdict::figures;
pub use verdict::{OnConflict, Rules};

/// Where the documents come from.
#[derive(Debug)]
pub enum Origin {
    /// Files; with a day, each is an aggregation object of it.
    Files {
        paths: Vec<PathBuf>,
        /// The day of the aggregation objects.
        day: Option<Day>,
    },
    /// A running index.
    Index {
        /// Its address, with the password.
        address: SecretString,
        /// How to reach its cluster.
        options: Box<ClientOptions>,
    },
}

/// What to do with the documents.
#[derive(Debug)]
pub enum Task<'r> {
    /// Post each day that is not refused.
    Post(&'r mut Run),
    /// Report what would be posted.
    DryRun,
    /// Compare each day with the ledger.
    Compare,
}

/// A running import.
pub struct Import<'a> {
    ledger: &'a Ledger,
    reader: Reader,
    /// `None` if it cannot be queried.
    source: Option<Source>,
    staging: Staging,
    days: Bounds,
    rules: Rules,
    workspace: Workspace,
    task: Task<'a>,
    listener: &'a mut (dyn Listener + Send),
    /// The names of the inputs; documents refer to them by index.
    inputs: Vec<String>,
    /// The number of unreadable documents of each day.
    unreadable: BTreeMap<Day, u64>,
    /// Days up to this one are done.
    settled: Option<Day>,
    summary: Summary,
    comparison: Comparison,
}

impl<'a> Import<'a> {
    pub async fn new(
        ledger: &'a Ledger,
        (days, rules): (Bounds, Rules),
        task: Task<'a>,
        workspace: Workspace,
        listener: &'a mut (dyn Listener + Send),
    ) -> Result<Self, Error> {
        Ok(Self {
            ledger,
            reader: Reader::open(ledger, "daybook reading").await?,
            source: None,
            staging: Staging::open(ledger).await?,
            days,
            rules,
            workspace,
            task,
            listener,
            inputs: Vec::new(),
            unreadable: BTreeMap::new(),
            settled: None,
            summary: Summary::default(),
            comparison: Comparison::default(),
        })
    }

    /// Also checks the source. It may be gone for good, which does not prevent the import.
    pub fn look_at(&mut self, source: Result<Source, Error>) {
        self.source = source
            .map_err(|error| self.summary.source_not_looked_at = Some(error.message()))
            .ok();
    }

    /// Reads all documents, and posts each day that is not refused or reports what it would post.
    pub async fn import(mut self, origin: Origin) -> Result<Summary, Error> {
        self.read(origin).await?;
        if let Some(source) = self.source {
            source.close().await;
        }
        Ok(self.summary)
    }

    /// Reads all documents and compares each day with the ledger, then finds the days that only the ledger has.
    pub async fn compare(mut self, origin: Origin) -> Result<Comparison, Error> {
        self.read(origin).await?;
        let mut comparison = self.comparison;
        comparison.read = self.summary.read;
        comparison
            .find_extra(&mut self.reader, self.days, self.listener)
            .await?;
        Ok(comparison)
    }

    /// Reads all documents, and handles each day as soon as it is complete.
    async fn read(&mut self, origin: Origin) -> Result<(), Error> {
        match origin {
            Origin::Files { paths, day } => {
                for path in paths {
                    self.read_file(path, day).await?;
                }
                self.settle(None).await?;
            }
            Origin::Index { address, options } => {
                let mut index = OldIndex::open(&address, self.days, *options).await?;
                self.inputs.push(index.name());
                loop {
                    let page = index.next_page().await?;
                    let is_last = page.found.is_empty();
                    self.take(page.found).await?;
                    if is_last || page.reached.is_some() {
                        self.settle(page.reached).await?;
                    }
                    if is_last {
                        break;
                    }
                }
            }
        }
        self.listener.hear(Event::AllRead);
        self.summary.read.inputs.clone_from(&self.inputs);
        Ok(())
    }

    /// Reads a file on a thread of its own.
    async fn read_file(&mut self, path: PathBuf, day: Option<Day>) -> Result<(), Error> {
        const BATCHES_IN_FLIGHT: usize = 2;
        let broken_off =
            |error| Error::new(ErrorKind::Internal, "reading a file was aborted").caused_by(error);
        let hashing = path.clone();
        let hash = tokio::task::spawn_blocking(move || file::hash(&hashing))
            .await
            .map_err(broken_off)??;
        let name = path
            .file_name()
            .map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
        self.inputs.push(format!("{name} (sha256 {hash})"));
        let (sender, mut batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        let reading = tokio::task::spawn_blocking(move || send_found(&path, day, &sender));
        while let Some(batch) = batches.recv().await {
            self.take(batch).await?;
        }
        reading.await.map_err(broken_off)?
    }

    /// Stages documents, and reports those that cannot be read.
    async fn take(&mut self, batch: Vec<FoundAt>) -> Result<(), Error> {
        let input = i32::try_from(self.inputs.len().saturating_sub(1)).unwrap_or(i32::MAX);
        for FoundAt { place, found } in batch {
            match found {
                Found::Document(document) if !self.wants(document.day) => {
                    self.summary.read.left_out += 1;
                }
                Found::Document(document) => {
                    self.check_order(document.day, &place)?;
                    self.summary.read.documents += 1;
                    self.staging.add(input, &place, &document).await?;
                }
                Found::Unreadable(Defect { day: Some(day), .. }) if !self.wants(day) => {
                    self.summary.read.left_out += 1;
                }
                Found::Unreadable(defect) => {
                    if let Some(day) = defect.day {
                        self.check_order(day, &place)?;
                        *self.unreadable.entry(day).or_default() += 1;
                    }
                    self.summary.read.unreadable += 1;
                    self.listener.hear(Event::Unreadable {
                        place: &place,
                        defect: &defect,
                    });
                }
                Found::OtherKind => self.summary.read.of_other_kinds += 1,
            }
        }
        Ok(())
    }

    fn wants(&self, day: Day) -> bool {
        self.days.contains(day)
    }

    /// Refuses an index that does not return days in order: incomplete days would be posted.
    fn check_order(&self, day: Day, place: &str) -> Result<(), Error> {
        if self.settled.is_none_or(|settled| settled < day) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InputUnusable, format!(
            "{place} is of {day}, but comes after later days: the index is out of order"
        ))
        .hint("its harvest_date must be mapped as a date; write its documents to a file, one per line, and import that file"))
    }

    /// Handles each staged day before `before`. A refused day does not stop the others.
    async fn settle(&mut self, before: Option<Day>) -> Result<(), Error> {
        self.staging.flush().await?;
        let mut days = BTreeSet::from_iter(self.staging.days(self.settled, before).await?);
        let is_due = |day: &&Day| {
            self.settled.is_none_or(|settled| settled < **day)
                && before.is_none_or(|before| **day < before)
        };
        days.extend(self.unreadable.keys().filter(is_due));
        for day in days {
            let staged = self.staging.day(day, self.rules.on_conflict).await?;
            self.summary.read.add_day(day, &staged);
            if staged.conflicting > 0 {
                let listener = &mut self.listener;
                self.staging
                    .conflicts(day, |conflict| listener.hear(Event::Conflict(conflict)))
                    .await?;
                self.listener.hear(Event::ConflictsEnd(day));
            }
            if matches!(self.task, Task::Compare) {
                self.compare_day(day, &staged).await?;
            } else {
                let settling = self
                    .settle_day(day, &staged)
                    .instrument(tracing::info_span!("day", %day));
                match settling.await {
                    Ok(outcome) => {
                        self.summary.add_outcome(&staged, &outcome);
                        self.listener.hear(Event::Day(day, &staged, &outcome));
                    }
                    Err(error) if !error.kind().needs_a_person() => return Err(error),
                    Err(error) => {
                        self.summary.days_refused.push(day);
                        self.listener.hear(Event::Refused(day, &staged, &error));
                    }
                }
            }
            self.settled = Some(day);
        }
        Ok(())
    }

    fn candidate<'c>(&self, day: Day, staged: &'c StagedDay) -> Candidate<'c> {
        Candidate {
            day,
            fingerprint: &staged.fingerprint,
            sums: staged.sums,
            conflicting: staged.conflicting,
            unreadable: self.unreadable.get(&day).copied().unwrap_or(0),
        }
    }

    async fn settle_day(&mut self, day: Day, staged: &StagedDay) -> Result<Outcome, Error> {
        let candidate = self.candidate(day, staged);
        if let Some((what, remedy)) = verdict::unusable(candidate, self.rules) {
            return Err(Error::new(
                ErrorKind::ImportRefused,
                format!("{day} is refused: {what}"),
            )
            .hint(remedy));
        }
        // All decisions below are based on this entry: posting fails if another one was added meanwhile.
        let head = self.reader.head().await?;
        let entries = self.reader.entries_of(day).await?;
        let standing = Standing {
            entries: &entries,
            net: self.reader.net_of_day(day).await?,
            source_events: self.source_events(day).await?,
            today: self.ledger.zone.day_of(clock::now()),
        };
        let holders = match judge(candidate, standing)? {
            Verdict::AlreadyImported { entry_id } => {
                return Ok(Outcome::AlreadyImported { entry_id });
            }
            Verdict::Compare(holders) => Some(holders),
            Verdict::Post => None,
        };
        let rule = self.rules.on_conflict;
        if !matches!(self.task, Task::Post(_)) || (holders.is_some() && !self.rules.replace) {
            let subtraction = Subtraction::new(day, rule, &entries, head, self.workspace.clone());
            let difference =
                Difference::find(subtraction, &mut self.reader, &mut self.staging).await?;
            match holders {
                Some(Holders {
                    ledger: Some(_), ..
                }) if difference.is_none() => return Ok(Outcome::Equal),
                Some(holders) if !self.rules.replace => {
                    if holders.ledger.is_some() {
                        self.listener.hear(Event::Difference(day, &difference));
                    }
                    return Err(holders.refusal(day, staged.sums));
                }
                Some(_) => self.listener.hear(Event::Difference(day, &difference)),
                None => {}
            }
            let Difference {
                cells,
                count,
                total,
                ..
            } = difference;
            return Ok(Outcome::WouldPost {
                cells,
                count_difference: count,
                total_difference: total,
            });
        }
        let Task::Post(run) = &mut self.task else {
            return Err(Error::new(
                ErrorKind::Internal,
                "a day was to be posted without a run",
            ));
        };
        let reason = reason(&self.inputs, staged);
        let to_post = ToPost {
            day,
            staged,
            rule,
            head,
            entries: &entries,
            reason,
            workspace: self.workspace.clone(),
        };
        let posted = Box::pin(post::post_day(
            self.ledger,
            &mut self.reader,
            &mut self.staging,
            run,
            to_post,
        ))
        .await?;
        Ok(match posted {
            Some(posted) => Outcome::Posted {
                entry_id: posted.entry_id,
                entry_hash: posted.entry_hash,
                cells: posted.cells,
            },
            None => Outcome::Equal,
        })
    }

    async fn compare_day(&mut self, day: Day, staged: &StagedDay) -> Result<(), Error> {
        let unusable = verdict::unusable(self.candidate(day, staged), self.rules);
        let entries = self.reader.entries_of(day).await?;
        let outcome = match unusable {
            Some((message, _)) => DayComparison::Unusable { message },
            None if entries.is_empty() => DayComparison::NotInLedger,
            None => {
                let head = self.reader.head().await?;
                let subtraction = Subtraction::new(
                    day,
                    self.rules.on_conflict,
                    &entries,
                    head,
                    self.workspace.clone(),
                );
                let difference =
                    Difference::find(subtraction, &mut self.reader, &mut self.staging).await?;
                if difference.is_none() {
                    DayComparison::Same
                } else {
                    DayComparison::Different(difference)
                }
            }
        };
        let net = self.reader.net_of_day(day).await?;
        self.comparison.add(day, &outcome);
        self.listener
            .hear(Event::Compared(day, staged, net, &outcome));
        Ok(())
    }

    async fn source_events(&mut self, day: Day) -> Result<Option<i64>, Error> {
        match &mut self.source {
            Some(source) => Ok(Some(source.day(day).await?.fingerprint().await?.rows)),
            None => Ok(None),
        }
    }
}

/// The reason of the entry: where it comes from.
fn reason(inputs: &[String], staged: &StagedDay) -> String {
    let inputs = staged
        .inputs
        .iter()
        .filter_map(|input| inputs.get(usize::try_from(*input).ok()?));
    format!(
        "imported from {}",
        inputs.map(String::as_str).collect::<Vec<_>>().join(", ")
    )
}

/// Sends the content of a file, in batches.
fn send_found(
    path: &std::path::Path,
    day: Option<Day>,
    sender: &mpsc::Sender<Vec<FoundAt>>,
) -> Result<(), Error> {
    const BATCH: usize = 100;
    const BATCH_TERMS: usize = 100_000;
    let (mut batch, mut terms) = (Vec::new(), 0);
    let mut take = |found_at: FoundAt| {
        if let Found::Document(document) = &found_at.found {
            terms += document.terms();
        }
        batch.push(found_at);
        if batch.len() < BATCH && terms < BATCH_TERMS {
            return true;
        }
        terms = 0;
        // If the receiver is gone, it reports its own error.
        sender.blocking_send(std::mem::take(&mut batch)).is_ok()
    };
    let read = file::read(path, day, &mut take);
    let _ = sender.blocking_send(batch);
    read
}
