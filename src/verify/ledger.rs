//! Passes a ledger to its recomputation: the headers at once, the rows as a stream.
//!
//! The server sends the rows in binary, chunk by chunk, while another thread computes with them. Everything is read in
//! one transaction, so an entry that is posted meanwhile is included either completely or not at all.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::audit::{Audit, Header};
use super::finding::LedgerCheck;
use super::row::{RejectedEvent, Row, StoredDate};
use super::schema::{self, SchemaCheck};
use super::witness::Witnessed;
use crate::day::Period;
use crate::error::{Error, ErrorKind};
use crate::event::Dimension;
use crate::hash::Hash;
use crate::ledger::{EntryTotals, Ledger};
use crate::postgres::batches::{BatchReceiver, batches};
use crate::postgres::copy_out::OutOfStep;
use crate::postgres::{Connection, Context as _};

/// Number of rows that the server sorts at a time, in memory.
const CHUNK_ROWS: i64 = 4000;

const WHAT: &str = "reading the rows of the ledger to verify them";

/// Recomputes the hashes, the chain, the control sums and the balances, and compares the hashes with the witnesses.
/// `done` is told the number of rows read.
pub async fn ledger(
    ledger: &Ledger,
    period: Option<Period>,
    witnessed: &BTreeSet<Witnessed>,
    done: &mut dyn FnMut(u64),
) -> Result<LedgerCheck, Error> {
    let SchemaCheck {
        mut findings,
        not_compared,
    } = schema::check(ledger).await?;
    // Its own connection: a COPY that is not read to its end makes a connection unusable.
    let mut connection = ledger
        .database
        .connect("daybook verifying the ledger")
        .await?;
    sqlx::raw_sql(BEGIN)
        .execute(&mut connection)
        .await
        .context("starting to read the ledger")?;
    let headers = headers(&mut connection)
        .await
        .context("recomputing the hashes of the ledger's entries")?;
    let chunks = chunks(&headers);
    findings.extend(witnessed.iter().filter_map(|seen| seen.check(&headers)));
    let (mut sender, batches) = batches(done);
    let mut audit = Audit::new(headers, period);
    add_rejected(&mut connection, &mut audit, period)
        .await
        .context("reading the rejected events to verify them")?;
    let computing = tokio::task::spawn_blocking(move || compute(audit, batches));
    for chunk in chunks {
        let statement = statement(&chunk, period);
        let listening = sender
            .stream(&mut connection, &statement)
            .await
            .context(WHAT)?;
        if !listening {
            break;
        }
    }
    drop(sender);
    let check = computing
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, WHAT).caused_by(error))?;
    let mut check =
        check.map_err(|error| Error::new(ErrorKind::LedgerDamaged, WHAT).caused_by(error))?;
    findings.append(&mut check.findings);
    let check = LedgerCheck {
        findings,
        witnessed: witnessed.len() as u64,
        schema_not_compared: not_compared,
        ..check
    };
    // Nothing was written, so an error while closing does not matter.
    connection.close().await;
    Ok(check)
}

/// Adds the rejected events; with a period, only those of entries about its days.
async fn add_rejected(
    connection: &mut Connection,
    audit: &mut Audit,
    period: Option<Period>,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(
        "SELECT entry_id, source_id, reason, message, event::text AS event FROM daybook.rejected_event
         WHERE $1::date IS NULL OR entry_id IN (SELECT e.entry_id FROM daybook.entry e WHERE e.day BETWEEN $1 AND $2)
         ORDER BY entry_id, source_id",
    )
    .bind(period.map(Period::from))
    .bind(period.map(Period::to))
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let event = RejectedEvent {
            source_id: row.try_get("source_id")?,
            reason: row.try_get("reason")?,
            message: row.try_get("message")?,
            event: row.try_get("event")?,
        };
        audit.add_rejected(row.try_get("entry_id")?, &event);
    }
    Ok(())
}

/// Whatever the table's statistics say, the server must find a chunk by the index on `entry_id` instead of reading the
/// whole table each time, and must sort a chunk in memory.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '32MB'; SET LOCAL jit = off";

