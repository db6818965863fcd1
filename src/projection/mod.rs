//! Projections: what Elasticsearch holds, derived from the ledger alone.
//!
//! Building documents is pure ([`daily`], [`totals`], [`terms`]); [`documents`] streams them from the ledger; [`advance`]
//! brings an index up to date with it, [`rebuild`] makes a new one. Every document is absolute, has an id that depends on
//! nothing but what it is about, and carries as version the last entry that touches it.

pub mod advance;
mod cell_terms;
pub mod compare;
mod copied;
pub mod daily;
mod digest;
pub mod documents;
pub mod fold;
mod json;
mod mapping;
pub mod rebuild;
pub mod terms;
pub mod totals;

use serde::Serialize;
use serde_json::{Value, json};
use terms::Scope;

/// The projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One document per recordset and day.
    #[value(name = "stats")]
    Daily,
    /// One document per recordset, all time.
    Totals,
    /// One document per cell, dimension and term, all time.
    Terms,
}

/// How the projections of an installation are made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// First part of the names of all aliases and indices.
    pub prefix: String,
    /// Which terms have documents.
    pub terms: Scope,
}

impl Kind {
    /// All projections.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Totals, Self::Terms];

    /// The mapping of its index.
    pub fn mapping(self) -> Value {
        match self {
            Self::Daily => mapping::daily(),
            Self::Totals => mapping::totals(),
            Self::Terms => mapping::terms(),
        }
    }
}

impl Plan {
    /// The projections that are kept up.
    pub fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| *kind != Kind::Terms || !self.terms.is_empty()).collect()
    }

    /// The name that readers use.
    pub fn alias(&self, kind: Kind) -> String {
        let prefix = &self.prefix;
        match kind {
            Kind::Daily => prefix.clone(),
            Kind::Totals => format!("{prefix}-totals"),
            Kind::Terms => format!("{prefix}-terms"),
        }
    }

    /// What of the settings shapes the documents, and so must stay as it is while an index is advanced.
    pub fn shape(&self, kind: Kind) -> Option<Value> {
        (kind == Kind::Terms).then(|| json!(self.terms))
    }
}

/// The settings of an index that serves readers.
///
/// A deletion by hand is forgotten at once (`gc_deletes`): daybook itself deletes nothing, and what was deleted must be
/// written again at the version that it had.
pub fn serving_settings(shards: u32) -> Value {
    json!({ "index": { "number_of_shards": shards, "auto_expand_replicas": "0-1", "gc_deletes": "0s" } })
}
