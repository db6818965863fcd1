//! The bench's own requests to Elasticsearch, without any code of the program.

use std::time::Duration;

use bytes::Bytes;
use daybook::clock::Stopwatch;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use url::Url;

use crate::Error;

#[derive(Clone)]
pub struct Elastic {
    http: Client,
    url: Url,
}

impl Elastic {
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            http: Client::builder()
                .no_gzip()
                .timeout(Duration::from_secs(300))
                .build()?,
            url: url.parse()?,
        })
    }

    /// The address, with user and password.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.json(Method::GET, path, None).await
    }

    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        Ok(serde_json::from_slice(
            &self.bytes(method, path, body).await?,
        )?)
    }

    /// The answer as it was received.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, Error> {
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        self.send(method, path, "application/json", bytes).await
    }

    /// Sends the body of a bulk request. Elasticsearch must accept all its documents.
    pub async fn bulk(&self, index: &str, body: Bytes) -> Result<(), Error> {
        let path = format!(
            "/{index}/_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason"
        );
        let answer = self
            .send(Method::POST, &path, "application/x-ndjson", body)
            .await?;
        // The whole answer is checked, as the program does.
        let answer: Value = serde_json::from_slice(&answer)?;
        let items = answer["items"]
            .as_array()
            .ok_or("the answer to a bulk request has no items")?;
        match items.iter().find(|item| {
            item["index"]["status"]
                .as_i64()
                .is_none_or(|status| status >= 300)
        }) {
            Some(refused) => {
                Err(format!("a document of the baseline was refused: {refused}").into())
            }
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let request = self.http.request(method.clone(), self.url.join(path)?);
        let response = request
            .header("content-type", content_type)
            .body(body)
            .send()
            .await?;
        let (status, bytes) = (response.status(), response.bytes().await?);
        if status.is_success() {
            return Ok(bytes);
        }
        let answer: String = String::from_utf8_lossy(&bytes).chars().take(500).collect();
        Err(format!("{method} {path}: {status}: {answer}").into())
    }

    /// Creates a new index like another one: the same mapping, and the same settings except `settings`.
    pub async fn create_like(
        &self,
        index: &str,
        model: &str,
        settings: Value,
    ) -> Result<(), Error> {
        let found = self.get(&format!("/{model}")).await?;
        let model = found
            .as_object()
            .and_then(|found| found.values().next())
            .ok_or("the model has no index")?;
        let mut index_settings = model["settings"]["index"].clone();
        let copied = index_settings
            .as_object_mut()
            .ok_or("the model has no settings")?;
        // Elasticsearch's own metadata of an index.
        copied.retain(|name, _| {
            ![
                "uuid",
                "version",
                "creation_date",
                "provided_name",
                "routing",
            ]
            .contains(&name.as_str())
        });
        if let Value::Object(settings) = settings {
            copied.extend(settings);
        }
        let mut mappings = model["mappings"].clone();
        if let Some(mappings) = mappings.as_object_mut() {
            mappings.remove("_meta");
        }
        self.delete(index).await?;
        let body = json!({ "settings": { "index": index_settings }, "mappings": mappings });
        self.bytes(Method::PUT, &format!("/{index}"), Some(&body))
            .await
            .map(drop)
    }

    pub async fn delete(&self, index: &str) -> Result<(), Error> {
        self.bytes(
            Method::DELETE,
            &format!("/{index}?ignore_unavailable=true&expand_wildcards=all"),
            None,
        )
        .await
        .map(drop)
    }

    /// Deletes every index with a prefix.
    pub async fn delete_all(&self, prefix: &str) -> Result<(), Error> {
        self.bytes(
            Method::DELETE,
            &format!("/{prefix}*?expand_wildcards=all"),
            None,
        )
        .await
        .map(drop)
    }

    /// Makes written documents visible. Returns how long that took.
    pub async fn refresh(&self, index: &str) -> Result<Duration, Error> {
        let start = Stopwatch::start();
        self.bytes(Method::POST, &format!("/{index}/_refresh"), None)
            .await?;
        Ok(start.elapsed())
    }

    /// The version of the nodes, and the heap of the first one.
    pub async fn version(&self) -> Result<String, Error> {
        let nodes = self
            .get("/_nodes/jvm?filter_path=nodes.*.version,nodes.*.jvm.mem.heap_max_in_bytes")
            .await?;
        let node = nodes["nodes"]
            .as_object()
            .and_then(|nodes| nodes.values().next())
            .ok_or("there is no node")?;
        let heap = node["jvm"]["mem"]["heap_max_in_bytes"]
            .as_u64()
            .unwrap_or_default()
            >> 20;
        Ok(format!(
            "{} ({heap} MB of heap)",
            node["version"].as_str().unwrap_or("?")
        ))
    }
}
