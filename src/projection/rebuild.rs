//! Rebuilds projections: makes new indices from the ledger, and switches all aliases in one call.
//!
//! The old indices serve readers until that call, the new ones after it. Entries can be posted in the meantime. The
//! rebuild catches up with them at the end; only then must other projecting wait. A rebuild that is killed leaves
//! indices that serve nobody; the next one deletes or resumes them (`resume`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::advance::{advance_index, record};
use super::aliases::{delete_old, refuse_concrete, switch};
use super::compare::{Comparing, Comparison, Part};
use super::day_streams::{DaySink as _, side_by_side};
use super::digest::SentDigest;
use super::documents::{Entries, stream, take_terms};
use super::fold::LookupStats;
use super::oversize::Oversize;
use super::progress::{Progress, SharedProgress};
use super::rebuild_days::{WriteDays, Writing, WrittenDays};
use super::shape::Shape;
use super::term_sums::TermSums;
use super::{Plan, Projection, settings, slices};
use crate::clock::{Stopwatch, timed};
use crate::elastic::Client;
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

/// A rebuild: what it reads, writes and reports to.
pub struct Rebuild<'a, P> {
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    pub client: &'a Client,
    pub options: RebuildOptions,
    pub progress: P,
}

impl<P: Progress + Send + 'static> Rebuild<'_, P> {
    /// Rebuilds the projections and switches their aliases.
    pub async fn run(self, run: &mut Run) -> Result<Vec<Rebuilt>, Error> {
        for kind in &self.options.kinds {
            refuse_concrete(self.client, &self.plan.alias(*kind)).await?;
        }
        let mut builder = self.builder().await?;
        let mut built = self.build(&mut builder).await?;
        failpoint::reach("rebuild.compared");
        // From here on no other run projects.
        run.lock_projections().await?;
        let mut rebuilt = Vec::new();
        for one in &mut built {
            rebuilt.push(builder.complete(one).await?);
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

    async fn builder(&self) -> Result<Builder<'_, P>, Error> {
        Ok(Builder {
            plan: self.plan,
            ledger: self.ledger,
            client: self.client,
            reader: Reader::open(self.ledger, "daybook rebuilding").await?,
            progress: self.progress.another(),
        })
    }

    /// Makes the indices as of the ledger's newest entry, and compares them.
    ///
    /// Daily documents come first. While they are compared, the other indices are made; the terms from what was read for
    /// the daily documents.
    async fn build(&self, builder: &mut Builder<'_, P>) -> Result<Vec<Built>, Error> {
        let head = builder.reader.head().await?;
        let mut unfinished = VecDeque::new();
        for kind in &self.options.kinds {
            unfinished.push_back(builder.open(*kind, head, self.options.resume).await?);
        }
        let daily = unfinished.pop_front_if(|first| first.kind == Projection::Daily);
        let Some(mut daily) = daily else {
            return builder.build_each(unfinished, None).await;
        };
        let wants_terms = unfinished
            .iter()
            .any(|other| other.kind == Projection::Terms && other.lacks_the_same_as(&daily));
        let terms = builder.write_days(&mut daily, wants_terms).await?;
        let (daily, others) = if let Ok(mut beside) = self.builder().await {
            tokio::try_join!(beside.finish(daily), builder.build_each(unfinished, terms))?
        } else {
            // The server allows no more connections.
            let daily = builder.finish(daily).await?;
            (daily, builder.build_each(unfinished, terms).await?)
        };
        Ok([daily].into_iter().chain(others).collect())
    }
}

/// What makes indices, one at a time.
struct Builder<'a, P> {
    plan: &'a Plan,
    ledger: &'a Ledger,
    client: &'a Client,
    reader: Reader,
    progress: P,
}

/// An index that is being made.
struct Unfinished {
    kind: Projection,
    index: Index,
    building: Building,
    /// The digest of all documents, if this run has sent them all.
    sent: Option<SentDigest>,
    /// Time so far.
    duration: Duration,
}

