//! Ranges of recordsets: what many processes have counted can be merged by as many, each merging one range. No IO.
//!
//! Every range of a delta set has the figures and the fingerprint of all its events, so ranges that do not belong together
//! are noticed. The first one has the rejected events.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most ranges that recordsets can be divided into.
pub const MOST_RANGES: u32 = 1000;

/// One of the ranges that recordsets are divided into, in the order of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsetRange {
    pub(super) number: u32,
    pub(super) of: u32,
}

impl RecordsetRange {
    /// The number of the range that a recordset is in. Ids are random, so ranges are about equally large.
    pub(super) fn number_for(recordset: Uuid, of: u32) -> u32 {
        let (start, ..) = recordset.as_fields();
        u32::try_from((u64::from(start) * u64::from(of)) >> 32).unwrap_or(0)
    }

    pub(super) fn is_valid(self) -> bool {
        self.number < self.of && self.of <= MOST_RANGES
    }

    /// Whether it has the rejected events.
    pub(super) fn has_rejected(self) -> bool {
        self.number == 0
    }
}

impl fmt::Display for RecordsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range {} of {}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_order_of_recordsets_and_cover_all_of_them() {
        for of in [1, 2, 3, 7, MOST_RANGES] {
            let numbers: Vec<u32> = (0..=u8::MAX)
                .map(|byte| RecordsetRange::number_for(Uuid::from_bytes([byte; 16]), of))
                .collect();
            assert!(numbers.is_sorted());
            assert_eq!((numbers[0], numbers[255]), (0, of - 1));
            if of < 100 {
                let mut found = numbers.clone();
                found.dedup();
                assert_eq!(found.len(), of as usize);
            }
        }
    }
}
