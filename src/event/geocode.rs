//! The geocode of an event: where the request came from, as the JSON that the source holds.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::payload::Text;
use super::{Defect, Reason, check_term, excerpt};

/// The term of a geocode: its JSON on one line, without whitespace, the keys of every object sorted by their bytes,
/// strings with as few escapes as JSON allows. Numbers keep their spelling: parsing them as floats would change some.
pub(crate) fn canonical(text: &str) -> Result<String, GeocodeDefect> {
    let mut term = String::with_capacity(text.len());
    let mut holds_nul = false;
    write(&mut term, text, 0, &mut holds_nul).map_err(|error| {
        let start = excerpt(text);
        let what = format!("ip_geocode cannot be read as JSON: {error}: it starts '{start}'");
        GeocodeDefect(Defect::new(Reason::GeocodeUnreadable, what))
    })?;
    check_term("ip_geocode", &term).map_err(GeocodeDefect)?;
    // In the term, a NUL is an escape: Postgres could store it, but not parse it as jsonb.
    if holds_nul {
        let what = format!("ip_geocode holds the character NUL: '{}'", excerpt(&term));
        return Err(GeocodeDefect(Defect::new(Reason::TermHoldsNul, what)));
    }
    Ok(term)
}

/// A geocode is an object of three strings. Deeper nesting than this could exhaust the stack.
const DEEPEST: usize = 128;

/// Appends a value in its canonical form.
fn write(
    out: &mut String,
    text: &str,
    depth: usize,
    holds_nul: &mut bool,
) -> Result<(), Unreadable> {
    let text = text.trim_ascii();
    if depth > DEEPEST {
        return Err(Unreadable::TooDeep);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            // The map sorts the keys, and keeps the last value of a repeated key.
            let members: BTreeMap<Text<'_>, &RawValue> = serde_json::from_str(text)?;
            out.push('{');
            for (place, (Text(key), value)) in members.iter().enumerate() {
                separate(out, place);
                write_string(out, key, holds_nul)?;
                out.push(':');
                write(out, value.get(), depth + 1, holds_nul)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                separate(out, place);
                write(out, value.get(), depth + 1, holds_nul)?;
            }
            out.push(']');
        }
        Some(b'"') => {
            let Text(string) = serde_json::from_str(text)?;
            write_string(out, &string, holds_nul)?;
        }
        // Numbers, true, false and null; the parser refuses anything else.
        _ => out.push_str(serde_json::from_str::<&RawValue>(text)?.get()),
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    NotJson(#[from] serde_json::Error),
    #[error("it is nested deeper than {DEEPEST} levels")]
    TooDeep,
}

fn separate(out: &mut String, place: usize) {
    if place > 0 {
        out.push(',');
    }
}

fn write_string(
    out: &mut String,
    string: &str,
    holds_nul: &mut bool,
) -> Result<(), serde_json::Error> {
    *holds_nul |= string.contains('\0');
    out.push_str(&serde_json::to_string(string)?);
    Ok(())
}

/// What is wrong with a geocode.
#[derive(Debug)]
pub(crate) struct GeocodeDefect(Defect);

impl GeocodeDefect {
    pub(crate) fn message(self) -> String {
        self.0.message
    }

    /// The rejection of the event that carries it.
    pub(crate) fn reject(self, source_id: i64) -> super::Rejection {
        super::Rejection {
            source_id,
            reason: self.0.reason,
            message: self.0.message,
        }
    }
}
