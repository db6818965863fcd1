//! Divides the daily documents of an index into slices that are read side by side. Pure.

use serde_json::{Value, json};

use crate::day::Day;
use crate::ledger::DayTouched;

/// All documents of an index.
pub(super) fn whole() -> Value {
    json!({ "match_all": {} })
}

/// Queries for about as many days each, at most `number`. Every document matches exactly one of them, also one that daybook
/// did not write.
pub(super) fn by_day(days: &[DayTouched], number: usize) -> Vec<Value> {
    let share = days.len().div_ceil(number.max(1)).max(1);
    // Each slice but the first begins with one of these days.
    let begins: Vec<Day> = days
        .iter()
        .map(|touched| touched.day)
        .step_by(share)
        .skip(1)
        .collect();
    let Some(first) = begins.first() else {
        return vec![whole()];
    };
    let ends = begins.iter().skip(1).map(Some).chain([None]);
    let others = begins.iter().zip(ends).map(|(begin, end)| match end {
        Some(end) => json!({ "range": { "day": { "gte": begin, "lt": end } } }),
        None => json!({ "range": { "day": { "gte": begin } } }),
    });
    // What has no day is in the first slice.
    let first = json!({ "bool": { "must_not": { "range": { "day": { "gte": first } } } } });
    [first].into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_in_one_slice_and_so_is_what_has_none() {
        let first: Day = "2020-02-01".parse().unwrap();
        let days = |number: u32| -> Vec<DayTouched> {
            let mut days = first;
            (0..number)
                .map(|_| {
                    let day = days;
                    days = days.next();
                    DayTouched {
                        day,
                        posted_before: false,
                    }
                })
                .collect()
        };
        for (number, slices) in [(0, 4), (1, 4), (7, 1), (7, 0)] {
            assert_eq!(by_day(&days(number), slices), [whole()]);
        }
        assert_eq!(
            by_day(&days(7), 3),
            [
                json!({ "bool": { "must_not": { "range": { "day": { "gte": "2020-02-04" } } } } }),
                json!({ "range": { "day": { "gte": "2020-02-04", "lt": "2020-02-07" } } }),
                json!({ "range": { "day": { "gte": "2020-02-07" } } }),
            ]
        );
        assert_eq!(by_day(&days(2), 4).len(), 2);
    }
}
