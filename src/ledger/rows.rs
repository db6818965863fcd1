//! Reads the delta rows of a day, an entry or a recordset.

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::entry::EntryId;
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

    /// Calls `take` with the rows of a day up to entry `through`, ordered by recordset. Only the rows of recordsets
    /// that an entry after `after` touches on that day are read.
    pub async fn rows_of_day(
        &mut self,
        day: Day,
        after: EntryId,
        through: EntryId,
        take: impl AsyncFnMut(StoredRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(posted_rows) = self
            .posted_rows
            .as_ref()
            .filter(|posted| posted.is_all_of(day, after, through))
        {
            return posted_rows.rows(take).await;
        }
        let query = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total, items, queries, geocodes
             FROM daybook.interaction_delta d
             WHERE day = $1 AND entry_id <= $3 AND ($2 = 0 OR EXISTS (
                 SELECT FROM daybook.interaction_delta n
                 WHERE n.day = d.day AND n.recordset_id = d.recordset_id AND n.entry_id > $2 AND n.entry_id <= $3))
             ORDER BY day, recordset_id",
        )
        .bind(day)
        .bind(after)
        .bind(through);
        for_each_row(
            &mut self.connection,
            query,
            format!("reading the rows of {day}"),
            take,
        )
        .await
    }

    /// Calls `take` with the rows of an entry, in no particular order.
    pub async fn rows_of_entry(
        &mut self,
        entry_id: EntryId,
        take: impl AsyncFnMut(StoredRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(posted_rows) = self
            .posted_rows
            .as_ref()
            .filter(|posted| posted.is_entry(entry_id))
        {
            return posted_rows.rows(take).await;
        }
        let query = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total, items, queries, geocodes
             FROM daybook.interaction_delta WHERE entry_id = $1",
        )
        .bind(entry_id);
        for_each_row(
            &mut self.connection,
            query,
            format!("reading the rows of entry {entry_id}"),
            take,
        )
        .await
    }

    /// Calls `take` with the rows of a recordset, in no particular order.
    pub async fn rows_of_recordset(
        &mut self,
        recordset_id: Uuid,
        period: Option<Period>,
        take: impl AsyncFnMut(StoredRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let query = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total, items, queries, geocodes
             FROM daybook.interaction_delta
             WHERE recordset_id = $1 AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day <= $3)",
        )
        .bind(recordset_id)
        .bind(period.map(Period::from))
        .bind(period.map(Period::to));
        for_each_row(
            &mut self.connection,
            query,
            format!("reading the rows of recordset {recordset_id}"),
            take,
        )
        .await
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

pub(super) async fn for_each_row(
    connection: &mut Connection,
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    what: String,
    mut take: impl AsyncFnMut(StoredRow) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await.context(what.as_str())? {
        take(stored_row(row).context(what.as_str())?).await?;
    }
    Ok(())
}
