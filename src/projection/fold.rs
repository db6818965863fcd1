//! Advances `stats-terms`: adds what one entry adds to the documents as they stand.
//!
//! One entry at a time, in their order. A document that is as of the entry, or of a later one, has what the entry adds
//! and is passed over, so a crash anywhere repeats safely.
//!
//! The ledger's first entry is written without looking anything up: what it adds is all that its terms have. A document
//! that is there all the same is as of that entry or of a later one, and its version keeps it as it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::terms::{Dimension, Key, Scope};
use crate::clock::Stopwatch;
use crate::elastic::bulk::BulkWriter;
use crate::elastic::{Client, Method};
use crate::failpoint;
use crate::failure::{Exit, Failure};
use crate::ledger::EntryId;
use crate::ledger::read::{Reader, StoredRow};

/// Documents that are looked up in one request.
const LOOKED_UP_AT_ONCE: usize = 5000;

/// Look-ups in flight, while the documents of others are written.
const LOOK_UPS_IN_FLIGHT: usize = 2;

/// What it cost to know how the documents stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LookedUp {
    /// Documents that were looked up.
    #[serde(rename = "looked_up")]
    pub documents: u64,
    /// How long was waited for that.
    #[serde(rename = "look_up_seconds", serialize_with = "crate::output::as_seconds")]
    pub waited: Duration,
}

/// An index of terms that entries are added to.
pub(super) struct Fold<'a> {
    pub scope: &'a Scope,
    pub client: &'a Client,
    pub index: &'a str,
    /// Leads to the index.
    pub writer: &'a mut BulkWriter,
    pub looked_up: &'a mut LookedUp,
}

impl Fold<'_> {
    /// Adds an entry, all of which is in the index when this returns.
    pub async fn add_entry(&mut self, reader: &mut Reader, entry_id: EntryId) -> Result<(), Failure> {
        let scope = self.scope;
        let mut adding = Adding { fold: self, entry_id, added: Vec::new(), looking: JoinSet::new() };
        reader
            .rows_of_entry(entry_id, async |row: StoredRow| {
                for (dimension, terms) in Dimension::ALL.into_iter().zip(row.maps()?) {
                    if !scope.covers(dimension, row.cell.stat_type) {
                        continue;
                    }
                    for (term, n) in terms.0 {
                        adding.add(Key { cell: row.cell, dimension, term: term.into_owned() }, n).await?;
                    }
                }
                Ok(())
            })
            .await?;
        adding.finish().await
    }
}

/// What an entry adds to a term, and the id of the term's document.
struct Added {
    id: String,
    key: Key,
    n: i64,
}

/// An entry that is being added. It lists each term of a cell once, so no document waits for another one of it.
struct Adding<'f, 'a> {
    fold: &'f mut Fold<'a>,
    entry_id: EntryId,
    added: Vec<Added>,
    /// Look-ups that are under way.
    looking: JoinSet<Result<Vec<(Added, Stored)>, Failure>>,
}

/// A document of terms, as far as the fold needs it.
#[derive(Deserialize)]
struct Stored {
    /// Not there if the look-up itself failed, which must not pass for a document that is not there.
    found: Option<bool>,
    error: Option<Value>,
    #[serde(rename = "_source")]
    source: Option<StoredSource>,
}

#[derive(Clone, Copy, Deserialize)]
struct StoredSource {
    count: Option<i64>,
    entry_id: Option<EntryId>,
}

impl Adding<'_, '_> {
    async fn add(&mut self, key: Key, n: i64) -> Result<(), Failure> {
        let id = key.id();
        if self.entry_id == EntryId::NONE.next() {
            key.write_as(&id, self.fold.writer.batch(), n, self.entry_id);
            return self.fold.writer.send_if_full().await;
        }
        self.added.push(Added { id, key, n });
        if self.added.len() >= LOOKED_UP_AT_ONCE { self.send_off().await } else { Ok(()) }
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        if !self.added.is_empty() {
            self.send_off().await?;
        }
        while !self.looking.is_empty() {
            self.write_looked_up().await?;
        }
        // The next entry adds to what this one leaves, so all of it must be there.
        self.fold.writer.flush().await.map(drop)
    }

    /// Looks up how the documents stand.
    async fn send_off(&mut self) -> Result<(), Failure> {
        while self.looking.len() >= LOOK_UPS_IN_FLIGHT {
            self.write_looked_up().await?;
        }
        let added = std::mem::take(&mut self.added);
        let (client, index) = (self.fold.client.clone(), self.fold.index.to_owned());
        self.looking.spawn(async move { look_up(&client, &index, added).await });
        Ok(())
    }

    /// Writes the documents of a look-up that is through, once one is.
    async fn write_looked_up(&mut self) -> Result<(), Failure> {
        let stopwatch = Stopwatch::start();
        let Some(looked_up) = self.looking.join_next().await else { return Ok(()) };
        let looked_up =
            looked_up.map_err(|error| Failure::failed("looking up documents was broken off").caused_by(error))??;
        self.fold.looked_up.waited += stopwatch.elapsed();
        self.fold.looked_up.documents += looked_up.len() as u64;
        failpoint::reach("fold.looked_up");
        for (Added { id, key, n }, stored) in looked_up {
            let count = match stored.source {
                Some(StoredSource { entry_id: Some(as_of), .. }) if as_of >= self.entry_id => continue,
                Some(StoredSource { count, .. }) => count.unwrap_or(0),
                None => 0,
            };
            let count = count.checked_add(n).ok_or_else(|| key.exceeds_a_bigint())?;
            key.write_as(&id, self.fold.writer.batch(), count, self.entry_id);
            self.fold.writer.send_if_full().await?;
        }
        Ok(())
    }
}

async fn look_up(client: &Client, index: &str, added: Vec<Added>) -> Result<Vec<(Added, Stored)>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        docs: Vec<Stored>,
    }
    let what = format!("looking up {} documents of {index}", added.len());
    let ids: Vec<&str> = added.iter().map(|added| added.id.as_str()).collect();
    let path = format!("/{index}/_mget?_source_includes=count,entry_id&filter_path=docs.found,docs.error,docs._source");
    let answer = client.request(Method::Post, &path, Some(&json!({ "ids": ids })), &what).await?;
    let docs = answer.read::<Answer>(&what)?.docs;
    if docs.len() != added.len() {
        return Err(Failure::failed(format!("{what}: the answer is about {} documents", docs.len())));
    }
    if let Some(Stored { error, .. }) = docs.iter().find(|stored| stored.found.is_none()) {
        let error = error.as_ref().map_or_else(|| "no reason given".to_owned(), Value::to_string);
        return Err(Failure::new(Exit::Unreachable, format!("{what}: Elasticsearch could not look one up: {error}"))
            .hint("see to it that the cluster is not red, then run `daybook project` to catch up"));
    }
    Ok(added.into_iter().zip(docs).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_failed_is_told_from_a_document_that_is_not_there() {
        let read = |item: &str| serde_json::from_str::<Stored>(item);
        let missing = read(r#"{"found":false}"#).unwrap();
        assert!(missing.found == Some(false) && missing.source.is_none());
        assert!(read(r#"{"found":true,"_source":{"count":2,"entry_id":1}}"#).unwrap().source.is_some());
        let failed = read(r#"{"error":{"type":"no_shard_available_action_exception"}}"#).unwrap();
        assert!(failed.found.is_none() && failed.error.is_some());
        assert!(read("{}").unwrap().found.is_none());
    }
}
