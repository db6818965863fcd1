//! The findings of a verification.

use serde::Serialize;

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Where: an entry, a row or a day.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl Finding {
    pub(super) fn new(place: String, what: &str) -> Self {
        Self {
            place,
            what: what.to_owned(),
        }
    }
}

/// The result of verifying the ledger itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LedgerCheck {
    /// Number of entries whose hashes were recomputed.
    pub entries: u64,
    /// Number of entries that were compared with witnesses.
    pub witnessed: u64,
    /// Why tables, functions and views could not be compared with the migrations, if so.
    pub schema_not_compared: Option<String>,
    pub findings: Vec<Finding>,
}
