//! The page about the ledger as a whole. No IO.

use std::collections::BTreeMap;

use chrono::Datelike as _;
use maud::{Markup, html};
use uuid::Uuid;

use super::calendar::{self, Calendar, Shades};
use super::chart;
use super::countries::{self, country_table};
use super::days::{Missing, PostedDay, WhyMissing, missing, posted_days};
use super::gather::{GROWN, Growth, LARGEST, LedgerNumbers};
use super::names::Names;
use super::over_time::{Figure, charts, series, step_table, type_table};
use super::page::{audit, contents, foreign, number, page, scrolled, tile};
use super::site;
use super::steps::Steps;
use crate::day::{Day, Period};
use crate::ledger::survey::Rejects;
use crate::ledger::{Entry, EntryKind};
use crate::projection::countries::CountryUsage;
use crate::text::{Grouped, counted};

/// Number of entries in the journal.
const NEWEST: usize = 20;
/// Number of entries in the table of corrections, imports and reversals.
const SPECIAL: usize = 100;
/// Number of ranges of days without an entry that are listed.
const MISSING: usize = 50;

/// What the page shows beside the numbers of the ledger.
#[derive(Debug, Default)]
pub struct Beside {
    pub names: Names,
    /// The address of a site with the pages of the recordsets, if there is one; it ends with a slash.
    pub site: Option<String>,
    /// The state of each projection; none if no cluster is configured.
    pub projections: Option<Vec<ProjectionState>>,
    /// The days whose events are no longer in the source; none if that is not known.
    pub sealed: Option<usize>,
    /// Usage by country, the most first; or why it is not shown.
    pub countries: Option<Result<Vec<CountryUsage>, String>>,
}

/// The state of a projection.
#[derive(Debug)]
pub struct ProjectionState {
    pub alias: String,
    /// The number of entries that it lacks, or why that is not known.
    pub behind: Result<i64, String>,
}

/// The page.
pub fn ledger_page(numbers: &LedgerNumbers, beside: &Beside) -> String {
    let days = posted_days(&numbers.entries);
    let missing = numbers
        .shown
        .map_or_else(Vec::new, |shown| missing(&days, shown, numbers.whole));
    let mut sections = vec![("days", "Days")];
    if numbers.period.is_some() {
        sections.extend([("time", "Over time"), ("recordsets", "Recordsets")]);
    }
    if beside.countries.is_some() {
        sections.push(("countries", "Countries"));
    }
    sections.extend([
        ("journal", "Journal"),
        ("rejected", "Rejected events"),
        ("entries", "All entries"),
    ]);
    let body = html! {
        (calendar::shapes())
        header {
            h1 { "Interactions with records" }
            p {
                "Ledger " span.id { (numbers.identity.ledger_id) } ", days in " (numbers.identity.time_zone)
                @if let Some(asked) = numbers.asked { ", only " (asked.from()) " to " (asked.to()) }
            }
            (contents(&sections))
        }
        main id="main" {
            (state(numbers, &missing, beside))
            (days_section(numbers, &days, &missing))
            @if let Some(period) = numbers.period {
                (time_section(numbers, period))
                (recordsets_section(numbers, period, beside))
            }
            @if let Some(countries) = &beside.countries { (countries_section(countries)) }
            (journal_section(&numbers.entries))
            (rejected_section(&numbers.rejects, numbers.asked))
            (entries_section(&numbers.entries))
        }
        (footer(numbers))
    };
    page("Interactions with records", None, &body)
}

pub(super) fn footer(numbers: &LedgerNumbers) -> Markup {
    html! {
        footer {
            "Made by daybook " (env!("CARGO_PKG_VERSION")) " from the ledger as it was on "
            (numbers.taken_at.format("%Y-%m-%d at %H:%M UTC"))
            @if let (Some(entry), Some(hash)) = (numbers.chain.newest_entry, &numbers.chain.newest_hash) {
                ", newest entry " (entry) " with the hash " span.id { (hash) }
            }
            "."
        }
    }
}

