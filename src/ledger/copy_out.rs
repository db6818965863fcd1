//! Reads the ledger for an exact copy: every column as stored, all from one snapshot.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::entry::EntryId;
use super::entry::{Entry, select_entries};
use super::handle::Ledger;
use super::row::jsonb_text;
use super::row_hash::RowFields;
use crate::columns::from_row;
use crate::day::{Day, Period};
use crate::error::Error;
use crate::event::PerDimension;
use crate::hash::Hash;
use crate::postgres::{Connection, Context as _};

/// The ledger as it was at one moment.
#[derive(Debug)]
pub struct Snapshot {
    connection: Connection,
    period: Option<Period>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub ledger_id: Uuid,
    pub time_zone: String,
    pub created_at: DateTime<Utc>,
}

from_row!(Identity {
    ledger_id,
    time_zone,
    created_at
});

/// What is to be copied.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    pub entries: i64,
    pub first_entry: Option<EntryId>,
    pub last_entry: Option<EntryId>,
    /// The previous hash that the first entry carries.
    pub previous_hash: Option<Hash>,
    /// The hash of the last entry.
    pub last_hash: Option<Hash>,
}

from_row!(Extent {
    entries,
    first_entry,
    last_entry,
    previous_hash,
    last_hash
});

/// A run of the program that posted, and how it ended.
#[derive(Clone, Debug)]
pub struct RunRow {
    pub run_id: Uuid,
    pub command: String,
    pub version: String,
    pub started_by: String,
    pub started_at: DateTime<Utc>,
    pub end: Option<RunEnd>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    pub finished_at: DateTime<Utc>,
    pub exit_code: i32,
    pub outcome: String,
    /// As the text of jsonb.
    pub figures: String,
}

/// A delta row with its maps as the text of jsonb.
#[derive(Clone, Debug)]
pub struct CopiedRow {
    recordset_id: Uuid,
    record_type: String,
    stat_type: String,
    day: Day,
    sums: [i64; 2],
    maps: PerDimension<String>,
    balances: [i64; 2],
    days: [Day; 2],
    part: i16,
}

/// A rejected event.
#[derive(Clone, Debug)]
pub struct RejectedRow {
    pub source_id: i64,
    pub reason: String,
    pub message: String,
    /// The source's row, unchanged.
    pub event: String,
}

from_row!(RejectedRow {
    source_id,
    reason,
    message,
    event
});

/// The condition for the entries to copy.
const OF_PERIOD: &str = "($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)";

