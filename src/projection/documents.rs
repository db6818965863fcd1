//! Streams the documents of a projection from the ledger, as of an entry.
//!
//! However long the ledger is, only one row, the rows of one recordset and day, or the terms of one recordset are in
//! memory.

use uuid::Uuid;

use super::place::Places;
use super::recordset_terms::{RecordsetTerms, TermSum};
use super::scope::{Breakdown, Scope};
use super::terms::{Figures, Key};
use super::{Projection, daily, totals};
use crate::day::Day;
use crate::elastic::batch::Batch;
use crate::error::Error;
use crate::event::PerDimension;
use crate::ledger::{CellTermTotal, CellTotal, DayTouched, EntryId, Reader, StoredRow};

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
    let entries = Entries {
        after: EntryId::NONE,
        through,
    };
    let mut places = Places::default();
    sum_terms(
        reader,
        scope,
        entries,
        async |TermSum {
                   key,
                   figures,
                   entry_id,
               }| {
            key.write(&key.id(), sink.batch(), &figures, entry_id, &mut places);
            sink.take().await
        },
    )
    .await
}

/// Calls `take` with what the entries add to each term that they list, recordset by recordset.
pub(super) async fn sum_terms(
    reader: &mut Reader,
    scope: &Scope,
    entries: Entries,
    mut take: impl AsyncFnMut(TermSum) -> Result<(), Error>,
) -> Result<(), Error> {
    let stat_types = PerDimension::from_fn(|dimension| scope.stat_types_of(dimension));
    let mut places = Places::default();
    let mut current: Option<RecordsetTerms> = None;
    let mut too_large = Vec::new();
    let Entries { after, through } = entries;
    reader
        .rows_by_recordset(&stat_types, after, through, async |row: StoredRow| {
            let recordset_id = row.cell.recordset_id;
            if current
                .as_ref()
                .is_none_or(|terms| terms.recordset_id() != recordset_id)
                && let Some(done) = current.replace(RecordsetTerms::new(recordset_id))
            {
                too_large.extend(take_sums(done, &mut take).await?);
            }
            current
                .as_mut()
                .map_or(Ok(()), |terms| terms.add(&row, scope, &mut places))
        })
        .await?;
    if let Some(done) = current {
        too_large.extend(take_sums(done, &mut take).await?);
    }
    for (recordset_id, breakdown) in too_large {
        take_sums_of_server(reader, scope, entries, recordset_id, breakdown, &mut take).await?;
    }
    Ok(())
}

/// Takes the terms of a recordset. Returns what has too many terms for memory.
async fn take_sums(
    terms: RecordsetTerms,
    take: &mut impl AsyncFnMut(TermSum) -> Result<(), Error>,
) -> Result<Vec<(Uuid, Breakdown)>, Error> {
    let recordset_id = terms.recordset_id();
    let too_large = terms
        .too_large()
        .map(|breakdown| (recordset_id, breakdown))
        .collect();
    for sum in terms.into_sums() {
        take(sum).await?;
    }
    Ok(too_large)
}

/// Takes the terms of a recordset and breakdown, added up by the server.
async fn take_sums_of_server(
    reader: &mut Reader,
    scope: &Scope,
    Entries { after, through }: Entries,
    recordset_id: Uuid,
    breakdown: Breakdown,
    take: &mut impl AsyncFnMut(TermSum) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut current: Option<TermSum> = None;
    let (dimension, stat_types) = (breakdown.dimension(), scope.stat_types(breakdown));
    reader
        .term_totals(
            recordset_id,
            dimension,
            stat_types,
            after,
            through,
            async |total: CellTermTotal| {
                if current
                    .as_ref()
                    .is_none_or(|sum| sum.key.term != total.term)
                {
                    let next = TermSum {
                        key: Key {
                            recordset_id,
                            breakdown,
                            term: total.term,
                        },
                        figures: Figures::default(),
                        entry_id: total.entry_id,
                    };
                    if let Some(done) = current.replace(next) {
                        take(done).await?;
                    }
                }
                let Some(sum) = &mut current else {
                    return Ok(());
                };
                sum.entry_id = sum.entry_id.max(total.entry_id);
                sum.figures
                    .add(total.record_type, total.stat_type, total.n)
                    .map_err(|_| sum.key.exceeds_a_bigint())
            },
        )
        .await?;
    match current {
        Some(last) => take(last).await,
        None => Ok(()),
    }
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
