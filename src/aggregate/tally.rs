//! Sums per term, collected as pairs and merged from time to time.
//!
//! A day has millions of pairs, nearly all with small positive numbers: those take 8 bytes each. Other numbers are kept
//! separately in full width and joined at the end.

use uuid::Uuid;

use super::terms::{NewIds, TermId};

/// Unmerged pairs to collect before merging is worth it.
const SLACK: usize = 32;

/// Sums by term number.
#[derive(Debug, Default)]
pub(super) struct Tally {
    narrow: Vec<(TermId, u32)>,
    /// The first `merged` pairs of `narrow` are sorted by term, without duplicates.
    merged: usize,
    wide: Vec<(TermId, i128)>,
}

/// The sums of a cell's terms, in the order of term numbers, without zeros.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    narrow: Vec<(TermId, u32)>,
    /// Sums that do not fit in `narrow`; no term is in both.
    wide: Vec<(TermId, i64)>,
}

impl Tally {
    /// Adds `n` to a term.
    pub(super) fn add(&mut self, term: TermId, n: i64) {
        let Ok(n) = u32::try_from(n) else {
            self.wide.push((term, i128::from(n)));
            return;
        };
        // Runs of one term are common: a recordset's events arrive with the same geocode.
        if let Some((last, sum)) = self.narrow.last_mut()
            && *last == term
            && let Some(added) = sum.checked_add(n)
        {
            *sum = added;
            return;
        }
        self.narrow.push((term, n));
        // Merging when the unmerged part has outgrown the merged one keeps the cost per pair logarithmic.
        if self.narrow.len() > 2 * self.merged + SLACK {
            self.merge();
        }
    }

    /// Adds up the pairs of each term.
    pub(super) fn merge(&mut self) {
        if self.narrow.len() > self.merged {
            self.narrow.sort_unstable_by_key(|(term, _)| *term);
            let wide = &mut self.wide;
            merge_sorted(
                &mut self.narrow,
                |n| u64::from(*n),
                |term, sum| {
                    u32::try_from(sum)
                        .map_err(|_| wide.push((term, i128::from(sum))))
                        .ok()
                        .filter(|sum| *sum != 0)
                },
            );
        }
        self.merged = self.narrow.len();
    }

    /// The sums by the terms' new numbers; `None` if one overflows.
    pub(super) fn finish(mut self, new_ids: &NewIds) -> Option<Counts> {
        self.merge();
        let mut narrow = self.narrow;
        for (term, _) in &mut narrow {
            *term = new_ids.of(*term);
        }
        narrow.sort_unstable_by_key(|(term, _)| *term);
        if self.wide.is_empty() {
            return Some(Counts {
                narrow,
                wide: Vec::new(),
            });
        }
        let mut sums = self.wide;
        for (term, _) in &mut sums {
            *term = new_ids.of(*term);
        }
        sums.sort_unstable_by_key(|(term, _)| *term);
        // Join the sums of terms that are in both.
        let is_wide = |term: &TermId| sums.binary_search_by_key(term, |(wide, _)| *wide).ok();
        let (joined, narrow): (Vec<_>, Vec<_>) = narrow
            .into_iter()
            .partition(|(term, _)| is_wide(term).is_some());
        sums.extend(joined.into_iter().map(|(term, n)| (term, i128::from(n))));
        sums.sort_unstable_by_key(|(term, _)| *term);
        merge_sorted(&mut sums, |n| *n, |_, sum| (sum != 0).then_some(sum));
        let wide = sums
            .into_iter()
            .map(|(term, sum)| Some((term, i64::try_from(sum).ok()?)))
            .collect::<Option<_>>()?;
        Some(Counts { narrow, wide })
    }

    /// Adds `n`, which need not fit in a sum that is finished, to a term.
    pub(super) fn add_wide(&mut self, term: TermId, n: i128) {
        match i64::try_from(n) {
            Ok(n) => self.add(term, n),
            Err(_) => self.wide.push((term, n)),
        }
    }

