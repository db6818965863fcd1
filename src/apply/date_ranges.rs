//! Long gaps without events, and the few events beyond them.
//!
//! One event whose date is wrong by decades makes every day in between a day of the source. Nobody wants twenty
//! thousand empty entries for it, nor an entry for that one event: when its date is corrected, it would be counted
//! twice. So daybook names both, and leaves them out unless they are requested.

use crate::day::{Day, Period};
use crate::error::Error;
use crate::source::Source;

/// Number of days without events that make a long gap.
pub const LONG: usize = 366;
/// Up to this many events beyond a long gap are assumed to have a wrong date.
const FEW: usize = 100;

/// Days that are left out of a period.
#[derive(Debug)]
pub enum LeftOut {
    /// Days without events.
    Empty(Period),
    /// Days with few events, beyond a long gap.
    Stray {
        period: Period,
        /// The ids of their events.
        ids: Vec<i64>,
    },
}

impl LeftOut {
    pub fn period(&self) -> Period {
        match self {
            Self::Empty(period) | Self::Stray { period, .. } => *period,
        }
    }
}

/// Finds the days to leave out of a period. Searches for stray events only if `strays` is set: when the first event
/// determines how long the period is.
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
            // One more than FEW is enough to know that there are more.
            inhabited.push((period, source.ids_of(period, FEW + 1).await?));
        }
        left_out.extend(strays_of(inhabited));
    }
    left_out.extend(gaps.into_iter().map(LeftOut::Empty));
    left_out.sort_by_key(|left_out| left_out.period().from());
    Ok(left_out)
}

/// The parts of a period outside the gaps, which must be in order.
fn between(period: Period, gaps: &[Period]) -> Vec<Period> {
    let mut parts = Vec::new();
    let mut from = period.from();
    for gap in gaps {
        // A gap at the start of the period has no days before it.
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

/// The parts with few events, except the latest: events that have just begun to be logged are few, too.
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
    fn few_events_before_a_long_gap_are_strays_unless_they_are_the_latest() {
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
