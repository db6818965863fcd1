//! An event: one row of the source table, and what it means under the counting rules.
//!
//! `read` implements the rules in docs/concepts.md. It does no IO and never fails: every row is counted, ignored or
//! rejected as a whole. [`crate::source`] reads the rows from Postgres.

mod dimension;
pub mod geocode;
mod number;
pub(crate) mod payload;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use uuid::Uuid;

pub use dimension::{Dimension, PerDimension};

/// Version of the counting rules in this module; stored on every entry.
pub const RULE_VERSION: i32 = 1;

/// Longest term in bytes; an event that would make a longer one is rejected.
pub const MAX_TERM_BYTES: usize = 1024;

/// Largest number of records in a payload entry; events with a larger one are rejected. A cell's balance has room for
/// nine million interactions of this size, so no event can make a later day overflow.
pub const MAX_RECORDS: i64 = 1_000_000_000_000;

/// What an interaction involves. Ordered by name, as the rows of an entry.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum RecordType {
    Mediarecords,
    Records,
}

impl RecordType {
    /// All record types, in order.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.first_chunk().unwrap();

    /// The name in source, ledger and documents.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The kind of interaction. Ordered by name, as the rows of an entry.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum StatType {
    /// Records were downloaded.
    Download,
    /// Records were shown on a map.
    Mapping,
    /// Records matched a search.
    Search,
    /// A record was seen in a list of results.
    Seen,
    /// A record's own page was viewed.
    View,
}

impl StatType {
    /// All stat types, in order.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.first_chunk().unwrap();

    /// The name in source, ledger and documents.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the payload names single records (each counted as an item) rather than recordsets with numbers.
    pub fn counts_items(self) -> bool {
        match self {
            Self::Seen | Self::View => true,
            Self::Download | Self::Mapping | Self::Search => false,
        }
    }

    /// Whether the query behind the event is counted.
    pub fn counts_queries(self) -> bool {
        match self {
            Self::Download | Self::Mapping | Self::Search | Self::Seen => true,
            Self::View => false,
        }
    }

    /// Whether the maps of a cell, by their sums, agree with its count and total: every
    /// dimension that is counted adds up to the total, and each item is one record.
    pub fn control_sums_hold(
        self,
        count: impl Into<i128>,
        total: impl Into<i128>,
        sums: PerDimension<i128>,
    ) -> bool {
        let (count, total): (i128, i128) = (count.into(), total.into());
        let if_counted = |is_counted: bool| if is_counted { total } else { 0 };
        sums.geocodes == total
            && sums.items == if_counted(self.counts_items())
            && sums.queries == if_counted(self.counts_queries())
            && (!self.counts_items() || total == count)
    }
}

/// One row of the source table, its JSON as text.
#[derive(Clone, Copy, Debug)]
pub struct SourceRow<'a> {
    pub id: i64,
    /// The column `type`.
    pub stat_type: Option<&'a str>,
    /// The column `record_type`.
    pub record_type: Option<&'a str>,
    /// The column `payload`.
    pub payload: Option<&'a str>,
    /// The column `ip_geocode`.
    pub geocode: Option<&'a str>,
    /// The hash of the query that `query_id` names.
    pub query_hash: Option<&'a str>,
}

/// The result of applying the counting rules to a row.
#[derive(Debug)]
pub enum Reading<'a> {
    Counted(Event<'a>),
    /// Of a record type that is not counted.
    Ignored,
    Rejected(Rejection),
}

/// An event that can be counted.
#[derive(Debug)]
pub struct Event<'a> {
    pub record_type: RecordType,
    pub stat_type: StatType,
    /// One per payload entry.
    pub interactions: Vec<Interaction<'a>>,
    /// The geocode's JSON, unchanged; `null` if there is none.
    pub geocode: &'a str,
    /// The query's hash; empty if there is none.
    pub query_hash: &'a str,
}

/// One payload entry of an event: what is counted.
#[derive(Debug, PartialEq, Eq)]
pub struct Interaction<'a> {
    pub recordset_id: Uuid,
    /// The record, for view and seen.
    pub item: Option<Item<'a>>,
    /// How many records were involved.
    pub records: i64,
}

/// The id of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A UUID in its usual form, 36 characters in lower case. Nearly all ids have it, and it takes the least memory.
    Uuid(Uuid),
    /// Any other text.
    Text(Cow<'a, str>),
}

