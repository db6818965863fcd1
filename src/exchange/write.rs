//! Writes an export: one snapshot of the ledger, entry by entry, with one row in memory at a time.
//!
//! Lines are made on one thread, and compressed and written on another.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::file::Unfinished;
use super::format::{Delta, End, Ended, Header, Line, Run, Sums, VERSION};
use crate::day::Period;
use crate::error::{Error, ErrorKind};
use crate::event::PerDimension;
use crate::failpoint;
use crate::hash::Hash;
use crate::interrupt::unless_interrupted;
use crate::ledger::copy_out::{CopiedRow, RejectedRow, RunRow, Snapshot};
use crate::ledger::lock::TOOL_VERSION;
use crate::ledger::{EntryId, Ledger, migrations};

/// Where an export goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// To stdout, uncompressed.
    Stdout,
    /// To a file, compressed if its name ends in .gz or .zst.
    File(PathBuf),
}

/// What was exported.
#[derive(Debug, Serialize)]
pub struct Exported {
    pub whole: bool,
    pub first_entry: Option<EntryId>,
    pub last_entry: Option<EntryId>,
    pub entries: u64,
    pub delta_rows: u64,
    pub rejected_events: u64,
    /// Before compression.
    pub bytes: u64,
    /// As in the last line.
    pub sha256: Hash,
}

/// Chunks of lines that may be queued for writing.
const CHUNKS_IN_FLIGHT: usize = 4;

/// How long the writing thread may take to end after an error.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Bytes to collect before sending a chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// A message to the writing thread.
enum Message {
    Chunk(Vec<u8>),
    Complete,
}

/// Exports the entries of a period, or all. The file appears under its name only when it is complete.
pub async fn export(
    ledger: &Ledger,
    period: Option<Period>,
    target: &Target,
) -> Result<Exported, Error> {
    let to = match target {
        Target::Stdout => "stdout".to_owned(),
        Target::File(path) => path.display().to_string(),
    };
    let (sender, messages) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let writing = {
        let target = target.clone();
        tokio::task::spawn_blocking(move || write_all(&target, messages))
    };
    let made = unless_interrupted(make(ledger, period, sender)).await;
    let is_replaced_whole = matches!(target, Target::File(path) if std::fs::metadata(path).map_or(true, |found| found.is_file()));
    let remains = if is_replaced_whole {
        "; the file was not written"
    } else {
        ""
    };
    let cannot = format!("writing the export to {to} failed{remains}");
    let writing = async {
        writing.await.map_err(|error| {
            Error::new(ErrorKind::OutputUnwritable, cannot.as_str()).caused_by(error)
        })
    };
    // The other end of a pipe may never be read.
    let written = if made.is_ok() {
        unless_interrupted(writing).await?
    } else {
        tokio::time::timeout(LAST_WRITE, writing)
            .await
            .unwrap_or(Ok(Ok(())))?
    };
    // The error of the writing thread is the cause. The other side only knows that the channel was closed.
    if let Err(error) = written {
        return Err(Error::new(ErrorKind::OutputUnwritable, cannot)
            .caused_by(error)
            .hint("check that the folder exists and is writable, and that the disk has space"));
    }
    made
}

fn write_all(target: &Target, mut messages: mpsc::Receiver<Message>) -> io::Result<()> {
    let mut take = |out: &mut dyn Write| -> io::Result<bool> {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Chunk(chunk) => out.write_all(&chunk)?,
                Message::Complete => return Ok(true),
            }
        }
        Ok(false)
    };
    match target {
        Target::Stdout => {
            let mut stdout = io::stdout().lock();
            take(&mut stdout)?;
            stdout.flush()
        }
        Target::File(path) => {
            let mut file = Unfinished::create(path)?;
            if take(&mut file)? {
                failpoint::reach("export.before_rename");
                file.finish()?;
            }
            Ok(())
        }
    }
}

