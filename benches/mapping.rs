//! Measures the cost of indexing: sends the documents of an index, serialised beforehand, to `_bulk` of new indices.
//!
//! `cargo bench --bench mapping -- INDEX [RUNS [FLIGHTS [MAPPINGS]]]` reads the documents of INDEX (or an alias) at
//! DAYBOOK_ELASTICSEARCH_URL into bodies of 6 MB with the action lines that daybook sends. It fills an index with each
//! of the MAPPINGS, RUNS times (default 3), with each number of concurrent requests in FLIGHTS (default `1,2,3,4`).
//!
//! MAPPINGS are by default all of `as-is,unindexed,lean,places,full`; the last four are for daily documents. `places`
//! indexes items, and country, region and city of geocodes, all without doc values.
//!
//! The output has the seconds for the bulk requests and for the final refresh, the processor time of both in the
//! cluster in seconds (more reliable on a shared machine), and the size of the index on disk in bytes once its segments
//! are merged into one.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "figures/page.rs"]
mod page;

use daybook::clock::Stopwatch;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use page::{Hit, Page};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BODY_BYTES: usize = 6 << 20;
const USAGE: &str = "usage: mapping INDEX [RUNS [FLIGHTS [MAPPINGS]]]";

#[tokio::main]
async fn main() -> Outcome<()> {
    // cargo adds --bench to the arguments.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let index = arguments.next().ok_or(USAGE)?;
    let runs: usize = arguments.next().map_or(Ok(3), |runs| runs.parse())?;
    let flights = arguments.next().unwrap_or_else(|| "1,2,3,4".to_owned());
    let mappings = arguments
        .next()
        .unwrap_or_else(|| "as-is,unindexed,lean,places,full".to_owned());
    let url =
        std::env::var("DAYBOOK_ELASTICSEARCH_URL").map_err(|_| "set DAYBOOK_ELASTICSEARCH_URL")?;
    let cluster = Cluster {
        http: Client::builder().no_gzip().build()?,
        url,
    };
    let (bodies, documents) = cluster.documents(&index).await?;
    let bytes: usize = bodies.iter().map(Bytes::len).sum();
    println!(
        "{index}: {documents} documents, {} MB in {} bodies",
        bytes / 1_000_000,
        bodies.len()
    );
    let bodies = Arc::new(bodies);
    let stored = cluster.mapping(&index).await?;
    for name in mappings.split(',') {
        let mapping = variant(&stored, name)?;
        for flight in flights.split(',') {
            for _ in 0..runs {
                let Filled {
                    bulk,
                    refresh,
                    processor,
                    disk,
                } = cluster
                    .fill(
                        &format!("{index}-measured"),
                        &mapping,
                        &bodies,
                        flight.parse()?,
                    )
                    .await?;
                println!(
                    "{name}, {flight} in flight: bulk {bulk:.2} s, refresh {refresh:.2} s, processor {processor:.1} s, {} MB",
                    disk / 1_000_000
                );
            }
        }
    }
    Ok(())
}

/// The mapping of an index, with the terms of its daily documents indexed differently.
fn variant(stored: &Value, name: &str) -> Outcome<Value> {
    let mut mapping = stored.clone();
    if name == "as-is" {
        return Ok(mapping);
    }
    let list = |term: &str, indexed: Value| match name {
        "unindexed" => json!({ "type": "object", "enabled": false }),
        _ => json!({ "properties": { term: indexed, "count": match name {
            "full" => json!({ "type": "long" }),
            _ => json!({ "type": "long", "index": false, "doc_values": false }),
        } } }),
    };
    for record_type in ["records", "mediarecords"] {
        for stat_type in ["search", "mapping", "download", "seen", "view"] {
            let fields =
                &mut mapping["properties"][record_type]["properties"][stat_type]["properties"];
            let keyword = match name {
                "unindexed" | "full" => json!({ "type": "keyword" }),
                "lean" | "places" => json!({ "type": "keyword", "doc_values": false }),
                _ => return Err(format!("{USAGE}; there is no mapping {name}").into()),
            };
            fields["items"] = list("term", keyword.clone());
            if name == "full" {
                fields["queries"] = list("term", keyword.clone());
            }
            if matches!(name, "full" | "places") {
                let geo = json!({ "dynamic": false, "properties": {
                    "country": keyword, "region": keyword, "city": keyword,
                } });
                fields["geocodes"] = list("geo", geo);
            }
        }
    }
    Ok(mapping)
}

struct Cluster {
    http: Client,
    url: String,
}

struct Filled {
    bulk: f64,
    refresh: f64,
    processor: f64,
    disk: u64,
}

