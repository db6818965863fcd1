//! Adds up the figures of the terms of one recordset. Pure.

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::place::Places;
use super::scope::{Breakdown, Scope};
use super::terms::{Figures, Key, TooLarge};
use crate::aggregate::Cell;
use crate::error::Error;
use crate::event::Dimension;
use crate::ledger::{EntryId, StoredRow};

/// Memory for the terms of one recordset, in bytes. The server adds up what is larger, on its disk.
const MAX_BYTES: usize = if cfg!(debug_assertions) {
    16 << 10
} else {
    32 << 20
};

/// What a term takes beside its text, in bytes: its slot in the table, and the allocation of the text.
const BYTES_OF_TERM: usize = 160;

#[derive(Debug)]
pub(super) struct RecordsetTerms {
    recordset_id: Uuid,
    /// In the order of [`Breakdown::ALL`]; `None` if there are too many terms.
    sums: [Option<Sums>; Breakdown::ALL.len()],
    bytes: usize,
}

#[derive(Debug, Default)]
struct Sums {
    by_term: FxHashMap<Box<str>, Sum>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    figures: Figures,
    /// The last entry that lists the term.
    entry_id: EntryId,
}

/// A term with its figures, and the last entry that lists it.
pub(super) struct TermSum {
    pub key: Key,
    pub figures: Figures,
    pub entry_id: EntryId,
}

impl RecordsetTerms {
    pub(super) fn new(recordset_id: Uuid) -> Self {
        Self {
            recordset_id,
            sums: std::array::from_fn(|_| Some(Sums::default())),
            bytes: 0,
        }
    }

    pub(super) fn recordset_id(&self) -> Uuid {
        self.recordset_id
    }

    /// Adds a row of the recordset. Rows of a cell must come in the order of their entries.
    pub(super) fn add(
        &mut self,
        row: &StoredRow,
        scope: &Scope,
        places: &mut Places,
    ) -> Result<(), Error> {
        for dimension in Dimension::ALL {
            let covered: Vec<Breakdown> = Breakdown::ALL
                .into_iter()
                .filter(|breakdown| {
                    breakdown.dimension() == dimension
                        && scope.covers(*breakdown, row.cell.stat_type)
                })
                .collect();
            if covered.is_empty() {
                continue;
            }
            let mut exceeded = None;
            row.for_each_term(dimension, |term, n| {
                for breakdown in &covered {
                    let term = match breakdown {
                        Breakdown::Countries => &places.of(term).country,
                        _ => term,
                    };
                    if self.add_to_term(*breakdown, term, row, n).is_err() {
                        exceeded.get_or_insert_with(|| (*breakdown, term.to_owned()));
                    }
                }
            })?;
            if let Some((breakdown, term)) = exceeded {
                let key = Key {
                    recordset_id: self.recordset_id,
                    breakdown,
                    term,
                };
                return Err(key.exceeds_a_bigint());
            }
        }
        Ok(())
    }

    fn add_to_term(
        &mut self,
        breakdown: Breakdown,
        term: &str,
        row: &StoredRow,
        n: i64,
    ) -> Result<(), TooLarge> {
        let Some(sums) = &mut self.sums[breakdown as usize] else {
            return Ok(());
        };
        let Cell {
            record_type,
            stat_type,
            ..
        } = row.cell;
        if let Some(sum) = sums.by_term.get_mut(term) {
            sum.entry_id = sum.entry_id.max(row.entry_id);
            return sum.figures.add(record_type, stat_type, n);
        }
        let mut figures = Figures::default();
        figures.add(record_type, stat_type, n)?;
        let entry_id = row.entry_id;
        sums.by_term
            .insert(Box::from(term), Sum { figures, entry_id });
        let bytes = term.len() + BYTES_OF_TERM;
        sums.bytes += bytes;
        self.bytes += bytes;
        if self.bytes > MAX_BYTES {
            self.drop_largest();
        }
        Ok(())
    }

    /// Drops the largest sums. Those by country are kept: there are never many.
    fn drop_largest(&mut self) {
        let largest = Breakdown::ALL
            .into_iter()
            .zip(&mut self.sums)
            .filter(|(breakdown, _)| *breakdown != Breakdown::Countries)
            .max_by_key(|(_, sums)| sums.as_ref().map_or(0, |sums| sums.bytes));
        if let Some((breakdown, sums)) = largest
            && let Some(dropped) = sums.take()
        {
            tracing::debug!(recordset = %self.recordset_id, dimension = breakdown.name(), "too many terms for memory: left to the server");
            self.bytes -= dropped.bytes;
        }
    }

    /// The breakdowns that have too many terms.
    pub(super) fn too_large(&self) -> impl Iterator<Item = Breakdown> {
        Breakdown::ALL
            .into_iter()
            .filter(|breakdown| self.sums[*breakdown as usize].is_none())
    }

    /// The terms of the other breakdowns, in no particular order.
    pub(super) fn into_sums(self) -> impl Iterator<Item = TermSum> {
        let Self {
            recordset_id, sums, ..
        } = self;
        Breakdown::ALL
            .into_iter()
            .zip(sums)
            .flat_map(move |(breakdown, sums)| {
                let by_term = sums.map(|sums| sums.by_term).unwrap_or_default();
                by_term
                    .into_iter()
                    .map(move |(term, Sum { figures, entry_id })| TermSum {
                        key: Key {
                            recordset_id,
                            breakdown,
                            term: term.into_string(),
                        },
                        figures,
                        entry_id,
                    })
            })
    }
}
