//! Reads every document of an index, page by page, in index order.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::client::Client;
use super::look_up::without_source;
use super::shards::{Shards, assert_complete};
use crate::error::Error;
use elasticsearch::http::Method;

/// How long Elasticsearch keeps a scroll between two pages.
const KEPT: &str = "5m";

/// A walk through an index.
#[derive(Debug)]
pub struct Scroll {
    client: Client,
    what: String,
    id: String,
}

/// A page as it was received: the next one can be fetched while this one is read.
#[derive(Debug)]
pub struct Page {
    what: String,
    answer: Answer,
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
    /// Its documents; none after the last page. A document without its source is an error.
    pub fn documents<'a, S: Deserialize<'a>>(&'a self) -> Result<Vec<Hit<'a, S>>, Error> {
        #[derive(Deserialize)]
        #[serde(bound = "S: Deserialize<'de>")]
        struct Body<'a, S> {
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
        let items = self.answer.read::<Body<S>>(&self.what)?.hits.hits;
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
        items.into_iter().map(hit).collect()
    }
}

impl Scroll {
    /// Begins a walk and returns its first page. A page has `documents` documents, with the fields that `source`
    /// selects.
    pub async fn begin(
        client: &Client,
        physical: &str,
        documents: usize,
        source: Value,
    ) -> Result<(Self, Page), Error> {
        let what = format!("reading the documents of {physical}");
        let body =
            json!({ "size": documents, "sort": ["_doc"], "version": true, "_source": source });
        let path = format!("/{physical}/_search?scroll={KEPT}");
        let client = client.for_documents();
        let answer = client
            .request(Method::Post, &path, Some(&body), &what)
            .await?;
        let mut scroll = Self {
            client,
            what,
            id: String::new(),
        };
        let first = scroll.turn(answer)?;
        Ok((scroll, first))
    }

    /// The next page; an empty one after the last, however often it is requested.
    pub async fn next(&mut self) -> Result<Page, Error> {
        let body = json!({ "scroll": KEPT, "scroll_id": self.id });
        // If this were repeated, the cluster would return the page after the lost one.
        let sending = self
            .client
            .send_once(Method::Post, "/_search/scroll", &body);
        let answer = sending
            .await
            .map_err(|error| error.during(&self.what))?
            .succeeded(&self.what)?;
        self.turn(answer)
    }

    fn turn(&mut self, answer: Answer) -> Result<Page, Error> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "_scroll_id")]
            scroll_id: String,
            timed_out: bool,
            #[serde(rename = "_shards")]
            shards: Shards,
        }
        let Head {
            scroll_id,
            timed_out,
            shards,
        } = answer.read(&self.what)?;
        self.id = scroll_id;
        assert_complete(shards, timed_out, &self.what)?;
        Ok(Page {
            what: self.what.clone(),
            answer,
        })
    }

    /// Ends the walk, so that Elasticsearch frees its resources before they expire.
    pub async fn end(self) {
        let body = json!({ "scroll_id": self.id });
        if let Err(error) = self
            .client
            .request(Method::Delete, "/_search/scroll", Some(&body), &self.what)
            .await
        {
            tracing::debug!(error = error.message(), "a scroll could not be ended");
        }
    }
}
