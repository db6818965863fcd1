//! The documents of `stats`: one per recordset and day, in the format of the old index. Pure.

use std::borrow::Cow;

use uuid::Uuid;

use super::copied::put_list;
use super::json::{put, put_name, put_number, put_string, put_uuid};
use super::totals::{CELLS, put_sums};
use crate::aggregate::terms::jsonb_order;
use crate::day::Day;
use crate::elastic::batch::Batch;
use crate::error::{Error, ErrorKind};
use crate::event::{Dimension, PerDimension};
use crate::ledger::map::TermMap;
use crate::ledger::{EntryId, StoredRow, StoredTerms};

/// The id of the document of a recordset and day.
pub fn id(recordset_id: Uuid, day: Day) -> String {
    format!("{day}:{recordset_id}")
}

/// Writes the document of a recordset and day: the net of all its rows of that day.
///
/// Its version is the newest entry among them.
pub fn write(
    batch: &mut Batch,
    recordset_id: Uuid,
    day: Day,
    rows: &[StoredRow],
) -> Result<(), Error> {
    let entry_id = rows
        .iter()
        .map(|row| row.entry_id)
        .max()
        .unwrap_or(EntryId::NONE);
    batch.try_push(&id(recordset_id, day), entry_id.number(), |out| {
        put_head(out, recordset_id, day, entry_id);
        for (record_type, stat_types) in CELLS {
            put_name(out, ",", record_type.name());
            for (place, stat_type) in stat_types.into_iter().enumerate() {
                put_name(out, if place > 0 { "," } else { "{" }, stat_type.name());
                let rows = rows.iter().filter(|row| {
                    row.cell.record_type == record_type && row.cell.stat_type == stat_type
                });
                put_cell(out, recordset_id, day, rows)?;
            }
            out.push(b'}');
        }
        out.push(b'}');
        Ok(())
    })
}

/// Begins a document, with the fields before its cells.
pub(super) fn put_head(out: &mut Vec<u8>, recordset_id: Uuid, day: Day, entry_id: EntryId) {
    put(out, r#"{"recordset_id":""#);
    put_uuid(out, recordset_id);
    put(out, r#"","harvest_date":""#);
    put(out, &day.next().to_string());
    put(out, r#"","day":""#);
    put(out, &day.to_string());
    put(out, r#"","entry_id":"#);
    put_number(out, entry_id.number());
}

fn put_cell<'a>(
    out: &mut Vec<u8>,
    recordset_id: Uuid,
    day: Day,
    rows: impl Iterator<Item = &'a StoredRow> + Clone,
) -> Result<(), Error> {
    let mut several = rows.clone();
    if let (Some(only), None) = (several.next(), several.next()) {
        let begin = out.len();
        if put_row(
            out,
            only.count,
            only.total,
            PerDimension::try_from_fn(|dimension| only.terms(dimension))?,
        )
        .is_some()
        {
            return Ok(());
        }
        out.truncate(begin);
    }
    Net::of(rows, recordset_id, day)?.put(out);
    Ok(())
}

/// Writes a cell that has one row: the document lists the same terms.
fn put_row(
    out: &mut Vec<u8>,
    count: i64,
    total: i64,
    terms: PerDimension<StoredTerms<'_>>,
) -> Option<()> {
    put_sums(out, count, total);
    for (dimension, terms) in terms {
        put_name(out, ",", dimension.name());
        match terms {
            StoredTerms::Text(map) => put_list(out, map, dimension)?,
            StoredTerms::Counted(counts) => {
                let mut list = List::begin(out, dimension);
                counts.for_each(|term, n| list.put(term, n));
                list.end();
            }
        }
    }
    out.push(b'}');
    Some(())
}

/// The net of a cell on a day.
#[derive(Default)]
struct Net<'a> {
    count: i64,
    total: i64,
    maps: PerDimension<TermMap<'a>>,
}

impl<'a> Net<'a> {
    fn of(
        rows: impl Iterator<Item = &'a StoredRow>,
        recordset_id: Uuid,
        day: Day,
    ) -> Result<Self, Error> {
        let mut net = Self::default();
        let mut rows_seen = 0;
        for row in rows {
            let overflow = || {
                Error::new(
                    ErrorKind::FigureTooLarge,
                    format!("the net of recordset {recordset_id} on {day} exceeds a bigint"),
                )
            };
            net.count = net.count.checked_add(row.count).ok_or_else(overflow)?;
            net.total = net.total.checked_add(row.total).ok_or_else(overflow)?;
            for (dimension, more) in row.maps()? {
                net.maps[dimension].0.extend(more.0);
            }
            rows_seen += 1;
        }
        // A single row lists each term once, in order, without zeros: only several rows need merging.
        if rows_seen > 1 {
            for dimension in Dimension::ALL {
                merge(&mut net.maps[dimension].0);
            }
        }
        Ok(net)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_sums(out, self.count, self.total);
        for (dimension, terms) in self.maps.as_ref() {
            put_name(out, ",", dimension.name());
            let mut list = List::begin(out, dimension);
            for (term, n) in &terms.0 {
                list.put(term, *n);
            }
            list.end();
        }
        out.push(b'}');
    }
}

/// Adds up repeated terms and drops those whose sum is zero. The order is that of a single row's terms.
fn merge(terms: &mut Vec<(Cow<'_, str>, i64)>) {
    terms.sort_by(|(a, _), (b, _)| jsonb_order(a, b));
    terms.dedup_by(|(term, n), (kept, sum)| {
        let same = term == kept;
        if same {
            // The sum of a term is at most its cell's total, which was checked.
            *sum = sum.saturating_add(*n);
        }
        same
    });
    terms.retain(|(_, n)| *n != 0);
}

struct List<'a> {
    out: &'a mut Vec<u8>,
    dimension: Dimension,
    /// Written before the next term.
    before: &'static str,
}

impl<'a> List<'a> {
    fn begin(out: &'a mut Vec<u8>, dimension: Dimension) -> Self {
        Self {
            out,
            dimension,
            before: "[",
        }
    }

    fn put(&mut self, term: &str, n: i64) {
        let Self {
            out,
            dimension,
            before,
        } = self;
        put(out, std::mem::replace(before, ","));
        match (dimension, term) {
            // A geocode's term is JSON already.
            (Dimension::Geocodes, json) => {
                put(out, r#"{"geo":"#);
                put(out, json);
            }
            (Dimension::Queries, "") => put(out, r#"{"term":null"#),
            (Dimension::Items | Dimension::Queries, term) => {
                put(out, r#"{"term":"#);
                put_string(out, term);
            }
        }
        put(out, r#","count":"#);
        put_number(out, n);
        out.push(b'}');
    }

    fn end(self) {
        put(self.out, if self.before == "[" { "[]" } else { "]" });
    }
}
