//! The numbers of a recordset's page, added up from the rows of the ledger in any order.
//!
//! All sums of all recordsets are in one [`Sums`], whose keys put those of a recordset side by side. So a site of any
//! number of recordsets, countries and viewed records is made within a memory limit.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::countries;
use super::over_time::Figure;
use super::steps::Steps;
use crate::day::Period;
use crate::error::{Error, ErrorKind};
use crate::event::{RecordType, StatType};
use crate::ledger::survey::{RecordsetSum, SurveyedRow};
use crate::projection::place::Places;
use crate::sums::{Rules, Sums};
use crate::workspace::Workspace;

/// Interactions and records involved.
type Sum = [i64; 2];

/// Number of records in the table of those viewed most.
const MOST_VIEWED: usize = 25;

/// The numbers of the page of a recordset.
#[derive(Debug)]
pub struct RecordsetNumbers {
    pub sum: RecordsetSum,
    pub steps: Steps,
    /// Interactions and records by types, for each step.
    cells: BTreeMap<(RecordType, StatType), Vec<Sum>>,
    /// Records by country.
    pub countries: Ranking,
    /// Views by record.
    pub viewed: Ranking,
}

/// The largest of any number of sums.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// The largest so far, and some others.
    candidates: Vec<(String, i64)>,
    shown: usize,
    /// Number of sums that are not zero.
    pub length: usize,
}

impl Ranking {
    fn new(shown: usize) -> Self {
        Self {
            shown,
            ..Self::default()
        }
    }

    fn add(&mut self, name: &str, n: i64) {
        if n == 0 {
            return;
        }
        self.length += 1;
        self.candidates.push((name.to_owned(), n));
        if self.candidates.len() > 4 * self.shown {
            self.candidates = self.largest();
        }
    }

    /// The largest, in order.
    pub fn largest(&self) -> Vec<(String, i64)> {
        let mut largest = self.candidates.clone();
        largest.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        largest.truncate(self.shown);
        largest
    }
}

impl RecordsetNumbers {
    fn new(sum: RecordsetSum, steps: Steps) -> Self {
        Self {
            sum,
            steps,
            cells: BTreeMap::new(),
            countries: Ranking::new(countries::SHOWN),
            viewed: Ranking::new(MOST_VIEWED),
        }
    }

    /// The figures of each step.
    pub fn figures(&self) -> impl Iterator<Item = (usize, Figure<'static>)> {
        self.cells
            .iter()
            .flat_map(|((record_type, stat_type), steps)| {
                let figures = steps.iter().enumerate();
                figures.map(|(step, [count, total])| {
                    let figure = Figure {
                        record_type: record_type.name(),
                        stat_type: stat_type.name(),
                        count: (*count).into(),
                        total: (*total).into(),
                    };
                    (step, figure)
                })
            })
    }

    fn add(&mut self, part: Part<'_>, sum: Sum) {
        match part {
            Part::Step(record_type, stat_type, step) => {
                let steps = self.cells.entry((record_type, stat_type));
                let steps = steps.or_insert_with(|| vec![[0; 2]; self.steps.len()]);
                if let Some(found) = steps.get_mut(step) {
                    *found = sum;
                }
            }
            Part::Country(country) => self.countries.add(country, sum[1]),
            Part::Viewed(record) => self.viewed.add(record, sum[1]),
        }
    }
}

/// What a sum is of, within its recordset.
#[derive(Clone, Copy)]
enum Part<'a> {
    Step(RecordType, StatType, usize),
    Country(&'a str),
    Viewed(&'a str),
}

impl<'a> Part<'a> {
    /// Appends it to a key.
    fn write(self, key: &mut Vec<u8>) {
        match self {
            Self::Step(record_type, stat_type, step) => {
                key.extend([0, record_type as u8, stat_type as u8]);
                key.extend((step as u64).to_be_bytes());
            }
            Self::Country(country) => {
                key.push(1);
                key.extend(country.as_bytes());
            }
            Self::Viewed(record) => {
                key.push(2);
                key.extend(record.as_bytes());
            }
        }
    }

    /// Reads what [`Self::write`] has written.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match kind {
            0 => {
                let ([record_type, stat_type], step) = rest.split_first_chunk()?;
                let step = u64::from_be_bytes(step.try_into().ok()?);
                Self::Step(
                    *RecordType::ALL.get(usize::from(*record_type))?,
                    *StatType::ALL.get(usize::from(*stat_type))?,
                    usize::try_from(step).ok()?,
                )
            }
            1 => Self::Country(str::from_utf8(rest).ok()?),
            _ => Self::Viewed(str::from_utf8(rest).ok()?),
        })
    }
}

/// Adds up rows of recordsets.
#[derive(Debug)]
pub struct Tally {
    /// The recordsets that are wanted.
    wanted: FxHashMap<Uuid, (RecordsetSum, Steps)>,
    places: Places,
    sums: Sums<2>,
    /// The key of the last sum; its memory is used again.
    key: Vec<u8>,
}

