//! Looks up documents by their ids, many in one request: as they were written, or as the last refresh left them, which
//! costs Elasticsearch less.
//!
//! A failed look-up, or a document without its source, must not pass for a missing document.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::client::Client;
use super::outcome::Cause;
use super::search::{Hit, Page, without_source};
use crate::error::{Error, ErrorKind};
use elasticsearch::http::Method;

/// The answer to a look-up.
#[derive(Debug)]
pub struct LookedUp {
    what: String,
    index: String,
    ids: Value,
    found: Found,
}

/// What a look-up has found, by the way that was taken.
#[derive(Debug)]
enum Found {
    Got(Answer),
    Searched(Page),
}

/// A document in the index, or the lack of it.
#[derive(Debug)]
pub struct Stored<S> {
    /// Whether it exists.
    pub found: bool,
    /// Its version; 0 if it does not exist.
    pub version: i64,
    /// The requested part of its source; `None` only if it does not exist.
    pub source: Option<S>,
}

/// Looks up documents of an index as they were written, also since the last refresh. `options` is the query string; it
/// must not exclude the source. Errors say `what` was attempted.
pub async fn multi_get(
    client: &Client,
    index: &str,
    ids: &[&str],
    options: &str,
    what: String,
) -> Result<LookedUp, Error> {
    let path = format!("/{index}/_mget?{options}");
    let mut body = json!({ "ids": ids });
    let answer = ask(client, &path, &body, &what).await?;
    Ok(LookedUp {
        what,
        index: index.to_owned(),
        ids: body["ids"].take(),
        found: Found::Got(answer),
    })
}

/// Looks up documents of an index, at most 10,000, as the last refresh left them. Elasticsearch reads each segment once for
/// all of them, instead of once for each, which takes two thirds of the time.
pub async fn search_by_id(
    client: &Client,
    index: &str,
    ids: &[&str],
    what: String,
) -> Result<LookedUp, Error> {
    let path = format!("/{index}/_search?allow_partial_search_results=false");
    let mut body = json!({
        "query": { "ids": { "values": ids } },
        "size": ids.len(),
        "sort": ["_doc"],
        "track_total_hits": false,
        "version": true,
    });
    let answer = ask(client, &path, &body, &what).await?;
    let page = Page {
        what: what.clone(),
        answer,
    };
    Ok(LookedUp {
        what,
        index: index.to_owned(),
        ids: body["query"]["ids"]["values"].take(),
        found: Found::Searched(page),
    })
}

async fn ask(client: &Client, path: &str, body: &Value, what: &str) -> Result<Answer, Error> {
    client
        .for_documents()
        .request(Method::Post, path, Some(body), what)
        .await
}

impl LookedUp {
    /// The documents, in the order of their ids.
    pub fn documents<'a, S: Deserialize<'a>>(&'a self) -> Result<Vec<Stored<S>>, Error> {
        match &self.found {
            Found::Got(answer) => self.got(answer),
            Found::Searched(page) => self.searched(page),
        }
    }

    fn ids(&self) -> &[Value] {
        self.ids.as_array().map_or(&[][..], Vec::as_slice)
    }

    fn searched<'a, S: Deserialize<'a>>(&self, page: &'a Page) -> Result<Vec<Stored<S>>, Error> {
        let hits = page.documents()?;
        let mut found = HashMap::with_capacity(hits.len());
        for Hit {
            id,
            version,
            source,
        } in hits
        {
            match found.entry(id) {
                Entry::Vacant(place) => drop(place.insert((version, source))),
                Entry::Occupied(place) => return Err(self.stored_twice(place.key())),
            }
        }
        let stored = |id: &Value| match found.remove(id.as_str().unwrap_or_default()) {
            Some((version, source)) => Stored {
                found: true,
                version,
                source: Some(source),
            },
            None => Stored {
                found: false,
                version: 0,
                source: None,
            },
        };
        Ok(self.ids().iter().map(stored).collect())
    }

