//! The documents of `stats-terms`: one per recordset, breakdown and term, its all-time figures. Pure.
//!
//! A document is shaped like that of `stats-totals`, but has only figures that are not zero, and one figure per cell:
//! `count` where each interaction is about one record, so that count and total are the same, and `total` elsewhere,
//! because the ledger does not count interactions by term. So the terms of a recordset add up to the field of the same
//! name in its totals. A document whose terms were all reversed has no figures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::json::{put, put_name, put_number, put_string, put_uuid};
use super::place::Places;
use super::scope::Breakdown;
use super::totals::CELLS;
use crate::elastic::batch::Batch;
use crate::error::{Error, ErrorKind};
use crate::event::{RecordType, StatType};
use crate::ledger::EntryId;
use crate::ledger::map::Term;

/// The field with the figure of a cell.
pub(super) fn figure_name(stat_type: StatType) -> &'static str {
    if stat_type.counts_items() {
        "count"
    } else {
        "total"
    }
}

/// The figures of a term, one for each cell of its recordset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures([[i64; StatType::ALL.len()]; RecordType::ALL.len()]);

/// A figure exceeds a bigint.
#[derive(Debug)]
pub(super) struct TooLarge;

impl Figures {
    pub(super) fn get(&self, record_type: RecordType, stat_type: StatType) -> i64 {
        self.0[record_type as usize][stat_type as usize]
    }

    pub(super) fn add(
        &mut self,
        record_type: RecordType,
        stat_type: StatType,
        n: i64,
    ) -> Result<(), TooLarge> {
        let figure = &mut self.0[record_type as usize][stat_type as usize];
        *figure = figure.checked_add(n).ok_or(TooLarge)?;
        Ok(())
    }

    pub(super) fn add_all(&mut self, other: &Self) -> Result<(), TooLarge> {
        for (figure, n) in self
            .0
            .as_flattened_mut()
            .iter_mut()
            .zip(other.0.as_flattened())
        {
            *figure = figure.checked_add(*n).ok_or(TooLarge)?;
        }
        Ok(())
    }

    /// Appends the cells that are not zero, as fields after a comma.
    fn put(&self, out: &mut Vec<u8>) {
        for (record_type, stat_types) in CELLS {
            let mut before = "{";
            for stat_type in stat_types {
                let figure = self.get(record_type, stat_type);
                if figure == 0 {
                    continue;
                }
                if before == "{" {
                    put_name(out, ",", record_type.name());
                }
                put_name(out, before, stat_type.name());
                before = ",";
                put_name(out, "{", figure_name(stat_type));
                put_number(out, figure);
                out.push(b'}');
            }
            if before == "," {
                out.push(b'}');
            }
        }
    }
}

/// The fields of a stored document that the fold needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StoredTerm {
    pub entry_id: Option<EntryId>,
    pub figures: Figures,
}

impl<'de> Deserialize<'de> for StoredTerm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Source {
            entry_id: Option<EntryId>,
            #[serde(default)]
            records: Cells,
            #[serde(default)]
            mediarecords: Cells,
        }
        let source = Source::deserialize(deserializer)?;
        let mut figures = Figures::default();
        figures.0[RecordType::Records as usize] = source.records.0;
        figures.0[RecordType::Mediarecords as usize] = source.mediarecords.0;
        Ok(Self {
            entry_id: source.entry_id,
            figures,
        })
    }
}

/// The figures of a record type by stat type.
#[derive(Default)]
struct Cells([i64; StatType::ALL.len()]);

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Figure {
            #[serde(alias = "count", alias = "total")]
            figure: i64,
        }

        struct CellsVisitor;
        impl<'de> Visitor<'de> for CellsVisitor {
            type Value = Cells;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of stat types and figures")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells, A::Error> {
                let mut cells = Cells::default();
                while let Some((name, Figure { figure })) = map.next_entry::<&str, _>()? {
                    let stat_type: StatType = name
                        .parse()
                        .map_err(|_| A::Error::custom("an unknown stat type"))?;
                    cells.0[stat_type as usize] = figure;
                }
                Ok(cells)
            }
        }
        deserializer.deserialize_map(CellsVisitor)
    }
}

