//! The calendar: a square for each day, the years below each other. No IO.
//!
//! The shade says how much happened; what is special about a day is said by a shape on the square, so that it does not
//! depend on colours. The column is the week, the row the day of the week, beginning with Monday.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate};
use maud::{Markup, html};

use super::days::PostedDay;
use crate::day::{Day, Period};
use crate::text::{Grouped, counted};

/// From square to square.
const PITCH: u32 = 13;
/// Room for the names of days and months.
const LEFT: u32 = 30;
const TOP: u32 = 18;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The limits between the four shades: quartiles of the days that have interactions.
pub struct Shades([i128; 3]);

impl Shades {
    pub fn of(days: &BTreeMap<Day, PostedDay>) -> Self {
        let mut counts: Vec<i128> = days
            .values()
            .map(|day| day.count)
            .filter(|n| *n > 0)
            .collect();
        counts.sort_unstable();
        let at = |quarter: usize| {
            let place = counts.len() * quarter / 4;
            counts.get(place).copied().unwrap_or(1)
        };
        Self([at(1), at(2), at(3)])
    }

    /// From 0, no interactions, to 4.
    fn of_count(&self, count: i128) -> usize {
        if count <= 0 {
            return 0;
        }
        1 + self.0.iter().filter(|limit| count > **limit).count()
    }

    /// What a shade stands for, in words.
    fn meaning(&self, shade: usize) -> String {
        let [low, middle, high] = self.0.map(Grouped);
        match shade {
            1 => format!("up to {low}"),
            2 => format!("up to {middle}"),
            3 => format!("up to {high}"),
            _ => format!("more than {high}"),
        }
    }
}

/// The shapes that the squares refer to.
pub fn shapes() -> Markup {
    html! {
        svg.shapes width="0" height="0" aria-hidden="true" {
            defs {
                rect id="c" width="11" height="11" rx="2" {}
                path id="k" d="M5.5 1.8L9.4 8.8H1.6z" {}
                rect id="i" x="1.5" y="7" width="8" height="3" rx="1" {}
                path id="r" d="M1 10L10 1M1 1l9 9" {}
                circle id="q" cx="5.5" cy="5.5" r="1.5" {}
                path id="g" d="M1.5 1.5h8v8h-8z" {}
            }
        }
    }
}

/// Explains shades and shapes, also that of days that are not applied if there are some.
pub fn legend(shades: &Shades, are_all_applied: bool) -> Markup {
    html! {
        ul.legend {
            @for shade in 1..=4 {
                li { (sample(&html! { use href="#c" class=(class_of(shade)) {} })) " " (shades.meaning(shade)) }
            }
            li { (sample(&html! { (square(0)) use href="#q" class="q" {} })) " quiet: an entry without rows" }
            li { (sample(&html! { (square(2)) use href="#k" class="k" {} })) " corrected" }
            li { (sample(&html! { (square(2)) use href="#i" class="i" {} })) " imported" }
            li { (sample(&html! { (square(0)) use href="#r" class="r" {} })) " reversed" }
            li { (sample(&html! { use href="#g" class="g" {} })) " gap: no entry" }
            @if !are_all_applied {
                li { (sample(&html! { use href="#g" class="u" {} })) " not applied: no entry, before the first or after the last" }
            }
        }
    }
}

fn sample(shape: &Markup) -> Markup {
    html! { svg.cal viewBox="0 0 11 11" width="12" height="12" aria-hidden="true" { (shape) } }
}

fn square(shade: usize) -> Markup {
    html! { use href="#c" class=(class_of(shade)) {} }
}

fn class_of(shade: usize) -> &'static str {
    ["s0", "s1", "s2", "s3", "s4"][shade.min(4)]
}

/// What the calendar shows.
#[derive(Clone, Copy)]
pub struct Calendar<'a> {
    pub shown: Period,
    /// The days from the ledger's first entry to its last, also those that are not shown.
    pub whole: Option<Period>,
    pub days: &'a BTreeMap<Day, PostedDay>,
    pub shades: &'a Shades,
}