fn state(numbers: &LedgerNumbers, missing: &[Missing], beside: &Beside) -> Markup {
    let [count, total] = sums(&numbers.entries);
    html! {
        dl.tiles {
            (tile("Interactions", &html! { (Grouped(count)) }, &html! { "across " (counted(numbers.recordsets, "recordset", "recordsets")) }))
            (tile("Records involved", &html! { (Grouped(total)) }, &html! { "in all interactions" }))
            (last_day_tile(numbers))
            (gaps_tile(missing))
            (not_applied_tile(missing))
            (chain_tile(numbers))
            (tile(
                "Entries", &html! { (Grouped(numbers.entries.len())) },
                &html! { (kinds(&numbers.entries)) },
            ))
            @if let Some(sealed) = beside.sealed {
                (tile("Sealed days", &html! { (Grouped(sealed)) }, &html! { "no longer in the source; their posted numbers are kept" }))
            }
            (projections_tile(beside.projections.as_deref()))
        }
    }
}

fn last_day_tile(numbers: &LedgerNumbers) -> Markup {
    let Some(period) = numbers.period else {
        return tile(
            "Last applied day",
            &html! { "none" },
            &html! { "nothing is applied yet" },
        );
    };
    let missing = Period::new(period.to().next(), numbers.last_closed);
    let remark = html! {
        @if numbers.asked.is_some() { "of the days asked for" }
        @else if let Some(missing) = missing {
            span.bad {
                "▲ " (counted(missing.day_count(), "closed day", "closed days")) " not applied yet, from "
                (whole(missing.from())) " to " (whole(missing.to()))
            }
        }
        @else { span.good { "✓ up to date" } }
    };
    tile(
        "Last applied day",
        &html! { (period.to()) },
        &html! { (remark) br; "first day: " (whole(period.from())) },
    )
}

/// A date that is not broken at its hyphens.
fn whole(day: Day) -> Markup {
    html! { span.date { (day) } }
}

/// The number of days that are missing for these reasons.
fn days_missing(missing: &[Missing], is: impl Fn(WhyMissing) -> bool) -> usize {
    let those = missing.iter().filter(|missing| is(missing.why));
    those.map(|missing| missing.days.day_count()).sum()
}

fn gaps_tile(missing: &[Missing]) -> Markup {
    let gaps = days_missing(missing, |why| why == WhyMissing::Gap);
    let remark = html! {
        @if gaps == 0 { span.good { "✓ each day in between has an entry" } }
        @else { span.bad { "▲ " a href="#missing" { "days without an entry" } } }
    };
    tile("Gaps", &html! { (Grouped(gaps)) }, &remark)
}

/// Of days asked for, those that the ledger does not reach.
fn not_applied_tile(missing: &[Missing]) -> Markup {
    let days = days_missing(missing, |why| why != WhyMissing::Gap);
    html! {
        @if days > 0 {
            (tile("Not applied", &html! { (Grouped(days)) }, &html! {
                span.bad { "▲ " a href="#missing" { "days asked for" } " are before the first entry or after the last" }
            }))
        }
    }
}

fn chain_tile(numbers: &LedgerNumbers) -> Markup {
    let chain = &numbers.chain;
    let (value, remark) = match (chain.broken_at, &chain.newest_hash) {
        (Some(entry), _) => (
            html! { span.bad { "▲ broken at entry " (entry) } },
            html! { "run " code { "daybook verify --ledger" } },
        ),
        (None, Some(hash)) => (
            html! { span.good { "✓ unbroken" } },
            html! {
                "the headers of " (counted(chain.entries, "entry", "entries")) " were checked for this page; newest hash: "
                span.id title=(hash) { (hash.to_string().chars().take(16).collect::<String>()) "…" }
            },
        ),
        (None, None) => (html! { "empty" }, html! { "no entry yet" }),
    };
    tile("Hash chain", &value, &remark)
}

fn projections_tile(projections: Option<&[ProjectionState]>) -> Markup {
    let Some(projections) = projections else {
        return tile(
            "Projections",
            &html! { "not looked at" },
            &html! { "no Elasticsearch is configured" },
        );
    };
    let are_current = projections
        .iter()
        .all(|state| matches!(state.behind, Ok(0)));
    let remark = html! {
        @for state in projections {
            @match &state.behind {
                Ok(0) => { span { (state.alias) ": up to date" } }
                Ok(behind) => { span.bad { (state.alias) ": " (counted(*behind, "entry", "entries")) " behind" } }
                Err(problem) => { span.bad { (state.alias) ": " (foreign(problem)) } }
            }
            br;
        }
    };
    let value = html! {
        @if are_current { span.good { "✓ up to date" } } @else { span.bad { "▲ behind" } }
    };
    tile("Projections", &value, &remark)
}