/// What identifies a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub recordset_id: Uuid,
    pub breakdown: Breakdown,
    /// As in the ledger. Empty if there is no query, or if the geocode names no country.
    pub term: String,
}

impl Key {
    /// The key of a document with this source; `None` if the source does not contain a valid one.
    pub fn of_source(source: &Value) -> Option<Self> {
        let text = |name: &str| source.get(name).and_then(Value::as_str);
        let breakdown = text("dimension")?.parse().ok()?;
        let term = match source.get("term") {
            Some(Value::Null) if is_null_if_empty(breakdown) => String::new(),
            term => term?.as_str()?.to_owned(),
        };
        Some(Self {
            recordset_id: text("recordset_id")?.parse().ok()?,
            breakdown,
            term,
        })
    }

    /// The id of the document, as 22 characters: three bytes of the recordset's id, the breakdown, and 96 bits of a hash
    /// of the key. It begins with what the documents of an entry have in common, so that looking them up in their order
    /// reads neighbouring parts of the index. The probability that two of 10^9 documents of a recordset share an id is
    /// less than 10^-11.
    pub fn id(&self) -> String {
        let Self {
            recordset_id,
            breakdown,
            term,
        } = self;
        let mut hash = Sha256::new();
        hash.update(recordset_id.as_bytes());
        hash.update(breakdown.name());
        // The name contains no line feed, so it is clear where the term begins.
        hash.update(b"\n");
        hash.update(term);
        let mut id = [0; 16];
        id[..3].copy_from_slice(&recordset_id.as_bytes()[..3]);
        id[3] = breakdown.name().as_bytes()[0];
        id[4..].copy_from_slice(&hash.finalize()[..12]);
        URL_SAFE_NO_PAD.encode(id)
    }

    /// The error for a figure that exceeds a bigint.
    pub(super) fn exceeds_a_bigint(&self) -> Error {
        Error::new(
            ErrorKind::FigureTooLarge,
            format!(
                "a figure of the term '{}' of recordset {} exceeds a bigint",
                self.term, self.recordset_id
            ),
        )
    }

