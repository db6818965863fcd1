//! Counts events in bounded memory.
//!
//! What the counts need beyond their memory goes into temporary files without names. Rejected events are written to sorted
//! runs, which are merged at the end.

use super::Counting;
use super::directory::Writing;
use super::event::FileEvent;
use super::fingerprint::EventSums;
use super::lines::Source;
use super::manifest::{FileDigest, Manifest, Scope};
use super::merge::merge_rejected;
use super::output::Output;
use super::row::{RejectedRow, RowWriter};
use crate::aggregate::{Aggregation, AggregationError, Figures, Overflow};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::Rejection;
use crate::source::kept_json;
use crate::workspace::Workspace;

/// Bytes of rejected events to collect before writing a run.
const REJECTED_BYTES: usize = if cfg!(debug_assertions) {
    1 << 12
} else {
    16 << 20
};

/// Events that are being counted.
pub(super) struct Counter<'d> {
    counting: &'d Counting,
    output: &'d Output,
    aggregation: Aggregation,
    events: EventSums,
    rejected: Vec<(i64, Vec<u8>)>,
    rejected_bytes: usize,
    rejected_runs: Vec<Source>,
}

impl<'d> Counter<'d> {
    pub(super) fn new(counting: &'d Counting, output: &'d Output) -> Result<Self, Error> {
        let workspace = Workspace {
            memory: counting.memory,
            temp_dir: output.first().for_temporary_files()?,
        };
        Ok(Self {
            counting,
            output,
            aggregation: Aggregation::new(&workspace),
            events: EventSums::default(),
            rejected: Vec::new(),
            rejected_bytes: 0,
            rejected_runs: Vec::new(),
        })
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
            .map_err(|error| self.failed(error))?;
        for rejection in self.aggregation.take_rejections() {
            self.reject(rejection, event)?;
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
            let run = self.output.first().run()?;
            let run = self.write_rejected(run)?;
            self.rejected_runs.push(run.0);
        }
        Ok(())
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

    /// Writes the rejected events of the day.
    fn finish_rejected(&mut self) -> Result<FileDigest, Error> {
        let directory = self.output.first();
        if self.rejected_runs.is_empty() {
            let out = directory.rejected()?;
            return Ok(self.write_rejected(out)?.1);
        }
        let run = self.write_rejected(directory.run()?)?;
        self.rejected_runs.push(run.0);
        merge_rejected(std::mem::take(&mut self.rejected_runs), directory)
    }

    /// Writes the files, and returns the manifests for them, one for each range.
    pub(super) fn finish(mut self) -> Result<Vec<Manifest>, Error> {
        let mut rejects = vec![self.finish_rejected()?];
        let Self {
            counting,
            output,
            aggregation,
            events,
            ..
        } = self;
        rejects.extend(output.no_rejects()?);
        let Counting { day, zone, .. } = *counting;
        let of_counting = |error: AggregationError| failed(day, error);
        let mut counted = aggregation.finish().map_err(of_counting)?;
        let (mut out, mut writer) = (output.deltas()?, RowWriter::default());
        while let Some(deltas) = counted.rows.next_batch().map_err(of_counting)? {
            for row in deltas.rows() {
                let line = writer.counted(&deltas, row);
                out.put(row.cell.recordset_id, [row.count, row.total], line)?;
            }
        }
        let of_range = |(number, ((sums, deltas), rejects))| {
            let scope = Scope {
                day,
                zone,
                parts: 1,
                range: output.range(number),
            };
            Manifest::new(scope, counted.figures, sums, &events, [deltas, rejects])
        };
        let files = out.finish()?.into_iter().zip(rejects).enumerate();
        let manifests: Result<Vec<_>, _> = files.map(of_range).collect();
        manifests
            .and_then(|manifests| check_interactions(manifests, counted.figures))
            .map_err(|wrong| {
                Error::new(
                    ErrorKind::FigureTooLarge,
                    format!("counting {day} failed: {wrong}"),
                )
            })
    }

    fn failed(&self, error: AggregationError) -> Error {
        failed(self.counting.day, error)
    }
}

fn failed(day: Day, error: AggregationError) -> Error {
    error.report(|overflow: Overflow| {
        Error::new(
            ErrorKind::FigureTooLarge,
            format!("counting the events of {day} failed, nothing was written"),
        )
        .caused_by(overflow)
        .hint("look for events with absurd numbers")
    })
}

/// Whether the rows of all ranges add up to what was counted.
fn check_interactions(manifests: Vec<Manifest>, figures: Figures) -> Result<Vec<Manifest>, String> {
    let found = manifests
        .iter()
        .map(|manifest| i128::from(manifest.interactions));
    let (found, counted) = (found.sum::<i128>(), i128::from(figures.interactions));
    if found == counted {
        return Ok(manifests);
    }
    Err(format!(
        "the rows add up to {found} interactions, but {counted} were counted"
    ))
}

fn finish(out: Writing) -> Result<(Source, FileDigest), Error> {
    let (path, digest) = out.finish()?;
    let rows = digest.rows;
    Ok((Source { path, rows }, digest))
}
