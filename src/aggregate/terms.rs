//! Interned terms: each distinct text is stored once, in one buffer, and has a number.

use std::cmp::Ordering;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// The number of a term in one aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermId(u32);

impl TermId {
    /// As an index of a list with an element for each term.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The terms of one aggregation.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    texts: String,
    /// Where in `texts` each term ends.
    ends: Vec<usize>,
    ids: HashTable<TermId>,
}

impl Terms {
    /// The number of a term.
    pub(super) fn intern(&mut self, term: &str) -> TermId {
        let hash = hash(term);
        if let Some(id) = self
            .ids
            .find(hash, |id| text(&self.texts, &self.ends, *id) == term)
        {
            return *id;
        }
        let id = self.push(term);
        self.ids
            .insert_unique(hash, id, |id| rustc_hash_of(&self.texts, &self.ends, *id));
        id
    }

    /// The term of a number.
    pub(crate) fn text(&self, id: TermId) -> &str {
        text(&self.texts, &self.ends, id)
    }

    /// The number of a term, if it is interned.
    pub(super) fn find(&self, term: &str) -> Option<TermId> {
        self.ids
            .find(hash(term), |id| text(&self.texts, &self.ends, *id) == term)
            .copied()
    }

    /// All numbers, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = TermId> + use<> {
        (0..).map(TermId).take(self.ends.len())
    }

    /// The term at an index.
    pub(super) fn text_at(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.texts[start..self.ends[index]]
    }

    /// The terms renumbered in the order of `compare`, and the new number of each old one. They are not indexed.
    pub(super) fn renumbered(&self, compare: fn(&str, &str) -> Ordering) -> (Self, NewIds) {
        let mut order: Vec<TermId> = self.ids().collect();
        order.sort_unstable_by(|a, b| compare(self.text(*a), self.text(*b)));
        let mut terms = Self::default();
        let mut new_ids = vec![TermId(u32::MAX); self.ends.len()];
        for id in order {
            new_ids[id.0 as usize] = terms.push(self.text(id));
        }
        (terms, NewIds(new_ids))
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Memory in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.texts.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.ids.allocation_size()
    }

    /// Adds a new term without indexing it.
    pub(super) fn push(&mut self, term: &str) -> TermId {
        let id = u32::try_from(self.ends.len())
            .expect("four billion distinct terms exceed the memory first");
        self.texts.push_str(term);
        self.ends.push(self.texts.len());
        TermId(id)
    }
}

fn text<'a>(texts: &'a str, ends: &[usize], TermId(id): TermId) -> &'a str {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &texts[start..ends[id]]
}

fn hash(term: &str) -> u64 {
    FxBuildHasher.hash_one(term)
}

fn rustc_hash_of(texts: &str, ends: &[usize], id: TermId) -> u64 {
    hash(text(texts, ends, id))
}

/// The new numbers of terms that were renumbered.
pub(super) struct NewIds(Vec<TermId>);

impl NewIds {
    /// The new number of a term that was in use.
    pub(super) fn of(&self, id: TermId) -> TermId {
        self.0[id.0 as usize]
    }
}

/// The order in which jsonb keeps the keys of an object: by length in bytes, then by bytes.
pub(crate) fn jsonb_order(a: &str, b: &str) -> Ordering {
    a.len()
        .cmp(&b.len())
        .then_with(|| a.as_bytes().cmp(b.as_bytes()))
}
