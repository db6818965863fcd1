//! Verifies the ledger in itself and against its source. Looks, changes nothing.
//!
//! The server recomputes hashes, sums and balances in SQL and hands out only what is wrong, so the length of the ledger
//! costs no memory here.

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sqlx::Row as _;

use crate::apply::{Recount, recount};
use crate::config::Memory;
use crate::database::Attempt as _;
use crate::day::{Day, Period};
use crate::event::source::Source;
use crate::failure::Failure;
use crate::ledger::read::Reader;
use crate::output::counted;

/// Something that is not as it must be.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Where: an entry, a row, a day.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

/// What a verification of the ledger in itself came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LedgerCheck {
    /// Entries whose hashes were recomputed.
    pub entries: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What a verification against the source came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceCheck {
    /// Days that were counted again.
    pub days: u64,
    /// Days whose events the source no longer holds.
    pub sealed: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// So many findings of a kind are named.
const NAMED: usize = 100;

const MISSING: [(&str, &str); 1] = [("header_missing", "there are rows of it, but its header is missing")];

/// What must give no row, and what it means if it does. Each takes the first and the last day, or NULL for all.
const CHECKS: [(&str, &str); 3] = [
    (
        "its maps do not sum to its total",
        "SELECT format('entry %s, recordset %s, %s, %s', entry_id, recordset_id, record_type, stat_type) AS place
         FROM daybook.control_sum_violation v
         WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)",
    ),
    (
        "its balance is not the sum of the cell's rows up to it",
        "SELECT format('entry %s, recordset %s, %s, %s', entry_id, recordset_id, record_type, stat_type) AS place
         FROM (SELECT d.entry_id, d.day, d.recordset_id, d.record_type, d.stat_type,
                      count_balance <> sum(count) OVER cell OR total_balance <> sum(total) OVER cell
                      OR first_day <> min(day) OVER cell OR last_day <> max(day) OVER cell AS wrong
               FROM daybook.interaction_delta d
               WINDOW cell AS (PARTITION BY recordset_id, record_type, stat_type ORDER BY entry_id)) b
         WHERE wrong AND ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)",
    ),
    (
        "it is of another day than its entry, or of no entry",
        "SELECT format('entry %s, recordset %s, %s, %s', d.entry_id, d.recordset_id, d.record_type, d.stat_type) AS place
         FROM daybook.interaction_delta d LEFT JOIN daybook.entry e USING (entry_id)
         WHERE e.day IS DISTINCT FROM d.day
           AND ($1::date IS NULL OR d.day >= $1) AND ($2::date IS NULL OR d.day <= $2)",
    ),
];

/// Recomputes the hashes, the chain, the control sums and the balances.
pub async fn ledger(reader: &mut Reader, period: Option<Period>) -> Result<LedgerCheck, Failure> {
    let mut check = LedgerCheck::default();
    let (from, to) = (period.map(Period::from), period.map(Period::to));
    let what = "recomputing the hashes of the ledger";
    let mut entries = sqlx::query(
        "SELECT entry_id, day, header_missing, content_differs, rows_differ, header_differs, chain_differs, gap_before
         FROM daybook.entry_check
         WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)",
    )
    .bind(from)
    .bind(to)
    .fetch(reader.connection());
    while let Some(row) = entries.try_next().await.attempt(what)? {
        check.entries += 1;
        let missing: bool = row.try_get("header_missing").attempt(what)?;
        let columns = [
            ("content_differs", "its rows do not give its content_hash"),
            ("rows_differ", "it has another number of rows than its header says"),
            ("header_differs", "its header does not give its entry_hash"),
            ("chain_differs", "its previous_hash is not the hash of the entry before"),
            ("gap_before", "the entry before is missing"),
        ];
        // Without a header there is nothing to compare with.
        for (column, wrong) in if missing { &MISSING[..] } else { &columns[..] } {
            if row.try_get(*column).attempt(what)? {
                let entry_id: i64 = row.try_get("entry_id").attempt(what)?;
                let day: Day = row.try_get("day").attempt(what)?;
                check.findings.push(Finding { place: format!("entry {entry_id} of {day}"), what: (*wrong).to_owned() });
            }
        }
    }
    drop(entries);
    for (wrong, sql) in CHECKS {
        let mut rows = sqlx::query(sql).bind(from).bind(to).fetch(reader.connection());
        let mut found = 0;
        loop {
            let row = match rows.try_next().await {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) if is_about_data(&error) => {
                    let what = format!("it cannot be told whether {wrong}: {error}");
                    check.findings.push(Finding { place: "a row".to_owned(), what });
                    break;
                }
                Err(error) => return Err(error).attempt("verifying the rows of the ledger"),
            };
            found += 1;
            if found <= NAMED {
                let place = row.try_get("place").attempt("verifying the rows of the ledger")?;
                check.findings.push(Finding { place, what: wrong.to_owned() });
            }
        }
        if found > NAMED {
            let place = format!("{} more rows", found - NAMED);
            check.findings.push(Finding { place, what: wrong.to_owned() });
        }
    }
    Ok(check)
}

/// Whether a row holds what cannot be computed with, such as a text for a number: class 22 of SQL's errors.
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22"))
}

/// Counts the posted days again whose events the source still holds.
pub async fn source(
    source: &mut Source,
    reader: &mut Reader,
    period: Option<Period>,
    every: u64,
    memory: Memory,
) -> Result<SourceCheck, Failure> {
    let mut check = SourceCheck::default();
    let days = reader.days_with_entries().await?;
    let days = days.into_iter().filter(|day| period.is_none_or(|period| period.contains(*day)));
    for (_, day) in (1..).zip(days).filter(|(place, _)| u64::is_multiple_of(*place, every.max(1))) {
        check.days += 1;
        match recount(source, reader, day, memory).await? {
            Recount::Equal => {}
            Recount::Sealed => check.sealed += 1,
            Recount::Different { cells, first, events_now, events_posted } => {
                let way_out = if events_now > events_posted {
                    format!("run `daybook apply --day {day}`")
                } else {
                    format!("if the source is right, run `daybook apply --day {day} --accept-decrease`")
                };
                check.findings.push(Finding {
                    place: day.to_string(),
                    what: format!(
                        "a fresh count of its {events_now} events differs from the ledger in {} (the first: {first}); \
                         it had {events_posted} events when it was posted: {way_out}",
                        counted(cells, "cell", "cells")
                    ),
                });
            }
        }
    }
    Ok(check)
}
