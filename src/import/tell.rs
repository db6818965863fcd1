//! What an import tells: of each day, of what contradicts and what cannot be read, and of the whole.

use serde::Serialize;

use super::document::Defect;
use super::staging::{Conflict, StagedDay};
use crate::day::Day;
use crate::failure::Failure;
use crate::ledger::EntryId;
use crate::output::{Grouped, Output, counted};

/// What was done with a day.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// An entry was posted.
    Posted { entry_id: EntryId, entry_hash: String, cells: u64 },
    /// An entry would be posted.
    WouldPost,
    /// An entry of the same content is there.
    AlreadyImported { entry_id: EntryId },
    /// The ledger has the same of the day, from elsewhere.
    Equal,
}

/// The verdict on all that was read.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it, docs/importing.md explains them")]
pub struct Summary {
    pub documents: u64,
    pub days: u64,
    pub first_day: Option<Day>,
    pub last_day: Option<Day>,
    pub doubled: i64,
    pub contradicting: i64,
    pub unreadable: u64,
    /// Documents without all terms.
    pub terms_incomplete: i64,
    /// Documents of kinds that are not imported.
    pub of_other_kinds: u64,
    /// Documents of days that were not asked for.
    pub left_out: u64,
    pub days_missing: Vec<Stretch>,
    /// Days that were posted or, in a dry run, would be.
    pub days_posted: u64,
    pub days_already_imported: u64,
    /// Days that the ledger has to the term from elsewhere.
    pub days_equal: u64,
    pub days_refused: Vec<Day>,
    /// Interactions of the days that are not refused.
    pub count: i128,
    /// Records of the days that are not refused.
    pub total: i128,
    /// Why, if it was not.
    pub source_not_looked_at: Option<String>,
}

/// Days without a document, one after the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stretch {
    /// The first.
    pub from: Day,
    /// The last.
    pub to: Day,
}

impl Summary {
    pub(super) fn add_day(&mut self, day: Day, staged: &StagedDay) {
        if let Some(last) = self.last_day
            && last.next() < day
        {
            self.days_missing.push(Stretch { from: last.next(), to: day.previous() });
        }
        self.first_day = self.first_day.or(Some(day));
        self.last_day = Some(day);
        self.days += 1;
        self.doubled += staged.doubled;
        self.contradicting += staged.contradicting;
        self.terms_incomplete += staged.incomplete;
    }

    pub(super) fn add_outcome(&mut self, staged: &StagedDay, outcome: &Outcome) {
        self.count += staged.sums.count;
        self.total += staged.sums.total;
        match outcome {
            Outcome::Posted { .. } | Outcome::WouldPost => self.days_posted += 1,
            Outcome::AlreadyImported { .. } => self.days_already_imported += 1,
            Outcome::Equal => self.days_equal += 1,
        }
    }

    /// The failure of an import of which something was refused.
    pub fn refusal(&self) -> Option<Failure> {
        let refused = &self.days_refused;
        if !refused.is_empty() {
            let names: Vec<String> = refused.iter().map(Day::to_string).collect();
            let days = counted(self.days, "day", "days");
            let what = format!("{} of {days} refused: {}", Grouped(refused.len()), names.join(", "));
            return Some(
                Failure::failed(what)
                    .hint("the other days are done with; each refused day's message above says the way out"),
            );
        }
        let unreadable = counted(self.unreadable, "document", "documents");
        (self.unreadable > 0).then(|| {
            Failure::failed(format!(
                "{unreadable} cannot be read, of days that are not known; all days that are known are done with"
            ))
            .hint("put right or take out what is listed above by its place, then run the command again")
        })
    }

    /// In words.
    fn text(&self, dry_run: bool) -> String {
        let mut lines = vec![self.line_of_documents()];
        let mut days = counted(self.days, "day", "days");
        if let (Some(first), Some(last)) = (self.first_day, self.last_day) {
            days += &format!(", {first} to {last}");
        }
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
        if !self.days_missing.is_empty() {
            lines.push(self.line_of_missing());
        }
        lines.push(format!("{}, {}", interactions(self.count), records(self.total)));
        if let Some(why) = &self.source_not_looked_at {
            lines.push(format!("the source was not looked at: {why}"));
        }
        lines.join("\n")
    }

    fn line_of_documents(&self) -> String {
        let mut line = format!(
            "{}: {} doubled, {} contradicting, {} unreadable, {} without all terms",
            counted(self.documents, "document", "documents"),
            Grouped(self.doubled),
            counted(self.contradicting, "recordset", "recordsets"),
            Grouped(self.unreadable),
            Grouped(self.terms_incomplete),
        );
        if self.of_other_kinds > 0 {
            line += &format!("; {} of other kinds passed over", Grouped(self.of_other_kinds));
        }
        if self.left_out > 0 {
            line += &format!("; {} of other days left out", Grouped(self.left_out));
        }
        line
    }

