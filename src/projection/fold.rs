//! Advances `stats-terms`: adds what one entry adds to the documents as they stand.
//!
//! One entry at a time, in their order. A document that is as of the entry, or of a later one, has what the entry adds
//! and is passed over, so a crash anywhere repeats safely.

use serde::Deserialize;
use serde_json::json;

use super::terms::{Dimension, Key, Scope};
use crate::elastic::bulk::BulkWriter;
use crate::elastic::{Client, Method};
use crate::failpoint;
use crate::failure::Failure;
use crate::ledger::EntryId;
use crate::ledger::read::{Reader, StoredRow};

/// Documents that are looked up in one request.
const LOOKED_UP_AT_ONCE: usize = 5000;

/// Adds an entry to the index of terms.
pub(super) async fn add_entry(
    scope: &Scope,
    reader: &mut Reader,
    client: &Client,
    index: &str,
    writer: &mut BulkWriter,
    entry_id: EntryId,
) -> Result<(), Failure> {
    let mut fold = Fold { client, index, writer, entry_id, added: Vec::new() };
    reader
        .rows_of_entry(entry_id, async |row: StoredRow| {
            for (dimension, terms) in Dimension::ALL.into_iter().zip(row.maps()?) {
                if !scope.covers(dimension, row.cell.stat_type) {
                    continue;
                }
                for (term, n) in terms.0 {
                    let key = Key { cell: row.cell, dimension, term: term.into_owned() };
                    fold.add(key, n).await?;
                }
            }
            Ok(())
        })
        .await?;
    fold.flush().await
}

struct Fold<'a> {
    client: &'a Client,
    index: &'a str,
    writer: &'a mut BulkWriter,
    entry_id: EntryId,
    added: Vec<(Key, i64)>,
}

/// A document of terms, as far as the fold needs it.
#[derive(Deserialize)]
struct Stored {
    /// Not there if the look-up itself failed, which must not pass for a document that is not there.
    #[serde(rename = "found")]
    _found: bool,
    #[serde(rename = "_source")]
    source: Option<StoredSource>,
}

#[derive(Clone, Copy, Deserialize)]
struct StoredSource {
    count: Option<i64>,
    entry_id: Option<EntryId>,
}

impl Fold<'_> {
    async fn add(&mut self, key: Key, n: i64) -> Result<(), Failure> {
        self.added.push((key, n));
        if self.added.len() >= LOOKED_UP_AT_ONCE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        if self.added.is_empty() {
            return Ok(());
        }
        let added = std::mem::take(&mut self.added);
        let stored = self.look_up(&added).await?;
        failpoint::reach("fold.looked_up");
        for ((key, n), stored) in added.into_iter().zip(stored) {
            let count = match stored.source {
                Some(StoredSource { entry_id: Some(as_of), .. }) if as_of >= self.entry_id => continue,
                Some(StoredSource { count, .. }) => count.unwrap_or(0),
                None => 0,
            };
            let count = count.checked_add(n).ok_or_else(|| {
                Failure::failed(format!("the count of term '{}' of {} exceeds a bigint", key.term, key.cell))
            })?;
            key.write(self.writer.batch(), count, self.entry_id);
            self.writer.send_if_full().await?;
        }
        Ok(())
    }

    async fn look_up(&self, added: &[(Key, i64)]) -> Result<Vec<Stored>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            docs: Vec<Stored>,
        }
        let what = format!("looking up {} documents of {}", added.len(), self.index);
        let ids: Vec<String> = added.iter().map(|(key, _)| key.id()).collect();
        let path = format!("/{}/_mget?_source_includes=count,entry_id&filter_path=docs.found,docs._source", self.index);
        let answer = self.client.request(Method::Post, &path, Some(&json!({ "ids": ids })), &what).await?;
        let docs = answer.read::<Answer>(&what)?.docs;
        if docs.len() != ids.len() {
            return Err(Failure::failed(format!("{what}: the answer is about {} documents", docs.len())));
        }
        Ok(docs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_failed_is_told_from_a_document_that_is_not_there() {
        let read = |item: &str| serde_json::from_str::<Stored>(item);
        assert!(read(r#"{"found":false}"#).unwrap().source.is_none());
        assert!(read(r#"{"found":true,"_source":{"count":2,"entry_id":1}}"#).unwrap().source.is_some());
        // An item with an error, of which only what is asked for comes through.
        assert!(read("{}").is_err());
    }
}
