//! The documents of `stats-totals`: one per recordset, its all-time counts. Pure.

use uuid::Uuid;

use super::json::put;
use crate::elastic::bulk::Batch;
use crate::event::{RecordType, StatType};
use crate::ledger::EntryId;
use crate::ledger::read::CellTotal;

/// The cells of a document, in the order in which it has them.
pub(super) const CELLS: [(RecordType, [StatType; 5]); 2] =
    [(RecordType::Records, StatType::ALL), (RecordType::Mediarecords, StatType::ALL)];

/// Writes the document of a recordset, from what its cells stand at. Nothing if it has no cell.
///
/// Its version is the last entry among them.
pub fn write(batch: &mut Batch, recordset_id: Uuid, cells: &[CellTotal]) {
    let Some(first_day) = cells.iter().map(|cell| cell.first_day).min() else { return };
    let Some(last_day) = cells.iter().map(|cell| cell.last_day).max() else { return };
    let entry_id = cells.iter().map(|cell| cell.entry_id).max().unwrap_or(EntryId::NONE);
    batch.push(&recordset_id.to_string(), entry_id.number(), |out| {
        put(out, format_args!(r#"{{"recordset_id":"{recordset_id}","#));
        put(out, format_args!(r#""first_day":"{first_day}","last_day":"{last_day}","entry_id":{entry_id}"#));
        for (record_type, stat_types) in CELLS {
            put(out, format_args!(r#","{}":{{"#, record_type.name()));
            for (place, stat_type) in stat_types.into_iter().enumerate() {
                let total = cells
                    .iter()
                    .find(|total| total.cell.record_type == record_type && total.cell.stat_type == stat_type);
                let (count, total) = total.map_or((0, 0), |total| (total.count, total.total));
                let comma = if place > 0 { "," } else { "" };
                put(out, format_args!(r#"{comma}"{}":{{"count":{count},"total":{total}}}"#, stat_type.name()));
            }
            out.push(b'}');
        }
        out.push(b'}');
    });
}
