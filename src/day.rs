//! Days, which are civil dates in the ledger's time zone, and periods of days.
//!
//! A day starts with the first instant that has its date, and ends before the first instant of the next day. Usually that
//! is 24 hours from midnight to midnight; where clocks change it may be 23 or 25 hours, or not start at midnight.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone as _, Utc};
use serde::{Deserialize, Serialize};

use crate::columns::stored_as;

/// A civil date in the ledger's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(NaiveDate);

stored_as!(Day, NaiveDate);

/// Why a text does not name a day.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DayError {
    /// Not a date of the form YYYY-MM-DD.
    #[error("'{0}' is not a date: give it as YYYY-MM-DD, for example 2020-02-16")]
    NotADate(String),
    /// A date before 1970-01-01 or after 9998-12-30.
    #[error("{0} is out of range: days from 1970-01-01 to 9998-12-30 can be used")]
    OutOfRange(String),
}

impl Day {
    const FIRST_YEAR: i32 = 1970;
    const LAST: NaiveDate = NaiveDate::from_ymd_opt(9998, 12, 30).expect("a date of the calendar");

    /// The day of a date, or an error if a ledger cannot hold it.
    pub fn new(date: NaiveDate) -> Result<Self, DayError> {
        if chrono::Datelike::year(&date) < Self::FIRST_YEAR || date > Self::LAST {
            return Err(DayError::OutOfRange(date.to_string()));
        }
        Ok(Self(date))
    }

    /// The calendar date.
    pub fn date(self) -> NaiveDate {
        self.0
    }

    /// The next day; also the `harvest_date` of this day's documents in the old index.
    pub fn next(self) -> Self {
        Self(self.0.checked_add_days(Days::new(1)).unwrap_or(self.0))
    }

    /// The previous day.
    pub fn previous(self) -> Self {
        self.minus(1)
    }

    /// The day `days` days earlier.
    pub fn minus(self, days: u32) -> Self {
        Self(
            self.0
                .checked_sub_days(Days::new(u64::from(days)))
                .unwrap_or(self.0),
        )
    }

    /// The day `days` days later, but at most the last possible day.
    pub fn plus(self, days: usize) -> Self {
        let later = u64::try_from(days)
            .ok()
            .and_then(|days| self.0.checked_add_days(Days::new(days)));
        later.map_or(Self(Self::LAST), |date| Self(date.min(Self::LAST)))
    }

    const POSTGRES_EPOCH: NaiveDate =
        NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date of the calendar");

    /// Days since the Postgres epoch, 2000-01-01: the binary format of `date`.
    pub fn postgres_days(self) -> i32 {
        i32::try_from((self.0 - Self::POSTGRES_EPOCH).num_days())
            .expect("a Day is within four million days of the epoch")
    }

    /// The day of a `date` in binary format; none if a ledger cannot hold it.
    pub fn from_postgres_days(days: i32) -> Option<Self> {
        let date = Self::POSTGRES_EPOCH.checked_add_signed(Duration::days(i64::from(days)))?;
        Self::new(date).ok()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The fast path without padding: documents contain thousands of days.
        if f.width().is_none() {
            fmt::Display::fmt(&self.0, f)
        } else {
            f.pad(&self.0.to_string())
        }
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let well_formed = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = well_formed
            .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
            .flatten();
        Self::new(date.ok_or_else(|| DayError::NotADate(text.to_owned()))?)
    }
}

/// Consecutive days, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    from: Day,
    to: Day,
}

impl Period {
    /// The days from `from` to `to`; none if `from` is later.
    pub fn new(from: Day, to: Day) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    /// The first day.
    pub fn from(self) -> Day {
        self.from
    }

    /// The last day.
    pub fn to(self) -> Day {
        self.to
    }

    /// Whether the period includes a day.
    pub fn contains(self, day: Day) -> bool {
        self.from <= day && day <= self.to
    }

    /// The number of days.
    pub fn day_count(self) -> usize {
        usize::try_from((self.to.0 - self.from.0).num_days()).unwrap_or(0) + 1
    }

    /// Each day, earliest first.
    pub fn days(self) -> impl Iterator<Item = Day> {
        self.from
            .0
            .iter_days()
            .take_while(move |date| *date <= self.to.0)
            .map(Day)
    }
}

/// A range of days whose ends are included and may be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first day; none if the start is open.
    pub from: Option<Day>,
    /// The last day; none if the end is open.
    pub to: Option<Day>,
}

