//! Streams the documents of a projection from the ledger, as of an entry.
//!
//! However long the ledger is, only one row, the rows of one recordset and day, or the terms of one cell are in memory.

use uuid::Uuid;

use super::cell_terms::CellTerms;
use super::terms::{Dimension, Key, Scope};
use super::{Projection, daily, totals};
use crate::aggregate::Cell;
use crate::day::Day;
use crate::elastic::batch::Batch;
use crate::error::Error;
use crate::ledger::{CellTotal, DayTouched, EntryId, Reader, StoredRow, TermTotal};

/// Takes documents that are written directly into its batch.
pub trait Sink {
    /// The batch to write the next document into.
    fn batch(&mut self) -> &mut Batch;

    /// Takes the document that was written.
    fn take(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The entries that a stream of documents covers.
#[derive(Clone, Copy, Debug)]
pub struct Entries {
    /// Only documents that a later entry touches; [`EntryId::NONE`] for all.
    pub after: EntryId,
    /// The documents are as of this entry.
    pub through: EntryId,
}

/// Streams every document of a projection that the entries touch.
///
/// For terms, `after` must be [`EntryId::NONE`]: single entries are folded instead.
pub async fn stream(
    kind: Projection,
    scope: &Scope,
    reader: &mut Reader,
    entries: Entries,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    match kind {
        Projection::Daily => {
            for touched in reader.days_touched(entries.after, entries.through).await? {
                stream_day(reader, touched, entries, sink).await?;
            }
            Ok(())
        }
        Projection::Totals => stream_totals(reader, entries, sink).await,
        Projection::Terms => stream_terms(reader, scope, entries.through, sink).await,
    }
}

/// Streams the daily documents of one day.
pub async fn stream_day(
    reader: &mut Reader,
    DayTouched { day, posted_before }: DayTouched,
    Entries { after, through }: Entries,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    // If no older entry is about the day, all its recordsets are touched: no need to find out which.
    let after = if posted_before { after } else { EntryId::NONE };
    let mut groups = Groups::default();
    reader
        .rows_of_day(day, after, through, async |row: StoredRow| {
            match groups.push(row.cell.recordset_id, row) {
                Some(group) => take_day(sink, day, group).await,
                None => Ok(()),
            }
        })
        .await?;
    match groups.last() {
        Some(group) => take_day(sink, day, group).await,
        None => Ok(()),
    }
}

async fn take_day(
    sink: &mut impl Sink,
    day: Day,
    (recordset_id, rows): (Uuid, Vec<StoredRow>),
) -> Result<(), Error> {
    daily::write(sink.batch(), recordset_id, day, &rows)?;
    sink.take().await
}

async fn stream_totals(
    reader: &mut Reader,
    Entries { after, through }: Entries,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    let mut groups = Groups::default();
    reader
        .totals_touched(after, through, async |total: CellTotal| {
            match groups.push(total.cell.recordset_id, total) {
                Some(group) => take_totals(sink, group).await,
                None => Ok(()),
            }
        })
        .await?;
    match groups.last() {
        Some(group) => take_totals(sink, group).await,
        None => Ok(()),
    }
}

async fn take_totals(
    sink: &mut impl Sink,
    (recordset_id, cells): (Uuid, Vec<CellTotal>),
) -> Result<(), Error> {
    totals::write(sink.batch(), recordset_id, &cells);
    sink.take().await
}

async fn stream_terms(
    reader: &mut Reader,
    scope: &Scope,
    through: EntryId,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    let covered = Dimension::ALL.map(|dimension| scope.dimensions.contains(&dimension));
    let mut current: Option<CellTerms> = None;
    let mut too_large = Vec::new();
    reader
        .rows_by_cell(
            covered,
            &scope.stat_types,
            through,
            async |row: StoredRow| {
                if current
                    .as_ref()
                    .is_none_or(|terms| terms.cell() != row.cell)
                {
                    let done = current.replace(CellTerms::new(row.cell));
                    too_large.extend(take_terms(sink, done).await?);
                }
                current.as_mut().map_or(Ok(()), |terms| terms.add(&row))
            },
        )
        .await?;
    too_large.extend(take_terms(sink, current).await?);
    for (cell, dimension) in too_large
        .into_iter()
        .flat_map(|cell| Dimension::ALL.map(|dimension| (cell, dimension)))
    {
        if scope.covers(dimension, cell.stat_type) {
            reader
                .term_totals(
                    cell,
                    dimension.name(),
                    through,
                    async |TermTotal {
                               term,
                               count,
                               entry_id,
                           }| {
                        Key {
                            cell,
                            dimension,
                            term,
                        }
                        .write(sink.batch(), count, entry_id);
                        sink.take().await
                    },
                )
                .await?;
        }
    }
    Ok(())
}

/// Writes the documents of a cell's terms. Returns the cell if it has too many terms.
async fn take_terms(sink: &mut impl Sink, terms: Option<CellTerms>) -> Result<Option<Cell>, Error> {
    let Some(terms) = terms else { return Ok(None) };
    let cell = terms.cell();
    let Some(totals) = terms.totals() else {
        return Ok(Some(cell));
    };
    for total in totals {
        let (key, count, entry_id) = total?;
        key.write(sink.batch(), count, entry_id);
        sink.take().await?;
    }
    Ok(None)
}

/// Groups rows that arrive in the order of their recordsets.
#[derive(Debug)]
struct Groups<T> {
    current: Option<(Uuid, Vec<T>)>,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { current: None }
    }
}

impl<T> Groups<T> {
    /// Adds a row. Returns the previous group if the row begins another one.
    fn push(&mut self, recordset_id: Uuid, row: T) -> Option<(Uuid, Vec<T>)> {
        match &mut self.current {
            Some((current, rows)) if *current == recordset_id => {
                rows.push(row);
                None
            }
            current => current.replace((recordset_id, vec![row])),
        }
    }

    /// The last group.
    fn last(self) -> Option<(Uuid, Vec<T>)> {
        self.current
    }
}
