//! The difference between the documents of a day and the ledger, in as many parts as the memory limit requires.

use futures_util::TryFutureExt as _;
use serde::Serialize;
use uuid::Uuid;

use super::document;
use super::staging::Staging;
use super::verdict::OnConflict;
use crate::aggregate::{Aggregation, DayDeltas, Overflow, PostedRow, Sums};
use crate::apply::subtract_posted;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Entry, EntryId, Reader};
use crate::memory::Memory;

/// Recordsets to keep with their sums; the others are only counted.
const NAMED: usize = 1000;

/// The documents of a day that count, minus what the ledger has, part by part.
#[derive(Debug)]
pub(super) struct Parts {
    day: Day,
    rule: Option<OnConflict>,
    /// Entries up to this one are subtracted; `None` if the ledger has nothing of the day.
    posted_through: Option<EntryId>,
    memory: Memory,
    next: Option<Uuid>,
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
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Body(#[from] serde_json::Error),
}

impl Parts {
    /// `entries` are the day's entries, `head` is the newest entry of the ledger.
    pub(super) fn new(
        day: Day,
        rule: Option<OnConflict>,
        entries: &[Entry],
        head: EntryId,
        memory: Memory,
    ) -> Self {
        let posted_through = entries
            .iter()
            .any(|entry| entry.delta_rows > 0)
            .then_some(head);
        Self {
            day,
            rule,
            posted_through,
            memory,
            next: Some(Uuid::nil()),
        }
    }

    /// Whether anything is subtracted.
    pub(super) fn replaces(&self) -> bool {
        self.posted_through.is_some()
    }

    /// The next part; `None` after the last.
    pub(super) async fn next(
        &mut self,
        reader: &mut Reader,
        staging: &mut Staging,
    ) -> Result<Option<DayDeltas>, Error> {
        let Some(from) = self.next else {
            return Ok(None);
        };
        let day = self.day;
        let mut aggregation = self.add_documents(staging, from).await?;
        if let Some(through) = self.posted_through {
            aggregation = subtract_posted(reader, day, through, aggregation).await?;
        }
        let finishing = tokio::task::spawn_blocking(move || aggregation.finish());
        let finished = finishing
            .map_err(|error| adding_up(day).caused_by(error))
            .await?;
        let part = finished.map_err(|error| adding_up(day).caused_by(error))?;
        self.next = part.next;
        Ok(Some(part.deltas))
    }

    /// Adds the documents that count, starting at a recordset.
    async fn add_documents(&self, staging: &mut Staging, from: Uuid) -> Result<Aggregation, Error> {
        let mut aggregation = Aggregation::of_part(from, self.memory.for_counting());
        let add = |recordset_id, body: &str| {
            let add_cell =
                |cell: PostedRow<'_>| aggregation.add_counted(cell).map_err(NotAdded::from);
            document::for_each_cell(recordset_id, body, add_cell)
                .map_err(|error| adding_up(self.day).caused_by(error))
        };
        staging.bodies(self.day, self.rule, from, add).await?;
        Ok(aggregation)
    }
}

impl Difference {
    /// Reads all parts.
    pub(super) async fn find(
        mut parts: Parts,
        reader: &mut Reader,
        staging: &mut Staging,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        while let Some(deltas) = parts.next(reader, staging).await? {
            let Sums { count, total } = deltas.sums();
            found.count += count;
            found.total += total;
            found.cells += deltas.rows().len() as u64;
            // The rows of a recordset are consecutive, and all in one part.
            for rows in deltas
                .rows()
                .chunk_by(|a, b| a.cell.recordset_id == b.cell.recordset_id)
            {
                found.recordsets += 1;
                if found.differing.len() < NAMED {
                    let sums = |of: fn(&crate::aggregate::DeltaRow) -> i64| {
                        rows.iter().map(|row| i128::from(of(row))).sum()
                    };
                    let more = Sums {
                        count: sums(|row| row.count),
                        total: sums(|row| row.total),
                    };
                    found.differing.push(Differing {
                        recordset_id: rows[0].cell.recordset_id,
                        documents: more,
                        ledger: Sums::default(),
                    });
                }
            }
        }
        // Until here, `documents` holds the difference.
        let ids: Vec<Uuid> = found
            .differing
            .iter()
            .map(|differing| differing.recordset_id)
            .collect();
        let documents = staging.sums_of(parts.day, parts.rule, &ids).await?;
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
