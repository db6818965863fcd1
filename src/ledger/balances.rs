//! Reads the totals of recordsets (balances of cells, sums of terms), and finds which documents the ledger produces.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::entry::EntryId;
use super::reader::Reader;
use super::row::{CellTotal, NamedTerm, StoredRow, TermTotal, cell_total};
use super::rows::for_each_row;
use crate::aggregate::Cell;
use crate::day::Day;
use crate::error::Error;
use crate::event::{RecordType, StatType};
use crate::postgres::Context as _;

impl Reader {
    /// Calls `take` with the totals of all cells of each recordset that entries after `after` and up to `through`
    /// touch, ordered by recordset. The newest row of a cell holds its balance, so the cost does not depend on the
    /// length of the history.
    pub async fn totals_touched(
        &mut self,
        after: EntryId,
        through: EntryId,
        mut take: impl AsyncFnMut(CellTotal) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = "reading the recordsets' totals";
        let mut rows = sqlx::query(
            "SELECT r.recordset_id, c.record_type, c.stat_type, b.count_balance, b.total_balance, b.first_day, b.last_day,
                    b.entry_id
             FROM (SELECT DISTINCT recordset_id FROM daybook.interaction_delta WHERE entry_id > $1 AND entry_id <= $2) r
             CROSS JOIN (SELECT record_type, stat_type FROM unnest($3::text[]) record_type, unnest($4::text[]) stat_type) c
             CROSS JOIN LATERAL (
                 SELECT d.count_balance, d.total_balance, d.first_day, d.last_day, d.entry_id
                 FROM daybook.interaction_delta d
                 WHERE d.recordset_id = r.recordset_id AND d.record_type = c.record_type AND d.stat_type = c.stat_type
                   AND d.entry_id <= $2
                 ORDER BY d.entry_id DESC LIMIT 1) b
             ORDER BY r.recordset_id",
        )
        .bind(after)
        .bind(through)
        .bind(RecordType::ALL.map(RecordType::name).as_slice())
        .bind(StatType::ALL.map(StatType::name).as_slice())
        .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context(what)? {
            take(cell_total(&row).context(what)?).await?;
        }
        Ok(())
    }

    /// Calls `take` with the rows of some stat types up to entry `through`, cell by cell. Only the maps of the `wanted`
    /// dimensions (items, queries, geocodes) are read; the others are empty.
    pub async fn rows_by_cell(
        &mut self,
        wanted: [bool; 3],
        stat_types: &[String],
        through: EntryId,
        take: impl AsyncFnMut(StoredRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let [items, queries, geocodes] = wanted;
        let query = sqlx::query(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total,
                    CASE WHEN $1 THEN items ELSE '{}' END AS items, CASE WHEN $2 THEN queries ELSE '{}' END AS queries,
                    CASE WHEN $3 THEN geocodes ELSE '{}' END AS geocodes
             FROM daybook.interaction_delta WHERE stat_type = ANY ($4) AND entry_id <= $5
             ORDER BY recordset_id, record_type, stat_type",
        )
        .bind(items)
        .bind(queries)
        .bind(geocodes)
        .bind(stat_types)
        .bind(through);
        for_each_row(
            &mut self.connection,
            query,
            "reading the rows of all cells".to_owned(),
            take,
        )
        .await
    }

    /// Calls `take` with the all-time count of each term of a cell and a dimension, in no particular order. The server
    /// computes the sums, on disk if necessary.
    pub async fn term_totals(
        &mut self,
        cell: Cell,
        dimension: &str,
        through: EntryId,
        mut take: impl AsyncFnMut(TermTotal) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = format!("reading the all-time counts of {dimension} of {cell}");
        let mut rows = sqlx::query_as(
            "SELECT term, sum(n)::bigint AS count, max(entry_id) AS entry_id
             FROM daybook.interaction_term_delta
             WHERE recordset_id = $1 AND record_type = $2 AND stat_type = $3 AND dimension = $4 AND entry_id <= $5
             GROUP BY term",
        )
        .bind(cell.recordset_id)
        .bind(cell.record_type.name())
        .bind(cell.stat_type.name())
        .bind(dimension)
        .bind(through)
        .fetch(&mut self.connection);
        while let Some(total) = rows.try_next().await.context(what.as_str())? {
            take(total).await?;
        }
        Ok(())
    }

    /// Which of these daily documents the ledger produces: those whose day and recordset have rows.
    pub async fn existing_days(
        &mut self,
        named: &[(&str, Day, Uuid)],
        through: EntryId,
    ) -> Result<HashSet<String>, Error> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT k.id FROM unnest($1::text[], $2::date[], $3::uuid[]) AS k (id, day, recordset_id)
             WHERE EXISTS (SELECT FROM daybook.interaction_delta d
                           WHERE d.day = k.day AND d.recordset_id = k.recordset_id AND d.entry_id <= $4)",
        )
        .bind(named.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
        .bind(named.iter().map(|(_, day, _)| *day).collect::<Vec<_>>())
        .bind(named.iter().map(|(.., recordset_id)| *recordset_id).collect::<Vec<_>>())
        .bind(through)
        .fetch_all(&mut self.connection)
        .await
        .context("looking for days of documents in the ledger")?;
        Ok(ids.into_iter().collect())
    }

    /// Which of these documents of recordsets the ledger produces.
    pub async fn existing_recordsets(
        &mut self,
        named: &[(&str, Uuid)],
        through: EntryId,
    ) -> Result<HashSet<String>, Error> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT k.id FROM unnest($1::text[], $2::uuid[]) AS k (id, recordset_id)
             WHERE EXISTS (SELECT FROM daybook.interaction_delta d
                           WHERE d.recordset_id = k.recordset_id AND d.entry_id <= $3)",
        )
        .bind(named.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(
            named
                .iter()
                .map(|(_, recordset_id)| *recordset_id)
                .collect::<Vec<_>>(),
        )
        .bind(through)
        .fetch_all(&mut self.connection)
        .await
        .context("looking for recordsets of documents in the ledger")?;
        Ok(ids.into_iter().collect())
    }

    /// The ids of those terms that the ledger contains.
    pub async fn existing_terms(
        &mut self,
        named: &[NamedTerm],
        through: EntryId,
    ) -> Result<HashSet<String>, Error> {
        let cells = || named.iter().map(|named| named.cell);
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT k.id FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
                 AS k (id, recordset_id, record_type, stat_type, dimension, term)
             WHERE EXISTS (
                 SELECT FROM daybook.interaction_delta d
                 WHERE d.recordset_id = k.recordset_id AND d.record_type = k.record_type AND d.stat_type = k.stat_type
                   AND d.entry_id <= $7
                   AND CASE k.dimension WHEN 'items' THEN d.items WHEN 'queries' THEN d.queries ELSE d.geocodes END ? k.term)",
        )
        .bind(named.iter().map(|named| named.id.as_str()).collect::<Vec<_>>())
        .bind(cells().map(|cell| cell.recordset_id).collect::<Vec<_>>())
        .bind(cells().map(|cell| cell.record_type.name()).collect::<Vec<_>>())
        .bind(cells().map(|cell| cell.stat_type.name()).collect::<Vec<_>>())
        .bind(named.iter().map(|named| named.dimension).collect::<Vec<_>>())
        .bind(named.iter().map(|named| named.term.as_str()).collect::<Vec<_>>())
        .bind(through)
        .fetch_all(&mut self.connection)
        .await
        .context("looking for terms of documents in the ledger")?;
        Ok(ids.into_iter().collect())
    }
}
