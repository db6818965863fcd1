//! The deltas of a day: what one entry adds to each cell.

use std::fmt;

use uuid::Uuid;

use super::terms::{TermId, Terms};
use crate::event::{RecordType, StatType};

/// What is counted together. The order is that of an entry's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The recordset.
    pub recordset_id: Uuid,
    /// Records or media records.
    pub record_type: RecordType,
    /// The kind of interaction.
    pub stat_type: StatType,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recordset {}, {}, {}", self.recordset_id, self.record_type.name(), self.stat_type.name())
    }
}

/// What an entry adds to one cell.
#[derive(Debug, PartialEq, Eq)]
pub struct DeltaRow {
    /// The cell.
    pub cell: Cell,
    /// Interactions.
    pub count: i64,
    /// Records involved.
    pub total: i64,
    pub(crate) items: Vec<(TermId, i64)>,
    pub(crate) queries: Vec<(TermId, i64)>,
    pub(crate) geocodes: Vec<(TermId, i64)>,
}

impl DeltaRow {
    /// Whether it adds nothing at all.
    pub(super) fn is_zero(&self) -> bool {
        self.count == 0 && self.total == 0 && self.maps().into_iter().all(<[_]>::is_empty)
    }

    /// The terms by dimension, in the order items, queries, geocodes.
    pub(crate) fn maps(&self) -> [&[(TermId, i64)]; 3] {
        [&self.items, &self.queries, &self.geocodes]
    }

    /// The control sums of the design: every dimension that is counted sums to the total.
    fn control_sums_hold(&self) -> bool {
        let sum = |terms: &[(TermId, i64)]| terms.iter().map(|(_, n)| i128::from(*n)).sum::<i128>();
        let total = i128::from(self.total);
        let stat_type = self.cell.stat_type;
        sum(&self.geocodes) == total
            && sum(&self.items) == if stat_type.counts_items() { total } else { 0 }
            && sum(&self.queries) == if stat_type.counts_queries() { total } else { 0 }
            && (!stat_type.counts_items() || self.total == self.count)
    }

    fn takes_away(&self) -> bool {
        self.count < 0 || self.total < 0 || self.maps().into_iter().flatten().any(|(_, n)| *n < 0)
    }
}

/// The rows of one entry, in order, with the terms they list.
#[derive(Debug)]
pub struct DayDeltas {
    terms: Terms,
    rows: Vec<DeltaRow>,
}

/// Sums over all rows of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Interactions.
    pub count: i128,
    /// Records involved.
    pub total: i128,
}

impl DayDeltas {
    pub(super) fn new(terms: Terms, rows: Vec<DeltaRow>) -> Self {
        Self { terms, rows }
    }

    /// The rows, in the order of the ledger.
    pub fn rows(&self) -> &[DeltaRow] {
        &self.rows
    }

    /// The terms of a map of one of the rows, with their numbers.
    pub fn terms<'a>(&'a self, map: &'a [(TermId, i64)]) -> impl Iterator<Item = (&'a str, i64)> {
        map.iter().map(|(term, n)| (self.terms.text(*term), *n))
    }

    /// The first row whose control sums do not hold. There is none unless the program is wrong.
    pub fn control_sum_violation(&self) -> Option<Cell> {
        self.rows.iter().find(|row| !row.control_sums_hold()).map(|row| row.cell)
    }

    /// The first cell of which something is taken away.
    pub fn decrease(&self) -> Option<&DeltaRow> {
        self.rows.iter().find(|row| row.takes_away())
    }

    /// Sums over all rows.
    pub fn sums(&self) -> Sums {
        self.rows.iter().fold(Sums::default(), |sums, row| Sums {
            count: sums.count + i128::from(row.count),
            total: sums.total + i128::from(row.total),
        })
    }
}
