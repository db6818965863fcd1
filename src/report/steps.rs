//! The steps of a series: the days, months or years of a period. No IO.

use chrono::{Datelike as _, Days, Months, NaiveDate};

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
    /// The days that the ledger covers.
    covered: Period,
}

/// What stands along the axis of a chart, with an element for each step.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The name of the steps: day, month or year.
    pub step: &'static str,
    /// `2020-02-16`, `2020-02` or `2020`.
    pub labels: Vec<String>,
    /// Which days of a step there are, if not all: `from 2020-02-10`.
    pub parts: Vec<Option<String>>,
    /// What was corrected in a step.
    pub marks: Vec<Option<String>>,
}

impl Axis {
    /// The label of a step, with the days that there are.
    pub fn full_label(&self, index: usize) -> String {
        match &self.parts[index] {
            Some(part) => format!("{} ({part})", self.labels[index]),
            None => self.labels[index].clone(),
        }
    }

    /// The steps of which only a part is covered, in words.
    pub fn incomplete(&self) -> Option<String> {
        let parts = (0..self.labels.len()).filter(|index| self.parts[*index].is_some());
        let parts: Vec<String> = parts.map(|index| self.full_label(index)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl Steps {
    /// The steps of a period, by its length. The ledger covers only the days in `covered`.
    pub fn of(period: Period, covered: Period) -> Self {
        let step = match period.day_count() {
            days if days <= MOST_DAYS => Step::Day,
            days if days <= MOST_DAYS_BY_MONTH => Step::Month,
            _ => Step::Year,
        };
        let first = start_of(step, period.from().date());
        let length = number(step, period.to().date()) - number(step, first) + 1;
        Self {
            step,
            first,
            length: usize::try_from(length).unwrap_or(0),
            covered,
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

    /// The axis of a chart, without marks.
    pub fn axis(&self) -> Axis {
        Axis {
            step: self.step.name(),
            labels: (0..self.length).map(|index| self.label(index)).collect(),
            parts: (0..self.length).map(|index| self.part(index)).collect(),
            marks: vec![None; self.length],
        }
    }

    /// Whether the first and the last step are covered in part only.
    pub fn incomplete_ends(&self) -> [bool; 2] {
        [0, self.length.saturating_sub(1)].map(|index| self.part(index).is_some())
    }

    /// Which days of a step are covered, if not all, in words.
    fn part(&self, index: usize) -> Option<String> {
        let (first, last) = (
            self.start(index),
            self.start(index + 1).checked_sub_days(Days::new(1))?,
        );
        let (from, to) = (self.covered.from().date(), self.covered.to().date());
        match (from > first, to < last) {
            (false, false) => None,
            (true, false) => Some(format!("from {from}")),
            (false, true) => Some(format!("to {to}")),
            (true, true) => Some(format!("{from} to {to}")),
        }
    }

    /// The first date of a step.
    fn start(&self, index: usize) -> NaiveDate {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        let start = match self.step {
            Step::Day => u64::try_from(index)
                .ok()
                .and_then(|days| self.first.checked_add_days(Days::new(days))),
            Step::Month => u32::try_from(index)
                .ok()
                .and_then(|months| self.first.checked_add_months(Months::new(months))),
            Step::Year => NaiveDate::from_ymd_opt(self.first.year() + index, 1, 1),
        };
        start.unwrap_or(NaiveDate::MAX)
    }

    fn label(&self, index: usize) -> String {
        let start = self.start(index);
        let format = match self.step {
            Step::Day => "%Y-%m-%d",
            Step::Month => "%Y-%m",
            Step::Year => "%Y",
        };
        start.format(format).to_string()
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

    fn period(from: &str, to: &str) -> Period {
        Period::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    fn steps(from: &str, to: &str) -> Steps {
        Steps::of(period(from, to), period(from, to))
    }

    #[test]
    fn a_series_goes_by_day_by_month_or_by_year_as_its_length_demands() {
        let short = steps("2020-02-28", "2020-03-01");
        assert_eq!(
            short.axis().labels,
            ["2020-02-28", "2020-02-29", "2020-03-01"]
        );
        let months = steps("2019-11-30", "2020-03-01").axis().labels;
        assert_eq!(
            months,
            ["2019-11", "2019-12", "2020-01", "2020-02", "2020-03"]
        );
        let years = steps("1990-12-31", "2020-01-01").axis().labels;
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

    #[test]
    fn a_step_of_which_not_all_days_are_covered_says_which_are() {
        for (of, covered, parts) in [
            (
                ("2019-12-30", "2020-04-02"),
                ("2019-12-30", "2020-04-02"),
                vec![
                    "2019-12 (from 2019-12-30)",
                    "2020-01",
                    "2020-02",
                    "2020-03",
                    "2020-04 (to 2020-04-02)",
                ],
            ),
            // A recordset may begin later than the ledger: then its first month is whole.
            (
                ("2019-12-30", "2020-04-02"),
                ("2019-01-01", "2020-04-30"),
                vec!["2019-12", "2020-01", "2020-02", "2020-03", "2020-04"],
            ),
            (
                ("2020-02-28", "2020-02-29"),
                ("2020-02-28", "2020-02-29"),
                vec!["2020-02-28", "2020-02-29"],
            ),
        ] {
            let steps = Steps::of(period(of.0, of.1), period(covered.0, covered.1));
            let axis = steps.axis();
            let labels: Vec<String> = (0..steps.len()).map(|n| axis.full_label(n)).collect();
            assert_eq!(labels, parts);
            let has_parts = parts[0].contains('(');
            assert_eq!(steps.incomplete_ends(), [has_parts; 2]);
        }
        let years = Steps::of(
            period("1990-03-01", "2020-02-29"),
            period("1990-03-01", "2020-02-29"),
        );
        assert_eq!(
            years.axis().incomplete().unwrap(),
            "1990 (from 1990-03-01), 2020 (to 2020-02-29)"
        );
    }
}
