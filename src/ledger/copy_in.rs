//! Writes an exact copy of another ledger's entries into an empty ledger, in one transaction. It only inserts, except
//! for one UPDATE of the ledger's identity, which the schema allows only while there are no entries.
//!
//! The hashes that the server computes for each entry must equal those that the entry carries.

use sqlx::error::DatabaseError;

use super::copy_out::{Identity, RejectedRow, RunRow};
use super::entry::Entry;
use super::entry::EntryId;
use super::handle::Ledger;
use super::lock::Run;
use super::row_bytes;
use super::row_hash::RowFields;
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use crate::hash::Hash;
use crate::postgres::{Connection, Context as _, query_error};

/// A copy in progress. If it is dropped before the commit, nothing is copied.
#[derive(Debug)]
pub struct CopyIn {
    connection: Connection,
}

/// Rows of one entry, as a stream for COPY.
#[derive(Debug)]
pub struct Rows {
    stream: Vec<u8>,
    rows: u64,
}

impl Rows {
    pub fn new() -> Self {
        Self {
            stream: row_bytes::begin_stream(),
            rows: 0,
        }
    }

    pub fn add(&mut self, entry_id: EntryId, fields: &RowFields<'_>) {
        row_bytes::append_tuple(&mut self.stream, entry_id, fields);
        self.rows += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether there are enough rows to send.
    pub fn are_many(&self) -> bool {
        self.stream.len() >= row_bytes::CHUNK_BYTES
    }
}

impl Default for Rows {
    fn default() -> Self {
        Self::new()
    }
}

impl CopyIn {
    /// Starts making an empty ledger the copy of another.
    pub async fn begin(ledger: &Ledger, run: &Run, other: &Identity) -> Result<Self, Error> {
        let mut connection = ledger
            .database
            .connect(&format!("daybook import {}", run.run_id()))
            .await?;
        sqlx::raw_sql("BEGIN")
            .execute(&mut connection)
            .await
            .context("starting to copy")?;
        let what = format!("making this ledger the copy of ledger {}", other.ledger_id);
        let updated = sqlx::query(
            "UPDATE daybook.ledger SET ledger_id = $1, time_zone = $2, created_at = $3",
        )
        .bind(other.ledger_id)
        .bind(&other.time_zone)
        .bind(other.created_at)
        .execute(&mut connection)
        .await
        .map_err(|error| match error.as_database_error().and_then(DatabaseError::code) {
            Some(code) if code == "42501" => query_error(error, what.as_str())
                .hint("only the owner of the ledger may do that: import as the login that ran `daybook migrate`"),
            _ => query_error(error, what.as_str()),
        })?;
        let rows = updated.rows_affected();
        if rows != 1 {
            return Err(Error::new(ErrorKind::Internal, format!(
                "{what}: {rows} rows of daybook.ledger were updated instead of one; nothing was imported"
            ))
            .hint("somebody has changed the ledger's schema: `daybook verify --ledger` reports what is wrong"));
        }
        failpoint::reach("copy.begun");
        Ok(Self { connection })
    }

    /// The hash that the first entry must carry as its previous hash.
    pub async fn genesis_hash(&mut self) -> Result<Hash, Error> {
        sqlx::query_scalar("SELECT daybook.genesis_hash()")
            .fetch_one(&mut self.connection)
            .await
            .context("computing the hash that the first entry carries")
    }

    pub async fn add_run(&mut self, run: &RunRow) -> Result<(), Error> {
        let what = format!("copying run {}", run.run_id);
        sqlx::query(
            "INSERT INTO daybook.run_start (run_id, command, version, started_by, started_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(run.run_id)
        .bind(&run.command)
        .bind(&run.version)
        .bind(&run.started_by)
        .bind(run.started_at)
        .execute(&mut self.connection)
        .await
        .context(what.as_str())?;
        let Some(end) = &run.end else { return Ok(()) };
        sqlx::query(
            "INSERT INTO daybook.run_end (run_id, finished_at, exit_code, outcome, figures) VALUES ($1, $2, $3, $4, $5::text::jsonb)",
        )
        .bind(run.run_id)
        .bind(end.finished_at)
        .bind(end.exit_code)
        .bind(&end.outcome)
        .bind(&end.figures)
        .execute(&mut self.connection)
        .await
        .map(drop)
        .context(what)
    }

    /// Adds the header of an entry. Fails if the server computes another hash for it than it carries.
    pub async fn add_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let entry_id = entry.entry_id;
        let hash: Hash = sqlx::query_scalar(
            "INSERT INTO daybook.entry (entry_id, day, kind, reverses, run_id, rule_version, tool_version, source_events,
                 source_counted, source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete,
                 totals, content_hash, rejected_hash, previous_hash, reason, posted_by, posted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
             RETURNING entry_hash",
        )
        .bind(entry_id)
        .bind(entry.day)
        .bind(entry.kind.name())
        .bind(entry.reverses)
        .bind(entry.run_id)
        .bind(entry.rule_version)
        .bind(&entry.tool_version)
        .bind(entry.source_events)
        .bind(entry.source_counted)
        .bind(entry.source_ignored)
        .bind(entry.source_rejected)
        .bind(&entry.source_fingerprint)
        .bind(entry.delta_rows)
        .bind(entry.terms_complete)
        .bind(&entry.totals)
        .bind(entry.content_hash)
        .bind(entry.rejected_hash)
        .bind(entry.previous_hash)
        .bind(&entry.reason)
        .bind(&entry.posted_by)
        .bind(entry.posted_at)
        .fetch_one(&mut self.connection)
        .await
        .context(format!("copying entry {entry_id}"))?;
        differs(
            entry_id,
            "header gives the entry_hash",
            hash,
            entry.entry_hash,
        )
    }

