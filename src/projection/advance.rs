//! Advances the projections: writes the documents that new entries touch, then moves the checkpoint.
//!
//! It reads only the ledger; the newest entry may still be in memory. It can be repeated: after a crash before the
//! checkpoint moved, the same documents are written again with the same versions.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::documents::{Entries, Sink, stream};
use super::fold::{Fold, LookupStats};
use super::oversize::Oversize;
use super::{Plan, Projection};
use crate::clock::Stopwatch;
use crate::elastic::Client;
use crate::elastic::batch::Batch;
use crate::elastic::bulk::{BulkWriter, Written};
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use crate::ledger::{EntryId, Ledger, Reader};
use crate::projection::checkpoint::Checkpoint;
use crate::projection::index::{self, Index};

/// The result of an advance.
#[derive(Clone, Debug, Serialize)]
pub struct Advanced {
    pub projection: Projection,
    /// The name that readers use.
    pub alias: String,
    /// The index behind the alias.
    pub index: String,
    /// The last entry that the index contained before.
    pub from: EntryId,
    /// The last entry that it contains now.
    pub through: EntryId,
    #[serde(flatten)]
    pub written: Written,
    /// The look-ups of stored documents, in `stats-terms` only.
    #[serde(flatten)]
    pub looked_up: LookupStats,
    #[serde(rename = "seconds", serialize_with = "crate::text::as_seconds")]
    pub duration: Duration,
}

impl Sink for BulkWriter {
    fn batch(&mut self) -> &mut Batch {
        BulkWriter::batch(self)
    }

    async fn take(&mut self) -> Result<(), Error> {
        self.send_if_full().await
    }
}

/// Time between two checkpoints while many entries are folded.
const BETWEEN_RECORDS: Duration = Duration::from_secs(30);

/// An index that lacks fewer entries is always advanced.
const MANY_ENTRIES: i64 = 30;

/// What to do with an index that lacks nearly all of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfLackingMost {
    /// Leave it to a rebuild, which writes each document once. An advance writes it once for each entry that touches
    /// it.
    Leave,
    /// Advance it.
    Advance,
}

/// Advances a projection to the head of the ledger. Returns `None` if it is left to a rebuild.
pub async fn advance(
    kind: Projection,
    plan: &Plan,
    ledger: &Ledger,
    reader: &mut Reader,
    client: &Client,
    if_lacking_most: IfLackingMost,
) -> Result<Option<Advanced>, Error> {
    let stopwatch = Stopwatch::start();
    let alias = plan.alias(kind);
    let found = index::find(client, &alias).await?;
    if let Some(index) = &found {
        check_index(index, kind, plan, ledger, reader).await?;
    }
    let from = found
        .as_ref()
        .map_or(EntryId::NONE, |index| index.checkpoint.applied_through);
    if if_lacking_most == IfLackingMost::Leave && lacks_most(from, reader).await? {
        return Ok(None);
    }
    let mut index = match found {
        Some(index) => {
            // A run that was killed may have left the index without checking it.
            if index.checkpoint.applied_through == EntryId::NONE {
                index.read_back(client, &plan.serving_design(kind)).await?;
            }
            index
        }
        None => create(kind, plan, ledger, client, &alias).await?,
    };
    if index.checkpoint.applied_through == EntryId::NONE {
        // Resets what a template may have set. A value given when the index is created would not count as the default.
        index
            .set(client, &json!({ "index.refresh_interval": null }))
            .await?;
    }
    failpoint::reach("advance.opened");
    let oversize = Oversize::of(kind);
    let mut writer =
        BulkWriter::to_alias(client, &alias).shortening(Oversize::shortening(oversize.as_ref()));
    let mut looked_up = LookupStats::default();
    let written = advance_index(
        kind,
        plan,
        reader,
        client,
        &mut index,
        &mut writer,
        &mut looked_up,
    )
    .await?;
    let through = index.checkpoint.applied_through;
    Ok(Some(Advanced {
        projection: kind,
        alias,
        index: index.physical,
        from,
        through,
        written,
        looked_up,
        duration: stopwatch.elapsed(),
    }))
}