/// The headers in the order of entries. The server recomputes their hashes: they are few.
async fn headers(connection: &mut Connection) -> Result<Vec<Header>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT e.entry_id, date_send(e.day) AS day, e.delta_rows, e.terms_complete, e.totals::text AS totals, e.content_hash, e.rejected_hash,
                daybook.entry_hash_of(e) AS recomputed_hash, e.entry_hash IS DISTINCT FROM daybook.entry_hash_of(e) AS hash_differs,
                e.previous_hash IS DISTINCT FROM lag(e.entry_hash, 1, daybook.genesis_hash()) OVER w AS chain_differs,
                e.entry_id <> lag(e.entry_id, 1, 0::bigint) OVER w + 1 AS gap_before
         FROM daybook.entry e WINDOW w AS (ORDER BY e.entry_id) ORDER BY e.entry_id",
    )
    .fetch(connection);
    rows.and_then(async |row| {
        Ok(Header {
            entry_id: row.try_get("entry_id")?,
            day: StoredDate::decode(row.try_get("day")?)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            delta_rows: row.try_get("delta_rows")?,
            terms_complete: row.try_get("terms_complete")?,
            totals: stored_totals(&row)?,
            content_hash: stored_hash(&row, "content_hash")?,
            rejected_hash: stored_hash(&row, "rejected_hash")?,
            entry_hash: stored_hash(&row, "recomputed_hash")?,
            hash_differs: row.try_get("hash_differs")?,
            chain_differs: row.try_get("chain_differs")?,
            gap_before: row.try_get("gap_before")?,
        })
    })
    .try_collect()
    .await
}

/// A column's hash; none if something else is stored in it.
fn stored_hash(row: &PgRow, column: &str) -> Result<Option<Hash>, sqlx::Error> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
}

/// The totals; none if something else is stored in their column.
fn stored_totals(row: &PgRow) -> Result<Option<EntryTotals>, sqlx::Error> {
    let text: Option<&str> = row.try_get("totals")?;
    Ok(text.and_then(|text| serde_json::from_str(text).ok()))
}

/// Conditions that split the rows into chunks of whole entries, in order. Together they cover every row, whatever the
/// headers say.
fn chunks(headers: &[Header]) -> Vec<String> {
    let mut chunks = Vec::new();
    let (mut lower, mut rows) = (String::new(), 0);
    for Header {
        entry_id,
        delta_rows,
        ..
    } in headers
    {
        rows += (*delta_rows).clamp(0, CHUNK_ROWS);
        if rows >= CHUNK_ROWS {
            chunks.push(format!("{lower}entry_id <= {entry_id}"));
            (lower, rows) = (format!("entry_id > {entry_id} AND "), 0);
        }
    }
    chunks.push(format!("{lower}true"));
    // There are none, unless somebody dropped the constraint.
    chunks.push("entry_id IS NULL".to_owned());
    chunks
}

/// The statement that reads a chunk. With a period, it reads only the maps that belong to its days; other rows are
/// needed only for the balances.
fn statement(chunk: &str, period: Option<Period>) -> String {
    let maps = match period {
        None => "items, queries, geocodes".to_owned(),
        Some(period) => {
            let days = format!("day BETWEEN '{}' AND '{}'", period.from(), period.to());
            let looked_at = format!(
                "{days} OR entry_id IN (SELECT e.entry_id FROM daybook.entry e WHERE e.{days})"
            );
            Dimension::ALL
                .map(|dimension| format!("CASE WHEN {looked_at} THEN {} END", dimension.name()))
                .join(", ")
        }
    };
    format!(
        "COPY (SELECT recordset_id, record_type, stat_type, entry_id, day, count, total, {maps},
                      count_balance, total_balance, first_day, last_day, part
               FROM daybook.interaction_delta WHERE {chunk}
               ORDER BY entry_id, recordset_id, record_type, stat_type, part)
         TO STDOUT (FORMAT binary)"
    )
}

/// Adds the rows.
fn compute(mut audit: Audit, batches: BatchReceiver) -> Result<LedgerCheck, OutOfStep> {
    batches.for_each(|fields| {
        match Row::decode(fields)? {
            Some(row) => audit.add(&row),
            None => audit.add_incomplete(Row::decode_entry_id(fields)?),
        }
        Ok::<_, OutOfStep>(())
    })?;
    Ok(audit.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_of_whole_entries_and_leave_out_no_row_whatever_the_headers_say() {
        let headers = |rows: &[i64]| -> Vec<Header> {
            let header = |(entry_id, delta_rows): (i64, &i64)| Header {
                entry_id,
                day: StoredDate::decode(&[0; 4]).unwrap(),
                delta_rows: *delta_rows,
                terms_complete: true,
                totals: None,
                content_hash: None,
                rejected_hash: None,
                entry_hash: None,
                hash_differs: false,
                chain_differs: false,
                gap_before: false,
            };
            (1..).zip(rows).map(header).collect()
        };
        assert_eq!(chunks(&[]), ["true", "entry_id IS NULL"]);
        assert_eq!(chunks(&headers(&[10, 0, 20])), ["true", "entry_id IS NULL"]);
        assert_eq!(
            chunks(&headers(&[CHUNK_ROWS - 1, i64::MIN, 1, 10, i64::MAX, 3])),
            [
                "entry_id <= 3",
                "entry_id > 3 AND entry_id <= 5",
                "entry_id > 5 AND true",
                "entry_id IS NULL"
            ]
        );
    }
}