impl Snapshot {
    /// Takes a snapshot of the entries of a period, or of all entries.
    pub async fn take(ledger: &Ledger, period: Option<Period>, name: &str) -> Result<Self, Error> {
        let mut connection = ledger.database.connect(name).await?;
        sqlx::raw_sql("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .execute(&mut connection)
            .await
            .context("preparing to copy the ledger")?;
        Ok(Self { connection, period })
    }

    pub async fn identity(&mut self) -> Result<Identity, Error> {
        sqlx::query_as("SELECT ledger_id, time_zone, created_at FROM daybook.ledger")
            .fetch_one(&mut self.connection)
            .await
            .context("reading which ledger this is")
    }

    /// What is to be copied.
    pub async fn extent(&mut self) -> Result<Extent, Error> {
        let sql = format!(
            "SELECT a.entries, a.first_entry, a.last_entry, f.previous_hash, l.entry_hash AS last_hash
             FROM (SELECT count(*) AS entries, min(entry_id) AS first_entry, max(entry_id) AS last_entry
                   FROM daybook.entry WHERE {OF_PERIOD}) a
             LEFT JOIN daybook.entry f ON f.entry_id = a.first_entry
             LEFT JOIN daybook.entry l ON l.entry_id = a.last_entry"
        );
        sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(self.period.map(Period::from))
            .bind(self.period.map(Period::to))
            .fetch_one(&mut self.connection)
            .await
            .context("reading which entries there are")
    }

    /// Calls `take` with the runs that posted the entries, in the order in which they started.
    pub async fn runs(
        &mut self,
        mut take: impl AsyncFnMut(RunRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = "reading the runs";
        let sql = format!(
            "SELECT s.run_id, s.command, s.version, s.started_by, s.started_at, e.finished_at, e.exit_code, e.outcome, e.figures
             FROM daybook.run_start s LEFT JOIN daybook.run_end e USING (run_id)
             WHERE s.run_id IN (SELECT run_id FROM daybook.entry WHERE {OF_PERIOD}) ORDER BY s.started_at, s.run_id"
        );
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(self.period.map(Period::from))
            .bind(self.period.map(Period::to))
            .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context(what)? {
            take(run_row(&row).context(what)?).await?;
        }
        Ok(())
    }

    /// The next entry after `entry_id`, if there is one.
    pub async fn entry_after(&mut self, entry_id: EntryId) -> Result<Option<Entry>, Error> {
        let sql = format!(" WHERE {OF_PERIOD} AND entry_id > $3 ORDER BY entry_id LIMIT 1");
        sqlx::query_as(select_entries(&sql))
            .bind(self.period.map(Period::from))
            .bind(self.period.map(Period::to))
            .bind(entry_id)
            .fetch_optional(&mut self.connection)
            .await
            .context(format!("reading the entry after {entry_id}"))
    }

    /// Calls `take` with the rows of an entry, in the order of its content hash.
    pub async fn rows(
        &mut self,
        entry_id: EntryId,
        mut take: impl AsyncFnMut(CopiedRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = format!("reading the rows of entry {entry_id}");
        let mut rows = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, day, count, total, items, queries, geocodes, count_balance,
                    total_balance, first_day, last_day, part
             FROM daybook.interaction_delta WHERE entry_id = $1 ORDER BY recordset_id, record_type, stat_type, part",
        )
        .bind(entry_id)
        .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context(what.as_str())? {
            take(copied_row(&row).context(what.as_str())?).await?;
        }
        Ok(())
    }

    /// Calls `take` with the rejected events of an entry, in the order of their ids.
    pub async fn rejected(
        &mut self,
        entry_id: EntryId,
        mut take: impl AsyncFnMut(RejectedRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = format!("reading the rejected events of entry {entry_id}");
        let mut rows = sqlx::query_as(
            "SELECT source_id, reason, message, event::text AS event FROM daybook.rejected_event WHERE entry_id = $1 ORDER BY source_id",
        )
        .bind(entry_id)
        .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context(what.as_str())? {
            take(row).await?;
        }
        Ok(())
    }
}

impl CopiedRow {
    pub fn fields(&self) -> RowFields<'_> {
        let [count, total] = self.sums;
        let [count_balance, total_balance] = self.balances;
        let [first_day, last_day] = self.days;
        RowFields {
            recordset_id: self.recordset_id,
            record_type: &self.record_type,
            stat_type: &self.stat_type,
            day: self.day,
            count,
            total,
            maps: self.maps.as_ref().map(String::as_bytes),
            count_balance,
            total_balance,
            first_day,
            last_day,
            part: self.part,
        }
    }

    /// As the text of jsonb.
    pub fn maps(&self) -> &PerDimension<String> {
        &self.maps
    }
}

fn copied_row(row: &PgRow) -> Result<CopiedRow, sqlx::Error> {
    Ok(CopiedRow {
        recordset_id: row.try_get("recordset_id")?,
        record_type: row.try_get("record_type")?,
        stat_type: row.try_get("stat_type")?,
        day: row.try_get("day")?,
        sums: [row.try_get("count")?, row.try_get("total")?],
        maps: PerDimension::try_from_fn(|dimension| owned_text(row, dimension.name()))?,
        balances: [row.try_get("count_balance")?, row.try_get("total_balance")?],
        days: [row.try_get("first_day")?, row.try_get("last_day")?],
        part: row.try_get("part")?,
    })
}

fn run_row(row: &PgRow) -> Result<RunRow, sqlx::Error> {
    let finished_at: Option<DateTime<Utc>> = row.try_get("finished_at")?;
    let end = match finished_at {
        None => None,
        Some(finished_at) => Some(RunEnd {
            finished_at,
            exit_code: row.try_get("exit_code")?,
            outcome: row.try_get("outcome")?,
            figures: owned_text(row, "figures")?,
        }),
    };
    Ok(RunRow {
        run_id: row.try_get("run_id")?,
        command: row.try_get("command")?,
        version: row.try_get("version")?,
        started_by: row.try_get("started_by")?,
        started_at: row.try_get("started_at")?,
        end,
    })
}

fn owned_text(row: &PgRow, column: &str) -> Result<String, sqlx::Error> {
    jsonb_text(row, column).map(str::to_owned)
}