    /// Adds rows of an entry. Its header must have been added.
    pub async fn add_rows(&mut self, entry_id: EntryId, rows: Rows) -> Result<(), Error> {
        let what = format!("copying the rows of entry {entry_id}");
        let Rows { mut stream, rows } = rows;
        row_bytes::end_stream(&mut stream);
        let mut copy = self
            .connection
            .copy_in_raw(row_bytes::COPY_STATEMENT)
            .await
            .context(what.as_str())?;
        if let Err(error) = copy.send(&stream).await {
            return Err(query_error(error, what));
        }
        let arrived = copy.finish().await.context(what.as_str())?;
        if arrived != rows {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{what}: {arrived} of {rows} rows arrived"),
            ));
        }
        Ok(())
    }

    /// Adds rejected events of an entry. Its header must have been added.
    pub async fn add_rejected(
        &mut self,
        entry_id: EntryId,
        events: &[RejectedRow],
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO daybook.rejected_event (entry_id, source_id, reason, message, event)
             SELECT $1, source_id, reason, message, event::json
             FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS r (source_id, reason, message, event)",
        )
        .bind(entry_id)
        .bind(events.iter().map(|event| event.source_id).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.message.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event.as_str()).collect::<Vec<_>>())
        .execute(&mut self.connection)
        .await
        .map(drop)
        .context(format!("copying the rejected events of entry {entry_id}"))
    }

    /// Checks the hashes and the totals of an entry, after its header, rows and rejected events were added.
    pub async fn end_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let Entry {
            entry_id,
            content_hash,
            rejected_hash,
            ..
        } = *entry;
        let (content, rejected, totals_differ): (Hash, Hash, bool) = sqlx::query_as(
            "SELECT daybook.content_hash_of($1), daybook.rejected_hash_of($1), daybook.totals_of($1) <> $2",
        )
        .bind(entry_id)
        .bind(&entry.totals)
        .fetch_one(&mut self.connection)
        .await
        .context(format!(
            "recomputing the hash of the rows of entry {entry_id}"
        ))?;
        failpoint::reach("copy.entry_written");
        differs(
            entry_id,
            "rows give the content_hash",
            content,
            content_hash,
        )?;
        differs(
            entry_id,
            "rejected events give the rejected_hash",
            rejected,
            rejected_hash,
        )?;
        if totals_differ {
            return Err(not_as_carried(format!(
                "entry {entry_id}: its rows do not give its totals"
            )));
        }
        Ok(())
    }

    /// Commits the copy, provided that the run still holds its lock.
    pub async fn commit(mut self, run: &mut Run) -> Result<(), Error> {
        run.check_lock().await?;
        failpoint::reach("copy.before_commit");
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await
            .context("committing the copy")?;
        failpoint::reach("copy.committed");
        // Everything is committed, so an error while closing does not matter.
        self.connection.close().await;
        Ok(())
    }
}

/// Fails if a recomputed hash is not the one that the entry carries.
fn differs(entry_id: EntryId, what: &str, recomputed: Hash, said: Hash) -> Result<(), Error> {
    if recomputed == said {
        return Ok(());
    }
    Err(not_as_carried(format!(
        "entry {entry_id}: its {what} {recomputed}, but it carries {said}"
    )))
}

fn not_as_carried(what: String) -> Error {
    Error::new(ErrorKind::InputUnusable, what + "; nothing was imported")
        .hint("get a complete copy of the file; if it is complete, verify the ledger that it was exported from")
}
