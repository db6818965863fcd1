//! Whether a search saw every document.

use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// The shards that were searched.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Shards {
    total: u32,
    successful: u32,
}

impl Shards {
    /// Shards that gave no answer. Their documents would be missing unnoticed.
    pub fn silent(self) -> u32 {
        self.total.saturating_sub(self.successful)
    }
}

/// Refuses the answer to a search that lacks documents: of a shard, or because the cluster limits the time of searches.
pub(super) fn assert_complete(shards: Shards, timed_out: bool, what: &str) -> Result<(), Error> {
    let silent = shards.silent();
    if silent > 0 {
        return Err(Error::new(
            ErrorKind::ElasticsearchBusy,
            format!("{what}: {silent} shards gave no answer"),
        )
        .hint("make sure that the cluster is green, then run the command again"));
    }
    if timed_out {
        return Err(Error::new(
            ErrorKind::ElasticsearchBusy,
            format!("{what}: Elasticsearch broke off the search"),
        )
        .hint("it takes longer than search.default_search_timeout of the cluster: raise that, then run the command again"));
    }
    Ok(())
}
