//! Keeping the events that no rule can count, whole, beside the entry that met them.

use crate::event::Rejection;
use crate::event::source::DaySnapshot;
use crate::failure::Failure;
use crate::ledger::post::{Posting, RejectedEvent};
use crate::ledger::read::Reader;

/// Rows that are in memory at a time.
const BATCH: usize = 100;

/// Keeps those that the ledger does not hold yet, with their rows.
pub(super) async fn keep(
    snapshot: &mut DaySnapshot<'_>,
    reader: &mut Reader,
    posting: &mut Posting,
    mut rejections: Vec<Rejection>,
) -> Result<(), Failure> {
    if rejections.is_empty() {
        return Ok(());
    }
    let day = snapshot.day();
    let kept = reader.rejected_of(day).await?;
    rejections.retain(|rejection| !kept.contains(&rejection.source_id));
    rejections.sort_by_key(|rejection| rejection.source_id);
    for batch in rejections.chunks(BATCH) {
        let ids: Vec<i64> = batch.iter().map(|rejection| rejection.source_id).collect();
        let mut rows = snapshot.keep(&ids).await?;
        let mut events = Vec::with_capacity(batch.len());
        for Rejection { source_id, reason, message } in batch {
            let Some(place) = rows.iter().position(|row| row.source_id == *source_id) else {
                return Err(Failure::failed(format!(
                    "event {source_id} of {day} cannot be read a second time: nothing was posted"
                )));
            };
            events.push(RejectedEvent {
                source_id: *source_id,
                reason: *reason,
                message,
                row: rows.swap_remove(place).json,
            });
        }
        posting.keep_rejected(&events).await?;
    }
    Ok(())
}
