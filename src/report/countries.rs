//! Countries, ranked by the records involved. No IO.

use maud::{Markup, html};

use super::chart;
use super::page::{foreign, number, scrolled};
use crate::text::Grouped;

/// Number of countries that are shown.
pub const SHOWN: usize = 30;

/// A table with a bar for each country, of the largest of `length` countries.
pub fn country_table(largest: &[(&str, i64)], length: usize) -> Markup {
    let highest = largest.iter().map(|(_, records)| *records).max();
    let table = html! {
        table {
            thead { tr { th scope="col" { "Country" } th.n scope="col" { "Records" } td aria-hidden="true" {} } }
            tbody {
                @for (country, records) in largest {
                    tr {
                        th.name scope="row" {
                            @if country.is_empty() { span.muted { "not known" } } @else { (foreign(country)) }
                        }
                        (number(*records))
                        td.wide aria-hidden="true" { (chart::ranked_bar(*records, highest.unwrap_or(1))) }
                    }
                }
            }
        }
    };
    html! {
        (scrolled("Records by country", &table))
        @if length > largest.len() { p.muted { "The first " (largest.len()) " of " (Grouped(length)) "." } }
    }
}
