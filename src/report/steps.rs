//! The steps of a series: the days, months or years of a period. No IO.

use chrono::{Datelike as _, NaiveDate};

use crate::day::{Day, Period};
use crate::ledger::survey::Step;

/// Up to this number of days, a series goes by day.
const MOST_DAYS: usize = 92;
/// Up to this number of days, some twenty years, it goes by month.
const MOST_DAYS_BY_MONTH: usize = 7400;

/// Consecutive steps that cover a period.
#[derive(Clone, Debug)]
pub struct Steps {
    step: Step,
    first: NaiveDate,
    length: usize,
}

impl Steps {
    /// The steps of a period, by its length.
    pub fn of(period: Period) -> Self {
        let step = match period.day_count() {
            days if days <= MOST_DAYS => Step::Day,
            days if days <= MOST_DAYS_BY_MONTH => Step::Month,
            _ => Step::Year,
        };
        Self::by(step, period)
    }

    /// The steps of a period, of a given length.
    pub fn by(step: Step, period: Period) -> Self {
        let first = start_of(step, period.from().date());
        let length = number(step, period.to().date()) - number(step, first) + 1;
        Self {
            step,
            first,
            length: usize::try_from(length).unwrap_or(0),
        }
    }

    pub fn step(&self) -> Step {
        self.step
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// The index of the step that a date is in; none if it is not in the period.
    pub fn index_of(&self, date: NaiveDate) -> Option<usize> {
        usize::try_from(number(self.step, date) - number(self.step, self.first))
            .ok()
            .filter(|index| *index < self.length)
    }

    /// The index of the step that a day is in.
    pub fn index_of_day(&self, day: Day) -> Option<usize> {
        self.index_of(day.date())
    }

    /// The names of the steps: `2020-02-16`, `2020-02` or `2020`.
    pub fn labels(&self) -> Vec<String> {
        (0..self.length).map(|index| self.label(index)).collect()
    }

    fn label(&self, index: usize) -> String {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        match self.step {
            Step::Day => {
                let days = chrono::Duration::days(i64::from(index));
                (self.first + days).format("%Y-%m-%d").to_string()
            }
            Step::Month => {
                let month = number(Step::Month, self.first) + i64::from(index);
                format!(
                    "{:04}-{:02}",
                    month.div_euclid(12),
                    month.rem_euclid(12) + 1
                )
            }
            Step::Year => (self.first.year() + index).to_string(),
        }
    }
}

/// The first date of the step that a date is in.
fn start_of(step: Step, date: NaiveDate) -> NaiveDate {
    let start = match step {
        Step::Day => Some(date),
        Step::Month => date.with_day(1),
        Step::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1),
    };
    start.unwrap_or(date)
}

/// Consecutive numbers for consecutive steps.
fn number(step: Step, date: NaiveDate) -> i64 {
    match step {
        Step::Day => i64::from(date.num_days_from_ce()),
        Step::Month => i64::from(date.year()) * 12 + i64::from(date.month0()),
        Step::Year => i64::from(date.year()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(from: &str, to: &str) -> Steps {
        Steps::of(Period::new(from.parse().unwrap(), to.parse().unwrap()).unwrap())
    }

    #[test]
    fn a_series_goes_by_day_by_month_or_by_year_as_its_length_demands() {
        let short = steps("2020-02-28", "2020-03-01");
        assert_eq!(short.labels(), ["2020-02-28", "2020-02-29", "2020-03-01"]);
        let months = steps("2019-11-30", "2020-03-01").labels();
        assert_eq!(
            months,
            ["2019-11", "2019-12", "2020-01", "2020-02", "2020-03"]
        );
        let years = steps("1990-12-31", "2020-01-01").labels();
        assert_eq!((years.len(), &*years[0], &*years[30]), (31, "1990", "2020"));
    }

    #[test]
    fn each_date_of_the_period_is_in_its_step_and_no_other_date_is_in_any() {
        let months = steps("2019-11-30", "2020-03-01");
        for (date, index) in [
            ("2019-10-31", None),
            ("2019-11-01", Some(0)),
            ("2019-12-31", Some(1)),
            ("2020-03-31", Some(4)),
            ("2020-04-01", None),
        ] {
            assert_eq!(months.index_of(date.parse().unwrap()), index, "{date}");
        }
    }
}