/// The days of a year, as two halves that stand below each other where there is little room.
pub fn year(year: i32, calendar: Calendar<'_>) -> Markup {
    let halves = [(1, 6, 30), (7, 12, 31)];
    let halves = halves.map(|(from, to, last)| half(year, from, (to, last), calendar.shown));
    let of_year: Vec<Day> = halves
        .iter()
        .flatten()
        .flat_map(|half| half.days.clone())
        .collect();
    html! {
        figure.year {
            figcaption { strong { (year) } " " (summary(&of_year, calendar)) }
            div.halves role="group" aria-label=(format!("Calendar of {year}")) {
                @for half in halves.iter().flatten().filter(|half| !half.days.is_empty()) {
                    (half_picture(half, calendar))
                }
            }
        }
    }
}

/// Half a year.
struct Half {
    first: NaiveDate,
    /// Its days that are shown.
    days: Vec<Day>,
}

fn half(year: i32, from: u32, (to, last): (u32, u32), shown: Period) -> Option<Half> {
    let first = NaiveDate::from_ymd_opt(year, from, 1)?;
    let last = NaiveDate::from_ymd_opt(year, to, last)?;
    let dates = first.iter_days().take_while(|date| *date <= last);
    let days = dates.filter_map(|date| Day::new(date).ok());
    Some(Half {
        first,
        days: days.filter(|day| shown.contains(*day)).collect(),
    })
}

fn half_picture(half: &Half, calendar: Calendar<'_>) -> Markup {
    let months = half.first.month()..half.first.month() + 6;
    html! {
        svg.cal viewBox="0 0 394 110" {
            @for (row, name) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] {
                text x="0" y=(TOP + row * PITCH + 9) { (name) }
            }
            @for start in months.filter_map(|month| half.first.with_month(month)) {
                text x=(place(start, half.first).0) y="10" { (MONTHS[start.month0() as usize]) }
            }
            @for day in &half.days {
                (cell(*day, place(day.date(), half.first), calendar))
            }
        }
    }
}

/// Where the square of a date is in the half of a year that begins with `first`.
fn place(date: NaiveDate, first: NaiveDate) -> (u32, u32) {
    let index = date.ordinal0() - first.ordinal0() + first.weekday().num_days_from_monday();
    (LEFT + index / 7 * PITCH, TOP + index % 7 * PITCH)
}

fn cell(day: Day, (x, y): (u32, u32), calendar: Calendar<'_>) -> Markup {
    let Some(posted) = calendar.days.get(&day) else {
        return if calendar.is_gap(day) {
            html! { use href="#g" class="g" x=(x) y=(y) { title { (day) ": gap, no entry" } } }
        } else {
            html! { use href="#g" class="u" x=(x) y=(y) { title { (day) ": not applied, no entry" } } }
        };
    };
    let remarks = posted.remarks();
    html! {
        a href=(format!("#d{day}")) {
            title {
                (day) ": " (Grouped(posted.count)) " interactions, " (Grouped(posted.total)) " records"
                @if !remarks.is_empty() { "; " (remarks) }
            }
            use href="#c" class=(class_of(calendar.shades.of_count(posted.count))) x=(x) y=(y) {}
            @if posted.is_quiet { use href="#q" class="q" x=(x) y=(y) {} }
            @if posted.is_imported { use href="#i" class="i" x=(x) y=(y) {} }
            @if posted.is_corrected { use href="#k" class="k" x=(x) y=(y) {} }
            @if posted.is_reversed { use href="#r" class="r" x=(x) y=(y) {} }
        }
    }
}

impl Calendar<'_> {
    /// Whether a day without entries has some before and after it.
    fn is_gap(self, day: Day) -> bool {
        self.whole.is_some_and(|whole| whole.contains(day))
    }
}

