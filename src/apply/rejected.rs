//! Keeps rejected events whole, with the entry in which they were rejected.

use std::collections::HashSet;

use super::events::Events;
use crate::error::{Error, ErrorKind};
use crate::event::Rejection;
use crate::fold::{DeltaSets, Rejected};
use crate::ledger::Reader;
use crate::ledger::post::{Posting, RejectedEvent};
use crate::source::{DaySnapshot, KeptRow};

/// Number of events in a query.
const IDS_AT_A_TIME: usize = 1000;
/// Bytes of events in a batch to write. A single event may be larger.
const BATCH_BYTES: usize = 4 << 20;

/// Keeps those that the ledger does not have yet. `rejections` are those of events that were read from the source.
pub(super) async fn keep(
    events: &mut Events<'_>,
    reader: &mut Reader,
    posting: &mut Posting,
    rejections: Vec<Rejection>,
) -> Result<(), Error> {
    match events {
        Events::Source(snapshot) => keep_rows(snapshot, reader, posting, rejections).await,
        Events::Counted(sets) => keep_counted(sets, reader, posting).await,
    }
}

/// Keeps events that something else has rejected and written down whole.
async fn keep_counted(
    sets: &DeltaSets,
    reader: &mut Reader,
    posting: &mut Posting,
) -> Result<(), Error> {
    if sets.figures().rejected == 0 {
        return Ok(());
    }
    let mut known: HashSet<i64> = HashSet::from_iter(reader.rejected_of(sets.day()).await?);
    let mut rejected = sets.rejected();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(event) = rejected.next()? {
        if !known.insert(event.source_id) {
            continue;
        }
        bytes += event.event.len();
        batch.push(event);
        if bytes >= BATCH_BYTES {
            bytes = 0;
            posting.keep_rejected(&borrowed(&mut batch)).await?;
            batch.clear();
        }
    }
    posting.keep_rejected(&borrowed(&mut batch)).await
}

/// The events of a batch, without their rows from then on.
fn borrowed(batch: &mut [Rejected]) -> Vec<RejectedEvent<'_>> {
    let events = batch.iter_mut().map(|event| RejectedEvent {
        source_id: event.source_id,
        reason: event.reason,
        message: &event.message,
        row: std::mem::take(&mut event.event),
    });
    events.collect()
}

/// Reads the rows of rejected events again, and keeps them.
async fn keep_rows(
    snapshot: &mut DaySnapshot<'_>,
    reader: &mut Reader,
    posting: &mut Posting,
    mut rejections: Vec<Rejection>,
) -> Result<(), Error> {
    if rejections.is_empty() {
        return Ok(());
    }
    let day = snapshot.day();
    let kept = reader.rejected_of(day).await?;
    rejections.retain(|rejection| !kept.contains(&rejection.source_id));
    rejections.sort_by_key(|rejection| rejection.source_id);
    for rejections in rejections.chunks(IDS_AT_A_TIME) {
        let ids: Vec<i64> = rejections
            .iter()
            .map(|rejection| rejection.source_id)
            .collect();
        let (mut batch, mut bytes, mut read) = (Vec::new(), 0, 0);
        snapshot
            .keep(&ids, async |KeptRow { source_id, json }| {
                let Ok(place) = ids.binary_search(&source_id) else {
                    return Ok(());
                };
                let Rejection {
                    reason, message, ..
                } = &rejections[place];
                read += 1;
                bytes += json.len();
                batch.push(RejectedEvent {
                    source_id,
                    reason: *reason,
                    message,
                    row: json,
                });
                if bytes < BATCH_BYTES {
                    return Ok(());
                }
                bytes = 0;
                posting.keep_rejected(&std::mem::take(&mut batch)).await
            })
            .await?;
        if read != ids.len() {
            return Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "only {read} of {} rejected events of {day} could be read again: nothing was posted",
                    ids.len()
                ),
            ));
        }
        posting.keep_rejected(&batch).await?;
    }
    Ok(())
}
