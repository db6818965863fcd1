//! The outcome of a bulk request for each document. Pure.
//!
//! A bulk request can succeed with status 200 although every document in it was refused.

use std::fmt;

use serde::Deserialize;

/// The body of an answer to a bulk request with [`FILTER`].
#[derive(Debug, Deserialize)]
pub(super) struct BulkAnswer {
    #[serde(default)]
    items: Vec<Item>,
}

/// Limits the answer to what is read here.
pub(super) const FILTER: &str =
    "items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by";

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

impl Cause {
    /// Whether the cause is a block of the cluster or of the index.
    pub(super) fn is_block(&self) -> bool {
        self.kind == "cluster_block_exception"
    }
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

/// What happened to one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the index.
    Written,
    /// The index holds the document with a higher version.
    Conflict,
    /// It may be accepted if it is sent again.
    Retry(Cause),
    /// The index accepts no writes until somebody intervenes. The status says why.
    Blocked(u16, Cause),
    /// It will never be accepted.
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
                // A block with any other status ends when the cluster has a master again.
                403 | 429 if cause.is_block() => Outcome::Blocked(status, cause),
                429 | 500 | 502 | 503 | 504 => Outcome::Retry(cause),
                _ => Outcome::Refused(cause),
            }
        })
    }
}

/// Whether a rejection says that the request alone exceeds the node's memory limit for all requests together. Otherwise
/// the node is only busy.
pub(super) fn exceeds_limit(reason: &str) -> bool {
    let number_after = |name: &str| {
        let digits = &reason[reason.find(name)? + name.len()..];
        let end = digits
            .find(|digit: char| !digit.is_ascii_digit())
            .unwrap_or(digits.len());
        digits[..end].parse::<u64>().ok()
    };
    let own = number_after("coordinating_operation_bytes=");
    let limit = number_after("max_coordinating_bytes=")
        .or_else(|| number_after("max_coordinating_and_primary_bytes="));
    matches!((own, limit), (Some(own), Some(limit)) if own > limit)
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert_eq;

    use super::*;

    #[test]
    fn each_document_has_its_outcome_whatever_the_status_of_the_whole() {
        let answer: BulkAnswer = serde_json::from_str(
            r#"{"items": [{"index": {"status": 201}}, {"index": {"status": 409, "error": {"type": "version_conflict"}}},
                {"index": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}},
                {"index": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no", "caused_by": {"type": "x"}}}},
                {"index": {"status": 429, "error": {"type": "cluster_block_exception", "reason": "disk usage"}}}]}"#,
        )
        .unwrap();
        let outcomes: Vec<Outcome> = answer.outcomes().collect();
        assert!(matches!(
            &outcomes[..],
            [Outcome::Written, Outcome::Conflict, Outcome::Retry(_), Outcome::Refused(cause), Outcome::Blocked(429, _)]
                if cause.to_string() == "document_parsing_exception: no (x)"
        ));
    }

    #[test]
    fn a_request_that_can_never_be_taken_is_told_from_one_that_came_at_a_busy_moment() {
        let rejection = |operation: u64, limit: &str| {
            format!(
                "es_rejected_execution_exception: rejected execution of coordinating operation [coordinating_and_primary_bytes=9, replica_bytes=0, all_bytes=9, coordinating_operation_bytes={operation}, {limit}=1000]"
            )
        };
        for limit in [
            "max_coordinating_and_primary_bytes",
            "max_coordinating_bytes",
        ] {
            assert!(exceeds_limit(&rejection(1001, limit)), "{limit}");
            assert!(!exceeds_limit(&rejection(999, limit)), "{limit}");
        }
        assert!(!exceeds_limit("") && !exceeds_limit("coordinating_operation_bytes=12"));
    }

    /// Whatever a cluster answers, only a document with a status of success counts as written.
    #[test]
    fn fuzz_answers() {
        crate::fuzzing::check("bulk-answers", |text| {
            exceeds_limit(&String::from_utf8_lossy(text));
            let Ok(answer) = serde_json::from_slice::<BulkAnswer>(text) else {
                return Ok(());
            };
            let statuses: Vec<u16> = answer.items.iter().map(|item| item.index.status).collect();
            for (status, outcome) in statuses.into_iter().zip(answer.outcomes()) {
                prop_assert_eq!((200..300).contains(&status), outcome == Outcome::Written);
                if let Outcome::Retry(cause)
                | Outcome::Refused(cause)
                | Outcome::Blocked(_, cause) = outcome
                {
                    drop(cause.to_string());
                }
            }
            Ok(())
        });
    }
}