impl Unfinished {
    /// Whether both lack all documents of the same entries.
    fn lacks_the_same_as(&self, other: &Self) -> bool {
        self.lacks_all() && other.lacks_all() && self.building.through == other.building.through
    }

    fn lacks_all(&self) -> bool {
        !self.building.complete && self.building.done_through_day.is_none()
    }
}

impl<P: Progress + Send + 'static> Builder<'_, P> {
    /// Writes what lacks documents, and finishes each.
    async fn build_each(
        &mut self,
        unfinished: VecDeque<Unfinished>,
        mut terms: Option<TermSums>,
    ) -> Result<Vec<Built>, Error> {
        let mut built = Vec::new();
        for mut one in unfinished {
            if !one.building.complete {
                let terms = terms.take_if(|_| one.kind == Projection::Terms);
                self.write_all(&mut one, terms).await?;
            }
            built.push(self.finish(one).await?);
        }
        Ok(built)
    }

    /// The index of an interrupted rebuild, if it can be resumed, or a new one.
    async fn open(
        &mut self,
        kind: Projection,
        head: EntryId,
        resume: bool,
    ) -> Result<Unfinished, Error> {
        let index = self.index_to_build(kind, head, resume).await?;
        let building = index.checkpoint.building.unwrap_or(Building {
            through: head,
            done_through_day: None,
            complete: true,
        });
        Ok(Unfinished {
            kind,
            index,
            building,
            sent: None,
            duration: Duration::ZERO,
        })
    }

    /// Writes the daily documents that are not there yet. Returns the terms, if they are wanted.
    async fn write_days(
        &mut self,
        daily: &mut Unfinished,
        add_terms: bool,
    ) -> Result<Option<TermSums>, Error> {
        if daily.building.complete {
            return Ok(None);
        }
        let stopwatch = Stopwatch::start();
        let building = daily.building;
        let entries = Entries {
            after: EntryId::NONE,
            through: building.through,
        };
        let mut days = self
            .reader
            .days_touched(entries.after, entries.through)
            .await?;
        days.retain(|touched| Some(touched.day) > building.done_through_day);
        let work = WriteDays {
            plan: self.plan,
            ledger: self.ledger,
            client: self.client,
            index: &mut daily.index,
            building,
            days,
            entries,
            add_terms,
        };
        let WrittenDays { sent, terms } = work.run(self.progress.another()).await?;
        daily.sent = building.done_through_day.is_none().then_some(sent);
        self.record_complete(daily).await?;
        daily.duration += stopwatch.elapsed();
        Ok(terms)
    }

    /// Writes all documents of another projection: those of terms from their sums, if there are.
    async fn write_all(
        &mut self,
        unfinished: &mut Unfinished,
        terms: Option<TermSums>,
    ) -> Result<(), Error> {
        let stopwatch = Stopwatch::start();
        let Unfinished { kind, index, .. } = &*unfinished;
        let entries = Entries {
            after: EntryId::NONE,
            through: unfinished.building.through,
        };
        let progress = Arc::new(SharedProgress::begin(
            self.progress.another(),
            &index.physical,
            None,
        ));
        let writer = BulkWriter::to_index(self.client, &index.physical, BULK_REQUESTS_IN_FLIGHT);
        let mut writing = Writing::new(writer, None, Arc::clone(&progress));
        if let Some(terms) = terms {
            take_terms(terms, &mut writing).await?;
        } else {
            stream(*kind, self.plan, &mut self.reader, entries, &mut writing).await?;
        }
        writing.end_block().await?;
        progress.end();
        let sent = writing.sent;
        unfinished.sent = Some(sent);
        self.record_complete(unfinished).await?;
        unfinished.duration += stopwatch.elapsed();
        Ok(())
    }

    /// Makes what was written durable, and records that nothing is missing.
    async fn record_complete(&mut self, unfinished: &mut Unfinished) -> Result<(), Error> {
        failpoint::reach("rebuild.documents_written");
        let Unfinished {
            index, building, ..
        } = unfinished;
        index.flush(self.client).await?;
        building.complete = true;
        index.checkpoint.building = Some(Building {
            done_through_day: None,
            ..*building
        });
        record(index, &mut self.reader, self.client, building.through).await
    }

