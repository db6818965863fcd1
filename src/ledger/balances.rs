//! Reads the totals of recordsets (balances of cells, sums of terms), and finds which documents the ledger produces.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::entry::EntryId;
use super::reader::Reader;
use super::row::{CellTotal, NamedTerm, cell_total};
use super::rows::Rows;
use crate::day::Day;
use crate::error::Error;
use crate::event::{PerDimension, RecordType, StatType};
use crate::postgres::Context as _;

/// The recordsets that entries after `$1` and up to `$2` touch.
const RECORDSETS_TOUCHED: &str = "WITH recordset AS (
     SELECT DISTINCT recordset_id FROM daybook.interaction_delta WHERE entry_id > $1 AND entry_id <= $2)";

/// Those that any entry touches: one look-up in the index for each, whatever the number of rows. Those that only entries
/// after `$2` touch have no balance as of `$2`.
const EVERY_RECORDSET: &str = "WITH RECURSIVE recordset AS (
     (SELECT recordset_id FROM daybook.interaction_delta WHERE $1 = 0 ORDER BY recordset_id LIMIT 1)
     UNION ALL
     SELECT (SELECT d.recordset_id FROM daybook.interaction_delta d WHERE d.recordset_id > r.recordset_id
             ORDER BY d.recordset_id LIMIT 1)
     FROM recordset r WHERE r.recordset_id IS NOT NULL)";

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
        let touched = if after == EntryId::NONE {
            EVERY_RECORDSET
        } else {
            RECORDSETS_TOUCHED
        };
        let statement = format!(
            "{touched}
             SELECT r.recordset_id, c.record_type, c.stat_type, b.count_balance, b.total_balance, b.first_day, b.last_day,
                    b.entry_id
             FROM recordset r
             CROSS JOIN (SELECT record_type, stat_type FROM unnest($3::text[]) record_type, unnest($4::text[]) stat_type) c
             CROSS JOIN LATERAL (
                 SELECT d.count_balance, d.total_balance, d.first_day, d.last_day, d.entry_id
                 FROM daybook.interaction_delta d
                 WHERE d.recordset_id = r.recordset_id AND d.record_type = c.record_type AND d.stat_type = c.stat_type
                   AND d.entry_id <= $2
                 ORDER BY d.entry_id DESC LIMIT 1) b
             ORDER BY r.recordset_id"
        );
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(statement))
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

    /// The rows of the entries after `after` and up to `through`, in no particular order. Only the maps of the given stat
    /// types are read; the others may be empty.
    pub fn rows_with_terms(
        &mut self,
        stat_types: &PerDimension<Vec<StatType>>,
        after: EntryId,
        through: EntryId,
    ) -> Rows<'_> {
        let is_one_entry = after.next() == through;
        if is_one_entry
            && let Some(posted_rows) = &self.posted_rows
            && posted_rows.is_entry(through)
        {
            return Rows::posted(posted_rows);
        }
        let entries = if is_one_entry {
            "entry_id = $4"
        } else {
            "entry_id > $5 AND entry_id <= $4"
        };
        let statement = format!(
            "SELECT recordset_id, record_type, stat_type, entry_id, count, total,
                    CASE WHEN stat_type = ANY ($1) THEN items ELSE '{{}}' END AS items,
                    CASE WHEN stat_type = ANY ($2) THEN queries ELSE '{{}}' END AS queries,
                    CASE WHEN stat_type = ANY ($3) THEN geocodes ELSE '{{}}' END AS geocodes
             FROM daybook.interaction_delta WHERE stat_type = ANY ($1 || $2 || $3) AND {entries}"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(names(&stat_types.items))
            .bind(names(&stat_types.queries))
            .bind(names(&stat_types.geocodes))
            .bind(through);
        if !is_one_entry {
            query = query.bind(after);
        }
        Rows::sent(
            query.fetch(&mut self.connection),
            "reading the rows of all recordsets".to_owned(),
        )
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

    /// The ids of those terms that the ledger contains. The country of a geocode is what documents have as its country.
    pub async fn existing_terms(
        &mut self,
        named: &[NamedTerm],
        through: EntryId,
    ) -> Result<HashSet<String>, Error> {
        let stat_types = named.iter().map(|named| names(&named.stat_types).join(","));
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT k.id FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[])
                 AS k (id, recordset_id, dimension, term, stat_types)
             WHERE EXISTS (
                 SELECT FROM daybook.interaction_delta d
                 WHERE d.recordset_id = k.recordset_id AND d.stat_type = ANY (string_to_array(k.stat_types, ',')) AND d.entry_id <= $6
                   AND CASE k.dimension
                       WHEN 'items' THEN d.items ? k.term WHEN 'queries' THEN d.queries ? k.term WHEN 'geocodes' THEN d.geocodes ? k.term
                       ELSE EXISTS (
                           SELECT FROM jsonb_object_keys(d.geocodes) AS g (geocode)
                           WHERE k.term = CASE WHEN g.geocode LIKE '{%' AND jsonb_typeof(g.geocode::jsonb -> 'country') = 'string'
                                               THEN g.geocode::jsonb ->> 'country' ELSE '' END) END)",
        )
        .bind(named.iter().map(|named| named.id.as_str()).collect::<Vec<_>>())
        .bind(named.iter().map(|named| named.recordset_id).collect::<Vec<_>>())
        .bind(named.iter().map(|named| named.dimension).collect::<Vec<_>>())
        .bind(named.iter().map(|named| named.term.as_str()).collect::<Vec<_>>())
        .bind(stat_types.collect::<Vec<_>>())
        .bind(through)
        .fetch_all(&mut self.connection)
        .await
        .context("looking for terms of documents in the ledger")?;
        Ok(ids.into_iter().collect())
    }
}

fn names(stat_types: &[StatType]) -> Vec<&'static str> {
    stat_types
        .iter()
        .map(|stat_type| stat_type.name())
        .collect()
}
