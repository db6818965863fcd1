//! Adds up the figures of terms, from rows in any order, within a memory limit.

use std::borrow::Cow;

use uuid::Uuid;

use super::Plan;
use super::place::Places;
use super::scope::Breakdown;
use super::terms::{Figures, Key};
use crate::error::{Error, ErrorKind};
use crate::event::{Dimension, PerDimension, RecordType, StatType};
use crate::ledger::{EntryId, StoredRow};
use crate::sums::{InOrder, Rules, Sums};

/// What is kept for a cell of a term: a figure, as the two halves of an `i128`, and the last entry that lists the term.
///
/// Rows come in any order, so a sum may leave the range of a bigint on the way to one that is within.
const NUMBERS: usize = 3;

const RULES: Rules<NUMBERS> = Rules {
    plus: |a, b| {
        let [low, high] = halves(figure_of(a).checked_add(figure_of(b))?);
        Some([low, high, a[2].max(b[2])])
    },
    overflow: |key| match TermKey::read(key) {
        Some((term, _)) => term.key().exceeds_a_bigint(),
        None => unreadable(),
    },
};

/// The share of the memory for counting, as projecting needs less than counting.
fn limit(plan: &Plan) -> usize {
    if cfg!(debug_assertions) {
        16 << 10
    } else {
        plan.workspace.memory.for_counting() / 5
    }
}

/// Adds up the terms that a plan wants.
#[derive(Debug)]
pub(super) struct TermSums {
    /// Which breakdowns count the terms of a dimension and stat type.
    counted_by: PerDimension<[Vec<Breakdown>; StatType::ALL.len()]>,
    sums: Sums<NUMBERS>,
    places: Places,
    /// The key of the last sum; its memory is used again.
    key: Vec<u8>,
}

/// A term with its figures, and the last entry that lists it.
#[derive(Debug)]
pub(super) struct TermSum {
    pub key: Key,
    pub figures: Figures,
    pub entry_id: EntryId,
}

