//! The only writer of the ledger. It inserts; it has no UPDATE and no DELETE.
//!
//! One posting is one transaction: rows with their balances, header, rejected events, all or nothing. It runs on a
//! connection of its own, because a COPY that fails costs the connection, and closes it whatever happens.

use std::sync::Arc;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::lock::{Run, TOOL_VERSION};
use super::row_bytes::{self, Balance};
use super::{EntryId, EntryKind, Ledger};
use crate::aggregate::{DayDeltas, Figures, Overflow};
use crate::clock;
use crate::database::{Attempt as _, failure};
use crate::day::Day;
use crate::event::{RULE_VERSION, Reason};
use crate::failpoint;
use crate::failure::Failure;

/// Chunks of rows that may wait to be sent.
const CHUNKS_IN_FLIGHT: usize = 4;

/// What is to be posted.
#[derive(Debug)]
pub struct Posting {
    /// The newest entry when it was decided what to post: the posting must be the next.
    pub after: EntryId,
    /// The day it is about.
    pub day: Day,
    /// Why it is posted.
    pub kind: EntryKind,
    /// For a reversal, what it reverses.
    pub reverses: Option<EntryId>,
    /// What became of the source's rows.
    pub figures: Figures,
    /// The fingerprint of the source's rows.
    pub fingerprint: String,
    /// The rows.
    pub deltas: DayDeltas,
    /// The events that could not be counted and are not in the ledger yet.
    pub rejected: Vec<RejectedEvent>,
    /// Why, in words.
    pub reason: Option<String>,
}

/// An event that could not be counted, with its row.
#[derive(Debug)]
pub struct RejectedEvent {
    /// Its id in the source.
    pub source_id: i64,
    /// The kind of defect.
    pub reason: Reason,
    /// The defect in words.
    pub message: String,
    /// The row as JSON.
    pub row: String,
}

/// What was posted.
#[derive(Clone, Copy, Debug)]
pub struct Posted {
    /// The new entry.
    pub entry_id: EntryId,
    /// Its rows.
    pub delta_rows: u64,
}

/// Posts an entry.
pub async fn post(ledger: &Ledger, run: &mut Run, posting: Posting) -> Result<Posted, Failure> {
    let day = posting.day;
    if let Some(cell) = posting.deltas.control_sum_violation() {
        return Err(Failure::failed(format!("the control sums of {day} do not hold for {cell}: nothing was posted"))
            .hint("this is a defect of daybook: please report it with the day's events"));
    }
    tracing::info!(%day, kind = posting.kind.name(), delta_rows = posting.deltas.rows().len(), "posting");
    let mut connection = ledger.database.connect(&format!("daybook posting {}", run.run_id())).await?;
    sqlx::raw_sql("BEGIN").execute(&mut connection).await.attempt(format!("starting to post {day}"))?;
    let posted = post_in_transaction(&mut connection, run, posting).await?;
    // The last look at the lock: after this, only the uniqueness of entry ids stands against a second writer.
    run.check_lock().await?;
    failpoint::reach("post.before_commit");
    sqlx::raw_sql("COMMIT").execute(&mut connection).await.attempt(format!("committing the posting of {day}"))?;
    failpoint::reach("post.committed");
    // What is committed is committed, whether or not the server hears the goodbye.
    let _ = connection.close().await;
    Ok(posted)
}

async fn post_in_transaction(connection: &mut PgConnection, run: &Run, posting: Posting) -> Result<Posted, Failure> {
    let what = format!("posting {}", posting.day);
    let head: Option<EntryId> = sqlx::query_scalar("SELECT max(entry_id) FROM daybook.entry")
        .fetch_one(&mut *connection)
        .await
        .attempt(what.as_str())?;
    let head = head.unwrap_or(EntryId::NONE);
    if head != posting.after {
        return Err(Failure::failed(format!(
            "{what}: entry {head} was posted meanwhile by another run: nothing was posted"
        ))
        .hint("run the command again: it will take that entry into account"));
    }
    let entry_id = head.next();
    failpoint::reach("post.begun");
    let balances = balances(connection, &posting.deltas).await.attempt(format!("{what}: looking up balances"))?;

    let deltas = Arc::new(posting.deltas);
    let (copied, content_hash) = copy_rows(connection, entry_id, posting.day, Arc::clone(&deltas), balances).await?;
    failpoint::reach("post.rows_written");
    let delta_rows = deltas.rows().len() as u64;
    if copied != delta_rows {
        return Err(Failure::failed(format!("{what}: {copied} of {delta_rows} rows arrived: nothing was posted")));
    }

    let header = sqlx::query(
        "INSERT INTO daybook.entry (entry_id, day, kind, reverses, run_id, rule_version, tool_version, source_events,
             source_counted, source_ignored, source_rejected, source_fingerprint, delta_rows, content_hash, reason,
             posted_by, posted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, current_user, $16)",
    )
    .bind(entry_id)
    .bind(posting.day)
    .bind(posting.kind.name())
    .bind(posting.reverses)
    .bind(run.run_id())
    .bind(RULE_VERSION)
    .bind(TOOL_VERSION)
    .bind(posting.figures.events())
    .bind(posting.figures.counted)
    .bind(posting.figures.ignored)
    .bind(posting.figures.rejected)
    .bind(&posting.fingerprint)
    .bind(i64::try_from(delta_rows).unwrap_or(i64::MAX))
    .bind(content_hash.as_slice())
    .bind(&posting.reason)
    .bind(clock::now())
    .execute(&mut *connection)
    .await
    .attempt(format!("{what}: writing the header of entry {entry_id}"))?;
    debug_assert_eq!(header.rows_affected(), 1);
    failpoint::reach("post.header_written");
    insert_rejected(connection, entry_id, &posting.rejected)
        .await
        .attempt(format!("{what}: keeping rejected events"))?;
    Ok(Posted { entry_id, delta_rows })
}

