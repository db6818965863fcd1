//! The finished documents of an index, serialised beforehand into the bodies of bulk requests.

use std::fmt::Write as _;

use bytes::Bytes;
use daybook::clock::Stopwatch;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Method;
use serde_json::json;

use crate::Error;
use crate::elastic::Elastic;
use crate::page::{Hit, Page};

/// The size of the bodies that the program sends.
const BODY_BYTES: usize = 6 << 20;

/// Bodies with the documents of an index.
#[derive(Default)]
pub struct Documents {
    pub count: u64,
    pub bodies: Vec<Bytes>,
}

impl Documents {
    /// Reads the documents of an index that match a query, up to a number of bytes.
    pub async fn read(
        elastic: &Elastic,
        index: &str,
        query: serde_json::Value,
        most: usize,
    ) -> Result<Self, Error> {
        let (mut documents, mut body, mut bytes) = (Self::default(), String::new(), 0);
        let search = json!({ "size": page_size(elastic, index).await?, "version": true, "sort": ["_doc"], "query": query });
        let mut answer = elastic
            .bytes(
                Method::POST,
                &format!("/{index}/_search?scroll=5m"),
                Some(&search),
            )
            .await?;
        loop {
            let page: Page<'_> = serde_json::from_slice(&answer)?;
            for Hit {
                id,
                version,
                source,
            } in &page.hits.hits
            {
                // Exactly what src/elastic/bulk.rs writes.
                let action = json!({ "index": { "_id": id, "version": version, "version_type": "external_gte" } });
                writeln!(body, "{action}\n{}", source.get())?;
                documents.count += 1;
                if body.len() >= BODY_BYTES {
                    bytes += body.len();
                    documents.bodies.push(std::mem::take(&mut body).into());
                }
            }
            let scroll = json!({ "scroll": "5m", "scroll_id": page.scroll_id });
            if page.hits.hits.is_empty() || bytes >= most {
                elastic
                    .bytes(
                        Method::DELETE,
                        "/_search/scroll",
                        Some(&json!({ "scroll_id": page.scroll_id })),
                    )
                    .await?;
                break;
            }
            answer = elastic
                .bytes(Method::POST, "/_search/scroll", Some(&scroll))
                .await?;
        }
        if !body.is_empty() {
            documents.bodies.push(body.into());
        }
        Ok(documents)
    }

    /// The first of them, until they have this number of bytes.
    pub fn first(&self, most: usize) -> Self {
        let mut bytes = 0;
        let fits = |body: &&Bytes| {
            let fits = bytes < most;
            bytes += body.len();
            fits
        };
        let bodies: Vec<Bytes> = self.bodies.iter().take_while(fits).cloned().collect();
        // Each has an action and a source.
        let lines: usize = bodies
            .iter()
            .map(|body| memchr::memchr_iter(b'\n', body).count())
            .sum();
        Self {
            count: lines as u64 / 2,
            bodies,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bodies.iter().map(Bytes::len).sum()
    }

    /// Sends all of them to an index with this number of concurrent requests, and makes them visible. Returns the
    /// seconds.
    pub async fn send(&self, elastic: &Elastic, index: &str, at_once: usize) -> Result<f64, Error> {
        let start = Stopwatch::start();
        stream::iter(&self.bodies)
            .map(|body| elastic.bulk(index, body.clone()))
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await?;
        elastic.refresh(index).await?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Documents per page of some megabytes, by their size on disk.
async fn page_size(elastic: &Elastic, index: &str) -> Result<u64, Error> {
    let stats = elastic.get(&format!("/{index}/_stats/docs,store")).await?;
    let all = &stats["_all"]["primaries"];
    let bytes = all["store"]["size_in_bytes"].as_u64().unwrap_or_default();
    let documents = all["docs"]["count"].as_u64().unwrap_or_default().max(1);
    Ok(((4 << 20) / (bytes / documents).max(1)).clamp(10, 5000))
}
