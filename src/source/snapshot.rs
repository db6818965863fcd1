//! One day of the source: its fingerprint, its rows and its rejected events, all of the same state.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::mpsc;

use super::batch::Batch;
use super::connection::Source;
use super::{kept, row};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::postgres::Context as _;
use crate::postgres::copy_out::Decoder;

/// Identifies a day's rows at little cost: their number, their highest id, and order-independent sums over the ids and
/// over hashes of the short fields (type, record type, geocode, query hash). Of the payload, it covers only the stored
/// size: reading payloads would cost as much as reading the day. Days with the same fingerprint are taken to be equal,
/// so editing a payload without changing its size goes unnoticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub rows: i64,
    /// The whole fingerprint as stored: `rows:highest id:sum of ids:sum of squared ids:sum of hashes`.
    pub text: String,
}

/// How the last part of a fingerprint starts if the events were not counted from the source's tables, but elsewhere.
pub const OUTSIDE_POSTGRES: &str = "fold-";

impl Fingerprint {
    /// Whether it can be of the same events as a stored fingerprint, as far as they can be compared: if one of them was
    /// taken outside Postgres, only the numbers and sums of ids can.
    pub fn may_equal(&self, stored: &str) -> bool {
        let is_outside = |text: &str| text.contains(OUTSIDE_POSTGRES);
        if is_outside(&self.text) == is_outside(stored) {
            return self.text == stored;
        }
        let comparable = |text: &str| text.rsplit_once(':').map(|(sums, _)| sums.to_owned());
        comparable(&self.text) == comparable(stored)
    }
}

/// One day of the source, in one transaction.
#[derive(Debug)]
pub struct DaySnapshot<'s> {
    pub(super) source: &'s mut Source,
    pub(super) day: Day,
}

/// A rejected event's row as JSON.
#[derive(Debug)]
pub struct KeptRow {
    pub source_id: i64,
    /// The row with all its columns and the query's hash, as JSON that a column of type json accepts.
    pub json: String,
}

impl Source {
    /// Starts a transaction for reading a day. It ends when the next one starts, or with the connection.
    pub async fn day(&mut self, day: Day) -> Result<DaySnapshot<'_>, Error> {
        self.begin(&format!("starting to read {day} from the source"))
            .await?;
        Ok(DaySnapshot { source: self, day })
    }
}

