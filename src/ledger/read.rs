//! Reads the ledger: the journal, the rows of a day, the balances.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::{PgRow, PgValueFormat};
use uuid::Uuid;

use super::day_read::DayRead;
use super::map::{self, TermMap};
use super::server_clock::Clocks;
use super::{EntryId, Ledger, PostedRows, current_entry};
use crate::aggregate::{
    Aggregation, Cell, DayDeltas, DeltaRow, Overflow, PostedRow, Sums, TermCounts,
};
use crate::day::{Day, Period};
use crate::error::Error;
use crate::event::{RecordType, StatType};
use crate::postgres::{Connection, Context as _};

/// The header of an entry.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
#[expect(
    missing_docs,
    reason = "the columns of daybook.entry, commented in the schema"
)]
pub struct Entry {
    pub entry_id: EntryId,
    pub day: Day,
    pub kind: String,
    pub reverses: Option<EntryId>,
    /// The entry that reverses it; not a column, but looked up.
    pub reversed_by: Option<EntryId>,
    pub run_id: Uuid,
    pub rule_version: i32,
    pub tool_version: String,
    pub source_events: i64,
    pub source_counted: i64,
    pub source_ignored: i64,
    pub source_rejected: i64,
    pub source_fingerprint: String,
    pub delta_rows: i64,
    pub terms_complete: bool,
    pub content_hash: String,
    pub rejected_hash: String,
    pub previous_hash: String,
    pub entry_hash: String,
    pub reason: Option<String>,
    pub posted_by: String,
    pub posted_at: DateTime<Utc>,
}

const ENTRY_COLUMNS: &str = "SELECT entry_id, day, kind, reverses, \
     (SELECT r.entry_id FROM daybook.entry r WHERE r.reverses = e.entry_id) AS reversed_by, run_id, rule_version, tool_version, source_events, \
     source_counted, source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, \
     encode(content_hash, 'hex') AS content_hash, encode(rejected_hash, 'hex') AS rejected_hash, \
     encode(previous_hash, 'hex') AS previous_hash, \
     encode(entry_hash, 'hex') AS entry_hash, reason, posted_by, posted_at FROM daybook.entry e";

/// A delta row of the ledger.
#[derive(Debug)]
pub struct StoredRow {
    /// The cell.
    pub cell: Cell,
    /// The entry it belongs to.
    pub entry_id: EntryId,
    /// Interactions.
    pub count: i64,
    /// Records involved.
    pub total: i64,
    maps: Maps,
}

/// Where the maps of a row are.
#[derive(Debug)]
enum Maps {
    /// In what the server sent, read where they stand.
    Received(PgRow),
    /// In what this run has posted: those of the row at a place.
    Posted(Arc<DayDeltas>, usize),
}

/// The terms of a row and a dimension.
#[derive(Clone, Copy, Debug)]
pub enum StoredTerms<'a> {
    /// As jsonb's own text.
    Text(&'a str),
    /// As they were counted.
    Counted(TermCounts<'a>),
}

impl<'a> StoredTerms<'a> {
    /// Reads them, in the order of a map.
    fn read(self) -> Result<TermMap<'a>, serde_json::Error> {
        match self {
            Self::Text(text) => map::read(text),
            Self::Counted(counts) => {
                let mut terms = Vec::with_capacity(counts.len());
                counts.for_each(|term, n| terms.push((Cow::Owned(term.to_owned()), n)));
                Ok(TermMap(terms))
            }
        }
    }
}

impl StoredRow {
    /// The row at a place of those that were just posted.
    pub(super) fn posted_rows(entry_id: EntryId, deltas: &Arc<DayDeltas>, place: usize) -> Self {
        let DeltaRow {
            cell, count, total, ..
        } = deltas.rows()[place];
        Self {
            cell,
            entry_id,
            count,
            total,
            maps: Maps::Posted(Arc::clone(deltas), place),
        }
    }