async fn make(
    ledger: &Ledger,
    period: Option<Period>,
    sender: mpsc::Sender<Message>,
) -> Result<Exported, Error> {
    let mut snapshot = Snapshot::take(ledger, period, "daybook export").await?;
    let identity = snapshot.identity().await?;
    let extent = snapshot.extent().await?;
    let mut lines = Lines {
        sender,
        chunk: Vec::new(),
        digest: Sha256::new(),
        bytes: 0,
    };
    let header = Header {
        daybook_export: VERSION,
        ledger_id: identity.ledger_id,
        time_zone: identity.time_zone,
        ledger_created_at: identity.created_at,
        schema_version: migrations::embedded_version(),
        tool_version: TOOL_VERSION.to_owned(),
        whole: period.is_none(),
        from: period.map(Period::from),
        to: period.map(Period::to),
        first_entry: extent.first_entry,
        last_entry: extent.last_entry,
        entries: extent.entries,
        previous_hash: extent.previous_hash,
        last_hash: extent.last_hash,
    };
    lines.put(&header).await?;
    snapshot.runs(async |run| lines.put_run(&run).await).await?;
    let (mut after, mut sums) = (EntryId::NONE, Sums::default());
    while let Some(entry) = snapshot.entry_after(after).await? {
        after = entry.entry_id;
        lines.put(&Line::Entry(entry)).await?;
        sums.entries += 1;
        let (mut rows, mut events) = (0, 0);
        snapshot
            .rows(after, async |row| {
                rows += 1;
                lines.put_delta(&row).await
            })
            .await?;
        snapshot
            .rejected(after, async |event: RejectedRow| {
                events += 1;
                lines.put(&Line::Rejected((&event).into())).await
            })
            .await?;
        sums.delta_rows += rows;
        sums.rejected_events += events;
        failpoint::reach("export.entry_written");
    }
    let Sums {
        entries,
        delta_rows,
        rejected_events,
    } = sums;
    let sha256 = Hash::from(lines.digest.clone());
    lines
        .put(&Line::End(End {
            entries,
            delta_rows,
            rejected_events,
            sha256,
        }))
        .await?;
    let bytes = lines.complete().await?;
    Ok(Exported {
        whole: header.whole,
        first_entry: header.first_entry,
        last_entry: header.last_entry,
        entries,
        delta_rows,
        rejected_events,
        bytes,
        sha256,
    })
}

/// Lines to be written.
struct Lines {
    sender: mpsc::Sender<Message>,
    chunk: Vec<u8>,
    digest: Sha256,
    bytes: u64,
}

impl Lines {
    async fn put(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let start = self.chunk.len();
        serde_json::to_writer(&mut self.chunk, line).map_err(unwritable)?;
        self.chunk.push(b'\n');
        self.digest.update(&self.chunk[start..]);
        if self.chunk.len() >= CHUNK_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn put_run(&mut self, run: &RunRow) -> Result<(), Error> {
        let ended = run.end.as_ref().map(|end| -> Result<Ended<'_>, Error> {
            Ok(Ended {
                finished_at: end.finished_at,
                exit_code: end.exit_code,
                outcome: Cow::Borrowed(&end.outcome),
                figures: raw(&end.figures)?,
            })
        });
        let end = ended.transpose()?;
        let [command, version, started_by] =
            [&run.command, &run.version, &run.started_by].map(|text| Cow::Borrowed(text.as_str()));
        let RunRow {
            run_id, started_at, ..
        } = *run;
        self.put(&Line::Run(Run {
            run_id,
            command,
            version,
            started_by,
            started_at,
            end,
        }))
        .await
    }

    async fn put_delta(&mut self, row: &CopiedRow) -> Result<(), Error> {
        let fields = row.fields();
        let PerDimension {
            items,
            queries,
            geocodes,
        } = row.maps();
        self.put(&Line::Delta(Delta {
            recordset_id: fields.recordset_id,
            record_type: Cow::Borrowed(fields.record_type),
            stat_type: Cow::Borrowed(fields.stat_type),
            day: fields.day,
            count: fields.count,
            total: fields.total,
            items: raw(items)?,
            queries: raw(queries)?,
            geocodes: raw(geocodes)?,
            count_balance: fields.count_balance,
            total_balance: fields.total_balance,
            first_day: fields.first_day,
            last_day: fields.last_day,
            part: fields.part,
        }))
        .await
    }

    /// Sends the rest. Returns the total number of bytes.
    async fn complete(mut self) -> Result<u64, Error> {
        self.send().await?;
        self.sender
            .send(Message::Complete)
            .await
            .map_err(|_| hung_up())?;
        Ok(self.bytes)
    }

    async fn send(&mut self) -> Result<(), Error> {
        let chunk = std::mem::take(&mut self.chunk);
        self.bytes += chunk.len() as u64;
        self.sender
            .send(Message::Chunk(chunk))
            .await
            .map_err(|_| hung_up())
    }
}

fn raw(json: &str) -> Result<&RawValue, Error> {
    serde_json::from_str(json).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        "writing a part of the ledger as JSON failed",
    )
    .caused_by(error)
}

/// Reported only if the writing thread has no error of its own.
fn hung_up() -> Error {
    Error::new(ErrorKind::Internal, "writing the export was aborted")
}