impl DaySnapshot<'_> {
    pub fn day(&self) -> Day {
        self.day
    }

    pub async fn fingerprint(&mut self) -> Result<Fingerprint, Error> {
        // The squares are of the ids modulo a prime below 2^31, so that each fits in a bigint; the sums are numeric.
        // Each hash includes the id, so that values exchanged between rows are noticed. pg_column_size reads only the
        // header of a payload. Rows are counted before the join, so that a duplicate query is an error.
        let sql = format!(
            "WITH event AS (
                 SELECT s.id::bigint AS id, s.query_id,
                        hashtext(concat_ws('|', s.id, pg_column_size(s.payload), quote_nullable(s.type::text),
                                           quote_nullable(s.record_type::text), s.ip_geocode::text))::bigint AS hash
                 FROM {stats} s WHERE {})
             SELECT count(*) AS rows, concat_ws(':', count(*), coalesce(max(id), 0), coalesce(sum(id), 0),
                    coalesce(sum((id % 2147483647) * (id % 2147483647)), 0),
                    coalesce(sum(hash), 0)
                        + (SELECT coalesce(sum(hashtext(concat_ws('|', e.id, q.query_hash::text))::bigint), 0)
                           FROM event e JOIN {queries} q ON q.id = e.query_id)) AS text
             FROM event",
            self.source.condition(self.day),
            stats = self.source.tables.stats,
            queries = self.source.tables.queries
        );
        let what = format!("reading the source's fingerprint of {}", self.day);
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.source.connection)
            .await
            .context(what.as_str())?;
        Ok(Fingerprint {
            rows: row.try_get("rows").context(what.as_str())?,
            text: row.try_get("text").context(what.as_str())?,
        })
    }

    /// Sends the day's rows, in no particular order and still encoded, to be read by [`super::Rows`]. Ends early if the
    /// receiver is gone; the connection is then unusable.
    pub async fn send_rows(&mut self, batches: mpsc::Sender<Batch>) -> Result<(), Error> {
        const BATCH_BYTES: usize = 256 << 10;
        const BATCH_ROWS: usize = 1000;
        const LARGE_BYTES: usize = 4 * BATCH_BYTES;
        let what = format!("reading the source's events of {}", self.day);
        let columns = [
            "s.type",
            "s.record_type",
            "s.payload",
            "s.ip_geocode",
            "q.query_hash",
        ];
        let sql = format!(
            "COPY (SELECT s.id::bigint, {}
                   FROM {stats} s LEFT JOIN {queries} q ON q.id = s.query_id WHERE {})
             TO STDOUT (FORMAT binary)",
            columns
                .map(|column| self
                    .source
                    .converter
                    .unconverted(&format!("{column}::text")))
                .join(", "),
            self.source.condition(self.day),
            stats = self.source.tables.stats,
            queries = self.source.tables.queries
        );
        let Source {
            connection,
            converter,
            ..
        } = &mut *self.source;
        let mut messages = connection.copy_out_raw(&sql).await.context(what.as_str())?;
        let (mut decoder, mut batch, mut bytes) = (Decoder::default(), Vec::new(), 0);
        while let Some(message) = messages.try_next().await.context(what.as_str())? {
            bytes += message.len();
            batch.push(message);
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_ROWS {
                let batch = Batch::new(std::mem::take(&mut batch), converter, &mut decoder).await?;
                // A row may be larger than all batches that may wait. Then it waits alone.
                let places = if bytes >= LARGE_BYTES {
                    batches.max_capacity()
                } else {
                    1
                };
                let Ok(mut permits) = batches.reserve_many(places).await else {
                    return Ok(());
                };
                if let Some(permit) = permits.next() {
                    permit.send(batch);
                }
                bytes = 0;
            }
        }
        // If the receiver is gone, it has an error of its own to report.
        let _ = batches
            .send(Batch::new(batch, converter, &mut decoder).await?)
            .await;
        Ok(())
    }

    /// Calls `take` with the rows of these ids, in no particular order, as JSON to store.
    pub async fn keep(
        &mut self,
        ids: &[i64],
        mut take: impl AsyncFnMut(KeptRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = format!("reading the rejected events of {}", self.day);
        let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        // row_to_json copies json unchanged, including what jsonb would refuse. COPY takes no parameters, and sends
        // bytes that are not UTF-8.
        let sql = format!(
            "COPY (SELECT s.id::bigint, {}
                   FROM {stats} s LEFT JOIN {queries} q ON q.id = s.query_id
                   CROSS JOIN LATERAL (SELECT s.*, q.query_hash) r WHERE s.id = ANY ('{{{ids}}}') AND {})
             TO STDOUT (FORMAT binary)",
            self.source.converter.unconverted("row_to_json(r)::text"),
            self.source.condition(self.day),
            stats = self.source.tables.stats,
            queries = self.source.tables.queries
        );
        let Source {
            connection,
            converter,
            ..
        } = &mut *self.source;
        let mut decoder = Decoder::default();
        let mut messages = connection.copy_out_raw(&sql).await.context(what.as_str())?;
        while let Some(message) = messages.try_next().await.context(what.as_str())? {
            let fields = decoder.row(&message);
            let row = fields.and_then(|fields| fields.map(row::kept_row).transpose());
            if let Some((source_id, json)) = row.map_err(|error| {
                Error::new(ErrorKind::PostgresRefused, what.as_str()).caused_by(error)
            })? {
                converter.learn(std::iter::once(json)).await?;
                let json = kept::row(converter.characters().pieces(json));
                take(KeptRow { source_id, json }).await?;
            }
        }
        Ok(())
    }
}
