//! The documents of `stats-totals`: one per recordset, its all-time counts. Pure.

use uuid::Uuid;

use super::json::{put, put_name, put_number, put_uuid};
use crate::elastic::batch::Batch;
use crate::event::{RecordType, StatType};
use crate::ledger::{CellTotal, EntryId};

/// The cells of a document, in their order.
pub(super) const CELLS: [(RecordType, [StatType; StatType::ALL.len()]); 2] = [
    (RecordType::Records, StatType::ALL),
    (RecordType::Mediarecords, StatType::ALL),
];

/// Writes the document of a recordset from the totals of its cells, or nothing if there are none.
///
/// Its version is the newest entry among them.
pub fn write(batch: &mut Batch, recordset_id: Uuid, cells: &[CellTotal]) {
    let Some(first_day) = cells.iter().map(|cell| cell.first_day).min() else {
        return;
    };
    let Some(last_day) = cells.iter().map(|cell| cell.last_day).max() else {
        return;
    };
    let entry_id = cells
        .iter()
        .map(|cell| cell.entry_id)
        .max()
        .unwrap_or(EntryId::NONE);
    batch.push(&recordset_id.to_string(), entry_id.number(), |out| {
        put(out, r#"{"recordset_id":""#);
        put_uuid(out, recordset_id);
        put(out, r#"","first_day":""#);
        put(out, &first_day.to_string());
        put(out, r#"","last_day":""#);
        put(out, &last_day.to_string());
        put(out, r#"","entry_id":"#);
        put_number(out, entry_id.number());
        for (record_type, stat_types) in CELLS {
            put_name(out, ",", record_type.name());
            for (place, stat_type) in stat_types.into_iter().enumerate() {
                put_name(out, if place > 0 { "," } else { "{" }, stat_type.name());
                let total = cells.iter().find(|total| {
                    total.cell.record_type == record_type && total.cell.stat_type == stat_type
                });
                let (count, total) = total.map_or((0, 0), |total| (total.count, total.total));
                put_sums(out, count, total);
                out.push(b'}');
            }
            out.push(b'}');
        }
        out.push(b'}');
    });
}

/// Begins a cell with its count and total.
pub(super) fn put_sums(out: &mut Vec<u8>, count: i64, total: i64) {
    put(out, r#"{"count":"#);
    put_number(out, count);
    put(out, r#","total":"#);
    put_number(out, total);
}