    /// Takes the row off what is counted; `failed` says what a sum that overflows means.
    pub fn subtract_from(
        &self,
        aggregation: &mut Aggregation,
        failed: impl FnOnce(Overflow) -> Error,
    ) -> Result<(), Error> {
        let [items, queries, geocodes] = self.maps()?;
        let maps: [&[_]; 3] = [&items.0, &queries.0, &geocodes.0];
        let posted = PostedRow {
            cell: self.cell,
            count: self.count,
            total: self.total,
            maps,
        };
        aggregation.subtract(posted).map_err(failed)
    }

    /// The terms by dimension, in the order items, queries, geocodes.
    pub fn maps(&self) -> Result<[TermMap<'_>; 3], Error> {
        let [items, queries, geocodes] = self.terms()?;
        Ok([self.read(items)?, self.read(queries)?, self.read(geocodes)?])
    }

    /// Reads terms that [`terms`](Self::terms) gave; a failure names the row.
    pub fn read<'a>(&self, terms: StoredTerms<'a>) -> Result<TermMap<'a>, Error> {
        terms
            .read()
            .map_err(|error| self.unreadable().caused_by(error))
    }

    /// The same terms as they are, not read yet.
    pub fn terms(&self) -> Result<[StoredTerms<'_>; 3], Error> {
        match &self.maps {
            Maps::Received(row) => {
                let text = |column| {
                    jsonb_text(row, column).map_err(|error| self.unreadable().caused_by(error))
                };
                Ok([text("items")?, text("queries")?, text("geocodes")?].map(StoredTerms::Text))
            }
            Maps::Posted(deltas, place) => Ok(deltas
                .maps(&deltas.rows()[*place])
                .map(StoredTerms::Counted)),
        }
    }

    fn unreadable(&self) -> Error {
        Error::failed(format!(
            "a term map of entry {} ({}) cannot be read",
            self.entry_id, self.cell
        ))
    }
}

/// What a recordset's cell stands at after some entry.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of daybook.recordset_total, commented in the schema"
)]
pub struct CellTotal {
    pub cell: Cell,
    pub count: i64,
    pub total: i64,
    pub first_day: Day,
    pub last_day: Day,
    pub entry_id: EntryId,
}

/// A connection that reads the ledger.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    posted_rows: Option<PostedRows>,
}

impl Reader {
    /// Opens a connection for reading.
    pub async fn open(ledger: &Ledger, name: &str) -> Result<Self, Error> {
        Self::over(ledger.database.connect(name).await?).await
    }

    pub(super) async fn over(mut connection: Connection) -> Result<Self, Error> {
        // No query here is worth compiling, which takes the server up to a second for each of its workers.
        sqlx::raw_sql("SET default_transaction_read_only = on; SET jit = off")
            .execute(&mut connection)
            .await
            .context("preparing to read the ledger")?;
        Ok(Self {
            connection,
            posted_rows: None,
        })
    }

    /// From now on, asked for the rows of this entry, or for those of its day up to this entry, it gives them from memory.
    /// For readers that documents are made with.
    pub fn remember(&mut self, posted_rows: Option<PostedRows>) {
        self.posted_rows = posted_rows;
    }

    /// The connection itself, for the queries of one command alone.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What this machine's clock says, and that of the server.
    pub async fn clocks(&mut self) -> Result<Clocks, Error> {
        Clocks::read(&mut self.connection).await
    }

    /// The days that have entries and have not begun yet, where a person has not decided about them.
    pub async fn days_to_come(&mut self, today: Day) -> Result<Vec<Day>, Error> {
        let days: Vec<Day> = sqlx::query_scalar(
            "SELECT DISTINCT day FROM daybook.entry WHERE day > $1 ORDER BY day",
        )
        .bind(today)
        .fetch_all(&mut self.connection)
        .await
        .context("looking for days that have not begun yet")?;
        self.undecided(&days).await
    }

    /// The newest entry; [`EntryId::NONE`] in an empty ledger.
    pub async fn head(&mut self) -> Result<EntryId, Error> {
        let head: Option<EntryId> = sqlx::query_scalar("SELECT max(entry_id) FROM daybook.entry")
            .fetch_one(&mut self.connection)
            .await
            .context("reading the ledger's newest entry")?;
        Ok(head.unwrap_or(EntryId::NONE))
    }

