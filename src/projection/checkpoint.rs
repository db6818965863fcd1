//! The checkpoint of an index: which entries of which ledger it contains.
//!
//! It is stored in the mapping of the index that it describes: an index that is restored from an old snapshot brings its
//! old checkpoint along and simply catches up.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::day::Day;
use crate::ledger::EntryId;

/// What `_meta.daybook` of an index says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The ledger that the index is a projection of.
    pub ledger_id: Uuid,
    /// Counts the rebuilds.
    pub generation: u32,
    /// The last entry that the index contains.
    pub applied_through: EntryId,
    /// The hash of that entry, by which a ledger that was restored and went another way is told from this one.
    #[serde(default)]
    pub entry_hash: Option<String>,
    /// What the index was made for, and cannot be changed in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Value>,
    /// Documents of so many bytes and more may stand without their lists: the cluster did not take one of that size whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists_omitted_from: Option<u64>,
    /// Where a rebuild stands that has not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<Building>,
}

/// Where a rebuild stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Building {
    /// The documents are made as they are after this entry.
    pub through: EntryId,
    /// Days up to this one are in the index.
    #[serde(default)]
    pub done_through_day: Option<Day>,
    /// Whether every document is in the index.
    #[serde(default)]
    pub complete: bool,
}

impl Checkpoint {
    /// Remembers that documents of so many bytes and more may stand without their lists. Tells whether that is news.
    pub fn note_lists_omitted(&mut self, from: Option<u64>) -> bool {
        let before = self.lists_omitted_from;
        self.lists_omitted_from = before.into_iter().chain(from).min();
        self.lists_omitted_from != before
    }
}
