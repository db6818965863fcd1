//! Folds events into the deltas of a day. Pure: no IO, the same events in any order give the same deltas.
//!
//! Interactions are appended to their cell as (term, n) pairs with interned terms and merged now and then, so that the
//! hot loop neither allocates nor hashes per term.

mod delta;
mod tally;
pub(crate) mod terms;

use rustc_hash::FxHashMap;

pub use delta::{Cell, DayDeltas, DeltaRow, Sums};
use tally::Tally;
use terms::{TermId, Terms};

use crate::event::{Event, Interaction, Reading, Rejection, SourceRow, geocode, read};

/// A sum that left the range of a bigint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sums of {0} exceed what a bigint holds")]
pub struct Overflow(pub Cell);

/// What became of a day's source rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that were counted.
    pub counted: i64,
    /// Events of a record type that is not counted.
    pub ignored: i64,
    /// Events that cannot be counted.
    pub rejected: i64,
    /// Interactions in the counted events.
    pub interactions: i64,
}

impl Figures {
    /// All rows.
    pub fn events(&self) -> i64 {
        self.counted + self.ignored + self.rejected
    }
}

/// A day while it is being counted.
#[derive(Debug, Default)]
pub struct Aggregation {
    terms: Terms,
    cells: FxHashMap<Cell, CellSums>,
    /// Geocodes as the source spells them, with their term.
    geocodes: FxHashMap<Box<str>, TermId>,
    figures: Figures,
    rejections: Vec<Rejection>,
}

#[derive(Debug, Default)]
struct CellSums {
    count: i64,
    total: i64,
    items: Tally,
    queries: Tally,
    geocodes: Tally,
}

/// A row of the ledger to be taken off: what is already posted for the day.
#[derive(Clone, Copy, Debug)]
pub struct PostedRow<'a> {
    /// The cell.
    pub cell: Cell,
    /// Its interactions.
    pub count: i64,
    /// The records involved.
    pub total: i64,
    /// Its terms by dimension, in the order items, queries, geocodes.
    pub maps: [&'a [(std::borrow::Cow<'a, str>, i64)]; 3],
}

impl Aggregation {
    /// Counts one row of the source.
    pub fn add(&mut self, row: SourceRow<'_>) -> Result<(), Overflow> {
        match read(row) {
            Reading::Counted(event) => match self.geocode_term(event.geocode) {
                Ok(geocode) => self.count(&event, geocode)?,
                Err(defect) => self.reject(defect.reject(row.id)),
            },
            Reading::Ignored => self.figures.ignored += 1,
            Reading::Rejected(rejection) => self.reject(rejection),
        }
        Ok(())
    }

    /// Takes off what the ledger already holds, so that what remains is the difference.
    pub fn subtract(&mut self, row: PostedRow<'_>) -> Result<(), Overflow> {
        let overflow = || Overflow(row.cell);
        let sums = self.cells.entry(row.cell).or_default();
        sums.count = sums.count.checked_sub(row.count).ok_or_else(overflow)?;
        sums.total = sums.total.checked_sub(row.total).ok_or_else(overflow)?;
        let tallies = [&mut sums.items, &mut sums.queries, &mut sums.geocodes];
        for (tally, terms) in tallies.into_iter().zip(row.maps) {
            for (term, n) in terms {
                let less = n.checked_neg().ok_or_else(overflow)?;
                tally.add(self.terms.intern(term), less).ok_or_else(overflow)?;
            }
        }
        Ok(())
    }

    /// What became of the rows so far.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// The deltas, in the order of the ledger, and the rejected events.
    pub fn finish(self) -> Result<(DayDeltas, Vec<Rejection>), Overflow> {
        let ranks = self.terms.ranks();
        let mut rows = Vec::with_capacity(self.cells.len());
        for (cell, sums) in self.cells {
            let finish = |tally: Tally| tally.finish(&ranks).ok_or(Overflow(cell));
            let row = DeltaRow {
                cell,
                count: sums.count,
                total: sums.total,
                items: finish(sums.items)?,
                queries: finish(sums.queries)?,
                geocodes: finish(sums.geocodes)?,
            };
            if !row.is_zero() {
                rows.push(row);
            }
        }
        rows.sort_unstable_by_key(|row| row.cell);
        Ok((DayDeltas::new(self.terms, rows), self.rejections))
    }

    fn reject(&mut self, rejection: Rejection) {
        self.figures.rejected += 1;
        self.rejections.push(rejection);
    }

    fn geocode_term(&mut self, text: &str) -> Result<TermId, geocode::GeocodeDefect> {
        if let Some(term) = self.geocodes.get(text) {
            return Ok(*term);
        }
        let term = self.terms.intern(&geocode::canonical(text)?);
        self.geocodes.insert(text.into(), term);
        Ok(term)
    }

    fn count(&mut self, event: &Event<'_>, geocode: TermId) -> Result<(), Overflow> {
        let query = event.stat_type.counts_queries().then(|| self.terms.intern(event.query_hash));
        for interaction in &event.interactions {
            let Interaction { recordset_id, ref item, records } = *interaction;
            let cell = Cell { recordset_id, record_type: event.record_type, stat_type: event.stat_type };
            let item = item.as_ref().map(|item| self.terms.intern(item));
            self.cells.entry(cell).or_default().add(records, item, query, geocode).ok_or(Overflow(cell))?;
        }
        self.figures.counted += 1;
        self.figures.interactions += i64::try_from(event.interactions.len()).unwrap_or(i64::MAX);
        Ok(())
    }
}

impl CellSums {
    /// Adds one interaction; nothing, if a sum would overflow. An interaction with 0 records lists no term.
    fn add(&mut self, records: i64, item: Option<TermId>, query: Option<TermId>, geocode: TermId) -> Option<()> {
        self.count = self.count.checked_add(1)?;
        self.total = self.total.checked_add(records)?;
        if records == 0 {
            return Some(());
        }
        if let Some(item) = item {
            self.items.add(item, records)?;
        }
        if let Some(query) = query {
            self.queries.add(query, records)?;
        }
        self.geocodes.add(geocode, records)
    }
}

#[cfg(test)]
mod tests;
