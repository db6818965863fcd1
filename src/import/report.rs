//! What an import tells: of each day, of what contradicts and what cannot be read, and of the whole.

use std::collections::BTreeMap;

use serde::Serialize;

use super::comparison::DayComparison;
use super::difference::{Difference, Differing};
use super::document::Defect;
use super::staging::{Conflict, StagedDay};
use super::verdict::figures;
use crate::aggregate::Sums;
use crate::day::Day;
use crate::error::Error;
use crate::ledger::EntryId;
use crate::output::{Grouped, Output, counted};
use crate::printable::one_line;

/// What was done with a day.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// An entry was posted.
    Posted {
        entry_id: EntryId,
        entry_hash: String,
        cells: u64,
    },
    /// An entry would be posted: so many cells, and so much more than the ledger has.
    WouldPost {
        cells: u64,
        count_difference: i128,
        total_difference: i128,
    },
    /// An entry of the same content is there.
    AlreadyImported { entry_id: EntryId },
    /// The ledger has the same of the day, from elsewhere.
    Equal,
}

/// What was read.
#[derive(Debug, Default, Serialize)]
pub struct Read {
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
    pub days_missing: Vec<DateRange>,
    /// What was read, in words.
    #[serde(skip)]
    pub(super) inputs: Vec<String>,
}

/// The verdict on all that was read.
#[derive(Debug, Default, Serialize)]
#[expect(
    missing_docs,
    reason = "the names say it, docs/reference.md lists them"
)]
pub struct Summary {
    #[serde(flatten)]
    pub read: Read,
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
pub struct DateRange {
    /// The first.
    pub from: Day,
    /// The last.
    pub to: Day,
}

impl DateRange {
    /// Days in their order, those that follow each other put together.
    pub(super) fn of_days(days: &[Day]) -> Vec<Self> {
        let runs = days.chunk_by(|day, next| day.next() == *next);
        runs.map(|run| Self {
            from: run[0],
            to: run[run.len() - 1],
        })
        .collect()
    }

    /// The first of some, in words.
    pub(super) fn list(stretches: &[Self]) -> String {
        const SHOWN: usize = 20;
        let shown = stretches.iter().take(SHOWN).map(|Self { from, to }| {
            if from == to {
                from.to_string()
            } else {
                format!("{from} to {to}")
            }
        });
        let more = if stretches.len() > SHOWN { ", …" } else { "" };
        format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
    }
}

impl Read {
    pub(super) fn add_day(&mut self, day: Day, staged: &StagedDay) {
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
        self.doubled += staged.doubled;
        self.contradicting += staged.contradicting;
        self.terms_incomplete += staged.incomplete;
    }

    /// Whether there was nothing of the kind that was looked for, which is what a wrong file or a wrong name looks like.
    pub(super) fn nothing_found(&self) -> Option<Error> {
        if self.documents > 0 || self.unreadable > 0 {
            return None;
        }
        let mut what = format!("nothing to import was found in {}", self.inputs.join(", "));
        if self.of_other_kinds > 0 {
            what += &format!("; {} of other kinds", Grouped(self.of_other_kinds));
        }
        if self.left_out > 0 {
            what += &format!(
                "; {} of days that were not asked for",
                Grouped(self.left_out)
            );
        }
        Some(Error::failed(what).hint(
            "looked for were daily documents (JSON objects with recordset_id and harvest_date), or with --day an aggregation object",
        ))
    }

    pub(super) fn period(&self) -> String {
        let days = counted(self.days, "day", "days");
        match (self.first_day, self.last_day) {
            (Some(first), Some(last)) => format!("{days}, {first} to {last}"),
            _ => days,
        }
    }

    pub(super) fn line_of_documents(&self) -> String {
        let mut line = format!(
            "{}: {} doubled, {} contradicting, {} unreadable, {} without all terms",
            counted(self.documents, "document", "documents"),
            Grouped(self.doubled),
            counted(self.contradicting, "recordset", "recordsets"),
            Grouped(self.unreadable),
            Grouped(self.terms_incomplete),
        );
        if self.of_other_kinds > 0 {
            line += &format!(
                "; {} of other kinds passed over",
                Grouped(self.of_other_kinds)
            );
        }
        if self.left_out > 0 {
            line += &format!("; {} of other days left out", Grouped(self.left_out));
        }
        line
    }
}

impl Summary {
    pub(super) fn add_outcome(&mut self, staged: &StagedDay, outcome: &Outcome) {
        self.count += staged.sums.count;
        self.total += staged.sums.total;
        match outcome {
            Outcome::Posted { .. } | Outcome::WouldPost { .. } => self.days_posted += 1,
            Outcome::AlreadyImported { .. } => self.days_already_imported += 1,
            Outcome::Equal => self.days_equal += 1,
        }
    }

