//! Projections: what Elasticsearch holds, derived from the ledger alone.
//!
//! Building documents is pure ([`daily`], [`totals`]); [`advance`] moves them. Every document is absolute, has an id that
//! depends on nothing but what it is about, and carries as version the last entry that touches it.

pub mod advance;
pub mod daily;
mod mapping;
pub mod totals;

use serde::Serialize;
use serde_json::Value;

/// The projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// One document per recordset and day.
    Daily,
    /// One document per recordset, all time.
    Totals,
}

impl Projection {
    /// All projections.
    pub const ALL: [Self; 2] = [Self::Daily, Self::Totals];

    /// The name that readers use.
    pub fn alias(self, prefix: &str) -> String {
        match self {
            Self::Daily => prefix.to_owned(),
            Self::Totals => format!("{prefix}-totals"),
        }
    }

    /// The mapping of its index.
    pub fn mapping(self) -> Value {
        match self {
            Self::Daily => mapping::daily(),
            Self::Totals => mapping::totals(),
        }
    }

    /// The settings of its index.
    pub fn settings(self) -> Value {
        serde_json::json!({ "index": { "number_of_shards": 1, "auto_expand_replicas": "0-1" } })
    }
}
