//! Compares an index with the ledger, document by document: what is missing, what differs, what is there too much.
//!
//! Not by sums: Elasticsearch sums in doubles. The expected documents are streamed from the ledger and looked up by id.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::documents::{Entries, Sink, stream, stream_day};
use super::oversize::{Oversize, without_lists};
use super::terms::Key;
use super::{Plan, Projection, daily};
use crate::day::{Day, Period};
use crate::elastic::bulk::{Batch, BulkWriter};
use crate::elastic::multi_get::multi_get;
use crate::elastic::scroll::{Hit, Scroll};
use crate::elastic::{Client, Method};
use crate::error::Error;
use crate::ledger::{EntryId, NamedTerm, Reader};
use crate::projection::index::Index;

/// What a comparison came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Documents that the ledger makes and that were looked at.
    pub compared: u64,
    /// Of these, not in the index.
    pub missing: u64,
    /// Of these, with another content.
    pub different: u64,
    /// In the index, but not made by the ledger.
    pub extra: u64,
    /// Of all these, put right.
    pub repaired: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// So many documents are named; all are counted.
const FINDINGS_KEPT: usize = 1000;

/// A document that is not as the ledger makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub defect: Defect,
    /// The index.
    pub index: String,
    /// The document's id.
    pub id: String,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// It is not there.
    Missing,
    /// Its content is another.
    Different,
    /// It should not be there.
    Extra,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let defect = match self.defect {
            Defect::Missing => "missing",
            Defect::Different => "different",
            Defect::Extra => "extra",
        };
        write!(f, "{defect} in {}: document {}", self.index, self.id)
    }
}

impl Comparison {
    /// Documents that are not as the ledger makes them.
    pub fn differences(&self) -> u64 {
        self.missing + self.different + self.extra
    }

    fn note(&mut self, defect: Defect, index: &str, id: &str) {
        match defect {
            Defect::Missing => self.missing += 1,
            Defect::Different => self.different += 1,
            Defect::Extra => self.extra += 1,
        }
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(Finding {
                defect,
                index: index.to_owned(),
                id: id.to_owned(),
            });
        }
    }
}

/// What to compare of an index; all of it where nothing is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Only daily documents of these days.
    pub period: Option<Period>,
    /// Only every so many-th document.
    pub every: Option<u64>,
}

/// Compares an index with what the ledger was after an entry; puts it right, if asked to. `at` hears of how many documents
/// were looked at.
#[expect(
    clippy::too_many_arguments,
    reason = "what to compare with what, and how"
)]
pub async fn compare_index(
    kind: Projection,
    plan: &Plan,
    reader: &mut Reader,
    client: &Client,
    index: &Index,
    through: EntryId,
    part: Option<Part>,
    repair: bool,
    at: &mut (dyn FnMut(u64) + Send),
) -> Result<Comparison, Error> {
    let part = part.unwrap_or_default();
    let mut comparer = Comparer {
        client,
        index,
        every: part.every.unwrap_or(1).max(1),
        passed: 0,
        batch: Batch::default(),
        looking: JoinSet::new(),
        found: 0,
        repairs: repair.then(|| {
            let oversize = Oversize::of(kind);
            BulkWriter::to_index(client, &index.physical, 2)
                .shortening(Oversize::shortening(oversize.as_ref()))
        }),
        comparison: Comparison::default(),
        at,
    };
    let entries = Entries {
        after: EntryId::NONE,
        through,
    };
    match (kind, part.period) {
        (Projection::Daily, Some(period)) => {
            for touched in reader.days_touched(entries.after, through).await? {
                if period.contains(touched.day) {
                    stream_day(reader, touched, entries, &mut comparer).await?;
                }
            }
        }
        _ => stream(kind, &plan.terms, reader, entries, &mut comparer).await?,
    }
    // Only daily documents are of days.
    let whole = comparer.every == 1 && (kind != Projection::Daily || part.period.is_none());
    let mut comparison = comparer
        .finish(whole.then_some((kind, plan, reader, through)))
        .await?;
    if comparison.repaired > 0 {
        index.refresh(client).await?;
    }
    comparison.findings.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(comparison)
}

/// Look-ups at the same time: Elasticsearch answers each by one thread for each shard.
const LOOK_UPS_IN_FLIGHT: usize = 2;

struct Comparer<'a> {
    client: &'a Client,
    index: &'a Index,
    every: u64,
    passed: u64,
    batch: Batch,
    /// Batches that are being looked up, while the documents of the next one are made.
    looking: JoinSet<Result<Looked, Error>>,
    /// Expected documents that are there.
    found: u64,
    repairs: Option<BulkWriter>,
    comparison: Comparison,
    at: &'a mut (dyn FnMut(u64) + Send),
}

