//! Documents in a running old index, in the order of their days: by point in time, or by scroll where there is none.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::document::{self, Defect};
use super::{Found, FoundAt};
use crate::day::{Bounds, Day};
use crate::elastic::scroll::Shards;
use crate::elastic::{Answer, Client, Method, Unreachable};
use crate::failure::Failure;

/// How long the cluster keeps the state that is read, from one page to the next.
const KEEP_ALIVE: &str = "5m";

/// Documents a page: the first one, and the most.
const PAGE: usize = 100;
const MOST_A_PAGE: usize = 1000;
/// What the answer with a page should be, in bytes.
const PAGE_BYTES: usize = 16 << 20;

/// An old index that is read.
#[derive(Debug)]
pub(super) struct OldIndex {
    client: Client,
    /// As it stands in a path.
    index: String,
    query: Value,
    cursor: Cursor,
    page: usize,
}

/// Where reading stands.
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
    /// The days before this one are complete; none if the page is the last.
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
    /// The index that an address ends with; `gzip` says whether its answers come compressed.
    pub(super) fn new(address: &str, days: Bounds, gzip: bool) -> Result<Self, Failure> {
        let unreadable = || {
            Failure::usage("the address of --from-index cannot be read")
                .hint("write it as http://USER:PASSWORD@HOST:9200/INDEX")
        };
        let mut url = Url::parse(address).map_err(|_| unreadable())?;
        let path = url.path().trim_end_matches('/').to_owned();
        let (before, index) = path.rsplit_once('/').ok_or_else(unreadable)?;
        if index.is_empty() {
            return Err(unreadable());
        }
        url.set_path(before);
        let client = Client::new(&String::from(url).into(), gzip)?;
        let bound = |bound: &str, day: Option<Day>| day.map(|day| (bound.to_owned(), json!(day.next())));
        let bounds: serde_json::Map<_, _> = bound("gte", days.from).into_iter().chain(bound("lte", days.to)).collect();
        let query =
            if bounds.is_empty() { json!({ "match_all": {} }) } else { json!({ "range": { "harvest_date": bounds } }) };
        Ok(Self { client, index: index.to_owned(), query, cursor: Cursor::Beginning, page: PAGE })
    }

    /// What it is, in words, without the password.
    pub(super) fn name(&self) -> String {
        format!("index {} of {}", self.index, self.client.place())
    }

    /// Reads on.
    pub(super) async fn next_page(&mut self) -> Result<Page, Failure> {
        let what = format!("reading {}", self.name());
        if matches!(self.cursor, Cursor::Beginning)
            && let Some(id) = self.open_point_in_time(&what).await?
        {
            self.cursor = Cursor::PointInTime { id, after: None };
        }
        let answer = self.search(&what).await?;
        let bytes = answer.body.len();
        let answer: SearchAnswer = answer.read(&what)?;
        // What a shard keeps back would be missing in silence.
        let shards = answer.shards.silent();
        if answer.timed_out || shards > 0 {
            return Err(Failure::failed(format!("{what}: {shards} shards gave no answer"))
                .hint("run the command again when the old index is whole: days that are imported are passed over"));
        }
        let hits = answer.hits.hits;
        self.cursor = match (answer.pit_id, answer.scroll_id) {
            (Some(id), _) => Cursor::PointInTime { id, after: hits.last().map(|hit| hit.sort.clone()) },
            (None, Some(id)) => Cursor::Scroll { id },
            (None, None) => return Err(Failure::failed(format!("{what}: the answer has no cursor to go on with"))),
        };
        self.page = (self.page * PAGE_BYTES / bytes.max(1)).clamp(1, (2 * self.page).min(MOST_A_PAGE));
        let mut reached = None;
        let found: Vec<FoundAt> = hits.iter().map(|hit| found_at(hit, &mut reached)).collect();
        if found.is_empty() {
            self.close().await;
            reached = None;
        }
        Ok(Page { found, reached })
    }

    /// Opens a point in time; none where the cluster has no such thing.
    async fn open_point_in_time(&self, what: &str) -> Result<Option<String>, Failure> {
        #[derive(Deserialize)]
        struct Opened {
            id: String,
        }
        let path = format!("/{}/_pit?keep_alive={KEEP_ALIVE}", self.index);
        let answer = self.client.send(Method::Post, &path, None).await.map_err(|error| no_answer(error, what))?;
        match answer.status {
            // An index that is not there is found out by the scroll.
            400 | 404 | 405 => Ok(None),
            _ if answer.is_success() => Ok(Some(answer.read::<Opened>(what)?.id)),
            _ => Err(refused(&answer, what)),
        }
    }

    async fn search(&self, what: &str) -> Result<Answer, Failure> {
        let by_day = json!({ "harvest_date": { "order": "asc", "unmapped_type": "date" } });
        let (path, body) = match &self.cursor {
            Cursor::Beginning => {
                let body = json!({ "size": self.page, "query": self.query, "sort": [by_day] });
                (format!("/{}/_search?scroll={KEEP_ALIVE}", self.index), body)
            }
            Cursor::Scroll { id } => ("/_search/scroll".to_owned(), json!({ "scroll": KEEP_ALIVE, "scroll_id": id })),
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
            // Asked for again, the cluster would give the page after the one that was lost.
            Cursor::Scroll { .. } => self.client.send_once(Method::Post, &path, &body).await,
            _ => self.client.send(Method::Post, &path, Some(&body)).await,
        };
        let answer = answer.map_err(|error| no_answer(error, what))?;
        if answer.is_success() { Ok(answer) } else { Err(refused(&answer, what)) }
    }

    /// Lets the cluster forget the state that was read; it does so by itself after a while.
    async fn close(&self) {
        let (path, body) = match &self.cursor {
            Cursor::Beginning => return,
            Cursor::PointInTime { id, .. } => ("/_pit", json!({ "id": id })),
            Cursor::Scroll { id } => ("/_search/scroll", json!({ "scroll_id": [id] })),
        };
        if let Err(error) = self.client.send(Method::Delete, path, Some(&body)).await {
            tracing::debug!(%error, "the old index could not be told that reading is over");
        }
    }
}

fn found_at(hit: &Hit, reached: &mut Option<Day>) -> FoundAt {
    let place = format!("document {}", hit.id);
    let read = match &hit.source {
        _ if hit.kind.as_deref().is_some_and(document::is_other_kind) => Ok(None),
        Some(source) => document::read(source.get().as_bytes()),
        None => Err(Defect { day: None, message: "the index keeps no _source of it".to_owned() }),
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

const WAY_OUT: &str =
    "check the address of --from-index, then run the command again: days that are imported are passed over";

fn no_answer(error: Unreachable, what: &str) -> Failure {
    error.during(what).hint(WAY_OUT)
}

fn refused(answer: &Answer, what: &str) -> Failure {
    answer.failure(what).hint(WAY_OUT)
}