    /// The failure of an import of which something was refused.
    pub fn refusal(&self) -> Option<Error> {
        let refused = &self.days_refused;
        if !refused.is_empty() {
            let days = counted(self.read.days, "day", "days");
            let names = DateRange::list(&DateRange::of_days(refused));
            let what = format!("{} of {days} refused: {names}", Grouped(refused.len()));
            return Some(Error::failed(what).hint(
                "the other days are done with; each refused day's message above says the way out",
            ));
        }
        let unreadable = counted(self.read.unreadable, "document", "documents");
        if self.read.unreadable > 0 {
            return Some(
                Error::failed(format!(
                    "{unreadable} cannot be read, of days that are not known; all days that are known are done with"
                ))
                .hint("put right or take out what is listed above by its place, then run the command again"),
            );
        }
        self.read.nothing_found()
    }

    /// In words.
    fn text(&self, dry_run: bool) -> String {
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
            lines.push(format!("the source was not looked at: {}", one_line(why)));
        }
        lines.join("\n")
    }

    /// Tells it.
    pub fn report(&self, output: Output, dry_run: bool) {
        #[derive(Serialize)]
        struct Fields<'a> {
            dry_run: bool,
            #[serde(flatten)]
            summary: &'a Summary,
        }
        output.report(
            "import_summary",
            Fields {
                dry_run,
                summary: self,
            },
            self.text(dry_run),
        );
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

/// The most lines about one thing on the screen; in JSON there are all.
const LINES: u64 = 100;

/// Recordsets of a day that are named on the screen.
const RECORDSETS: usize = 20;

/// Tells of what it finds, but not without end.
#[derive(Debug)]
pub(super) struct ImportReporter {
    output: Output,
    /// By what is wrong: how often it was, and the first such message.
    defects: BTreeMap<String, (u64, String)>,
    conflicts: u64,
    /// Conflicts of the day that were not told.
    more_conflicts: u64,
    differing: u64,
}

impl ImportReporter {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            defects: BTreeMap::new(),
            conflicts: 0,
            more_conflicts: 0,
            differing: 0,
        }
    }

    pub(super) fn day(&self, day: Day, staged: &StagedDay, outcome: &Outcome) {
        let done = match outcome {
            Outcome::Posted {
                entry_id, cells, ..
            } => {
                format!(
                    "entry {entry_id} (import), {}",
                    counted(*cells, "cell", "cells")
                )
            }
            Outcome::WouldPost { cells, .. } => {
                format!("would post: import, {}", counted(*cells, "cell", "cells"))
            }
            Outcome::AlreadyImported { entry_id } => {
                format!("already imported as entry {entry_id}")
            }
            Outcome::Equal => "the same as in the ledger, nothing to post".to_owned(),
        };
        let mut text = format!("{day}  {done}: {}", documents_and_sums(staged));
        if let Outcome::WouldPost {
            count_difference,
            total_difference,
            ..
        } = outcome
            && (*count_difference, *total_difference) != (staged.sums.count, staged.sums.total)
        {
            text += &format!(
                "; adds {count_difference:+} interactions, {total_difference:+} records to the ledger"
            );
        }
        if let Outcome::Posted { entry_hash, .. } = outcome {
            text += &format!("; entry_hash {entry_hash}");
        }
        self.output
            .report("import_day", DayFields::new(day, staged, outcome), text);
    }

    pub(super) fn refused(&self, day: Day, staged: &StagedDay, error: &Error) {
        #[derive(Serialize)]
        struct Refused<'a> {
            outcome: &'a str,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let message = error.message();
        let refused = Refused {
            outcome: "refused",
            message: &message,
            hint: error.hint_text(),
        };
        self.output
            .report("import_day", DayFields::new(day, staged, &refused), "");
        self.output.report_error(error);
    }

    /// What differs on a day that is refused, or would be replaced.
    pub(super) fn difference(&mut self, day: Day, difference: &Difference) {
        #[derive(Serialize)]
        struct Fields<'a> {
            day: Day,
            #[serde(flatten)]
            difference: &'a Difference,
        }
        let text = format!("{day}  {}", self.difference_text(difference));
        self.output
            .report("import_difference", Fields { day, difference }, text);
    }

    /// In words: the recordsets with both figures.
    fn difference_text(&mut self, difference: &Difference) -> String {
        let differ = if difference.recordsets == 1 {
            "differs"
        } else {
            "differ"
        };
        let mut text = format!(
            "{} {differ}:",
            counted(difference.recordsets, "recordset", "recordsets")
        );
        let left = usize::try_from(LINES.saturating_sub(self.differing)).unwrap_or(0);
        let shown = difference.differing.iter().take(left.min(RECORDSETS));
        let mut told = 0;
        for Differing {
            recordset_id,
            documents,
            ledger,
        } in shown
        {
            told += 1;
            text += &format!("\n  recordset {recordset_id}: ");
            text += &if documents == ledger {
                format!("{} in both, with other cells or terms", figures(*documents))
            } else {
                format!(
                    "{} in the documents; {} in the ledger",
                    figures(*documents),
                    figures(*ledger)
                )
            };
        }
        self.differing += told;
        if told < difference.recordsets {
            let more = difference.recordsets - told;
            text += &format!("\n  and {} more (--json names them)", Grouped(more));
        }
        text
    }

    /// What became of the comparison of a day.
    pub(super) fn comparison(
        &mut self,
        day: Day,
        staged: &StagedDay,
        ledger: Sums,
        outcome: &DayComparison,
    ) {
        #[derive(Serialize)]
        struct Fields<'a> {
            #[serde(flatten)]
            day: DayFields<'a, DayComparison>,
            ledger: Sums,
        }
        let documents = documents_and_sums(staged);
        let text = match outcome {
            DayComparison::Same => format!("{day}  the same: {documents}"),
            DayComparison::Different(difference) => {
                let which = self.difference_text(difference);
                format!(
                    "{day}  differs: {documents}; the ledger has {}; {which}",
                    figures(ledger)
                )
            }
            DayComparison::NotInLedger => format!("{day}  not in the ledger: {documents}"),
            DayComparison::Unusable { message } => {
                format!(
                    "{day}  cannot be compared, the ledger has {}: {}",
                    figures(ledger),
                    one_line(message)
                )
            }
        };
        self.output.report(
            "compare_day",
            Fields {
                day: DayFields::new(day, staged, outcome),
                ledger,
            },
            text,
        );
    }

    /// A day that the documents lack.
    pub(super) fn not_in_documents(&self, day: Day, ledger: Sums) {
        let fields =
            serde_json::json!({ "day": day, "outcome": "not_in_documents", "ledger": ledger });
        self.output.report(
            "compare_day",
            fields,
            format!(
                "{day}  not in the documents: the ledger has {}",
                figures(ledger)
            ),
        );
    }

    pub(super) fn conflict(&mut self, conflict: &Conflict) {
        self.conflicts += 1;
        if self.conflicts > LINES && !self.output.is_json() {
            self.more_conflicts += 1;
            return;
        }
        let mut text = format!(
            "{}  recordset {} is contradicted:",
            conflict.day, conflict.recordset_id
        );
        for version in &conflict.versions {
            let (count, total) = (
                interactions(version.count.into()),
                records(version.total.into()),
            );
            text += &format!("\n  {}: {count}, {total}", one_line(&version.place));
            if version.documents > 1 {
                text += &format!(" ({} documents say so)", Grouped(version.documents));
            }
        }
        self.output.report("import_conflict", conflict, text);
    }

    /// How many conflicts of a day were not told.
    pub(super) fn more_conflicts(&mut self, day: Day) {
        let more = std::mem::take(&mut self.more_conflicts);
        if more > 0 {
            let recordsets = counted(more, "more recordset is", "more recordsets are");
            self.output.remark(format!(
                "{day}  {recordsets} contradicted (--json names them)"
            ));
        }
    }

    pub(super) fn unreadable(&mut self, place: &str, defect: &Defect) {
        let (told, _) = self
            .defects
            .entry(kind_of(&defect.message))
            .or_insert_with(|| (0, defect.message.clone()));
        *told += 1;
        if *told > LINES && !self.output.is_json() {
            return;
        }
        let fields =
            serde_json::json!({ "place": place, "day": defect.day, "message": defect.message });
        self.output.report(
            "import_unreadable",
            fields,
            format!(
                "{}  cannot be read: {}",
                one_line(place),
                one_line(&defect.message)
            ),
        );
    }

    /// How many of what cannot be read were not told.
    pub(super) fn tell_rest(&self) {
        for (told, message) in self
            .defects
            .values()
            .filter(|(told, _)| *told > LINES && !self.output.is_json())
        {
            let more = counted(told - LINES, "more document", "more documents");
            self.output.remark(format!(
                "{more} cannot be read for a reason like: {}",
                one_line(message)
            ));
        }
    }
}

