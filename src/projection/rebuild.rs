//! Rebuilds projections: makes new indices from the ledger, and switches all aliases in one call.
//!
//! The old indices serve readers until that call, the new ones after it. Entries can be posted in the meantime. The
//! rebuild catches up with them at the end; only then must other projecting wait. A rebuild that is killed leaves
//! indices that serve nobody; the next one deletes or resumes them (`resume`).

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::advance::{advance_index, record};
use super::aliases::{delete_old, refuse_concrete, switch};
use super::compare::{Comparing, Comparison, Part};
use super::digest::SentDigest;
use super::documents::{Entries, Sink, stream, stream_day};
use super::fold::LookupStats;
use super::oversize::Oversize;
use super::shape::Shape;
use super::{Plan, Projection, settings};
use crate::clock::{Stopwatch, timed};
use crate::elastic::Client;
use crate::elastic::batch::Batch;
use crate::elastic::bulk::BulkWriter;
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use crate::ledger::lock::Run;
use crate::ledger::{EntryId, Ledger, Reader};
use crate::projection::checkpoint::{Building, Checkpoint};
use crate::projection::index::{self, Index};
use crate::projection::layout::Layout;
use crate::projection::template::Design;

/// More do not make a rebuild faster.
const BULK_REQUESTS_IN_FLIGHT: usize = 3;

#[derive(Clone, Debug)]
pub struct RebuildOptions {
    pub kinds: Vec<Projection>,
    /// Generations to keep beside the one that serves.
    pub keep: usize,
    /// Resume an interrupted rebuild.
    pub resume: bool,
}

impl RebuildOptions {
    /// The defaults.
    pub fn of(kinds: Vec<Projection>) -> Self {
        Self {
            kinds,
            keep: 1,
            resume: false,
        }
    }
}

/// A projection that was rebuilt.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuilt {
    pub projection: Projection,
    /// The name that readers use.
    pub alias: String,
    /// The new index.
    pub index: String,
    /// The last entry it contains.
    pub through: EntryId,
    /// Its documents. All were compared with the ledger, except those that the last catching-up wrote.
    pub documents: u64,
    /// Time to build and compare.
    #[serde(rename = "seconds", serialize_with = "crate::text::as_seconds")]
    pub duration: Duration,
    /// Time to compare.
    #[serde(rename = "compare_seconds", serialize_with = "crate::text::as_seconds")]
    pub comparing: Duration,
}

/// Receives the progress of a rebuild.
pub trait Progress {
    /// A stage begins. `steps` is the number of its steps, if known.
    fn begin(&mut self, stage: &str, steps: Option<u64>);
    /// Reports the documents and steps done in this stage.
    fn at(&mut self, documents: u64, steps: u64);
    /// The stage is over.
    fn end(&mut self);
}

/// A rebuild: what it reads, writes and reports to.
pub struct Rebuild<'a, P> {
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    pub reader: Reader,
    pub client: &'a Client,
    pub options: RebuildOptions,
    pub progress: P,
}

/// Days between two marks from which an interrupted rebuild can be resumed.
const DAYS_BETWEEN_MARKS: u64 = if cfg!(debug_assertions) { 2 } else { 30 };