impl<'a> Item<'a> {
    pub fn of(text: Cow<'a, str>) -> Self {
        const USUAL_LENGTH: usize = 36;
        let is_usual =
            text.len() == USUAL_LENGTH && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match is_usual.then(|| Uuid::try_parse_ascii(text.as_bytes())) {
            Some(Ok(id)) => Self::Uuid(id),
            _ => Self::Text(text),
        }
    }
}

/// Why an event is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Id of the row in the source table.
    pub source_id: i64,
    /// The kind of defect.
    pub reason: Reason,
    /// The defect in words, naming what was found.
    pub message: String,
}

/// The kinds of defect, each with its code in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `type` is not one of the five stat types.
    UnknownType,
    /// The payload is not a JSON object, or cannot be read as JSON.
    PayloadNotAnObject,
    /// A recordset id is not a UUID.
    RecordsetNotAUuid,
    /// A number of records is not a non-negative integer.
    NotANaturalNumber,
    /// A number of records is larger than [`MAX_RECORDS`].
    NumberTooLarge,
    /// A term is longer than [`MAX_TERM_BYTES`].
    TermTooLong,
    /// A term holds the character NUL, which Postgres cannot store.
    TermHoldsNul,
    /// The geocode cannot be read as JSON.
    GeocodeUnreadable,
    /// A column holds bytes that are not UTF-8, or a character that cannot be converted to it.
    NotUtf8,
}

impl Reason {
    /// The code in `rejected_event.reason`.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::PayloadNotAnObject => "payload_not_an_object",
            Self::RecordsetNotAUuid => "recordset_not_a_uuid",
            Self::NotANaturalNumber => "not_a_natural_number",
            Self::NumberTooLarge => "number_too_large",
            Self::TermTooLong => "term_too_long",
            Self::TermHoldsNul => "term_holds_nul",
            Self::GeocodeUnreadable => "geocode_unreadable",
            Self::NotUtf8 => "not_utf8",
        }
    }
}

/// A defect; becomes a [`Rejection`] with the row's id.
#[derive(Debug, PartialEq, Eq)]
struct Defect {
    reason: Reason,
    message: String,
}

impl Defect {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// Reads one row under the counting rules.
pub fn read(row: SourceRow<'_>) -> Reading<'_> {
    let Some(record_type) = row.record_type.and_then(|name| name.parse().ok()) else {
        return Reading::Ignored;
    };
    match read_event(row, record_type) {
        Ok(event) => Reading::Counted(event),
        Err(Defect { reason, message }) => Reading::Rejected(Rejection {
            source_id: row.id,
            reason,
            message,
        }),
    }
}

fn read_event(row: SourceRow<'_>, record_type: RecordType) -> Result<Event<'_>, Defect> {
    let stat_type = row
        .stat_type
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| {
            let found = row
                .stat_type
                .map_or_else(|| "NULL".to_owned(), |name| format!("'{}'", excerpt(name)));
            Defect::new(
                Reason::UnknownType,
                format!("type is {found}: expected search, view, seen, mapping or download"),
            )
        })?;
    let interactions = payload::read(row.payload, stat_type)?;
    let query_hash = row.query_hash.unwrap_or("");
    if stat_type.counts_queries() {
        check_term("query hash", query_hash)?;
    }
    Ok(Event {
        record_type,
        stat_type,
        interactions,
        geocode: row.geocode.unwrap_or("null"),
        query_hash,
    })
}

/// Checks that a term fits in the ledger.
fn check_term(what: &str, term: &str) -> Result<(), Defect> {
    if term.len() > MAX_TERM_BYTES {
        let (bytes, start) = (term.len(), excerpt(term));
        return Err(Defect::new(
            Reason::TermTooLong,
            format!(
                "{what} of {bytes} bytes exceeds the limit of {MAX_TERM_BYTES}: it starts '{start}'"
            ),
        ));
    }
    if term.contains('\0') {
        return Err(Defect::new(
            Reason::TermHoldsNul,
            format!("{what} holds the character NUL: '{}'", excerpt(term)),
        ));
    }
    Ok(())
}

/// Reads a JSON number as a sum of records, which may exceed the limit of one event. The error says what is wrong.
pub(crate) fn read_number(token: &str) -> Result<i64, String> {
    number::read(token, i64::MAX).map_err(|defect| defect.message)
}

/// Like [`check_term`]; the error says what is wrong.
pub(crate) fn check_term_of(what: &str, term: &str) -> Result<(), String> {
    check_term(what, term).map_err(|defect| defect.message)
}

/// The start of a text from outside, made printable for a message.
pub(crate) fn excerpt(text: &str) -> impl fmt::Display {
    const SHOWN: usize = 60;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
