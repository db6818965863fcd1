//! Rows as read from the ledger: delta rows, balances, terms.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::{PgRow, PgValueFormat};
use uuid::Uuid;

use super::entry::EntryId;
use super::map::{self, Term, TermMap};
use crate::aggregate::{Aggregation, Cell, DayDeltas, DeltaRow, Overflow, PostedRow, TermCounts};
use crate::columns::from_row;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::{Dimension, PerDimension, RecordType, StatType};

/// A delta row of the ledger.
#[derive(Debug)]
pub struct StoredRow {
    pub cell: Cell,
    pub entry_id: EntryId,
    pub count: i64,
    pub total: i64,
    maps: Maps,
}

/// Where the maps of a row are.
#[derive(Debug)]
enum Maps {
    /// In the row that the server sent; read without copying.
    Received(PgRow),
    /// In what this run has posted: those of the row at an index.
    Posted(Arc<DayDeltas>, usize),
}

/// The terms of a row in one dimension.
#[derive(Clone, Copy, Debug)]
pub enum StoredTerms<'a> {
    /// As the text of jsonb.
    Text(&'a str),
    /// As they were counted.
    Counted(TermCounts<'a>),
}

impl<'a> StoredTerms<'a> {
    /// Reads them, in the order of jsonb.
    fn read(self) -> Result<TermMap<'a>, serde_json::Error> {
        match self {
            Self::Text(text) => map::read(text),
            Self::Counted(counts) => {
                let mut terms = Vec::with_capacity(counts.len());
                counts.for_each(|term, n| terms.push((Cow::Owned(term.to_owned()), n)));
                Ok(TermMap(terms))
            }
        }
    }
}

impl StoredRow {
    /// The row at index `place` of those just posted.
    pub(super) fn from_posted(entry_id: EntryId, deltas: &Arc<DayDeltas>, place: usize) -> Self {
        let DeltaRow {
            cell, count, total, ..
        } = deltas.rows()[place];
        Self {
            cell,
            entry_id,
            count,
            total,
            maps: Maps::Posted(Arc::clone(deltas), place),
        }
    }

    /// Subtracts the row from an aggregation. `overflow` makes the error if a sum overflows.
    pub fn subtract_from(
        &self,
        aggregation: &mut Aggregation,
        overflow: impl FnOnce(Overflow) -> Error,
    ) -> Result<(), Error> {
        let maps = self.maps()?;
        let posted = PostedRow {
            cell: self.cell,
            count: self.count,
            total: self.total,
            maps: maps.as_ref().map(|terms| terms.0.as_slice()),
        };
        aggregation
            .subtract(posted)
            .map_err(|error| error.report(overflow))
    }

    pub fn maps(&self) -> Result<PerDimension<TermMap<'_>>, Error> {
        PerDimension::try_from_fn(|dimension| self.read(self.terms(dimension)?))
    }

    /// Reads terms from [`terms`](Self::terms). An error names the row.
    pub fn read<'a>(&self, terms: StoredTerms<'a>) -> Result<TermMap<'a>, Error> {
        terms
            .read()
            .map_err(|error| self.unreadable().caused_by(error))
    }

    /// The terms of a dimension, not parsed yet.
    pub fn terms(&self, dimension: Dimension) -> Result<StoredTerms<'_>, Error> {
        match &self.maps {
            Maps::Received(row) => jsonb_text(row, dimension.name())
                .map(StoredTerms::Text)
                .map_err(|error| self.unreadable().caused_by(error)),
            Maps::Posted(deltas, place) => Ok(StoredTerms::Counted(
                deltas.maps(&deltas.rows()[*place])[dimension],
            )),
        }
    }

    /// Calls `take` with each term of a dimension and its number, in the order of jsonb.
    pub fn for_each_term(
        &self,
        dimension: Dimension,
        mut take: impl FnMut(Term<'_>, i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.terms(dimension)? {
            StoredTerms::Counted(counts) => {
                let mut taken = Ok(());
                counts.for_each(|term, n| {
                    if taken.is_ok() {
                        taken = take(Term::Plain(term), n);
                    }
                });
                taken
            }
            StoredTerms::Text(text) => {
                map::for_each(text, take, |error| self.unreadable().caused_by(error))
            }
        }
    }

    /// The error for a map that cannot be read.
    pub fn unreadable(&self) -> Error {
        Error::new(
            ErrorKind::LedgerDamaged,
            format!(
                "a term map of entry {} ({}) cannot be read",
                self.entry_id, self.cell
            ),
        )
    }
}

