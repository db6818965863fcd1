//! Advances the projections: writes the documents that new entries touch, then moves the checkpoint.
//!
//! Input is the ledger alone. Repeats safely: a crash before the checkpoint is moved means that the same documents are
//! written again, with the same versions.

use std::time::Duration;

use serde::Serialize;

use super::documents::{Entries, Sink, stream};
use super::fold::{Fold, LookedUp};
use super::{Kind, Plan, serving_settings};
use crate::clock::Stopwatch;
use crate::elastic::Client;
use crate::elastic::bulk::{Batch, BulkWriter, Written};
use crate::elastic::index::{self, Checkpoint, Index};
use crate::failpoint;
use crate::failure::Failure;
use crate::ledger::read::Reader;
use crate::ledger::{EntryId, Ledger};

/// What an advance did.
#[derive(Clone, Debug, Serialize)]
pub struct Advanced {
    /// The projection.
    pub projection: Kind,
    /// The name that readers use.
    pub alias: String,
    /// The index behind it.
    pub index: String,
    /// The last entry it contained before.
    pub from: EntryId,
    /// The last entry it contains now.
    pub through: EntryId,
    /// The documents.
    #[serde(flatten)]
    pub written: Written,
    /// What it cost to know how the documents stood, where they are added to.
    #[serde(flatten)]
    pub looked_up: LookedUp,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "crate::output::as_seconds")]
    pub duration: Duration,
}

impl Sink for BulkWriter {
    fn batch(&mut self) -> &mut Batch {
        BulkWriter::batch(self)
    }

    async fn take(&mut self) -> Result<(), Failure> {
        self.send_if_full().await
    }
}

/// Advances a projection to the head of the ledger.
pub async fn advance(
    kind: Kind,
    plan: &Plan,
    ledger: &Ledger,
    reader: &mut Reader,
    client: &Client,
) -> Result<Advanced, Failure> {
    let stopwatch = Stopwatch::start();
    let alias = plan.alias(kind);
    let mut index = open(kind, plan, ledger, client, &alias).await?;
    check_history(&index, reader).await?;
    failpoint::reach("advance.opened");
    let from = index.checkpoint.applied_through;
    let mut writer = BulkWriter::to_alias(client, &alias);
    let mut looked_up = LookedUp::default();
    let written = advance_index(kind, plan, reader, client, &mut index, &mut writer, &mut looked_up).await?;
    let through = index.checkpoint.applied_through;
    Ok(Advanced {
        projection: kind,
        alias,
        index: index.physical,
        from,
        through,
        written,
        looked_up,
        duration: stopwatch.elapsed(),
    })
}

/// Advances an index to the head of the ledger, through a writer that leads to it.
pub(super) async fn advance_index(
    kind: Kind,
    plan: &Plan,
    reader: &mut Reader,
    client: &Client,
    index: &mut Index,
    writer: &mut BulkWriter,
    looked_up: &mut LookedUp,
) -> Result<Written, Failure> {
    let from = index.checkpoint.applied_through;
    let head = reader.head().await?;
    if from >= head {
        return Ok(Written::default());
    }
    tracing::info!(index = index.physical, from = from.number(), through = head.number(), "advancing");
    if kind == Kind::Terms {
        for entry_id in from.through(head) {
            let mut fold = Fold { scope: &plan.terms, client, index: &index.physical, writer, looked_up };
            fold.add_entry(reader, entry_id).await?;
            failpoint::reach("advance.entry_folded");
            record(index, reader, client, entry_id).await?;
        }
    } else {
        stream(kind, &plan.terms, reader, Entries { after: from, through: head }, writer).await?;
    }
    let written = writer.flush().await?;
    failpoint::reach("advance.documents_written");
    index.refresh(client).await?;
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
) -> Result<(), Failure> {
    index.checkpoint.entry_hash = reader.entry_hash(applied_through).await?;
    index.checkpoint.applied_through = applied_through;
    index.record(client).await
}

/// The index behind the alias, created if there is none.
async fn open(kind: Kind, plan: &Plan, ledger: &Ledger, client: &Client, alias: &str) -> Result<Index, Failure> {
    let shape = plan.shape(kind);
    let index = if let Some(index) = index::find(client, alias).await? {
        index
    } else {
        let checkpoint = Checkpoint {
            ledger_id: ledger.ledger_id,
            generation: index::next_generation(client, alias).await?,
            applied_through: EntryId::NONE,
            entry_hash: None,
            shape: shape.clone(),
            building: None,
        };
        index::create(client, alias, checkpoint, kind.mapping(), &serving_settings(1), true).await?
    };
    index.check_ledger(ledger.ledger_id)?;
    index.check_shape(shape.as_ref())?;
    Ok(index)
}

/// Refuses an index that contains entries which this ledger does not have.
pub async fn check_history(index: &Index, reader: &mut Reader) -> Result<(), Failure> {
    const HINT: &str = "the ledger was restored to an older state: restore the newer one, or make the index anew from this one with `daybook rebuild`";
    let Checkpoint { applied_through, ref entry_hash, .. } = index.checkpoint;
    let head = reader.head().await?;
    let (physical, alias) = (&index.physical, &index.alias);
    if applied_through > head {
        let what = format!(
            "the index {physical} behind {alias} contains entries up to {applied_through}, the ledger ends at {head}"
        );
        return Err(Failure::failed(what).hint(HINT));
    }
    if entry_hash.is_some() && *entry_hash != reader.entry_hash(applied_through).await? {
        let what =
            format!("the index {physical} behind {alias} contains another entry {applied_through} than the ledger");
        return Err(Failure::failed(what).hint(HINT));
    }
    Ok(())
}
