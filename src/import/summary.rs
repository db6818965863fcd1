//! The results of an import or a comparison: the outcome of each day, what was read, and the sums.

use serde::Serialize;

use super::difference::Difference;
use super::document::Defect;
use super::staging::{Conflict, StagedDay};
use crate::aggregate::Sums;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::hash::Hash;
use crate::ledger::EntryId;
use crate::printable::one_line;
use crate::text::{Grouped, counted};

/// Receives what an import or a comparison finds, as it finds it.
pub trait Listener {
    fn hear(&mut self, event: Event<'_>);
}

/// What an import or a comparison finds.
#[derive(Debug)]
pub enum Event<'a> {
    /// A document cannot be read.
    Unreadable {
        /// Where it is.
        place: &'a str,
        /// Why it cannot be read.
        defect: &'a Defect,
    },
    /// Documents of one recordset and day conflict.
    Conflict(&'a Conflict),
    /// All conflicts of the day were reported.
    ConflictsEnd(Day),
    /// The difference of a day that is refused or would be replaced.
    Difference(Day, &'a Difference),
    /// The outcome of a day.
    Day(Day, &'a StagedDay, &'a Outcome),
    /// A day is refused.
    Refused(Day, &'a StagedDay, &'a Error),
    /// A day was compared with the ledger, which has these sums.
    Compared(Day, &'a StagedDay, Sums, &'a DayComparison),
    /// The ledger has a day, with these sums, that the documents lack.
    NotInDocuments(Day, Sums),
    /// All documents were read.
    AllRead,
}

/// The outcome of a day.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// An entry was posted.
    Posted {
        entry_id: EntryId,
        entry_hash: Hash,
        cells: u64,
    },
    /// An entry would be posted, with this many cells and this difference from the ledger.
    WouldPost {
        cells: u64,
        count_difference: i128,
        total_difference: i128,
    },
    /// An entry with the same content exists.
    AlreadyImported { entry_id: EntryId },
    /// The ledger already has exactly this day, from elsewhere.
    Equal,
}

/// How a day of the documents compares with the ledger.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum DayComparison {
    /// The ledger has exactly the same terms.
    Same,
    Different(Difference),
    /// The ledger has no entry of the day.
    NotInLedger,
    /// The documents conflict, or some cannot be read.
    Unusable {
        message: String,
    },
}

/// What was read.
#[derive(Debug, Default, Serialize)]
pub struct Read {
    pub documents: u64,
    pub days: u64,
    pub first_day: Option<Day>,
    pub last_day: Option<Day>,
    pub duplicates: i64,
    pub conflicting: i64,
    pub unreadable: u64,
    /// Documents without all terms.
    pub terms_incomplete: i64,
    /// Documents of kinds that are not imported.
    pub of_other_kinds: u64,
    /// Documents of days outside the requested range.
    pub left_out: u64,
    pub days_missing: Vec<DateRange>,
    /// The names of what was read.
    #[serde(skip)]
    pub inputs: Vec<String>,
}

/// The result of an import.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub read: Read,
    /// Days that were posted or, in a dry run, would be.
    pub days_posted: u64,
    pub days_already_imported: u64,
    /// Days that the ledger already has, from elsewhere.
    pub days_equal: u64,
    pub days_refused: Vec<Day>,
    /// Interactions of the days that are not refused.
    pub count: i128,
    /// Records of the days that are not refused.
    pub total: i128,
    /// Why the source was not checked, if it was not.
    pub source_not_looked_at: Option<String>,
}

/// Consecutive days, for example without documents.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DateRange {
    pub from: Day,
    pub to: Day,
}

impl DateRange {
    /// Joins sorted days into ranges of consecutive days.
    pub fn of_days(days: &[Day]) -> Vec<Self> {
        let runs = days.chunk_by(|day, next| day.next() == *next);
        runs.map(|run| Self {
            from: run[0],
            to: run[run.len() - 1],
        })
        .collect()
    }

    /// The first of the ranges, as text.
    pub fn list(ranges: &[Self]) -> String {
        const SHOWN: usize = 20;
        let shown = ranges.iter().take(SHOWN).map(|Self { from, to }| {
            if from == to {
                from.to_string()
            } else {
                format!("{from} to {to}")
            }
        });
        let more = if ranges.len() > SHOWN { ", …" } else { "" };
        format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
    }
}

impl Read {
    pub fn add_day(&mut self, day: Day, staged: &StagedDay) {
        if let Some(last) = self.last_day
            && last.next() < day
        {
            self.days_missing.push(DateRange {
                from: last.next(),
                to: day.previous(),
            });
        }
        self.first_day = self.first_day.or(Some(day));
        self.last_day = Some(day);
        self.days += 1;
        self.duplicates += staged.duplicates;
        self.conflicting += staged.conflicting;
        self.terms_incomplete += staged.incomplete;
    }

