//! Interactions and records over time, by stat type: charts, and the same numbers as tables. No IO.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::chart::{self, Bars};
use super::page::{number, scrolled};
use super::steps::Axis;
use crate::event::{RecordType, StatType};

/// What one cell, or all cells of its types, have on a day.
#[derive(Clone, Copy, Debug)]
pub struct Figure<'a> {
    pub record_type: &'a str,
    pub stat_type: &'a str,
    /// Interactions.
    pub count: i128,
    /// Records involved.
    pub total: i128,
}

/// The series of a stat type over both record types.
pub struct Series {
    stat_type: StatType,
    counts: Vec<i128>,
    totals: Vec<i128>,
}

/// The series of the stat types that have interactions, from figures by step.
pub fn series<'a>(
    figures: impl Iterator<Item = (usize, Figure<'a>)>,
    length: usize,
) -> Vec<Series> {
    let mut all: Vec<Series> = StatType::ALL
        .into_iter()
        .map(|stat_type| Series {
            stat_type,
            counts: vec![0; length],
            totals: vec![0; length],
        })
        .collect();
    for (step, figure) in figures {
        let of_type = all
            .iter_mut()
            .find(|series| series.stat_type.name() == figure.stat_type);
        if let Some(series) = of_type {
            series.counts[step] += figure.count;
            series.totals[step] += figure.total;
        }
    }
    all.retain(|series| series.counts.iter().chain(&series.totals).any(|n| *n != 0));
    all
}

/// A chart or two for each series.
pub fn charts(axis: &Axis, all: &[Series]) -> Markup {
    html! {
        @if let Some(incomplete) = axis.incomplete() {
            p { "Drawn with a dashed outline, as it is not complete: " (incomplete) "." }
        }
        div.charts {
            @for Series { stat_type, counts, totals } in all {
                @let is_of_one_record = counts == totals;
                @for (unit, values) in [("interactions", counts), ("records", totals)] {
                    // Where each interaction is about one record, one chart says it all.
                    @if unit == "interactions" || !is_of_one_record {
                        @let title = title(*stat_type, if is_of_one_record { "interactions, each with one record" } else { unit });
                        (chart::bars(&Bars { title: &title, unit, axis, values }))
                    }
                }
            }
        }
    }
}

fn title(stat_type: StatType, unit: &str) -> String {
    let (first, rest) = stat_type.name().split_at(1);
    format!("{}{rest}: {unit}", first.to_ascii_uppercase())
}

/// The numbers of the charts.
pub fn step_table(axis: &Axis, all: &[Series]) -> Markup {
    let are_marked = axis.marks.iter().any(Option::is_some);
    html! {
        div.scroll tabindex="0" role="group" aria-label="Data of the charts" {
            table {
                thead {
                    tr {
                        th scope="col" { (axis.step) }
                        @for Series { stat_type, .. } in all {
                            th.n scope="col" { (stat_type.name()) br; "interactions" }
                            th.n scope="col" { (stat_type.name()) br; "records" }
                        }
                        @if are_marked { th scope="col" { "corrected" } }
                    }
                }
                tbody {
                    @for index in 0..axis.labels.len() {
                        tr {
                            th.date scope="row" { (axis.full_label(index)) }
                            @for series in all { (number(series.counts[index])) (number(series.totals[index])) }
                            @if are_marked { td { @if let Some(mark) = &axis.marks[index] { (mark) } } }
                        }
                    }
                }
            }
        }
    }
}

/// The sums by record type and stat type.
pub fn type_table<'a>(figures: impl Iterator<Item = Figure<'a>>) -> Markup {
    let mut sums: BTreeMap<(&str, &str), [i128; 2]> = BTreeMap::new();
    for figure in figures {
        let types = (figure.record_type, figure.stat_type);
        let [count, total] = sums.entry(types).or_default();
        *count += figure.count;
        *total += figure.total;
    }
    let types = RecordType::ALL.into_iter().rev().flat_map(|record_type| {
        StatType::ALL.map(|stat_type| (record_type.name(), stat_type.name()))
    });
    let table = html! {
        table {
            thead {
                tr {
                    th scope="col" { "Record type" } th scope="col" { "Stat type" }
                    th.n scope="col" { "Interactions" } th.n scope="col" { "Records" }
                }
            }
            tbody {
                @for types in types {
                    @if let Some([count, total]) = sums.get(&types) {
                        tr { th scope="row" { (types.0) } td { (types.1) } (number(count)) (number(total)) }
                    }
                }
            }
        }
    };
    html! {
        h3 { "Sums by type" }
        (scrolled("Sums by type", &table))
    }
}