    fn line_of_missing(&self) -> String {
        const SHOWN: usize = 20;
        let shown = self
            .days_missing
            .iter()
            .take(SHOWN)
            .map(|Stretch { from, to }| if from == to { from.to_string() } else { format!("{from} to {to}") });
        let more = if self.days_missing.len() > SHOWN { ", …" } else { "" };
        format!("missing between the first and the last day: {}{more}", shown.collect::<Vec<_>>().join(", "))
    }

    /// Tells it.
    pub fn tell(&self, output: Output, dry_run: bool) {
        #[derive(Serialize)]
        struct Fields<'a> {
            dry_run: bool,
            #[serde(flatten)]
            summary: &'a Summary,
        }
        output.tell("import_summary", Fields { dry_run, summary: self }, self.text(dry_run));
    }
}

/// A day, as a message.
#[derive(Serialize)]
struct DayFields<'a, O> {
    day: Day,
    documents: i64,
    recordsets: i64,
    doubled: i64,
    contradicting: i64,
    terms_incomplete: i64,
    count: i128,
    total: i128,
    #[serde(flatten)]
    outcome: &'a O,
}

impl<'a, O> DayFields<'a, O> {
    fn new(day: Day, staged: &StagedDay, outcome: &'a O) -> Self {
        Self {
            day,
            documents: staged.documents,
            recordsets: staged.recordsets,
            doubled: staged.doubled,
            contradicting: staged.contradicting,
            terms_incomplete: staged.incomplete,
            count: staged.sums.count,
            total: staged.sums.total,
            outcome,
        }
    }
}

pub(super) fn day(output: Output, day: Day, staged: &StagedDay, outcome: &Outcome) {
    let done = match outcome {
        Outcome::Posted { entry_id, cells, .. } => {
            format!("entry {entry_id} (import), {}", counted(*cells, "cell", "cells"))
        }
        Outcome::WouldPost => "would post: import".to_owned(),
        Outcome::AlreadyImported { entry_id } => format!("already imported as entry {entry_id}"),
        Outcome::Equal => "the ledger has the same, nothing posted".to_owned(),
    };
    let mut text = format!(
        "{day}  {done}: {} → {}, {}",
        counted(staged.documents, "document", "documents"),
        interactions(staged.sums.count),
        records(staged.sums.total)
    );
    if staged.doubled > 0 {
        text += &format!("; {} doubled", Grouped(staged.doubled));
    }
    if staged.contradicting > 0 {
        text += &format!("; {} contradicting", counted(staged.contradicting, "recordset", "recordsets"));
    }
    if staged.incomplete > 0 {
        text += &format!("; terms incomplete in {}", counted(staged.incomplete, "document", "documents"));
    }
    if let Outcome::Posted { entry_hash, .. } = outcome {
        text += &format!("; entry_hash {entry_hash}");
    }
    output.tell("import_day", DayFields::new(day, staged, outcome), text);
}

pub(super) fn refused(output: Output, day: Day, staged: &StagedDay, failure: &Failure) {
    #[derive(Serialize)]
    struct Refused<'a> {
        outcome: &'a str,
        message: &'a str,
        hint: Option<&'a str>,
    }
    let message = failure.message();
    let refused = Refused { outcome: "refused", message: &message, hint: failure.way_out() };
    output.tell("import_day", DayFields::new(day, staged, &refused), "");
    output.tell_failure(failure);
}

pub(super) fn conflict(output: Output, conflict: &Conflict) {
    let mut text = format!("{}  recordset {} is contradicted:", conflict.day, conflict.recordset_id);
    for version in &conflict.versions {
        let (count, total) = (interactions(version.count.into()), records(version.total.into()));
        text += &format!("\n  {}: {count}, {total}", version.place);
        if version.documents > 1 {
            text += &format!(" ({} documents say so)", Grouped(version.documents));
        }
    }
    output.tell("import_conflict", conflict, text);
}

pub(super) fn unreadable(output: Output, place: &str, defect: &Defect) {
    let fields = serde_json::json!({ "place": place, "day": defect.day, "message": defect.message });
    output.tell("import_unreadable", fields, format!("{place}  cannot be read: {}", defect.message));
}

fn interactions(n: i128) -> String {
    counted(i64::try_from(n).unwrap_or(i64::MAX), "interaction", "interactions")
}

fn records(n: i128) -> String {
    counted(i64::try_from(n).unwrap_or(i64::MAX), "record", "records")
}