    fn got<'a, S: Deserialize<'a>>(&self, answer: &'a Answer) -> Result<Vec<Stored<S>>, Error> {
        #[derive(Deserialize)]
        struct Body<S> {
            docs: Vec<Item<S>>,
        }
        #[derive(Deserialize)]
        struct Item<S> {
            found: Option<bool>,
            error: Option<Cause>,
            #[serde(rename = "_version", default)]
            version: i64,
            #[serde(rename = "_source")]
            source: Option<S>,
        }
        let what = &self.what;
        let items = answer.read::<Body<S>>(what)?.docs;
        let ids = self.ids();
        if items.len() != ids.len() {
            return Err(Error::new(
                ErrorKind::ElasticsearchRefused,
                format!("{what}: the answer is about {} documents", items.len()),
            ));
        }
        let stored = |(
            Item {
                found,
                error,
                version,
                source,
            },
            id,
        ): (Item<S>, &Value)| match found {
            Some(true) if source.is_none() => {
                Err(without_source(id.as_str().unwrap_or_default(), &self.index))
            }
            Some(found) => Ok(Stored {
                found,
                version,
                source,
            }),
            None => Err(self.error(error)),
        };
        items.into_iter().zip(ids).map(stored).collect()
    }

    fn stored_twice(&self, id: &str) -> Error {
        Error::new(
            ErrorKind::IndexAltered,
            format!("document {id} is twice in {}", self.index),
        )
        .hint("somebody has written it with a routing of their own: `daybook rebuild` replaces the index")
    }

    fn error(&self, error: Option<Cause>) -> Error {
        let error = error.map_or_else(|| "no reason given".to_owned(), |cause| cause.to_string());
        Error::new(
            ErrorKind::ElasticsearchBusy,
            format!(
                "{}: Elasticsearch could not look one up: {error}",
                self.what
            ),
        )
        .hint("make sure that the cluster is not red, then run `daybook project` to catch up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_up(found: Found) -> Result<Stored<Value>, Error> {
        let looked_up = LookedUp {
            what: "looking up".to_owned(),
            index: "an index".to_owned(),
            ids: json!(["a-document"]),
            found,
        };
        looked_up
            .documents::<Value>()
            .map(|mut documents| documents.remove(0))
    }

    fn got(item: &str) -> Result<Stored<Value>, Error> {
        let answer = Answer::new(200, format!(r#"{{"docs":[{item}]}}"#));
        looked_up(Found::Got(answer))
    }

    fn searched(head: &str, hits: &str) -> Result<Stored<Value>, Error> {
        let answer = format!(r#"{{{head},"hits":{{"hits":[{hits}]}}}}"#);
        looked_up(Found::Searched(Page {
            what: "looking up".to_owned(),
            answer: Answer::new(200, answer),
        }))
    }

    const COMPLETE: &str = r#""timed_out":false,"_shards":{"total":1,"successful":1}"#;
    const THERE: &str = r#"{"_index":"an index","_id":"a-document","_version":3,"_source":{"count":2,"entry_id":1}}"#;

    #[test]
    fn a_look_up_that_failed_is_told_from_a_document_that_is_not_there() {
        for missing in [got(r#"{"found":false}"#), searched(COMPLETE, "")] {
            let missing = missing.unwrap();
            assert!(!missing.found && missing.source.is_none());
        }
        let there = r#"{"found":true,"_version":3,"_source":{"count":2,"entry_id":1}}"#;
        for there in [got(there), searched(COMPLETE, THERE)] {
            let there = there.unwrap();
            assert!(there.found && there.version == 3 && there.source.is_some());
        }
        let refused = |found: Result<Stored<Value>, Error>, told: &str| {
            let error = found.unwrap_err();
            assert!(error.message().contains(told), "{told}: {error:?}");
        };
        let without = r#"{"_index":"an index","_id":"a-document","_version":3}"#;
        for without in [
            got(r#"{"found":true,"_version":3}"#),
            searched(COMPLETE, without),
        ] {
            refused(without, "document a-document of an index has no source");
        }
        let failed = r#"{"error":{"type":"no_shard_available_action_exception"}}"#;
        refused(got(failed), "no_shard_available_action_exception");
        refused(got("{}"), "no reason given");
        let silent = r#""timed_out":false,"_shards":{"total":2,"successful":1}"#;
        refused(searched(silent, THERE), "1 shards gave no answer");
        let broken_off = r#""timed_out":true,"_shards":{"total":1,"successful":1}"#;
        refused(searched(broken_off, ""), "broke off the search");
        let twice = format!("{THERE},{THERE}");
        refused(
            searched(COMPLETE, &twice),
            "document a-document is twice in an index",
        );
        refused(searched(r#""took":1"#, ""), "cannot be read");
    }
}
