//! An entry of the journal: its position, its kind, its header.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::columns::{from_row, stored_as};
use crate::day::Day;
use crate::hash::Hash;

/// Position of an entry in the journal: 1, 2, 3, … without gaps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EntryId(i64);

stored_as!(EntryId, i64);

impl EntryId {
    /// Before the first entry: the head of an empty ledger, the checkpoint of an empty projection.
    pub const NONE: Self = Self(0);

    /// The entry after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The entry before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The entry with a number that [`number`](Self::number) returned.
    pub fn of_number(number: i64) -> Self {
        Self(number)
    }

    /// The number. It is also the version of the documents that the entry touches.
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!(
                "'{text}' is not an entry id: give a number from 1, `daybook log` lists them"
            )),
        }
    }
}

/// Why an entry was posted.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EntryKind {
    /// The first posting of a day.
    Apply,
    /// The difference between what the source has now and what was posted.
    Correction,
    /// Counts from documents of the old system.
    Import,
    /// The negation of another entry.
    Reversal,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl EntryKind {
    /// The name in the ledger.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Stored as its name.
impl sqlx::Type<sqlx::Postgres> for EntryKind {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <str as sqlx::Type<sqlx::Postgres>>::type_info()
    }
}

impl sqlx::Decode<'_, sqlx::Postgres> for EntryKind {
    fn decode(value: sqlx::postgres::PgValueRef<'_>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(value.as_str()?.parse()?)
    }
}

/// What an entry adds, by record type and stat type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryTotal {
    pub record_type: String,
    pub stat_type: String,
    /// Number of its cells, one for each recordset.
    pub cells: i64,
    /// Interactions.
    pub count: i128,
    /// Records involved.
    pub total: i128,
}

/// The totals of an entry, stored as one column of its header, ordered by record type and stat type.
pub type EntryTotals = sqlx::types::Json<Vec<EntryTotal>>;

/// The header of an entry.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub entry_id: EntryId,
    pub day: Day,
    pub kind: EntryKind,
    pub reverses: Option<EntryId>,
    /// The entry that reverses this one. Not a column, but looked up.
    pub reversed_by: Option<EntryId>,
    pub run_id: Uuid,
    pub rule_version: i32,
    pub tool_version: String,
    pub source_events: i64,
    pub source_counted: i64,
    pub source_ignored: i64,
    pub source_rejected: i64,
    pub source_fingerprint: String,
    pub delta_rows: i64,
    pub terms_complete: bool,
    pub totals: EntryTotals,
    pub content_hash: Hash,
    pub rejected_hash: Hash,
    pub previous_hash: Hash,
    pub entry_hash: Hash,
    pub reason: Option<String>,
    pub posted_by: String,
    pub posted_at: DateTime<Utc>,
}

impl Entry {
    /// Number of cells that it adds to: of its rows, if none of them is very large.
    pub fn cells(&self) -> i64 {
        self.totals.0.iter().map(|total| total.cells).sum()
    }
}

from_row!(Entry {
    entry_id,
    day,
    kind,
    reverses,
    reversed_by,
    run_id,
    rule_version,
    tool_version,
    source_events,
    source_counted,
    source_ignored,
    source_rejected,
    source_fingerprint,
    delta_rows,
    terms_complete,
    totals,
    content_hash,
    rejected_hash,
    previous_hash,
    entry_hash,
    reason,
    posted_by,
    posted_at
});

const ENTRY_COLUMNS: &str = "SELECT entry_id, day, kind, reverses, \
     (SELECT r.entry_id FROM daybook.entry r WHERE r.reverses = e.entry_id) AS reversed_by, run_id, rule_version, tool_version, source_events, \
     source_counted, source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, totals, \
     content_hash, rejected_hash, previous_hash, entry_hash, reason, posted_by, posted_at FROM daybook.entry e";

/// A query for entries; `condition` follows `FROM`.
pub(super) fn select_entries(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{ENTRY_COLUMNS}{condition}"))
}

/// A query for entries, to be completed.
pub(super) fn entries_query() -> sqlx::QueryBuilder<sqlx::Postgres> {
    sqlx::QueryBuilder::new(ENTRY_COLUMNS)
}
