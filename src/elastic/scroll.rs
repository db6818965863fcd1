//! Every document of an index, page by page, in the order in which they lie there.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Answer, Client, Method};
use crate::failure::{Exit, Failure};

/// How long Elasticsearch keeps a scroll that nobody asks for its next page.
const KEPT: &str = "5m";

/// A walk through an index.
#[derive(Debug)]
pub struct Scroll {
    client: Client,
    what: String,
    id: String,
}

#[derive(Deserialize)]
struct Page<T> {
    #[serde(rename = "_scroll_id")]
    scroll_id: String,
    #[serde(rename = "_shards")]
    shards: Shards,
    hits: Hits<T>,
}

/// The shards that were asked.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Shards {
    total: u32,
    successful: u32,
}

impl Shards {
    /// So many gave no answer: what they hold would be missing without a word.
    pub fn silent(self) -> u32 {
        self.total.saturating_sub(self.successful)
    }
}

#[derive(Deserialize)]
struct Hits<T> {
    hits: Vec<T>,
}

impl Scroll {
    /// Begins a walk and gives its first page, with so many documents; `source` says what of them.
    pub async fn begin<T: DeserializeOwned>(
        client: &Client,
        physical: &str,
        documents: usize,
        source: Value,
    ) -> Result<(Self, Vec<T>), Failure> {
        let what = format!("reading the documents of {physical}");
        let body = json!({ "size": documents, "sort": ["_doc"], "version": true, "_source": source });
        let path = format!("/{physical}/_search?scroll={KEPT}");
        let answer = client.request(Method::Post, &path, Some(&body), &what).await?;
        let mut scroll = Self { client: client.clone(), what, id: String::new() };
        let first = scroll.turn(&answer)?;
        Ok((scroll, first))
    }

    /// The next page; an empty one behind the last.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Failure> {
        let body = json!({ "scroll": KEPT, "scroll_id": self.id });
        let answer = self.client.request(Method::Post, "/_search/scroll", Some(&body), &self.what).await?;
        self.turn(&answer)
    }

    fn turn<T: DeserializeOwned>(&mut self, answer: &Answer) -> Result<Vec<T>, Failure> {
        let page = answer.read::<Page<T>>(&self.what)?;
        self.id = page.scroll_id;
        let silent = page.shards.silent();
        if silent > 0 {
            return Err(Failure::new(Exit::Unreachable, format!("{}: {silent} shards gave no answer", self.what))
                .hint("see to it that the cluster is green, then run the command again"));
        }
        Ok(page.hits.hits)
    }

    /// Ends the walk, so that Elasticsearch need not keep what is left of it. It would forget it by itself in time.
    pub async fn end(self) {
        let body = json!({ "scroll_id": self.id });
        if let Err(error) = self.client.request(Method::Delete, "/_search/scroll", Some(&body), &self.what).await {
            tracing::debug!(error = error.message(), "a scroll could not be ended");
        }
    }
}
