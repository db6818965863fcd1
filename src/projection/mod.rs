//! Projections: what Elasticsearch holds, derived from the ledger alone.
//!
//! Building documents is pure ([`daily`], [`totals`], [`terms`]). [`documents`] streams them from the ledger,
//! [`advance`] brings an index up to date, [`rebuild`] makes a new one. Every document is absolute: its id depends only
//! on what it describes, and its version is the last entry that touches it.

pub mod advance;
pub mod aliases;
pub mod checkpoint;
pub mod compare;
mod copied;
pub mod countries;
pub mod daily;
mod day_streams;
mod digest;
pub mod documents;
mod extra;
pub mod fold;
pub mod index;
mod json;
pub mod layout;
mod mapping;
mod oversize;
pub mod place;
pub mod progress;
pub mod rebuild;
mod rebuild_days;
pub mod scope;
mod shape;
mod slices;
pub mod template;
mod term_sums;
pub mod terms;
pub mod totals;

use scope::Scope;
use serde::Serialize;
use serde_json::{Value, json};

use crate::projection::layout::Layout;
use crate::projection::template::Design;
use crate::workspace::Workspace;

/// A kind of documents derived from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// One document per recordset and day.
    #[value(name = "stats")]
    Daily,
    /// One document per recordset, all time.
    Totals,
    /// One document per recordset, dimension and term, all time.
    Terms,
}

/// How an installation makes its projections.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Prefix of all alias and index names.
    pub prefix: String,
    /// Which terms have documents.
    pub terms: Scope,
    /// The shards of new indices.
    pub layout: Layout,
    /// Where terms are added up.
    pub workspace: Workspace,
}

impl Projection {
    pub const ALL: [Self; 3] = [Self::Daily, Self::Totals, Self::Terms];

    /// The name that `--only` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "stats",
            Self::Totals => "totals",
            Self::Terms => "terms",
        }
    }

    pub fn mapping(self) -> Value {
        match self {
            Self::Daily => mapping::daily(),
            Self::Totals => mapping::totals(),
            Self::Terms => mapping::terms(),
        }
    }
}

impl Plan {
    /// The projections to keep up to date.
    pub fn kinds(&self) -> Vec<Projection> {
        Projection::ALL
            .into_iter()
            .filter(|kind| *kind != Projection::Terms || !self.terms.is_empty())
            .collect()
    }

    /// The design of an index that serves readers as soon as it is created.
    pub fn serving_design(&self, kind: Projection) -> Design {
        Design {
            mapping: kind.mapping(),
            settings: settings(self.layout.serving().into()),
            serving: true,
        }
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

/// The settings that every index has, and its own. Those that readers or the program depend on are set even to their
/// defaults, so that index templates cannot change them.
///
/// Indices are hidden: a pattern such as `stats*` does not match them, so readers find them only by their aliases.
/// Deletions are forgotten at the next refresh (`gc_deletes`), so that a document deleted by hand can be written again
/// at its version.
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
