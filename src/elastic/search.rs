//! The answer to a search: its documents, and whether it saw all of them.

use std::borrow::Cow;

use serde::Deserialize;

use super::answer::Answer;
use crate::error::{Error, ErrorKind};

/// The documents that a search found, as they were received: other searches can go on while they are read.
#[derive(Debug)]
pub struct Page {
    pub(super) what: String,
    pub(super) answer: Answer,
}

/// A document of a page.
#[derive(Debug)]
pub struct Hit<'a, S> {
    pub id: Cow<'a, str>,
    pub version: i64,
    /// The requested part of its source.
    pub source: S,
}

impl Page {
    /// Its documents; none after the last page. An answer that lacks documents is an error, and so is a document without
    /// its source.
    pub fn documents<'a, S: Deserialize<'a>>(&'a self) -> Result<Vec<Hit<'a, S>>, Error> {
        #[derive(Deserialize)]
        #[serde(bound = "S: Deserialize<'de>")]
        struct Body<'a, S> {
            timed_out: bool,
            #[serde(rename = "_shards")]
            shards: Shards,
            #[serde(borrow)]
            hits: Hits<'a, S>,
        }
        #[derive(Deserialize)]
        #[serde(bound = "S: Deserialize<'de>")]
        struct Hits<'a, S> {
            #[serde(borrow)]
            hits: Vec<Item<'a, S>>,
        }
        #[derive(Deserialize)]
        #[serde(bound = "S: Deserialize<'de>")]
        struct Item<'a, S> {
            #[serde(rename = "_index", borrow)]
            index: Cow<'a, str>,
            #[serde(rename = "_id", borrow)]
            id: Cow<'a, str>,
            #[serde(rename = "_version")]
            version: i64,
            #[serde(rename = "_source")]
            source: Option<S>,
        }
        let Body {
            timed_out,
            shards,
            hits,
        } = self.answer.read::<Body<S>>(&self.what)?;
        assert_complete(shards, timed_out, &self.what)?;
        let hit = |Item {
                       index,
                       id,
                       version,
                       source,
                   }| match source {
            Some(source) => Ok(Hit {
                id,
                version,
                source,
            }),
            None => Err(without_source(&id, &index)),
        };
        hits.hits.into_iter().map(hit).collect()
    }
}

/// The shards that were searched.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Shards {
    total: u32,
    successful: u32,
}

impl Shards {
    /// Shards that gave no answer. Their documents would be missing unnoticed.
    fn silent(self) -> u32 {
        self.total.saturating_sub(self.successful)
    }
}

/// Refuses the answer to a search that lacks documents: of a shard, or because the cluster limits the time of searches.
pub fn assert_complete(shards: Shards, timed_out: bool, what: &str) -> Result<(), Error> {
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

/// The error for a document that exists without its source.
pub(super) fn without_source(id: &str, index: &str) -> Error {
    Error::new(
        ErrorKind::IndexAltered,
        format!("document {id} of {index} has no source"),
    )
    .hint("the index does not keep sources: `daybook rebuild` replaces it")
}