    /// The hash of an entry, in hexadecimal; none if there is no such entry.
    pub async fn entry_hash(&mut self, entry_id: EntryId) -> Result<Option<String>, Error> {
        sqlx::query_scalar(
            "SELECT encode(entry_hash, 'hex') FROM daybook.entry WHERE entry_id = $1",
        )
        .bind(entry_id)
        .fetch_optional(&mut self.connection)
        .await
        .context(format!("reading the hash of entry {entry_id}"))
    }

    /// The days from the ledger's first to its last; none in an empty ledger.
    pub async fn period(&mut self) -> Result<Option<Period>, Error> {
        let (first, last): (Option<Day>, Option<Day>) =
            sqlx::query_as("SELECT min(day), max(day) FROM daybook.entry")
                .fetch_one(&mut self.connection)
                .await
                .context("reading the ledger's last day")?;
        Ok(first
            .zip(last)
            .and_then(|(first, last)| Period::new(first, last)))
    }

    /// The last day with an entry, up to one.
    pub async fn last_day(&mut self, through: Day) -> Result<Option<Day>, Error> {
        sqlx::query_scalar("SELECT max(day) FROM daybook.entry WHERE day <= $1")
            .bind(through)
            .fetch_one(&mut self.connection)
            .await
            .context("reading the ledger's last closed day")
    }

    /// When each day with entries, up to one, was posted and last read. Times that lie in the future are left out: a clock was
    /// wrong, and nobody knows when that was.
    pub async fn days_read(
        &mut self,
        through: Day,
        now: DateTime<Utc>,
    ) -> Result<Vec<DayRead>, Error> {
        const WHAT: &str = "reading when the days were last compared with their source";
        // Each run has read a few ranges of days.
        let reads: Vec<(DateTime<Utc>, Day, Day)> = sqlx::query_as(
            "SELECT r.started_at, (days->>0)::date, (days->>1)::date FROM daybook.run r
             CROSS JOIN LATERAL jsonb_array_elements(
                 CASE jsonb_typeof(r.figures->'days_read') WHEN 'array' THEN r.figures->'days_read' ELSE '[]' END) days
             WHERE r.figures ? 'days_read' AND r.started_at <= $1",
        )
        .bind(now)
        .fetch_all(&mut self.connection)
        .await
        .context(WHAT)?;
        let posted: Vec<(Day, Option<DateTime<Utc>>)> = sqlx::query_as(
            "SELECT day, max(posted_at) FILTER (WHERE posted_at <= $2) FROM daybook.entry WHERE day <= $1
             GROUP BY day ORDER BY day",
        )
        .bind(through)
        .bind(now)
        .fetch_all(&mut self.connection)
        .await
        .context(WHAT)?;
        let never = DateTime::UNIX_EPOCH;
        let mut days: Vec<DayRead> = posted
            .into_iter()
            .map(|(day, posted_at)| DayRead {
                day,
                posted_at: posted_at.unwrap_or(never),
                read_at: None,
            })
            .collect();
        for (started_at, first, last) in reads {
            let from = days.partition_point(|read| read.day < first);
            for read in days[from..].iter_mut().take_while(|read| read.day <= last) {
                read.read_at = read.read_at.max(Some(started_at));
            }
        }
        Ok(days)
    }

    /// Those of some days whose fate is not decided: not those that were imported, nor those that were taken back. What a
    /// person decided about a day stays until a person decides otherwise.
    pub async fn undecided(&mut self, days: &[Day]) -> Result<Vec<Day>, Error> {
        let entries: Vec<Entry> = sqlx::query_as(select_entries(
            " WHERE day = ANY ($1) ORDER BY day, entry_id",
        ))
        .bind(days)
        .fetch_all(&mut self.connection)
        .await
        .context("reading the entries of the last applied days")?;
        let days = entries
            .chunk_by(|a, b| a.day == b.day)
            .filter(|entries| !standing::is_decided(entries));
        Ok(days
            .filter_map(|entries| entries.first())
            .map(|entry| entry.day)
            .collect())
    }