    /// Lets an index serve again, compares it, and catches up with new entries.
    async fn finish(&mut self, unfinished: Unfinished) -> Result<Built, Error> {
        let stopwatch = Stopwatch::start();
        let Unfinished {
            kind,
            mut index,
            sent,
            duration,
            ..
        } = unfinished;
        failpoint::reach("rebuild.complete");
        index
            .set(self.client, &serving_again(self.plan.layout))
            .await?;
        let (mut compared_through, mut comparing) = (None, Duration::ZERO);
        if let Some(sent) = sent {
            timed(
                &mut comparing,
                self.compare_with_sent(kind, &mut index, &sent),
            )
            .await?;
            compared_through = Some(index.checkpoint.applied_through);
        }
        self.catch_up(kind, &mut index).await?;
        // The digest lacks what an interrupted rebuild sent and what was caught up with: then each document is
        // compared.
        if compared_through != Some(index.checkpoint.applied_through) {
            timed(&mut comparing, self.compare(kind, &mut index)).await?;
        }
        Ok(Built {
            kind,
            index,
            duration: duration + stopwatch.elapsed(),
            comparing,
        })
    }

    /// Returns the index of an interrupted rebuild, if it can be resumed. Otherwise deletes it and creates a new one.
    async fn index_to_build(
        &self,
        kind: Projection,
        through: EntryId,
        resume: bool,
    ) -> Result<Index, Error> {
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
            if resume && Shape::of(&index) == shape {
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

    /// Compares an index with the digest of what was sent to it. If they differ, compares each document to name the
    /// difference.
    async fn compare_with_sent(
        &mut self,
        kind: Projection,
        index: &mut Index,
        sent: &SentDigest,
    ) -> Result<(), Error> {
        index.refresh(self.client).await?;
        let through = index.checkpoint.applied_through;
        let slices = if kind == Projection::Daily {
            let days = self.reader.days_touched(EntryId::NONE, through).await?;
            slices::by_day(&days, sent.slices(side_by_side()))
        } else {
            vec![slices::whole()]
        };
        if sent
            .are_in(index, self.client, slices, self.progress.another())
            .await?
        {
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

    /// Compares each document with what the ledger produces. A node that died may have lost some, and they are written
    /// again; if documents differ after that, too, the index does not serve.
    async fn compare(&mut self, kind: Projection, index: &mut Index) -> Result<(), Error> {
        let repaired = self.compare_each(kind, index, true).await?;
        if repaired.differences() == 0 {
            return Ok(());
        }
        tracing::warn!(
            index = index.physical,
            documents = repaired.differences(),
            "documents were missing or different, and were written again"
        );
        let again = self.compare_each(kind, index, false).await?;
        refuse_differences(index, &again)
    }

    async fn compare_each(
        &mut self,
        kind: Projection,
        index: &mut Index,
        repair: bool,
    ) -> Result<Comparison, Error> {
        index.refresh(self.client).await?;
        let through = index.checkpoint.applied_through;
        let comparing = Comparing {
            kind,
            plan: self.plan,
            ledger: self.ledger,
            reader: &mut self.reader,
            client: self.client,
            index,
            through,
            part: Part::default(),
            repair,
            progress: self.progress.another(),
        };
        comparing.run().await
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

/// Nobody reads an index that is being built: no replicas, no refreshes. What it holds is made durable before that is
/// recorded, not with each request.
fn building_settings(layout: Layout) -> Value {
    settings(json!({
        "index.number_of_shards": layout.shards, "index.number_of_replicas": 0, "index.auto_expand_replicas": false,
        "index.refresh_interval": "-1", "index.translog.durability": "async",
    }))
}

/// Restores what `building_settings` turned off.
fn serving_again(layout: Layout) -> Value {
    let mut settings = layout.replicas.settings();
    for name in ["index.refresh_interval", "index.translog.durability"] {
        settings.insert(name.to_owned(), Value::Null);
    }
    settings.into()
}
