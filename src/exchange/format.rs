//! The format of an export: a header, then lines of one kind each. No IO.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::day::Day;
use crate::event::PerDimension;
use crate::hash::Hash;
use crate::ledger::copy_out::{RejectedRow, RunEnd, RunRow};
use crate::ledger::row_hash::RowFields;
use crate::ledger::{Entry, EntryId, EntryKind, EntryTotals};

/// The version of the format.
pub(super) const VERSION: u32 = 2;

/// How every export starts.
pub(super) const START: &str = "{\"daybook_export\"";

/// The version of the format, which every version states in the same way.
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) daybook_export: u32,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) daybook_export: u32,
    pub(super) ledger_id: Uuid,
    pub(super) time_zone: String,
    #[serde(with = "micros")]
    pub(super) ledger_created_at: DateTime<Utc>,
    pub(super) schema_version: i32,
    pub(super) tool_version: String,
    /// Whether it contains all entries.
    pub(super) whole: bool,
    /// The exported days, if not all.
    pub(super) from: Option<Day>,
    pub(super) to: Option<Day>,
    pub(super) first_entry: Option<EntryId>,
    pub(super) last_entry: Option<EntryId>,
    pub(super) entries: i64,
    /// The `previous_hash` of the first entry.
    pub(super) previous_hash: Option<Hash>,
    pub(super) last_hash: Option<Hash>,
}

/// Any other line: an object whose only key names its kind.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one line is held at a time")]
pub(super) enum Line<'a> {
    #[serde(borrow)]
    Run(Run<'a>),
    #[serde(with = "EntryColumns")]
    Entry(Entry),
    #[serde(borrow)]
    Delta(Delta<'a>),
    #[serde(borrow)]
    Rejected(Rejected<'a>),
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run<'a> {
    pub(super) run_id: Uuid,
    pub(super) command: Cow<'a, str>,
    pub(super) version: Cow<'a, str>,
    pub(super) started_by: Cow<'a, str>,
    #[serde(with = "micros")]
    pub(super) started_at: DateTime<Utc>,
    #[serde(borrow)]
    pub(super) end: Option<Ended<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended<'a> {
    #[serde(with = "micros")]
    pub(super) finished_at: DateTime<Utc>,
    pub(super) exit_code: i32,
    pub(super) outcome: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) figures: &'a RawValue,
}

/// The columns of [`Entry`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Entry", deny_unknown_fields)]
pub(super) struct EntryColumns {
    pub(super) entry_id: EntryId,
    pub(super) day: Day,
    pub(super) kind: EntryKind,
    pub(super) reverses: Option<EntryId>,
    #[serde(skip)]
    pub(super) reversed_by: Option<EntryId>,
    pub(super) run_id: Uuid,
    pub(super) rule_version: i32,
    pub(super) tool_version: String,
    pub(super) source_events: i64,
    pub(super) source_counted: i64,
    pub(super) source_ignored: i64,
    pub(super) source_rejected: i64,
    pub(super) source_fingerprint: String,
    pub(super) delta_rows: i64,
    pub(super) terms_complete: bool,
    pub(super) totals: EntryTotals,
    pub(super) content_hash: Hash,
    pub(super) rejected_hash: Hash,
    pub(super) previous_hash: Hash,
    pub(super) entry_hash: Hash,
    pub(super) reason: Option<String>,
    pub(super) posted_by: String,
    #[serde(with = "micros")]
    pub(super) posted_at: DateTime<Utc>,
}

/// A delta row. Its maps are the text of jsonb, which the content hash covers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delta<'a> {
    pub(super) recordset_id: Uuid,
    pub(super) record_type: Cow<'a, str>,
    pub(super) stat_type: Cow<'a, str>,
    pub(super) day: Day,
    pub(super) count: i64,
    pub(super) total: i64,
    #[serde(borrow)]
    pub(super) items: &'a RawValue,
    #[serde(borrow)]
    pub(super) queries: &'a RawValue,
    #[serde(borrow)]
    pub(super) geocodes: &'a RawValue,
    pub(super) count_balance: i64,
    pub(super) total_balance: i64,
    pub(super) first_day: Day,
    pub(super) last_day: Day,
    /// Left out if it is 0, as it nearly always is.
    #[serde(default, skip_serializing_if = "is_first")]
    pub(super) part: i16,
}

/// A rejected event. Its JSON is a string, which keeps the exact text, including line feeds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejected<'a> {
    pub(super) source_id: i64,
    pub(super) reason: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
    pub(super) event: Cow<'a, str>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) entries: u64,
    pub(super) delta_rows: u64,
    pub(super) rejected_events: u64,
    /// The hash of all bytes before this line.
    pub(super) sha256: Hash,
}

/// What was written or read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) entries: u64,
    pub(super) delta_rows: u64,
    pub(super) rejected_events: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_first(part: &i16) -> bool {
    *part == 0
}

impl Delta<'_> {
    pub(super) fn fields(&self) -> RowFields<'_> {
        RowFields {
            recordset_id: self.recordset_id,
            record_type: &self.record_type,
            stat_type: &self.stat_type,
            day: self.day,
            count: self.count,
            total: self.total,
            maps: PerDimension {
                items: self.items.get().as_bytes(),
                queries: self.queries.get().as_bytes(),
                geocodes: self.geocodes.get().as_bytes(),
            },
            count_balance: self.count_balance,
            total_balance: self.total_balance,
            first_day: self.first_day,
            last_day: self.last_day,
            part: self.part,
        }
    }
}

impl<'a> From<&'a RejectedRow> for Rejected<'a> {
    fn from(row: &'a RejectedRow) -> Self {
        let RejectedRow {
            source_id,
            reason,
            message,
            event,
        } = row;
        let [reason, message, event] =
            [reason, message, event].map(|text| Cow::Borrowed(text.as_str()));
        Self {
            source_id: *source_id,
            reason,
            message,
            event,
        }
    }
}

impl From<Rejected<'_>> for RejectedRow {
    fn from(rejected: Rejected<'_>) -> Self {
        let Rejected {
            source_id,
            reason,
            message,
            event,
        } = rejected;
        let [reason, message, event] = [reason, message, event].map(Cow::into_owned);
        Self {
            source_id,
            reason,
            message,
            event,
        }
    }
}

impl From<Run<'_>> for RunRow {
    fn from(run: Run<'_>) -> Self {
        let ended = |end: Ended<'_>| RunEnd {
            finished_at: end.finished_at,
            exit_code: end.exit_code,
            outcome: end.outcome.into_owned(),
            figures: end.figures.get().to_owned(),
        };
        Self {
            run_id: run.run_id,
            command: run.command.into_owned(),
            version: run.version.into_owned(),
            started_by: run.started_by.into_owned(),
            started_at: run.started_at,
            end: run.end.map(ended),
        }
    }
}

/// Timestamps with microseconds, as the server stores them.
mod micros {
    use chrono::{DateTime, Utc};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        instant: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&instant.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let instant = DateTime::parse_from_rfc3339(&text)
            .map_err(|_| D::Error::custom(format!("'{text}' is not a timestamp")))?;
        Ok(instant.to_utc())
    }
}
