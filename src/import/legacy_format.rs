//! Reads what the old system wrote: daily documents, alone or in search hits, and aggregation objects. No IO.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::document::{CellCounts, Defect, Document, Terms};
use crate::day::Day;
use crate::event::{
    Dimension, PerDimension, RecordType, StatType, check_term_of, excerpt, geocode, read_number,
};

/// A daily document as the old collector wrote it, or a search hit that contains one.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(rename = "_type", default)]
    kind: Option<String>,
    #[serde(rename = "_source", borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    recordset_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    harvest_date: Option<&'a RawValue>,
    #[serde(borrow, default)]
    records: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mediarecords: Option<&'a RawValue>,
    /// Only in documents of kind `api`, which may have lost their type.
    #[serde(default)]
    records_count: Option<IgnoredAny>,
}

/// Kinds of documents in the old index that are not daily documents.
const OTHER_KINDS: [&str; 2] = ["api", "digest"];

/// Whether documents of this kind are not daily documents.
pub fn is_other_kind(kind: &str) -> bool {
    OTHER_KINDS.contains(&kind)
}

/// Reads a daily document, alone or in a search hit; `None` if it is of another kind.
pub fn read(text: &[u8]) -> Result<Option<Document>, Defect> {
    let of_no_day = |message| Defect { day: None, message };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text)
        .map_err(|error| of_no_day(format!("it is not UTF-8: {error}")))?;
    let outer = written(text).map_err(of_no_day)?;
    if outer.kind.as_deref().is_some_and(is_other_kind) {
        return Ok(None);
    }
    let document = match outer.source {
        Some(source) => written(source.get()).map_err(of_no_day)?,
        None => outer,
    };
    if document.records_count.is_some()
        && document.records.is_none()
        && document.mediarecords.is_none()
    {
        return Ok(None);
    }
    let day = read_day(document.harvest_date).map_err(of_no_day)?;
    let of_day = |message| Defect {
        day: Some(day),
        message,
    };
    let recordset_id = document
        .recordset_id
        .ok_or_else(|| of_day("it has no recordset_id".to_owned()))?;
    let recordset_id = read_text(recordset_id)
        .and_then(|text| read_recordset(&text))
        .map_err(of_day)?;
    let cells = read_record_types(document.records, document.mediarecords).map_err(of_day)?;
    Document::new(day, recordset_id, cells).map(Some)
}

/// Reads one recordset of an aggregation object.
pub fn read_member(day: Day, recordset: &str, text: &[u8]) -> Result<Document, Defect> {
    #[derive(Deserialize)]
    struct RecordTypes<'a> {
        #[serde(borrow, default)]
        records: Option<&'a RawValue>,
        #[serde(borrow, default)]
        mediarecords: Option<&'a RawValue>,
    }
    let defect = |message| Defect {
        day: Some(day),
        message,
    };
    if matches!(
        recordset,
        "recordset_id" | "harvest_date" | "_source" | "hits"
    ) {
        return Err(defect(
            "it is a daily document, not an aggregation object, and names its own day: import it without --day"
                .to_owned(),
        ));
    }
    let recordset_id = read_recordset(recordset).map_err(defect)?;
    let text =
        std::str::from_utf8(text).map_err(|error| defect(format!("it is not UTF-8: {error}")))?;
    let of_types: RecordTypes<'_> =
        object(text).map_err(|error| defect(format!("it cannot be read: {error}")))?;
    let cells = read_record_types(of_types.records, of_types.mediarecords).map_err(defect)?;
    Document::new(day, recordset_id, cells)
}

fn written(text: &str) -> Result<Written<'_>, String> {
    object(text)
        .map_err(|error| format!("it cannot be read: {error}: it starts '{}'", excerpt(text)))
}

/// Reads an object. Refuses an array, which the parser would accept for a struct.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if text.trim_ascii_start().starts_with('[') {
        return Err(serde_json::Error::custom("an array instead of an object"));
    }
    serde_json::from_str(text)
}

/// The day before `harvest_date`.
fn read_day(harvest_date: Option<&RawValue>) -> Result<Day, String> {
    let token = harvest_date.ok_or(
        "it has no harvest_date (an aggregation object of a whole day is imported with --day)"
            .to_owned(),
    )?;
    let text = read_text(token)?;
    // Elasticsearch accepts midnight as a date, and clients that serialise dates write it that way.
    let date = text
        .split_once('T')
        .filter(|(_, time)| is_midnight(time))
        .map_or(text.as_str(), |(date, _)| date);
    let harvested: Day = date
        .parse()
        .map_err(|error| format!("harvest_date: {error}"))?;
    Day::new(harvested.previous().date()).map_err(|error| format!("harvest_date: {error}"))
}

/// Whether a UTC time of day is midnight, with any number of fractional digits.
fn is_midnight(time: &str) -> bool {
    let time = time
        .strip_suffix('Z')
        .or_else(|| time.strip_suffix("+00:00"))
        .unwrap_or(time);
    time.strip_prefix("00:00:00")
        .is_some_and(|fraction| fraction.chars().all(|c| matches!(c, '.' | '0')))
}

fn read_text(token: &RawValue) -> Result<String, String> {
    serde_json::from_str(token.get())
        .map_err(|_| format!("{} is not a string", excerpt(token.get())))
}

