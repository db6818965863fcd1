//! Reads what monitoring reports of past runs.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::reader::Reader;
use crate::columns::from_row;
use crate::error::Error;
use crate::postgres::Context as _;

/// How the runs that apply days have gone.
#[derive(Clone, Debug)]
pub struct PastRuns {
    /// When the last one that succeeded ended.
    pub last_success: Option<DateTime<Utc>>,
    /// Those since then that failed or were killed. An interruption is neither.
    pub failed: i64,
}

from_row!(PastRuns {
    last_success,
    failed
});

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct EndedRun {
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub exit_code: i32,
    /// What it did, as its command has recorded it.
    pub figures: Value,
}

from_row!(EndedRun {
    started_at,
    finished_at,
    exit_code,
    figures
});

/// How far a projection is.
#[derive(Clone, Debug)]
pub struct ProjectedThrough {
    pub projection: String,
    /// The last entry that a run has brought into it.
    pub entry: i64,
}

from_row!(ProjectedThrough { projection, entry });

impl Reader {
    pub async fn past_runs(&mut self) -> Result<PastRuns, Error> {
        // A run without an end was killed, unless it is the newest: that one may still be running.
        sqlx::query_as(
            "WITH applying AS (SELECT * FROM daybook.run WHERE command IN ('apply', 'collect-stats')),
                  success AS (SELECT max(started_at) AS started_at, max(finished_at) AS finished_at FROM applying WHERE exit_code = 0)
             SELECT (SELECT finished_at FROM success) AS last_success,
                    (SELECT count(*) FROM applying
                     WHERE started_at > coalesce((SELECT started_at FROM success), '-infinity')
                       AND (exit_code NOT IN (0, 130)
                            OR exit_code IS NULL AND started_at < (SELECT max(started_at) FROM applying))) AS failed",
        )
        .fetch_one(&mut self.connection)
        .await
        .context("reading how past runs have gone")
    }

    /// The last run that applied days and has ended.
    pub async fn last_applying_run(&mut self) -> Result<Option<EndedRun>, Error> {
        sqlx::query_as(
            "SELECT started_at, finished_at, exit_code, figures FROM daybook.run
             WHERE command IN ('apply', 'collect-stats') AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await
        .context("reading the last run")
    }

    /// How far each projection is, as far as runs have recorded it.
    pub async fn projected_through(&mut self) -> Result<Vec<ProjectedThrough>, Error> {
        sqlx::query_as(
            "SELECT DISTINCT ON (1) done ->> 'projection' AS projection, (done ->> 'through')::bigint AS entry
             FROM daybook.run
             CROSS JOIN LATERAL (SELECT jsonb_path_query(figures, '$.projected[*]')
                                 UNION ALL SELECT jsonb_path_query(figures, '$.rebuilt[*]')) figure (done)
             WHERE done ->> 'projection' IS NOT NULL AND done ->> 'through' IS NOT NULL
             ORDER BY 1, finished_at DESC, 2 DESC",
        )
        .fetch_all(&mut self.connection)
        .await
        .context("reading how far the projections are")
    }
}
