//! Counts a day's events, less what is posted already. The source is read once, whatever the memory limit.
//!
//! One thread receives the rows and another counts them.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{mpsc, oneshot};

use crate::aggregate::{
    Aggregation, AggregationError, Counted, CountedRows, DayDeltas, Figures, Overflow,
};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::Rejection;
use crate::ledger::{EntryId, Reader};
use crate::source::{Batch, Fingerprint, Rows};
use crate::workspace::Workspace;

use super::events::Events;

/// Maximum number of batches that wait to be counted.
const BATCHES_IN_FLIGHT: usize = 8;

/// A day whose events were counted.
#[derive(Debug)]
pub(super) struct CountedDay {
    pub(super) rows: CountingRows,
    pub(super) figures: Figures,
    pub(super) rejections: Vec<Rejection>,
}

/// The thread that counts. It does everything, because only it can reuse the memory that it has freed.
#[derive(Debug)]
pub(crate) struct CountingThread(ThreadPool);

impl CountingThread {
    pub(crate) fn start() -> Result<Self, Error> {
        // After a panic, no answer arrives: that is the error.
        let thread = ThreadPoolBuilder::new()
            .num_threads(1)
            .panic_handler(|_| {})
            .build();
        thread.map(Self).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot start a thread for counting").caused_by(error)
        })
    }

    /// Ends an aggregation. `overflow` makes the error if a sum overflows.
    pub(crate) async fn finish(
        self,
        aggregation: Aggregation,
        overflow: impl Fn(Overflow) -> Error + Send + 'static,
    ) -> Result<(CountingRows, Figures, Vec<Rejection>), Error> {
        let finished = self.run(move || aggregation.finish()).await?;
        let Counted {
            rows,
            figures,
            rejections,
        } = finished.map_err(|error| error.report(&overflow))?;
        let spilled_bytes = rows.spilled_bytes();
        let rows = CountingRows {
            thread: self,
            rows: Some(rows),
            spilled_bytes,
            overflow: Box::new(overflow),
        };
        Ok((rows, figures, rejections))
    }

    /// Does some work on the thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, done) = oneshot::channel();
        self.0.spawn(move || drop(answer.send(work())));
        done.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "counting was interrupted").caused_by(error)
        })
    }
}

/// Delta rows that were counted, in batches that fit in memory.
pub(crate) struct CountingRows {
    thread: CountingThread,
    /// None after the last batch.
    rows: Option<CountedRows>,
    spilled_bytes: u64,
    overflow: Box<dyn Fn(Overflow) -> Error + Send>,
}

impl CountingRows {
    /// The next batch; its cells follow those of the batch before. `None` after the last.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<DayDeltas>, Error> {
        let Some(mut rows) = self.rows.take() else {
            return Ok(None);
        };
        let next = move || (rows.next_batch(), rows);
        let (batch, rows) = self.thread.run(next).await?;
        let batch = batch.map_err(|error| error.report(&self.overflow))?;
        self.rows = batch.is_some().then_some(rows);
        Ok(batch)
    }

    /// Bytes in temporary files; 0 if everything fits in memory, in one batch.
    pub(crate) fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }
}

impl std::fmt::Debug for CountingRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountingRows")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Counts a day's events, which must be those of the fingerprint. With `posted_through`, what entries up to that one
/// have posted of the day is subtracted.
pub(super) async fn count_day(
    events: &mut Events<'_>,
    reader: &mut Reader,
    fingerprint: &Fingerprint,
    posted_through: Option<EntryId>,
    workspace: &Workspace,
) -> Result<CountedDay, Error> {
    let day = events.day();
    let thread = CountingThread::start()?;
    let mut aggregation = Aggregation::new(workspace).expecting(fingerprint.rows);
    // The fingerprint is of the same snapshot, so a quiet day need not be read.
    let mut rows = 0;
    if fingerprint.rows > 0 {
        (rows, aggregation) = read(events, &thread, aggregation).await?;
    }
    check(day, fingerprint, rows, aggregation.figures())?;
    if let Some(through) = posted_through {
        aggregation = subtract_posted(reader, day, through, aggregation).await?;
    }
    let finishing = thread.finish(aggregation, move |error| overflow(day, error));
    let (rows, figures, rejections) = finishing.await?;
    Ok(CountedDay {
        rows,
        figures,
        rejections,
    })
}

/// Adds the day's events to an aggregation, and returns how many there were.
async fn read(
    events: &mut Events<'_>,
    thread: &CountingThread,
    mut aggregation: Aggregation,
) -> Result<(i64, Aggregation), Error> {
    let day = events.day();
    let snapshot = match events {
        Events::Source(snapshot) => snapshot,
        Events::Counted(sets) => {
            let sets = Arc::clone(sets);
            let adding = thread.run(move || {
                sets.add_to(&mut aggregation)?;
                Ok((aggregation.figures().events(), aggregation))
            });
            return adding.await?;
        }
    };
    let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
    // Counting starts at once, and sending ends early if it fails.
    let counting = thread.run(move || count(day, aggregation, batches));
    let (counted, sent) = tokio::join!(counting, snapshot.send_rows(sender));
    let counted = counted?;
    sent?;
    counted
}

fn check(day: Day, fingerprint: &Fingerprint, rows: i64, figures: Figures) -> Result<(), Error> {
    if rows == fingerprint.rows && figures.events() == rows {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, format!(
        "{day} has {} events in the source, but {rows} were read and {} accounted for: nothing was posted",
        fingerprint.rows,
        figures.events()
    ))
    .hint("each event must have at most one query: look for duplicate ids in the table queries"))
}

/// Counts the rows as they arrive.
fn count(
    day: Day,
    mut aggregation: Aggregation,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<(i64, Aggregation), Error> {
    let mut rows = Rows::of(day);
    let failed = |error: AggregationError| error.report(|error| overflow(day, error));
    while let Some(batch) = batches.blocking_recv() {
        rows.read(&batch, |row| match row {
            Ok(row) => aggregation.add(row).map_err(failed),
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
    let mut rows = reader.rows_of_day(day, EntryId::NONE, through);
    while let Some(row) = rows.next().await? {
        row.subtract_from(&mut aggregation, |error| {
            Error::new(
                ErrorKind::Internal,
                format!("comparing {day} with what is posted failed, nothing was posted"),
            )
            .caused_by(error)
        })?;
    }
    Ok(aggregation)
}

fn overflow(day: Day, error: Overflow) -> Error {
    Error::new(ErrorKind::Internal, format!("counting the events of {day} failed, nothing was posted"))
        .caused_by(error)
        .hint("look for events with absurd numbers: SELECT id, payload FROM stats WHERE … ORDER BY length(payload::text) DESC")
}
