//! Streams the documents of a projection from the ledger, as of an entry.
//!
//! However long the ledger is, only one row, or the rows of one recordset and day, are in memory. Terms are added up within
//! a share of the memory limit.

use uuid::Uuid;

use super::place::Places;
use super::term_sums::{TermSum, TermSums};
use super::{Plan, Projection, daily, totals};
use crate::day::Day;
use crate::elastic::batch::Batch;
use crate::error::Error;
use crate::event::PerDimension;
use crate::ledger::{CellTotal, DayTouched, EntryId, Reader, StoredRow};

/// Takes documents that are written directly into its batch.
pub trait Sink {
    /// Sees a row of the next daily document.
    fn see(&mut self, _row: &StoredRow) -> Result<(), Error> {
        Ok(())
    }

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
    plan: &Plan,
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
        Projection::Terms => stream_terms(reader, plan, entries.through, sink).await,
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
    let (mut rows, mut groups) = (reader.rows_of_day(day, after, through), Groups::default());
    while let Some(row) = rows.next().await? {
        if let Some(group) = groups.push(row.cell.recordset_id, row) {
            take_day(sink, day, group).await?;
        }
    }
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
    rows.iter().try_for_each(|row| sink.see(row))?;
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
    plan: &Plan,
    through: EntryId,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    let entries = Entries {
        after: EntryId::NONE,
        through,
    };
    take_terms(sum_terms(reader, plan, entries).await?, sink).await
}

/// Takes the documents of terms whose figures are those of all time.
pub(super) async fn take_terms(sums: TermSums, sink: &mut impl Sink) -> Result<(), Error> {
    let (mut sums, mut places) = (sums.in_order()?, Places::default());
    while let Some(sum) = sums.next()? {
        let TermSum {
            key,
            figures,
            entry_id,
        } = sum;
        key.write(&key.id(), sink.batch(), &figures, entry_id, &mut places);
        sink.take().await?;
    }
    Ok(())
}

/// Adds up what the entries add to each term that they list.
pub(super) async fn sum_terms(
    reader: &mut Reader,
    plan: &Plan,
    Entries { after, through }: Entries,
) -> Result<TermSums, Error> {
    let stat_types = PerDimension::from_fn(|dimension| plan.terms.stat_types_of(dimension));
    let mut sums = TermSums::new(plan, 1);
    let mut rows = reader.rows_with_terms(&stat_types, after, through);
    while let Some(row) = rows.next().await? {
        sums.add(&row)?;
    }
    Ok(sums)
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