/// Interactions and records of all entries.
fn sums(entries: &[Entry]) -> [i128; 2] {
    let totals = entries.iter().flat_map(|entry| &entry.totals.0);
    totals.fold([0, 0], |[count, total], of| {
        [count + of.count, total + of.total]
    })
}

/// What the entries add, by their days and types.
fn figures(entries: &[Entry]) -> impl Iterator<Item = (Day, Figure<'_>)> {
    entries.iter().flat_map(|entry| {
        entry.totals.0.iter().map(|of| {
            let figure = Figure {
                record_type: &of.record_type,
                stat_type: &of.stat_type,
                count: of.count,
                total: of.total,
            };
            (entry.day, figure)
        })
    })
}

/// How many entries there are of each kind, in words.
fn kinds(entries: &[Entry]) -> String {
    let number = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
    let all = [
        (number(EntryKind::Apply), "applied", "applied"),
        (number(EntryKind::Correction), "correction", "corrections"),
        (number(EntryKind::Import), "import", "imports"),
        (number(EntryKind::Reversal), "reversal", "reversals"),
    ];
    let named = all.into_iter().filter(|(number, ..)| *number > 0);
    let named: Vec<String> = named
        .map(|(number, one, many)| counted(number, one, many))
        .collect();
    named.join(", ")
}

fn days_section(
    numbers: &LedgerNumbers,
    days: &BTreeMap<Day, PostedDay>,
    missing: &[Missing],
) -> Markup {
    html! {
        section id="days" {
            h2 { "Days" }
            @if let Some((period, shown)) = numbers.period.zip(numbers.shown) {
                (calendar_of(numbers, period, shown, days, missing))
            } @else if numbers.whole.is_some() {
                p { "The ledger has no entries about these days." }
            } @else {
                p { "The ledger has no entries yet: " code { "daybook apply" } " posts the first." }
            }
            @if !missing.is_empty() { (missing_list(missing)) }
            @if numbers.period.is_some() {
                (special_entries(&numbers.entries))
                (audit(&format!(
                    "SELECT day FROM daybook.gap{} ORDER BY day;\n\
                     SELECT * FROM daybook.posted_day WHERE (corrected OR imported OR taken_back){} ORDER BY day;",
                    condition("WHERE", "day", numbers.asked), condition("AND", "day", numbers.asked)
                )))
            }
        }
    }
}

/// The years that have entries, the newest first.
fn calendar_of(
    numbers: &LedgerNumbers,
    period: Period,
    shown: Period,
    days: &BTreeMap<Day, PostedDay>,
    missing: &[Missing],
) -> Markup {
    let calendar = Calendar {
        shown,
        whole: numbers.whole,
        days,
        shades: &Shades::of(days),
    };
    let years = period.from().date().year()..=period.to().date().year();
    let are_all_applied = missing.iter().all(|missing| missing.why == WhyMissing::Gap);
    html! {
        p { "Each square is a day; the more it stands out, the more interactions it has. Select a day to see its entries." }
        (calendar::legend(calendar.shades, are_all_applied))
        a.skip-here href="#after-calendar" { "Skip the calendar" }
        @for year in years.rev() { (calendar::year(year, calendar)) }
        div id="after-calendar" tabindex="-1" {}
    }
}

fn missing_list(missing: &[Missing]) -> Markup {
    let why = |why| match why {
        WhyMissing::Gap => "",
        WhyMissing::BeforeTheFirst => ": not applied, before the first entry",
        WhyMissing::AfterTheLast => ": not applied, after the last entry",
    };
    html! {
        h3 id="missing" { "Days without an entry" }
        ul {
            @for Missing { days, why: of } in missing.iter().take(MISSING) {
                li {
                    (days.from())
                    @if days.day_count() > 1 { " to " (days.to()) ", " (counted(days.day_count(), "day", "days")) }
                    (why(*of))
                }
            }
            @if missing.len() > MISSING { li { "… and " (counted(missing.len() - MISSING, "more range", "more ranges")) } }
        }
        p { "To post one of them, run " code { "daybook apply --day DAY" } "." }
    }
}