/// What each of the rows' cells stands at.
async fn balances(connection: &mut PgConnection, deltas: &DayDeltas) -> Result<Vec<Option<Balance>>, sqlx::Error> {
    let cells = || deltas.rows().iter().map(|row| row.cell);
    let rows = sqlx::query(
        "SELECT k.place, b.count_balance, b.total_balance, b.first_day, b.last_day
         FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS k (recordset_id, record_type, stat_type, place)
         CROSS JOIN LATERAL (
             SELECT d.count_balance, d.total_balance, d.first_day, d.last_day FROM daybook.interaction_delta d
             WHERE d.recordset_id = k.recordset_id AND d.record_type = k.record_type AND d.stat_type = k.stat_type
             ORDER BY d.entry_id DESC LIMIT 1) b",
    )
    .bind(cells().map(|cell| cell.recordset_id).collect::<Vec<Uuid>>())
    .bind(cells().map(|cell| cell.record_type.name()).collect::<Vec<_>>())
    .bind(cells().map(|cell| cell.stat_type.name()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut balances = vec![None; deltas.rows().len()];
    for row in rows {
        let place: i64 = row.try_get("place")?;
        let balance = Balance {
            count: row.try_get("count_balance")?,
            total: row.try_get("total_balance")?,
            first_day: row.try_get("first_day")?,
            last_day: row.try_get("last_day")?,
        };
        // Ordinality counts from 1.
        if let Some(slot) = usize::try_from(place - 1).ok().and_then(|place| balances.get_mut(place)) {
            *slot = Some(balance);
        }
    }
    Ok(balances)
}

/// Streams the rows in, encoding them beside; returns how many arrived and the content hash.
async fn copy_rows(
    connection: &mut PgConnection,
    entry_id: EntryId,
    day: Day,
    deltas: Arc<DayDeltas>,
    balances: Vec<Option<Balance>>,
) -> Result<(u64, [u8; 32]), Failure> {
    let what = format!("posting {day}: writing the rows of entry {entry_id}");
    let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(CHUNKS_IN_FLIGHT);
    let encoding = tokio::task::spawn_blocking(move || -> Result<[u8; 32], Overflow> {
        row_bytes::encode(entry_id, day, &deltas, &balances, |chunk| sender.blocking_send(chunk).is_ok())
    });
    let mut copy = connection.copy_in_raw(row_bytes::COPY_STATEMENT).await.attempt(what.as_str())?;
    while let Some(chunk) = chunks.recv().await {
        if let Err(error) = copy.send(chunk).await {
            return Err(failure(error, what));
        }
    }
    // The encoder has hung up: it is done, or it met an overflow.
    let hash = encoding.await.map_err(|error| Failure::failed(what.as_str()).caused_by(error))?.map_err(|error| {
        Failure::failed(format!("{what}: a balance overflows, nothing was posted")).caused_by(error)
    })?;
    let arrived = copy.finish().await.attempt(what)?;
    Ok((arrived, hash))
}

async fn insert_rejected(
    connection: &mut PgConnection,
    entry_id: EntryId,
    rejected: &[RejectedEvent],
) -> Result<(), sqlx::Error> {
    const BATCH: usize = 200;
    for batch in rejected.chunks(BATCH) {
        sqlx::query(
            "INSERT INTO daybook.rejected_event (entry_id, source_id, reason, message, event)
             SELECT $1, source_id, reason, message, event::json
             FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS r (source_id, reason, message, event)",
        )
        .bind(entry_id)
        .bind(batch.iter().map(|event| event.source_id).collect::<Vec<_>>())
        .bind(batch.iter().map(|event| event.reason.code()).collect::<Vec<_>>())
        .bind(batch.iter().map(|event| event.message.as_str()).collect::<Vec<_>>())
        .bind(batch.iter().map(|event| event.row.as_str()).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
