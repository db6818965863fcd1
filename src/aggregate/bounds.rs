//! The recordsets of a part.

use uuid::Uuid;

/// Which recordsets are counted, and the memory limit in bytes.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) from: Uuid,
    pub(super) below: Option<Uuid>,
    pub(super) memory: usize,
    pub(super) since_look: usize,
}

impl Bounds {
    pub(super) fn is_first(&self) -> bool {
        self.from.is_nil()
    }

    pub(super) fn contains(&self, recordset_id: Uuid) -> bool {
        self.from <= recordset_id && self.below.is_none_or(|below| recordset_id < below)
    }
}
