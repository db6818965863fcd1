//! A row of `daybook.interaction_delta` as the server sends it for a verification.
//!
//! Somebody who tampered with the ledger may have dropped its constraints. So a row may contain what daybook never
//! posts, and must still be read.

use std::fmt;

use uuid::Uuid;

use crate::day::Day;
use crate::event::PerDimension;
use crate::postgres::copy_out::{Fields, OutOfStep};

/// The columns, in the order of the fields.
pub(super) const COLUMNS: usize = 15;

/// A date as stored; it may be invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredDate(i32);

/// A rejected event. Fields may be NULL.
#[derive(Clone, Copy, Debug)]
pub(super) struct RejectedEvent<'a> {
    pub(super) source_id: Option<i64>,
    pub(super) reason: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) event: Option<&'a str>,
}

impl StoredDate {
    /// No day is known.
    pub(super) const NONE: Self = Self(i32::MAX);

    /// Decodes the binary form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, OutOfStep> {
        Ok(Self(i32::from_be_bytes(fixed(bytes)?)))
    }

    /// The day; none if the date is invalid.
    pub(super) fn day(self) -> Option<Day> {
        Day::from_postgres_days(self.0)
    }
}

impl fmt::Display for StoredDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.day() {
            Some(day) => day.fmt(f),
            None => f.write_str("an invalid date"),
        }
    }
}

/// A row with its maps as the text of jsonb. Maps are left out if they are not needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) recordset_id: Uuid,
    pub(super) record_type: &'a str,
    pub(super) stat_type: &'a str,
    pub(super) entry_id: i64,
    pub(super) day: StoredDate,
    pub(super) count: i64,
    pub(super) total: i64,
    pub(super) maps: PerDimension<Option<&'a [u8]>>,
    pub(super) count_balance: i64,
    pub(super) total_balance: i64,
    pub(super) first_day: StoredDate,
    pub(super) last_day: StoredDate,
    pub(super) part: i16,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entry_id,
            recordset_id,
            record_type,
            stat_type,
            part,
            ..
        } = self;
        place_of_row(*entry_id, *recordset_id, record_type, stat_type).fmt(f)?;
        if *part == 0 {
            return Ok(());
        }
        write!(f, ", part {part}")
    }
}

/// How a finding names what an entry adds to a cell.
pub(super) fn place_of_row(
    entry_id: i64,
    recordset_id: Uuid,
    record_type: &str,
    stat_type: &str,
) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(
            f,
            "entry {entry_id}, recordset {recordset_id}, {record_type}, {stat_type}"
        )
    })
}

impl<'a> Row<'a> {
    /// Decodes the fields of a row; none if one of them is NULL and not a map.
    pub(super) fn decode(fields: &Fields<'a, COLUMNS>) -> Result<Option<Self>, OutOfStep> {
        let [
            Some(recordset_id),
            Some(record_type),
            Some(stat_type),
            Some(entry_id),
            Some(day),
            Some(count),
            Some(total),
            items,
            queries,
            geocodes,
            Some(count_balance),
            Some(total_balance),
            Some(first_day),
            Some(last_day),
            Some(part),
        ] = *fields
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            recordset_id: Uuid::from_bytes(fixed(recordset_id)?),
            record_type: text(record_type)?,
            stat_type: text(stat_type)?,
            entry_id: bigint(entry_id)?,
            day: StoredDate::decode(day)?,
            count: bigint(count)?,
            total: bigint(total)?,
            maps: PerDimension {
                items: jsonb(items)?,
                queries: jsonb(queries)?,
                geocodes: jsonb(geocodes)?,
            },
            count_balance: bigint(count_balance)?,
            total_balance: bigint(total_balance)?,
            first_day: StoredDate::decode(first_day)?,
            last_day: StoredDate::decode(last_day)?,
            part: fixed(part).map(i16::from_be_bytes)?,
        }))
    }

    /// Decodes only the entry id of an incomplete row.
    pub(super) fn decode_entry_id(fields: &Fields<'a, COLUMNS>) -> Result<Option<i64>, OutOfStep> {
        fields[3].map(bigint).transpose()
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], OutOfStep> {
    bytes
        .try_into()
        .map_err(|_| OutOfStep("a field of another length than its type's"))
}

fn bigint(bytes: &[u8]) -> Result<i64, OutOfStep> {
    fixed(bytes).map(i64::from_be_bytes)
}

fn text(bytes: &[u8]) -> Result<&str, OutOfStep> {
    std::str::from_utf8(bytes).map_err(|_| OutOfStep("text that is not UTF-8"))
}

/// The binary form of jsonb is a version byte and the text.
fn jsonb(bytes: Option<&[u8]>) -> Result<Option<&[u8]>, OutOfStep> {
    match bytes {
        None => Ok(None),
        Some([1, text @ ..]) => Ok(Some(text)),
        Some(_) => Err(OutOfStep("jsonb in an unknown binary format")),
    }
}
