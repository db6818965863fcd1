//! The difference between the documents of a day and the ledger, within the memory limit.

use serde::Serialize;
use uuid::Uuid;

use super::document;
use super::staging::Staging;
use super::verdict::OnConflict;
use crate::aggregate::{Aggregation, AggregationError, DayDeltas, Overflow, PostedRow, Sums};
use crate::apply::{CountingRows, CountingThread, subtract_posted};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Entry, EntryId, Reader};
use crate::workspace::Workspace;

/// Recordsets to keep with their sums; the others are only counted.
const NAMED: u64 = 1000;

/// The documents of a day that count, minus what the ledger has, in batches.
#[derive(Debug)]
pub(super) struct Subtraction {
    day: Day,
    rule: Option<OnConflict>,
    /// Entries up to this one are subtracted; `None` if the ledger has nothing of the day.
    posted_through: Option<EntryId>,
    workspace: Workspace,
    /// None before the documents are added up.
    rows: Option<CountingRows>,
}

/// The difference of a day.
#[derive(Debug, Default, Serialize)]
pub struct Difference {
    /// Cells that differ: the rows of an entry that would remove the difference.
    pub cells: u64,
    /// Interactions in the documents minus those in the ledger.
    pub count: i128,
    /// Records in the documents minus those in the ledger.
    pub total: i128,
    /// Number of recordsets that differ.
    pub recordsets: u64,
    /// The first of them, in order.
    pub differing: Vec<Differing>,
}

/// A recordset whose documents differ from the ledger.
#[derive(Debug, Serialize)]
pub struct Differing {
    pub recordset_id: Uuid,
    pub documents: Sums,
    pub ledger: Sums,
}

/// Why a document cannot be added up.
#[derive(Debug, thiserror::Error)]
enum NotAdded {
    #[error(transparent)]
    Aggregation(#[from] AggregationError),
    #[error(transparent)]
    Body(#[from] serde_json::Error),
}

impl Subtraction {
    /// `entries` are the day's entries, `head` is the newest entry of the ledger.
    pub(super) fn new(
        day: Day,
        rule: Option<OnConflict>,
        entries: &[Entry],
        head: EntryId,
        workspace: Workspace,
    ) -> Self {
        let posted_through = entries
            .iter()
            .any(|entry| entry.delta_rows > 0)
            .then_some(head);
        Self {
            day,
            rule,
            posted_through,
            workspace,
            rows: None,
        }
    }

    /// Whether anything is subtracted.
    pub(super) fn replaces(&self) -> bool {
        self.posted_through.is_some()
    }

    /// The next batch; `None` after the last.
    pub(super) async fn next(
        &mut self,
        reader: &mut Reader,
        staging: &mut Staging,
    ) -> Result<Option<DayDeltas>, Error> {
        if let Some(rows) = &mut self.rows {
            return rows.next_batch().await;
        }
        let day = self.day;
        let thread = CountingThread::start()?;
        let mut aggregation = self.add_documents(staging).await?;
        if let Some(through) = self.posted_through {
            aggregation = subtract_posted(reader, day, through, aggregation).await?;
        }
        let overflow = move |error: Overflow| adding_up(day).caused_by(error);
        let (rows, ..) = thread.finish(aggregation, overflow).await?;
        self.rows.insert(rows).next_batch().await
    }

    /// Adds the documents that count.
    async fn add_documents(&self, staging: &mut Staging) -> Result<Aggregation, Error> {
        let mut aggregation = Aggregation::new(&self.workspace);
        let add = |recordset_id, body: &str| {
            let add_cell =
                |cell: PostedRow<'_>| aggregation.add_counted(cell).map_err(NotAdded::from);
            document::for_each_cell(recordset_id, body, add_cell).map_err(|error| match error {
                NotAdded::Aggregation(error) => {
                    error.report(|overflow| adding_up(self.day).caused_by(overflow))
                }
                NotAdded::Body(_) => adding_up(self.day).caused_by(error),
            })
        };
        staging.bodies(self.day, self.rule, add).await?;
        Ok(aggregation)
    }
}

impl Difference {
    /// Reads all batches.
    pub(super) async fn find(
        mut subtraction: Subtraction,
        reader: &mut Reader,
        staging: &mut Staging,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut last = None;
        while let Some(deltas) = subtraction.next(reader, staging).await? {
            let Sums { count, total } = deltas.sums();
            found.count += count;
            found.total += total;
            found.cells += deltas.rows().len() as u64;
            // The rows of a recordset are consecutive, but may be in two batches.
            for rows in deltas
                .rows()
                .chunk_by(|a, b| a.cell.recordset_id == b.cell.recordset_id)
            {
                let recordset_id = rows[0].cell.recordset_id;
                let is_another = last.replace(recordset_id) != Some(recordset_id);
                found.recordsets += u64::from(is_another);
                if found.recordsets <= NAMED {
                    let sums = |of: fn(&crate::aggregate::DeltaRow) -> i64| {
                        rows.iter().map(|row| i128::from(of(row))).sum()
                    };
                    let more = Sums {
                        count: sums(|row| row.count),
                        total: sums(|row| row.total),
                    };
                    if is_another {
                        found.differing.push(Differing {
                            recordset_id,
                            documents: Sums::default(),
                            ledger: Sums::default(),
                        });
                    }
                    if let Some(Differing { documents, .. }) = found.differing.last_mut() {
                        documents.count += more.count;
                        documents.total += more.total;
                    }
                }
            }
        }
        // Until here, `documents` holds the difference.
        let ids: Vec<Uuid> = found
            .differing
            .iter()
            .map(|differing| differing.recordset_id)
            .collect();
        let documents = staging
            .sums_of(subtraction.day, subtraction.rule, &ids)
            .await?;
        for differing in &mut found.differing {
            let Sums { count, total } = documents
                .get(&differing.recordset_id)
                .copied()
                .unwrap_or_default();
            let more = differing.documents;
            differing.ledger = Sums {
                count: count - more.count,
                total: total - more.total,
            };
            differing.documents = Sums { count, total };
        }
        Ok(found)
    }

    /// Whether the documents and the ledger agree.
    pub fn is_none(&self) -> bool {
        self.cells == 0
    }
}

fn adding_up(day: Day) -> Error {
    Error::new(
        ErrorKind::FigureTooLarge,
        format!("adding up the documents of {day} failed, nothing was posted"),
    )
}