impl<P: Progress + Send> Rebuild<'_, P> {
    /// Rebuilds the projections and switches their aliases.
    pub async fn run(mut self, run: &mut Run) -> Result<Vec<Rebuilt>, Error> {
        for kind in self.options.kinds.clone() {
            refuse_concrete(self.client, &self.plan.alias(kind)).await?;
        }
        let mut built = Vec::new();
        for kind in self.options.kinds.clone() {
            built.push(self.build(kind).await?);
        }
        failpoint::reach("rebuild.compared");
        // From here on no other run projects.
        run.lock_projections().await?;
        let mut rebuilt = Vec::new();
        for one in &mut built {
            rebuilt.push(self.complete(one).await?);
        }
        let indices: Vec<Index> = built.into_iter().map(|built| built.index).collect();
        failpoint::reach("rebuild.before_switch");
        let mut served = Vec::new();
        for index in &indices {
            served.extend(index::behind(self.client, &index.alias).await?);
        }
        switch(self.client, &indices).await?;
        failpoint::reach("rebuild.switched");
        run.unlock_projections().await?;
        for index in &indices {
            delete_old(self.client, self.ledger, index, &served, self.options.keep).await?;
        }
        Ok(rebuilt)
    }

    /// Makes the index of a projection as of the ledger's newest entry, and compares it.
    async fn build(&mut self, kind: Projection) -> Result<Built, Error> {
        let stopwatch = Stopwatch::start();
        let mut index = self.index_to_build(kind).await?;
        let building = index.checkpoint.building.unwrap_or(Building {
            through: self.reader.head().await?,
            done_through_day: None,
            complete: true,
        });
        let sent = if building.complete {
            None
        } else {
            self.write_all(kind, &mut index, building).await?
        };
        failpoint::reach("rebuild.complete");
        index
            .set(self.client, &serving_again(self.plan.layout))
            .await?;
        let (mut compared_through, mut comparing) = (None, Duration::ZERO);
        if let Some(sent) = sent {
            timed(&mut comparing, self.compare_with_sent(kind, &index, &sent)).await?;
            compared_through = Some(index.checkpoint.applied_through);
        }
        self.catch_up(kind, &mut index).await?;
        // The digest lacks what an interrupted rebuild sent and what was caught up with: then each document is
        // compared.
        if compared_through != Some(index.checkpoint.applied_through) {
            timed(&mut comparing, self.compare(kind, &index)).await?;
        }
        Ok(Built {
            kind,
            index,
            duration: stopwatch.elapsed(),
            comparing,
        })
    }

    /// Returns the index of an interrupted rebuild, if it can be resumed. Otherwise deletes it and creates a new one.
    async fn index_to_build(&mut self, kind: Projection) -> Result<Index, Error> {
        let alias = self.plan.alias(kind);
        let shape = self.plan.shape(kind);
        let ours = |index: &Index| index.checkpoint.ledger_id == self.ledger.ledger_id;
        let design = Design {
            mapping: kind.mapping(),
            settings: building_settings(self.plan.layout),
            serving: false,
        };
        let left = index::generations(self.client, &alias).await?;
        for index in left
            .into_iter()
            .filter(|index| ours(index) && index.checkpoint.building.is_some())
            .rev()
        {
            if self.options.resume && Shape::of(&index) == shape {
                tracing::info!(index = index.physical, "resuming an interrupted rebuild");
                if index
                    .checkpoint
                    .building
                    .is_some_and(|building| !building.complete)
                {
                    index.read_back(self.client, &design).await?;
                }
                return Ok(index);
            }
            tracing::info!(
                index = index.physical,
                "deleting the index of an interrupted rebuild"
            );
            index::delete(self.client, &index.physical).await?;
        }
        let through = self.reader.head().await?;
        let checkpoint = Checkpoint {
            ledger_id: self.ledger.ledger_id,
            generation: index::next_generation(self.client, &alias).await?,
            applied_through: EntryId::NONE,
            entry_hash: None,
            shape: Some(json!(shape)),
            lists_omitted_from: None,
            building: Some(Building {
                through,
                done_through_day: None,
                complete: false,
            }),
        };
        index::create(self.client, &alias, checkpoint, &design).await
    }

    /// Writes the documents that are not there yet. Returns the digest of what was sent, if that is all of them.
    async fn write_all(
        &mut self,
        kind: Projection,
        index: &mut Index,
        mut building: Building,
    ) -> Result<Option<SentDigest>, Error> {
        let from_the_start = building.done_through_day.is_none();
        let oversize = Oversize::of(kind);
        let mut writer =
            BulkWriter::to_index(self.client, &index.physical, BULK_REQUESTS_IN_FLIGHT)
                .shortening(Oversize::shortening(oversize.as_ref()));
        let entries = Entries {
            after: EntryId::NONE,
            through: building.through,
        };
        let mut sent = if kind == Projection::Daily {
            let days = self
                .reader
                .days_touched(entries.after, entries.through)
                .await?;
            let left: Vec<_> = days
                .into_iter()
                .filter(|touched| Some(touched.day) > building.done_through_day)
                .collect();
            self.progress
                .begin(&index.physical, Some(left.len() as u64));
            let mut sink = Counted::new(&mut writer, &mut self.progress);
            for touched in left {
                stream_day(&mut self.reader, touched, entries, &mut sink).await?;
                sink.step();
                if sink.steps.is_multiple_of(DAYS_BETWEEN_MARKS) {
                    let written = sink.writer.flush().await?;
                    index
                        .checkpoint
                        .note_lists_omitted(written.lists_omitted_from);
                    failpoint::reach("rebuild.before_mark");
                    building.done_through_day = Some(touched.day);
                    index.checkpoint.building = Some(building);
                    index.record(self.client).await?;
                }
            }
            sink.sent
        } else {
            self.progress.begin(&index.physical, None);
            let mut sink = Counted::new(&mut writer, &mut self.progress);
            stream(kind, &self.plan.terms, &mut self.reader, entries, &mut sink).await?;
            sink.sent
        };
        let written = writer.flush().await?;
        index
            .checkpoint
            .note_lists_omitted(written.lists_omitted_from);
        if let Some(oversize) = oversize {
            sent.replace(oversize.replaced());
        }
        self.progress.end();
        failpoint::reach("rebuild.documents_written");
        index.checkpoint.building = Some(Building {
            complete: true,
            ..building
        });
        record(index, &mut self.reader, self.client, building.through).await?;
        Ok(from_the_start.then_some(sent))
    }

    /// Compares an index with the digest of what was sent to it. If they differ, compares each document to name the
    /// difference.
    async fn compare_with_sent(
        &mut self,
        kind: Projection,
        index: &Index,
        sent: &SentDigest,
    ) -> Result<(), Error> {
        index.refresh(self.client).await?;
        self.progress
            .begin(&format!("comparing {}", index.physical), None);
        let same = sent
            .are_in(index, self.client, |documents| {
                self.progress.at(documents, 0);
            })
            .await?;
        self.progress.end();
        if same {
            return Ok(());
        }
        tracing::warn!(
            index = index.physical,
            "the index differs from what was sent to it: comparing each document"
        );
        self.compare(kind, index).await?;
        // Only the form or the version of some documents differs.
        tracing::warn!(index = index.physical, "no document differs in its content");
        Ok(())
    }

    /// Compares each document with what the ledger produces.
    async fn compare(&mut self, kind: Projection, index: &Index) -> Result<(), Error> {
        index.refresh(self.client).await?;
        let through = index.checkpoint.applied_through;
        self.progress
            .begin(&format!("comparing {}", index.physical), None);
        let Self {
            plan,
            reader,
            client,
            progress,
            ..
        } = self;
        let comparing = Comparing {
            kind,
            plan,
            reader,
            client,
            index,
            through,
            part: Part::default(),
            repair: false,
        };
        let comparison = comparing
            .run(&mut |documents| progress.at(documents, 0))
            .await?;
        self.progress.end();
        refuse_differences(index, &comparison)
    }

    /// Catches up with the entries that were posted in the meantime.
    async fn catch_up(&mut self, kind: Projection, index: &mut Index) -> Result<(), Error> {
        let oversize = Oversize::of(kind);
        let mut writer =
            BulkWriter::to_index(self.client, &index.physical, BULK_REQUESTS_IN_FLIGHT)
                .shortening(Oversize::shortening(oversize.as_ref()));
        let mut looked_up = LookupStats::default();
        let Self {
            plan,
            reader,
            client,
            ..
        } = self;
        advance_index(
            kind,
            plan,
            reader,
            client,
            index,
            &mut writer,
            &mut looked_up,
        )
        .await
        .map(drop)
    }

    /// Catches up for the last time, so that the index can serve.
    async fn complete(&mut self, built: &mut Built) -> Result<Rebuilt, Error> {
        let Built {
            kind,
            index,
            duration,
            comparing,
        } = built;
        self.catch_up(*kind, index).await?;
        failpoint::reach("rebuild.caught_up");
        index.checkpoint.building = None;
        index.record(self.client).await?;
        Ok(Rebuilt {
            projection: *kind,
            alias: index.alias.clone(),
            index: index.physical.clone(),
            through: index.checkpoint.applied_through,
            documents: index.count(self.client).await?,
            duration: *duration,
            comparing: *comparing,
        })
    }
}

