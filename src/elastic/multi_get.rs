//! Looks up documents by their ids, many in one request. Written documents are visible before a refresh.
//!
//! A failed look-up, or a document without its source, must not pass for a missing document.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::client::Client;
use super::outcome::Cause;
use crate::error::{Error, ErrorKind};
use elasticsearch::http::Method;

/// The answer to a look-up.
#[derive(Debug)]
pub struct LookedUp {
    what: String,
    index: String,
    ids: Value,
    answer: Answer,
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

/// Looks up documents of an index. `options` is the query string; it must not exclude the source. Errors say `what` was
/// attempted.
pub async fn multi_get(
    client: &Client,
    index: &str,
    ids: &[&str],
    options: &str,
    what: String,
) -> Result<LookedUp, Error> {
    let path = format!("/{index}/_mget?{options}");
    let mut body = json!({ "ids": ids });
    let answer = client
        .for_documents()
        .request(Method::Post, &path, Some(&body), &what)
        .await?;
    Ok(LookedUp {
        what,
        index: index.to_owned(),
        ids: body["ids"].take(),
        answer,
    })
}

impl LookedUp {
    /// The documents, in the order of their ids.
    pub fn documents<'a, S: Deserialize<'a>>(&'a self) -> Result<Vec<Stored<S>>, Error> {
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
        let items = self.answer.read::<Body<S>>(what)?.docs;
        let ids = self.ids.as_array().map_or(&[][..], Vec::as_slice);
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

/// The error for a document that exists without its source.
pub(super) fn without_source(id: &str, index: &str) -> Error {
    Error::new(
        ErrorKind::IndexAltered,
        format!("document {id} of {index} has no source"),
    )
    .hint("the index does not keep sources: `daybook rebuild` replaces it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_failed_is_told_from_a_document_that_is_not_there() {
        let read = |item: &str| {
            let answer = Answer::new(200, format!(r#"{{"docs":[{item}]}}"#));
            let (what, index) = ("looking up".to_owned(), "an index".to_owned());
            let looked_up = LookedUp {
                what,
                index,
                ids: json!(["a-document"]),
                answer,
            };
            looked_up
                .documents::<Value>()
                .map(|mut documents| documents.remove(0))
        };
        let missing = read(r#"{"found":false}"#).unwrap();
        assert!(!missing.found && missing.source.is_none());
        let there =
            read(r#"{"found":true,"_version":3,"_source":{"count":2,"entry_id":1}}"#).unwrap();
        assert!(there.found && there.version == 3 && there.source.is_some());
        let without = read(r#"{"found":true,"_version":3}"#).unwrap_err();
        assert!(
            without
                .message()
                .contains("document a-document of an index has no source"),
            "{without:?}"
        );
        let failed =
            read(r#"{"error":{"type":"no_shard_available_action_exception"}}"#).unwrap_err();
        assert!(
            failed
                .message()
                .contains("no_shard_available_action_exception"),
            "{failed:?}"
        );
        assert!(
            read("{}")
                .unwrap_err()
                .message()
                .contains("no reason given")
        );
    }
}
