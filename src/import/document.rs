//! A document of the old system, in one form for all the forms in which it was written. No IO.
//!
//! Two documents have the same content if and only if their bodies are byte-identical. The order of lists and members,
//! the spelling of numbers and geocodes, and terms with 0 make no difference.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::aggregate::{Cell, PostedRow};
use crate::day::Day;
use crate::event::{PerDimension, RecordType, StatType};
use crate::ledger::map;

/// What the old system counted for a recordset on a day.
#[derive(Debug)]
pub struct Document {
    /// The day that was counted: the one before its `harvest_date`.
    pub day: Day,
    pub recordset_id: Uuid,
    /// In order, without empty ones.
    cells: Vec<CellCounts>,
    /// Whether a cell has only one of its two numbers.
    lacks_numbers: bool,
    /// Interactions, over all cells.
    pub count: i64,
    /// Records involved, over all cells.
    pub total: i64,
}

/// Why a document cannot be imported.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    /// The day of the document, if it is known.
    pub day: Option<Day>,
    pub message: String,
}

/// What was read.
#[derive(Debug)]
pub enum Found {
    Document(Document),
    Unreadable(Defect),
    /// Another kind of document in the old system; not imported.
    OtherKind,
}

/// What was read, and where.
#[derive(Debug)]
pub struct FoundAt {
    pub place: String,
    pub found: Found,
}

/// What the old system counted for a cell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CellCounts {
    pub(super) record_type: RecordType,
    pub(super) stat_type: StatType,
    pub(super) count: i64,
    pub(super) total: i64,
    /// Whether one of the two is missing: until December 2016 the old system counted only totals.
    pub(super) lacks_number: bool,
    /// Without zeros.
    pub(super) maps: PerDimension<Terms>,
}

/// Terms and their numbers.
pub(super) type Terms = BTreeMap<String, i64>;

/// A cell as written to a body.
#[derive(Serialize)]
struct WrittenCell<'a> {
    record_type: &'a str,
    stat_type: &'a str,
    count: i64,
    total: i64,
    #[serde(flatten)]
    maps: PerDimension<&'a Terms>,
}

/// A cell as read from a body.
#[derive(Deserialize)]
struct ReadCell<'a> {
    record_type: &'a str,
    stat_type: &'a str,
    count: i64,
    total: i64,
    #[serde(borrow)]
    items: &'a RawValue,
    #[serde(borrow)]
    queries: &'a RawValue,
    #[serde(borrow)]
    geocodes: &'a RawValue,
}

impl Document {
    pub(super) fn new(
        day: Day,
        recordset_id: Uuid,
        mut cells: Vec<CellCounts>,
    ) -> Result<Self, Defect> {
        let lacks_numbers = cells.iter().any(|cell| cell.lacks_number);
        cells.retain(|cell| {
            cell.count != 0
                || cell.total != 0
                || cell
                    .maps
                    .as_ref()
                    .into_iter()
                    .any(|(_, map)| !map.is_empty())
        });
        cells.sort_by_key(|cell| (cell.record_type, cell.stat_type));
        let sum = |of: fn(&CellCounts) -> i64| cells.iter().map(of).try_fold(0, i64::checked_add);
        let (Some(count), Some(total)) = (sum(|cell| cell.count), sum(|cell| cell.total)) else {
            let message = "the sums of its cells exceed the range of bigint".to_owned();
            return Err(Defect {
                day: Some(day),
                message,
            });
        };
        Ok(Self {
            day,
            recordset_id,
            cells,
            lacks_numbers,
            count,
            total,
        })
    }

    /// The content in its canonical form.
    pub fn body(&self) -> String {
        let written: Vec<_> = self.cells.iter().map(CellCounts::written).collect();
        serde_json::to_string(&written).expect("names, numbers and maps of strings are JSON")
    }

    /// The number of terms in all cells.
    pub fn terms(&self) -> usize {
        self.cells
            .iter()
            .flat_map(|cell| cell.maps.as_ref())
            .map(|(_, map)| map.len())
            .sum()
    }

    /// Whether every cell has both numbers, and terms that add up to its total.
    pub fn terms_are_complete(&self) -> bool {
        !self.lacks_numbers && self.cells.iter().all(CellCounts::control_sums_hold)
    }
}

/// Passes each cell of a body to `take`.
pub fn for_each_cell<E: From<serde_json::Error>>(
    recordset_id: Uuid,
    body: &str,
    mut take: impl FnMut(PostedRow<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let unknown = |_| serde_json::Error::custom("an unknown cell");
    for cell in serde_json::from_str::<Vec<ReadCell<'_>>>(body)? {
        let record_type = cell.record_type.parse().map_err(unknown)?;
        let stat_type = cell.stat_type.parse().map_err(unknown)?;
        let maps = PerDimension {
            items: map::read(cell.items.get())?,
            queries: map::read(cell.queries.get())?,
            geocodes: map::read(cell.geocodes.get())?,
        };
        take(PostedRow {
            cell: Cell {
                recordset_id,
                record_type,
                stat_type,
            },
            count: cell.count,
            total: cell.total,
            maps: maps.as_ref().map(|terms| terms.0.as_slice()),
        })?;
    }
    Ok(())
}

impl CellCounts {
    fn written(&self) -> WrittenCell<'_> {
        let (record_type, stat_type) = (self.record_type.name(), self.stat_type.name());
        WrittenCell {
            record_type,
            stat_type,
            count: self.count,
            total: self.total,
            maps: self.maps.as_ref(),
        }
    }

    /// Whether the control sums of a delta row hold.
    fn control_sums_hold(&self) -> bool {
        let sums = self
            .maps
            .as_ref()
            .map(|map| map.values().map(|n| i128::from(*n)).sum::<i128>());
        self.stat_type
            .control_sums_hold(self.count, self.total, sums)
    }
}
