//! The finished documents of an index, serialised beforehand into the bodies of bulk requests.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

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
pub struct Documents {
    pub count: u64,
    /// The length of each body.
    lengths: Vec<usize>,
    bodies: Bodies,
}

enum Bodies {
    Memory(Vec<Bytes>),
    /// One after the other, in a file without a name.
    File(File),
}

impl Documents {
    /// Reads the documents of an index that match a query into memory, up to a number of bytes.
    pub async fn read(
        elastic: &Elastic,
        index: &str,
        query: serde_json::Value,
        most: usize,
    ) -> Result<Self, Error> {
        let documents = Self::none(Bodies::Memory(Vec::new()));
        documents.fill(elastic, index, query, most).await
    }

    /// Reads all documents of an index into a temporary file.
    pub async fn read_into_file(elastic: &Elastic, index: &str) -> Result<Self, Error> {
        let documents = Self::none(Bodies::File(tempfile::tempfile()?));
        let all = json!({ "match_all": {} });
        documents.fill(elastic, index, all, usize::MAX).await
    }

    fn none(bodies: Bodies) -> Self {
        Self {
            count: 0,
            lengths: Vec::new(),
            bodies,
        }
    }

    async fn fill(
        mut self,
        elastic: &Elastic,
        index: &str,
        query: serde_json::Value,
        most: usize,
    ) -> Result<Self, Error> {
        let (mut body, mut bytes) = (String::new(), 0);
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
                self.count += 1;
                if body.len() >= BODY_BYTES {
                    bytes += body.len();
                    self.push(std::mem::take(&mut body))?;
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
            self.push(body)?;
        }
        Ok(self)
    }

    fn push(&mut self, body: String) -> io::Result<()> {
        self.lengths.push(body.len());
        match &mut self.bodies {
            Bodies::Memory(bodies) => bodies.push(body.into()),
            Bodies::File(file) => file.write_all(body.as_bytes())?,
        }
        Ok(())
    }

    /// The bodies, in their order.
    pub fn bodies(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<Bytes>> + '_>> {
        Ok(match &self.bodies {
            Bodies::Memory(bodies) => Box::new(bodies.iter().cloned().map(Ok)),
            Bodies::File(file) => {
                let mut file = file;
                file.rewind()?;
                Box::new(self.lengths.iter().map(move |length| {
                    let mut body = vec![0; *length];
                    file.read_exact(&mut body)?;
                    Ok(body.into())
                }))
            }
        })
    }

    /// The first of them in memory, until they have this number of bytes.
    pub fn first(&self, most: usize) -> Result<Self, Error> {
        let (mut bodies, mut bytes, mut lines) = (Vec::new(), 0, 0);
        for body in self.bodies()? {
            let body = body?;
            bytes += body.len();
            lines += memchr::memchr_iter(b'\n', &body).count();
            bodies.push(body);
            if bytes >= most {
                break;
            }
        }
        Ok(Self {
            // Each has an action and a source.
            count: lines as u64 / 2,
            lengths: bodies.iter().map(Bytes::len).collect(),
            bodies: Bodies::Memory(bodies),
        })
    }

    pub fn bytes(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Sends all of them to an index with this number of concurrent requests, and makes them visible. Returns the
    /// seconds.
    pub async fn send(&self, elastic: &Elastic, index: &str, at_once: usize) -> Result<f64, Error> {
        let start = Stopwatch::start();
        stream::iter(self.bodies()?)
            .map(async |body| elastic.bulk(index, body?).await)
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
