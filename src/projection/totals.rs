//! The documents of `stats-totals`: one per recordset, its all-time counts. Pure.

use std::convert::Infallible;

use uuid::Uuid;

use super::json::{put, put_number, put_uuid};
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
        put(out, r#"{"recordset_id":""#);
        put_uuid(out, recordset_id);
        put(out, r#"","first_day":""#);
        put(out, &first_day.to_string());
        put(out, r#"","last_day":""#);
        put(out, &last_day.to_string());
        put(out, r#"","entry_id":"#);
        put_number(out, entry_id.number());
        for (record_type, stat_types) in CELLS {
            let written: Result<(), Infallible> = put_cells(out, record_type, stat_types, |out, stat_type| {
                let of_cell =
                    |total: &&CellTotal| total.cell.record_type == record_type && total.cell.stat_type == stat_type;
                let (count, total) = cells.iter().find(of_cell).map_or((0, 0), |total| (total.count, total.total));
                put_sums(out, count, total);
                out.push(b'}');
                Ok(())
            });
            let Ok(()) = written;
        }
        out.push(b'}');
    });
}

/// Appends a record type with its cells, each of which `put_cell` appends.
pub(super) fn put_cells<E>(
    out: &mut Vec<u8>,
    record_type: RecordType,
    stat_types: [StatType; 5],
    mut put_cell: impl FnMut(&mut Vec<u8>, StatType) -> Result<(), E>,
) -> Result<(), E> {
    put(out, ",\"");
    put(out, record_type.name());
    put(out, "\":{");
    for (place, stat_type) in stat_types.into_iter().enumerate() {
        put(out, if place > 0 { ",\"" } else { "\"" });
        put(out, stat_type.name());
        put(out, "\":");
        put_cell(out, stat_type)?;
    }
    out.push(b'}');
    Ok(())
}

/// Begins a cell with its count and its total.
pub(super) fn put_sums(out: &mut Vec<u8>, count: i64, total: i64) {
    put(out, r#"{"count":"#);
    put_number(out, count);
    put(out, r#","total":"#);
    put_number(out, total);
}
