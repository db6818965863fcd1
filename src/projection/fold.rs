//! Advances `stats-terms`: adds what an entry adds to the stored documents.
//!
//! Entries are added one at a time, in order. A document that is as of the entry or a later one already contains it and
//! is skipped, so a crash at any point repeats safely.
//!
//! The ledger's first entry with rows is written without look-ups: what it adds is all that its terms have. A document
//! that exists nevertheless already contains that entry, and its version protects it.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::Plan;
use super::documents::{Entries, sum_terms};
use super::index::Index;
use super::place::Places;
use super::terms::{Figures, Key, StoredTerm};
use crate::clock::Stopwatch;
use crate::elastic::Client;
use crate::elastic::bulk::BulkWriter;
use crate::elastic::look_up::{multi_get, search_by_id};
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use crate::ledger::{EntryId, Reader};

/// Documents per look-up; few in debug builds, so that entries of tests have several.
const LOOKED_UP_AT_ONCE: usize = if cfg!(debug_assertions) { 100 } else { 5000 };

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
    pub plan: &'a Plan,
    pub client: &'a Client,
    pub index: &'a Index,
    /// Writes to the index.
    pub writer: &'a mut BulkWriter,
    pub looked_up: &'a mut LookupStats,
}

impl Fold<'_> {
    /// Adds the entry that follows `after`. All of it is in the index when this returns.
    pub async fn add_entry(&mut self, reader: &mut Reader, entry_id: EntryId) -> Result<(), Error> {
        let plan = self.plan;
        let entries = Entries {
            after: entry_id.previous(),
            through: entry_id,
        };
        let mut adding = Adding {
            is_first: reader.has_the_first_rows(entry_id).await?,
            fold: self,
            entry_id,
            added: Vec::new(),
            looking: JoinSet::new(),
            is_refreshed: false,
            places: Places::default(),
        };
        let mut sums = sum_terms(reader, plan, entries).await?.in_order()?;
        while let Some(sum) = sums.next()? {
            adding.add(sum.key, sum.figures).await?;
        }
        adding.finish().await
    }
}

/// What an entry adds to a term, and the id of the term's document.
struct Added {
    id: String,
    key: Key,
    figures: Figures,
}

/// An entry that is being added. Each term comes once, so no document is changed twice.
struct Adding<'f, 'a> {
    fold: &'f mut Fold<'a>,
    entry_id: EntryId,
    /// Whether no older entry has rows.
    is_first: bool,
    added: Vec<Added>,
    /// Look-ups in progress.
    looking: JoinSet<Result<Vec<Standing>, Error>>,
    /// Whether searches find what the entries before have written.
    is_refreshed: bool,
    places: Places,
}

/// What to add, and the stored document; `None` if there is none.
type Standing = (Added, Option<StoredTerm>);

impl Adding<'_, '_> {
    async fn add(&mut self, key: Key, figures: Figures) -> Result<(), Error> {
        let added = Added {
            id: key.id(),
            key,
            figures,
        };
        if self.is_first {
            return self.write(&added).await;
        }
        self.added.push(added);
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
        let (client, index) = (self.fold.client.clone(), self.fold.index.physical.clone());
        // For a small entry, a refresh would cost more than it saves.
        if added.len() >= LOOKED_UP_AT_ONCE && !self.is_refreshed {
            self.fold.index.refresh(&client).await?;
            self.is_refreshed = true;
        }
        let is_refreshed = self.is_refreshed;
        self.looking
            .spawn(async move { look_up(&client, &index, added, is_refreshed).await });
        Ok(())
    }

    /// Waits for one of the look-ups, and writes its documents.
    async fn write_looked_up(&mut self) -> Result<(), Error> {
        let stopwatch = Stopwatch::start();
        let Some(looked_up) = self.looking.join_next().await else {
            return Ok(());
        };
        let looked_up = looked_up.map_err(|error| {
            Error::new(ErrorKind::Internal, "looking up documents was aborted").caused_by(error)
        })??;
        self.fold.looked_up.waited += stopwatch.elapsed();
        self.fold.looked_up.documents += looked_up.len() as u64;
        failpoint::reach("fold.looked_up");
        for (mut added, stored) in looked_up {
            if let Some(StoredTerm { figures, entry_id }) = stored {
                match entry_id {
                    Some(as_of) if as_of >= self.entry_id => continue,
                    Some(_) => {}
                    None => return Err(unreadable(&added.id, &self.fold.index.physical)),
                }
                added
                    .figures
                    .add_all(&figures)
                    .map_err(|_| added.key.exceeds_a_bigint())?;
            }
            self.write(&added).await?;
        }
        Ok(())
    }

    async fn write(&mut self, Added { id, key, figures }: &Added) -> Result<(), Error> {
        let batch = self.fold.writer.batch();
        key.write(id, batch, figures, self.entry_id, &mut self.places);
        self.fold.writer.send_if_full().await
    }
}

/// Nothing can be added to a document that lacks its entry, or whose figures are something else.
fn unreadable(id: &str, index: &str) -> Error {
    Error::new(ErrorKind::IndexEdited, format!("document {id} of {index} lacks its entry_id or has unreadable figures")).hint(
        "somebody has edited it: `daybook verify --projections --repair` repairs it, then run `daybook project`",
    )
}

/// Looks up documents in the order of their ids, which is that of the index. It gets them whole: Elasticsearch needs
/// longer to filter them than to send them. In an index that was refreshed they are searched for, which costs less.
async fn look_up(
    client: &Client,
    index: &str,
    mut added: Vec<Added>,
    is_refreshed: bool,
) -> Result<Vec<Standing>, Error> {
    added.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let what = format!("looking up {} documents of {index}", added.len());
    let ids: Vec<&str> = added.iter().map(|added| added.id.as_str()).collect();
    let looked_up = if is_refreshed {
        search_by_id(client, index, &ids, what).await?
    } else {
        multi_get(client, index, &ids, "", what).await?
    };
    let documents = looked_up.documents::<&RawValue>()?;
    added
        .into_iter()
        .zip(documents)
        .map(|(added, stored)| {
            let stored = stored
                .source
                .map(|source| serde_json::from_str(source.get()))
                .transpose()
                .map_err(|error| unreadable(&added.id, index).caused_by(error))?;
            Ok((added, stored))
        })
        .collect()
}
