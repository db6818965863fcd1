//! What a verification finds.

use serde::Serialize;

/// Something that is not as it must be.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Where: an entry, a row, a day.
    pub place: String,
    /// What is wrong with it.
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

/// What a verification of the ledger in itself came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LedgerCheck {
    /// Entries whose hashes were recomputed.
    pub entries: u64,
    /// Entries that were compared with what was witnessed of them.
    pub witnessed: u64,
    /// Why functions and views could not be compared with the migrations, if so.
    pub schema_not_compared: Option<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}