/// Whether an index with the entries up to `through` lacks many others, with at least nine tenths of the ledger's rows.
///
/// With fewer entries a rebuild gains nothing: when 29 days were missing, an advance took 8.1 s and a rebuild 10.0 s,
/// comparing included. With 29 other days already in the index it was 8.5 s and 18.9 s.
async fn lacks_most(through: EntryId, reader: &mut Reader) -> Result<bool, Error> {
    if reader.head().await?.number() - through.number() < MANY_ENTRIES {
        return Ok(false);
    }
    let rows = reader.delta_rows_after(through).await?;
    Ok(rows.after > 0 && rows.after.saturating_mul(10) >= rows.all.saturating_mul(9))
}

/// Advances an index to the head of the ledger, through a writer to that index.
pub(super) async fn advance_index(
    kind: Projection,
    plan: &Plan,
    reader: &mut Reader,
    client: &Client,
    index: &mut Index,
    writer: &mut BulkWriter,
    looked_up: &mut LookupStats,
) -> Result<Written, Error> {
    let from = index.checkpoint.applied_through;
    let head = reader.head().await?;
    if from >= head {
        return Ok(Written::default());
    }
    tracing::info!(
        index = index.physical,
        from = from.number(),
        through = head.number(),
        "advancing"
    );
    if kind == Projection::Terms {
        // Each checkpoint creates a new cluster state, so it moves only when a crash would repeat many look-ups.
        let mut recorded = Stopwatch::start();
        for entry_id in reader.entries_with_rows(from, head).await? {
            let mut fold = Fold {
                plan,
                client,
                index: &*index,
                writer,
                looked_up,
            };
            fold.add_entry(reader, entry_id).await?;
            failpoint::reach("advance.entry_folded");
            if recorded.elapsed() >= BETWEEN_RECORDS {
                record(index, reader, client, entry_id).await?;
                recorded = Stopwatch::start();
            }
        }
    } else {
        stream(
            kind,
            plan,
            reader,
            Entries {
                after: from,
                through: head,
            },
            writer,
        )
        .await?;
    }
    let written = writer.flush().await?;
    index
        .checkpoint
        .note_lists_omitted(written.lists_omitted_from);
    failpoint::reach("advance.documents_written");
    if written.bytes > 0 {
        index.refresh(client).await?;
    }
    record(index, reader, client, head).await?;
    failpoint::reach("advance.recorded");
    Ok(written)
}

/// Moves the checkpoint.
pub(super) async fn record(
    index: &mut Index,
    reader: &mut Reader,
    client: &Client,
    applied_through: EntryId,
) -> Result<(), Error> {
    index.checkpoint.entry_hash = reader.entry_hash(applied_through).await?;
    index.checkpoint.applied_through = applied_through;
    index.record(client).await
}

/// Creates the index behind the alias.
async fn create(
    kind: Projection,
    plan: &Plan,
    ledger: &Ledger,
    client: &Client,
    alias: &str,
) -> Result<Index, Error> {
    let checkpoint = Checkpoint {
        ledger_id: ledger.ledger_id,
        generation: index::next_generation(client, alias).await?,
        applied_through: EntryId::NONE,
        entry_hash: None,
        shape: Some(json!(plan.shape(kind))),
        lists_omitted_from: None,
        building: None,
    };
    index::create(client, alias, checkpoint, &plan.serving_design(kind)).await
}

/// Refuses an index of another ledger, or of another shape than the settings require.
pub async fn check_index(
    index: &Index,
    kind: Projection,
    plan: &Plan,
    ledger: &Ledger,
    reader: &mut Reader,
) -> Result<(), Error> {
    index.check_ledger(ledger.ledger_id)?;
    plan.check_shape(kind, index)?;
    check_history(index, reader).await
}

/// Refuses an index that contains entries that this ledger does not have.
async fn check_history(index: &Index, reader: &mut Reader) -> Result<(), Error> {
    const HINT: &str = "the ledger was restored to an older state: restore the newer one, or rebuild the index from this one with `daybook rebuild`";
    let Checkpoint {
        applied_through,
        entry_hash,
        ..
    } = index.checkpoint;
    let head = reader.head().await?;
    let (physical, alias) = (&index.physical, &index.alias);
    if applied_through > head {
        let what = format!(
            "the index {physical} behind {alias} contains entries up to {applied_through}, the ledger ends at {head}"
        );
        return Err(Error::new(ErrorKind::IndexAhead, what).hint(HINT));
    }
    if entry_hash.is_some() && entry_hash != reader.entry_hash(applied_through).await? {
        let what = format!(
            "the index {physical} behind {alias} contains an entry {applied_through} that differs from the ledger's"
        );
        return Err(Error::new(ErrorKind::IndexAhead, what).hint(HINT));
    }
    Ok(())
}
