//! The documents of `stats-terms`: one per cell, dimension and term, its all-time count. Pure.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::json::{put, put_name, put_number, put_string, put_uuid};
use crate::aggregate::Cell;
use crate::elastic::batch::Batch;
use crate::error::Error;
use crate::event::{RecordType, StatType};
use crate::ledger::EntryId;

/// What a total is broken down by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// By record.
    Items,
    /// By query.
    Queries,
    /// By geocode.
    Geocodes,
}

impl Dimension {
    /// All dimensions, in the order of a row's maps.
    pub const ALL: [Self; 3] = [Self::Items, Self::Queries, Self::Geocodes];

    /// The name in the ledger and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Queries => "queries",
            Self::Geocodes => "geocodes",
        }
    }
}

/// Which terms have documents. The index records this setting, and must be rebuilt when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub dimensions: Vec<Dimension>,
    /// Names of stat types.
    pub stat_types: Vec<String>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            dimensions: vec![Dimension::Items, Dimension::Geocodes],
            stat_types: StatType::ALL
                .iter()
                .map(|stat_type| stat_type.name().to_owned())
                .collect(),
        }
    }
}

impl Scope {
    /// Whether terms of this dimension and stat type have documents.
    pub fn covers(&self, dimension: Dimension, stat_type: StatType) -> bool {
        self.dimensions.contains(&dimension)
            && self.stat_types.iter().any(|name| name == stat_type.name())
    }

    /// Whether nothing is covered, so that there is no index.
    pub fn is_empty(&self) -> bool {
        self.dimensions.is_empty() || self.stat_types.is_empty()
    }

    /// Parses comma-separated names; `none` selects nothing.
    pub fn parse(dimensions: Option<&str>, stat_types: Option<&str>) -> Result<Self, UnknownName> {
        let mut scope = Self::default();
        if let Some(names) = dimensions {
            scope.dimensions = sorted(names, Dimension::from_str)?;
        }
        if let Some(names) = stat_types {
            let known = |name: &str| StatType::of(name).map(|known| known.name().to_owned());
            scope.stat_types = sorted(names, |name| {
                known(name).ok_or_else(|| {
                    UnknownName(name.to_owned(), "search, mapping, download, seen, view")
                })
            })?;
        }
        Ok(scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dimensions: Vec<&str> = self
            .dimensions
            .iter()
            .map(|dimension| dimension.name())
            .collect();
        write!(
            f,
            "{} of {}",
            dimensions.join(","),
            self.stat_types.join(",")
        )
    }
}

/// An unknown name in a setting.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is unknown: give some of {1}, separated by commas, or none")]
pub struct UnknownName(String, &'static str);

impl FromStr for Dimension {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let known = Self::ALL
            .into_iter()
            .find(|dimension| dimension.name() == name);
        known.ok_or_else(|| UnknownName(name.to_owned(), "items, geocodes, queries"))
    }
}

fn sorted<T: Ord>(
    names: &str,
    parse: impl Fn(&str) -> Result<T, UnknownName>,
) -> Result<Vec<T>, UnknownName> {
    if names.trim() == "none" {
        return Ok(Vec::new());
    }
    let mut parsed = names
        .split(',')
        .map(|name| parse(name.trim()))
        .collect::<Result<Vec<T>, _>>()?;
    parsed.sort();
    parsed.dedup();
    Ok(parsed)
}

/// What identifies a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub cell: Cell,
    pub dimension: Dimension,
    /// As in the ledger.
    pub term: String,
}

impl Key {
    /// The key of a document with this source; `None` if the source does not contain a valid one.
    pub fn of_source(source: &Value) -> Option<Self> {
        let text = |name: &str| source.get(name).and_then(Value::as_str);
        let cell = Cell {
            recordset_id: text("recordset_id")?.parse().ok()?,
            record_type: RecordType::of(text("record_type")?)?,
            stat_type: StatType::of(text("stat_type")?)?,
        };
        let dimension: Dimension = text("dimension")?.parse().ok()?;
        let term = match source.get("term") {
            Some(Value::Null) if dimension == Dimension::Queries => String::new(),
            term => term?.as_str()?.to_owned(),
        };
        Some(Self {
            cell,
            dimension,
            term,
        })
    }

    /// The id of the document: 128 bits of a hash of the key, as 22 characters. The probability that two of 10^9
    /// documents share an id is less than 10^-20.
    pub fn id(&self) -> String {
        let Self {
            cell,
            dimension,
            term,
        } = self;
        let mut hash = Sha256::new();
        hash.update(cell.recordset_id.as_bytes());
        let names = [
            cell.record_type.name(),
            cell.stat_type.name(),
            dimension.name(),
        ];
        for part in names.into_iter().chain([term.as_str()]) {
            // The parts before the term contain no line feed, so it is clear where each ends.
            hash.update(b"\n");
            hash.update(part);
        }
        URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
    }

