//! Keeps rejected events whole, with the entry in which they were rejected.

use crate::error::Error;
use crate::event::Rejection;
use crate::ledger::Reader;
use crate::ledger::post::{Posting, RejectedEvent};
use crate::source::{DaySnapshot, KeptRow};

/// Number of events in a query.
const IDS_AT_A_TIME: usize = 1000;
/// Bytes of events in a batch to write. A single event may be larger.
const BATCH_BYTES: usize = 4 << 20;

/// Keeps those that the ledger does not have yet, with their rows.
pub(super) async fn keep(
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
            return Err(Error::failed(format!(
                "only {read} of {} rejected events of {day} could be read again: nothing was posted",
                ids.len()
            )));
        }
        posting.keep_rejected(&batch).await?;
    }
    Ok(())
}
