//! The fingerprint of events that were counted outside the source's database. No IO.
//!
//! Its first four parts are those of the source's fingerprint. The last one differs: SQL cannot be imitated there,
//! because it contains the size in which Postgres stores each payload. Here it is a sum of hashes over all columns, payload
//! included. Every part can be added up over disjoint sets of events.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::source::{Fingerprint, OUTSIDE_POSTGRES};

/// The same prime as in the source's fingerprint.
const PRIME: i64 = 2_147_483_647;

/// Sums over events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EventSums {
    rows: i64,
    highest: Option<i64>,
    ids: i128,
    squares: i128,
    hashes: u128,
}

impl EventSums {
    /// Adds an event: its id and its columns in the order type, record type, payload, geocode and query hash.
    pub(super) fn add(&mut self, id: i64, columns: &[Option<&[u8]>; 5]) {
        let mut hash = Sha256::new();
        hash.update(id.to_le_bytes());
        for (place, column) in columns.iter().enumerate() {
            let Some(text) = column else {
                hash.update([0]);
                continue;
            };
            hash.update([1]);
            hash.update((text.len() as u64).to_le_bytes());
            // A checksum is enough to notice that a payload was edited, and much faster.
            if place == PAYLOAD {
                let mut sum = flate2::Crc::new();
                sum.update(text);
                hash.update(sum.sum().to_le_bytes());
            } else {
                hash.update(text);
            }
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        let remainder = i128::from(id % PRIME);
        self.join(&Self {
            rows: 1,
            highest: Some(id),
            ids: id.into(),
            squares: remainder * remainder,
            hashes: u128::from_le_bytes(first),
        });
    }

    /// Adds the sums of other events.
    pub(super) fn join(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.highest = self.highest.max(other.highest);
        self.ids = self.ids.saturating_add(other.ids);
        self.squares = self.squares.saturating_add(other.squares);
        self.hashes = self.hashes.wrapping_add(other.hashes);
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            rows: self.rows,
            text: self.to_string(),
        }
    }

    /// The number of events.
    pub(super) fn rows(&self) -> i64 {
        self.rows
    }
}

/// The place of the payload among the columns.
const PAYLOAD: usize = 2;

impl fmt::Display for EventSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows,
            highest,
            ids,
            squares,
            hashes,
        } = self;
        let highest = highest.unwrap_or(0);
        write!(
            f,
            "{rows}:{highest}:{ids}:{squares}:{OUTSIDE_POSTGRES}{hashes:032x}"
        )
    }
}

impl FromStr for EventSums {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a fingerprint of counted events");
        let parts: Vec<&str> = text.split(':').collect();
        let [rows, highest, ids, squares, hashes] = parts[..] else {
            return Err(wrong());
        };
        let hashes = hashes.strip_prefix(OUTSIDE_POSTGRES).ok_or_else(wrong)?;
        let rows = rows.parse().map_err(|_| wrong())?;
        let highest = highest.parse().map_err(|_| wrong())?;
        let sums = Self {
            rows,
            highest: (rows != 0).then_some(highest),
            ids: ids.parse().map_err(|_| wrong())?,
            squares: squares.parse().map_err(|_| wrong())?,
            hashes: u128::from_str_radix(hashes, 16).map_err(|_| wrong())?,
        };
        // Fingerprints are compared as text, so there is only one spelling.
        if sums.to_string() == text {
            Ok(sums)
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(ids: &[i64]) -> EventSums {
        let mut sums = EventSums::default();
        for id in ids {
            sums.add(
                *id,
                &[
                    Some(b"view"),
                    Some(b"records"),
                    Some(b"{}"),
                    None,
                    Some(b""),
                ],
            );
        }
        sums
    }

    #[test]
    fn sums_add_up_in_any_order_and_read_back() {
        let mut joined = sums(&[3, -7]);
        joined.join(&EventSums::default());
        joined.join(&sums(&[i64::MAX, 1]));
        assert_eq!(joined, sums(&[1, i64::MAX, 3, -7]));
        assert_eq!(joined.to_string().parse(), Ok(joined));
        assert_eq!(
            EventSums::default().to_string().parse(),
            Ok(EventSums::default())
        );
        assert!(
            sums(&[3])
                .to_string()
                .starts_with(&format!("1:3:3:9:{OUTSIDE_POSTGRES}"))
        );
        for wrong in [
            "",
            "1:1:1:1:1",
            "1:1:1:1:fold-x",
            "1:1:1:1:fold-1:1",
            "1:1:1:1:fold-1",
        ] {
            assert!(wrong.parse::<EventSums>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_column_makes_a_difference_and_so_does_which_one_holds_a_text() {
        let texts: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"a")];
        let mut found = std::collections::BTreeSet::new();
        for place in 0..5 {
            for text in &texts[1..] {
                let mut columns = [None; 5];
                columns[place] = *text;
                let mut sums = EventSums::default();
                sums.add(1, &columns);
                found.insert(sums.hashes);
            }
        }
        assert_eq!(found.len(), 10);
    }
}
