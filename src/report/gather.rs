//! Gathers the numbers of a page from one snapshot of the ledger.

use chrono::{DateTime, Utc};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::recordset_numbers::{RecordsetNumbers, Tally};
use super::steps::Steps;
use crate::day::{Day, Period};
use crate::error::Error;
use crate::ledger::copy_out::Identity;
use crate::ledger::survey::{Chain, Change, RecordsetSum, Rejects, Survey};
use crate::ledger::{Entry, Ledger};
use crate::workspace::Workspace;

/// Number of recordsets in the table of the largest.
pub const LARGEST: usize = 25;
/// Number of recordsets in the table of those that grew most.
pub const GROWN: usize = 10;
/// Number of days that are compared with as many before them: whole weeks.
const COMPARED_DAYS: usize = 28;

/// The numbers of the page about the ledger.
#[derive(Debug)]
pub struct LedgerNumbers {
    pub identity: Identity,
    pub taken_at: DateTime<Utc>,
    /// The last day that was over at that time.
    pub last_closed: Day,
    /// The days that were asked for, if not all.
    pub asked: Option<Period>,
    /// The days from the first entry to the last, of those asked for; none if there is no entry.
    pub period: Option<Period>,
    /// The days from the ledger's first entry to its last.
    pub whole: Option<Period>,
    /// The days asked for that are over, or all days from the first to the last.
    pub shown: Option<Period>,
    pub entries: Vec<Entry>,
    pub chain: Chain,
    /// Number of recordsets that have rows.
    pub recordsets: usize,
    pub largest: Vec<Largest>,
    pub growth: Option<Growth>,
    pub rejects: Vec<Rejects>,
}

/// One of the largest recordsets.
#[derive(Debug)]
pub struct Largest {
    pub sum: RecordsetSum,
    /// The records involved, step by step.
    pub series: Vec<i64>,
}

/// The recordsets that grew most: the days from `middle` to `last` compared with as many before them.
#[derive(Debug)]
pub struct Growth {
    pub days: usize,
    pub middle: Day,
    pub last: Day,
    pub changes: Vec<Change>,
}

/// Gathers the numbers of the whole ledger, or of a period of it.
pub async fn ledger_numbers(
    ledger: &Ledger,
    asked: Option<Period>,
) -> Result<LedgerNumbers, Error> {
    let mut survey = Survey::take(ledger, asked).await?;
    let identity = survey.identity().await?;
    let taken_at = survey.taken_at().await?;
    let entries = survey.entries().await?;
    let last_closed = ledger.zone.day_of(taken_at).previous();
    let (period, whole) = (survey.covered().await?, survey.whole().await?);
    let shown = match asked {
        // A day that is not over may have entries: a clock was wrong.
        Some(asked) => {
            let last = period.map_or(last_closed, |period| period.to().max(last_closed));
            Period::new(asked.from(), asked.to().min(last))
        }
        None => period,
    };
    let chain = survey.chain().await?;
    let mut sums = survey.recordsets().await?;
    sums.sort_by_key(|sum| (std::cmp::Reverse(sum.total), sum.recordset_id));
    let recordsets = sums.len();
    sums.truncate(LARGEST);
    let largest = match period {
        Some(period) => with_series(&mut survey, sums, &Steps::of(period, period)).await?,
        None => Vec::new(),
    };
    let growth = match period {
        Some(period) => growth(&mut survey, period).await?,
        None => None,
    };
    Ok(LedgerNumbers {
        identity,
        taken_at,
        last_closed,
        asked,
        period,
        whole,
        shown,
        entries,
        chain,
        recordsets,
        largest,
        growth,
        rejects: survey.rejects().await?,
    })
}

/// Gathers the numbers of a recordset; none if it has no rows on the days asked for.
pub async fn recordset_numbers(
    ledger: &Ledger,
    recordset_id: Uuid,
    asked: Option<Period>,
    workspace: &Workspace,
) -> Result<Option<RecordsetNumbers>, Error> {
    let mut survey = Survey::take(ledger, asked).await?;
    let sum = survey.recordset(recordset_id).await?;
    let Some((sum, covered)) = sum.zip(survey.covered().await?) else {
        return Ok(None);
    };
    let tally = Tally::new([sum], covered, workspace);
    let tally = survey
        .rows(Some(&[recordset_id]), tally, Tally::add, &mut |_| {})
        .await?;
    let mut found = None;
    tally.finish(|numbers| {
        found = Some(numbers);
        Ok(())
    })?;
    Ok(found)
}

async fn with_series(
    survey: &mut Survey,
    sums: Vec<RecordsetSum>,
    steps: &Steps,
) -> Result<Vec<Largest>, Error> {
    let ids: Vec<Uuid> = sums.iter().map(|sum| sum.recordset_id).collect();
    let mut series: FxHashMap<Uuid, Vec<i64>> = FxHashMap::default();
    for found in survey.series(&ids, steps.step()).await? {
        let of_recordset = series
            .entry(found.recordset_id)
            .or_insert_with(|| vec![0; steps.len()]);
        if let Some(index) = steps.index_of(found.step) {
            of_recordset[index] += found.total;
        }
    }
    let largest = |sum: RecordsetSum| Largest {
        series: series.remove(&sum.recordset_id).unwrap_or_default(),
        sum,
    };
    Ok(sums.into_iter().map(largest).collect())
}

/// Compares the last weeks with those before; none if the period has less than two days.
async fn growth(survey: &mut Survey, period: Period) -> Result<Option<Growth>, Error> {
    let days = (period.day_count() / 2).min(COMPARED_DAYS);
    let Some(back) = u32::try_from(days).ok().filter(|days| *days > 0) else {
        return Ok(None);
    };
    let last = period.to();
    let middle = last.minus(back - 1);
    let mut changes = survey.changes(middle.minus(back), middle, last).await?;
    changes.retain(|change| change.after > change.before);
    let grown = |change: &Change| i128::from(change.after) - i128::from(change.before);
    changes.sort_by_key(|change| (std::cmp::Reverse(grown(change)), change.recordset_id));
    changes.truncate(GROWN);
    Ok(Some(Growth {
        days,
        middle,
        last,
        changes,
    }))
}