/// What a message says without what it says it of: numbers and what stands in quotes.
fn kind_of(message: &str) -> String {
    const LONGEST: usize = 120;
    let mut kind = String::new();
    let mut quoted = false;
    for c in message.chars() {
        quoted ^= matches!(c, '\'' | '"');
        if !quoted && !c.is_ascii_digit() && kind.len() < LONGEST {
            kind.push(c);
        }
    }
    kind
}

fn documents_and_sums(staged: &StagedDay) -> String {
    let mut text = format!(
        "{} → {}",
        counted(staged.documents, "document", "documents"),
        figures(staged.sums)
    );
    if staged.doubled > 0 {
        text += &format!("; {} doubled", Grouped(staged.doubled));
    }
    if staged.contradicting > 0 {
        text += &format!(
            "; {} contradicting",
            counted(staged.contradicting, "recordset", "recordsets")
        );
    }
    if staged.incomplete > 0 {
        text += &format!(
            "; terms incomplete in {}",
            counted(staged.incomplete, "document", "documents")
        );
    }
    text
}

fn interactions(n: i128) -> String {
    counted(
        i64::try_from(n).unwrap_or(i64::MAX),
        "interaction",
        "interactions",
    )
}

fn records(n: i128) -> String {
    counted(i64::try_from(n).unwrap_or(i64::MAX), "record", "records")
}
