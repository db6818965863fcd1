//! Reads the journal: entries and their days.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::current_entry;
use super::day_read::DayRead;
use super::entry::{Entry, EntryId, EntryKind, entries_query, select_entries};
use super::reader::Reader;
use super::row::{DayTouched, DeltaRows};
use crate::aggregate::Sums;
use crate::day::{Day, Period};
use crate::error::{Error, ErrorKind};
use crate::hash::Hash;
use crate::postgres::Context as _;

/// Which entries to list; an empty filter matches all.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    pub day: Option<Day>,
    pub kinds: Vec<EntryKind>,
    /// Entries with rows of this recordset.
    pub recordset: Option<Uuid>,
    pub run: Option<Uuid>,
    /// Entries before this one.
    pub before: Option<EntryId>,
}

impl EntryFilter {
    /// Whether it matches every entry.
    pub fn is_empty(&self) -> bool {
        self.day.is_none()
            && self.kinds.is_empty()
            && self.recordset.is_none()
            && self.run.is_none()
            && self.before.is_none()
    }
}

impl Reader {
    pub async fn entry(&mut self, entry_id: EntryId) -> Result<Option<Entry>, Error> {
        sqlx::query_as(select_entries(" WHERE entry_id = $1"))
            .bind(entry_id)
            .fetch_optional(&mut self.connection)
            .await
            .context(format!("reading entry {entry_id}"))
    }

    /// The newest entries that match, newest first.
    pub async fn newest_entries(
        &mut self,
        which: &EntryFilter,
        limit: i64,
    ) -> Result<Vec<Entry>, Error> {
        let EntryFilter {
            day,
            kinds,
            recordset,
            run,
            before,
        } = which;
        // Only the conditions that are given, so that each can use its index.
        let mut query = entries_query();
        query.push(" WHERE true");
        if let Some(day) = day {
            query.push(" AND day = ").push_bind(*day);
        }
        if !kinds.is_empty() {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            query.push(" AND kind = ANY (").push_bind(names).push(")");
        }
        if let Some(recordset) = recordset {
            query
                .push(" AND entry_id IN (SELECT d.entry_id FROM daybook.interaction_delta d WHERE d.recordset_id = ")
                .push_bind(*recordset)
                .push(")");
        }
        if let Some(run) = run {
            query.push(" AND run_id = ").push_bind(*run);
        }
        if let Some(before) = before {
            query.push(" AND entry_id < ").push_bind(*before);
        }
        query
            .push(" ORDER BY entry_id DESC LIMIT ")
            .push_bind(limit);
        query
            .build_query_as()
            .fetch_all(&mut self.connection)
            .await
            .context("reading the journal")
    }

    /// The hash of an entry, none if there is no such entry.
    pub async fn entry_hash(&mut self, entry_id: EntryId) -> Result<Option<Hash>, Error> {
        sqlx::query_scalar("SELECT entry_hash FROM daybook.entry WHERE entry_id = $1")
            .bind(entry_id)
            .fetch_optional(&mut self.connection)
            .await
            .context(format!("reading the hash of entry {entry_id}"))
    }

    /// The entries of a day, oldest first.
    pub async fn entries_of(&mut self, day: Day) -> Result<Vec<Entry>, Error> {
        sqlx::query_as(select_entries(" WHERE day = $1 ORDER BY entry_id"))
            .bind(day)
            .fetch_all(&mut self.connection)
            .await
            .context(format!("reading the entries of {day}"))
    }

    /// The source ids of the rejected events of a day.
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

    /// The sums over all entries of a day.
    pub async fn net_of_day(&mut self, day: Day) -> Result<Sums, Error> {
        self.sums_of_entries(Some(day), format!("adding up the entries of {day}"))
            .await
    }

    /// The sums over all entries.
    pub async fn sums(&mut self) -> Result<Sums, Error> {
        self.sums_of_entries(None, "adding up all entries".to_owned())
            .await
    }

    /// The sums of the totals in the headers of entries: of a day, or of all.
    async fn sums_of_entries(&mut self, day: Option<Day>, what: String) -> Result<Sums, Error> {
        let (count, total): (String, String) = sqlx::query_as(
            "SELECT coalesce(sum(count), 0)::text, coalesce(sum(total), 0)::text FROM daybook.entry_total
             WHERE $1::date IS NULL OR day = $1",
        )
        .bind(day)
        .fetch_one(&mut self.connection)
        .await
        .context(what.as_str())?;
        // A sum of bigints is a numeric, which the driver has no type for.
        let number = |text: String| {
            text.parse().map_err(|error| {
                Error::new(ErrorKind::Internal, format!("{what}: {text} is not a sum"))
                    .caused_by(error)
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

    /// The days of the entries after `after` and up to `through` that have rows.
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

    /// The days that have entries but have not begun yet, except those that a person decided about.
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

    /// When each day with entries, up to `through`, was posted and last read. Times in the future are left out: a clock
    /// was wrong.
    pub async fn days_read(
        &mut self,
        through: Day,
        now: DateTime<Utc>,
    ) -> Result<Vec<DayRead>, Error> {
        const WHAT: &str = "reading when the days were last compared with their source";
        // Each run records a few ranges of days.
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

    /// Those of the given days about which no person has decided by an import or a reversal. Such a decision stays
    /// until a person changes it.
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
            .filter(|entries| !current_entry::is_decided(entries));
        Ok(days
            .filter_map(|entries| entries.first())
            .map(|entry| entry.day)
            .collect())
    }

    /// The number of rows of the entries after `after` and of all entries, according to their headers.
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
}
