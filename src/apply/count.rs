//! Counts a day's events, less what is posted already, in as many parts as the memory limit requires.
//!
//! One thread receives the rows and another counts them. Each part reads the day once more, in the same snapshot.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::aggregate::{Aggregation, Figures, Overflow, Part};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::Rejection;
use crate::ledger::{EntryId, Reader, StoredRow};
use crate::memory::Memory;
use crate::source::{Batch, Fingerprint, Rows};

use super::events::Events;

/// Maximum number of batches that wait to be counted.
const BATCHES_IN_FLIGHT: usize = 8;

/// A day's events as they are counted, part by part.
#[derive(Debug)]
pub(super) struct Counting<'a> {
    fingerprint: &'a Fingerprint,
    posted_through: Option<EntryId>,
    memory: Memory,
    /// The thread that counts. It is the same for all parts, because only it can reuse the memory that a part has
    /// freed.
    thread: ThreadPool,
    /// The first recordset of the next part.
    next: Option<Uuid>,
    /// What the first part found about the events. Each part reads all of them.
    of_events: Option<(Figures, Vec<Rejection>)>,
}

impl<'a> Counting<'a> {
    /// The events must be those of the fingerprint. With `posted_through`, what entries up to that one have posted of
    /// the day is subtracted.
    pub(super) fn new(
        fingerprint: &'a Fingerprint,
        posted_through: Option<EntryId>,
        memory: Memory,
    ) -> Result<Self, Error> {
        // After a panic, no answer arrives: that is the error.
        let thread = ThreadPoolBuilder::new()
            .num_threads(1)
            .panic_handler(|_| {})
            .build();
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot start a thread for counting").caused_by(error)
        })?;
        Ok(Self {
            fingerprint,
            posted_through,
            memory,
            thread,
            next: Some(Uuid::nil()),
            of_events: None,
        })
    }

    /// Counts as much as fits in memory; none if everything is counted.
    pub(super) async fn next_part(
        &mut self,
        events: &mut Events<'_>,
        reader: &mut Reader,
    ) -> Result<Option<Part>, Error> {
        let Some(from) = self.next else {
            return Ok(None);
        };
        let day = events.day();
        let aggregation = Aggregation::of_part(from, self.memory.for_counting());
        let (rows, mut aggregation) = match self.fingerprint.rows {
            // The fingerprint is of the same snapshot, so a quiet day need not be read.
            0 => (0, aggregation),
            _ => self.read(events, aggregation).await?,
        };
        self.check(day, rows, aggregation.figures())?;
        if let Some(through) = self.posted_through {
            aggregation = subtract_posted(reader, day, through, aggregation).await?;
        }
        let finishing = tokio::task::spawn_blocking(move || aggregation.finish());
        let mut part = joined(day, finishing.await)?.map_err(|error| overflow(day, error))?;
        self.next = part.next;
        let rejections = std::mem::take(&mut part.rejections);
        self.of_events.get_or_insert((part.figures, rejections));
        Ok(Some(part))
    }

    /// Adds the day's rows to an aggregation, and returns how many there were.
    async fn read(
        &self,
        events: &mut Events<'_>,
        mut aggregation: Aggregation,
    ) -> Result<(i64, Aggregation), Error> {
        let day = events.day();
        let (answer, counting) = oneshot::channel();
        let snapshot = match events {
            Events::Source(snapshot) => snapshot,
            Events::Counted(sets) => {
                let sets = Arc::clone(sets);
                self.thread.spawn(move || {
                    let added = sets.add_to(&mut aggregation);
                    let rows = aggregation.figures().events();
                    drop(answer.send(added.map(|()| (rows, aggregation))));
                });
                return joined(day, counting.await)?;
            }
        };
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        self.thread
            .spawn(move || drop(answer.send(count(day, aggregation, batches))));
        let sent = snapshot.send_rows(sender).await;
        let counted = joined(day, counting.await)?;
        sent?;
        counted
    }

    /// The numbers of events, and the rejected events.
    pub(super) fn finish(self) -> (Figures, Vec<Rejection>) {
        self.of_events.unwrap_or_default()
    }

    fn check(&self, day: Day, rows: i64, figures: Figures) -> Result<(), Error> {
        let is_as_before = self
            .of_events
            .as_ref()
            .is_none_or(|(before, _)| *before == figures);
        if rows == self.fingerprint.rows && figures.events() == rows && is_as_before {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Internal, format!(
            "{day} has {} events in the source, but {rows} were read and {} accounted for: nothing was posted",
            self.fingerprint.rows,
            figures.events()
        ))
        .hint("each event must have at most one query: look for duplicate ids in the table queries"))
    }
}

/// Counts the rows as they arrive.
fn count(
    day: Day,
    mut aggregation: Aggregation,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<(i64, Aggregation), Error> {
    let mut rows = Rows::of(day);
    while let Some(batch) = batches.blocking_recv() {
        rows.read(&batch, |row| match row {
            Ok(row) => aggregation.add(row).map_err(|error| overflow(day, error)),
            Err(rejection) => {
                aggregation.reject(rejection);
                Ok(())
            }
        })?;
    }
    Ok((rows.finish()?, aggregation))
}

/// Subtracts what entries up to `through` have posted of a day.
pub(crate) async fn subtract_posted(
    reader: &mut Reader,
    day: Day,
    through: EntryId,
    mut aggregation: Aggregation,
) -> Result<Aggregation, Error> {
    reader
        .rows_of_day(day, EntryId::NONE, through, async |row: StoredRow| {
            row.subtract_from(&mut aggregation, |error| {
                Error::new(
                    ErrorKind::Internal,
                    format!("comparing {day} with what is posted failed, nothing was posted"),
                )
                .caused_by(error)
            })
        })
        .await?;
    Ok(aggregation)
}

fn joined<T, E>(day: Day, outcome: Result<T, E>) -> Result<T, Error>
where
    E: std::error::Error + Send + Sync + 'static,
{
    outcome.map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            format!("counting the events of {day} was interrupted"),
        )
        .caused_by(error)
    })
}

fn overflow(day: Day, error: Overflow) -> Error {
    Error::new(ErrorKind::Internal, format!("counting the events of {day} failed, nothing was posted"))
        .caused_by(error)
        .hint("look for events with absurd numbers: SELECT id, payload FROM stats WHERE … ORDER BY length(payload::text) DESC")
}