/// How many days of each kind a year has, in words.
fn summary(of_year: &[Day], calendar: Calendar<'_>) -> String {
    let (posted, missing): (Vec<Day>, Vec<Day>) = of_year
        .iter()
        .copied()
        .partition(|day| calendar.days.contains_key(day));
    let posted: Vec<&PostedDay> = posted.iter().map(|day| &calendar.days[day]).collect();
    let gaps = missing.iter().filter(|day| calendar.is_gap(**day)).count();
    let number = |is: fn(&PostedDay) -> bool| posted.iter().filter(|day| is(day)).count();
    let kinds = [
        (gaps, "gap", "gaps"),
        (missing.len() - gaps, "not applied", "not applied"),
        (number(|day| day.is_quiet), "quiet", "quiet"),
        (number(|day| day.is_corrected), "corrected", "corrected"),
        (number(|day| day.is_imported), "imported", "imported"),
        (number(|day| day.is_reversed), "reversed", "reversed"),
    ];
    let count: i128 = posted.iter().map(|day| day.count).sum();
    let days = counted(posted.len(), "day", "days");
    let mut text = format!("{} interactions, {days} with entries", Grouped(count));
    for (number, one, many) in kinds.into_iter().filter(|(number, ..)| *number > 0) {
        text += &format!(", {}", counted(number, one, many));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(count: i128) -> PostedDay {
        PostedDay {
            count,
            total: count,
            is_quiet: false,
            is_corrected: false,
            is_imported: false,
            is_reversed: false,
        }
    }

    fn days(of: &[(&str, PostedDay)]) -> BTreeMap<Day, PostedDay> {
        let day = |(day, posted): &(&str, PostedDay)| (day.parse().unwrap(), posted.clone());
        of.iter().map(day).collect()
    }

    #[test]
    fn each_kind_of_day_has_a_shape_of_its_own_and_leads_to_its_entries() {
        let quiet = PostedDay {
            is_quiet: true,
            ..posted(0)
        };
        let special = PostedDay {
            is_corrected: true,
            is_imported: true,
            is_reversed: true,
            ..posted(7)
        };
        let days = days(&[
            ("2020-02-15", posted(5)),
            ("2020-02-17", quiet),
            ("2020-02-18", special),
        ]);
        let period = |from: &str, to: &str| Period::new(from.parse().unwrap(), to.parse().unwrap());
        let calendar = Calendar {
            shown: period("2020-02-14", "2020-02-18").unwrap(),
            whole: period("2020-02-15", "2020-02-18"),
            days: &days,
            shades: &Shades::of(&days),
        };
        let svg = year(2020, calendar).into_string();
        for part in [
            r##"<a href="#d2020-02-15"><title>2020-02-15: 5 interactions, 5 records</title><use href="#c" class="s1" x="108" y="83"></use></a>"##,
            "2020-02-16: gap, no entry",
            "2020-02-14: not applied, no entry",
            r##"<use href="#q" class="q""##,
            "2020-02-18: 7 interactions, 7 records; corrected, imported, reversed",
            "12 interactions, 3 days with entries, 1 gap, 1 not applied, 1 quiet, 1 corrected, 1 imported, 1 reversed",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        for shape in ["k", "i", "r"] {
            assert!(
                svg.contains(&format!(r#"class="{shape}" x="108" y="31""#))
                    || svg.contains(&format!(r#"class="{shape}""#))
            );
        }
        assert!(!svg.contains("2020-02-13:") && !svg.contains("2020-02-19:"));
        // Nothing is in the second half, which is not drawn.
        assert_eq!(svg.matches("<svg").count(), 1);
    }

    #[test]
    fn each_date_of_a_year_has_a_place_of_its_own_within_its_half() {
        for (of, year) in [
            (2020, "leap"),
            (2023, "ends on a Sunday"),
            (2028, "most weeks"),
        ] {
            let mut places = Vec::new();
            for (from, to, last) in [(1, 6, 30), (7, 12, 31)] {
                let shown =
                    Period::new("1970-01-01".parse().unwrap(), "9998-12-30".parse().unwrap());
                let half = half(of, from, (to, last), shown.unwrap()).unwrap();
                for day in &half.days {
                    let (x, y) = place(day.date(), half.first);
                    assert!(x + PITCH <= 394 && y + PITCH <= 110, "{year}: {day}");
                    places.push((from, x, y));
                }
            }
            let all = places.len();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), all, "{year}");
        }
    }

    #[test]
    fn shades_divide_the_days_with_interactions_into_quarters() {
        let names: Vec<String> = (1..=8).map(|n| format!("2020-02-0{n}")).collect();
        let of: Vec<(&str, PostedDay)> = names
            .iter()
            .zip([0, 1, 2, 3, 4, 5, 6, 7])
            .map(|(name, n)| (name.as_str(), posted(n)))
            .collect();
        let shades = Shades::of(&days(&of));
        let found: Vec<usize> = [0, 1, 2, 3, 4, 6, 7].map(|n| shades.of_count(n)).into();
        assert_eq!(found, [0, 1, 1, 2, 2, 3, 4]);
        assert_eq!(shades.of_count(-3), 0);
    }
}
