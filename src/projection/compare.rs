//! Compares an index with the ledger, document by document: finds missing and different documents, and counts extra ones.
//!
//! Comparing sums would not do: Elasticsearch sums in doubles. The expected documents are streamed from the ledger and
//! looked up by id.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::day_streams::{DaySink, stream_days};
use super::documents::{Entries, Sink, stream};
use super::extra::{self, Expected, for_each_extra};
use super::oversize::{Oversize, without_lists};
use super::progress::{Progress, SharedProgress};
use super::{Plan, Projection};
use crate::day::Period;
use crate::elastic::Client;
use crate::elastic::batch::Batch;
use crate::elastic::bulk::BulkWriter;
use crate::elastic::look_up::search_by_id;
use crate::error::{Error, ErrorKind};
use crate::ledger::{EntryId, Ledger, Reader};
use crate::projection::index::Index;

/// The result of a comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Expected documents that were compared.
    pub compared: u64,
    /// Of these, missing from the index.
    pub missing: u64,
    /// Of these, with different content.
    pub different: u64,
    /// Documents in the index that the ledger does not produce.
    pub extra: u64,
    /// Of all these, repaired.
    pub repaired: u64,
    /// The first missing, different and extra documents.
    pub findings: Vec<Finding>,
}

/// Documents that are named; all are counted.
const FINDINGS_KEPT: usize = 1000;

/// A document that differs from what the ledger produces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub defect: Defect,
    pub index: String,
    pub id: String,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// The index lacks it.
    Missing,
    /// Its content differs.
    Different,
    /// The ledger does not produce it.
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
    /// Documents that differ from the ledger.
    pub fn differences(&self) -> u64 {
        self.missing + self.different + self.extra
    }

    /// Adds what others have found.
    fn add(&mut self, others: Self) {
        self.compared += others.compared;
        self.missing += others.missing;
        self.different += others.different;
        self.extra += others.extra;
        self.repaired += others.repaired;
        self.findings.extend(others.findings);
        self.findings.truncate(FINDINGS_KEPT);
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

/// Which part of an index to compare: all of it by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Only daily documents of these days.
    pub period: Option<Period>,
    /// Only every n-th document.
    pub every: Option<u64>,
}

/// What to compare: an index with the ledger as of an entry.
pub struct Comparing<'a, P> {
    pub kind: Projection,
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    pub reader: &'a mut Reader,
    pub client: &'a Client,
    pub index: &'a mut Index,
    pub through: EntryId,
    pub part: Part,
    /// Rewrite documents that are missing or differ, and delete extra ones.
    pub repair: bool,
    pub progress: P,
}

impl<P: Progress + Send + 'static> Comparing<'_, P> {
    /// Compares: several days at the same time.
    pub async fn run(self) -> Result<Comparison, Error> {
        let Self {
            kind,
            plan,
            ledger,
            reader,
            client,
            index,
            through,
            part,
            repair,
            progress,
        } = self;
        // Documents are searched for.
        index.refresh(client).await?;
        let stage = format!("comparing {}", index.physical);
        let progress = Arc::new(SharedProgress::begin(progress, &stage, None));
        let every = part.every.unwrap_or(1).max(1);
        let passed = Arc::new(AtomicU64::new(0));
        let same_index = Arc::new(index.clone());
        let make = |_| Comparer {
            client: client.clone(),
            index: Arc::clone(&same_index),
            every,
            passed: Arc::clone(&passed),
            batch: Batch::default(),
            looking: JoinSet::new(),
            found: 0,
            repairs: repair.then(|| {
                let oversize = Oversize::of(kind);
                BulkWriter::to_index(client, &same_index.physical, 2)
                    .shortening(Oversize::shortening(oversize.as_ref()))
            }),
            lists_omitted_from: None,
            comparison: Comparison::default(),
            progress: Arc::clone(&progress),
        };
        let entries = Entries {
            after: EntryId::NONE,
            through,
        };
        let comparers = if kind == Projection::Daily {
            let mut days = reader.days_touched(entries.after, through).await?;
            days.retain(|touched| {
                part.period
                    .is_none_or(|period| period.contains(touched.day))
            });
            stream_days(ledger, days, entries, make, async |_, _| Ok(())).await?
        } else {
            let mut comparer = make(1);
            stream(kind, plan, reader, entries, &mut comparer).await?;
            comparer.end_block().await?;
            vec![comparer]
        };
        progress.end();
        let (mut found, mut lists_omitted_from) = (0, None);
        let mut comparison = Comparison::default();
        for comparer in comparers {
            found += comparer.found;
            lists_omitted_from = lists_omitted_from
                .into_iter()
                .chain(comparer.lists_omitted_from)
                .min();
            comparison.add(comparer.comparison);
        }
        if index.checkpoint.note_lists_omitted(lists_omitted_from) {
            index.record(client).await?;
        }
        // Only daily documents belong to a day.
        if every == 1 && (kind != Projection::Daily || part.period.is_none()) {
            let expected = Expected {
                kind,
                plan,
                reader,
                through,
            };
            look_for_extra(client, index, expected, found, repair, &mut comparison).await?;
        }
        if comparison.repaired > 0 {
            index.refresh(client).await?;
        }
        comparison.findings.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(comparison)
    }
}

/// Concurrent look-ups. Elasticsearch runs each with one thread per shard.
const LOOK_UPS_IN_FLIGHT: usize = 2;

