//! Writes the daily documents of a new index, and adds up their terms on the way.

use std::sync::Arc;

use super::day_streams::{DaySink, stream_days};
use super::digest::SentDigest;
use super::documents::{Entries, Sink};
use super::oversize::Oversize;
use super::progress::{Progress, SharedProgress};
use super::term_sums::TermSums;
use super::{Plan, Projection};
use crate::elastic::Client;
use crate::elastic::batch::Batch;
use crate::elastic::bulk::BulkWriter;
use crate::error::Error;
use crate::failpoint;
use crate::ledger::{DayTouched, Ledger, StoredRow};
use crate::projection::checkpoint::Building;
use crate::projection::index::Index;

/// Bulk requests of all readers of days together. More do not make a rebuild faster.
const BULK_REQUESTS_IN_FLIGHT: usize = 4;

/// The days to write, and where to.
pub(super) struct WriteDays<'a> {
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    pub client: &'a Client,
    pub index: &'a mut Index,
    pub building: Building,
    pub days: Vec<DayTouched>,
    pub entries: Entries,
    /// Whether to add up the terms.
    pub add_terms: bool,
}

/// What was written.
pub(super) struct WrittenDays {
    pub sent: SentDigest,
    /// The terms of all days, if they were to be added up.
    pub terms: Option<TermSums>,
}

impl WriteDays<'_> {
    /// Writes the days, and marks in the index how far it is.
    pub(super) async fn run<P: Progress + Send + 'static>(
        self,
        progress: P,
    ) -> Result<WrittenDays, Error> {
        let Self {
            plan,
            ledger,
            client,
            index,
            mut building,
            days,
            entries,
            add_terms,
        } = self;
        let oversize = Oversize::of(Projection::Daily);
        let progress = Arc::new(SharedProgress::begin(
            progress,
            &index.physical,
            Some(days.len() as u64),
        ));
        let physical = index.physical.clone();
        let make = |number: usize| {
            let at_once = BULK_REQUESTS_IN_FLIGHT / number;
            let writer = BulkWriter::to_index(client, &physical, at_once)
                .shortening(Oversize::shortening(oversize.as_ref()));
            let terms = add_terms.then(|| TermSums::new(plan, number));
            Writing::new(writer, terms, Arc::clone(&progress))
        };
        let written = stream_days(ledger, days, entries, make, async |writing, through| {
            index
                .checkpoint
                .note_lists_omitted(writing.lists_omitted_from);
            if let Some(through) = through {
                index.flush(client).await?;
                failpoint::reach("rebuild.before_mark");
                building.done_through_day = Some(through);
                index.checkpoint.building = Some(building);
                index.record(client).await?;
                failpoint::reach("rebuild.marked");
            }
            Ok(())
        })
        .await?;
        progress.end();
        let mut all = WrittenDays {
            sent: SentDigest::default(),
            terms: None,
        };
        for Writing { sent, terms, .. } in written {
            all.sent.add_all(sent);
            match (&mut all.terms, terms) {
                (Some(all), Some(terms)) => all.add_all(terms)?,
                (all, terms) => *all = all.take().or(terms),
            }
        }
        if let Some(oversize) = oversize {
            all.sent.replace(oversize.replaced());
        }
        Ok(all)
    }
}

/// Writes documents to a new index, and hashes them.
pub(super) struct Writing<P> {
    writer: BulkWriter,
    /// What was written.
    pub sent: SentDigest,
    /// The terms of daily documents, if they are added up.
    terms: Option<TermSums>,
    /// The size of the smallest document that was written without its lists.
    lists_omitted_from: Option<u64>,
    progress: Arc<SharedProgress<P>>,
}

impl<P> Writing<P> {
    pub(super) fn new(
        writer: BulkWriter,
        terms: Option<TermSums>,
        progress: Arc<SharedProgress<P>>,
    ) -> Self {
        Self {
            writer,
            sent: SentDigest::default(),
            terms,
            lists_omitted_from: None,
            progress,
        }
    }
}

impl<P: Progress + Send> Sink for Writing<P> {
    fn see(&mut self, row: &StoredRow) -> Result<(), Error> {
        self.terms.as_mut().map_or(Ok(()), |terms| terms.add(row))
    }

    fn batch(&mut self) -> &mut Batch {
        self.writer.batch()
    }

    async fn take(&mut self) -> Result<(), Error> {
        if let Some(document) = self.writer.batch().last() {
            self.sent.add(document);
        }
        self.progress.add(1, 0);
        self.writer.send_if_full().await
    }
}

impl<P: Progress + Send + 'static> DaySink for Writing<P> {
    fn end_day(&mut self) {
        self.progress.add(0, 1);
    }

    async fn end_block(&mut self) -> Result<(), Error> {
        self.lists_omitted_from = self.writer.flush().await?.lists_omitted_from;
        Ok(())
    }
}
