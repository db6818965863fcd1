//! Advances `stats-terms`: adds what an entry adds to the stored documents.
//!
//! Entries are added one at a time, in order. A document that is as of the entry or a later one already contains it and
//! is skipped, so a crash at any point repeats safely.
//!
//! The ledger's first entry is written without look-ups: what it adds is all that its terms have. A document that
//! exists nevertheless already contains that entry, and its version protects it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::terms::{Dimension, Key, Scope};
use crate::clock::Stopwatch;
use crate::elastic::Client;
use crate::elastic::bulk::BulkWriter;
use crate::elastic::multi_get::multi_get;
use crate::error::Error;
use crate::failpoint;
use crate::ledger::{EntryId, Reader, StoredRow};

/// Documents per look-up.
const LOOKED_UP_AT_ONCE: usize = 5000;

/// Concurrent look-ups, while other documents are written.
const LOOK_UPS_IN_FLIGHT: usize = 2;

/// The cost of looking up stored documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LookupStats {
    /// Documents that were looked up.
    #[serde(rename = "looked_up")]
    pub documents: u64,
    /// Time spent waiting for the look-ups.
    #[serde(rename = "look_up_seconds", serialize_with = "crate::text::as_seconds")]
    pub waited: Duration,
}

/// Adds entries to an index of terms.
pub(super) struct Fold<'a> {
    pub scope: &'a Scope,
    pub client: &'a Client,
    pub index: &'a str,
    /// Writes to the index.
    pub writer: &'a mut BulkWriter,
    pub looked_up: &'a mut LookupStats,
}

impl Fold<'_> {
    /// Adds an entry. All of it is in the index when this returns.
    pub async fn add_entry(&mut self, reader: &mut Reader, entry_id: EntryId) -> Result<(), Error> {
        let scope = self.scope;
        let mut adding = Adding {
            fold: self,
            entry_id,
            added: Vec::new(),
            looking: JoinSet::new(),
        };
        reader
            .rows_of_entry(entry_id, async |row: StoredRow| {
                for (dimension, terms) in Dimension::ALL.into_iter().zip(row.terms()?) {
                    if !scope.covers(dimension, row.cell.stat_type) {
                        continue;
                    }
                    for (term, n) in row.read(terms)?.0 {
                        adding
                            .add(
                                Key {
                                    cell: row.cell,
                                    dimension,
                                    term: term.into_owned(),
                                },
                                n,
                            )
                            .await?;
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

/// An entry that is being added. It lists each term of a cell once, so no document is changed twice.
struct Adding<'f, 'a> {
    fold: &'f mut Fold<'a>,
    entry_id: EntryId,
    added: Vec<Added>,
    /// Look-ups in progress.
    looking: JoinSet<Result<Vec<Standing>, Error>>,
}

/// What to add, and the stored document; `None` if there is none.
type Standing = (Added, Option<StoredSource>);

/// The fields of a document that the fold needs.
#[derive(Clone, Copy, Deserialize)]
struct StoredSource {
    count: Option<i64>,
    entry_id: Option<EntryId>,
}

impl Adding<'_, '_> {
    async fn add(&mut self, key: Key, n: i64) -> Result<(), Error> {
        let id = key.id();
        if self.entry_id == EntryId::NONE.next() {
            key.write_as(&id, self.fold.writer.batch(), n, self.entry_id);
            return self.fold.writer.send_if_full().await;
        }
        self.added.push(Added { id, key, n });
        if self.added.len() >= LOOKED_UP_AT_ONCE {
            self.send_off().await
        } else {
            Ok(())
        }
    }

    async fn finish(&mut self) -> Result<(), Error> {
        if !self.added.is_empty() {
            self.send_off().await?;
        }
        while !self.looking.is_empty() {
            self.write_looked_up().await?;
        }
        // The next entry adds to the result of this one, so all of it must be written.
        self.fold.writer.flush().await.map(drop)
    }

    /// Starts looking up the stored documents.
    async fn send_off(&mut self) -> Result<(), Error> {
        while self.looking.len() >= LOOK_UPS_IN_FLIGHT {
            self.write_looked_up().await?;
        }
        let added = std::mem::take(&mut self.added);
        let (client, index) = (self.fold.client.clone(), self.fold.index.to_owned());
        self.looking
            .spawn(async move { look_up(&client, &index, added).await });
        Ok(())
    }

    /// Waits for one of the look-ups, and writes its documents.
    async fn write_looked_up(&mut self) -> Result<(), Error> {
        let stopwatch = Stopwatch::start();
        let Some(looked_up) = self.looking.join_next().await else {
            return Ok(());
        };
        let looked_up = looked_up.map_err(|error| {
            Error::failed("looking up documents was aborted").caused_by(error)
        })??;
        self.fold.looked_up.waited += stopwatch.elapsed();
        self.fold.looked_up.documents += looked_up.len() as u64;
        failpoint::reach("fold.looked_up");
        for (Added { id, key, n }, stored) in looked_up {
            let count = match stored {
                Some(StoredSource {
                    entry_id: Some(as_of),
                    ..
                }) if as_of >= self.entry_id => continue,
                Some(StoredSource {
                    count: Some(count),
                    entry_id: Some(_),
                }) => count,
                Some(_) => return Err(incomplete(&id, self.fold.index)),
                None => 0,
            };
            let count = count.checked_add(n).ok_or_else(|| key.exceeds_a_bigint())?;
            key.write_as(&id, self.fold.writer.batch(), count, self.entry_id);
            self.fold.writer.send_if_full().await?;
        }
        Ok(())
    }
}

/// Nothing can be added to a document that lacks its count or its entry.
fn incomplete(id: &str, index: &str) -> Error {
    Error::failed(format!("document {id} of {index} lacks its count or its entry_id")).hint(
        "somebody has edited it: `daybook verify --projections --repair` repairs it, then run `daybook project`",
    )
}

async fn look_up(client: &Client, index: &str, added: Vec<Added>) -> Result<Vec<Standing>, Error> {
    const OPTIONS: &str =
        "_source_includes=count,entry_id&filter_path=docs.found,docs.error,docs._source";
    let what = format!("looking up {} documents of {index}", added.len());
    let ids: Vec<&str> = added.iter().map(|added| added.id.as_str()).collect();
    let documents = multi_get(client, index, &ids, OPTIONS, what)
        .await?
        .documents()?;
    Ok(added
        .into_iter()
        .zip(documents.into_iter().map(|stored| stored.source))
        .collect())
}
