//! Recomputes a ledger from its rows. No IO.
//!
//! Memory holds one header for each entry and one state for each cell, whatever the length of the history. Rows must be
//! added in the order in which an entry's content hash is made: by entry, recordset, record type, stat type and
//! part.

use std::collections::BTreeMap;
use std::fmt;

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::finding::{Finding, LedgerCheck};
use super::row::{RejectedEvent, Row, StoredDate, place_of_row};
use super::sum::sum;
use crate::day::Period;
use crate::event::{PerDimension, StatType};
use crate::hash::Hash;
use crate::ledger::row_hash::RowFields;
use crate::ledger::{EntryTotal, EntryTotals, rejected_hash};

/// Maximum number of findings of a kind that are named.
const NAMED: usize = 100;

/// What a header says about its entry's rows, and what the server found out about the header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) entry_id: i64,
    pub(super) day: StoredDate,
    pub(super) delta_rows: i64,
    /// Whether the maps of each of its rows must sum to the row's total.
    pub(super) terms_complete: bool,
    /// None if what is stored are not totals.
    pub(super) totals: Option<EntryTotals>,
    /// None if what is stored is not a hash; likewise the next.
    pub(super) content_hash: Option<Hash>,
    pub(super) rejected_hash: Option<Hash>,
    /// As the server computes it from the header.
    pub(super) entry_hash: Option<Hash>,
    pub(super) hash_differs: bool,
    pub(super) chain_differs: bool,
    pub(super) gap_before: bool,
}

/// What can be wrong with an entry, in the order in which it is reported.
const OF_ENTRIES: [&str; 8] = [
    "its rows do not give its content_hash",
    "its rows do not give its totals",
    "its number of rows is not the one in its header",
    "its rejected events do not give its rejected_hash",
    "its header does not give its entry_hash",
    "its previous_hash is not the hash of the entry before",
    "the entry before is missing",
    "there are rows of it, but its header is missing",
];

/// What can be wrong with a row, in the order in which it is reported.
#[derive(Clone, Copy)]
enum OfRow {
    Incomplete,
    ItemsUncountable,
    QueriesUncountable,
    GeocodesUncountable,
    Sums,
    Balance,
    Day,
}

const OF_ROWS: [&str; 7] = [
    "it cannot be checked: one of its fields is NULL",
    "its control sums cannot be checked: its items are not a map of integers",
    "its control sums cannot be checked: its queries are not a map of integers",
    "its control sums cannot be checked: its geocodes are not a map of integers",
    "its maps do not sum to its total",
    "its balance is not the sum of the cell's rows up to it",
    "its day is not that of its entry, or its entry is missing",
];

/// The findings of one kind: the first of them, and their number.
#[derive(Debug, Default)]
struct Found {
    places: Vec<String>,
    number: usize,
}

impl Found {
    fn add(&mut self, place: impl fmt::Display) {
        self.number += 1;
        if self.number <= NAMED {
            self.places.push(place.to_string());
        }
    }
}

/// A cell; its types are an index into `Audit::types`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CellKey {
    recordset_id: Uuid,
    types: usize,
}

/// The sums over a cell's rows so far.
struct CellState {
    count: i128,
    total: i128,
    first_day: StoredDate,
    last_day: StoredDate,
}

/// What an entry adds to a cell, over its rows so far: a very large cell has several.
struct CellOfEntry {
    entry_id: i64,
    cell: CellKey,
    must_sum: bool,
    count: i128,
    total: i128,
    /// None if a map cannot be summed.
    sums: Option<PerDimension<i128>>,
}

/// The rows of an entry so far.
#[derive(Clone, Default)]
struct Content {
    rows: i64,
    hash: Sha256,
    /// Their sums, in the order in which the types are first met.
    totals: Vec<EntryTotal>,
    /// One of them cannot be hashed, so daybook did not post it.
    spoilt: bool,
}

impl Content {
    fn add_to_totals(&mut self, row: &Row<'_>) {
        let known = self.totals.iter().position(|total| {
            total.record_type == row.record_type && total.stat_type == row.stat_type
        });
        let place = known.unwrap_or_else(|| {
            self.totals.push(EntryTotal {
                record_type: row.record_type.to_owned(),
                stat_type: row.stat_type.to_owned(),
                cells: 0,
                count: 0,
                total: 0,
            });
            self.totals.len() - 1
        });
        let total = &mut self.totals[place];
        total.cells += i64::from(row.part == 0);
        total.count += i128::from(row.count);
        total.total += i128::from(row.total);
    }
}

