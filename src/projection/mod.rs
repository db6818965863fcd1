//! Projections: what Elasticsearch holds, derived from the ledger alone.
//!
//! Building documents is pure ([`daily`], [`totals`], [`terms`]); [`documents`] streams them from the ledger; [`advance`]
//! brings an index up to date with it, [`rebuild`] makes a new one. Every document is absolute, has an id that depends on
//! nothing but what it is about, and carries as version the last entry that touches it.

pub mod advance;
mod cell_terms;
pub mod checkpoint;
pub mod compare;
mod copied;
pub mod daily;
mod digest;
pub mod documents;
pub mod fold;
pub mod index;
mod json;
mod mapping;
mod oversize;
pub mod rebuild;
mod shape;
pub mod template;
pub mod terms;
pub mod totals;

use serde::Serialize;
use serde_json::{Value, json};
use terms::Scope;

use crate::projection::template::Design;

/// The projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
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

impl Projection {
    /// All projections.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Totals, Self::Terms];

    /// What `--only` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "stats",
            Self::Totals => "totals",
            Self::Terms => "terms",
        }
    }

    /// The mapping of its index.
    pub fn mapping(self) -> Value {
        match self {
            Self::Daily => mapping::daily(),
            Self::Totals => mapping::totals(),
            Self::Terms => mapping::terms(),
        }
    }

    /// How an index of it is made that serves readers from its first day on.
    pub fn serving_design(self) -> Design {
        Design {
            mapping: self.mapping(),
            settings: serving_settings(1),
            serving: true,
        }
    }
}

impl Plan {
    /// The projections that are kept up.
    pub fn kinds(&self) -> Vec<Projection> {
        Projection::ALL
            .into_iter()
            .filter(|kind| *kind != Projection::Terms || !self.terms.is_empty())
            .collect()
    }

    /// The name that readers use.
    pub fn alias(&self, kind: Projection) -> String {
        let prefix = &self.prefix;
        match kind {
            Projection::Daily => prefix.clone(),
            Projection::Totals => format!("{prefix}-totals"),
            Projection::Terms => format!("{prefix}-terms"),
        }
    }
}

/// The settings of an index that serves readers.
pub fn serving_settings(shards: u32) -> Value {
    settings(json!({ "index.number_of_shards": shards, "index.auto_expand_replicas": "0-1" }))
}

/// Settings of an index, with those that every index has. What readers or the program depend on is given even where it is
/// the default, so that no template of the cluster decides it.
///
/// Readers find an index by its alias alone: a pattern such as `stats*` does not match what is hidden. A deletion by hand
/// is forgotten at once (`gc_deletes`): daybook itself deletes nothing, and what was deleted must be written again at the
/// version that it had.
fn settings(own: Value) -> Value {
    let mut settings = json!({
        "index.hidden": true,
        "index.gc_deletes": "0s",
        "index.default_pipeline": "_none",
        "index.final_pipeline": "_none",
        "index.max_result_window": 10_000,
        "index.mapping.ignore_malformed": false,
        "index.mapping.total_fields.limit": 1000,
        "index.blocks.read_only": false,
        "index.blocks.read": false,
        "index.blocks.write": false,
        "index.blocks.metadata": false,
    });
    if let (Some(settings), Value::Object(own)) = (settings.as_object_mut(), own) {
        settings.extend(own);
    }
    settings
}
