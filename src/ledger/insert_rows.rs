//! Inserting the rows of a small entry with one statement.
//!
//! The end of a COPY is a message of its own, and sqlx 0.9.0 leaves Nagle's algorithm on: it waits for the server to
//! acknowledge the rows, some 40 ms. A quiet day costs less than that.

use sha2::Sha256;
use uuid::Uuid;

use super::entry::EntryId;
use super::row_bytes::{self, Balance, Encoded};
use super::row_hash::RowFields;
use crate::aggregate::{DayDeltas, Overflow};
use crate::day::Day;
use crate::event::PerDimension;
use crate::postgres::Connection;

/// Beyond this the wait matters little.
const MOST_ROWS: usize = 256;
const MOST_TERMS: usize = 4096;

const IS_UTF8: &str = "the text of a map was written from text";

/// Whether an entry's rows are few enough to be inserted.
pub(super) fn are_few(deltas: &DayDeltas) -> bool {
    let terms = || {
        let maps = deltas.rows().iter().flat_map(|row| deltas.maps(row));
        maps.map(|(_, terms)| terms.len()).sum::<usize>()
    };
    deltas.rows().len() <= MOST_ROWS && terms() <= MOST_TERMS
}

/// Rows by column, as parameters of a statement.
#[derive(Default)]
pub(super) struct Columns {
    recordset_ids: Vec<Uuid>,
    record_types: Vec<String>,
    stat_types: Vec<String>,
    counts: Vec<i64>,
    totals: Vec<i64>,
    maps: PerDimension<Vec<String>>,
    count_balances: Vec<i64>,
    total_balances: Vec<i64>,
    first_days: Vec<Day>,
    last_days: Vec<Day>,
    parts: Vec<i16>,
}

impl Columns {
    /// The rows with their balances, and what was made of the deltas. The arguments are those of [`row_bytes::encode`].
    pub(super) fn of(
        day: Day,
        deltas: &DayDeltas,
        balances: &[Option<Balance>],
        content: Sha256,
    ) -> Result<(Self, Encoded), Overflow> {
        let mut columns = Self::default();
        let encoded = row_bytes::for_each(day, deltas, balances, content, |fields| {
            columns.push(fields);
            true
        })?;
        Ok((columns, encoded))
    }

    fn push(&mut self, fields: &RowFields<'_>) {
        self.recordset_ids.push(fields.recordset_id);
        self.record_types.push(fields.record_type.to_owned());
        self.stat_types.push(fields.stat_type.to_owned());
        self.counts.push(fields.count);
        self.totals.push(fields.total);
        for (dimension, text) in fields.maps {
            self.maps[dimension].push(String::from_utf8(text.to_vec()).expect(IS_UTF8));
        }
        self.count_balances.push(fields.count_balance);
        self.total_balances.push(fields.total_balance);
        self.first_days.push(fields.first_day);
        self.last_days.push(fields.last_day);
        self.parts.push(fields.part);
    }

    /// Inserts the rows. Returns how many arrived.
    pub(super) async fn insert(
        self,
        connection: &mut Connection,
        entry_id: EntryId,
        day: Day,
    ) -> Result<u64, sqlx::Error> {
        let inserted = sqlx::query(
            "INSERT INTO daybook.interaction_delta (recordset_id, record_type, stat_type, entry_id, day, count, total,
                 items, queries, geocodes, count_balance, total_balance, first_day, last_day, part)
             SELECT r.recordset_id, r.record_type, r.stat_type, $1, $2, r.count, r.total,
                 r.items::jsonb, r.queries::jsonb, r.geocodes::jsonb,
                 r.count_balance, r.total_balance, r.first_day, r.last_day, r.part
             FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
                 $10::text[], $11::bigint[], $12::bigint[], $13::date[], $14::date[], $15::smallint[])
                 AS r (recordset_id, record_type, stat_type, count, total, items, queries, geocodes,
                 count_balance, total_balance, first_day, last_day, part)",
        )
        .bind(entry_id)
        .bind(day)
        .bind(self.recordset_ids)
        .bind(self.record_types)
        .bind(self.stat_types)
        .bind(self.counts)
        .bind(self.totals)
        .bind(self.maps.items)
        .bind(self.maps.queries)
        .bind(self.maps.geocodes)
        .bind(self.count_balances)
        .bind(self.total_balances)
        .bind(self.first_days)
        .bind(self.last_days)
        .bind(self.parts)
        .execute(connection)
        .await?;
        Ok(inserted.rows_affected())
    }
}