    /// The terms and what was added to each, in several pieces perhaps.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TermId, i128)> {
        let narrow = self.narrow.iter().map(|(term, n)| (*term, i128::from(*n)));
        narrow.chain(self.wide.iter().copied())
    }

    /// Number of these pieces.
    pub(super) fn len(&self) -> usize {
        self.narrow.len() + self.wide.len()
    }

    /// Releases memory that is mostly unused.
    pub(super) fn shrink(&mut self) {
        self.merge();
        self.wide.sort_unstable_by_key(|(term, _)| *term);
        merge_sorted(&mut self.wide, |n| *n, |_, sum| (sum != 0).then_some(sum));
        if self.narrow.capacity() > self.narrow.len() + self.narrow.len() / 2 {
            self.narrow.shrink_to_fit();
        }
    }

    /// Memory in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.narrow.capacity() * size_of::<(TermId, u32)>()
            + self.wide.capacity() * size_of::<(TermId, i128)>()
    }
}

impl Counts {
    /// The terms and their sums, in the order of term numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TermId, i64)> {
        let mut wide = self.wide.iter().copied().peekable();
        let mut narrow = self
            .narrow
            .iter()
            .map(|(term, n)| (*term, i64::from(*n)))
            .peekable();
        std::iter::from_fn(move || match (narrow.peek(), wide.peek()) {
            (Some(a), Some(b)) if b.0 < a.0 => wide.next(),
            (Some(_), _) => narrow.next(),
            (None, _) => wide.next(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.narrow.is_empty() && self.wide.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.narrow.len() + self.wide.len()
    }
}

/// Sums per record id. UUIDs, which nearly all ids are, are keyed by their 16 bytes and not interned.
#[derive(Debug, Default)]
pub(super) struct ItemTally {
    uuids: Vec<(Uuid, i64)>,
    merged: usize,
    pub(super) others: Tally,
}

/// The sums of a cell's record ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemCounts {
    /// In order, without zeros.
    pub(crate) uuids: Vec<(Uuid, i64)>,
    pub(crate) others: Counts,
}

impl ItemTally {
    /// Adds `n` to a record whose id is a UUID; `None` if a sum overflows.
    pub(super) fn add_uuid(&mut self, id: Uuid, n: i64) -> Option<()> {
        self.uuids.push((id, n));
        if self.uuids.len() > 2 * self.merged + SLACK {
            self.merge()
        } else {
            Some(())
        }
    }

    /// Adds up the pairs of each record id; `None` if a sum overflows.
    pub(super) fn merge(&mut self) -> Option<()> {
        let mut fits = Some(());
        if self.uuids.len() > self.merged {
            self.uuids.sort_unstable_by_key(|(id, _)| id.as_u128());
            // Keep sums of zero until the end: more may be added to them.
            merge_sorted(
                &mut self.uuids,
                |n| i128::from(*n),
                |_, sum| {
                    i64::try_from(sum).ok().or_else(|| {
                        fits = None;
                        None
                    })
                },
            );
        }
        self.merged = self.uuids.len();
        fits
    }

    /// The sums; `None` if one overflows.
    pub(super) fn finish(mut self, new_ids: &NewIds) -> Option<ItemCounts> {
        self.merge()?;
        self.uuids.retain(|(_, n)| *n != 0);
        Some(ItemCounts {
            uuids: self.uuids,
            others: self.others.finish(new_ids)?,
        })
    }

    /// The record ids that are UUIDs, with what was added to each, in several pieces perhaps.
    pub(super) fn uuids(&self) -> &[(Uuid, i64)] {
        &self.uuids
    }

    /// Releases memory that is mostly unused; `None` if a sum overflows.
    pub(super) fn shrink(&mut self) -> Option<()> {
        self.others.shrink();
        self.merge()?;
        if self.uuids.capacity() > self.uuids.len() + self.uuids.len() / 2 {
            self.uuids.shrink_to_fit();
        }
        Some(())
    }

    /// Memory in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.uuids.capacity() * size_of::<(Uuid, i64)>() + self.others.memory()
    }
}

/// Merges neighbours with the same key. `keep` converts each sum, or drops it.
fn merge_sorted<K: Copy + PartialEq, N, S: std::ops::Add<Output = S>>(
    pairs: &mut Vec<(K, N)>,
    wide: impl Fn(&N) -> S,
    mut keep: impl FnMut(K, S) -> Option<N>,
) {
    let mut merged = 0;
    let mut next = 0;
    while next < pairs.len() {
        let key = pairs[next].0;
        let mut sum = wide(&pairs[next].1);
        next += 1;
        while let Some((same, n)) = pairs.get(next)
            && *same == key
        {
            sum = sum + wide(n);
            next += 1;
        }
        if let Some(kept) = keep(key, sum) {
            pairs[merged] = (key, kept);
            merged += 1;
        }
    }
    pairs.truncate(merged);
}
