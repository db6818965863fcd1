//! Reads the documents of a running old index in the order of their days: with a point in time, or with a scroll where
//! the cluster lacks that.
//!
//! It only reads: it sends no request that any version would take for a write.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use url::Url;

use super::document::{Defect, Found, FoundAt};
use super::legacy_format;
use crate::day::{Bounds, Day};
use crate::elastic::search::{Shards, assert_complete};
use crate::elastic::{Answer, Client, ClientOptions, Method};
use crate::error::{Error, ErrorKind};

/// How long the cluster keeps the snapshot from one page to the next.
const KEEP_ALIVE: &str = "5m";

/// The fields that every daily document has.
const NEEDED: [&str; 2] = ["recordset_id", "harvest_date"];

/// Documents per page: at first, and at most.
const PAGE: usize = 100;
const MOST_A_PAGE: usize = 1000;
/// The desired size of a page, in bytes.
const PAGE_BYTES: usize = 16 << 20;

/// An old index that is being read.
#[derive(Debug)]
pub(super) struct OldIndex {
    client: Client,
    /// As it is written in a URL path.
    index: String,
    query: Value,
    cursor: Cursor,
    page: usize,
}

/// The position of the reader.
#[derive(Debug)]
enum Cursor {
    Beginning,
    PointInTime { id: String, after: Option<Value> },
    Scroll { id: String },
}

/// Some documents, in the order of their days.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) found: Vec<FoundAt>,
    /// The days before this one are complete; `None` on the last page.
    pub(super) reached: Option<Day>,
}

#[derive(Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    pit_id: Option<String>,
    #[serde(rename = "_scroll_id", default)]
    scroll_id: Option<String>,
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_type", default)]
    kind: Option<String>,
    #[serde(rename = "_source")]
    source: Option<Box<RawValue>>,
    #[serde(default)]
    sort: Value,
}

impl OldIndex {
    /// Opens the index at the end of `address`; `options` say how to reach its cluster.
    ///
    /// Checks that the index exists: its name may be misspelt, and an old cluster would create it.
    pub(super) async fn open(
        address: &SecretString,
        days: Bounds,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        let unreadable = || {
            Error::usage("the address of --from-index cannot be read")
                .hint("write it as http://USER:PASSWORD@HOST:9200/INDEX")
        };
        let mut url = Url::parse(address.expose_secret()).map_err(|_| unreadable())?;
        let path = url.path().trim_end_matches('/').to_owned();
        let (before, index) = path.rsplit_once('/').ok_or_else(unreadable)?;
        if index.is_empty() {
            return Err(unreadable());
        }
        url.set_path(before);
        let options = ClientOptions {
            addresses: String::from(url).into(),
            ..options
        };
        let client = Client::new(&options)?.for_documents();
        let bound =
            |bound: &str, day: Option<Day>| day.map(|day| (bound.to_owned(), json!(day.next())));
        let bounds: serde_json::Map<_, _> = bound("gte", days.from)
            .into_iter()
            .chain(bound("lte", days.to))
            .collect();
        let query = if bounds.is_empty() {
            json!({ "match_all": {} })
        } else {
            json!({ "range": { "harvest_date": bounds } })
        };
        let mut opened = Self {
            client,
            index: index.to_owned(),
            query,
            cursor: Cursor::Beginning,
            page: PAGE,
        };
        let what = format!("checking {}", opened.name());
        opened.check_mapping(&what).await?;
        opened.check_count(&what).await?;
        if opened.has_points_in_time(&what).await?
            && let Some(id) = opened.open_point_in_time(&what).await?
        {
            opened.cursor = Cursor::PointInTime { id, after: None };
        }
        Ok(opened)
    }

    /// Refuses an index that does not exist, or that the old collector did not write.
    async fn check_mapping(&self, what: &str) -> Result<(), Error> {
        let answer = self.get(&format!("/{}/_mapping", self.index), what).await?;
        if answer.status == 403 {
            tracing::debug!(
                "cannot check the mapping of the old index: the user lacks view_index_metadata"
            );
            return Ok(());
        }
        if !answer.is_success() {
            return Err(refused(&answer, what));
        }
        let indices: Map<String, Value> = answer.read(what)?;
        if indices.is_empty() {
            return Err(Error::new(
                ErrorKind::InputUnusable,
                format!("{what}: the index does not exist"),
            )
            .hint(WAY_OUT));
        }
        let fields: BTreeSet<&str> = indices
            .values()
            .flat_map(|index| fields_of(&index["mappings"]))
            .collect();
        if NEEDED.iter().all(|field| fields.contains(field)) {
            return Ok(());
        }
        let has: Vec<&str> = fields.into_iter().take(10).collect();
        let has = if has.is_empty() {
            "no fields".to_owned()
        } else {
            format!("the fields {}", has.join(", "))
        };
        Err(Error::new(
            ErrorKind::InputUnusable,
            format!(
                "{what}: it holds no documents of the old system, which have {}: it has {has}",
                NEEDED.join(" and ")
            ),
        )
        .hint("check the name of the index at the end of --from-index"))
    }