struct Comparer<P> {
    client: Client,
    index: Arc<Index>,
    every: u64,
    /// Documents so far, of all comparers.
    passed: Arc<AtomicU64>,
    batch: Batch,
    /// Batches being looked up while the next one is filled.
    looking: JoinSet<Result<Looked, Error>>,
    /// Expected documents that the index has, also because they were repaired.
    found: u64,
    repairs: Option<BulkWriter>,
    /// The size of the smallest document that was repaired without its lists.
    lists_omitted_from: Option<u64>,
    comparison: Comparison,
    progress: Arc<SharedProgress<P>>,
}

impl<P: Progress + Send> Sink for Comparer<P> {
    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    async fn take(&mut self) -> Result<(), Error> {
        const BATCH: usize = 1000;
        const BATCH_BYTES: usize = 8 << 20;
        let passed = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if !passed.is_multiple_of(self.every) {
            self.batch.pop();
            return Ok(());
        }
        let full = self.batch.documents().len() >= BATCH || self.batch.bytes() >= BATCH_BYTES;
        if full { self.send_off().await } else { Ok(()) }
    }
}

/// The result of comparing a batch.
struct Looked {
    batch: Batch,
    /// Documents of the batch that the index has.
    found: u64,
    wrong: Vec<Wrong>,
}

/// A document that is missing or different.
struct Wrong {
    /// Its position in the batch.
    place: usize,
    defect: Defect,
    /// Its version in the index; 0 if it is missing.
    stored_version: i64,
}

/// Looks up the documents of a batch and compares them.
async fn look_at(client: &Client, index: &Index, batch: Batch) -> Result<Looked, Error> {
    let documents = batch.documents();
    let physical = &index.physical;
    let what = format!("looking up {} documents of {physical}", documents.len());
    let ids: Vec<&str> = batch.documents().map(|document| document.id).collect();
    let looked_up = search_by_id(client, physical, &ids, what).await?;
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

impl<P: Progress + Send + 'static> DaySink for Comparer<P> {
    fn end_day(&mut self) {}

    /// Waits until everything is compared and repaired.
    async fn end_block(&mut self) -> Result<(), Error> {
        if self.batch.documents().len() > 0 {
            self.send_off().await?;
        }
        while !self.looking.is_empty() {
            self.note_one().await?;
        }
        if let Some(repairs) = &mut self.repairs {
            self.lists_omitted_from = repairs.flush().await?.lists_omitted_from;
        }
        Ok(())
    }
}

impl<P: Progress> Comparer<P> {
    /// Starts comparing the batch.
    async fn send_off(&mut self) -> Result<(), Error> {
        while self.looking.len() >= LOOK_UPS_IN_FLIGHT {
            self.note_one().await?;
        }
        let batch = std::mem::take(&mut self.batch);
        let (client, index) = (self.client.clone(), Arc::clone(&self.index));
        self.looking
            .spawn(async move { look_at(&client, &index, batch).await });
        Ok(())
    }

    /// Records the result of one batch.
    async fn note_one(&mut self) -> Result<(), Error> {
        let Some(looked) = self.looking.join_next().await else {
            return Ok(());
        };
        let Looked {
            batch,
            found,
            wrong,
        } = looked.map_err(|error| {
            Error::new(ErrorKind::Internal, "a comparison was aborted").caused_by(error)
        })??;
        let compared = batch.documents().len() as u64;
        self.comparison.compared += compared;
        self.progress.add(compared, 0);
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
                self.found += u64::from(defect == Defect::Missing);
            }
        }
        Ok(())
    }
}

/// Looks for extra documents, when every expected one was compared, and so many of them were found.
async fn look_for_extra(
    client: &Client,
    index: &Index,
    expected: Expected<'_>,
    found: u64,
    repair: bool,
    comparison: &mut Comparison,
) -> Result<(), Error> {
    index.refresh(client).await?;
    // The index holds the expected documents that were found, and the extra ones.
    let there = index.count(client).await?;
    if there <= found {
        return Ok(());
    }
    let physical = &index.physical;
    let take = async |id: &str| {
        comparison.note(Defect::Extra, physical, id);
        if repair {
            extra::delete(client, physical, id).await?;
            comparison.repaired += 1;
        }
        Ok(())
    };
    for_each_extra(client, physical, expected, take).await?;
    let extra = comparison.extra;
    if found + extra < there {
        return Err(Error::new(ErrorKind::IndexEdited, format!(
            "{physical} holds {there} documents; of them {found} are expected and {extra} were found to be extra"
        ))
        .hint("somebody else is writing to it: stop them, then run the command again"));
    }
    Ok(())
}

/// Whether a stored document lacks its lists and is at least as large as one that the cluster refused.
fn is_same_without_lists(expected: &[u8], stored: &RawValue, index: &Index) -> bool {
    let from = index.checkpoint.lists_omitted_from;
    from.is_some_and(|from| expected.len() as u64 >= from)
        && without_lists(expected).is_some_and(|expected| is_same(&expected, stored))
}

fn is_same(expected: &[u8], stored: &RawValue) -> bool {
    if stored.get().as_bytes() == expected {
        return true;
    }
    // Elasticsearch keeps a document's bytes, unless an update rewrote them.
    let stored: Result<Value, _> = serde_json::from_str(stored.get());
    let expected: Result<Value, _> = serde_json::from_slice(expected);
    matches!((stored, expected), (Ok(stored), Ok(expected)) if stored == expected)
}