impl Sink for Comparer<'_> {
    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    async fn take(&mut self) -> Result<(), Error> {
        const BATCH: usize = 1000;
        const BATCH_BYTES: usize = 8 << 20;
        self.passed += 1;
        if !self.passed.is_multiple_of(self.every) {
            self.batch.pop();
            return Ok(());
        }
        let full = self.batch.documents().len() >= BATCH || self.batch.bytes() >= BATCH_BYTES;
        if full { self.send_off().await } else { Ok(()) }
    }
}

/// What looking at the documents of a batch came to.
struct Looked {
    batch: Batch,
    /// How many of them are there.
    found: u64,
    wrong: Vec<Wrong>,
}

/// A document that is missing or different.
struct Wrong {
    /// Which one of the batch.
    place: usize,
    defect: Defect,
    /// Its version in the index, if it is there.
    stored_version: i64,
}

/// Looks a batch's documents up and compares them.
async fn look_at(client: &Client, index: &Index, batch: Batch) -> Result<Looked, Error> {
    let documents = batch.documents();
    let physical = &index.physical;
    let what = format!("looking up {} documents of {physical}", documents.len());
    let ids: Vec<&str> = batch.documents().map(|document| document.id).collect();
    let looked_up = multi_get(client, physical, &ids, "", what).await?;
    let (mut found, mut wrong) = (0, Vec::new());
    for (place, (expected, stored)) in documents
        .zip(looked_up.documents::<&RawValue>()?)
        .enumerate()
    {
        found += u64::from(stored.found);
        let defect = match stored.source {
            Some(source) if is_same(expected.source, source) => continue,
            Some(source) if is_same_without_lists(expected.source, source, index) => continue,
            Some(_) => Defect::Different,
            None => Defect::Missing,
        };
        wrong.push(Wrong {
            place,
            defect,
            stored_version: stored.version,
        });
    }
    Ok(Looked {
        batch,
        found,
        wrong,
    })
}

impl Comparer<'_> {
    /// Lets the batch be looked at.
    async fn send_off(&mut self) -> Result<(), Error> {
        while self.looking.len() >= LOOK_UPS_IN_FLIGHT {
            self.note_one().await?;
        }
        let batch = std::mem::take(&mut self.batch);
        let (client, index) = (self.client.clone(), self.index.clone());
        self.looking
            .spawn(async move { look_at(&client, &index, batch).await });
        Ok(())
    }

    /// Notes what one of the batches came to.
    async fn note_one(&mut self) -> Result<(), Error> {
        let Some(looked) = self.looking.join_next().await else {
            return Ok(());
        };
        let Looked {
            batch,
            found,
            wrong,
        } = looked
            .map_err(|error| Error::failed("a comparison was broken off").caused_by(error))??;
        self.comparison.compared += batch.documents().len() as u64;
        (self.at)(self.comparison.compared);
        self.found += found;
        for Wrong {
            place,
            defect,
            stored_version,
        } in wrong
        {
            let Some(expected) = batch.documents().nth(place) else {
                continue;
            };
            self.comparison
                .note(defect, &self.index.physical, expected.id);
            if let Some(repairs) = &mut self.repairs {
                let version = expected.version.max(stored_version);
                repairs.batch().push(expected.id, version, |out| {
                    out.extend_from_slice(expected.source);
                });
                repairs.send_if_full().await?;
                self.comparison.repaired += 1;
            }
        }
        Ok(())
    }

    /// Looks for what should not be there, if every expected document was looked at.
    async fn finish(
        mut self,
        whole: Option<(Projection, &Plan, &mut Reader, EntryId)>,
    ) -> Result<Comparison, Error> {
        if self.batch.documents().len() > 0 {
            self.send_off().await?;
        }
        while !self.looking.is_empty() {
            self.note_one().await?;
        }
        if let Some((kind, plan, reader, through)) = whole {
            self.index.refresh(self.client).await?;
            // What is there is the expected documents that were found, and the extra ones.
            let there = self.index.count(self.client).await?;
            if there > self.found {
                self.find_extra(kind, plan, reader, through).await?;
                let extra = self.comparison.extra;
                if self.found + extra < there {
                    return Err(Error::failed(format!(
                        "{} holds {there} documents; of them {} are expected and {extra} were found to be extra",
                        self.index.physical, self.found
                    ))
                    .hint("somebody else is writing to it: stop them, then run the command again"));
                }
            }
        }
        if let Some(repairs) = &mut self.repairs {
            let written = repairs.flush().await?;
            let mut index = self.index.clone();
            if index
                .checkpoint
                .note_lists_omitted(written.lists_omitted_from)
            {
                index.record(self.client).await?;
            }
        }
        Ok(self.comparison)
    }

    /// Goes through the ids of the index and asks the ledger about each.
    async fn find_extra(
        &mut self,
        kind: Projection,
        plan: &Plan,
        reader: &mut Reader,
        through: EntryId,
    ) -> Result<(), Error> {
        let physical = self.index.physical.clone();
        // What says what a document is about.
        let fields = json!([
            "recordset_id",
            "record_type",
            "stat_type",
            "dimension",
            "term"
        ]);
        let (mut scroll, mut page) = Scroll::begin(self.client, &physical, 2000, fields).await?;
        loop {
            let hits = page.documents::<Value>()?;
            if hits.is_empty() {
                break;
            }
            let expected = expected_among(kind, plan, reader, &hits, through).await?;
            for hit in hits {
                if expected.contains(&*hit.id) {
                    continue;
                }
                self.comparison.note(Defect::Extra, &physical, &hit.id);
                if self.repairs.is_some() {
                    delete_document(self.client, &physical, &hit.id).await?;
                    self.comparison.repaired += 1;
                }
            }
            page = scroll.next().await?;
        }
        scroll.end().await;
        Ok(())
    }
}

