//! The lines of a delta set: delta rows and rejected events, as they are written and read. No IO.
//!
//! A delta row has the columns of the ledger that do not depend on other days. Its maps are the text of jsonb, so equal
//! counts give equal bytes.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::lines::Key;
use super::manifest::RowSums;
use crate::aggregate::{Cell, DayDeltas, DeltaRow, Overflow, PostedRow};
use crate::event::{PerDimension, Reason, check_term_of};
use crate::ledger::map::{self, TermMap};

/// A delta row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns<'a> {
    recordset_id: Uuid,
    #[serde(borrow)]
    record_type: Cow<'a, str>,
    #[serde(borrow)]
    stat_type: Cow<'a, str>,
    count: i64,
    total: i64,
    #[serde(borrow)]
    items: TermMap<'a>,
    #[serde(borrow)]
    queries: TermMap<'a>,
    #[serde(borrow)]
    geocodes: TermMap<'a>,
}

/// A delta row that was read and checked.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) cell: Cell,
    pub(super) count: i64,
    pub(super) total: i64,
    maps: PerDimension<TermMap<'a>>,
}

impl<'a> Row<'a> {
    /// Reads a line; the error says what is wrong with it.
    pub(super) fn parse(line: &'a str) -> Result<Self, String> {
        let columns: Columns<'_> =
            serde_json::from_str(line).map_err(|error| format!("is not a delta row: {error}"))?;
        let Columns {
            recordset_id,
            count,
            total,
            items,
            queries,
            geocodes,
            ..
        } = columns;
        let cell = cell(recordset_id, &columns.record_type, &columns.stat_type)
            .ok_or("has an unknown record type or stat type")?;
        let row = Self {
            cell,
            count,
            total,
            maps: PerDimension {
                items,
                queries,
                geocodes,
            },
        };
        row.check()
            .map_err(|wrong| format!("({cell}) cannot be right: {wrong}"))?;
        Ok(row)
    }

    fn check(&self) -> Result<(), String> {
        if self.count < 1 || self.total < 0 {
            return Err(format!("count {}, total {}", self.count, self.total));
        }
        for (dimension, TermMap(terms)) in self.maps.as_ref() {
            let name = dimension.name();
            for (term, n) in terms {
                check_term_of(name, term)?;
                if *n < 1 {
                    return Err(format!("{name} lists a term with {n}"));
                }
            }
            let is_in_order = terms
                .is_sorted_by(|(a, _), (b, _)| (a.len(), a.as_bytes()) < (b.len(), b.as_bytes()));
            if !is_in_order {
                return Err(format!(
                    "{name} repeats a term, or lists terms out of order"
                ));
            }
        }
        let sums = self
            .maps
            .as_ref()
            .map(|TermMap(terms)| terms.iter().map(|(_, n)| i128::from(*n)).sum());
        let stat_type = self.cell.stat_type;
        if !stat_type.control_sums_hold(self.count, self.total, sums) {
            let PerDimension {
                items,
                queries,
                geocodes,
            } = sums;
            return Err(format!(
                "its control sums do not hold: count {}, total {}, items {items}, queries {queries}, geocodes {geocodes}",
                self.count, self.total
            ));
        }
        Ok(())
    }

    /// The row for an aggregation.
    pub(super) fn counted(&self) -> PostedRow<'_> {
        PostedRow {
            cell: self.cell,
            count: self.count,
            total: self.total,
            maps: self.maps.as_ref().map(|terms| terms.0.as_slice()),
        }
    }
}

impl Key for Cell {
    const FIELDS: usize = 3;

    fn parse(object: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields<'a> {
            recordset_id: Uuid,
            record_type: &'a str,
            stat_type: &'a str,
        }
        let fields: Fields<'_> = serde_json::from_str(object).ok()?;
        cell(fields.recordset_id, fields.record_type, fields.stat_type)
    }
}

fn cell(recordset_id: Uuid, record_type: &str, stat_type: &str) -> Option<Cell> {
    Some(Cell {
        recordset_id,
        record_type: record_type.parse().ok()?,
        stat_type: stat_type.parse().ok()?,
    })
}

/// Writes delta rows as lines; the buffers are reused.
#[derive(Debug, Default)]
pub(super) struct RowWriter {
    maps: PerDimension<Vec<u8>>,
    line: Vec<u8>,
}

impl RowWriter {
    /// The line of a row as it was counted.
    pub(super) fn counted(&mut self, deltas: &DayDeltas, row: &DeltaRow) -> &[u8] {
        for (dimension, terms) in deltas.maps(row) {
            let text = &mut self.maps[dimension];
            text.clear();
            let mut map = map::Writer::new(text);
            terms.for_each(|term, n| map.put(term, n));
            map.finish();
        }
        self.put(row.cell, row.count, row.total)
    }

