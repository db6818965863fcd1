//! Reads every document of an index, page by page, in index order.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::client::Client;
use super::search::Page;
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
        }
        self.id = answer.read::<Head>(&self.what)?.scroll_id;
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