/// Whether a document is as large as one that the cluster did not take whole, and stands there without its lists.
fn is_same_without_lists(expected: &[u8], stored: &RawValue, index: &Index) -> bool {
    let from = index.checkpoint.lists_omitted_from;
    from.is_some_and(|from| expected.len() as u64 >= from)
        && without_lists(expected).is_some_and(|expected| is_same(&expected, stored))
}

fn is_same(expected: &[u8], stored: &RawValue) -> bool {
    if stored.get().as_bytes() == expected {
        return true;
    }
    // Elasticsearch keeps a document's bytes, unless an update has passed through them.
    let stored: Result<Value, _> = serde_json::from_str(stored.get());
    let expected: Result<Value, _> = serde_json::from_slice(expected);
    matches!((stored, expected), (Ok(stored), Ok(expected)) if stored == expected)
}

/// Which of these documents the ledger makes.
async fn expected_among(
    kind: Projection,
    plan: &Plan,
    reader: &mut Reader,
    hits: &[Hit<'_, Value>],
    through: EntryId,
) -> Result<HashSet<String>, Error> {
    match kind {
        Projection::Daily => {
            let named: Vec<(&str, Day, uuid::Uuid)> = hits
                .iter()
                .filter_map(|hit| {
                    let (day, recordset_id) = hit.id.split_once(':')?;
                    let (day, recordset_id) = (day.parse().ok()?, recordset_id.parse().ok()?);
                    // The same day and recordset in another spelling are another document.
                    (daily::id(recordset_id, day) == hit.id).then_some((
                        &*hit.id,
                        day,
                        recordset_id,
                    ))
                })
                .collect();
            reader.existing_days(&named, through).await
        }
        Projection::Totals => {
            let named: Vec<(&str, uuid::Uuid)> = hits
                .iter()
                .filter_map(|hit| {
                    let recordset_id: uuid::Uuid = hit.id.parse().ok()?;
                    (recordset_id.to_string() == hit.id).then_some((&*hit.id, recordset_id))
                })
                .collect();
            reader.existing_recordsets(&named, through).await
        }
        Projection::Terms => {
            let keys = hits.iter().filter_map(|hit| {
                let key = Key::of_source(&hit.source)?;
                let ours =
                    key.id() == hit.id && plan.terms.covers(key.dimension, key.cell.stat_type);
                let Key {
                    cell,
                    dimension,
                    term,
                } = key;
                ours.then(|| NamedTerm {
                    id: hit.id.to_string(),
                    cell,
                    dimension: dimension.name(),
                    term,
                })
            });
            reader
                .existing_terms(&keys.collect::<Vec<_>>(), through)
                .await
        }
    }
}

async fn delete_document(client: &Client, physical: &str, id: &str) -> Result<(), Error> {
    let what = format!("deleting document {id} of {physical}, which the ledger does not make");
    let id: String = url::form_urlencoded::byte_serialize(id.as_bytes())
        .collect::<String>()
        .replace('+', "%20");
    let path = format!("/{physical}/_doc/{id}");
    let answer = client
        .send(Method::Delete, &path, None)
        .await
        .map_err(|error| error.during(&what))?;
    if answer.is_success() || answer.status == 404 {
        Ok(())
    } else {
        Err(answer.error(&what))
    }
}
