//! The page about one recordset, for its publisher. No IO.

use maud::{Markup, html};
use uuid::Uuid;

use super::countries::country_table;
use super::over_time::{charts, series, step_table, type_table};
use super::page::{Mark, audit, contents, foreign, number, page, scrolled, tile};
use super::recordset_numbers::RecordsetNumbers;
use crate::day::Period;
use crate::text::Grouped;

/// What the page needs to be one of a site.
#[derive(Clone, Copy, Debug)]
pub struct InSite<'a> {
    pub mark: &'a Mark,
    /// The address of the site's index.
    pub index: &'a str,
}

/// The page. `name` is the recordset's, `asked` the days asked for, if not all.
pub fn recordset_page(
    numbers: &RecordsetNumbers,
    name: Option<&str>,
    asked: Option<Period>,
    in_site: Option<InSite<'_>>,
) -> String {
    let id = numbers.sum.recordset_id;
    let sections = [
        ("time", "Over time"),
        ("countries", "Countries"),
        ("viewed", "Most viewed records"),
        ("check", "How to check"),
    ];
    let body = html! {
        header {
            @if let Some(InSite { index, .. }) = in_site { p.up { a href=(index) { "All recordsets" } } }
            h1 { @if let Some(name) = name { (foreign(name)) } @else { "Recordset" } }
            p {
                "Interactions with the records of recordset " span.id { (id) }
                @if let Some(asked) = asked { ", only " (asked.from()) " to " (asked.to()) }
            }
            (contents(&sections))
        }
        main id="main" {
            (state(numbers))
            (time_section(numbers))
            (countries_section(numbers))
            (viewed_section(numbers))
            (check_section(id, asked))
        }
        footer {
            "Made by daybook " (env!("CARGO_PKG_VERSION")) ". Latest entry for this recordset: "
            (numbers.sum.entry_id) "."
        }
    };
    let title = name.map_or_else(|| format!("Recordset {id}"), str::to_owned);
    page(&title, in_site.map(|site| site.mark), &body)
}

fn state(numbers: &RecordsetNumbers) -> Markup {
    let [count, total] = numbers
        .figures()
        .fold([0, 0], |[count, total], (_, figure)| {
            [count + figure.count, total + figure.total]
        });
    html! {
        dl.tiles {
            (tile("Interactions", &html! { (Grouped(count)) }, &html! { "searches, views, downloads and others" }))
            (tile("Records involved", &html! { (Grouped(total)) }, &html! { "in all interactions" }))
            (tile("First day", &html! { (numbers.sum.first_day) }, &html! { "with an interaction" }))
            (tile("Last day", &html! { (numbers.sum.last_day) }, &html! { "with an interaction" }))
        }
    }
}

fn time_section(numbers: &RecordsetNumbers) -> Markup {
    let axis = numbers.steps.axis();
    let all = series(numbers.figures(), axis.labels.len());
    html! {
        section id="time" {
            h2 { "Over time" }
            (charts(&axis, &all))
            (type_table(numbers.figures().map(|(_, figure)| figure)))
            details {
                summary { "Data of the charts, by " (axis.step) }
                (step_table(&axis, &all))
            }
        }
    }
}

fn countries_section(numbers: &RecordsetNumbers) -> Markup {
    let largest = numbers.countries.largest();
    let largest: Vec<(&str, i64)> = largest
        .iter()
        .map(|(name, n)| (name.as_str(), *n))
        .collect();
    html! {
        section id="countries" {
            h2 { "Countries" }
            @if largest.is_empty() { p { "None." } }
            @else {
                p { "Records involved, by the user's country." }
                (country_table(&largest, numbers.countries.length))
            }
        }
    }
}

fn viewed_section(numbers: &RecordsetNumbers) -> Markup {
    let mut viewed = numbers.viewed.largest();
    viewed.retain(|(_, views)| *views > 0);
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
                            @for (record, views) in &viewed { tr { th.long scope="row" { (foreign(record)) } (number(*views)) } }
                        }
                    }
                }))
                @if numbers.viewed.length > viewed.len() {
                    p.muted { "The first " (viewed.len()) " of " (Grouped(numbers.viewed.length)) "." }
                }
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