    fn put(&mut self, cell: Cell, count: i64, total: i64) -> &[u8] {
        const FAILS_NEVER: &str = "writing to memory does not fail";
        let Self { maps, line } = self;
        let (record_type, stat_type) = (cell.record_type.name(), cell.stat_type.name());
        line.clear();
        write!(
            line,
            r#"{{"recordset_id":"{}","record_type":"{record_type}","stat_type":"{stat_type}","count":{count},"total":{total}"#,
            cell.recordset_id
        )
        .expect(FAILS_NEVER);
        for (dimension, map) in maps.as_ref() {
            write!(line, r#","{}":"#, dimension.name()).expect(FAILS_NEVER);
            line.extend_from_slice(map);
        }
        line.extend_from_slice(b"}\n");
        line
    }
}

/// The sum of the rows of one cell.
#[derive(Debug)]
pub(super) struct CellSum {
    cell: Cell,
    count: i64,
    total: i64,
    terms: SumOfTerms,
}

#[derive(Debug)]
enum SumOfTerms {
    /// Of one row, which need not be taken apart.
    Line(String),
    Maps(PerDimension<FxHashMap<Box<str>, i64>>),
}

impl CellSum {
    /// Starts with the first row; the error says what is wrong with it.
    pub(super) fn new(line: &str) -> Result<Self, String> {
        let row = Row::parse(line)?;
        Ok(Self {
            cell: row.cell,
            count: row.count,
            total: row.total,
            terms: SumOfTerms::Line(line.to_owned()),
        })
    }

    /// Adds another row of the cell; the error says what is wrong with it.
    pub(super) fn add(&mut self, line: &str) -> Result<(), String> {
        let row = Row::parse(line)?;
        let overflow = || format!("exceeds the range of bigint: {}", Overflow(self.cell));
        self.count = self.count.checked_add(row.count).ok_or_else(overflow)?;
        self.total = self.total.checked_add(row.total).ok_or_else(overflow)?;
        if let SumOfTerms::Line(first) = &self.terms {
            let mut maps = PerDimension::default();
            add_terms(&mut maps, &Row::parse(first)?);
            self.terms = SumOfTerms::Maps(maps);
        }
        if let SumOfTerms::Maps(maps) = &mut self.terms {
            add_terms(maps, &row);
        }
        Ok(())
    }

    /// The line of the sum.
    pub(super) fn line<'w>(&'w self, writer: &'w mut RowWriter, sums: &mut RowSums) -> &'w [u8] {
        sums.add(self.count, self.total);
        let maps = match &self.terms {
            SumOfTerms::Line(line) => return line.as_bytes(),
            SumOfTerms::Maps(maps) => maps,
        };
        for (dimension, terms) in maps.as_ref() {
            let text = &mut writer.maps[dimension];
            let mut sorted: Vec<(&str, i64)> =
                terms.iter().map(|(term, n)| (&**term, *n)).collect();
            sorted.sort_unstable_by_key(|(term, _)| (term.len(), term.as_bytes()));
            text.clear();
            let mut map = map::Writer::new(text);
            for (term, n) in sorted {
                map.put(term, n);
            }
            map.finish();
        }
        writer.put(self.cell, self.count, self.total)
    }
}

/// Terms sum up to totals, so their sums cannot overflow if that of the totals does not.
fn add_terms(maps: &mut PerDimension<FxHashMap<Box<str>, i64>>, row: &Row<'_>) {
    for (dimension, TermMap(terms)) in row.maps.as_ref() {
        let sums = &mut maps[dimension];
        for (term, n) in terms {
            match sums.get_mut(&**term) {
                Some(sum) => *sum = sum.saturating_add(*n),
                None => drop(sums.insert(term.as_ref().into(), *n)),
            }
        }
    }
}

/// A rejected event. Its JSON is a string, which keeps the exact text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectedRow<'a> {
    pub(super) source_id: i64,
    pub(super) reason: Reason,
    #[serde(borrow)]
    pub(super) message: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
}

impl<'a> RejectedRow<'a> {
    /// Reads a line; the error says what is wrong with it.
    pub(super) fn parse(line: &'a str) -> Result<Self, String> {
        let row: Self = serde_json::from_str(line)
            .map_err(|error| format!("is not a rejected event: {error}"))?;
        serde_json::from_str::<serde::de::IgnoredAny>(&row.event)
            .map_err(|error| format!("holds an event that is not JSON: {error}"))?;
        Ok(row)
    }
}

/// The id of a rejected event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceId(pub(super) i64);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}", self.0)
    }
}

impl Key for SourceId {
    const FIELDS: usize = 1;

    fn parse(object: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            source_id: i64,
        }
        let Fields { source_id } = serde_json::from_str(object).ok()?;
        Some(Self(source_id))
    }
}
