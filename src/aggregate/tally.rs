//! Sums per term, collected as pairs and merged now and then.

use super::terms::{Ranks, TermId};

/// (term, n) pairs; the same term may stand more than once until they are merged.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pairs: Vec<(TermId, i64)>,
    /// So many pairs at the front are merged: sorted by term, each once.
    merged: usize,
}

impl Tally {
    /// Unmerged pairs that are let stand before it is worth merging.
    const SLACK: usize = 32;

    /// Adds `n` to a term; nothing comes back where a sum overflows.
    pub(super) fn add(&mut self, term: TermId, n: i64) -> Option<()> {
        // Runs of one term are common: a recordset's events arrive with the same geocode.
        if let Some((last, sum)) = self.pairs.last_mut()
            && *last == term
            && let Some(added) = sum.checked_add(n)
        {
            *sum = added;
            return Some(());
        }
        self.pairs.push((term, n));
        // Merging when the unmerged part has outgrown the merged one keeps the cost per pair logarithmic.
        if self.pairs.len() > 2 * self.merged + Self::SLACK { self.merge() } else { Some(()) }
    }

    /// The sums that are not zero, in the order of the ranks; nothing where a sum overflows.
    pub(super) fn finish(mut self, ranks: &Ranks) -> Option<Vec<(TermId, i64)>> {
        self.merge()?;
        self.pairs.retain(|(_, n)| *n != 0);
        self.pairs.sort_unstable_by_key(|(term, _)| ranks.of(*term));
        self.pairs.shrink_to_fit();
        Some(self.pairs)
    }

    fn merge(&mut self) -> Option<()> {
        // Summed in i128, so that whether a sum fits does not depend on the order of the pairs.
        self.pairs.sort_unstable_by_key(|(term, _)| *term);
        let mut merged = 0;
        let mut next = 0;
        while next < self.pairs.len() {
            let term = self.pairs[next].0;
            let mut sum = 0_i128;
            while let Some((same, n)) = self.pairs.get(next)
                && *same == term
            {
                sum += i128::from(*n);
                next += 1;
            }
            self.pairs[merged] = (term, i64::try_from(sum).ok()?);
            merged += 1;
        }
        self.pairs.truncate(merged);
        self.merged = merged;
        Some(())
    }
}
