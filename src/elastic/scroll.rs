//! Reads the documents of an index, page by page, in index order.

use memchr::memchr2;
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
    /// Begins a walk through the documents that match a query, and returns its first page. A page has `documents`
    /// documents, with the fields that `source` selects.
    pub async fn begin(
        client: &Client,
        physical: &str,
        documents: usize,
        source: Value,
        query: Value,
    ) -> Result<(Self, Page), Error> {
        let what = format!("reading the documents of {physical}");
        let body = json!({
            "size": documents, "sort": ["_doc"], "version": true, "_source": source, "query": query,
        });
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
        self.id = match scroll_id_in_front(&answer.body) {
            Some(id) => id.to_owned(),
            None => answer.read::<Head>(&self.what)?.scroll_id,
        };
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

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "_scroll_id")]
    scroll_id: String,
}

/// The id to continue with, if the page begins with it, as all versions of Elasticsearch write it: megabytes of
/// documents follow, which are read only once then.
fn scroll_id_in_front(body: &[u8]) -> Option<&str> {
    let rest = body.strip_prefix(br#"{"_scroll_id":""#)?;
    let id = &rest[..memchr2(b'"', b'\\', rest)?];
    (rest[id.len()] == b'"').then(|| str::from_utf8(id).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scroll_id_is_found_in_front_or_by_the_reader_of_json() {
        let both = |body: &str| {
            let by_json = serde_json::from_str::<Head>(body).unwrap().scroll_id;
            (
                scroll_id_in_front(body.as_bytes()).map(str::to_owned),
                by_json,
            )
        };
        let id = "FGluY2x1ZGVfY29udGV4dF91dWlkDXF1==".to_owned();
        let page = format!(r#"{{"_scroll_id":"{id}","took":1,"hits":{{"hits":[]}}}}"#);
        assert_eq!(both(&page), (Some(id.clone()), id));
        for left_to_json in [
            r#"{"took":1,"_scroll_id":"a"}"#,
            r#"{ "_scroll_id":"a"}"#,
            r#"{"_scroll_id":"\u0061"}"#,
        ] {
            assert_eq!(both(left_to_json), (None, "a".to_owned()));
        }
        for broken in [
            "",
            "{",
            r#"{"_scroll_id":"#,
            r#"{"_scroll_id":"a"#,
            r#"{"_scroll_id":null}"#,
        ] {
            assert_eq!(scroll_id_in_front(broken.as_bytes()), None);
        }
    }
}
