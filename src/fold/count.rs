//! Counts events in bounded memory.
//!
//! When the counts outgrow their memory, they are written to a sorted run, and counting continues with nothing. At the end
//! the runs are merged. Rejected events are collected in the same way.

use uuid::Uuid;

use super::Counting;
use super::directory::{Directory, Writing};
use super::event::FileEvent;
use super::fingerprint::EventSums;
use super::lines::Source;
use super::manifest::{FileDigest, Manifest, RowSums};
use super::merge::{merge_deltas, merge_rejected};
use super::row::{RejectedRow, RowWriter};
use crate::aggregate::{Aggregation, Figures, Overflow};
use crate::error::{Error, ErrorKind};
use crate::event::Rejection;
use crate::source::kept_json;

/// Bytes of rejected events to collect before writing a run.
const REJECTED_BYTES: usize = if cfg!(debug_assertions) {
    1 << 12
} else {
    16 << 20
};

/// Events that are being counted.
pub(super) struct Counter<'d> {
    counting: &'d Counting,
    directory: &'d Directory,
    aggregation: Aggregation,
    events: EventSums,
    /// Figures of the runs.
    figures: Figures,
    runs: Vec<Source>,
    rejected: Vec<(i64, Vec<u8>)>,
    rejected_bytes: usize,
    rejected_runs: Vec<Source>,
}

impl<'d> Counter<'d> {
    pub(super) fn new(counting: &'d Counting, directory: &'d Directory) -> Self {
        Self {
            counting,
            directory,
            aggregation: empty(),
            events: EventSums::default(),
            figures: Figures::default(),
            runs: Vec::new(),
            rejected: Vec::new(),
            rejected_bytes: 0,
            rejected_runs: Vec::new(),
        }
    }

    /// Counts an event of the day.
    pub(super) fn add(&mut self, event: &FileEvent<'_>) -> Result<(), Error> {
        self.events.add(event.id, &event.columns);
        let aggregation = &mut self.aggregation;
        event
            .decode(|row| match row {
                Ok(row) => aggregation.add(row),
                Err(rejection) => {
                    aggregation.reject(rejection);
                    Ok(())
                }
            })
            .map_err(|error| self.overflow(error))?;
        for rejection in self.aggregation.take_rejections() {
            self.reject(rejection, event)?;
        }
        let memory = self.counting.memory.for_counting();
        let outgrown = self.aggregation.outgrows(memory);
        if outgrown.map_err(|error| self.overflow(error))? {
            tracing::debug!("the counts exceed the memory limit: writing them to a run");
            self.write_run()?;
        }
        Ok(())
    }

    fn reject(&mut self, rejection: Rejection, event: &FileEvent<'_>) -> Result<(), Error> {
        let Rejection {
            source_id,
            reason,
            message,
        } = rejection;
        let row = RejectedRow {
            source_id,
            reason,
            message: message.into(),
            event: kept_json(&(event.json)()).into(),
        };
        let mut line = serde_json::to_vec(&row).map_err(|error| {
            Error::new(ErrorKind::Internal, "writing a rejected event failed").caused_by(error)
        })?;
        line.push(b'\n');
        self.rejected_bytes += line.len();
        self.rejected.push((source_id, line));
        if self.rejected_bytes >= REJECTED_BYTES {
            let run = self.directory.run()?;
            let run = self.write_rejected(run)?;
            self.rejected_runs.push(run.0);
        }
        Ok(())
    }

    fn write_run(&mut self) -> Result<(), Error> {
        let run = self.directory.run()?;
        let (run, _) = self.write_deltas(run, &mut RowSums::default())?;
        self.runs.push(run);
        Ok(())
    }

    /// Writes what is counted, and starts again with nothing.
    fn write_deltas(
        &mut self,
        mut out: Writing,
        sums: &mut RowSums,
    ) -> Result<(Source, FileDigest), Error> {
        let aggregation = std::mem::replace(&mut self.aggregation, empty());
        let part = aggregation.finish().map_err(|error| self.overflow(error))?;
        self.figures.join(part.figures);
        let mut writer = RowWriter::default();
        for row in part.deltas.rows() {
            sums.add(row.count, row.total);
            out.put(writer.counted(&part.deltas, row))?;
        }
        finish(out)
    }

    fn write_rejected(&mut self, mut out: Writing) -> Result<(Source, FileDigest), Error> {
        let mut rejected = std::mem::take(&mut self.rejected);
        self.rejected_bytes = 0;
        rejected.sort_by_key(|(id, _)| *id);
        if let Some([(id, _), _]) = rejected.array_windows().find(|[(a, _), (b, _)]| a == b) {
            return Err(Error::new(
                ErrorKind::InputUnusable,
                format!("event {id} occurs twice: nothing was written"),
            )
            .hint("give each event once"));
        }
        for (_, line) in &rejected {
            out.put(line)?;
        }
        finish(out)
    }

    /// Writes the files, and returns the manifest for them.
    pub(super) fn finish(mut self) -> Result<Manifest, Error> {
        let mut sums = RowSums::default();
        let deltas = if self.runs.is_empty() {
            let out = self.directory.deltas()?;
            self.write_deltas(out, &mut sums)?.1
        } else {
            self.write_run()?;
            merge_deltas(std::mem::take(&mut self.runs), self.directory, &mut sums)?
        };
        let rejects = if self.rejected_runs.is_empty() {
            let out = self.directory.rejected()?;
            self.write_rejected(out)?.1
        } else {
            let run = self.directory.run()?;
            let run = self.write_rejected(run)?;
            self.rejected_runs.push(run.0);
            merge_rejected(std::mem::take(&mut self.rejected_runs), self.directory)?
        };
        let Counting { day, zone, .. } = *self.counting;
        Manifest::new(
            day,
            zone,
            1,
            self.figures,
            sums,
            &self.events,
            [deltas, rejects],
        )
        .map_err(|wrong| {
            Error::new(
                ErrorKind::FigureTooLarge,
                format!("counting {day} failed: {wrong}"),
            )
        })
    }

    fn overflow(&self, error: Overflow) -> Error {
        Error::new(
            ErrorKind::FigureTooLarge,
            format!(
                "counting the events of {} failed, nothing was written",
                self.counting.day
            ),
        )
        .caused_by(error)
        .hint("look for events with absurd numbers")
    }
}

fn empty() -> Aggregation {
    Aggregation::of_part(Uuid::nil(), usize::MAX)
}

fn finish(out: Writing) -> Result<(Source, FileDigest), Error> {
    let (path, digest) = out.finish()?;
    let rows = digest.rows;
    Ok((Source { path, rows }, digest))
}
