//! What a bulk request came to, document by document. Pure.
//!
//! A bulk request may answer 200 and yet have refused every document in it.

use std::fmt;

use serde::Deserialize;

/// The body of an answer to a bulk request, as far as it is asked for with [`FILTER`].
#[derive(Debug, Deserialize)]
pub(super) struct BulkAnswer {
    #[serde(default)]
    items: Vec<Item>,
}

/// Limits the answer to what is read here.
pub(super) const FILTER: &str = "items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by";

#[derive(Debug, Deserialize)]
struct Item {
    index: ItemResult,
}

#[derive(Debug, Deserialize)]
struct ItemResult {
    status: u16,
    error: Option<Cause>,
}

/// Elasticsearch's reason for an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Cause {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    reason: Option<String>,
    caused_by: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        if let Some(cause) = &self.caused_by {
            write!(f, " ({cause})")?;
        }
        Ok(())
    }
}

/// What became of one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the index.
    Written,
    /// The index holds the document with a higher version.
    Conflict,
    /// It may be taken if it is sent again.
    Retry(Cause),
    /// It will never be taken.
    Refused(Cause),
}

impl BulkAnswer {
    /// One outcome per document, in the order of the request.
    pub(super) fn outcomes(self) -> impl ExactSizeIterator<Item = Outcome> {
        self.items.into_iter().map(|item| {
            let ItemResult { status, error } = item.index;
            let cause = error.unwrap_or_default();
            match status {
                200..300 => Outcome::Written,
                409 => Outcome::Conflict,
                429 | 500 | 502 | 503 | 504 => Outcome::Retry(cause),
                _ => Outcome::Refused(cause),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_has_its_outcome_whatever_the_status_of_the_whole() {
        let answer: BulkAnswer = serde_json::from_str(
            r#"{"items": [{"index": {"status": 201}}, {"index": {"status": 409, "error": {"type": "version_conflict"}}},
                {"index": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}},
                {"index": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no", "caused_by": {"type": "x"}}}}]}"#,
        )
        .unwrap();
        let outcomes: Vec<Outcome> = answer.outcomes().collect();
        assert!(matches!(
            &outcomes[..],
            [Outcome::Written, Outcome::Conflict, Outcome::Retry(_), Outcome::Refused(cause)]
                if cause.to_string() == "document_parsing_exception: no (x)"
        ));
    }
}
