//! The page about one recordset, for its publisher. No IO.

use maud::{Markup, html};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::countries::country_table;
use super::over_time::{Figure, charts, series, step_table, type_table};
use super::page::{Mark, audit, contents, foreign, number, page, scrolled, tile};
use super::steps::Steps;
use crate::day::{Day, Period};
use crate::error::{Error, ErrorKind};
use crate::event::{RecordType, StatType};
use crate::ledger::EntryId;
use crate::ledger::survey::SurveyedRow;
use crate::projection::countries::CountryUsage;
use crate::projection::place::Places;
use crate::text::Grouped;

/// Number of records in the table of those viewed most.
const MOST_VIEWED: usize = 25;

/// The numbers of the page, added up from the rows of the recordset.
#[derive(Debug, Default)]
pub struct RecordsetNumbers {
    pub recordset_id: Uuid,
    /// The newest entry that touches it.
    pub entry_id: EntryId,
    /// Interactions and records by day and types.
    cells: FxHashMap<(Day, RecordType, StatType), [i64; 2]>,
    /// Records by country.
    countries: FxHashMap<Box<str>, i64>,
    /// Views by record.
    viewed: FxHashMap<Box<str>, i64>,
}

impl RecordsetNumbers {
    pub fn new(recordset_id: Uuid) -> Self {
        Self {
            recordset_id,
            ..Self::default()
        }
    }

    /// Adds a row of the recordset.
    pub fn add(&mut self, row: &SurveyedRow<'_>, places: &mut Places) -> Result<(), Error> {
        let exceeded = || {
            Error::new(
                ErrorKind::FigureTooLarge,
                format!(
                    "the totals of recordset {} exceed a bigint",
                    self.recordset_id
                ),
            )
        };
        self.entry_id = self.entry_id.max(row.entry_id);
        let [count, total] = self
            .cells
            .entry((row.day, row.record_type, row.stat_type))
            .or_default();
        *count = count.checked_add(row.count).ok_or_else(exceeded)?;
        *total = total.checked_add(row.total).ok_or_else(exceeded)?;
        let countries = &mut self.countries;
        row.for_each_geocode(|geocode, n| add(countries, &places.of(geocode).country, n))?;
        let viewed = &mut self.viewed;
        row.for_each_viewed(|record, n| add(viewed, record, n))?;
        Ok(())
    }

    /// The days from the first that has a row to the last; none if there are no rows.
    fn period(&self) -> Option<Period> {
        let days = self.cells.keys().map(|(day, ..)| *day);
        let (first, last) = (days.clone().min()?, days.max()?);
        Period::new(first, last)
    }

    fn figures(&self) -> impl Iterator<Item = (Day, Figure<'static>)> {
        self.cells
            .iter()
            .map(|((day, record_type, stat_type), [count, total])| {
                let figure = Figure {
                    record_type: record_type.name(),
                    stat_type: stat_type.name(),
                    count: (*count).into(),
                    total: (*total).into(),
                };
                (*day, figure)
            })
    }

    /// The countries, the most records first.
    fn countries(&self) -> Vec<CountryUsage> {
        let mut countries: Vec<CountryUsage> = self
            .countries
            .iter()
            .map(|(country, records)| CountryUsage {
                country: country.to_string(),
                records: *records,
            })
            .collect();
        countries.retain(|usage| usage.records != 0);
        countries.sort_by(|a, b| (b.records, &a.country).cmp(&(a.records, &b.country)));
        countries
    }

    /// The records that were viewed most.
    fn most_viewed(&self) -> Vec<(&str, i64)> {
        let viewed = self
            .viewed
            .iter()
            .map(|(record, views)| (&**record, *views));
        let mut viewed: Vec<(&str, i64)> = viewed.filter(|(_, views)| *views > 0).collect();
        viewed.sort_by_key(|(record, views)| (std::cmp::Reverse(*views), *record));
        viewed.truncate(MOST_VIEWED);
        viewed
    }
}

/// Adds to a sum. A sum beyond a bigint stays at its end: the totals, which are larger, report it.
fn add(sums: &mut FxHashMap<Box<str>, i64>, term: &str, n: i64) {
    if let Some(sum) = sums.get_mut(term) {
        *sum = sum.saturating_add(n);
    } else {
        sums.insert(term.into(), n);
    }
}

