//! Reads what `status`, `log` and `show` report: the history of days, the last runs, what an entry adds.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::entry::EntryId;
use super::reader::Reader;
use crate::columns::from_row;
use crate::day::Day;
use crate::error::Error;
use crate::postgres::Context as _;

/// Numbers of days that were not simply applied once.
#[derive(Serialize)]
pub struct Past {
    pub days_corrected: i64,
    pub days_imported: i64,
    pub days_taken_back: i64,
}

from_row!(Past {
    days_corrected,
    days_imported,
    days_taken_back
});

/// A recorded run.
#[derive(Serialize)]
pub struct RunStatus {
    pub run_id: Uuid,
    pub command: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub exit_code: Option<i32>,
    pub outcome: Option<String>,
    /// The kind of its error.
    pub error_kind: Option<String>,
}

from_row!(RunStatus {
    run_id,
    command,
    started_at,
    finished_at,
    exit_code,
    outcome,
    error_kind
});

/// A rejected event.
#[derive(Serialize)]
pub struct RejectedEvent {
    pub source_id: i64,
    pub reason: String,
    pub message: String,
}

from_row!(RejectedEvent {
    source_id,
    reason,
    message
});

impl Reader {
    /// The days between the first and the last that have no entry.
    pub async fn gaps(&mut self) -> Result<Vec<Day>, Error> {
        sqlx::query_scalar("SELECT day FROM daybook.gap ORDER BY day")
            .fetch_all(&mut self.connection)
            .await
            .context("looking for gaps")
    }

    pub async fn rejected_events(&mut self) -> Result<i64, Error> {
        sqlx::query_scalar("SELECT count(*) FROM daybook.rejected_event")
            .fetch_one(&mut self.connection)
            .await
            .context("counting rejected events")
    }

    pub async fn past(&mut self) -> Result<Past, Error> {
        sqlx::query_as(
        "SELECT count(*) FILTER (WHERE corrected) AS days_corrected, count(*) FILTER (WHERE imported) AS days_imported,
                count(*) FILTER (WHERE taken_back) AS days_taken_back
         FROM daybook.posted_day",
    )
    .fetch_one(&mut self.connection)
    .await
    .context("counting corrected and imported days")
    }

    /// The days that were counted from events.
    pub async fn days_counted(&mut self) -> Result<Vec<Day>, Error> {
        sqlx::query_scalar(
        "SELECT day FROM (SELECT DISTINCT ON (day) day, source_events FROM daybook.entry
                          WHERE kind IN ('apply', 'correction') ORDER BY day DESC, entry_id DESC) newest
         WHERE source_events > 0",
    )
    .fetch_all(&mut self.connection)
    .await
    .context("reading which days were counted from events")
    }

    /// The last run that applied days, and the last of all runs if that is another one.
    pub async fn last_runs(&mut self) -> Result<Vec<RunStatus>, Error> {
        sqlx::query_as(
        "SELECT run_id, command, started_at, finished_at, exit_code, outcome, figures->>'error_kind' AS error_kind FROM (
             (SELECT * FROM daybook.run WHERE command IN ('apply', 'collect-stats') ORDER BY started_at DESC LIMIT 1)
             UNION (SELECT * FROM daybook.run ORDER BY started_at DESC LIMIT 1)) last ORDER BY started_at",
    )
    .fetch_all(&mut self.connection)
    .await
    .context("reading the last runs")
    }

    /// The first rejected events of an entry.
    pub async fn rejected_events_of(
        &mut self,
        entry_id: EntryId,
        limit: i64,
    ) -> Result<Vec<RejectedEvent>, Error> {
        sqlx::query_as(
        "SELECT source_id, reason, message FROM daybook.rejected_event WHERE entry_id = $1 ORDER BY source_id LIMIT $2",
    )
    .bind(entry_id)
    .bind(limit)
    .fetch_all(&mut self.connection)
    .await
    .context(format!("reading the rejected events of entry {entry_id}"))
    }
}
