//! Reports an import or a comparison as it proceeds: each day, conflicts, unreadable documents.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::aggregate::Sums;
use crate::day::Day;
use crate::error::Error;
use crate::import::{
    Conflict, DayComparison, Defect, Difference, Differing, Event, Listener, Outcome, StagedDay,
    figures, interactions, records,
};
use crate::output::Output;
use crate::printable::one_line;
use crate::text::{Grouped, counted};

/// The fields of a message about a day.
#[derive(Serialize)]
struct DayFields<'a, O> {
    day: Day,
    documents: i64,
    recordsets: i64,
    duplicates: i64,
    conflicting: i64,
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
            duplicates: staged.duplicates,
            conflicting: staged.conflicting,
            terms_incomplete: staged.incomplete,
            count: staged.sums.count,
            total: staged.sums.total,
            outcome,
        }
    }
}

/// The maximum number of lines of one kind in text output; JSON has them all.
const LINES: u64 = 100;

/// The maximum number of recordsets of a day in text output.
const RECORDSETS: usize = 20;

/// Reports what an import finds; in text output, each kind of message only up to a limit.
#[derive(Debug)]
pub struct ImportReporter {
    output: Output,
    /// By kind: how many there were, and the first message.
    defects: BTreeMap<String, (u64, String)>,
    conflicts: u64,
    /// Conflicts of the current day that were not reported.
    more_conflicts: u64,
    differing: u64,
}

impl ImportReporter {
    pub fn new(output: Output) -> Self {
        Self {
            output,
            defects: BTreeMap::new(),
            conflicts: 0,
            more_conflicts: 0,
            differing: 0,
        }
    }

    fn day(&self, day: Day, staged: &StagedDay, outcome: &Outcome) {
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

    fn refused(&self, day: Day, staged: &StagedDay, error: &Error) {
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

    /// Reports what differs on a day that is refused, or would be replaced.
    fn difference(&mut self, day: Day, difference: &Difference) {
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

    /// The recordsets that differ, with both figures.
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
                format!(
                    "{} in both, with different cells or terms",
                    figures(*documents)
                )
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
            text += &format!("\n  and {} more (--json lists them)", Grouped(more));
        }
        text
    }

    /// Reports the comparison of a day.
    fn comparison(&mut self, day: Day, staged: &StagedDay, ledger: Sums, outcome: &DayComparison) {
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

    /// Reports a day that the documents lack.
    fn not_in_documents(&self, day: Day, ledger: Sums) {
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

    fn conflict(&mut self, conflict: &Conflict) {
        self.conflicts += 1;
        if self.conflicts > LINES && !self.output.is_json() {
            self.more_conflicts += 1;
            return;
        }
        let mut text = format!(
            "{}  recordset {} has conflicting documents:",
            conflict.day, conflict.recordset_id
        );
        for version in &conflict.versions {
            let (count, total) = (
                interactions(version.count.into()),
                records(version.total.into()),
            );
            text += &format!("\n  {}: {count}, {total}", one_line(&version.place));
            if version.documents > 1 {
                text += &format!(" (in {} documents)", Grouped(version.documents));
            }
        }
        self.output.report("import_conflict", conflict, text);
    }

    /// Reports how many conflicts of a day were not shown.
    fn more_conflicts(&mut self, day: Day) {
        let more = std::mem::take(&mut self.more_conflicts);
        if more > 0 {
            let recordsets = counted(more, "more recordset has", "more recordsets have");
            self.output.remark(format!(
                "{day}  {recordsets} conflicting documents (--json lists them)"
            ));
        }
    }

    fn unreadable(&mut self, place: &str, defect: &Defect) {
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

    /// Reports how many unreadable documents were not shown.
    fn tell_rest(&self) {
        for (told, message) in self
            .defects
            .values()
            .filter(|(told, _)| *told > LINES && !self.output.is_json())
        {
            let more = counted(told - LINES, "more document", "more documents");
            self.output.remark(format!(
                "{more} cannot be read for similar reasons: {}",
                one_line(message)
            ));
        }
    }
}

impl Listener for ImportReporter {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Unreadable { place, defect } => self.unreadable(place, defect),
            Event::Conflict(conflict) => self.conflict(conflict),
            Event::ConflictsEnd(day) => self.more_conflicts(day),
            Event::Difference(day, difference) => self.difference(day, difference),
            Event::Day(day, staged, outcome) => self.day(day, staged, outcome),
            Event::Refused(day, staged, error) => self.refused(day, staged, error),
            Event::Compared(day, staged, ledger, outcome) => {
                self.comparison(day, staged, ledger, outcome);
            }
            Event::NotInDocuments(day, ledger) => self.not_in_documents(day, ledger),
            Event::AllRead => self.tell_rest(),
        }
    }
}

/// A message without numbers and quoted text.
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
    if staged.duplicates > 0 {
        text += &format!(
            "; {}",
            counted(staged.duplicates, "duplicate", "duplicates")
        );
    }
    if staged.conflicting > 0 {
        text += &format!(
            "; {}",
            counted(
                staged.conflicting,
                "conflicting recordset",
                "conflicting recordsets"
            )
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
