//! The manifest of a delta set: what was counted, and the digest of each file. It is written last.

use serde::{Deserialize, Serialize};

use super::fingerprint::EventSums;
use super::range::RecordsetRange;
use crate::aggregate::Figures;
use crate::day::{Day, TimeZone};
use crate::event::RULE_VERSION;
use crate::hash::Hash;
use crate::ledger::lock::TOOL_VERSION;

/// The version of the format of delta sets.
const VERSION: u32 = 1;

/// More parts than anybody can count in; so many can be added up without overflow.
const MOST_PARTS: u64 = 1_000_000_000;

/// The longest version of a program, in bytes.
const LONGEST_VERSION: usize = 64;

pub(super) const FILE: &str = "manifest.json";
pub(super) const DELTAS: &str = "deltas.ndjson.zst";
pub(super) const REJECTED: &str = "rejected.ndjson.zst";

/// The manifest of a delta set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub(super) daybook_deltas: u32,
    pub day: Day,
    pub time_zone: String,
    pub rule_version: i32,
    /// The version of the daybook that wrote it.
    pub tool_version: String,
    /// The number of delta sets, each counted by one process, that were merged into it.
    pub parts: u64,
    /// The recordsets whose rows it has; all, if it does not say. Every other figure is of all of the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) range: Option<RecordsetRange>,
    /// Events of the day.
    pub events: i64,
    pub counted: i64,
    pub ignored: i64,
    pub rejected: i64,
    /// Of the rows, as is `records`.
    pub interactions: i64,
    pub records: i64,
    pub fingerprint: String,
    pub deltas: FileDigest,
    pub rejects: FileDigest,
}

/// A file of a delta set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    pub(super) name: String,
    pub rows: u64,
    /// Its size and hash as it is on disk, compressed.
    pub(super) bytes: u64,
    pub(super) sha256: Hash,
}

/// What a delta set is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) day: Day,
    pub(super) zone: TimeZone,
    pub(super) parts: u64,
    pub(super) range: Option<RecordsetRange>,
}

/// Sums over delta rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowSums {
    pub(super) interactions: i128,
    pub(super) records: i128,
}

impl RowSums {
    pub(super) fn add(&mut self, count: i64, total: i64) {
        self.interactions += i128::from(count);
        self.records += i128::from(total);
    }
}

impl Manifest {
    /// A manifest of this program; the error says what is wrong with the figures.
    pub(super) fn new(
        scope: Scope,
        figures: Figures,
        sums: RowSums,
        events: &EventSums,
        [deltas, rejects]: [FileDigest; 2],
    ) -> Result<Self, String> {
        let bigint = |sum: i128, what: &str| {
            i64::try_from(sum).map_err(|_| format!("{sum} {what} exceed the range of bigint"))
        };
        let Scope {
            day,
            zone,
            parts,
            range,
        } = scope;
        let manifest = Self {
            daybook_deltas: VERSION,
            day,
            time_zone: zone.to_string(),
            rule_version: RULE_VERSION,
            tool_version: TOOL_VERSION.to_owned(),
            parts,
            range,
            events: figures.events(),
            counted: figures.counted,
            ignored: figures.ignored,
            rejected: figures.rejected,
            interactions: bigint(sums.interactions, "interactions")?,
            records: bigint(sums.records, "records")?,
            fingerprint: events.to_string(),
            deltas,
            rejects,
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads a manifest; the error says what is wrong with it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            daybook_deltas: u32,
        }
        let Version { daybook_deltas } = serde_json::from_slice(text)
            .map_err(|error| format!("its {FILE} is not a manifest of deltas: {error}"))?;
        if daybook_deltas != VERSION {
            return Err(format!(
                "its format version is {daybook_deltas}, but this program reads {VERSION}: use the daybook that wrote it, or a later one"
            ));
        }
        let manifest: Self = serde_json::from_slice(text)
            .map_err(|error| format!("its {FILE} cannot be read: {error}"))?;
        if (
            manifest.deltas.name.as_str(),
            manifest.rejects.name.as_str(),
        ) != (DELTAS, REJECTED)
        {
            return Err(format!(
                "its {FILE} names other files than {DELTAS} and {REJECTED}"
            ));
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether the figures agree with each other.
    fn check(&self) -> Result<(), String> {
        let events = self.sums_of_events()?.rows();
        let Self {
            counted,
            ignored,
            rejected,
            ..
        } = *self;
        let accounted = i128::from(counted) + i128::from(ignored) + i128::from(rejected);
        if accounted != i128::from(self.events)
            || [counted, ignored, rejected].iter().any(|n| *n < 0)
        {
            return Err(format!(
                "{} events, but {counted} counted, {ignored} ignored and {rejected} rejected",
                self.events
            ));
        }
        if events != self.events {
            return Err(format!(
                "{} events, but {events} in the fingerprint",
                self.events
            ));
        }
        if self.parts == 0 || self.parts > MOST_PARTS {
            return Err(format!("it says that it has {} parts", self.parts));
        }
        let is_version = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        if self.tool_version.len() > LONGEST_VERSION || !self.tool_version.chars().all(is_version) {
            return Err("its tool_version is not a version of daybook".to_owned());
        }
        if self.range.is_some_and(|range| !range.is_valid()) {
            return Err("its range of recordsets does not exist".to_owned());
        }
        let has_rejected = self.range.is_none_or(RecordsetRange::has_rejected);
        let rejected = if has_rejected { rejected } else { 0 };
        if u64::try_from(rejected) != Ok(self.rejects.rows) {
            return Err(format!(
                "{rejected} events rejected, but {} in {REJECTED}",
                self.rejects.rows
            ));
        }
        Ok(())
    }

    /// Whether the figures agree with the sums of the rows.
    pub(super) fn check_sums(&self, sums: RowSums) -> Result<(), String> {
        let said = RowSums {
            interactions: self.interactions.into(),
            records: self.records.into(),
        };
        if sums == said {
            return Ok(());
        }
        Err(format!(
            "its rows add up to {} interactions and {} records, but {FILE} says {} and {}",
            sums.interactions, sums.records, said.interactions, said.records
        ))
    }

    pub(super) fn sums_of_events(&self) -> Result<EventSums, String> {
        self.fingerprint.parse()
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            counted: self.counted,
            ignored: self.ignored,
            rejected: self.rejected,
            interactions: self.interactions,
        }
    }
}