    /// The error if there was nothing to import, as with a wrong file or a wrong name.
    pub fn nothing_found(&self) -> Option<Error> {
        if self.documents > 0 || self.unreadable > 0 {
            return None;
        }
        let mut what = format!("nothing to import was found in {}", self.inputs.join(", "));
        if self.of_other_kinds > 0 {
            what += &format!("; {} of other kinds", Grouped(self.of_other_kinds));
        }
        if self.left_out > 0 {
            what += &format!(
                "; {} of days outside the requested range",
                Grouped(self.left_out)
            );
        }
        Some(Error::new(ErrorKind::ImportRefused, what).hint(
            "expected daily documents (JSON objects with recordset_id and harvest_date), or with --day an aggregation object",
        ))
    }

    pub fn period(&self) -> String {
        let days = counted(self.days, "day", "days");
        match (self.first_day, self.last_day) {
            (Some(first), Some(last)) => format!("{days}, {first} to {last}"),
            _ => days,
        }
    }

    pub fn line_of_documents(&self) -> String {
        let mut line = format!(
            "{}: {} duplicate, {}, {} unreadable, {} without all terms",
            counted(self.documents, "document", "documents"),
            Grouped(self.duplicates),
            counted(
                self.conflicting,
                "conflicting recordset",
                "conflicting recordsets"
            ),
            Grouped(self.unreadable),
            Grouped(self.terms_incomplete),
        );
        if self.of_other_kinds > 0 {
            line += &format!("; {} of other kinds skipped", Grouped(self.of_other_kinds));
        }
        if self.left_out > 0 {
            line += &format!("; {} of other days left out", Grouped(self.left_out));
        }
        line
    }
}

impl Summary {
    pub fn add_outcome(&mut self, staged: &StagedDay, outcome: &Outcome) {
        self.count += staged.sums.count;
        self.total += staged.sums.total;
        match outcome {
            Outcome::Posted { .. } | Outcome::WouldPost { .. } => self.days_posted += 1,
            Outcome::AlreadyImported { .. } => self.days_already_imported += 1,
            Outcome::Equal => self.days_equal += 1,
        }
    }

    /// The error if something was refused or could not be read.
    pub fn refusal(&self) -> Option<Error> {
        let refused = &self.days_refused;
        if !refused.is_empty() {
            let days = counted(self.read.days, "day", "days");
            let names = DateRange::list(&DateRange::of_days(refused));
            let what = format!("{} of {days} refused: {names}", Grouped(refused.len()));
            return Some(Error::new(ErrorKind::ImportRefused, what).hint(
                "the other days are done; the message of each refused day above says what to do",
            ));
        }
        let unreadable = counted(self.read.unreadable, "document", "documents");
        if self.read.unreadable > 0 {
            return Some(
                Error::new(
                    ErrorKind::ImportRefused,
                    format!("{unreadable} cannot be read (day unknown); all known days are done"),
                )
                .hint("correct or remove the documents listed above, then run the command again"),
            );
        }
        self.read.nothing_found()
    }

    /// The result as text.
    pub fn text(&self, dry_run: bool) -> String {
        let mut lines = vec![self.read.line_of_documents()];
        let mut days = self.read.period();
        days += &format!(
            ": {} {}, {} already imported",
            Grouped(self.days_posted),
            if dry_run { "would be posted" } else { "posted" },
            Grouped(self.days_already_imported)
        );
        if self.days_equal > 0 {
            days += &format!(", {} the same as in the ledger", Grouped(self.days_equal));
        }
        days += &format!(", {} refused", Grouped(self.days_refused.len()));
        lines.push(days);
        if !self.read.days_missing.is_empty() {
            let missing = DateRange::list(&self.read.days_missing);
            lines.push(format!(
                "missing between the first and the last day: {missing}"
            ));
        }
        lines.push(format!(
            "{}, {}",
            interactions(self.count),
            records(self.total)
        ));
        if let Some(why) = &self.source_not_looked_at {
            lines.push(format!("the source was not checked: {}", one_line(why)));
        }
        lines.join("\n")
    }
}

/// A number of interactions, as text.
pub fn interactions(n: i128) -> String {
    counted(
        i64::try_from(n).unwrap_or(i64::MAX),
        "interaction",
        "interactions",
    )
}

/// A number of records, as text.
pub fn records(n: i128) -> String {
    counted(i64::try_from(n).unwrap_or(i64::MAX), "record", "records")
}