struct Built {
    kind: Projection,
    index: Index,
    duration: Duration,
    comparing: Duration,
}

/// Counts and hashes the documents that it passes on, and reports progress.
struct Counted<'a, P> {
    writer: &'a mut BulkWriter,
    progress: &'a mut P,
    steps: u64,
    sent: SentDigest,
}

impl<'a, P: Progress> Counted<'a, P> {
    fn new(writer: &'a mut BulkWriter, progress: &'a mut P) -> Self {
        Self {
            writer,
            progress,
            steps: 0,
            sent: SentDigest::default(),
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        self.progress.at(self.sent.documents(), self.steps);
    }
}

impl<P: Progress + Send> Sink for Counted<'_, P> {
    fn batch(&mut self) -> &mut Batch {
        self.writer.batch()
    }

    async fn take(&mut self) -> Result<(), Error> {
        if let Some(document) = self.writer.batch().last() {
            self.sent.add(document);
        }
        self.progress.at(self.sent.documents(), self.steps);
        self.writer.send_if_full().await
    }
}

fn refuse_differences(index: &Index, comparison: &Comparison) -> Result<(), Error> {
    if comparison.differences() == 0 {
        return Ok(());
    }
    let first: Vec<String> = comparison
        .findings
        .iter()
        .take(3)
        .map(ToString::to_string)
        .collect();
    Err(Error::new(ErrorKind::RebuildDiffers, format!(
        "the new index {} differs from the ledger in {} documents ({}); the old index keeps serving",
        index.physical,
        comparison.differences(),
        first.join("; ")
    ))
    .hint("somebody else is writing to it: stop them, then run `daybook rebuild` again"))
}

/// Nobody reads an index that is being built: no replicas, no refreshes.
fn building_settings(layout: Layout) -> Value {
    settings(json!({
        "index.number_of_shards": layout.shards, "index.number_of_replicas": 0, "index.auto_expand_replicas": false,
        "index.refresh_interval": "-1",
    }))
}

/// Restores what `building_settings` turned off.
fn serving_again(layout: Layout) -> Value {
    let mut settings = layout.replicas.settings();
    settings.insert("index.refresh_interval".to_owned(), Value::Null);
    settings.into()
}
