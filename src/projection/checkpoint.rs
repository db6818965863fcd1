//! The checkpoint of an index: the last entry that it contains, and the ledger that it belongs to.
//!
//! It is stored in the mapping of the index that it describes. So an index restored from an old snapshot brings its old
//! checkpoint along and catches up.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::day::Day;
use crate::hash::Hash;
use crate::ledger::EntryId;

/// The value of `_meta.daybook` in an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The ledger that the index was made from.
    pub ledger_id: Uuid,
    /// Incremented by each rebuild.
    pub generation: u32,
    /// The last entry that the index contains.
    pub applied_through: EntryId,
    /// The hash of that entry. It reveals a ledger that was restored and then diverged.
    #[serde(default)]
    pub entry_hash: Option<Hash>,
    /// The shape: what the index was made for and cannot be changed in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Value>,
    /// Documents of at least this many bytes may be stored without their lists: the cluster refused one of that size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists_omitted_from: Option<u64>,
    /// The progress of an unfinished rebuild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<Building>,
}

/// The progress of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Building {
    /// The documents are as of this entry.
    pub through: EntryId,
    /// The days up to this one are written.
    #[serde(default)]
    pub done_through_day: Option<Day>,
    /// Whether all documents are written.
    #[serde(default)]
    pub complete: bool,
}

impl Checkpoint {
    /// Records that documents of at least this many bytes may be stored without their lists. Returns whether this
    /// changed the checkpoint.
    pub fn note_lists_omitted(&mut self, from: Option<u64>) -> bool {
        let before = self.lists_omitted_from;
        self.lists_omitted_from = before.into_iter().chain(from).min();
        self.lists_omitted_from != before
    }
}
