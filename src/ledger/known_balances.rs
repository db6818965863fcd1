//! The balances that a run has posted, kept for its next posting: looking one up costs the server almost as much as
//! storing the row.
//!
//! They hold only as long as the ledger's newest entry is the one that the run posted last. After any other entry, and
//! after a posting that was not committed, they are looked up again.

use rustc_hash::FxHashMap;

use super::entry::EntryId;
use super::row_bytes::Balance;
use crate::aggregate::Cell;

/// At most so many cells are kept, which take about 5 MB.
const MOST_CELLS: usize = 1 << 16;

/// Balances of cells as of an entry.
#[derive(Debug, Default)]
pub(super) struct KnownBalances {
    cells: FxHashMap<Cell, Balance>,
}

/// Balances, and the entry that they are as of.
#[derive(Debug)]
pub(super) struct BalancesAsOf {
    pub(super) entry_id: EntryId,
    pub(super) balances: KnownBalances,
}

impl BalancesAsOf {
    /// The balances, if `head` is the entry that they are as of; otherwise none are known.
    pub(super) fn at(self, head: EntryId) -> KnownBalances {
        if self.entry_id == head {
            self.balances
        } else {
            KnownBalances::default()
        }
    }
}

impl KnownBalances {
    /// The balance of a cell; none if it is not known.
    pub(super) fn get(&self, cell: Cell) -> Option<Balance> {
        self.cells.get(&cell).copied()
    }

    /// Keeps the balance of a cell. Forgets all of them if they are too many.
    pub(super) fn keep(&mut self, cell: Cell, balance: Balance) {
        if self.cells.len() >= MOST_CELLS && !self.cells.contains_key(&cell) {
            self.cells.clear();
        }
        self.cells.insert(cell, balance);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::event::{RecordType, StatType};

    fn cell(number: usize) -> Cell {
        Cell {
            recordset_id: Uuid::from_u128(number as u128),
            record_type: RecordType::Records,
            stat_type: StatType::View,
        }
    }

    fn balance(count: i64) -> Balance {
        let day = "2020-02-16".parse().unwrap();
        Balance {
            count,
            total: count,
            first_day: day,
            last_day: day,
        }
    }

    fn known(counts: &[i64]) -> KnownBalances {
        let mut known = KnownBalances::default();
        for (number, count) in counts.iter().enumerate() {
            known.keep(cell(number), balance(*count));
        }
        known
    }

    fn count_of(known: &KnownBalances, number: usize) -> Option<i64> {
        known.get(cell(number)).map(|balance| balance.count)
    }

    #[test]
    fn after_the_entry_of_another_run_nothing_is_known() {
        for (head, expected) in [("7", Some(3)), ("8", None), ("6", None)] {
            let posted = BalancesAsOf {
                entry_id: "7".parse().unwrap(),
                balances: known(&[3]),
            };
            let known = posted.at(head.parse().unwrap());
            assert_eq!(count_of(&known, 0), expected, "head {head}");
        }
    }

    #[test]
    fn the_last_balance_of_a_cell_is_kept() {
        let mut known = known(&[3, 4]);
        known.keep(cell(0), balance(5));
        assert_eq!(count_of(&known, 0), Some(5));
        assert_eq!(count_of(&known, 1), Some(4));
        assert_eq!(count_of(&known, 2), None);
    }

    #[test]
    fn too_many_cells_are_forgotten() {
        let mut known = known(&vec![1; MOST_CELLS]);
        known.keep(cell(0), balance(2));
        assert_eq!(known.cells.len(), MOST_CELLS);
        known.keep(cell(MOST_CELLS), balance(3));
        assert_eq!(count_of(&known, MOST_CELLS), Some(3));
        assert_eq!(known.cells.len(), 1);
    }
}
