//! A ledger as a file: NDJSON, written by `daybook export` and read by `daybook import`.
//!
//! A header, the runs that posted, then each entry with its rows and its rejected events in the ledger's order, then an end
//! with the digest of all that comes before it. Every column is there as it is stored, so that the copy is exact, its hashes
//! included. This module is the format and does no IO; `write` makes such a file from one snapshot of the ledger, `import`
//! makes an empty ledger the copy of one.

mod file;
mod import;
mod read;
mod sequence;
mod write;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::day::Day;
use crate::ledger::EntryId;
use crate::ledger::copy_out::{RejectedRow, RunEnd, RunRow};
use crate::ledger::read::Entry;
use crate::ledger::row_hash::RowFields;
pub use import::{Imported, Incoming};
pub use read::is_export;
pub use write::{Exported, Target, export};

/// The version of the format.
const VERSION: u32 = 2;

/// How every export starts.
const START: &str = "{\"daybook_export\"";

/// Which version of the format a file is of: the one thing that every version says in the same way.
#[derive(Deserialize)]
struct Version {
    daybook_export: u32,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    daybook_export: u32,
    ledger_id: Uuid,
    time_zone: String,
    #[serde(with = "micros")]
    ledger_created_at: DateTime<Utc>,
    schema_version: i32,
    tool_version: String,
    /// Whether all entries are in it.
    whole: bool,
    /// If not: the days that are.
    from: Option<Day>,
    to: Option<Day>,
    first_entry: Option<EntryId>,
    last_entry: Option<EntryId>,
    entries: i64,
    /// What the first entry carries.
    previous_hash: Option<String>,
    /// The hash of the last entry.
    last_hash: Option<String>,
}

/// Any line after the first: an object with one key, which says what it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
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
#[expect(clippy::struct_field_names, reason = "the names of the columns")]
struct Run<'a> {
    run_id: Uuid,
    command: Cow<'a, str>,
    version: Cow<'a, str>,
    started_by: Cow<'a, str>,
    #[serde(with = "micros")]
    started_at: DateTime<Utc>,
    #[serde(borrow)]
    end: Option<Ended<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended<'a> {
    #[serde(with = "micros")]
    finished_at: DateTime<Utc>,
    exit_code: i32,
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    figures: &'a RawValue,
}

/// The columns of an entry, as [`Entry`] has them.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Entry", deny_unknown_fields)]
struct EntryColumns {
    entry_id: EntryId,
    day: Day,
    kind: String,
    reverses: Option<EntryId>,
    #[serde(skip)]
    reversed_by: Option<EntryId>,
    run_id: Uuid,
    rule_version: i32,
    tool_version: String,
    source_events: i64,
    source_counted: i64,
    source_ignored: i64,
    source_rejected: i64,
    source_fingerprint: String,
    delta_rows: i64,
    terms_complete: bool,
    content_hash: String,
    rejected_hash: String,
    previous_hash: String,
    entry_hash: String,
    reason: Option<String>,
    posted_by: String,
    #[serde(with = "micros")]
    posted_at: DateTime<Utc>,
}

/// A delta row. Its maps are in jsonb's own text, which the content hash covers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delta<'a> {
    recordset_id: Uuid,
    record_type: Cow<'a, str>,
    stat_type: Cow<'a, str>,
    day: Day,
    count: i64,
    total: i64,
    #[serde(borrow)]
    items: &'a RawValue,
    #[serde(borrow)]
    queries: &'a RawValue,
    #[serde(borrow)]
    geocodes: &'a RawValue,
    count_balance: i64,
    total_balance: i64,
    first_day: Day,
    last_day: Day,
}

/// A rejected event. Its JSON is a string in the line: to the letter, with line feeds where it has them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejected<'a> {
    source_id: i64,
    reason: Cow<'a, str>,
    message: Cow<'a, str>,
    event: Cow<'a, str>,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    entries: u64,
    delta_rows: u64,
    rejected_events: u64,
    /// Of all bytes before this line.
    sha256: String,
}

impl Delta<'_> {
    fn fields(&self) -> RowFields<'_> {
        RowFields {
            recordset_id: self.recordset_id,
            record_type: &self.record_type,
            stat_type: &self.stat_type,
            day: self.day,
            count: self.count,
            total: self.total,
            maps: [self.items, self.queries, self.geocodes].map(|map| map.get().as_bytes()),
            count_balance: self.count_balance,
            total_balance: self.total_balance,
            first_day: self.first_day,
            last_day: self.last_day,
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

/// Instants to the microsecond, as the server keeps them.
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
            .map_err(|_| D::Error::custom(format!("'{text}' is no instant")))?;
        Ok(instant.to_utc())
    }
}
