//! The date of an event outside a database, and whether it is on a day. No IO.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use crate::day::{Day, TimeZone};

/// When an event happened, as the types of the source's column `date` mean it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// `timestamp with time zone`.
    Instant(DateTime<Utc>),
    /// `timestamp` without time zone: a time in the zone of the day.
    Civil(NaiveDate),
    /// On no day that a ledger can hold: infinite, or outside four-digit years.
    OnNoDay,
}

impl Moment {
    /// Reads a date as ISO 8601, Postgres, Spark and DuckDB write it; none if it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if matches!(text, "infinity" | "-infinity") || text.ends_with(" BC") {
            return Some(Self::OnNoDay);
        }
        let text = text.strip_suffix(" UTC").map_or_else(
            || std::borrow::Cow::Borrowed(text),
            |text| format!("{text}Z").into(),
        );
        let (date, time) = match text.find(['T', 't', ' ']) {
            Some(at) => (&text[..at], text[at + 1..].trim_start()),
            None => (&*text, "00:00:00"),
        };
        let (year, _) = date.split_once('-')?;
        if year.len() > 4 && year.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::OnNoDay);
        }
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
        let offset = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
        let (time, offset) = time.split_at(offset);
        let time = NaiveTime::parse_from_str(time, "%H:%M:%S%.f")
            .or_else(|_| NaiveTime::parse_from_str(time, "%H:%M"))
            .ok()?;
        match offset {
            "" => Some(Self::Civil(date)),
            offset => {
                let local = NaiveDateTime::new(date, time);
                let instant = local.checked_sub_signed(parse_offset(offset)?);
                Some(instant.map_or(Self::OnNoDay, |instant| Self::Instant(instant.and_utc())))
            }
        }
    }
}

/// `Z`, `+HH`, `+HHMM`, `+HH:MM` or `+HH:MM:SS`.
fn parse_offset(text: &str) -> Option<TimeDelta> {
    if matches!(text, "Z" | "z") {
        return Some(TimeDelta::zero());
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits.replace(':', "")),
        ("-", digits) => (-1, digits.replace(':', "")),
        _ => return None,
    };
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| digits.get(at..at + 2).map_or(Ok(0), str::parse::<i64>);
    let (hours, minutes, seconds) = (two(0).ok()?, two(2).ok()?, two(4).ok()?);
    Some(TimeDelta::seconds(
        sign * (hours * 3600 + minutes * 60 + seconds),
    ))
}

/// A day in a time zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct DayInZone {
    day: Day,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl DayInZone {
    pub(super) fn new(day: Day, zone: TimeZone) -> Self {
        Self {
            day,
            start: zone.start_of(day),
            end: zone.start_of(day.next()),
        }
    }

    /// Whether a moment is on the day.
    pub(super) fn contains(&self, moment: Moment) -> bool {
        match moment {
            Moment::Instant(instant) => self.start <= instant && instant < self.end,
            Moment::Civil(date) => date == self.day.date(),
            Moment::OnNoDay => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_the_forms_in_which_databases_and_engines_write_them() {
        let instant = |text: &str| Moment::Instant(text.parse().unwrap());
        for text in [
            "2020-02-16T23:59:59.5Z",
            "2020-02-16 23:59:59.500000+00",
            "2020-02-17T00:59:59.500+01:00",
            "2020-02-16T18:29:59.5-0530",
            "2020-02-16 23:59:59.5 UTC",
        ] {
            assert_eq!(
                Moment::parse(text),
                Some(instant("2020-02-16T23:59:59.5Z")),
                "{text}"
            );
        }
        let civil = Moment::Civil(NaiveDate::from_ymd_opt(2020, 2, 16).unwrap());
        for text in [
            "2020-02-16",
            "2020-02-16T23:59",
            "2020-02-16 23:59:59.999999",
        ] {
            assert_eq!(Moment::parse(text), Some(civil), "{text}");
        }
        for text in [
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00 BC",
            "12020-02-16 00:00:00+00",
        ] {
            assert_eq!(Moment::parse(text), Some(Moment::OnNoDay), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1581811200",
            "2020-02-30",
            "2020-02-16T25:00:00Z",
            "2020-02-16T00:00:00+1",
            "2020-02-16T00:00:00+ab",
            "2020-02-16T00:00:00é",
            "16.02.2020",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_instant_is_on_the_day_of_the_zone_and_a_time_without_zone_on_its_own_date() {
        let day = DayInZone::new(
            "2020-03-29".parse().unwrap(),
            "Europe/Berlin".parse().unwrap(),
        );
        for (text, is_on_it) in [
            ("2020-03-28T22:59:59.999999Z", false),
            ("2020-03-28T23:00:00Z", true),
            ("2020-03-29T21:59:59Z", true),
            ("2020-03-29T22:00:00Z", false),
            ("2020-03-29", true),
            ("2020-03-29 23:59:59", true),
            ("2020-03-30 00:00:00", false),
            ("infinity", false),
        ] {
            assert_eq!(
                day.contains(Moment::parse(text).unwrap()),
                is_on_it,
                "{text}"
            );
        }
    }
}