/// The totals of a cell as of an entry.
#[derive(Clone, Copy, Debug)]
pub struct CellTotal {
    pub cell: Cell,
    pub count: i64,
    pub total: i64,
    pub first_day: Day,
    pub last_day: Day,
    pub entry_id: EntryId,
}

/// The term that a document claims to describe.
#[derive(Clone, Debug)]
pub struct NamedTerm {
    /// The document's id.
    pub id: String,
    pub recordset_id: Uuid,
    /// A dimension of the ledger, or `countries`.
    pub dimension: &'static str,
    pub term: String,
    /// The stat types to which the term may belong.
    pub stat_types: Vec<StatType>,
}

/// Numbers of rows.
#[derive(Clone, Copy, Debug)]
pub struct DeltaRows {
    /// Of the entries after a given one.
    pub after: i64,
    /// Of all entries.
    pub all: i64,
}

/// A day that has new entries.
#[derive(Clone, Copy, Debug)]
pub struct DayTouched {
    pub day: Day,
    /// Whether older entries are about it, too.
    pub posted_before: bool,
}

from_row!(DayTouched { day, posted_before });

pub(super) fn stored_row(row: PgRow) -> Result<StoredRow, sqlx::Error> {
    Ok(StoredRow {
        cell: cell(&row)?,
        entry_id: row.try_get("entry_id")?,
        count: row.try_get("count")?,
        total: row.try_get("total")?,
        maps: Maps::Received(row),
    })
}

pub(super) fn cell_total(row: &PgRow) -> Result<CellTotal, sqlx::Error> {
    Ok(CellTotal {
        cell: cell(row)?,
        count: row.try_get("count_balance")?,
        total: row.try_get("total_balance")?,
        first_day: row.try_get("first_day")?,
        last_day: row.try_get("last_day")?,
        entry_id: row.try_get("entry_id")?,
    })
}

fn cell(row: &PgRow) -> Result<Cell, sqlx::Error> {
    let (record_type, stat_type) = cell_types(row)?;
    Ok(Cell {
        recordset_id: row.try_get("recordset_id")?,
        record_type,
        stat_type,
    })
}

fn cell_types(row: &PgRow) -> Result<(RecordType, StatType), sqlx::Error> {
    let unknown =
        |what: &str, name: &str| sqlx::Error::Decode(format!("{what} '{name}' is unknown").into());
    let (record_type, stat_type): (&str, &str) =
        (row.try_get("record_type")?, row.try_get("stat_type")?);
    Ok((
        record_type
            .parse()
            .map_err(|_| unknown("record type", record_type))?,
        stat_type
            .parse()
            .map_err(|_| unknown("stat type", stat_type))?,
    ))
}

/// A jsonb column's text, without parsing or copying it.
pub(super) fn jsonb_text<'a>(row: &'a PgRow, column: &str) -> Result<&'a str, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    let format = value.format();
    let bytes =
        <&[u8] as sqlx::Decode<sqlx::Postgres>>::decode(value).map_err(sqlx::Error::Decode)?;
    // The binary form of jsonb is a version byte and the text.
    let ((PgValueFormat::Binary, [1, text @ ..]) | (PgValueFormat::Text, text)) = (format, bytes)
    else {
        return Err(sqlx::Error::Decode(
            "jsonb in an unknown binary format".into(),
        ));
    };
    str::from_utf8(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