impl Cluster {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/{path}", self.url))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Outcome<Bytes> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        Ok(request.send().await?.error_for_status()?.bytes().await?)
    }

    /// The documents as bodies of `_bulk`, in index order.
    async fn documents(&self, index: &str) -> Outcome<(Vec<Bytes>, usize)> {
        let (mut bodies, mut body, mut documents) = (Vec::new(), Vec::new(), 0);
        let first = json!({ "size": 200, "sort": ["_doc"], "version": true });
        let mut page = self
            .ask(
                Method::POST,
                &format!("{index}/_search?scroll=5m"),
                Some(first),
            )
            .await?;
        loop {
            let Page { scroll_id, hits } = serde_json::from_slice(&page)?;
            if hits.hits.is_empty() {
                break;
            }
            for Hit {
                id,
                version,
                source,
            } in hits.hits
            {
                let action = json!({ "index": { "_id": id, "version": version, "version_type": "external_gte" } });
                body.extend_from_slice(format!("{action}\n{}\n", source.get()).as_bytes());
                documents += 1;
                if body.len() >= BODY_BYTES {
                    bodies.push(std::mem::take(&mut body).into());
                }
            }
            let next = json!({ "scroll": "5m", "scroll_id": scroll_id });
            page = self.ask(Method::POST, "_search/scroll", Some(next)).await?;
        }
        bodies.push(body.into());
        Ok((bodies, documents))
    }

    /// The processor time that all nodes have used so far.
    async fn processor_seconds(&self) -> Outcome<f64> {
        let stats = self
            .ask(
                Method::GET,
                "_nodes/stats/process?filter_path=nodes.*.process.cpu.total_in_millis",
                None,
            )
            .await?;
        let stats: Value = serde_json::from_slice(&stats)?;
        let nodes = stats["nodes"].as_object().ok_or("no nodes")?;
        Ok(nodes
            .values()
            .filter_map(|node| node["process"]["cpu"]["total_in_millis"].as_f64())
            .sum::<f64>()
            / 1000.0)
    }

    async fn mapping(&self, index: &str) -> Outcome<Value> {
        let answer: Map<String, Value> = serde_json::from_slice(
            &self
                .ask(Method::GET, &format!("{index}/_mapping"), None)
                .await?,
        )?;
        let (_, found) = answer.into_iter().next().ok_or("there is no such index")?;
        Ok(found["mappings"].clone())
    }

    async fn fill(
        &self,
        index: &str,
        mapping: &Value,
        bodies: &Arc<Vec<Bytes>>,
        in_flight: usize,
    ) -> Outcome<Filled> {
        let _ = self.ask(Method::DELETE, index, None).await;
        let settings = json!({ "index": { "number_of_shards": 1, "auto_expand_replicas": "0-1", "gc_deletes": "0s" } });
        self.ask(
            Method::PUT,
            index,
            Some(json!({ "settings": settings, "mappings": mapping })),
        )
        .await?;
        let (begin, processor) = (Stopwatch::start(), self.processor_seconds().await?);
        let next = Arc::new(AtomicUsize::new(0));
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..in_flight {
            let (bodies, next) = (Arc::clone(bodies), Arc::clone(&next));
            let path = format!("{index}/_bulk?filter_path=items.*.status,items.*.error");
            let request = self
                .request(Method::POST, &path)
                .header("content-type", "application/x-ndjson");
            senders.spawn(async move {
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let request = request
                        .try_clone()
                        .ok_or("a request without a body can be cloned")?;
                    let answer = request
                        .body(body.clone())
                        .send()
                        .await?
                        .error_for_status()?
                        .bytes()
                        .await?;
                    if answer.windows(7).any(|bytes| bytes == b"\"error\"") {
                        return Err(String::from_utf8_lossy(&answer)
                            .chars()
                            .take(1000)
                            .collect::<String>()
                            .into());
                    }
                }
                Outcome::Ok(())
            });
        }
        while let Some(sender) = senders.join_next().await {
            sender??;
        }
        let bulk = begin.elapsed().as_secs_f64();
        let begin = Stopwatch::start();
        self.ask(Method::POST, &format!("{index}/_refresh"), None)
            .await?;
        let refresh = begin.elapsed().as_secs_f64();
        let processor = self.processor_seconds().await? - processor;
        self.ask(
            Method::POST,
            &format!("{index}/_forcemerge?max_num_segments=1"),
            None,
        )
        .await?;
        let stats = self
            .ask(Method::GET, &format!("{index}/_stats/store"), None)
            .await?;
        let stats: Value = serde_json::from_slice(&stats)?;
        let disk = stats["_all"]["primaries"]["store"]["size_in_bytes"]
            .as_u64()
            .ok_or("no size")?;
        self.ask(Method::DELETE, index, None).await?;
        Ok(Filled {
            bulk,
            refresh,
            processor,
            disk,
        })
    }
}
