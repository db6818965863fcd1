//! The deltas of a day: what one entry adds to each cell.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::tally::{Counts, ItemCounts};
use super::terms::{Terms, jsonb_order};
use crate::event::{PerDimension, RecordType, StatType};

/// Recordset, record type and stat type. Ordered as the rows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    pub recordset_id: Uuid,
    pub record_type: RecordType,
    pub stat_type: StatType,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "recordset {}, {}, {}",
            self.recordset_id,
            self.record_type.name(),
            self.stat_type.name()
        )
    }
}

/// What an entry adds to one cell.
#[derive(Debug, PartialEq, Eq)]
pub struct DeltaRow {
    pub cell: Cell,
    /// Interactions.
    pub count: i64,
    /// Records involved.
    pub total: i64,
    pub(super) items: ItemCounts,
    pub(super) queries: Counts,
    pub(super) geocodes: Counts,
}

/// The terms of one dimension of a row, with their numbers.
#[derive(Clone, Copy, Debug)]
pub struct TermCounts<'a> {
    terms: &'a Terms,
    uuids: &'a [(Uuid, i64)],
    counts: &'a Counts,
}

impl TermCounts<'_> {
    /// Passes each term and its number to `take`, in the order of jsonb keys.
    pub fn for_each(&self, mut take: impl FnMut(&str, i64)) {
        let mut buffer = Uuid::encode_buffer();
        let mut uuids = self.uuids.iter().peekable();
        for (term, n) in self.counts.iter() {
            let term = self.terms.text(term);
            while let Some((id, of_id)) = uuids.peek() {
                let id = id.hyphenated().encode_lower(&mut buffer);
                if jsonb_order(id, term).is_gt() {
                    break;
                }
                take(id, *of_id);
                uuids.next();
            }
            take(term, n);
        }
        for (id, n) in uuids {
            take(id.hyphenated().encode_lower(&mut buffer), *n);
        }
    }

    pub fn len(&self) -> usize {
        self.uuids.len() + self.counts.len()
    }

    fn numbers(&self) -> impl Iterator<Item = i64> {
        self.uuids
            .iter()
            .map(|(_, n)| *n)
            .chain(self.counts.iter().map(|(_, n)| n))
    }

    fn sum(&self) -> i128 {
        self.numbers().map(i128::from).sum()
    }
}

/// The rows of one entry, in order, and their terms.
#[derive(Debug)]
pub struct DayDeltas {
    terms: Terms,
    rows: Vec<DeltaRow>,
}

/// Sums over all rows of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

    /// The terms of a row.
    pub fn maps<'a>(&'a self, row: &'a DeltaRow) -> PerDimension<TermCounts<'a>> {
        let terms = &self.terms;
        PerDimension {
            items: TermCounts {
                terms,
                uuids: &row.items.uuids,
                counts: &row.items.others,
            },
            queries: TermCounts {
                terms,
                uuids: &[],
                counts: &row.queries,
            },
            geocodes: TermCounts {
                terms,
                uuids: &[],
                counts: &row.geocodes,
            },
        }
    }

    /// The first cell whose control sums do not hold, which would be a bug.
    pub fn control_sum_violation(&self) -> Option<Cell> {
        self.rows
            .iter()
            .find(|row| !self.control_sums_hold(row))
            .map(|row| row.cell)
    }

    /// The first row that decreases interactions, records or items. A total that moves from one query or geocode to
    /// another is not a decrease: events may get theirs after they were counted.
    pub fn decrease(&self) -> Option<&DeltaRow> {
        self.rows.iter().find(|row| {
            let items = self.maps(row).items;
            row.count < 0 || row.total < 0 || items.numbers().any(i64::is_negative)
        })
    }

    /// Sums over all rows.
    pub fn sums(&self) -> Sums {
        self.rows.iter().fold(Sums::default(), |sums, row| Sums {
            count: sums.count + i128::from(row.count),
            total: sums.total + i128::from(row.total),
        })
    }

    fn control_sums_hold(&self, row: &DeltaRow) -> bool {
        let sums = self.maps(row).map(|map| map.sum());
        let stat_type = row.cell.stat_type;
        stat_type.control_sums_hold(row.count, row.total, sums)
    }
}
