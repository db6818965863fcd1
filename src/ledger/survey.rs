//! Reads what reports show, all from one snapshot of the ledger.
//!
//! Questions about the whole ledger are answered from the headers, which carry their entries' totals. Questions about
//! recordsets read balances, or the rows that they need without their maps. Only the pages of recordsets need terms.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::copy_out::Identity;
use super::entry::{Entry, EntryId, select_entries};
use super::handle::Ledger;
use super::map::{self, Term};
use crate::columns::from_row;
use crate::day::{Day, Period};
use crate::error::{Error, ErrorKind};
use crate::event::{RecordType, StatType};
use crate::hash::Hash;
use crate::postgres::batches::{BatchReceiver, batches};
use crate::postgres::copy_out::{Fields, OutOfStep};
use crate::postgres::{Connection, Context as _};

/// A snapshot of the ledger that answers the questions of reports.
#[derive(Debug)]
pub struct Survey {
    connection: Connection,
    /// The days that are asked for; none if all are.
    period: Option<Period>,
}

/// The length of the steps of a series, as `date_trunc` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Day,
    Month,
    Year,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// The headers of all entries, recomputed by the server.
#[derive(Debug)]
pub struct Chain {
    pub entries: i64,
    /// The first entry whose header does not give its hash, or that does not follow the one before.
    pub broken_at: Option<EntryId>,
    pub newest_entry: Option<EntryId>,
    pub newest_hash: Option<Hash>,
}

from_row!(Chain {
    entries,
    broken_at,
    newest_entry,
    newest_hash
});

/// What a recordset has in the period.
#[derive(Clone, Debug)]
pub struct RecordsetSum {
    pub recordset_id: Uuid,
    /// Interactions.
    pub count: i64,
    /// Records involved.
    pub total: i64,
    pub first_day: Day,
    pub last_day: Day,
    /// The newest entry that touches it.
    pub entry_id: EntryId,
}

from_row!(RecordsetSum {
    recordset_id,
    count,
    total,
    first_day,
    last_day,
    entry_id
});

/// What a recordset has in a step of a series.
#[derive(Clone, Debug)]
pub struct RecordsetStep {
    pub recordset_id: Uuid,
    /// The first date of the step.
    pub step: NaiveDate,
    pub total: i64,
}

from_row!(RecordsetStep {
    recordset_id,
    step,
    total
});

/// What a recordset has in two periods, the later one first.
#[derive(Clone, Debug)]
pub struct Change {
    pub recordset_id: Uuid,
    pub after: i64,
    pub before: i64,
}

from_row!(Change {
    recordset_id,
    after,
    before
});

/// The rejected events with one reason.
#[derive(Clone, Debug)]
pub struct Rejects {
    pub reason: String,
    pub events: i64,
    pub first_day: Day,
    pub last_day: Day,
    /// The message of one of them.
    pub example: String,
}

from_row!(Rejects {
    reason,
    events,
    first_day,
    last_day,
    example
});

/// A row of a recordset, with the terms that its page shows.
#[derive(Debug)]
pub struct SurveyedRow<'a> {
    pub recordset_id: Uuid,
    pub day: Day,
    pub record_type: RecordType,
    pub stat_type: StatType,
    pub count: i64,
    pub total: i64,
    /// As the text of jsonb; none if it is not a row of views.
    viewed: Option<&'a str>,
    geocodes: &'a str,
}

/// Number of columns of [`SurveyedRow`].
const COLUMNS: usize = 8;