    /// What all entries of a day add up to.
    pub async fn net_of_day(&mut self, day: Day) -> Result<Sums, Error> {
        let what = format!("adding up the entries of {day}");
        let (count, total): (String, String) = sqlx::query_as(
            "SELECT coalesce(sum(count), 0)::text, coalesce(sum(total), 0)::text FROM daybook.interaction_delta WHERE day = $1",
        )
        .bind(day)
        .fetch_one(&mut self.connection)
        .await
        .context(what.as_str())?;
        // A sum of bigints is a numeric, which the driver has no type for.
        let number = |text: String| {
            text.parse().map_err(|error| {
                Error::failed(format!("{what}: {text} is no sum")).caused_by(error)
            })
        };
        Ok(Sums {
            count: number(count)?,
            total: number(total)?,
        })
    }

    /// All days that have entries, earliest first.
    pub async fn days_with_entries(&mut self) -> Result<Vec<Day>, Error> {
        sqlx::query_scalar("SELECT DISTINCT day FROM daybook.entry ORDER BY day")
            .fetch_all(&mut self.connection)
            .await
            .context("reading the days of the ledger")
    }

    /// The days of a period that have no entry.
    pub async fn days_without_entry(&mut self, period: Period) -> Result<Vec<Day>, Error> {
        let posted: Vec<Day> =
            sqlx::query_scalar("SELECT day FROM daybook.entry WHERE day BETWEEN $1 AND $2")
                .bind(period.from())
                .bind(period.to())
                .fetch_all(&mut self.connection)
                .await
                .context("looking for days without an entry")?;
        let posted: HashSet<Day> = posted.into_iter().collect();
        Ok(period.days().filter(|day| !posted.contains(day)).collect())
    }

    /// The entries of a day, oldest first.
    pub async fn entries_of(&mut self, day: Day) -> Result<Vec<Entry>, Error> {
        sqlx::query_as(select_entries(" WHERE day = $1 ORDER BY entry_id"))
            .bind(day)
            .fetch_all(&mut self.connection)
            .await
            .context(format!("reading the entries of {day}"))
    }

    /// The source ids of the events that entries of a day keep as rejected.
    pub async fn rejected_of(&mut self, day: Day) -> Result<HashSet<i64>, Error> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT r.source_id FROM daybook.rejected_event r JOIN daybook.entry e USING (entry_id) WHERE e.day = $1",
        )
        .bind(day)
        .fetch_all(&mut self.connection)
        .await
        .context(format!("reading the rejected events of {day}"))?;
        Ok(ids.into_iter().collect())
    }

    /// How many rows the entries after one have, by their headers, and how many all have.
    pub async fn delta_rows_after(&mut self, after: EntryId) -> Result<DeltaRows, Error> {
        let (after, all) = sqlx::query_as(
            "SELECT coalesce(sum(delta_rows) FILTER (WHERE entry_id > $1), 0)::bigint, coalesce(sum(delta_rows), 0)::bigint
             FROM daybook.entry",
        )
        .bind(after)
        .fetch_one(&mut self.connection)
        .await
        .context("adding up the rows of the entries")?;
        Ok(DeltaRows { after, all })
    }

    /// One entry.
    pub async fn entry(&mut self, entry_id: EntryId) -> Result<Option<Entry>, Error> {
        sqlx::query_as(select_entries(" WHERE entry_id = $1"))
            .bind(entry_id)
            .fetch_optional(&mut self.connection)
            .await
            .context(format!("reading entry {entry_id}"))
    }

    /// The newest entries, newest first.
    pub async fn newest_entries(&mut self, limit: i64) -> Result<Vec<Entry>, Error> {
        sqlx::query_as(select_entries(" ORDER BY entry_id DESC LIMIT $1"))
            .bind(limit)
            .fetch_all(&mut self.connection)
            .await
            .context("reading the journal")
    }

    /// Hands the rows of a day to `take`, up to an entry, by recordset; only those of recordsets that an entry after
    /// `after` touches on that day.
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

    /// Hands the rows of an entry to `take`, in no particular order.
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

    /// Hands the rows of a recordset to `take`, in no particular order.
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

    /// The entries after one and up to another that have rows.
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

    /// The days of which entries after one and up to another have rows.
    pub async fn days_touched(
        &mut self,
        after: EntryId,
        through: EntryId,
    ) -> Result<Vec<DayTouched>, Error> {
        sqlx::query_as(
            "SELECT e.day, EXISTS (SELECT FROM daybook.entry o WHERE o.day = e.day AND o.entry_id <= $1) AS posted_before
             FROM daybook.entry e WHERE e.entry_id > $1 AND e.entry_id <= $2 AND e.delta_rows > 0 GROUP BY e.day ORDER BY e.day",
        )
        .bind(after)
        .bind(through)
        .fetch_all(&mut self.connection)
        .await
        .context("reading which days have new entries")
    }

    /// Hands the totals of all cells of each recordset that entries after one and up to another touch to `take`, by
    /// recordset. The newest row of a cell holds its balance, so this does not depend on the length of the history.
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

    /// Hands the rows up to an entry to `take`, cell by cell, with the maps of the wanted dimensions (items, queries,
    /// geocodes) and others empty; only those of some stat types.
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

    /// Hands the all-time count of each term of a cell and a dimension to `take`, in no particular order. The server does
    /// the summing, on its disk if it must.
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

    /// Which of these documents of days the ledger makes: those of days and recordsets that it has rows of.
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

    /// Which of these documents of recordsets the ledger makes.
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

    /// The ids of those terms that the ledger lists.
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