impl Bounds {
    /// Whether the period includes a day.
    pub fn contains(self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }
}

/// The time zone of a ledger's days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeZone(chrono_tz::Tz);

/// The name is not that of a time zone.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time zone: give an IANA name, for example UTC or America/New_York")]
pub struct UnknownTimeZone(String);

impl TimeZone {
    /// Coordinated universal time, the default.
    pub const UTC: Self = Self(chrono_tz::UTC);

    /// The first instant of a day.
    pub fn start_of(self, day: Day) -> DateTime<Utc> {
        let midnight = day.0.and_time(NaiveTime::MIN);
        match self.0.from_local_datetime(&midnight) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.to_utc(),
            // The clocks skip midnight. The day starts at the change, which is midnight by the previous offset.
            LocalResult::None => {
                let before = self
                    .0
                    .from_local_datetime(&(midnight - Duration::hours(3)))
                    .earliest();
                before.map_or_else(
                    || midnight.and_utc(),
                    |before| before.to_utc() + Duration::hours(3),
                )
            }
        }
    }

    /// The day of an instant.
    pub fn day_of(self, instant: DateTime<Utc>) -> Day {
        Day(instant.with_timezone(&self.0).date_naive())
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(name: &str) -> Result<Self, UnknownTimeZone> {
        name.parse()
            .map(Self)
            .map_err(|_| UnknownTimeZone(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn only_dates_of_the_calendar_are_days() {
        assert_eq!(day("2020-02-29").to_string(), "2020-02-29");
        for nonsense in [
            "2021-02-29",
            "2020-2-3",
            "20200216",
            "yesterday",
            "",
            "2020-02-16T00:00",
            "+020-02-16",
        ] {
            assert_eq!(
                nonsense.parse::<Day>(),
                Err(DayError::NotADate(nonsense.to_owned()))
            );
        }
        for out_of_range in ["1969-12-31", "9998-12-31", "9999-12-31"] {
            assert_eq!(
                out_of_range.parse::<Day>(),
                Err(DayError::OutOfRange(out_of_range.to_owned()))
            );
        }
    }

    #[test]
    fn a_period_includes_both_ends() {
        let period = Period::new(day("2020-02-28"), day("2020-03-01")).unwrap();
        let days: Vec<String> = period.days().map(|day| day.to_string()).collect();
        assert_eq!(days, ["2020-02-28", "2020-02-29", "2020-03-01"]);
        assert_eq!(Period::new(day("2020-03-01"), day("2020-02-28")), None);
    }

    #[test]
    fn days_are_23_24_and_25_hours_long() {
        let zone: TimeZone = "Europe/Berlin".parse().unwrap();
        let hours = |d: &str| (zone.start_of(day(d).next()) - zone.start_of(day(d))).num_hours();
        assert_eq!(
            (
                hours("2020-03-28"),
                hours("2020-03-29"),
                hours("2020-10-25")
            ),
            (24, 23, 25)
        );
        assert_eq!(
            zone.start_of(day("2020-03-29")).to_rfc3339(),
            "2020-03-28T23:00:00+00:00"
        );
    }

    #[test]
    fn a_day_starts_at_the_first_instant_with_its_date_where_clocks_change_at_midnight() {
        // Beirut skips 00:00 to 01:00 on 2021-03-28; Havana repeats it on 2020-11-01.
        for (zone, date) in [
            ("Asia/Beirut", "2021-03-28"),
            ("America/Havana", "2020-11-01"),
        ] {
            let zone: TimeZone = zone.parse().unwrap();
            let start = zone.start_of(day(date));
            assert_eq!(zone.day_of(start), day(date));
            assert_eq!(
                zone.day_of(start - Duration::milliseconds(1)),
                day(date).previous()
            );
        }
    }

    #[test]
    fn binary_dates_count_from_the_year_2000() {
        assert_eq!(day("2000-01-01").postgres_days(), 0);
        assert_eq!(day("1999-12-31").postgres_days(), -1);
        for date in ["1970-01-01", "2020-02-29", "9998-12-30"] {
            assert_eq!(
                Day::from_postgres_days(day(date).postgres_days()),
                Some(day(date))
            );
        }
        // The minimum and the maximum represent infinity.
        for beyond in [
            i32::MIN,
            day("1970-01-01").postgres_days() - 1,
            day("9998-12-30").postgres_days() + 1,
            i32::MAX,
        ] {
            assert_eq!(Day::from_postgres_days(beyond), None);
        }
    }
}
