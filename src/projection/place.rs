//! Where a geocode is: its country, region and city. Pure.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::json::{put_name, put_string};
use crate::ledger::map::Term;

/// Places of geocodes. Each geocode is parsed once, not for every row that lists it.
#[derive(Debug, Default)]
pub struct Places {
    /// The place of each geocode, in `places`.
    plain: FxHashMap<Box<str>, usize>,
    /// The same for geocodes in the form with escapes.
    escaped: FxHashMap<Box<str>, usize>,
    places: Vec<Place>,
    /// An estimate of the memory it takes.
    bytes: usize,
}

/// Memory for geocodes and their places, in bytes. A year has some thousands of geocodes.
const MAX_BYTES: usize = 8 << 20;

/// What a geocode takes beside its texts, in bytes.
const BYTES_OF_PLACE: usize = 112;

#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Empty if the geocode names none.
    pub country: Box<str>,
    /// The country, region and city that the geocode names, as fields of a document, each after a comma.
    pub fields: Box<[u8]>,
}

impl Places {
    /// The place of a geocode, which is a term of the ledger.
    pub fn of(&mut self, geocode: Term<'_>) -> &Place {
        let (known, text) = match geocode {
            Term::Plain(text) => (&self.plain, text),
            Term::Escaped(text) => (&self.escaped, text),
        };
        let index = match known.get(text) {
            Some(index) => *index,
            None => self.add(geocode, text),
        };
        &self.places[index]
    }

    fn add(&mut self, geocode: Term<'_>, key: &str) -> usize {
        let place = geocode
            .text()
            .map_or(Place::nowhere(), |text| Place::of(&text));
        let bytes = key.len() + place.country.len() + place.fields.len() + BYTES_OF_PLACE;
        if self.bytes + bytes > MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
        let index = self.places.len();
        self.places.push(place);
        let known = match geocode {
            Term::Plain(_) => &mut self.plain,
            Term::Escaped(_) => &mut self.escaped,
        };
        known.insert(Box::from(key), index);
        index
    }
}

impl Place {
    fn nowhere() -> Self {
        Self {
            country: Box::default(),
            fields: Box::default(),
        }
    }

    fn of(geocode: &str) -> Self {
        let geocode = serde_json::from_str(geocode).unwrap_or(Value::Null);
        let mut fields = Vec::new();
        for field in ["country", "region", "city"] {
            if let Some(Value::String(name)) = geocode.get(field) {
                put_name(&mut fields, ",", field);
                put_string(&mut fields, name);
            }
        }
        let country = geocode.get("country").and_then(Value::as_str);
        Self {
            country: country.unwrap_or_default().into(),
            fields: fields.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_make_a_place() {
        let mut places = Places::default();
        for (geocode, country, fields) in [
            (
                r#"{"city":"Ocala","country":"US","lat":29.2,"region":null}"#,
                "US",
                r#","country":"US","city":"Ocala""#,
            ),
            (
                r#"{"country":"a \"b\"","region":"é"}"#,
                "a \"b\"",
                r#","country":"a \"b\"","region":"é""#,
            ),
            (r#"{"country":""}"#, "", r#","country":"""#),
            (r#"{"country":{"country":"US"}}"#, "", ""),
            (r#"{"country":["US"]}"#, "", ""),
            (r#"[{"country":"US"}]"#, "", ""),
            (r#""US""#, "", ""),
            ("null", "", ""),
            ("{}", "", ""),
        ] {
            for _ in 0..2 {
                let place = places.of(Term::Plain(geocode));
                assert_eq!(&*place.country, country, "{geocode}");
                assert_eq!(str::from_utf8(&place.fields), Ok(fields), "{geocode}");
            }
        }
    }

    #[test]
    fn a_geocode_with_escapes_is_the_same_place() {
        let mut places = Places::default();
        for _ in 0..2 {
            let escaped = Term::Escaped(r#"{\"city\":\"Ocala\",\"country\":\"US\"}"#);
            assert_eq!(&*places.of(escaped).country, "US");
            // As a plain text, this is no JSON.
            let plain = Term::Plain(r#"{\"city\":\"Ocala\",\"country\":\"US\"}"#);
            assert_eq!(&*places.of(plain).country, "");
        }
        assert_eq!(places.places.len(), 2);
    }

    #[test]
    fn memory_is_bounded_however_many_geocodes_there_are() {
        let mut places = Places::default();
        for n in 0..20_000 {
            let country = format!("{n}{}", "x".repeat(900));
            let geocode = format!(r#"{{"country":"{country}"}}"#);
            assert_eq!(*places.of(Term::Plain(&geocode)).country, country);
            assert!(places.bytes <= MAX_BYTES);
        }
        assert!(places.places.len() < 10_000);
    }
}
