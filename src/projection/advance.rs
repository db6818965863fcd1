//! Advances the projections: writes the documents that new entries touch, then moves the checkpoint.
//!
//! Input is the ledger alone. Repeats safely: a crash before the checkpoint is moved means that the same documents are
//! written again, with the same versions.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::{Projection, daily, totals};
use crate::clock::Stopwatch;
use crate::elastic::Client;
use crate::elastic::bulk::{BulkWriter, Written};
use crate::elastic::index::{self, Index};
use crate::failure::Failure;
use crate::ledger::read::{CellTotal, DayTouched, Reader, StoredRow};
use crate::ledger::{EntryId, Ledger};

/// What an advance did.
#[derive(Clone, Debug, Serialize)]
pub struct Advanced {
    /// The projection.
    pub projection: Projection,
    /// The name that readers use.
    pub alias: String,
    /// The index behind it.
    pub index: String,
    /// The last entry it contained before.
    pub from: EntryId,
    /// The last entry it contains now.
    pub through: EntryId,
    /// The documents.
    #[serde(flatten)]
    pub written: Written,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "crate::output::as_seconds")]
    pub duration: Duration,
}

/// Advances a projection to the head of the ledger.
pub async fn advance(
    projection: Projection,
    ledger: &Ledger,
    reader: &mut Reader,
    client: &Client,
    prefix: &str,
) -> Result<Advanced, Failure> {
    let stopwatch = Stopwatch::start();
    let alias = projection.alias(prefix);
    let mut index = open(projection, ledger, client, &alias).await?;
    let from = index.checkpoint.applied_through;
    let head = reader.head().await?;
    if from > head {
        return Err(Failure::failed(format!(
            "the index {} behind {alias} contains entries up to {from}, the ledger ends at {head}",
            index.physical
        ))
        .hint("the ledger was restored to an older state: restore the newer one, or make the index anew with `daybook rebuild`"));
    }
    let mut written = Written::default();
    if from < head {
        let mut writer = BulkWriter::new(client, &alias);
        match projection {
            Projection::Daily => write_daily(reader, &mut writer, from, head).await?,
            Projection::Totals => write_totals(reader, &mut writer, from, head).await?,
        }
        written = writer.finish().await?;
        index.refresh(client).await?;
        index.record(client, head).await?;
    }
    Ok(Advanced {
        projection,
        alias,
        index: index.physical,
        from,
        through: head,
        written,
        duration: stopwatch.elapsed(),
    })
}

/// The index behind the alias, created if there is none.
async fn open(projection: Projection, ledger: &Ledger, client: &Client, alias: &str) -> Result<Index, Failure> {
    let index = match index::find(client, alias).await? {
        Some(index) => index,
        None => {
            index::create(
                client,
                alias,
                ledger.ledger_id,
                &projection.mapping(),
                &projection.settings(),
            )
            .await?
        }
    };
    index.check_ledger(ledger.ledger_id)?;
    Ok(index)
}

async fn write_daily(
    reader: &mut Reader,
    writer: &mut BulkWriter,
    from: EntryId,
    head: EntryId,
) -> Result<(), Failure> {
    for DayTouched { day, posted_before } in reader.days_touched(from, head).await? {
        // Where no older entry is about the day, every recordset of the day is touched: no need to look which.
        let after = if posted_before { from } else { EntryId::NONE };
        let mut groups = Groups::default();
        reader
            .rows_of_day(day, after, head, async |row: StoredRow| {
                match groups.push(row.cell.recordset_id, row) {
                    Some((recordset_id, rows)) => writer.write(daily::document(recordset_id, day, &rows)?).await,
                    None => Ok(()),
                }
            })
            .await?;
        if let Some((recordset_id, rows)) = groups.last() {
            writer.write(daily::document(recordset_id, day, &rows)?).await?;
        }
    }
    Ok(())
}

async fn write_totals(
    reader: &mut Reader,
    writer: &mut BulkWriter,
    from: EntryId,
    head: EntryId,
) -> Result<(), Failure> {
    let mut groups = Groups::default();
    reader
        .totals_touched(from, head, async |total: CellTotal| {
            match groups
                .push(total.cell.recordset_id, total)
                .and_then(|(id, totals)| totals::document(id, &totals))
            {
                Some(document) => writer.write(document).await,
                None => Ok(()),
            }
        })
        .await?;
    match groups
        .last()
        .and_then(|(recordset_id, totals)| totals::document(recordset_id, &totals))
    {
        Some(document) => writer.write(document).await,
        None => Ok(()),
    }
}

/// Gathers rows that arrive by recordset.
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
    /// Takes a row; gives back the group before, if the row is the first of another.
    fn push(&mut self, recordset_id: Uuid, row: T) -> Option<(Uuid, Vec<T>)> {
        match &mut self.current {
            Some((current, rows)) if *current == recordset_id => {
                rows.push(row);
                None
            }
            current => current.replace((recordset_id, vec![row])),
        }
    }

    /// The group that was gathered last.
    fn last(self) -> Option<(Uuid, Vec<T>)> {
        self.current
    }
}