/// A ledger that is being recomputed.
pub(super) struct Audit {
    period: Option<Period>,
    headers: Vec<Header>,
    /// For each header: whether the rows fail to give its hash and its totals, and whether their number differs.
    contents: Vec<[bool; 3]>,
    /// The hash of the rejected events so far, by entry.
    rejected: FxHashMap<i64, Sha256>,
    /// The entry of the last row: its id, the index of its header, its rows.
    current: Option<(i64, Option<usize>, Content)>,
    /// Entries without a header, with the first day of their rows.
    headless: BTreeMap<i64, StoredDate>,
    types: Vec<[Box<str>; 2]>,
    cells: FxHashMap<CellKey, CellState>,
    /// The cell of the last row, if its control sums are looked at.
    summing: Option<CellOfEntry>,
    found: [Found; OF_ROWS.len()],
    line: Vec<u8>,
}

impl Audit {
    /// `headers` must be in the order of entries. With a period, only findings about its days are reported.
    pub(super) fn new(headers: Vec<Header>, period: Option<Period>) -> Self {
        let contents = headers
            .iter()
            .map(|header| judge(header, &Content::default()))
            .collect();
        Self {
            period,
            headers,
            contents,
            rejected: FxHashMap::default(),
            current: None,
            headless: BTreeMap::new(),
            types: Vec::new(),
            cells: FxHashMap::default(),
            summing: None,
            found: Default::default(),
            line: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: &Row<'_>) {
        let header = self.turn_to(row.entry_id);
        let entry_day = header.map(|place| self.headers[place].day);
        if header.is_none() {
            let first_day = self.headless.entry(row.entry_id).or_insert(row.day);
            *first_day = row.day.min(*first_day);
        }
        let cell = self.cell_of(row);
        let balance_is_right = self.advance_cell(cell, row);
        if self.is_looked_at(row.day) {
            let must_sum = header.is_none_or(|place| self.headers[place].terms_complete);
            self.add_sums(cell, row, must_sum);
            if !balance_is_right {
                self.note(OfRow::Balance, row);
            }
            if entry_day != Some(row.day) {
                self.note(OfRow::Day, row);
            }
        }
        let is_hashed = entry_day.is_some_and(|day| self.is_looked_at(day));
        if let Some((_, _, content)) = &mut self.current {
            content.rows += 1;
            content.add_to_totals(row);
            match hashed_fields(row) {
                Some(fields) if is_hashed => content.hash.update(fields.hash(&mut self.line)),
                Some(_) => {}
                None => content.spoilt = true,
            }
        }
    }

    /// Adds a row that cannot be checked, because one of its fields is NULL.
    pub(super) fn add_incomplete(&mut self, entry_id: Option<i64>) {
        let Some(entry_id) = entry_id else {
            return self.note(OfRow::Incomplete, "a row of no entry");
        };
        self.turn_to(entry_id);
        if let Some((_, _, content)) = &mut self.current {
            content.rows += 1;
            content.spoilt = true;
        }
        self.note(OfRow::Incomplete, format_args!("a row of entry {entry_id}"));
    }

    /// Adds the next rejected event of an entry. Events must be added in the order of their ids.
    pub(super) fn add_rejected(&mut self, entry_id: Option<i64>, event: &RejectedEvent<'_>) {
        let Some(entry_id) = entry_id else {
            return self.note(OfRow::Incomplete, "a rejected event of no entry");
        };
        let hash = self.rejected.entry(entry_id).or_default();
        match *event {
            RejectedEvent {
                source_id: Some(id),
                reason: Some(reason),
                message: Some(message),
                event: Some(event),
            } => {
                rejected_hash::add(hash, id, reason, message, event);
            }
            // daybook did not post it: the hash must differ, whatever the header says.
            _ => hash.update("NULL"),
        }
    }

    pub(super) fn finish(mut self) -> LedgerCheck {
        self.close_entry();
        self.check_sums();
        let of_no_entry: Vec<i64> = self
            .rejected
            .keys()
            .copied()
            .filter(|entry_id| self.place_of(*entry_id).is_none())
            .collect();
        for entry_id in of_no_entry {
            self.headless.entry(entry_id).or_insert(StoredDate::NONE);
        }
        let mut check = LedgerCheck::default();
        let mut numbers = [0; OF_ENTRIES.len()];
        for (entry_id, day, wrong) in self.entries().filter(|(_, day, _)| self.is_looked_at(*day)) {
            check.entries += 1;
            for ((what, number), _) in OF_ENTRIES
                .iter()
                .zip(&mut numbers)
                .zip(wrong)
                .filter(|(_, wrong)| *wrong)
            {
                *number += 1;
                if *number <= NAMED {
                    check
                        .findings
                        .push(Finding::new(format!("entry {entry_id} of {day}"), what));
                }
            }
        }
        for (what, number) in OF_ENTRIES.iter().zip(numbers) {
            check.findings.extend(not_named(number, "entries", what));
        }
        for (what, Found { places, number }) in OF_ROWS.iter().zip(self.found) {
            check
                .findings
                .extend(places.into_iter().map(|place| Finding::new(place, what)));
            check.findings.extend(not_named(number, "rows", what));
        }
        check
    }

    /// The entries, with what is wrong with them. Those without a header come last.
    fn entries(&self) -> impl Iterator<Item = (i64, StoredDate, [bool; OF_ENTRIES.len()])> {
        let with_header =
            self.headers
                .iter()
                .zip(&self.contents)
                .map(|(header, [content, totals, rows])| {
                    let Header {
                        entry_id,
                        day,
                        hash_differs,
                        chain_differs,
                        gap_before,
                        ..
                    } = *header;
                    let rejected = self.rejected.get(&entry_id).cloned().unwrap_or_default();
                    let rejected = Some(Hash::from(rejected)) != header.rejected_hash;
                    (
                        entry_id,
                        day,
                        [
                            *content,
                            *totals,
                            *rows,
                            rejected,
                            hash_differs,
                            chain_differs,
                            gap_before,
                            false,
                        ],
                    )
                });
        // Without a header there is nothing to compare.
        let headless = self.headless.iter().map(|(id, day)| {
            (
                *id,
                *day,
                [false, false, false, false, false, false, false, true],
            )
        });
        with_header.chain(headless)
    }
}

/// A finding in place of those that are not named.
fn not_named(number: usize, of: &str, what: &str) -> Option<Finding> {
    (number > NAMED).then(|| Finding::new(format!("{} more {of}", number - NAMED), what))
}

impl Audit {
    /// Makes an entry the current one, and returns the index of its header, if it has one.
    fn turn_to(&mut self, entry_id: i64) -> Option<usize> {
        match &self.current {
            Some((current, header, _)) if *current == entry_id => *header,
            _ => {
                self.close_entry();
                let header = self.place_of(entry_id);
                self.current = Some((entry_id, header, Content::default()));
                header
            }
        }
    }