/// Accepts the same forms as the counting rules.
fn read_recordset(text: &str) -> Result<Uuid, String> {
    let id = matches!(text.len(), 32 | 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten();
    id.ok_or_else(|| format!("recordset id '{}' is not a UUID", excerpt(text)))
}

fn read_record_types(
    records: Option<&RawValue>,
    mediarecords: Option<&RawValue>,
) -> Result<Vec<CellCounts>, String> {
    if records.is_none() && mediarecords.is_none() {
        return Err("it has neither records nor mediarecords".to_owned());
    }
    let mut cells = Vec::new();
    for (record_type, token) in [
        (RecordType::Records, records),
        (RecordType::Mediarecords, mediarecords),
    ] {
        let Some(token) = token else { continue };
        let name = record_type.name();
        let Members(members) =
            serde_json::from_str(token.get()).map_err(|error| format!("{name}: {error}"))?;
        for (stat_type, token) in members {
            let what = format!("{name}.{}", excerpt(&stat_type));
            let known = stat_type
                .parse()
                .map_err(|_| format!("{what} is not a stat type"))?;
            cells.push(
                read_cell(record_type, known, token)
                    .map_err(|message| format!("{what}: {message}"))?,
            );
        }
    }
    Ok(cells)
}

#[derive(Deserialize)]
struct WrittenCounts<'a> {
    #[serde(borrow, default)]
    count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total: Option<&'a RawValue>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
    #[serde(borrow, default)]
    queries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    geocodes: Option<&'a RawValue>,
}

fn read_cell(
    record_type: RecordType,
    stat_type: StatType,
    token: &RawValue,
) -> Result<CellCounts, String> {
    let written: WrittenCounts<'_> = object(token.get()).map_err(|error| error.to_string())?;
    let number = |name, token: Option<&RawValue>| match token {
        Some(token) => read_number(token.get()).map_err(|message| format!("{name}: {message}")),
        None => Ok(0),
    };
    let lists = PerDimension {
        items: written.items,
        queries: written.queries,
        geocodes: written.geocodes,
    };
    let maps = PerDimension::try_from_fn(|dimension| match lists[dimension] {
        Some(token) => read_terms(dimension, token.get())
            .map_err(|message| format!("{}: {message}", dimension.name())),
        // Days that were averaged by hand have no lists.
        None => Ok(Terms::new()),
    })?;
    let (count, total) = (
        number("count", written.count)?,
        number("total", written.total)?,
    );
    let lacks_number = written.count.is_some() != written.total.is_some();
    Ok(CellCounts {
        record_type,
        stat_type,
        count,
        total,
        lacks_number,
        maps,
    })
}

/// A term of a list.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(default)]
    term: Option<String>,
    #[serde(borrow, default)]
    geo: Option<&'a RawValue>,
    #[serde(borrow)]
    count: &'a RawValue,
}

/// Reads the terms: a list in daily documents, an object in aggregation objects.
fn read_terms(dimension: Dimension, token: &str) -> Result<Terms, String> {
    let mut terms = Terms::new();
    if token.starts_with('[') {
        let listed: Vec<&RawValue> =
            serde_json::from_str(token).map_err(|error| error.to_string())?;
        for token in listed {
            let Listed { term, geo, count } =
                object(token.get()).map_err(|error| error.to_string())?;
            let geo = geo.map(|geo| Cow::Borrowed(geo.get()));
            let spelled = if dimension == Dimension::Geocodes {
                geo
            } else {
                term.map(Cow::Owned)
            };
            put_term(dimension, &mut terms, spelled, count)?;
        }
    } else {
        let Members(members) = serde_json::from_str(token).map_err(|error| error.to_string())?;
        for (key, count) in members {
            // Keys are strings. Where it had no query, the old system wrote one of these.
            let is_no_query =
                dimension == Dimension::Queries && matches!(key.as_str(), "null" | "None");
            put_term(
                dimension,
                &mut terms,
                (!is_no_query).then_some(Cow::Owned(key)),
                count,
            )?;
        }
    }
    Ok(terms)
}

/// Adds a term with its number. Skips zeros, which only the old system listed.
fn put_term(
    dimension: Dimension,
    terms: &mut Terms,
    spelled: Option<Cow<'_, str>>,
    count: &RawValue,
) -> Result<(), String> {
    let n = read_number(count.get())?;
    if n == 0 {
        return Ok(());
    }
    let is_nothing = spelled.is_none();
    let term = match (dimension, spelled) {
        (Dimension::Items, None) => return Err("a record without an id".to_owned()),
        (Dimension::Items | Dimension::Queries, Some(term)) => term.into_owned(),
        (Dimension::Queries, None) => String::new(),
        (Dimension::Geocodes, geo) => geocode::canonical(geo.as_deref().unwrap_or("null"))
            .map_err(geocode::GeocodeDefect::message)?,
    };
    check_term_of("a term", &term)?;
    match terms.get_mut(&term) {
        None => {
            terms.insert(term, n);
        }
        // The old system had separate terms for no query and the empty query; the ledger has one.
        Some(sum) if dimension == Dimension::Queries && (is_nothing || term.is_empty()) => {
            *sum = sum
                .checked_add(n)
                .ok_or("the sum for no query exceeds the range of bigint")?;
        }
        Some(_) => return Err(format!("'{}' is listed twice", excerpt(&term))),
    }
    Ok(())
}

/// An object's members; a duplicate key is an error.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::<String, &RawValue>::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.contains_key(&key) {
                        return Err(A::Error::custom(format!(
                            "the key '{}' occurs twice",
                            excerpt(&key)
                        )));
                    }
                    members.insert(key, value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests;
