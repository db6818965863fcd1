//! The geocode of an event: where the request came from, as the JSON that the source holds.

use serde_json::Value;

use super::{Defect, MAX_TERM_BYTES, Reason, check_term, excerpt};

/// The term of a geocode: its JSON on one line, without blanks, the keys of every object sorted by their bytes.
///
/// A number keeps its value but not its spelling (`1e2` becomes `100.0`).
pub(crate) fn canonical(text: &str) -> Result<String, GeocodeDefect> {
    // serde_json's map sorts its keys (this crate does not turn on preserve_order) and keeps the last of a repeated key.
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let start = excerpt(text);
        GeocodeDefect(Defect::new(
            Reason::GeocodeUnreadable,
            format!("ip_geocode cannot be read as JSON: {error}: it starts '{start}'"),
        ))
    })?;
    let term = value.to_string();
    // In the term itself a NUL is written as an escape, which Postgres could store: but not unpack again.
    if term.len() <= MAX_TERM_BYTES && holds_nul(&value) {
        let start = excerpt(&term);
        return Err(GeocodeDefect(Defect::new(
            Reason::TermHoldsNul,
            format!("ip_geocode holds the character NUL: '{start}'"),
        )));
    }
    check_term("ip_geocode", &term).map_err(GeocodeDefect)?;
    Ok(term)
}

/// What is wrong with a geocode.
#[derive(Debug)]
pub(crate) struct GeocodeDefect(Defect);

impl GeocodeDefect {
    /// The rejection of the event that carries it.
    pub(crate) fn reject(self, source_id: i64) -> super::Rejection {
        super::Rejection {
            source_id,
            reason: self.0.reason,
            message: self.0.message,
        }
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
