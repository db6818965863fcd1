//! The result of comparing old documents with the ledger.

use serde::Serialize;

use super::summary::{DateRange, DayComparison, Event, Listener, Read};
use crate::aggregate::Sums;
use crate::day::{Bounds, Day};
use crate::error::Error;
use crate::ledger::Reader;
use crate::text::{Grouped, counted};

/// The result of a comparison.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    #[serde(flatten)]
    pub read: Read,
    pub days_same: u64,
    pub days_different: Vec<Day>,
    pub days_not_in_ledger: Vec<Day>,
    /// Days between the first and the last that were compared.
    pub days_not_in_documents: Vec<Day>,
    /// Days whose documents conflict or cannot be read.
    pub days_not_compared: Vec<Day>,
    /// Days of the ledger before the first document and after the last.
    pub days_beyond: u64,
}

impl Comparison {
    pub(super) fn add(&mut self, day: Day, outcome: &DayComparison) {
        match outcome {
            DayComparison::Same => self.days_same += 1,
            DayComparison::Different(_) => self.days_different.push(day),
            DayComparison::NotInLedger => self.days_not_in_ledger.push(day),
            DayComparison::Unusable { .. } => self.days_not_compared.push(day),
        }
    }

    /// Finds the days that are in the ledger but not in the documents, between the first and the last document or
    /// within the requested range. Skips quiet days, which have no documents.
    pub(super) async fn find_extra(
        &mut self,
        reader: &mut Reader,
        days: Bounds,
        listener: &mut (dyn Listener + Send),
    ) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.read.first_day, self.read.last_day) else {
            return Ok(());
        };
        let within = Bounds {
            from: days.from.or(Some(first)),
            to: days.to.or(Some(last)),
        };
        let missing = &self.read.days_missing;
        let is_missing = |day: Day| {
            day < first || day > last || missing.iter().any(|gap| gap.from <= day && day <= gap.to)
        };
        for day in reader.days_with_entries().await? {
            if !within.contains(day) {
                self.days_beyond += 1;
            } else if is_missing(day) {
                let net = reader.net_of_day(day).await?;
                if net != Sums::default() {
                    self.days_not_in_documents.push(day);
                    listener.hear(Event::NotInDocuments(day, net));
                }
            }
        }
        Ok(())
    }

    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        let days = [
            &self.days_different,
            &self.days_not_in_ledger,
            &self.days_not_in_documents,
            &self.days_not_compared,
        ];
        self.read.unreadable > 0 || days.iter().any(|days| !days.is_empty())
    }

    /// The error if there was nothing to compare.
    pub fn nothing_found(&self) -> Option<Error> {
        self.read.nothing_found()
    }

    /// The result as text.
    pub fn text(&self) -> String {
        let mut days = format!(
            "{}: {} the same",
            self.read.period(),
            Grouped(self.days_same)
        );
        let mut lines = Vec::new();
        for (some, what) in [
            (&self.days_different, "different"),
            (&self.days_not_in_ledger, "not in the ledger"),
            (&self.days_not_in_documents, "not in the documents"),
            (&self.days_not_compared, "not comparable"),
        ] {
            days += &format!(", {} {what}", Grouped(some.len()));
            if !some.is_empty() {
                lines.push(format!(
                    "{what}: {}",
                    DateRange::list(&DateRange::of_days(some))
                ));
            }
        }
        if self.days_beyond > 0 {
            let days = counted(self.days_beyond, "day", "days");
            lines.push(format!(
                "not compared: {days} of the ledger before or after"
            ));
        }
        let verdict = if self.differs() {
            "the documents and the ledger differ"
        } else {
            "the same"
        };
        let first = [self.read.line_of_documents(), days];
        first
            .into_iter()
            .chain(lines)
            .chain([verdict.to_owned()])
            .collect::<Vec<_>>()
            .join("\n")
    }
}