    /// The error for a count that exceeds a bigint.
    pub(super) fn exceeds_a_bigint(&self) -> Error {
        Error::failed(format!(
            "the count of term '{}' of {} exceeds a bigint",
            self.term, self.cell
        ))
    }

    /// Writes the document, with the count as of an entry.
    pub fn write(&self, batch: &mut Batch, count: i64, entry_id: EntryId) {
        self.write_as(&self.id(), batch, count, entry_id);
    }

    /// The same, with an id that is already known.
    pub(super) fn write_as(&self, id: &str, batch: &mut Batch, count: i64, entry_id: EntryId) {
        let Self {
            cell,
            dimension,
            term,
        } = self;
        batch.push(id, entry_id.number(), |out| {
            put(out, r#"{"recordset_id":""#);
            put_uuid(out, cell.recordset_id);
            put(out, r#"","record_type":""#);
            put(out, cell.record_type.name());
            put(out, r#"","stat_type":""#);
            put(out, cell.stat_type.name());
            put(out, r#"","dimension":""#);
            put(out, dimension.name());
            put(out, r#"","term":"#);
            match (dimension, term.as_str()) {
                (Dimension::Queries, "") => put(out, "null"),
                _ => put_string(out, term),
            }
            if *dimension == Dimension::Geocodes {
                put_place(out, term);
            }
            put(out, r#","count":"#);
            put_number(out, count);
            put(out, r#","entry_id":"#);
            put_number(out, entry_id.number());
            out.push(b'}');
        });
    }
}

/// Writes country, region and city of a geocode as separate fields, if it has them, for grouping.
fn put_place(out: &mut Vec<u8>, geocode: &str) {
    let Ok(Value::Object(geocode)) = serde_json::from_str(geocode) else {
        return;
    };
    for field in ["country", "region", "city"] {
        if let Some(Value::String(place)) = geocode.get(field) {
            put_name(out, ",", field);
            put_string(out, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(dimension: Dimension, term: &str) -> Key {
        let cell = Cell {
            recordset_id: "00038086-3303-4b89-b2d6-1b84e7598f0e".parse().unwrap(),
            record_type: RecordType::Records,
            stat_type: StatType::Seen,
        };
        Key {
            cell,
            dimension,
            term: term.to_owned(),
        }
    }

    #[test]
    fn ids_are_short_and_differ_with_every_part() {
        let keys = [
            key(Dimension::Items, "a"),
            key(Dimension::Items, "b"),
            key(Dimension::Queries, "a"),
            Key {
                cell: Cell {
                    stat_type: StatType::View,
                    ..key(Dimension::Items, "a").cell
                },
                ..key(Dimension::Items, "a")
            },
        ];
        let ids: std::collections::HashSet<String> = keys.iter().map(Key::id).collect();
        assert_eq!(ids.len(), keys.len());
        assert!(ids.iter().all(|id| id.len() == 22));
    }

    #[test]
    fn a_geocode_also_has_its_places_as_fields() {
        let entry_id = "7".parse().unwrap();
        let geocode = r#"{"city":"Ocala","country":"US","lat":29.2,"region":null}"#;
        let (source, version) = written(&key(Dimension::Geocodes, geocode), 3, entry_id);
        assert_eq!(
            (&source["country"], &source["city"], &source["region"]),
            (&"US".into(), &"Ocala".into(), &Value::Null)
        );
        assert_eq!(
            (&source["term"], &source["count"], version),
            (&geocode.into(), &3.into(), 7)
        );
        for odd in ["null", "\"text\"", "[1]", "{}"] {
            assert_eq!(
                written(&key(Dimension::Geocodes, odd), 1, entry_id).0["term"],
                odd
            );
        }
        let no_query = written(&key(Dimension::Queries, ""), 1, entry_id).0;
        assert_eq!(no_query["term"], Value::Null);
    }

    /// The source and the version of the document.
    fn written(key: &Key, count: i64, entry_id: EntryId) -> (Value, i64) {
        let mut batch = Batch::default();
        key.write(&mut batch, count, entry_id);
        let document = batch.documents().next().unwrap();
        assert_eq!(document.id, key.id());
        (
            serde_json::from_slice(document.source).unwrap(),
            document.version,
        )
    }

    #[test]
    fn the_setting_takes_names_in_any_order_and_nothing_else() {
        let scope = Scope::parse(Some("geocodes, items"), Some("view,seen")).unwrap();
        assert_eq!(scope.dimensions, [Dimension::Items, Dimension::Geocodes]);
        assert_eq!(scope.stat_types, ["seen", "view"]);
        assert!(Scope::parse(Some("none"), None).unwrap().is_empty());
        assert!(
            Scope::parse(Some("item"), None)
                .unwrap_err()
                .to_string()
                .contains("'item' is unknown")
        );
        assert!(Scope::parse(None, Some("views")).is_err());
    }
}