    /// Refuses an index without documents of the requested days.
    async fn check_count(&self, what: &str) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        let body = json!({ "query": self.query });
        // Every version treats this as a read, whether the index exists or not.
        let path = format!("/{}/_count", self.index);
        let answer = self
            .client
            .send(Method::Post, &path, Some(&body))
            .await
            .map_err(|error| error.during(what))?;
        if !answer.is_success() {
            return Err(refused(&answer, what));
        }
        let Count { count } = answer.read(what)?;
        if count > 0 {
            tracing::info!(
                documents = count,
                index = self.index,
                "reading the old index"
            );
            return Ok(());
        }
        let looked_for = match self.query.get("range") {
            Some(range) => format!("documents with {range}"),
            None => "documents".to_owned(),
        };
        Err(Error::new(
            ErrorKind::InputUnusable,
            format!("{what}: nothing to import was found: it holds no {looked_for}"),
        )
        .hint(WAY_OUT))
    }

    /// Whether every node supports points in time. An older one would store the request as a document.
    async fn has_points_in_time(&self, what: &str) -> Result<bool, Error> {
        const SINCE: (u32, u32) = (7, 10);
        let answer = self.get("/", what).await?;
        let found: Value = if answer.is_success() {
            answer.read(what)?
        } else {
            Value::Null
        };
        let mut versions: Vec<String> = found["version"]["number"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .collect();
        if versions.is_empty() {
            let answer = self
                .get("/_nodes?filter_path=nodes.*.version", what)
                .await?;
            let found: Value = if answer.is_success() {
                answer.read(what)?
            } else {
                Value::Null
            };
            let nodes = found["nodes"].as_object().into_iter().flat_map(Map::values);
            versions.extend(nodes.filter_map(|node| node["version"].as_str().map(str::to_owned)));
        }
        let number = |part: Option<&str>| part.and_then(|part| part.parse().ok()).unwrap_or(0);
        let version = |text: &String| {
            let mut parts = text.split('.');
            (number(parts.next()), number(parts.next()))
        };
        let oldest: Option<(u32, u32)> = versions.iter().map(version).min();
        tracing::debug!(?versions, "the version of the old cluster");
        Ok(oldest.is_some_and(|oldest| oldest >= SINCE))
    }

    /// Sends a request that only reads.
    async fn get(&self, path: &str, what: &str) -> Result<Answer, Error> {
        let answer = self
            .client
            .send(Method::Get, path, None)
            .await
            .map_err(|error| error.during(what))?;
        // Without a valid login, all other requests fail too.
        if answer.status == 401 {
            Err(refused(&answer, what))
        } else {
            Ok(answer)
        }
    }

    /// Its name for messages, without the password.
    pub(super) fn name(&self) -> String {
        format!("index {} of {}", self.index, self.client.place())
    }

    /// The next page; empty after the last.
    pub(super) async fn next_page(&mut self) -> Result<Page, Error> {
        let what = format!("reading {}", self.name());
        let answer = self.search(&what).await?;
        let bytes = answer.body.len();
        let answer: SearchAnswer = answer.read(&what)?;
        // Days already imported are skipped when the command is run again.
        assert_complete(answer.shards, answer.timed_out, &what)?;
        let hits = answer.hits.hits;
        self.cursor = match (answer.pit_id, answer.scroll_id) {
            (Some(id), _) => Cursor::PointInTime {
                id,
                after: hits.last().map(|hit| hit.sort.clone()),
            },
            (None, Some(id)) => Cursor::Scroll { id },
            (None, None) => {
                return Err(Error::new(
                    ErrorKind::ElasticsearchRefused,
                    format!("{what}: the response has no cursor to continue with"),
                ));
            }
        };
        self.page =
            (self.page * PAGE_BYTES / bytes.max(1)).clamp(1, (2 * self.page).min(MOST_A_PAGE));
        let mut reached = None;
        let found: Vec<FoundAt> = hits.iter().map(|hit| found_at(hit, &mut reached)).collect();
        if found.is_empty() {
            self.close().await;
            reached = None;
        }
        Ok(Page { found, reached })
    }

    /// Opens a point in time; `None` if the cluster does not support it.
    async fn open_point_in_time(&self, what: &str) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Opened {
            id: String,
        }
        let path = format!("/{}/_pit?keep_alive={KEEP_ALIVE}", self.index);
        let answer = self
            .client
            .send(Method::Post, &path, None)
            .await
            .map_err(|error| error.during(what))?;
        match answer.status {
            // A cluster may report a version that supports it, and still not support it.
            400 | 404 | 405 => Ok(None),
            _ if answer.is_success() => Ok(Some(answer.read::<Opened>(what)?.id)),
            _ => Err(refused(&answer, what)),
        }
    }

    async fn search(&self, what: &str) -> Result<Answer, Error> {
        let by_day = json!({ "harvest_date": { "order": "asc", "unmapped_type": "date" } });
        let (path, body) = match &self.cursor {
            Cursor::Beginning => {
                let body = json!({ "size": self.page, "query": self.query, "sort": [by_day] });
                (format!("/{}/_search?scroll={KEEP_ALIVE}", self.index), body)
            }
            Cursor::Scroll { id } => (
                "/_search/scroll".to_owned(),
                json!({ "scroll": KEEP_ALIVE, "scroll_id": id }),
            ),
            Cursor::PointInTime { id, after } => {
                let mut body = json!({
                    "size": self.page, "query": self.query, "track_total_hits": false,
                    "pit": { "id": id, "keep_alive": KEEP_ALIVE }, "sort": [by_day, { "_shard_doc": "asc" }],
                });
                if let Some(after) = after {
                    body["search_after"] = after.clone();
                }
                ("/_search".to_owned(), body)
            }
        };
        let answer = match self.cursor {
            // A retry would return the page after the lost one.
            Cursor::Scroll { .. } => self.client.send_once(Method::Post, &path, &body).await,
            _ => self.client.send(Method::Post, &path, Some(&body)).await,
        };
        let answer = answer.map_err(|error| error.during(what))?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(refused(&answer, what))
        }
    }

    /// Releases the snapshot; the cluster does so too after a while.
    async fn close(&self) {
        let (path, body) = match &self.cursor {
            Cursor::Beginning => return,
            Cursor::PointInTime { id, .. } => ("/_pit", json!({ "id": id })),
            Cursor::Scroll { id } => ("/_search/scroll", json!({ "scroll_id": [id] })),
        };
        if let Err(error) = self.client.send(Method::Delete, path, Some(&body)).await {
            tracing::debug!(%error, "could not release the snapshot of the old index");
        }
    }
}

