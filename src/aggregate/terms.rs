//! Terms as small numbers: each distinct text is stored once.

use std::cmp::Ordering;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Stands for a term of one aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermId(u32);

/// The terms of one aggregation.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    ids: FxHashMap<Arc<str>, TermId>,
    texts: Vec<Arc<str>>,
}

impl Terms {
    /// The number of a term.
    pub(super) fn intern(&mut self, term: &str) -> TermId {
        if let Some(id) = self.ids.get(term) {
            return *id;
        }
        let id = TermId(
            u32::try_from(self.texts.len()).expect("four thousand million distinct terms outgrow the memory first"),
        );
        let text: Arc<str> = term.into();
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }

    /// The term of a number.
    pub(crate) fn text(&self, id: TermId) -> &str {
        &self.texts[id.0 as usize]
    }

    /// For each term its place in the order of [`jsonb_order`].
    pub(super) fn ranks(&self) -> Ranks {
        let mut order: Vec<u32> = (0..).take(self.texts.len()).collect();
        order.sort_unstable_by(|a, b| jsonb_order(&self.texts[*a as usize], &self.texts[*b as usize]));
        let mut ranks = vec![0; order.len()];
        for (rank, id) in (0..).zip(order) {
            ranks[id as usize] = rank;
        }
        Ranks(ranks)
    }
}

/// Places of the terms in the order of a map's keys.
pub(super) struct Ranks(Vec<u32>);

impl Ranks {
    pub(super) fn of(&self, id: TermId) -> u32 {
        self.0[id.0 as usize]
    }
}

/// The order in which jsonb keeps the keys of an object: by length in bytes, then by bytes.
pub(crate) fn jsonb_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}