    /// Writes the document with this id, with the figures as of an entry.
    pub(super) fn write(
        &self,
        id: &str,
        batch: &mut Batch,
        figures: &Figures,
        entry_id: EntryId,
        places: &mut Places,
    ) {
        let Self {
            recordset_id,
            breakdown,
            term,
        } = self;
        batch.push(id, entry_id.number(), |out| {
            put(out, r#"{"recordset_id":""#);
            put_uuid(out, *recordset_id);
            put(out, r#"","dimension":""#);
            put(out, breakdown.name());
            put(out, r#"","term":"#);
            if term.is_empty() && is_null_if_empty(*breakdown) {
                put(out, "null");
            } else {
                put_string(out, term);
            }
            match breakdown {
                Breakdown::Countries if !term.is_empty() => {
                    put_name(out, ",", "country");
                    put_string(out, term);
                }
                Breakdown::Geocodes => out.extend_from_slice(&places.of(Term::Plain(term)).fields),
                _ => {}
            }
            put_name(out, ",", "entry_id");
            put_number(out, entry_id.number());
            figures.put(out);
            out.push(b'}');
        });
    }
}

/// Whether the empty term means that there is none. A record may have an empty id.
fn is_null_if_empty(breakdown: Breakdown) -> bool {
    matches!(breakdown, Breakdown::Countries | Breakdown::Queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(breakdown: Breakdown, term: &str) -> Key {
        Key {
            recordset_id: "00038086-3303-4b89-b2d6-1b84e7598f0e".parse().unwrap(),
            breakdown,
            term: term.to_owned(),
        }
    }

    fn figures(of: &[(RecordType, StatType, i64)]) -> Figures {
        let mut figures = Figures::default();
        for (record_type, stat_type, n) in of {
            figures.add(*record_type, *stat_type, *n).unwrap();
        }
        figures
    }

    /// The source of the document.
    fn source(key: &Key, figures: &Figures) -> String {
        let mut batch = Batch::default();
        let entry_id = "7".parse().unwrap();
        key.write(
            &key.id(),
            &mut batch,
            figures,
            entry_id,
            &mut Places::default(),
        );
        let document = batch.documents().next().unwrap();
        assert_eq!((document.id, document.version), (&*key.id(), 7));
        String::from_utf8(document.source.to_vec()).unwrap()
    }

    #[test]
    fn ids_are_short_and_differ_with_every_part() {
        let keys = [
            key(Breakdown::Items, "a"),
            key(Breakdown::Items, "b"),
            key(Breakdown::Queries, "a"),
            key(Breakdown::Countries, "a"),
            Key {
                recordset_id: Uuid::nil(),
                ..key(Breakdown::Items, "a")
            },
        ];
        let ids: std::collections::HashSet<String> = keys.iter().map(Key::id).collect();
        assert_eq!(ids.len(), keys.len());
        assert!(ids.iter().all(|id| id.len() == 22));
    }

    #[test]
    fn a_document_has_the_figures_that_are_not_zero_and_reads_back() {
        use RecordType::{Mediarecords, Records};
        use StatType::{Search, Seen, View};
        const HEAD: &str = r#"{"recordset_id":"00038086-3303-4b89-b2d6-1b84e7598f0e","#;
        let nothing = Figures::default();
        let some = figures(&[
            (Records, View, 3),
            (Records, Search, 17),
            (Mediarecords, Seen, -1),
        ]);
        for (key, figures, expected) in [
            (
                key(Breakdown::Countries, "US"),
                some,
                r#""dimension":"countries","term":"US","country":"US","entry_id":7,"records":{"search":{"total":17},"view":{"count":3}},"mediarecords":{"seen":{"count":-1}}}"#,
            ),
            (
                key(Breakdown::Countries, ""),
                nothing,
                r#""dimension":"countries","term":null,"entry_id":7}"#,
            ),
            (
                key(Breakdown::Geocodes, r#"{"city":"Ocala","country":"US"}"#),
                nothing,
                r#""dimension":"geocodes","term":"{\"city\":\"Ocala\",\"country\":\"US\"}","country":"US","city":"Ocala","entry_id":7}"#,
            ),
            (
                key(Breakdown::Geocodes, "null"),
                nothing,
                r#""dimension":"geocodes","term":"null","entry_id":7}"#,
            ),
            (
                key(Breakdown::Queries, ""),
                nothing,
                r#""dimension":"queries","term":null,"entry_id":7}"#,
            ),
            (
                key(Breakdown::Items, ""),
                figures(&[(Mediarecords, View, 1)]),
                r#""dimension":"items","term":"","entry_id":7,"mediarecords":{"view":{"count":1}}}"#,
            ),
        ] {
            let written = source(&key, &figures);
            assert_eq!(written, format!("{HEAD}{expected}"));
            let stored: StoredTerm = serde_json::from_str(&written).unwrap();
            assert_eq!(stored.figures, figures);
            assert_eq!(stored.entry_id, Some("7".parse().unwrap()));
            let value = serde_json::from_str(&written).unwrap();
            assert_eq!(Key::of_source(&value), Some(key));
        }
    }

    #[test]
    fn nothing_is_added_to_figures_that_cannot_be_read() {
        for odd in [
            r#"{"records":{"view":{"count":"3"}}}"#,
            r#"{"records":{"view":{"count":1.5}}}"#,
            r#"{"records":{"view":{}}}"#,
            r#"{"records":{"view":3}}"#,
            r#"{"records":{"views":{"count":3}}}"#,
            r#"{"records":[]}"#,
            r#"{"entry_id":"x"}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<StoredTerm>(odd).is_err(), "{odd}");
        }
        let mut most = figures(&[(RecordType::Records, StatType::View, i64::MAX)]);
        let one = figures(&[(RecordType::Records, StatType::View, 1)]);
        assert!(most.add_all(&one).is_err());
    }
}