impl Tally {
    /// For these recordsets, of which `covered` are the days that the ledger covers.
    pub fn new(
        recordsets: impl IntoIterator<Item = RecordsetSum>,
        covered: Period,
        workspace: &Workspace,
    ) -> Self {
        let wanted = recordsets.into_iter().filter_map(|sum| {
            let steps = steps_of(&sum, covered)?;
            Some((sum.recordset_id, (sum, steps)))
        });
        Self {
            wanted: wanted.collect(),
            places: Places::default(),
            sums: Sums::new(
                workspace.memory.for_counting(),
                workspace.temp_dir.clone(),
                RULES,
            ),
            key: Vec::new(),
        }
    }

    /// Adds a row, if its recordset is wanted.
    pub fn add(&mut self, row: &SurveyedRow<'_>) -> Result<(), Error> {
        let Some((_, steps)) = self.wanted.get(&row.recordset_id) else {
            return Ok(());
        };
        // Rows of days that no entry is about would be a damage that `verify` reports.
        let Some(step) = steps.index_of_day(row.day) else {
            return Ok(());
        };
        let Self {
            places, sums, key, ..
        } = self;
        let mut add = |part: Part<'_>, sum: Sum| {
            key.clear();
            key.extend(row.recordset_id.as_bytes());
            part.write(key);
            sums.add(key, sum)
        };
        let cell = Part::Step(row.record_type, row.stat_type, step);
        add(cell, [row.count, row.total])?;
        row.for_each_geocode(|geocode, n| add(Part::Country(&places.of(geocode).country), [0, n]))?;
        row.for_each_viewed(|record, n| add(Part::Viewed(record), [0, n]))
    }

    /// Calls `take` with the numbers of each recordset that has rows.
    pub fn finish(
        mut self,
        mut take: impl FnMut(RecordsetNumbers) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut current: Option<RecordsetNumbers> = None;
        let mut sums = self.sums.in_order()?;
        while let Some((key, sum)) = sums.next()? {
            let (id, part) = key.split_first_chunk().ok_or_else(unreadable)?;
            let part = Part::read(part).ok_or_else(unreadable)?;
            let recordset_id = Uuid::from_bytes(*id);
            let is_same = |numbers: &RecordsetNumbers| numbers.sum.recordset_id == recordset_id;
            if !current.as_ref().is_some_and(is_same) {
                current.take().map_or(Ok(()), &mut take)?;
                let (sum, steps) = self.wanted.remove(&recordset_id).ok_or_else(unreadable)?;
                current = Some(RecordsetNumbers::new(sum, steps));
            }
            if let Some(numbers) = &mut current {
                numbers.add(part, sum);
            }
        }
        current.map_or(Ok(()), take)
    }
}

/// The steps of a recordset's page.
pub fn steps_of(sum: &RecordsetSum, covered: Period) -> Option<Steps> {
    let period = Period::new(sum.first_day, sum.last_day)?;
    Some(Steps::of(period, covered))
}

const RULES: Rules<2> = Rules {
    plus: |[count, total], [more_count, more_total]| {
        Some([
            count.checked_add(more_count)?,
            total.checked_add(more_total)?,
        ])
    },
    overflow,
};

/// The error if the sum of a key exceeds a bigint.
fn overflow(key: &[u8]) -> Error {
    let id = key.first_chunk().map(|id| Uuid::from_bytes(*id));
    Error::new(
        ErrorKind::FigureTooLarge,
        format!(
            "the totals of recordset {} exceed a bigint",
            id.unwrap_or_default()
        ),
    )
}

/// A key that this module did not write.
fn unreadable() -> Error {
    Error::new(ErrorKind::Internal, "a sum of a recordset cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_back_as_it_was_written() {
        for (part, bytes) in [
            (
                Part::Step(RecordType::Records, StatType::View, 258),
                &[0, 1, 4, 0, 0, 0, 0, 0, 0, 1, 2][..],
            ),
            (Part::Country("é"), &[1, 0xc3, 0xa9]),
            (Part::Country(""), &[1]),
            (Part::Viewed("a"), b"\x02a"),
        ] {
            let mut key = Vec::new();
            part.write(&mut key);
            assert_eq!(key, bytes);
            let mut again = Vec::new();
            Part::read(&key).unwrap().write(&mut again);
            assert_eq!(again, bytes);
        }
        assert!(Part::read(&[]).is_none() && Part::read(&[0, 1, 4]).is_none());
    }

    #[test]
    fn a_ranking_keeps_the_largest_and_knows_how_many_there_are() {
        let mut ranking = Ranking::new(3);
        for n in (0..1000).rev() {
            ranking.add(&format!("{:03}", n * 7 % 1000), n * 7 % 1000 % 100);
        }
        let largest = ranking.largest();
        let expected = [("099", 99), ("199", 99), ("299", 99)];
        assert_eq!(largest, expected.map(|(name, n)| (name.to_owned(), n)));
        assert_eq!(ranking.length, 990);
    }
}