/// A term that a document claims to be about.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct NamedTerm {
    /// The document's id.
    pub id: String,
    pub cell: Cell,
    pub dimension: &'static str,
    pub term: String,
}

/// What a term of a cell stands at after some entry.
#[derive(Clone, Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TermTotal {
    pub term: String,
    pub count: i64,
    /// The last entry that lists the term.
    pub entry_id: EntryId,
}

/// Numbers of rows.
#[derive(Clone, Copy, Debug)]
pub struct DeltaRows {
    /// Of the entries after one.
    pub after: i64,
    /// Of all entries.
    pub all: i64,
}

/// A day that has new entries.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct DayTouched {
    /// The day.
    pub day: Day,
    /// Whether older entries are about it as well.
    pub posted_before: bool,
}

pub(super) fn select_entries(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{ENTRY_COLUMNS}{condition}"))
}

async fn for_each_row(
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

fn stored_row(row: PgRow) -> Result<StoredRow, sqlx::Error> {
    Ok(StoredRow {
        cell: cell(&row)?,
        entry_id: row.try_get("entry_id")?,
        count: row.try_get("count")?,
        total: row.try_get("total")?,
        maps: Maps::Received(row),
    })
}

fn cell_total(row: &PgRow) -> Result<CellTotal, sqlx::Error> {
    Ok(CellTotal {
        cell: cell(row)?,
        count: row.try_get("count_balance")?,
        total: row.try_get("total_balance")?,
        first_day: row.try_get("first_day")?,
        last_day: row.try_get("last_day")?,
        entry_id: row.try_get("entry_id")?,
    })
}

fn cell(row: &PgRow) -> Result<Cell, sqlx::Error> {
    let unknown =
        |what: &str, name: &str| sqlx::Error::Decode(format!("{what} '{name}' is unknown").into());
    let (record_type, stat_type): (&str, &str) =
        (row.try_get("record_type")?, row.try_get("stat_type")?);
    Ok(Cell {
        recordset_id: row.try_get("recordset_id")?,
        record_type: RecordType::of(record_type)
            .ok_or_else(|| unknown("record type", record_type))?,
        stat_type: StatType::of(stat_type).ok_or_else(|| unknown("stat type", stat_type))?,
    })
}

/// A jsonb column's text, without parsing or copying it.
pub(super) fn jsonb_text<'a>(row: &'a PgRow, column: &str) -> Result<&'a str, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    let format = value.format();
    let bytes =
        <&[u8] as sqlx::Decode<sqlx::Postgres>>::decode(value).map_err(sqlx::Error::Decode)?;
    // In binary, jsonb is its text behind a byte with the version of the form.
    let ((PgValueFormat::Binary, [1, text @ ..]) | (PgValueFormat::Text, text)) = (format, bytes)
    else {
        return Err(sqlx::Error::Decode(
            "jsonb of an unknown binary form".into(),
        ));
    };
    str::from_utf8(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
