//! Which applied days must be compared with their source again. No IO.
//!
//! Events may arrive late: their transaction stayed open, or what they refer to was added the night after. So a day is
//! read again by each daily run until it has been read once after it had been over for the look-back. What counts is
//! when a day was last read, not its age: after weeks of downtime, a run still reads the days that were recent when
//! they were last read. Days that were posted before they were over, or under a wrong clock, are read again, too.

use chrono::{DateTime, TimeDelta, Utc};

use crate::day::{Day, TimeZone};

/// A day that has entries, and when it was last compared with its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRead {
    pub day: Day,
    /// When its newest entry was posted.
    pub posted_at: DateTime<Utc>,
    /// When it was last read by a run whose end is recorded; none if there is no such run.
    pub read_at: Option<DateTime<Utc>>,
}

impl DayRead {
    /// Whether the day must be read again: when it was last read, it had not been over for `lookback` days.
    pub fn is_due(&self, zone: TimeZone, lookback: u32) -> bool {
        let last_read = self.read_at.unwrap_or(self.posted_at);
        let settled = zone
            .start_of(self.day.next())
            .checked_add_signed(TimeDelta::days(lookback.into()));
        settled.is_none_or(|settled| last_read < settled)
    }
}

/// The days as ranges, both ends included. A run records the days it has read in this form.
pub fn ranges(days: impl IntoIterator<Item = Day>) -> Vec<(Day, Day)> {
    let mut ranges: Vec<(Day, Day)> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some((_, last)) if last.next() == day => *last = day,
            _ => ranges.push((day, day)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_is_read_again_until_it_was_read_when_it_had_been_over_for_the_look_back() {
        let due = |posted_at, read_at: Option<&str>, lookback| {
            let read = DayRead {
                day: day("2020-02-16"),
                posted_at: at(posted_at),
                read_at: read_at.map(at),
            };
            read.is_due(TimeZone::UTC, lookback)
        };
        let posted = "2020-02-17T09:00:00Z";
        assert!(
            due(posted, None, 7),
            "nobody has recorded to have read it since it was posted"
        );
        assert!(due(posted, Some("2020-02-23T23:59:59Z"), 7));
        assert!(!due(posted, Some("2020-02-24T00:00:00Z"), 7));
        assert!(due(posted, Some("2020-02-24T00:00:00Z"), 8));
        assert!(!due(posted, Some("2020-02-17T00:00:00Z"), 0));
        assert!(
            due(posted, Some("2020-02-16T23:59:59Z"), 0),
            "it was not over"
        );
        assert!(
            !due("2026-11-26T09:00:00Z", None, 7),
            "posted long after it was over"
        );
        assert!(due(posted, Some("2020-02-17T09:00:00Z"), u32::MAX));
    }

    #[test]
    fn a_day_is_over_by_the_ledger_s_clocks() {
        let read = DayRead {
            day: day("2020-02-16"),
            posted_at: at("2020-02-24T04:59:59Z"),
            read_at: None,
        };
        assert!(read.is_due("America/New_York".parse().unwrap(), 7));
        assert!(!read.is_due(TimeZone::UTC, 7));
    }

    #[test]
    fn consecutive_days_are_one_range() {
        let days = [
            "2020-02-14",
            "2020-02-15",
            "2020-02-17",
            "2020-02-28",
            "2020-02-29",
            "2020-03-01",
        ]
        .map(day);
        let pairs = [
            ("2020-02-14", "2020-02-15"),
            ("2020-02-17", "2020-02-17"),
            ("2020-02-28", "2020-03-01"),
        ];
        assert_eq!(
            ranges(days),
            pairs.map(|(first, last)| (day(first), day(last)))
        );
        assert_eq!(ranges([]), []);
    }
}
