//! On which days the source has events, and events whose date is wrong.

use sqlx::{AssertSqlSafe, Row as _};

use super::connection::Source;
use crate::day::{Day, Period, TimeZone};
use crate::error::Error;
use crate::postgres::{self, Context as _};

impl Source {
    /// Those of the days that have no events, earliest first. Looks for one event of each day, with a time limit.
    pub async fn days_without_events(&mut self, days: &[Day]) -> Result<Vec<Day>, Error> {
        let what = "looking for days without events in the source";
        self.begin(what).await?;
        // Without an index on the date, each day is a scan of the table.
        sqlx::raw_sql("SET LOCAL statement_timeout = '10s'")
            .execute(&mut self.connection)
            .await
            .context(what)?;
        let (from, to): (Vec<String>, Vec<String>) =
            days.iter().map(|day| self.bounds(*day).into()).unzip();
        // ORDER BY makes the server use the index: a scan of the table might find the one event last.
        let sql = format!(
            "SELECT k.day FROM unnest($1::date[], $2::text[], $3::text[]) AS k (day, first, next)
             LEFT JOIN LATERAL (SELECT true AS found FROM {stats} s
                                WHERE s.date >= k.first::{date} AND s.date < k.next::{date}
                                ORDER BY s.date LIMIT 1) e ON true
             WHERE e.found IS NULL ORDER BY k.day",
            stats = self.tables.stats,
            date = self.date_type()
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(days)
            .bind(from)
            .bind(to)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| {
                let code = error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code);
                let took_too_long = code.as_deref() == Some("57014");
                let failure = postgres::query_error(error, what);
                if took_too_long {
                    failure.hint("create an index on stats.date, which makes this fast")
                } else {
                    failure
                }
            })
    }

    /// The days from the source's first event to its last; none if it has no events. Dates outside the range of days,
    /// such as infinity, are ignored.
    pub async fn period(&mut self) -> Result<Option<Period>, Error> {
        const WHAT: &str = "looking for the source's first day";
        self.begin(WHAT).await?;
        let in_utc = if self.tables.date_is_zoned {
            ""
        } else {
            " AT TIME ZONE 'UTC'"
        };
        let sql = format!(
            "SELECT min(date){in_utc} AS first, max(date){in_utc} AS last FROM {stats}
             WHERE date >= '1970-01-02' AND date < '9998-12-30'",
            stats = self.tables.stats
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
            .context(WHAT)?;
        let first = row
            .try_get("first")
            .context("reading the date of the source's first event")?;
        let last = row
            .try_get("last")
            .context("reading the date of the source's last event")?;
        let zone = if self.tables.date_is_zoned {
            self.zone
        } else {
            TimeZone::UTC
        };
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(None);
        };
        Ok(Period::new(zone.day_of(first), zone.day_of(last)))
    }

    /// The gaps of at least `long` days in a period on which the source has no events, earliest first.
    pub async fn long_gaps(&mut self, period: Period, long: usize) -> Result<Vec<Period>, Error> {
        let what = format!(
            "looking for days without events from {} to {}",
            period.from(),
            period.to()
        );
        // Split the period into blocks of half that length: each long gap contains at least one whole block. So it is
        // enough to check each block, and to search from both ends of the empty ones.
        let block = long.div_ceil(2);
        let days: Vec<Day> = period.days().step_by(block).collect();
        let of_block = |first: Day| Period::new(first, first.plus(block - 1).min(period.to()));
        let blocks: Vec<Period> = days.into_iter().filter_map(of_block).collect();
        self.begin(&what).await?;
        let mut gaps: Vec<Period> = Vec::new();
        for block in blocks {
            if gaps.last().is_some_and(|gap| gap.contains(block.from()))
                || self.first_event(block).await?.is_some()
            {
                continue;
            }
            let before = Period::new(period.from(), block.from().previous());
            let after = Period::new(block.to().next(), period.to());
            let last_before = match before {
                Some(before) => self.last_event(before).await?,
                None => None,
            };
            let first_after = match after {
                Some(after) => self.first_event(after).await?,
                None => None,
            };
            let gap = Period::new(
                last_before.map_or(period.from(), Day::next),
                first_after.map_or(period.to(), Day::previous),
            );
            gaps.extend(gap.filter(|gap| gap.day_count() >= long));
        }
        Ok(gaps)
    }

    async fn first_event(&mut self, period: Period) -> Result<Option<Day>, Error> {
        self.outermost_event(period, "").await
    }

    async fn last_event(&mut self, period: Period) -> Result<Option<Day>, Error> {
        self.outermost_event(period, "DESC").await
    }

    async fn outermost_event(
        &mut self,
        period: Period,
        direction: &str,
    ) -> Result<Option<Day>, Error> {
        let what = format!(
            "looking for events from {} to {}",
            period.from(),
            period.to()
        );
        let (in_utc, zone) = if self.tables.date_is_zoned {
            ("", self.zone)
        } else {
            (" AT TIME ZONE 'UTC'", TimeZone::UTC)
        };
        self.begin(&what).await?;
        let sql = format!(
            "SELECT s.date{in_utc} FROM {} s WHERE {} ORDER BY s.date {direction} LIMIT 1",
            self.tables.stats,
            self.condition_of(period)
        );
        let date = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_optional(&mut self.connection)
            .await
            .context(what)?;
        Ok(date.map(|date| zone.day_of(date)))
    }

    /// The ids of the first events of a period, at most `most`.
    pub async fn ids_of(&mut self, period: Period, most: usize) -> Result<Vec<i64>, Error> {
        let what = format!(
            "looking for the events from {} to {}",
            period.from(),
            period.to()
        );
        let condition = self.condition_of(period);
        self.begin(&what).await?;
        let stats = &self.tables.stats;
        let sql = format!(
            "SELECT s.id::bigint FROM {stats} s WHERE {condition} ORDER BY s.date, s.id LIMIT {most}"
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await
            .context(what)
    }

    /// The ids of at most `most` events that belong to no day: without a date, dated before the first possible day, or
    /// dated after the day `after`.
    pub async fn ids_out_of_time(&mut self, after: Day, most: usize) -> Result<Vec<i64>, Error> {
        const WHAT: &str = "looking for events whose dates are on no day";
        self.begin(WHAT).await?;
        let ([_, next], date, stats) = (self.bounds(after), self.date_type(), &self.tables.stats);
        let any_of = [
            "s.date < '1970-01-02'".to_owned(),
            format!("s.date >= '{next}'::{date}"),
            "s.date IS NULL".to_owned(),
        ];
        // A query of its own lets each condition use the index.
        let each = any_of.map(|condition| {
            format!("(SELECT s.id::bigint AS id FROM {stats} s WHERE {condition} LIMIT {most})")
        });
        let sql = format!(
            "SELECT id FROM ({}) ids ORDER BY id LIMIT {most}",
            each.join(" UNION ALL ")
        );
        let ids = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await;
        ids.context(WHAT)
    }
}
