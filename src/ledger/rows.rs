//! Reads the delta rows of a day, an entry or a recordset.

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::entry::EntryId;
use super::posted_rows::PostedRows;
use super::reader::Reader;
use super::row::{StoredRow, stored_row};
use crate::columns::from_row;
use crate::day::{Day, Period};
use crate::error::Error;
use crate::postgres::{Connection, Context as _};

/// What an entry adds to a cell, without its terms.
#[derive(Clone, Debug)]
pub struct DeltaCell {
    pub entry_id: EntryId,
    pub day: Day,
    pub recordset_id: Uuid,
    pub record_type: String,
    pub stat_type: String,
    pub count: i64,
    pub total: i64,
    pub count_balance: i64,
    pub total_balance: i64,
}

from_row!(DeltaCell {
    entry_id,
    day,
    recordset_id,
    record_type,
    stat_type,
    count,
    total,
    count_balance,
    total_balance
});

/// The first part of a cell carries its sums.
const DELTA_CELLS: &str = "SELECT entry_id, day, recordset_id, record_type, stat_type, count, total, count_balance, \
     total_balance FROM daybook.interaction_delta WHERE part = 0 AND";

impl Reader {
    /// Calls `take` with what an entry adds to each cell, in the order of its content hash.
    pub async fn delta_cells_of_entry(
        &mut self,
        entry_id: EntryId,
        take: impl AsyncFnMut(DeltaCell) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let statement =
            format!("{DELTA_CELLS} entry_id = $1 ORDER BY recordset_id, record_type, stat_type");
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(entry_id);
        let what = format!("reading the rows of entry {entry_id}");
        for_each_cell(&mut self.connection, query, what, take).await
    }

    /// Calls `take` with what the entries of a day add to each cell, cell by cell in the order of the entries.
    pub async fn delta_cells_of_day(
        &mut self,
        day: Day,
        take: impl AsyncFnMut(DeltaCell) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let statement = format!(
            "{DELTA_CELLS} day = $1 ORDER BY recordset_id, record_type, stat_type, entry_id"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(day);
        let what = format!("reading the rows of {day}");
        for_each_cell(&mut self.connection, query, what, take).await
    }

    /// The rows of a day up to entry `through`, ordered by recordset. Only the rows of recordsets that an entry after
    /// `after` touches on that day are read.
    pub fn rows_of_day(&mut self, day: Day, after: EntryId, through: EntryId) -> Rows<'_> {
        if let Some(posted_rows) = self
            .posted_rows
            .as_ref()
            .filter(|posted| posted.is_all_of(day, after, through))
        {
            return Rows::posted(posted_rows);
        }
        let rows = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total, items, queries, geocodes
             FROM daybook.interaction_delta d
             WHERE day = $1 AND entry_id <= $3 AND ($2 = 0 OR EXISTS (
                 SELECT FROM daybook.interaction_delta n
                 WHERE n.day = d.day AND n.recordset_id = d.recordset_id AND n.entry_id > $2 AND n.entry_id <= $3))
             ORDER BY day, recordset_id",
        )
        .bind(day)
        .bind(after)
        .bind(through)
        .fetch(&mut self.connection);
        Rows::sent(rows, format!("reading the rows of {day}"))
    }

    /// The rows of an entry, in no particular order.
    pub fn rows_of_entry(&mut self, entry_id: EntryId) -> Rows<'_> {
        if let Some(posted_rows) = self
            .posted_rows
            .as_ref()
            .filter(|posted| posted.is_entry(entry_id))
        {
            return Rows::posted(posted_rows);
        }
        let rows = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total, items, queries, geocodes
             FROM daybook.interaction_delta WHERE entry_id = $1",
        )
        .bind(entry_id)
        .fetch(&mut self.connection);
        Rows::sent(rows, format!("reading the rows of entry {entry_id}"))
    }

    /// The rows of a recordset, in no particular order.
    pub fn rows_of_recordset(&mut self, recordset_id: Uuid, period: Option<Period>) -> Rows<'_> {
        let rows = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total, items, queries, geocodes
             FROM daybook.interaction_delta
             WHERE recordset_id = $1 AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day <= $3)",
        )
        .bind(recordset_id)
        .bind(period.map(Period::from))
        .bind(period.map(Period::to))
        .fetch(&mut self.connection);
        Rows::sent(
            rows,
            format!("reading the rows of recordset {recordset_id}"),
        )
    }

    /// Whether the ledger's first rows are those of this entry.
    pub async fn has_the_first_rows(&mut self, entry_id: EntryId) -> Result<bool, Error> {
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT FROM daybook.entry WHERE entry_id < $1 AND delta_rows > 0)",
        )
        .bind(entry_id)
        .fetch_one(&mut self.connection)
        .await
        .context("looking for older entries with rows")
    }

    /// The entries after `after` and up to `through` that have rows.
    pub async fn entries_with_rows(
        &mut self,
        after: EntryId,
        through: EntryId,
    ) -> Result<Vec<EntryId>, Error> {
        sqlx::query_scalar(
            "SELECT entry_id FROM daybook.entry WHERE entry_id > $1 AND entry_id <= $2 AND delta_rows > 0 ORDER BY entry_id",
        )
        .bind(after)
        .bind(through)
        .fetch_all(&mut self.connection)
        .await
        .context("reading which new entries have rows")
    }
}

async fn for_each_cell(
    connection: &mut Connection,
    query: sqlx::query::QueryAs<'_, sqlx::Postgres, DeltaCell, sqlx::postgres::PgArguments>,
    what: String,
    mut take: impl AsyncFnMut(DeltaCell) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rows = query.fetch(connection);
    while let Some(cell) = rows.try_next().await.context(what.as_str())? {
        take(cell).await?;
    }
    Ok(())
}

/// Delta rows, one after the other.
pub struct Rows<'a> {
    from: From<'a>,
}

/// Where rows come from.
enum From<'a> {
    Server {
        rows: BoxStream<'a, Result<PgRow, sqlx::Error>>,
        /// What is being done, for errors.
        what: String,
    },
    /// Rows that this run has posted, and the place of the next one.
    Posted(PostedRows, usize),
}

impl<'a> Rows<'a> {
    pub(super) fn sent(rows: BoxStream<'a, Result<PgRow, sqlx::Error>>, what: String) -> Self {
        Self {
            from: From::Server { rows, what },
        }
    }

    pub(super) fn posted(posted: &PostedRows) -> Self {
        posted.note_use();
        Self {
            from: From::Posted(posted.clone(), 0),
        }
    }

    /// The next row; none at the end.
    pub async fn next(&mut self) -> Result<Option<StoredRow>, Error> {
        match &mut self.from {
            From::Server { rows, what } => {
                let row = rows.try_next().await.context(what.as_str())?;
                row.map(stored_row).transpose().context(what.as_str())
            }
            From::Posted(posted, place) => {
                let row = posted.row(*place);
                *place += 1;
                Ok(row)
            }
        }
    }
}
