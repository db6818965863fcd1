//! An entry's rows as bytes: the binary COPY stream that loads them, and the hash that covers them.
//!
//! Both are made from the same text in one pass, so what is hashed is what is stored.

use sha2::{Digest as _, Sha256};

use super::row_hash::RowFields;
use super::{EntryId, map};
use crate::aggregate::{DayDeltas, DeltaRow, Overflow};
use crate::day::Day;

/// The columns of the COPY statement that takes the stream.
pub(super) const COPY_STATEMENT: &str = "COPY daybook.interaction_delta (recordset_id, record_type, stat_type, entry_id, \
     day, count, total, items, queries, geocodes, count_balance, total_balance, first_day, last_day) \
     FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 14;

/// Large enough to be worth a message, small enough to keep several in flight.
const CHUNK_BYTES: usize = 1 << 20;

/// What a cell stood at before the entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balance {
    pub(super) count: i64,
    pub(super) total: i64,
    pub(super) first_day: Day,
    pub(super) last_day: Day,
}

/// Encodes rows of an entry and hands the stream out in chunks; returns the state of the content hash after them.
///
/// `balances` stands beside the rows, `content` is the state of the hash before them. Stops early, without a word, if `hand_out` says that nobody listens any more.
pub(super) fn encode(
    entry_id: EntryId,
    day: Day,
    deltas: &DayDeltas,
    balances: &[Option<Balance>],
    mut content: Sha256,
    mut hand_out: impl FnMut(Vec<u8>) -> bool,
) -> Result<Sha256, Overflow> {
    let mut chunk = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let mut scratch = Scratch::default();
    for (row, before) in deltas.rows().iter().zip(balances) {
        let balance = advance(day, row, *before).ok_or(Overflow(row.cell))?;
        scratch.fill_maps(deltas, row);
        content.update(scratch.hash(day, row, balance));
        scratch.append_tuple(&mut chunk, entry_id, day, row, balance);
        if chunk.len() >= CHUNK_BYTES && !hand_out(std::mem::take(&mut chunk)) {
            break;
        }
    }
    chunk.extend((-1_i16).to_be_bytes());
    hand_out(chunk);
    Ok(content)
}

/// The balance after a row; nothing where it overflows.
fn advance(day: Day, row: &DeltaRow, before: Option<Balance>) -> Option<Balance> {
    let before = before.unwrap_or(Balance { count: 0, total: 0, first_day: day, last_day: day });
    Some(Balance {
        count: before.count.checked_add(row.count)?,
        total: before.total.checked_add(row.total)?,
        first_day: before.first_day.min(day),
        last_day: before.last_day.max(day),
    })
}

/// Buffers that are used again for each row.
#[derive(Default)]
struct Scratch {
    maps: [Vec<u8>; 3],
    head: Vec<u8>,
}

impl Scratch {
    fn fill_maps(&mut self, deltas: &DayDeltas, row: &DeltaRow) {
        for (text, terms) in self.maps.iter_mut().zip(deltas.maps(row)) {
            text.clear();
            let mut map = map::Writer::new(text);
            terms.for_each(|term, n| map.put(term, n));
            map.finish();
        }
    }

    fn hash(&mut self, day: Day, row: &DeltaRow, balance: Balance) -> [u8; 32] {
        let fields = RowFields {
            recordset_id: row.cell.recordset_id,
            record_type: row.cell.record_type.name(),
            stat_type: row.cell.stat_type.name(),
            day,
            count: row.count,
            total: row.total,
            maps: [&self.maps[0], &self.maps[1], &self.maps[2]],
            count_balance: balance.count,
            total_balance: balance.total,
            first_day: balance.first_day,
            last_day: balance.last_day,
        };
        fields.hash(&mut self.head)
    }

    fn append_tuple(&self, chunk: &mut Vec<u8>, entry_id: EntryId, day: Day, row: &DeltaRow, balance: Balance) {
        // The version of jsonb's binary form, which is otherwise its text.
        const JSONB_VERSION: &[u8] = &[1];
        let date = |day: Day| day.postgres_days().to_be_bytes();
        chunk.extend(COLUMNS.to_be_bytes());
        append_field(chunk, &[row.cell.recordset_id.as_bytes()]);
        append_field(chunk, &[row.cell.record_type.name().as_bytes()]);
        append_field(chunk, &[row.cell.stat_type.name().as_bytes()]);
        append_field(chunk, &[&entry_id.number().to_be_bytes()]);
        append_field(chunk, &[&date(day)]);
        append_field(chunk, &[&row.count.to_be_bytes()]);
        append_field(chunk, &[&row.total.to_be_bytes()]);
        for text in &self.maps {
            append_field(chunk, &[JSONB_VERSION, text]);
        }
        append_field(chunk, &[&balance.count.to_be_bytes()]);
        append_field(chunk, &[&balance.total.to_be_bytes()]);
        append_field(chunk, &[&date(balance.first_day)]);
        append_field(chunk, &[&date(balance.last_day)]);
    }
}

fn append_field(chunk: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // A field of 2 GiB and more is refused by the server: it takes a jsonb of 256 MiB at the most.
    chunk.extend(i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
    for part in parts {
        chunk.extend_from_slice(part);
    }
}