impl<'a> SurveyedRow<'a> {
    fn decode(fields: &Fields<'a, COLUMNS>) -> Result<Self, OutOfStep> {
        const UNKNOWN: OutOfStep = OutOfStep("a row that no posting makes");
        let [
            Some(recordset_id),
            Some(day),
            Some(record_type),
            Some(stat_type),
            Some(count),
            Some(total),
            viewed,
            Some(geocodes),
        ] = *fields
        else {
            return Err(UNKNOWN);
        };
        let bigint = |bytes: &[u8]| {
            bytes
                .try_into()
                .map(i64::from_be_bytes)
                .map_err(|_| UNKNOWN)
        };
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| UNKNOWN);
        // The binary form of jsonb is a version byte and the text.
        let jsonb = |bytes: &'a [u8]| text(bytes.strip_prefix(&[1]).ok_or(UNKNOWN)?);
        let day = day
            .try_into()
            .map(i32::from_be_bytes)
            .map_err(|_| UNKNOWN)?;
        Ok(Self {
            recordset_id: Uuid::from_slice(recordset_id).map_err(|_| UNKNOWN)?,
            day: Day::from_postgres_days(day).ok_or(UNKNOWN)?,
            record_type: text(record_type)?.parse().map_err(|_| UNKNOWN)?,
            stat_type: text(stat_type)?.parse().map_err(|_| UNKNOWN)?,
            count: bigint(count)?,
            total: bigint(total)?,
            viewed: viewed.map(jsonb).transpose()?,
            geocodes: jsonb(geocodes)?,
        })
    }

    /// Calls `take` with each geocode and its share of the total.
    pub fn for_each_geocode(
        &self,
        take: impl FnMut(Term<'_>, i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.for_each(self.geocodes, take)
    }

    /// Calls `take` with each record that was viewed on its own page, and the number of views.
    pub fn for_each_viewed(
        &self,
        mut take: impl FnMut(&str, i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let take = |term: Term<'_>, n| {
            let text = term
                .text()
                .map_err(|error| self.unreadable().caused_by(error))?;
            take(&text, n)
        };
        self.viewed
            .map_or(Ok(()), |viewed| self.for_each(viewed, take))
    }

    fn for_each(
        &self,
        map: &str,
        take: impl FnMut(Term<'_>, i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        map::for_each(map, take, |error| self.unreadable().caused_by(error))
    }

    fn unreadable(&self) -> Error {
        let (day, recordset) = (self.day, self.recordset_id);
        Error::new(
            ErrorKind::LedgerDamaged,
            format!("a row of {day}, recordset {recordset}, has a map that cannot be read"),
        )
        .hint("`daybook verify --ledger` reports what is wrong with the ledger")
    }
}

impl Survey {
    /// Takes a snapshot. With a period, only its days are looked at.
    pub async fn take(ledger: &Ledger, period: Option<Period>) -> Result<Self, Error> {
        let mut connection = ledger.database.connect("daybook report").await?;
        sqlx::raw_sql(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL jit = off",
        )
        .execute(&mut connection)
        .await
        .context("preparing to read the ledger")?;
        Ok(Self { connection, period })
    }

    fn from(&self) -> Option<Day> {
        self.period.map(Period::from)
    }

    fn to(&self) -> Option<Day> {
        self.period.map(Period::to)
    }

    pub async fn identity(&mut self) -> Result<Identity, Error> {
        sqlx::query_as("SELECT ledger_id, time_zone, created_at FROM daybook.ledger")
            .fetch_one(&mut self.connection)
            .await
            .context("reading which ledger this is")
    }

    /// The time of the snapshot, by the clock of the database.
    pub async fn taken_at(&mut self) -> Result<DateTime<Utc>, Error> {
        sqlx::query_scalar("SELECT now()")
            .fetch_one(&mut self.connection)
            .await
            .context("reading the time of the snapshot")
    }

    /// The entries of the period in their order.
    pub async fn entries(&mut self) -> Result<Vec<Entry>, Error> {
        sqlx::query_as(select_entries(
            " WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2) ORDER BY entry_id",
        ))
        .bind(self.from())
        .bind(self.to())
        .fetch_all(&mut self.connection)
        .await
        .context("reading the journal")
    }

    /// Recomputes the chain of all headers, whatever the period.
    pub async fn chain(&mut self) -> Result<Chain, Error> {
        sqlx::query_as(
            "SELECT count(*) AS entries, min(entry_id) FILTER (WHERE is_broken) AS broken_at, max(entry_id) AS newest_entry,
                    (array_agg(entry_hash ORDER BY entry_id DESC))[1] AS newest_hash
             FROM (SELECT e.entry_id, e.entry_hash,
                          e.entry_hash IS DISTINCT FROM daybook.entry_hash_of(e)
                          OR e.previous_hash IS DISTINCT FROM lag(e.entry_hash, 1, daybook.genesis_hash()) OVER w
                          OR e.entry_id <> lag(e.entry_id, 1, 0::bigint) OVER w + 1 AS is_broken
                   FROM daybook.entry e WINDOW w AS (ORDER BY e.entry_id)) checked",
        )
        .fetch_one(&mut self.connection)
        .await
        .context("recomputing the chain of the entries")
    }

    /// The days from the first entry to the last, of those asked for; none if there is no entry.
    pub async fn covered(&mut self) -> Result<Option<Period>, Error> {
        self.days_within(self.period).await
    }

    /// The days from the ledger's first entry to its last, whatever the period; none if there is no entry.
    pub async fn whole(&mut self) -> Result<Option<Period>, Error> {
        self.days_within(None).await
    }

    async fn days_within(&mut self, period: Option<Period>) -> Result<Option<Period>, Error> {
        let (first, last): (Option<Day>, Option<Day>) = sqlx::query_as(
            "SELECT min(day), max(day) FROM daybook.entry
             WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)",
        )
        .bind(period.map(Period::from))
        .bind(period.map(Period::to))
        .fetch_one(&mut self.connection)
        .await
        .context("reading which days have entries")?;
        let ends = first.zip(last);
        Ok(ends.and_then(|(first, last)| Period::new(first, last)))
    }

    /// The sums of each recordset.
    pub async fn recordsets(&mut self) -> Result<Vec<RecordsetSum>, Error> {
        self.sums_of(None).await
    }

    /// The sums of a recordset; none if it has no rows.
    pub async fn recordset(&mut self, recordset_id: Uuid) -> Result<Option<RecordsetSum>, Error> {
        Ok(self.sums_of(Some(recordset_id)).await?.pop())
    }

    /// The sums of a recordset, or of all: of all time from their balances, of a period from the rows of its days.
    async fn sums_of(&mut self, only: Option<Uuid>) -> Result<Vec<RecordsetSum>, Error> {
        const WHAT: &str = "adding up the recordsets";
        if let Some(period) = self.period {
            return sqlx::query_as(
                "SELECT recordset_id, sum(count)::bigint AS count, sum(total)::bigint AS total, min(day) AS first_day,
                        max(day) AS last_day, max(entry_id) AS entry_id
                 FROM daybook.interaction_delta
                 WHERE day BETWEEN $1 AND $2 AND ($3::uuid IS NULL OR recordset_id = $3) GROUP BY recordset_id",
            )
            .bind(period.from())
            .bind(period.to())
            .bind(only)
            .fetch_all(&mut self.connection)
            .await
            .context(WHAT);
        }
        // One look-up in the index for each recordset and each cell, whatever the number of rows.
        sqlx::query_as(
            "WITH RECURSIVE recordset AS (
                 (SELECT d.recordset_id FROM daybook.interaction_delta d WHERE $3::uuid IS NULL OR d.recordset_id = $3
                  ORDER BY d.recordset_id LIMIT 1)
                 UNION ALL
                 SELECT (SELECT d.recordset_id FROM daybook.interaction_delta d WHERE d.recordset_id > r.recordset_id
                         ORDER BY d.recordset_id LIMIT 1)
                 FROM recordset r WHERE r.recordset_id IS NOT NULL AND $3 IS NULL)
             SELECT r.recordset_id, sum(b.count_balance)::bigint AS count, sum(b.total_balance)::bigint AS total,
                    min(b.first_day) AS first_day, max(b.last_day) AS last_day, max(b.entry_id) AS entry_id
             FROM recordset r
             CROSS JOIN (SELECT record_type, stat_type FROM unnest($1::text[]) record_type, unnest($2::text[]) stat_type) c
             CROSS JOIN LATERAL (
                 SELECT d.count_balance, d.total_balance, d.first_day, d.last_day, d.entry_id
                 FROM daybook.interaction_delta d
                 WHERE d.recordset_id = r.recordset_id AND d.record_type = c.record_type AND d.stat_type = c.stat_type
                 ORDER BY d.entry_id DESC LIMIT 1) b
             WHERE r.recordset_id IS NOT NULL
             GROUP BY r.recordset_id",
        )
        .bind(RecordType::ALL.map(RecordType::name).as_slice())
        .bind(StatType::ALL.map(StatType::name).as_slice())
        .bind(only)
        .fetch_all(&mut self.connection)
        .await
        .context(WHAT)
    }

    /// The records involved of some recordsets, step by step.
    pub async fn series(
        &mut self,
        recordsets: &[Uuid],
        step: Step,
    ) -> Result<Vec<RecordsetStep>, Error> {
        sqlx::query_as(
            "SELECT recordset_id, date_trunc($2, day::timestamp)::date AS step, sum(total)::bigint AS total
             FROM daybook.interaction_delta
             WHERE recordset_id = ANY ($1) AND ($3::date IS NULL OR day >= $3) AND ($4::date IS NULL OR day <= $4)
             GROUP BY 1, 2",
        )
        .bind(recordsets)
        .bind(step.name())
        .bind(self.from())
        .bind(self.to())
        .fetch_all(&mut self.connection)
        .await
        .context("adding up the largest recordsets over time")
    }

    /// The records involved of each recordset in the days from `first` to before `middle`, and from there to `last`.
    pub async fn changes(
        &mut self,
        first: Day,
        middle: Day,
        last: Day,
    ) -> Result<Vec<Change>, Error> {
        sqlx::query_as(
            "SELECT recordset_id, coalesce(sum(total) FILTER (WHERE day >= $2), 0)::bigint AS after,
                    coalesce(sum(total) FILTER (WHERE day < $2), 0)::bigint AS before
             FROM daybook.interaction_delta WHERE day BETWEEN $1 AND $3 GROUP BY recordset_id",
        )
        .bind(first)
        .bind(middle)
        .bind(last)
        .fetch_all(&mut self.connection)
        .await
        .context("comparing the last weeks of the recordsets")
    }

    /// The rejected events by reason, the most frequent first.
    pub async fn rejects(&mut self) -> Result<Vec<Rejects>, Error> {
        sqlx::query_as(
            "SELECT r.reason, count(*) AS events, min(e.day) AS first_day, max(e.day) AS last_day,
                    left(min(r.message), 1000) AS example
             FROM daybook.rejected_event r JOIN daybook.entry e ON e.entry_id = r.entry_id
             WHERE ($1::date IS NULL OR e.day >= $1) AND ($2::date IS NULL OR e.day <= $2)
             GROUP BY r.reason ORDER BY events DESC, r.reason",
        )
        .bind(self.from())
        .bind(self.to())
        .fetch_all(&mut self.connection)
        .await
        .context("counting the rejected events by reason")
    }

    /// Passes the rows of some recordsets, or of all, to `take`, in no particular order: sorting them would cost the
    /// server more than reading them. It sends them while another thread works on `state`, which is returned. `done` is
    /// told the number of rows read.
    pub async fn rows<T: Send + 'static>(
        &mut self,
        recordsets: Option<&[Uuid]>,
        state: T,
        take: fn(&mut T, &SurveyedRow<'_>) -> Result<(), Error>,
        done: &mut dyn FnMut(u64),
    ) -> Result<T, Error> {
        const WHAT: &str = "reading the rows of the recordsets";
        let (mut sender, batches) = batches(done);
        let computing = tokio::task::spawn_blocking(move || compute(state, batches, take));
        let statement = self.statement(recordsets);
        let sent = sender.stream(&mut self.connection, &statement).await;
        drop(sender);
        let computed = computing
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, WHAT).caused_by(error))?;
        // An error while computing ends the stream: it is the cause.
        let state = computed.map_err(Failure::into_error)?;
        sent.context(WHAT)?;
        Ok(state)
    }

    fn statement(&self, recordsets: Option<&[Uuid]>) -> String {
        let mut conditions = vec!["true".to_owned()];
        if let Some(recordsets) = recordsets {
            let ids: Vec<String> = recordsets.iter().map(Uuid::to_string).collect();
            conditions.push(format!(
                "recordset_id = ANY ('{{{}}}'::uuid[])",
                ids.join(",")
            ));
        }
        if let Some(period) = self.period {
            conditions.push(format!(
                "day BETWEEN '{}' AND '{}'",
                period.from(),
                period.to()
            ));
        }
        format!(
            "COPY (SELECT recordset_id, day, record_type, stat_type, count, total,
                          CASE WHEN record_type = 'records' AND stat_type = 'view' THEN items END, geocodes
                   FROM daybook.interaction_delta WHERE {}) TO STDOUT (FORMAT binary)",
            conditions.join(" AND ")
        )
    }
}

/// What ends the computing.
enum Failure {
    OutOfStep(OutOfStep),
    Other(Error),
}

impl From<OutOfStep> for Failure {
    fn from(error: OutOfStep) -> Self {
        Self::OutOfStep(error)
    }
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Self::OutOfStep(error) => {
                Error::new(ErrorKind::PostgresRefused, "a row cannot be read").caused_by(error)
            }
            Self::Other(error) => error,
        }
    }
}

fn compute<T>(
    mut state: T,
    batches: BatchReceiver,
    take: fn(&mut T, &SurveyedRow<'_>) -> Result<(), Error>,
) -> Result<T, Failure> {
    batches.for_each(|fields| {
        take(&mut state, &SurveyedRow::decode(fields)?).map_err(Failure::Other)
    })?;
    Ok(state)
}