impl TermSums {
    /// One of `parts` that are made at the same time, and share the memory.
    pub(super) fn new(plan: &Plan, parts: usize) -> Self {
        let counted_by = PerDimension::from_fn(|dimension| {
            StatType::ALL.map(|stat_type| {
                let mut breakdowns = Breakdown::ALL.to_vec();
                breakdowns.retain(|breakdown| {
                    breakdown.dimension() == dimension && plan.terms.covers(*breakdown, stat_type)
                });
                breakdowns
            })
        });
        let workspace = &plan.workspace;
        Self {
            counted_by,
            sums: Sums::new(
                limit(plan) / parts.max(1),
                workspace.temp_dir.clone(),
                RULES,
            ),
            places: Places::default(),
            key: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: &StoredRow) -> Result<(), Error> {
        let Self {
            counted_by,
            sums,
            places,
            key,
        } = self;
        let cell = row.cell;
        for dimension in Dimension::ALL {
            let breakdowns = &counted_by[dimension][cell.stat_type as usize];
            if breakdowns.is_empty() {
                continue;
            }
            row.for_each_term(dimension, |term, n| {
                let [low, high] = halves(n.into());
                let sum = [low, high, row.entry_id.number()];
                for breakdown in breakdowns {
                    let term = match breakdown {
                        Breakdown::Countries => Cow::Borrowed(&*places.of(term).country),
                        _ => term
                            .text()
                            .map_err(|error| row.unreadable().caused_by(error))?,
                    };
                    let term = TermKey {
                        recordset_id: cell.recordset_id,
                        breakdown: *breakdown,
                        term: &term,
                    };
                    term.write(cell.record_type, cell.stat_type, key);
                    sums.add(key, sum)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Adds what others have added up.
    pub(super) fn add_all(&mut self, others: Self) -> Result<(), Error> {
        self.sums.add_all(others.sums)
    }

    /// The terms, recordset by recordset.
    pub(super) fn in_order(self) -> Result<TermsInOrder, Error> {
        Ok(TermsInOrder {
            sums: self.sums.in_order()?,
            current: None,
        })
    }
}

/// Terms, recordset by recordset.
#[derive(Debug)]
pub(super) struct TermsInOrder {
    sums: InOrder<NUMBERS>,
    /// The term whose cells are being read.
    current: Option<TermSum>,
}

impl TermsInOrder {
    /// The next term; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<TermSum>, Error> {
        while let Some((key, sum)) = self.sums.next()? {
            let (term, (record_type, stat_type)) = TermKey::read(key).ok_or_else(unreadable)?;
            let mut done = None;
            let current = match &mut self.current {
                Some(current) if term.is(&current.key) => current,
                current => {
                    done = current.take();
                    current.insert(TermSum {
                        key: term.key(),
                        figures: Figures::default(),
                        entry_id: EntryId::NONE,
                    })
                }
            };
            let figure =
                i64::try_from(figure_of(sum)).map_err(|_| term.key().exceeds_a_bigint())?;
            current
                .figures
                .add(record_type, stat_type, figure)
                .map_err(|_| term.key().exceeds_a_bigint())?;
            current.entry_id = current.entry_id.max(EntryId::of_number(sum[2]));
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(self.current.take())
    }
}

/// A term of a recordset and breakdown.
#[derive(Clone, Copy)]
struct TermKey<'a> {
    recordset_id: Uuid,
    breakdown: Breakdown,
    term: &'a str,
}

impl<'a> TermKey<'a> {
    /// Writes the key of the sum of one of its cells. Those of a term follow each other, as its length precedes it.
    fn write(self, record_type: RecordType, stat_type: StatType, out: &mut Vec<u8>) {
        out.clear();
        out.extend(self.recordset_id.as_bytes());
        out.push(self.breakdown as u8);
        out.extend((self.term.len() as u64).to_be_bytes());
        out.extend(self.term.as_bytes());
        out.extend([record_type as u8, stat_type as u8]);
    }

    fn read(key: &'a [u8]) -> Option<(Self, (RecordType, StatType))> {
        let (recordset_id, rest) = key.split_first_chunk()?;
        let (breakdown, rest) = rest.split_first()?;
        let (_, rest) = rest.split_first_chunk::<{ size_of::<u64>() }>()?;
        let (term, [record_type, stat_type]) = rest.split_last_chunk()?;
        let term = Self {
            recordset_id: Uuid::from_bytes(*recordset_id),
            breakdown: *Breakdown::ALL.get(usize::from(*breakdown))?,
            term: str::from_utf8(term).ok()?,
        };
        let record_type = *RecordType::ALL.get(usize::from(*record_type))?;
        Some((
            term,
            (record_type, *StatType::ALL.get(usize::from(*stat_type))?),
        ))
    }

    fn is(self, key: &Key) -> bool {
        self.term == key.term
            && self.breakdown == key.breakdown
            && self.recordset_id == key.recordset_id
    }

    fn key(self) -> Key {
        Key {
            recordset_id: self.recordset_id,
            breakdown: self.breakdown,
            term: self.term.to_owned(),
        }
    }
}

fn figure_of([low, high, _]: [i64; NUMBERS]) -> i128 {
    i128::from(high) << 64 | i128::from(low.cast_unsigned())
}

fn halves(figure: i128) -> [i64; 2] {
    let [low, high] = [figure, figure >> 64].map(|part| part & i128::from(u64::MAX));
    [low, high].map(|half| u64::try_from(half).map_or(0, u64::cast_signed))
}

/// A key that this module did not write.
fn unreadable() -> Error {
    Error::new(ErrorKind::Internal, "a sum of a term cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_two_halves() {
        for figure in [0, 1, -1, i128::from(i64::MAX) * 3, i128::from(i64::MIN) * 3] {
            let [low, high] = halves(figure);
            assert_eq!(figure_of([low, high, 0]), figure);
        }
    }

    #[test]
    fn a_sum_may_leave_the_range_of_a_bigint_on_its_way() {
        let one = |n: i64, entry_id: i64| {
            let [low, high] = halves(n.into());
            [low, high, entry_id]
        };
        let beyond = (RULES.plus)(one(i64::MAX, 3), one(i64::MAX, 7)).unwrap();
        assert!(i64::try_from(figure_of(beyond)).is_err());
        let within = (RULES.plus)(beyond, one(-i64::MAX, 5)).unwrap();
        assert_eq!((figure_of(within), within[2]), (i64::MAX.into(), 7));
    }

    #[test]
    fn the_cells_of_a_term_follow_each_other() {
        let key = |term: &str, stat_type| {
            let mut key = Vec::new();
            let term = TermKey {
                recordset_id: Uuid::nil(),
                breakdown: Breakdown::Items,
                term,
            };
            term.write(RecordType::Mediarecords, stat_type, &mut key);
            let (read, cell) = TermKey::read(&key).unwrap();
            assert!(read.is(&term.key()));
            assert_eq!(cell, (RecordType::Mediarecords, stat_type));
            key
        };
        let mut keys = Vec::new();
        for term in ["", "a", "a\u{0}", "a\u{0}\u{1}", "a\u{1}", "b"] {
            keys.push(key(term, StatType::View));
            keys.push(key(term, StatType::Seen));
        }
        keys.sort();
        let terms: Vec<String> = keys
            .iter()
            .map(|key| TermKey::read(key).unwrap().0.term.to_owned())
            .collect();
        let mut distinct = terms.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), 6, "{terms:?}");
        for odd in [&b""[..], &[0; 16], &[9; 27]] {
            assert!(TermKey::read(odd).is_none());
        }
    }
}
