//! The hash of a delta row, the same that `daybook.row_hash_of` computes. Both posting and verifying use it.

use std::io::Write as _;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::day::Day;
use crate::event::PerDimension;
use crate::hash::Hash;

/// The fields that the hash covers.
#[derive(Clone, Copy, Debug)]
pub struct RowFields<'a> {
    pub recordset_id: Uuid,
    pub record_type: &'a str,
    pub stat_type: &'a str,
    pub day: Day,
    pub count: i64,
    pub total: i64,
    /// As the text of jsonb.
    pub maps: PerDimension<&'a [u8]>,
    pub count_balance: i64,
    pub total_balance: i64,
    pub first_day: Day,
    pub last_day: Day,
    /// 0 for nearly all rows; see [`parts`](super::parts).
    pub part: i16,
}

impl RowFields<'_> {
    /// The hash of the fields, one a line; the last is the part, unless it is 0. `line` is a buffer that is reused for each row.
    pub fn hash(&self, line: &mut Vec<u8>) -> Hash {
        const FAILS_NEVER: &str = "writing to memory does not fail";
        let mut hash = Sha256::new();
        line.clear();
        let Self {
            recordset_id,
            record_type,
            stat_type,
            count,
            total,
            ..
        } = self;
        let day = self.day.date();
        write!(
            line,
            "{recordset_id}\n{record_type}\n{stat_type}\n{day}\n{count}\n{total}"
        )
        .expect(FAILS_NEVER);
        hash.update(&line);
        for (_, text) in self.maps {
            hash.update(b"\n");
            hash.update(text);
        }
        line.clear();
        let Self {
            count_balance,
            total_balance,
            ..
        } = self;
        let (first_day, last_day) = (self.first_day.date(), self.last_day.date());
        write!(
            line,
            "\n{count_balance}\n{total_balance}\n{first_day}\n{last_day}"
        )
        .expect(FAILS_NEVER);
        if self.part != 0 {
            write!(line, "\n{}", self.part).expect(FAILS_NEVER);
        }
        hash.update(&line);
        hash.into()
    }
}
