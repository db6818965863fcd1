//! Long stretches of days without events, and the few events on the other side of them.
//!
//! One event whose date is wrong by decades makes every day between it and the others a day of the source. Nobody wants
//! twenty thousand empty entries for it, nor the entry of that one event: whoever puts its date right would have it counted
//! twice. So both are named, and left out unless somebody asks for them.

use crate::day::{Day, Period};
use crate::error::Error;
use crate::source::Source;

/// A stretch of so many days without events is a long one.
pub const LONG: usize = 366;
/// So few events beyond a long stretch are taken to have a wrong date.
const FEW: usize = 100;

/// What is left out of days that were chosen.
#[derive(Debug)]
pub enum LeftOut {
    /// Days without events.
    Empty(Period),
    /// Days with few events, beyond a long stretch without any.
    Stray {
        /// The days.
        period: Period,
        /// The ids of their events.
        ids: Vec<i64>,
    },
}

impl LeftOut {
    /// The days.
    pub fn period(&self) -> Period {
        match self {
            Self::Empty(period) | Self::Stray { period, .. } => *period,
        }
    }
}

/// Finds what is to be left out of the days of a period. Events are looked at only where `strays` are wanted: if the period
/// is as long as it is because of its first event.
pub async fn find(
    source: &mut Source,
    period: Period,
    strays: bool,
) -> Result<Vec<LeftOut>, Error> {
    let mut left_out = Vec::new();
    if period.day_count() < LONG {
        return Ok(left_out);
    }
    let gaps = source.long_gaps(period, LONG).await?;
    if strays && !gaps.is_empty() {
        let mut inhabited = Vec::new();
        for period in between(period, &gaps) {
            // One more than few are enough to know that they are not.
            inhabited.push((period, source.ids_of(period, FEW + 1).await?));
        }
        left_out.extend(strays_of(inhabited));
    }
    left_out.extend(gaps.into_iter().map(LeftOut::Empty));
    left_out.sort_by_key(|left_out| left_out.period().from());
    Ok(left_out)
}

/// The parts of a period that are in none of the gaps, which are in order.
fn between(period: Period, gaps: &[Period]) -> Vec<Period> {
    let mut parts = Vec::new();
    let mut from = period.from();
    for gap in gaps {
        // A gap that starts the period has no day before it.
        parts.extend(before(gap.from()).and_then(|to| Period::new(from, to)));
        from = gap.to().next();
    }
    parts.extend(Period::new(from, period.to()));
    parts
}

fn before(day: Day) -> Option<Day> {
    let previous = day.previous();
    (previous < day).then_some(previous)
}

/// Those with few events, but the latest: events that have just begun to be logged are few as well.
fn strays_of(mut inhabited: Vec<(Period, Vec<i64>)>) -> impl Iterator<Item = LeftOut> {
    inhabited.pop();
    let few = inhabited.into_iter().filter(|(_, ids)| ids.len() <= FEW);
    few.map(|(period, ids)| LeftOut::Stray { period, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(from: &str, to: &str) -> Period {
        Period::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_days_between_gaps_are_the_others() {
        let whole = period("2010-01-01", "2020-12-31");
        assert_eq!(between(whole, &[]), [whole]);
        let gaps = [
            period("2010-01-01", "2011-06-01"),
            period("2015-01-01", "2016-12-31"),
        ];
        let parts = [
            period("2011-06-02", "2014-12-31"),
            period("2017-01-01", "2020-12-31"),
        ];
        assert_eq!(between(whole, &gaps), parts);
        assert_eq!(between(whole, &[whole]), []);
    }

    #[test]
    fn few_events_before_a_long_stretch_are_strays_unless_they_are_the_latest() {
        let part = |year: i32, events: i64| {
            (
                period(&format!("{year}-01-01"), &format!("{year}-01-31")),
                (1..=events).collect::<Vec<_>>(),
            )
        };
        let strays = |parts: &[(i32, i64)]| -> Vec<String> {
            let strays = strays_of(
                parts
                    .iter()
                    .map(|(year, events)| part(*year, *events))
                    .collect(),
            );
            strays
                .map(|stray| stray.period().from().to_string()[..4].to_owned())
                .collect()
        };
        assert_eq!(strays(&[(1970, 1), (2020, 14)]), ["1970"]);
        assert_eq!(strays(&[(1970, 1), (2020, 1)]), ["1970"]);
        assert_eq!(strays(&[(2010, 101), (2020, 14)]), [] as [&str; 0]);
        assert_eq!(strays(&[(1970, 100), (2010, 101), (2020, 101)]), ["1970"]);
        assert_eq!(strays(&[(2020, 1)]), [] as [&str; 0]);
        assert_eq!(strays(&[]), [] as [&str; 0]);
    }
}
