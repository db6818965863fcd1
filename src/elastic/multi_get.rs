//! Documents looked up by their ids, many in one request. What was written is seen, refreshed or not.

use serde::Deserialize;
use serde_json::json;

use super::outcome::Cause;
use super::{Answer, Client, Method};
use crate::failure::{Exit, Failure};

/// Documents that were looked up, as they came.
#[derive(Debug)]
pub struct LookedUp {
    what: String,
    asked: usize,
    answer: Answer,
}

/// A document as it stands in the index, or does not.
#[derive(Debug)]
pub struct Stored<S> {
    /// Whether it is there.
    pub found: bool,
    /// Its version; 0 where none was told.
    pub version: i64,
    /// Its source, as far as it was asked for.
    pub source: Option<S>,
}

/// Looks documents of an index up; `options` are those of the request, `what` says what for.
pub async fn multi_get(
    client: &Client,
    index: &str,
    ids: &[&str],
    options: &str,
    what: String,
) -> Result<LookedUp, Failure> {
    let path = format!("/{index}/_mget?{options}");
    let client = client.for_documents();
    let answer = client.request(Method::Post, &path, Some(&json!({ "ids": ids })), &what).await?;
    Ok(LookedUp { what, asked: ids.len(), answer })
}

impl LookedUp {
    /// The documents, in the order of their ids. A look-up that failed must not pass for a document that is not there.
    pub fn documents<'a, S: Deserialize<'a>>(&'a self) -> Result<Vec<Stored<S>>, Failure> {
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
        if items.len() != self.asked {
            return Err(Failure::failed(format!("{what}: the answer is about {} documents", items.len())));
        }
        let stored = |Item { found, error, version, source }| match found {
            Some(found) => Ok(Stored { found, version, source }),
            None => Err(self.failure(error)),
        };
        items.into_iter().map(stored).collect()
    }

    fn failure(&self, error: Option<Cause>) -> Failure {
        let error = error.map_or_else(|| "no reason given".to_owned(), |cause| cause.to_string());
        Failure::new(Exit::Unreachable, format!("{}: Elasticsearch could not look one up: {error}", self.what))
            .hint("see to it that the cluster is not red, then run `daybook project` to catch up")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_look_up_that_failed_is_told_from_a_document_that_is_not_there() {
        let read = |item: &str| {
            let answer = Answer::new(200, format!(r#"{{"docs":[{item}]}}"#));
            let looked_up = LookedUp { what: "looking up".to_owned(), asked: 1, answer };
            looked_up.documents::<Value>().map(|mut documents| documents.remove(0))
        };
        let missing = read(r#"{"found":false}"#).unwrap();
        assert!(!missing.found && missing.source.is_none());
        let there = read(r#"{"found":true,"_version":3,"_source":{"count":2,"entry_id":1}}"#).unwrap();
        assert!(there.found && there.version == 3 && there.source.is_some());
        let failed = read(r#"{"error":{"type":"no_shard_available_action_exception"}}"#).unwrap_err();
        assert!(failed.message().contains("no_shard_available_action_exception"), "{failed:?}");
        assert!(read("{}").unwrap_err().message().contains("no reason given"));
    }
}
