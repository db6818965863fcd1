//! An entry's rows as bytes: the hash that covers them, and the binary COPY stream that loads them.
//!
//! Both are made from the same text in one pass, so what is hashed is what is stored.

use sha2::{Digest as _, Sha256};

use super::entry::EntryId;
use super::parts::{self, RemainingTerms};
use super::row_hash::RowFields;
use crate::aggregate::{DayDeltas, DeltaRow, Overflow};
use crate::day::Day;
use crate::event::PerDimension;

/// The statement that takes the stream.
pub(super) const COPY_STATEMENT: &str = "COPY daybook.interaction_delta (recordset_id, record_type, stat_type, entry_id, \
     day, count, total, items, queries, geocodes, count_balance, total_balance, first_day, last_day, part) \
     FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 15;

/// Large enough for a message of its own, small enough to keep several in flight.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// The balance of a cell before the entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balance {
    pub(super) count: i64,
    pub(super) total: i64,
    pub(super) first_day: Day,
    pub(super) last_day: Day,
}

/// What was made of the deltas of an entry.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The content hash after them.
    pub(super) content: Sha256,
    /// The number of rows: one for each part of a cell.
    pub(super) rows: u64,
}

/// Encodes rows of an entry, and passes the stream to `hand_out` in chunks.
///
/// `balances` has an element for each cell; `content` is the hash before these rows. Stops early, without an error, if
/// `hand_out` returns false because the receiver is gone.
pub(super) fn encode(
    entry_id: EntryId,
    day: Day,
    deltas: &DayDeltas,
    balances: &[Option<Balance>],
    content: Sha256,
    mut hand_out: impl FnMut(Vec<u8>) -> bool,
) -> Result<Encoded, Overflow> {
    let mut chunk = begin_stream();
    let encoded = for_each(day, deltas, balances, content, |fields| {
        append_tuple(&mut chunk, entry_id, fields);
        chunk.len() < CHUNK_BYTES || hand_out(std::mem::take(&mut chunk))
    })?;
    end_stream(&mut chunk);
    hand_out(chunk);
    Ok(encoded)
}

/// Passes the fields of each row to `take`, until it returns false.
pub(super) fn for_each(
    day: Day,
    deltas: &DayDeltas,
    balances: &[Option<Balance>],
    content: Sha256,
    mut take: impl FnMut(&RowFields<'_>) -> bool,
) -> Result<Encoded, Overflow> {
    let most_bytes = parts::most_bytes();
    let mut scratch = Scratch::default();
    let mut encoded = Encoded { content, rows: 0 };
    for (row, before) in deltas.rows().iter().zip(balances) {
        let balance = advance(day, row, *before).ok_or(Overflow(row.cell))?;
        let mut remaining = RemainingTerms::of(deltas, row, most_bytes);
        for part in 0.. {
            remaining.write_part(&mut scratch.maps);
            let fields = fields(day, row, balance, &scratch.maps, part);
            encoded.content.update(fields.hash(&mut scratch.line));
            encoded.rows += 1;
            if !take(&fields) {
                return Ok(encoded);
            }
            if remaining.are_none() {
                break;
            }
        }
    }
    Ok(encoded)
}

/// A new stream without tuples.
pub(super) fn begin_stream() -> Vec<u8> {
    b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec()
}

/// Ends a stream; `chunk` is its last part.
pub(super) fn end_stream(chunk: &mut Vec<u8>) {
    chunk.extend((-1_i16).to_be_bytes());
}

/// Appends the row with these fields to a stream.
pub(super) fn append_tuple(chunk: &mut Vec<u8>, entry_id: EntryId, fields: &RowFields<'_>) {
    // The binary form of jsonb is a version byte and the text.
    const JSONB_VERSION: &[u8] = &[1];
    let date = |day: Day| day.postgres_days().to_be_bytes();
    chunk.extend(COLUMNS.to_be_bytes());
    append_field(chunk, &[fields.recordset_id.as_bytes()]);
    append_field(chunk, &[fields.record_type.as_bytes()]);
    append_field(chunk, &[fields.stat_type.as_bytes()]);
    append_field(chunk, &[&entry_id.number().to_be_bytes()]);
    append_field(chunk, &[&date(fields.day)]);
    append_field(chunk, &[&fields.count.to_be_bytes()]);
    append_field(chunk, &[&fields.total.to_be_bytes()]);
    for (_, text) in fields.maps {
        append_field(chunk, &[JSONB_VERSION, text]);
    }
    append_field(chunk, &[&fields.count_balance.to_be_bytes()]);
    append_field(chunk, &[&fields.total_balance.to_be_bytes()]);
    append_field(chunk, &[&date(fields.first_day)]);
    append_field(chunk, &[&date(fields.last_day)]);
    append_field(chunk, &[&fields.part.to_be_bytes()]);
}

/// The balance after a row; none if it overflows.
pub(super) fn advance(day: Day, row: &DeltaRow, before: Option<Balance>) -> Option<Balance> {
    let before = before.unwrap_or(Balance {
        count: 0,
        total: 0,
        first_day: day,
        last_day: day,
    });
    Some(Balance {
        count: before.count.checked_add(row.count)?,
        total: before.total.checked_add(row.total)?,
        first_day: before.first_day.min(day),
        last_day: before.last_day.max(day),
    })
}

/// Buffers that are reused for each row.
#[derive(Default)]
struct Scratch {
    maps: PerDimension<Vec<u8>>,
    line: Vec<u8>,
}

/// The fields of a part of a row. The first part carries the row's sums.
fn fields<'a>(
    day: Day,
    row: &DeltaRow,
    balance: Balance,
    maps: &'a PerDimension<Vec<u8>>,
    part: i16,
) -> RowFields<'a> {
    let (count, total) = if part == 0 {
        (row.count, row.total)
    } else {
        (0, 0)
    };
    RowFields {
        recordset_id: row.cell.recordset_id,
        record_type: row.cell.record_type.name(),
        stat_type: row.cell.stat_type.name(),
        day,
        count,
        total,
        maps: maps.as_ref().map(Vec::as_slice),
        count_balance: balance.count,
        total_balance: balance.total,
        first_day: balance.first_day,
        last_day: balance.last_day,
        part,
    }
}

fn append_field(chunk: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // The server refuses a field of 2 GiB: it takes at most 256 MiB of jsonb. Only a single term can be that long.
    chunk.extend(i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
    for part in parts {
        chunk.extend_from_slice(part);
    }
}