    /// The index of an entry's header.
    fn place_of(&self, entry_id: i64) -> Option<usize> {
        self.headers
            .binary_search_by_key(&entry_id, |header| header.entry_id)
            .ok()
    }

    fn close_entry(&mut self) {
        if let Some((_, Some(place), content)) = self.current.take() {
            self.contents[place] = judge(&self.headers[place], &content);
        }
    }

    fn cell_of(&mut self, row: &Row<'_>) -> CellKey {
        let types = [row.record_type, row.stat_type];
        let known = self
            .types
            .iter()
            .position(|known| types.iter().zip(known).all(|(a, b)| **a == **b));
        let types = known.unwrap_or_else(|| {
            self.types.push(types.map(Box::from));
            self.types.len() - 1
        });
        CellKey {
            recordset_id: row.recordset_id,
            types,
        }
    }

    /// Adds a row to its cell, and returns whether the row's balance and days are right.
    fn advance_cell(&mut self, cell: CellKey, row: &Row<'_>) -> bool {
        let unseen = CellState {
            count: 0,
            total: 0,
            first_day: row.day,
            last_day: row.day,
        };
        let cell = self.cells.entry(cell).or_insert(unseen);
        cell.count += i128::from(row.count);
        cell.total += i128::from(row.total);
        cell.first_day = cell.first_day.min(row.day);
        cell.last_day = cell.last_day.max(row.day);
        i128::from(row.count_balance) == cell.count
            && i128::from(row.total_balance) == cell.total
            && row.first_day == cell.first_day
            && row.last_day == cell.last_day
    }

