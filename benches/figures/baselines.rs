//! The least that the work can cost: the same bytes over the same path, without processing. Times in seconds.

use bytes::Bytes;
use chrono::NaiveDate;
use daybook::clock::Stopwatch;
use futures_util::TryStreamExt as _;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::Error;
use crate::documents::Documents;
use crate::elastic::Elastic;
use crate::postgres::connect;
use crate::setting::Setting;

/// The columns of a delta row as the program writes them (src/ledger/row_bytes.rs).
const COLUMNS: &str = "recordset_id, record_type, stat_type, entry_id, day, count, total, items, queries, geocodes, \
                       count_balance, total_balance, first_day, last_day";

/// The size of the chunks in which the program sends rows.
const CHUNK_BYTES: usize = 1 << 20;

const COPY_TABLE: &str = "bench_copy_in.interaction_delta";

/// `copy-out`: reads the day's source rows as the program does (src/source/mod.rs), and discards them.
pub async fn copy_out(source_url: &str, day: NaiveDate) -> Result<f64, Error> {
    let mut connection = connect(source_url).await?;
    let bound = |day: NaiveDate| day.format("%Y-%m-%dT00:00:00+00");
    let next_day = day.succ_opt().ok_or("the day has no next")?;
    let sql = format!(
        "COPY (SELECT s.id::bigint, s.type::text, s.record_type::text, s.payload::text, s.ip_geocode::text,
                      q.query_hash::text
               FROM stats s LEFT JOIN queries q ON q.id = s.query_id
               WHERE s.date >= '{}'::timestamptz AND s.date < '{}'::timestamptz)
         TO STDOUT (FORMAT binary)",
        bound(day),
        bound(next_day)
    );
    let start = Stopwatch::start();
    throw_away(&mut connection, &sql).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Reads every delta row of a ledger once, with all columns, and discards them.
pub async fn read_ledger(ledger_url: &str) -> Result<f64, Error> {
    let mut connection = connect(ledger_url).await?;
    let start = Stopwatch::start();
    throw_away(
        &mut connection,
        "COPY daybook.interaction_delta TO STDOUT (FORMAT binary)",
    )
    .await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Reads what the pages of recordsets need of every delta row once (src/ledger/survey.rs), and discards it.
pub async fn read_for_pages(ledger_url: &str) -> Result<f64, Error> {
    let mut connection = connect(ledger_url).await?;
    sqlx::raw_sql("SET jit = off")
        .execute(&mut connection)
        .await?;
    let start = Stopwatch::start();
    throw_away(
        &mut connection,
        "COPY (SELECT recordset_id, day, record_type, stat_type, count, total,
                      CASE WHEN record_type = 'records' AND stat_type = 'view' THEN items END, geocodes
               FROM daybook.interaction_delta) TO STDOUT (FORMAT binary)",
    )
    .await?;
    Ok(start.elapsed().as_secs_f64())
}

async fn throw_away(connection: &mut PgConnection, copy: &str) -> Result<(), Error> {
    let mut messages = connection.copy_out_raw(copy).await?;
    while let Some(message) = messages.try_next().await? {
        drop(message);
    }
    Ok(())
}

/// The rows of a ledger in the binary form of COPY, in chunks in memory.
pub async fn rows(ledger_url: &str) -> Result<Vec<Bytes>, Error> {
    let mut connection = connect(ledger_url).await?;
    let sql =
        format!("COPY (SELECT {COLUMNS} FROM daybook.interaction_delta) TO STDOUT (FORMAT binary)");
    let mut messages = connection.copy_out_raw(&sql).await?;
    let (mut chunks, mut chunk) = (Vec::new(), Vec::new());
    while let Some(message) = messages.try_next().await? {
        chunk.extend_from_slice(&message);
        if chunk.len() >= CHUNK_BYTES {
            chunks.push(std::mem::take(&mut chunk).into());
        }
    }
    chunks.push(chunk.into());
    Ok(chunks)
}

/// `copy-in`: copies finished rows into an empty table with the same keys and compression, and commits.
pub async fn copy_in(ledger_url: &str, rows: &[Bytes]) -> Result<f64, Error> {
    let mut connection = connect(ledger_url).await?;
    let table = format!(
        "CREATE SCHEMA IF NOT EXISTS bench_copy_in;
         DROP TABLE IF EXISTS {COPY_TABLE};
         CREATE TABLE {COPY_TABLE} (LIKE daybook.interaction_delta INCLUDING ALL)"
    );
    sqlx::raw_sql(AssertSqlSafe(table))
        .execute(&mut connection)
        .await?;
    let start = Stopwatch::start();
    let mut transaction = connection.begin().await?;
    let mut copy = transaction
        .copy_in_raw(&format!(
            "COPY {COPY_TABLE} ({COLUMNS}) FROM STDIN (FORMAT binary)"
        ))
        .await?;
    for chunk in rows {
        copy.send(&chunk[..]).await?;
    }
    copy.finish().await?;
    transaction.commit().await?;
    Ok(start.elapsed().as_secs_f64())
}

/// `bulk`: writes finished documents, serialised beforehand, to a new index like the one that they come from.
pub struct Bulk {
    pub documents: Documents,
    /// The index to copy mapping and settings from.
    pub model: String,
    /// Whether nobody reads the index in the meantime: no refreshes, no replicas, as in a rebuild.
    pub unread: bool,
}

impl Bulk {
    /// Sends the documents with this number of concurrent requests.
    pub async fn send(&self, elastic: &Elastic, at_once: usize) -> Result<f64, Error> {
        let settings = if self.unread {
            json!({ "refresh_interval": "-1", "number_of_replicas": 0 })
        } else {
            json!({})
        };
        let index = "bench-baseline";
        elastic.create_like(index, &self.model, settings).await?;
        let seconds = self.documents.send(elastic, index, at_once).await?;
        elastic.delete(index).await?;
        Ok(seconds)
    }

    /// The fastest number of concurrent requests here, from 1 to 4.
    pub async fn best_at_once(&self, setting: &Setting) -> Result<usize, Error> {
        let mut best = (1, f64::INFINITY);
        for at_once in 1..=if setting.smoke { 1 } else { 4 } {
            let seconds = self.send(&setting.elastic, at_once).await?;
            if seconds < best.1 {
                best = (at_once, seconds);
            }
        }
        Ok(best.0)
    }
}
