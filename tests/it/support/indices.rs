//! The contents of Elasticsearch: exact documents, the indices behind the aliases, their checkpoints.

use std::panic::Location;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::World;

/// The aliases of a world, without its prefix.
pub const ALIASES: [&str; 3] = ["", "-totals", "-terms"];

/// A document as the index stores it, with the exact bytes of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: String,
    pub version: i64,
    pub source: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "_scroll_id")]
    scroll_id: String,
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
    #[serde(rename = "_version")]
    version: i64,
    #[serde(rename = "_source")]
    source: Box<RawValue>,
}

impl World {
    /// The documents behind an alias of this world, sorted by id.
    pub async fn stored(&self, suffix: &str) -> Vec<Stored> {
        const PAGE: usize = 10_000;
        let alias = format!("{}{suffix}", self.prefix);
        self.elastic(Method::POST, &format!("{alias}/_refresh"), None)
            .await;
        let first = json!({ "size": PAGE, "version": true, "sort": ["_doc"] });
        let mut page = self
            .page(&format!("{alias}/_search?scroll=1m"), &first)
            .await;
        let mut documents = Vec::new();
        loop {
            let is_last = page.hits.hits.len() < PAGE;
            documents.extend(page.hits.hits.into_iter().map(|hit| Stored {
                id: hit.id,
                version: hit.version,
                source: hit.source.get().to_owned(),
            }));
            if is_last {
                break;
            }
            let next = json!({ "scroll": "1m", "scroll_id": page.scroll_id });
            page = self.page("_search/scroll", &next).await;
        }
        let over = json!({ "scroll_id": page.scroll_id });
        self.elastic(Method::DELETE, "_search/scroll", Some(over))
            .await;
        documents.sort_by(|a, b| a.id.cmp(&b.id));
        documents
    }

    async fn page(&self, path: &str, body: &Value) -> Answer {
        let answer = self
            .elastic_text(Method::POST, path, Some(body.to_string()))
            .await;
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no documents: {answer}"))
    }

    /// The documents of all three projections.
    pub async fn projections(&self) -> [Vec<Stored>; 3] {
        [
            self.stored("").await,
            self.stored("-totals").await,
            self.stored("-terms").await,
        ]
    }

    /// Panics with the first document that differs from the expected projections.
    #[track_caller]
    pub fn assert_documents(&self, expected: &[Vec<Stored>; 3]) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { assert_same(&self.projections().await, expected, caller) }
    }

    /// The same, but ignores versions: they increase when a document is edited by hand and repaired.
    #[track_caller]
    pub fn assert_sources(&self, expected: &[Vec<Stored>; 3]) -> impl Future<Output = ()> {
        let caller = Location::caller();
        let unversioned = |document: &Stored| Stored {
            version: 0,
            ..document.clone()
        };
        let unversioned = move |documents: &[Vec<Stored>; 3]| {
            documents
                .each_ref()
                .map(|some| some.iter().map(unversioned).collect())
        };
        async move {
            assert_same(
                &unversioned(&self.projections().await),
                &unversioned(expected),
                caller,
            );
        }
    }

    /// The indices behind an alias.
    pub async fn behind(&self, suffix: &str) -> Vec<String> {
        // If it asked for all indices, it could fail while another test deletes one of its own.
        let path = format!("{0}{suffix}/_alias/{0}{suffix}", self.prefix);
        let answer = self.elastic(Method::GET, &path, None).await;
        if answer["status"] == 404 {
            Vec::new()
        } else {
            names(&answer)
        }
    }

    /// The generation of the only index behind an alias.
    pub async fn generation(&self, suffix: &str) -> String {
        let behind = self.behind(suffix).await;
        let [index] = &behind[..] else {
            panic!("{suffix} stands for {behind:?}")
        };
        index
            .trim_start_matches(&format!("{}{suffix}-", self.prefix))
            .to_owned()
    }

    /// All indices of this world, without the prefix.
    pub async fn indices(&self) -> Vec<String> {
        let answer = self
            .elastic(
                Method::GET,
                &format!("{}*/_alias?expand_wildcards=all", self.prefix),
                None,
            )
            .await;
        names(&answer)
            .iter()
            .map(|name| name.trim_start_matches(&self.prefix).to_owned())
            .collect()
    }

    /// The `_meta.daybook` of an index.
    pub async fn checkpoint(&self, index: &str) -> Value {
        let answer = self
            .elastic(Method::GET, &format!("{index}/_mapping"), None)
            .await;
        let mappings = answer
            .as_object()
            .and_then(|indices| indices.values().next());
        mappings.expect("an index")["mappings"]["_meta"]["daybook"].clone()
    }
}

fn assert_same(found: &[Vec<Stored>; 3], expected: &[Vec<Stored>; 3], caller: &Location<'_>) {
    for ((suffix, found), expected) in ALIASES.iter().zip(found).zip(expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(
                found, expected,
                "the first document of '{suffix}' that differs, {caller}"
            );
        }
        assert_eq!(
            found.len(),
            expected.len(),
            "documents of '{suffix}', {caller}"
        );
    }
}

fn names(answer: &Value) -> Vec<String> {
    answer
        .as_object()
        .unwrap_or_else(|| panic!("no indices: {answer}"))
        .keys()
        .cloned()
        .collect()
}