    /// Adds the sums of a row to those of its entry and cell. The row after them has them checked.
    fn add_sums(&mut self, cell: CellKey, row: &Row<'_>, must_sum: bool) {
        const UNCOUNTABLE: PerDimension<OfRow> = PerDimension {
            items: OfRow::ItemsUncountable,
            queries: OfRow::QueriesUncountable,
            geocodes: OfRow::GeocodesUncountable,
        };
        let sums = row.maps.map(|text| text.and_then(sum));
        let continues = self.summing.as_ref().is_some_and(|summing| {
            row.part != 0 && summing.entry_id == row.entry_id && summing.cell == cell
        });
        if !continues {
            self.check_sums();
        }
        let summing = self.summing.get_or_insert(CellOfEntry {
            entry_id: row.entry_id,
            cell,
            must_sum,
            count: 0,
            total: 0,
            sums: Some(PerDimension::default()),
        });
        summing.count += i128::from(row.count);
        summing.total += i128::from(row.total);
        let so_far = summing.sums.zip(sums.transpose());
        summing.sums = so_far.map(|(so_far, more)| {
            PerDimension::from_fn(|dimension| so_far[dimension] + more[dimension])
        });
        for (dimension, _) in sums.into_iter().filter(|(_, sum)| sum.is_none()) {
            self.note(UNCOUNTABLE[dimension], row);
        }
    }

    /// Checks the control sums of the cell of the last row, as `daybook.control_sums_hold` does.
    fn check_sums(&mut self) {
        let Some(CellOfEntry {
            entry_id,
            cell,
            must_sum: true,
            count,
            total,
            sums: Some(sums),
        }) = self.summing.take()
        else {
            return;
        };
        let recordset_id = cell.recordset_id;
        let [record_type, stat_type] = self.types[cell.types].clone();
        // The database checks a stat type that is unknown here as it checks a search.
        let known = stat_type.parse().unwrap_or(StatType::Search);
        if !known.control_sums_hold(count, total, sums) {
            self.note(
                OfRow::Sums,
                place_of_row(entry_id, recordset_id, &record_type, &stat_type),
            );
        }
    }

    fn note(&mut self, what: OfRow, place: impl fmt::Display) {
        self.found[what as usize].add(place);
    }

    fn is_looked_at(&self, date: StoredDate) -> bool {
        is_within(self.period, date)
    }
}

fn is_within(period: Option<Period>, date: StoredDate) -> bool {
    period.is_none_or(|period| date.day().is_some_and(|day| period.contains(day)))
}

/// Whether an entry's rows fail to give its hash and its totals, and whether their number differs from the header's.
fn judge(header: &Header, content: &Content) -> [bool; 3] {
    let hash = Hash::from(content.hash.clone());
    let mut totals = content.totals.clone();
    totals.sort_by(|a, b| (&a.record_type, &a.stat_type).cmp(&(&b.record_type, &b.stat_type)));
    [
        content.spoilt || Some(hash) != header.content_hash,
        Some(&totals) != header.totals.as_ref().map(|totals| &totals.0),
        content.rows != header.delta_rows,
    ]
}

/// The fields that a row's hash covers; none if the row has an invalid date or lacks a map.
fn hashed_fields<'a>(row: &Row<'a>) -> Option<RowFields<'a>> {
    Some(RowFields {
        recordset_id: row.recordset_id,
        record_type: row.record_type,
        stat_type: row.stat_type,
        day: row.day.day()?,
        count: row.count,
        total: row.total,
        maps: row.maps.transpose()?,
        count_balance: row.count_balance,
        total_balance: row.total_balance,
        first_day: row.first_day.day()?,
        last_day: row.last_day.day()?,
        part: row.part,
    })
}

#[cfg(test)]
mod tests;
