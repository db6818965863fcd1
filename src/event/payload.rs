//! The payload of an event: a JSON object of record ids or recordset ids.
//!
//! Borrows from the row's text. A repeated key counts once, with its last value.
//!
//! Nearly every payload is plain: no escapes, no repeated keys, only valid values. Those are read in one pass. Any
//! other payload is read again by the slower path, which also reports defects.

use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher as _;
use std::marker::PhantomData;

use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Defect, Interaction, Item, MAX_RECORDS, MAX_TERM_BYTES, Reason, StatType, check_term, excerpt,
    number,
};

/// Reads a payload into its interactions.
pub(super) fn read(
    payload: Option<&str>,
    stat_type: StatType,
) -> Result<Vec<Interaction<'_>>, Defect> {
    let text = payload.ok_or_else(|| {
        Defect::new(
            Reason::PayloadNotAnObject,
            "payload is NULL, expected an object",
        )
    })?;
    let plain = if stat_type.counts_items() {
        serde_json::from_str(text).map(|PlainItems(interactions)| interactions)
    } else {
        serde_json::from_str(text).map(|PlainNumbers(interactions)| interactions)
    };
    plain.or_else(|_| read_carefully(text, stat_type))
}

/// Reads any payload, and reports its defects.
fn read_carefully(text: &str, stat_type: StatType) -> Result<Vec<Interaction<'_>>, Defect> {
    let Members(mut members) = serde_json::from_str(text).map_err(|error| {
        // For a value of another type, the parser's message would quote all of it.
        let what = if error.is_data() {
            format!("is {}, not an object", kind_of(text))
        } else {
            format!("cannot be read: {error}")
        };
        Defect::new(
            Reason::PayloadNotAnObject,
            format!("payload {what}: it starts '{}'", excerpt(text)),
        )
    })?;
    keep_last_of_each_key(&mut members);
    members
        .into_iter()
        .map(|member| {
            if stat_type.counts_items() {
                read_item(member)
            } else {
                read_number(&member)
            }
        })
        .collect()
}

/// What a JSON text is, by its first character.
fn kind_of(text: &str) -> &'static str {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'{') => "an object of another form",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// `record id → recordset id`
fn read_item(member: Member<'_>) -> Result<Interaction<'_>, Defect> {
    let token = member.value.get();
    let recordset = serde_json::from_str::<Text<'_>>(token).map_err(|_| not_a_uuid(token))?;
    let recordset_id = read_recordset(&recordset.0)?;
    check_term("record id", &member.key)?;
    Ok(Interaction {
        recordset_id,
        item: Some(Item::of(member.key)),
        records: 1,
    })
}

/// `recordset id → n`
fn read_number<'a>(member: &Member<'a>) -> Result<Interaction<'a>, Defect> {
    let recordset_id = read_recordset(&member.key)?;
    let records = number::read(member.value.get(), MAX_RECORDS).map_err(|defect| Defect {
        message: format!(
            "number of records of recordset {recordset_id}: {}",
            defect.message
        ),
        ..defect
    })?;
    Ok(Interaction {
        recordset_id,
        item: None,
        records,
    })
}

/// Accepts two of the forms that Postgres accepts: hyphenated, or 32 hexadecimal digits.
fn read_recordset(text: &str) -> Result<Uuid, Defect> {
    let form_is_plain = text.len() == 36 || text.len() == 32;
    let id = form_is_plain.then(|| Uuid::try_parse(text).ok()).flatten();
    id.ok_or_else(|| not_a_uuid(text))
}

fn not_a_uuid(found: &str) -> Defect {
    Defect::new(
        Reason::RecordsetNotAUuid,
        format!("recordset id {} is not a UUID", excerpt(found)),
    )
}

/// A plain `{record id: recordset id}`.
struct PlainItems<'a>(Vec<Interaction<'a>>);

/// A plain `{recordset id: n}`.
struct PlainNumbers<'a>(Vec<Interaction<'a>>);

impl<'de> Deserialize<'de> for PlainItems<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let interaction = |key: &'de str, recordset: &'de str| {
            // A borrowed string has no escapes, so it cannot contain NUL.
            let recordset_id = read_recordset(recordset)
                .ok()
                .filter(|_| key.len() <= MAX_TERM_BYTES)?;
            Some(Interaction {
                recordset_id,
                item: Some(Item::of(Cow::Borrowed(key))),
                records: 1,
            })
        };
        deserializer
            .deserialize_map(PlainVisitor(interaction, PhantomData))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for PlainNumbers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let interaction = |key: &'de str, n: u64| {
            let records = i64::try_from(n)
                .ok()
                .filter(|records| *records <= MAX_RECORDS)?;
            Some(Interaction {
                recordset_id: read_recordset(key).ok()?,
                item: None,
                records,
            })
        };
        deserializer
            .deserialize_map(PlainVisitor(interaction, PhantomData))
            .map(Self)
    }
}

/// Turns each member into an interaction; fails if the payload is not plain.
struct PlainVisitor<F, V>(F, PhantomData<V>);

impl<'de, V: Deserialize<'de>, F: Fn(&'de str, V) -> Option<Interaction<'de>>> Visitor<'de>
    for PlainVisitor<F, V>
{
    type Value = Vec<Interaction<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Interaction<'de>>, A::Error> {
        let mut interactions = Vec::new();
        let mut keys = Vec::new();
        while let Some((key, value)) = map.next_entry::<&str, V>()? {
            interactions.push((self.0)(key, value).ok_or_else(|| A::Error::custom("not plain"))?);
            keys.push(FxBuildHasher.hash_one(key));
        }
        // Equal hashes may mean a repeated key.
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("not plain"));
        }
        Ok(interactions)
    }
}

pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: &'a RawValue,
}

/// An object's members in order, including repeated keys.
pub(crate) struct Members<'a>(pub(crate) Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.push(Member { key, value });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A string, borrowed unless it has escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Drops each member whose key is repeated later.
fn keep_last_of_each_key(members: &mut Vec<Member<'_>>) {
    let mut places = FxHashMap::with_capacity_and_hasher(members.len(), rustc_hash::FxBuildHasher);
    let mut superseded = Vec::new();
    for (place, member) in members.iter().enumerate() {
        superseded.extend(places.insert(member.key.as_ref(), place));
    }
    if superseded.is_empty() {
        return;
    }
    let mut keep = vec![true; members.len()];
    for place in superseded {
        keep[place] = false;
    }
    let mut keep = keep.into_iter();
    members.retain(|_| keep.next().unwrap_or(true));
}