/// The fields of a mapping, with or without document types.
fn fields_of(mapping: &Value) -> Vec<&str> {
    if let Some(fields) = mapping["properties"].as_object() {
        return fields.keys().map(String::as_str).collect();
    }
    let types = mapping.as_object().into_iter().flat_map(Map::values);
    types
        .filter_map(|of| of["properties"].as_object())
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect()
}

fn found_at(hit: &Hit, reached: &mut Option<Day>) -> FoundAt {
    let place = format!("document {}", hit.id);
    let read = match &hit.source {
        _ if hit
            .kind
            .as_deref()
            .is_some_and(legacy_format::is_other_kind) =>
        {
            Ok(None)
        }
        Some(source) => legacy_format::read(source.get().as_bytes()),
        None => Err(Defect {
            day: None,
            message: "the index does not store its _source".to_owned(),
        }),
    };
    let found = match read {
        Ok(Some(document)) => {
            *reached = Some(document.day);
            Found::Document(document)
        }
        Ok(None) => Found::OtherKind,
        Err(defect) => Found::Unreadable(defect),
    };
    FoundAt { place, found }
}

const WAY_OUT: &str = "check the address of --from-index, then run the command again: days already imported are skipped";

fn refused(answer: &Answer, what: &str) -> Error {
    let error = answer.error(what);
    if error.hint_text().is_some() {
        error
    } else {
        error.hint(WAY_OUT)
    }
}
