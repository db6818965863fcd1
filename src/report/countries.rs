//! Countries, ranked by the records involved. No IO.

use maud::{Markup, html};

use super::chart;
use super::page::{foreign, number, scrolled};
use crate::projection::countries::CountryUsage;
use crate::text::Grouped;

/// Number of countries that are shown.
const SHOWN: usize = 30;

/// A table with a bar for each country.
pub fn country_table(countries: &[CountryUsage]) -> Markup {
    let highest = countries.iter().map(|usage| usage.records).max();
    let table = html! {
        table {
            thead { tr { th scope="col" { "Country" } th.n scope="col" { "Records" } td aria-hidden="true" {} } }
            tbody {
                @for usage in countries.iter().take(SHOWN) {
                    tr {
                        th.name scope="row" {
                            @if usage.country.is_empty() { span.muted { "not known" } } @else { (foreign(&usage.country)) }
                        }
                        (number(usage.records))
                        td.wide aria-hidden="true" { (chart::ranked_bar(usage.records, highest.unwrap_or(1))) }
                    }
                }
            }
        }
    };
    html! {
        (scrolled("Records by country", &table))
        @if countries.len() > SHOWN { p.muted { "The first " (SHOWN) " of " (Grouped(countries.len())) "." } }
    }
}
