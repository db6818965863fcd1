//! Verifies the ledger itself and compares it with its source. Changes nothing.
//!
//! The schema is compared with the migrations (`schema.rs`), and the hashes with witnesses ([`witness`]). The ledger is
//! recomputed here from one stream of its rows ([`ledger()`]), at about the cost of reading them. The server's own
//! functions and views find the same, but cost many times as much.

mod audit;
mod finding;
mod ledger;
mod row;
mod schema;
mod sum;
pub mod witness;

use serde::Serialize;

use crate::apply::{Recount, recount};
use crate::day::{Day, Period};
use crate::error::Error;
use crate::ledger::Reader;
use crate::source::Source;
use crate::text::counted;
use crate::workspace::Workspace;
pub use finding::Finding;
pub use ledger::ledger;

/// The result of verifying the ledger against its source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceCheck {
    /// Number of days that were counted again.
    pub days: u64,
    /// Days whose events the source no longer has.
    pub sealed: u64,
    /// Days that were reversed.
    pub reversed: u64,
    /// Days that were imported.
    pub imported: u64,
    /// Those of the imported days that the source has events of.
    pub imported_and_in_source: u64,
    pub findings: Vec<Finding>,
}

/// Days that have entries and have not begun yet.
pub fn days_to_come(first: Day, last: Day) -> Finding {
    let place = if first == last {
        first.to_string()
    } else {
        format!("{first} to {last}")
    };
    Finding::new(
        place,
        "has entries and has not begun yet: it was posted while a clock was wrong; `daybook apply` compares it with the source again once it is over, or reverse it with `daybook reverse ENTRY`",
    )
}

/// Counts posted days again if the source still has their events. `done` is told the days that are done, and of how many.
pub async fn source(
    source: &mut Source,
    reader: &mut Reader,
    period: Option<Period>,
    every: u64,
    workspace: &Workspace,
    done: &mut dyn FnMut(u64, u64),
) -> Result<SourceCheck, Error> {
    let mut check = SourceCheck::default();
    let days = reader.days_with_entries().await?;
    let days = days
        .into_iter()
        .filter(|day| period.is_none_or(|period| period.contains(*day)));
    let looked_at: Vec<Day> = (1..)
        .zip(days)
        .filter(|(place, _)| u64::is_multiple_of(*place, every.max(1)))
        .map(|(_, day)| day)
        .collect();
    let days = looked_at.len() as u64;
    done(0, days);
    for day in &looked_at {
        check.days += 1;
        match recount(source, reader, *day, workspace).await? {
            Recount::Equal => {}
            Recount::Sealed => check.sealed += 1,
            Recount::Reversed => check.reversed += 1,
            Recount::Imported { in_source } => {
                check.imported += 1;
                check.imported_and_in_source += u64::from(in_source);
            }
            Recount::Different {
                cells,
                first,
                events_now,
                events_posted,
            } => {
                let remedy = if events_now > events_posted {
                    format!("run `daybook apply --day {day}`")
                } else {
                    format!(
                        "if the source is right, run `daybook apply --day {day} --accept-decrease`"
                    )
                };
                check.findings.push(Finding {
                    place: day.to_string(),
                    what: format!(
                        "a fresh count of its {events_now} events differs from the ledger in {} (the first: {first}); \
                         it had {events_posted} events when it was posted: {remedy}",
                        counted(cells, "cell", "cells")
                    ),
                });
            }
        }
        done(check.days, days);
    }
    Ok(check)
}
