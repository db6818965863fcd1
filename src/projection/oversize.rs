//! Daily documents that are too large for Elasticsearch: they are written without their lists, and marked.
//!
//! Counts and totals are always published, and the ledger has the rest. Only the limits of the cluster decide whether a
//! document is written whole. The checkpoint of the index records the smallest size that was refused: a smaller
//! document without its lists is wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use uuid::Uuid;

use super::Projection;
use super::daily::put_head;
use super::digest::Replaced;
use super::json::{put, put_name};
use super::totals::{CELLS, put_sums};
use crate::day::Day;
use crate::elastic::batch::Document;
use crate::elastic::bulk::Shorten;
use crate::event::Dimension;
use crate::ledger::EntryId;

/// The daily document with empty lists, and marked; `None` for any other document.
pub(super) fn without_lists(source: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Whole {
        recordset_id: Uuid,
        day: Day,
        entry_id: EntryId,
        records: BTreeMap<String, Sums>,
        mediarecords: BTreeMap<String, Sums>,
    }
    // The lists are skipped.
    #[derive(Deserialize)]
    struct Sums {
        count: i64,
        total: i64,
    }
    let Whole {
        recordset_id,
        day,
        entry_id,
        records,
        mediarecords,
    } = serde_json::from_slice(source).ok()?;
    let mut out = Vec::new();
    put_head(&mut out, recordset_id, day, entry_id);
    put(&mut out, r#","lists_omitted":true"#);
    for ((record_type, stat_types), cells) in CELLS.into_iter().zip([records, mediarecords]) {
        put_name(&mut out, ",", record_type.name());
        for (place, stat_type) in stat_types.into_iter().enumerate() {
            put_name(
                &mut out,
                if place > 0 { "," } else { "{" },
                stat_type.name(),
            );
            let Sums { count, total } = cells.get(stat_type.name())?;
            put_sums(&mut out, *count, *total);
            for dimension in Dimension::ALL {
                put_name(&mut out, ",", dimension.name());
                put(&mut out, "[]");
            }
            out.push(b'}');
        }
        out.push(b'}');
    }
    out.push(b'}');
    Some(out)
}

/// Removes the lists, and records how that changes the digest of what is sent.
#[derive(Debug, Default)]
pub(super) struct Oversize {
    replaced: Mutex<Replaced>,
}

impl Oversize {
    /// `None` if no document of the projection can be too large.
    pub(super) fn of(kind: Projection) -> Option<Arc<Self>> {
        (kind == Projection::Daily).then(Arc::default)
    }

    pub(super) fn shortening(this: Option<&Arc<Self>>) -> Option<Arc<dyn Shorten>> {
        this.map(|this| Arc::clone(this) as Arc<dyn Shorten>)
    }

    /// The replacements so far.
    pub(super) fn replaced(&self) -> Replaced {
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shorten for Oversize {
    fn shorten(&self, document: Document<'_>) -> Option<Vec<u8>> {
        let shortened = without_lists(document.source)?;
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.note(
            document,
            Document {
                source: &shortened,
                ..document
            },
        );
        Some(shortened)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn counts_and_totals_stay_and_every_list_is_empty() {
        let cell = |count: i64, lists: Value| json!({ "count": count, "total": 2 * count, "items": lists, "queries": lists, "geocodes": lists });
        let cells = |lists: &Value| -> Value {
            let cell = |(n, name)| (str::to_owned(name), cell(n, lists.clone()));
            (1..)
                .zip(["view", "seen", "search", "download", "mapping"])
                .map(cell)
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let document = |lists: Value| {
            json!({
                "recordset_id": "00038086-3303-4b89-b2d6-1b84e7598f0e", "harvest_date": "2020-02-17", "day": "2020-02-16",
                "entry_id": 7, "records": cells(&lists), "mediarecords": cells(&lists),
            })
        };
        let shortened = without_lists(
            document(json!([{ "term": "a", "count": 1 }]))
                .to_string()
                .as_bytes(),
        )
        .unwrap();
        let mut expected = document(json!([]));
        expected["lists_omitted"] = true.into();
        assert_eq!(
            serde_json::from_slice::<Value>(&shortened).unwrap(),
            expected
        );
        assert_eq!(
            without_lists(&shortened),
            Some(shortened.clone()),
            "it cannot be made smaller"
        );
        assert_eq!(without_lists(b"{}"), None);
    }
}