/// The corrections, imports and reversals, newest first.
fn special_entries(entries: &[Entry]) -> Markup {
    let special: Vec<&Entry> = entries
        .iter()
        .rev()
        .filter(|entry| entry.kind != EntryKind::Apply)
        .collect();
    html! {
        h3 { "Corrections, imports and reversals" }
        @if special.is_empty() { p { "None: every day was applied once." } }
        @else {
            (entry_table(special.iter().copied().take(SPECIAL)))
            @if special.len() > SPECIAL {
                p.muted { "The " (SPECIAL) " most recent of " (Grouped(special.len())) "; the others are below, with their days." }
            }
        }
    }
}

/// A table of entries in full.
fn entry_table<'a>(entries: impl Iterator<Item = &'a Entry>) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Entries" {
            table {
                thead {
                    tr {
                        th scope="col" { "Entry" } th scope="col" { "Day" } th scope="col" { "Kind" }
                        th.n scope="col" { "Interactions" } th.n scope="col" { "Records" }
                        th scope="col" { "Posted (UTC)" } th scope="col" { "By" } th scope="col" { "Reason" }
                    }
                }
                tbody {
                    @for entry in entries {
                        @let [count, total] = sums(std::slice::from_ref(entry));
                        tr {
                            th scope="row" { (entry.entry_id) }
                            td.date { a href=(format!("#d{}", entry.day)) { (entry.day) } }
                            td {
                                (entry.kind)
                                @if let Some(other) = entry.reverses { " of entry " (other) }
                                @if let Some(other) = entry.reversed_by { ", reversed by entry " (other) }
                            }
                            (number(count)) (number(total))
                            td.date { (entry.posted_at.format("%Y-%m-%d %H:%M")) }
                            td.name { (foreign(&entry.posted_by)) }
                            td.long { @if let Some(reason) = &entry.reason { (foreign(reason)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What was corrected in each step, in words.
fn corrections(entries: &[Entry], steps: &Steps) -> Vec<Option<String>> {
    let mut found: Vec<Vec<&Entry>> = vec![Vec::new(); steps.len()];
    for entry in entries {
        if matches!(entry.kind, EntryKind::Correction | EntryKind::Reversal)
            && let Some(index) = steps.index_of_day(entry.day)
        {
            found[index].push(entry);
        }
    }
    let told = |entries: Vec<&Entry>| {
        (!entries.is_empty()).then(|| {
            let owned: i128 = entries
                .iter()
                .flat_map(|entry| &entry.totals.0)
                .map(|of| of.count)
                .sum();
            let number = counted(
                entries.len(),
                "correction or reversal",
                "corrections or reversals",
            );
            format!("{number}, {owned:+} interactions")
        })
    };
    found.into_iter().map(told).collect()
}

fn time_section(numbers: &LedgerNumbers, period: Period) -> Markup {
    let steps = Steps::of(period, period);
    let mut axis = steps.axis();
    axis.marks = corrections(&numbers.entries, &steps);
    let by_step = figures(&numbers.entries)
        .filter_map(|(day, figure)| Some((steps.index_of_day(day)?, figure)));
    let all = series(by_step, steps.len());
    let name = axis.step;
    html! {
        section id="time" {
            h2 { "Over time" }
            p {
                "By " (name) ". A triangle below the axis marks a " (name) " with corrections or reversals, which the bars include."
            }
            (charts(&axis, &all))
            (type_table(figures(&numbers.entries).map(|(_, figure)| figure)))
            details {
                summary { "Data of the charts, by " (name) }
                (step_table(&axis, &all))
            }
            (audit(&format!(
                "SELECT record_type, stat_type, sum(count) AS interactions, sum(total) AS records\n\
                 FROM daybook.day_total{} GROUP BY record_type, stat_type ORDER BY record_type, stat_type;",
                condition("WHERE", "day", numbers.asked)
            )))
        }
    }
}

/// A recordset's name and id, with a link to its page if there is one.
fn recordset(recordset_id: Uuid, beside: &Beside) -> Markup {
    let shown = html! {
        @if let Some(name) = beside.names.of(recordset_id) { (foreign(name)) br; }
        span.id { (recordset_id) }
    };
    match &beside.site {
        Some(site) => html! { a href=(site::address(site, recordset_id)) { (shown) } },
        None => shown,
    }
}

fn recordsets_section(numbers: &LedgerNumbers, period: Period, beside: &Beside) -> Markup {
    let axis = Steps::of(period, period).axis();
    html! {
        section id="recordsets" {
            h2 { "Recordsets" }
            h3 { "The largest, by records involved" }
            p.muted {
                @if numbers.largest.len() < numbers.recordsets {
                    (numbers.largest.len()) " of " (Grouped(numbers.recordsets)) " are shown. "
                }
                "Each line goes by " (axis.step) " and has a scale of its own, from 0 to its highest " (axis.step) ", so the lines show when, not how much."
                @if let Some(incomplete) = axis.incomplete() { " Not complete: " (incomplete) "." }
            }
            div.scroll tabindex="0" role="group" aria-label="The largest recordsets" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Recordset" } th.n scope="col" { "Interactions" } th.n scope="col" { "Records" }
                            th scope="col" { "Records over time" } th scope="col" { "First day" } th scope="col" { "Last day" }
                        }
                    }
                    tbody {
                        @for largest in &numbers.largest {
                            @let sum = &largest.sum;
                            tr {
                                th.long scope="row" { (recordset(sum.recordset_id, beside)) }
                                (number(sum.count)) (number(sum.total))
                                td { (chart::sparkline(&axis.labels, &largest.series)) }
                                td.date { (sum.first_day) } td.date { (sum.last_day) }
                            }
                        }
                    }
                }
            }
            @if let Some(growth) = &numbers.growth { (growth_table(growth, beside)) }
            (audit(&largest_query(numbers.asked, numbers.growth.as_ref())))
        }
    }
}

/// For queries: that a day is one of those asked for.
fn condition(keyword: &str, column: &str, asked: Option<Period>) -> String {
    asked.map_or_else(String::new, |asked| {
        let (from, to) = (asked.from(), asked.to());
        format!(" {keyword} {column} BETWEEN '{from}' AND '{to}'")
    })
}

/// The queries that give the largest recordsets and the largest increases.
fn largest_query(asked: Option<Period>, growth: Option<&Growth>) -> String {
    let rows = match asked {
        Some(_) => "interaction_delta",
        None => "recordset_total",
    };
    format!(
        "-- the largest\nSELECT recordset_id, sum(count) AS interactions, sum(total) AS records FROM daybook.{rows}{}\n\
         GROUP BY recordset_id ORDER BY records DESC, recordset_id LIMIT {LARGEST};{}",
        condition("WHERE", "day", asked),
        growth.map_or_else(String::new, growth_query)
    )
}

/// The query that gives the largest increases.
fn growth_query(growth: &Growth) -> String {
    let Growth {
        middle, last, days, ..
    } = growth;
    format!(
        "\n\n-- the largest increases\nSELECT recordset_id, sum(CASE WHEN day < '{middle}' THEN -total ELSE total END) AS change\n\
         FROM daybook.interaction_delta WHERE day BETWEEN date '{middle}' - {days} AND '{last}'\n\
         GROUP BY recordset_id ORDER BY change DESC, recordset_id LIMIT {GROWN};"
    )
}

fn growth_table(growth: &Growth, beside: &Beside) -> Markup {
    html! {
        h3 { "Largest increases" }
        p.muted {
            "Records involved from " (growth.middle) " to " (growth.last) ", compared with the "
            (counted(growth.days, "day", "days")) " before."
        }
        @if growth.changes.is_empty() { p { "No recordset grew." } }
        @else {
            div.scroll tabindex="0" role="group" aria-label="Recordsets that grew most" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Recordset" } th.n scope="col" { "Before" } th.n scope="col" { "After" }
                            th.n scope="col" { "Change" }
                        }
                    }
                    tbody {
                        @for change in &growth.changes {
                            tr {
                                th.long scope="row" { (recordset(change.recordset_id, beside)) }
                                (number(change.before)) (number(change.after))
                                td.n { "+" (Grouped(i128::from(change.after) - i128::from(change.before))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn countries_section(countries: &Result<Vec<CountryUsage>, String>) -> Markup {
    html! {
        section id="countries" {
            h2 { "Countries" }
            @match countries {
                Err(problem) => { p { "Not shown: " (foreign(problem)) "." } }
                Ok(countries) if countries.is_empty() => { p { "None." } }
                Ok(countries) => {
                    @let largest: Vec<(&str, i64)> = countries.iter().take(countries::SHOWN)
                        .map(|usage| (usage.country.as_str(), usage.records)).collect();
                    p { "Records involved since the first day, by the user's country." }
                    (country_table(&largest, countries.len()))
                }
            }
            (audit("SELECT term::jsonb ->> 'country' AS country, sum(n) AS records FROM daybook.interaction_term_delta\nWHERE dimension = 'geocodes' GROUP BY country ORDER BY records DESC;"))
        }
    }
}

fn journal_section(entries: &[Entry]) -> Markup {
    html! {
        section id="journal" {
            h2 { "Journal" }
            @if entries.len() > NEWEST { p.muted { "The " (NEWEST) " most recent entries." } }
            (entry_table(entries.iter().rev().take(NEWEST)))
        }
    }
}

fn rejected_section(rejects: &[Rejects], asked: Option<Period>) -> Markup {
    html! {
        section id="rejected" {
            h2 { "Rejected events" }
            @if rejects.is_empty() { p { "None: every event could be counted." } }
            @else {
                p { "Events that could not be counted. The ledger keeps each of them whole." }
                div.scroll tabindex="0" role="group" aria-label="Rejected events by reason" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Reason" } th.n scope="col" { "Events" } th scope="col" { "First day" }
                                th scope="col" { "Last day" } th scope="col" { "For example" }
                            }
                        }
                        tbody {
                            @for rejected in rejects {
                                tr {
                                    th scope="row" { (foreign(&rejected.reason)) } (number(rejected.events))
                                    td.date { (rejected.first_day) } td.date { (rejected.last_day) } td.long { (foreign(&rejected.example)) }
                                }
                            }
                        }
                    }
                }
                (audit(&format!(
                    "SELECT r.reason, count(*) AS events FROM daybook.rejected_event r JOIN daybook.entry e USING (entry_id){}\n\
                     GROUP BY r.reason ORDER BY events DESC, r.reason;",
                    condition("WHERE", "e.day", asked)
                )))
            }
        }
    }
}

/// Every entry by its day, which the calendar leads to. The newest year is open.
fn entries_section(entries: &[Entry]) -> Markup {
    let mut by_day: Vec<&Entry> = entries.iter().collect();
    by_day.sort_by_key(|entry| (entry.day, entry.entry_id));
    let years: Vec<&[&Entry]> = by_day
        .chunk_by(|a, b| a.day.date().year() == b.day.date().year())
        .collect();
    html! {
        section id="entries" {
            h2 { "All entries" }
            p { "For the details of an entry, run " code { "daybook show ENTRY" } "." }
            @for (index, of_year) in years.iter().rev().enumerate() {
                details open[index == 0] {
                    summary { (of_year[0].day.date().year()) ", " (counted(of_year.len(), "entry", "entries")) }
                    (scrolled(&format!("Entries of {}", of_year[0].day.date().year()), &year_table(of_year)))
                }
            }
        }
    }
}

/// A short row for each entry of a year: there are thousands in a ledger of ten years.
fn year_table(entries: &[&Entry]) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Day" } th scope="col" { "Entry" } th scope="col" { "Kind" } th scope="col" { "Events" }
                    th scope="col" { "Rejected" } th scope="col" { "Interactions" } th scope="col" { "Records" }
                }
            }
            tbody.e {
                @for of_day in entries.chunk_by(|a, b| a.day == b.day) {
                    @for (index, entry) in of_day.iter().enumerate() {
                        @let [count, total] = sums(std::slice::from_ref(*entry));
                        tr id=[(index == 0).then(|| format!("d{}", entry.day))] {
                            th scope="row" { (entry.day) } td { (entry.entry_id) } td { (entry.kind) }
                            td { (Grouped(entry.source_events)) } td { (Grouped(entry.source_rejected)) }
                            td { (Grouped(count)) } td { (Grouped(total)) }
                        }
                    }
                }
            }
        }
    }
}