/// The page. `name` is the recordset's, `asked` the days asked for, if not all.
pub fn recordset_page(
    numbers: &RecordsetNumbers,
    name: Option<&str>,
    asked: Option<Period>,
    mark: Option<&Mark>,
) -> String {
    let id = numbers.recordset_id;
    let sections = [
        ("time", "Over time"),
        ("countries", "Countries"),
        ("viewed", "Most viewed records"),
        ("check", "How to check"),
    ];
    let body = html! {
        header {
            h1 { @if let Some(name) = name { (foreign(name)) } @else { "Recordset" } }
            p {
                "Interactions with the records of recordset " span.id { (id) }
                @if let Some(asked) = asked { ", only " (asked.from()) " to " (asked.to()) }
            }
            (contents(&sections))
        }
        main id="main" {
            @if let Some(period) = numbers.period() {
                (state(numbers, period))
                (time_section(numbers, period))
            } @else { p { "The ledger has nothing for this recordset." } }
            (countries_section(numbers))
            (viewed_section(numbers))
            (check_section(id, asked))
        }
        footer {
            "Made by daybook " (env!("CARGO_PKG_VERSION")) ". Latest entry for this recordset: "
            (numbers.entry_id) "."
        }
    };
    let title = name.map_or_else(|| format!("Recordset {id}"), str::to_owned);
    page(&title, mark, &body)
}

fn state(numbers: &RecordsetNumbers, period: Period) -> Markup {
    let [count, total] = numbers
        .figures()
        .fold([0, 0], |[count, total], (_, figure)| {
            [count + figure.count, total + figure.total]
        });
    html! {
        dl.tiles {
            (tile("Interactions", &html! { (Grouped(count)) }, &html! { "searches, views, downloads and others" }))
            (tile("Records involved", &html! { (Grouped(total)) }, &html! { "in all interactions" }))
            (tile("First day", &html! { (period.from()) }, &html! { "with an interaction" }))
            (tile("Last day", &html! { (period.to()) }, &html! { "with an interaction" }))
        }
    }
}

fn time_section(numbers: &RecordsetNumbers, period: Period) -> Markup {
    let steps = Steps::of(period);
    let (labels, name) = (steps.labels(), steps.step().name());
    let all = series(numbers.figures(), &steps);
    html! {
        section id="time" {
            h2 { "Over time" }
            (charts(&labels, &all, &[]))
            (type_table(numbers.figures().map(|(_, figure)| figure)))
            details {
                summary { "Data of the charts, by " (name) }
                (step_table(name, &labels, &all, &[]))
            }
        }
    }
}

fn countries_section(numbers: &RecordsetNumbers) -> Markup {
    let countries = numbers.countries();
    html! {
        section id="countries" {
            h2 { "Countries" }
            @if countries.is_empty() { p { "None." } }
            @else {
                p { "Records involved, by the user's country." }
                (country_table(&countries))
            }
        }
    }
}

fn viewed_section(numbers: &RecordsetNumbers) -> Markup {
    let viewed = numbers.most_viewed();
    html! {
        section id="viewed" {
            h2 { "Most viewed records" }
            @if viewed.is_empty() { p { "No record was viewed on its own page." } }
            @else {
                p { "Views of each record's own page." }
                (scrolled("Most viewed records", &html! {
                    table {
                        thead { tr { th scope="col" { "Record" } th.n scope="col" { "Views" } } }
                        tbody {
                            @for (record, views) in viewed { tr { th.long scope="row" { (foreign(record)) } (number(views)) } }
                        }
                    }
                }))
            }
        }
    }
}

/// The queries that give the numbers of the page.
fn check_section(id: Uuid, asked: Option<Period>) -> Markup {
    let days = asked.map_or(String::new(), |asked| {
        format!(" AND day BETWEEN '{}' AND '{}'", asked.from(), asked.to())
    });
    let rows = format!(
        "SELECT day, record_type, stat_type, sum(count) AS interactions, sum(total) AS records, array_agg(entry_id) AS entries\n\
         FROM daybook.interaction_delta WHERE recordset_id = '{id}'{days}\nGROUP BY day, record_type, stat_type ORDER BY day;"
    );
    let terms = |column: &str, condition: &str| {
        format!(
            "SELECT {column}, sum(n) AS records FROM daybook.interaction_term_delta\n\
             WHERE recordset_id = '{id}'{days} AND {condition}\nGROUP BY 1 ORDER BY records DESC;"
        )
    };
    let countries = terms(
        "term::jsonb ->> 'country' AS country",
        "dimension = 'geocodes'",
    );
    let viewed = terms(
        "term AS record",
        "dimension = 'items' AND record_type = 'records' AND stat_type = 'view'",
    );
    html! {
        section id="check" {
            h2 { "How to check" }
            p { "Every number is a sum of rows of the ledger. Rows never change, and each names the entry that posted it." }
            (audit(&format!("-- by day\n{rows}\n\n-- by country\n{countries}\n\n-- by record\n{viewed}")))
        }
    }
}
