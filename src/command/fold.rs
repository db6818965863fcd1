//! `daybook fold`: counts the events of a day in files, without any server.

use std::path::PathBuf;

use serde_json::json;

use crate::clock::Stopwatch;
use crate::day::{Day, TimeZone};
use crate::error::{Error, ErrorKind, Exit};
use crate::fold::{Counting, Expected, MOST_RANGES, Manifest, fold, merge};
use crate::interrupt::unless_interrupted;
use crate::memory::Memory;
use crate::output::Output;
use crate::printable::one_line;
use crate::text::{Grouped, counted};

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events are NDJSON, one object a line, plain or compressed with gzip or zstd; or Parquet. They have
id, date, type, record_type, payload, ip_geocode and query_hash. Events of other days are skipped
and counted. The output is a directory: delta rows, rejected events and, written last, a manifest.

Needs no server. Any number of processes can each count some of the events.

Examples:
  daybook fold --day 2020-02-16 events-*.ndjson.gz --output part-1
  daybook fold --merge part-1 part-2 --output whole
  daybook apply --day 2020-02-16 --deltas whole")]
pub struct FoldArgs {
    /// Files with events, or - for stdin; with --merge, directories that fold has written
    #[arg(value_name = "FILE", required = true)]
    inputs: Vec<PathBuf>,

    /// The day to count, YYYY-MM-DD
    #[arg(long, value_name = "DAY", required_unless_present = "merge")]
    day: Option<Day>,

    /// The time zone of days, an IANA name; it must be the ledger's [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<TimeZone>,

    /// Add up what several processes have counted
    #[arg(long)]
    merge: bool,

    /// Write a directory for each of N ranges of recordsets, so that N processes can merge them:
    /// DIR/range-0 and so on
    #[arg(long, value_name = "N", conflicts_with = "merge",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_RANGES)))]
    ranges: Option<u32>,

    /// Directory to write; must be empty or not exist
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Runs the command. It needs no settings except the memory limit.
pub async fn run(options: FoldArgs, memory: Memory, output: Output) -> Result<Exit, Error> {
    let stopwatch = Stopwatch::start();
    let to = options.output.display().to_string();
    let work = tokio::task::spawn_blocking(move || {
        let FoldArgs {
            inputs,
            day,
            time_zone: zone,
            ranges,
            output,
            ..
        } = &options;
        match day {
            Some(day) if !options.merge => {
                let counting = Counting {
                    day: *day,
                    zone: zone.unwrap_or(TimeZone::UTC),
                    memory,
                    ranges: *ranges,
                };
                let folded = fold(&counting, inputs, output)?;
                Ok((folded.manifests, Some(folded.outside)))
            }
            _ => {
                let expected = Expected {
                    day: *day,
                    zone: *zone,
                };
                Ok((vec![merge(inputs, expected, output)?], None))
            }
        }
    });
    let (manifests, outside) = unless_interrupted(async {
        work.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "counting was aborted").caused_by(error)
        })?
    })
    .await?;
    let seconds = stopwatch.elapsed().as_secs_f64();
    let written = Written::new(&manifests)?;
    let manifest = written.first;
    let text = written.text(&to, outside);
    let fields = json!({
        "output": to,
        "day": manifest.day,
        "time_zone": manifest.time_zone,
        "parts": manifest.parts,
        "events": manifest.events,
        "counted": manifest.counted,
        "ignored": manifest.ignored,
        "rejected": manifest.rejected,
        "outside": outside,
        "interactions": written.interactions,
        "records": written.records,
        "cells": written.cells,
        "ranges": written.ranges,
        "fingerprint": manifest.fingerprint,
        "seconds": (seconds * 1000.0).round() / 1000.0,
    });
    output.report("folded", fields, text);
    Ok(Exit::Done)
}

/// The delta sets that were written, one for each range of recordsets.
struct Written<'m> {
    /// Every range has the figures of all events.
    first: &'m Manifest,
    interactions: i64,
    records: i64,
    cells: u64,
    ranges: usize,
}

impl<'m> Written<'m> {
    fn new(manifests: &'m [Manifest]) -> Result<Self, Error> {
        let first = manifests
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "no deltas were written"))?;
        let sum = |figure: fn(&Manifest) -> i64| {
            let sum = manifests.iter().map(figure);
            sum.fold(0, i64::saturating_add)
        };
        Ok(Self {
            first,
            interactions: sum(|manifest| manifest.interactions),
            records: sum(|manifest| manifest.records),
            cells: manifests.iter().map(|manifest| manifest.deltas.rows).sum(),
            ranges: manifests.len(),
        })
    }

    fn text(&self, to: &str, outside: Option<i64>) -> String {
        let manifest = self.first;
        let mut text = format!(
            "{}: {} of {} ({} counted, {} ignored, {} rejected) → {}, {}, {}",
            one_line(to),
            counted(manifest.events, "event", "events"),
            manifest.day,
            Grouped(manifest.counted),
            Grouped(manifest.ignored),
            Grouped(manifest.rejected),
            counted(self.interactions, "interaction", "interactions"),
            counted(self.records, "record", "records"),
            counted(self.cells, "cell", "cells"),
        );
        if self.ranges > 1 {
            text += &format!(" in {} ranges", self.ranges);
        }
        match outside {
            Some(0) => {}
            Some(outside) => {
                text += &format!(
                    "; skipped {} of other days",
                    counted(outside, "event", "events")
                );
            }
            None => text += &format!("; merged from {}", counted(manifest.parts, "part", "parts")),
        }
        text
    }
}
