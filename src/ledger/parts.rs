//! Divides the terms of a cell into the parts that are stored, a row each. No IO.
//!
//! A jsonb value ends at 268,435,455 bytes: some 5 million record ids. So each map of a row holds, in the order of jsonb, as
//! many further terms as fit in a fixed number of bytes of its text, but at least one. The same counts give the same parts,
//! wherever they were counted, and nearly every cell is one part.

use super::map;
use crate::aggregate::{DayDeltas, DeltaRow, TermCounts};
use crate::event::PerDimension;

/// The longest text of a map with several terms. Its jsonb is at most 2.5 times as long, because a term takes at least 8
/// bytes of text, and 12 more as jsonb.
const MOST_BYTES: usize = 64 << 20;

/// Bytes of a map's text: fewer if a test says so by `DAYBOOK_PART_BYTES`.
#[cfg(debug_assertions)]
pub(super) fn most_bytes() -> usize {
    let bytes = std::env::var("DAYBOOK_PART_BYTES")
        .ok()
        .and_then(|bytes| bytes.parse().ok());
    bytes.unwrap_or(MOST_BYTES)
}

/// Bytes of a map's text.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn most_bytes() -> usize {
    MOST_BYTES
}

/// The terms of a cell that are in no part yet.
#[derive(Debug)]
pub(super) struct RemainingTerms<'a> {
    terms: PerDimension<TermCounts<'a>>,
    /// How many of them are in the parts so far.
    taken: PerDimension<usize>,
    most_bytes: usize,
}

impl<'a> RemainingTerms<'a> {
    pub(super) fn of(deltas: &'a DayDeltas, row: &'a DeltaRow, most_bytes: usize) -> Self {
        Self {
            terms: deltas.maps(row),
            taken: PerDimension::default(),
            most_bytes,
        }
    }

    pub(super) fn are_none(&self) -> bool {
        self.terms
            .as_ref()
            .into_iter()
            .all(|(dimension, terms)| self.taken[dimension] == terms.len())
    }

    /// Writes the maps of the next part, as the text of jsonb.
    pub(super) fn write_part(&mut self, maps: &mut PerDimension<Vec<u8>>) {
        for (dimension, terms) in self.terms.as_ref() {
            let taken = &mut self.taken[dimension];
            *taken += write_map(*terms, *taken, self.most_bytes, &mut maps[dimension]);
        }
    }
}

/// Writes the map of the terms that follow the first `skipped`, as many as fit. Returns how many.
fn write_map(
    terms: TermCounts<'_>,
    skipped: usize,
    most_bytes: usize,
    text: &mut Vec<u8>,
) -> usize {
    text.clear();
    let mut map = map::Writer::new(text);
    let (mut place, mut written, mut is_full) = (0, 0, false);
    terms.for_each(|term, n| {
        place += 1;
        if place <= skipped || is_full {
            return;
        }
        is_full = !map.put_within(most_bytes, term, n);
        written += usize::from(!is_full);
    });
    map.finish();
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Aggregation, Cell, PostedRow};
    use crate::event::{RecordType, StatType};

    /// The parts of a cell with these queries, and with the geocode `null`.
    fn parts(queries: &[&str], most_bytes: usize) -> Vec<[String; 2]> {
        let total = i64::try_from(queries.len()).unwrap();
        let queries: Vec<_> = queries.iter().map(|term| ((*term).into(), 1)).collect();
        let mut aggregation = Aggregation::without_limit();
        let row = PostedRow {
            cell: Cell {
                recordset_id: uuid::Uuid::nil(),
                record_type: RecordType::Records,
                stat_type: StatType::Search,
            },
            count: total,
            total,
            maps: PerDimension {
                items: &[],
                queries: &queries,
                geocodes: &[("null".into(), total)],
            },
        };
        aggregation.add_counted(row).unwrap();
        let deltas = aggregation.finish().unwrap().rows.next_batch();
        let deltas = deltas.unwrap().unwrap();
        let mut rest = RemainingTerms::of(&deltas, &deltas.rows()[0], most_bytes);
        let mut parts = Vec::new();
        while !rest.are_none() {
            let mut maps = PerDimension::default();
            rest.write_part(&mut maps);
            assert_eq!(maps.items, b"{}");
            parts.push([maps.queries, maps.geocodes].map(|map| String::from_utf8(map).unwrap()));
        }
        parts
    }

    #[test]
    fn a_part_holds_the_further_terms_that_fit_and_at_least_one() {
        let queries = ["dd", "a", "c", "long-one", "bb"];
        let whole = r#"{"a": 1, "c": 1, "bb": 1, "dd": 1, "long-one": 1}"#;
        let geocodes = r#"{"null": 5}"#;
        assert_eq!(parts(&queries, whole.len()), [[whole, geocodes]]);
        assert_eq!(
            parts(&queries, whole.len() - 1),
            [
                [r#"{"a": 1, "c": 1, "bb": 1, "dd": 1}"#, geocodes],
                [r#"{"long-one": 1}"#, "{}"]
            ]
        );
        assert_eq!(
            parts(&queries, 16),
            [
                [r#"{"a": 1, "c": 1}"#, geocodes],
                [r#"{"bb": 1}"#, "{}"],
                [r#"{"dd": 1}"#, "{}"],
                [r#"{"long-one": 1}"#, "{}"]
            ]
        );
        assert_eq!(parts(&queries, 0).len(), queries.len());
    }
}
