//! Finds extra documents: those that an index holds and the ledger does not produce.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::terms::Key;
use super::{Plan, Projection, daily, slices};
use crate::day::Day;
use crate::elastic::Client;
use crate::elastic::scroll::Scroll;
use crate::elastic::search::Hit;
use crate::error::Error;
use crate::ledger::{EntryId, NamedTerm, Reader};

/// The documents that the ledger produces as of an entry.
pub(super) struct Expected<'a> {
    pub(super) kind: Projection,
    pub(super) plan: &'a Plan,
    pub(super) reader: &'a mut Reader,
    pub(super) through: EntryId,
}

/// Checks each document of an index against the ledger, and calls `take` with the ids of those that it does not produce.
pub(super) async fn for_each_extra(
    client: &Client,
    physical: &str,
    mut expected: Expected<'_>,
    mut take: impl AsyncFnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    // The fields that identify a document.
    let fields = json!(["recordset_id", "dimension", "term"]);
    let (mut scroll, mut page) =
        Scroll::begin(client, physical, 2000, fields, slices::whole()).await?;
    loop {
        let hits = page.documents::<Value>()?;
        if hits.is_empty() {
            break;
        }
        let expected = expected.among(&hits).await?;
        for hit in hits {
            if !expected.contains(&*hit.id) {
                take(&hit.id).await?;
            }
        }
        page = scroll.next().await?;
    }
    scroll.end().await;
    Ok(())
}

impl Expected<'_> {
    /// Which of these documents the ledger produces.
    async fn among(&mut self, hits: &[Hit<'_, Value>]) -> Result<HashSet<String>, Error> {
        let Self {
            kind,
            plan,
            reader,
            through,
        } = self;
        let through = *through;
        match kind {
            Projection::Daily => {
                let named: Vec<(&str, Day, uuid::Uuid)> = hits
                    .iter()
                    .filter_map(|hit| {
                        let (day, recordset_id) = hit.id.split_once(':')?;
                        let (day, recordset_id) = (day.parse().ok()?, recordset_id.parse().ok()?);
                        // Another spelling of the same day and recordset is another document.
                        (daily::id(recordset_id, day) == hit.id).then_some((
                            &*hit.id,
                            day,
                            recordset_id,
                        ))
                    })
                    .collect();
                reader.existing_days(&named, through).await
            }
            Projection::Totals => {
                let named: Vec<(&str, uuid::Uuid)> = hits
                    .iter()
                    .filter_map(|hit| {
                        let recordset_id: uuid::Uuid = hit.id.parse().ok()?;
                        (recordset_id.to_string() == hit.id).then_some((&*hit.id, recordset_id))
                    })
                    .collect();
                reader.existing_recordsets(&named, through).await
            }
            Projection::Terms => {
                let keys = hits.iter().filter_map(|hit| {
                    let key = Key::of_source(&hit.source)?;
                    let stat_types = plan.terms.stat_types(key.breakdown);
                    let ours = key.id() == hit.id && !stat_types.is_empty();
                    let Key {
                        recordset_id,
                        breakdown,
                        term,
                    } = key;
                    ours.then(|| NamedTerm {
                        id: hit.id.to_string(),
                        recordset_id,
                        dimension: breakdown.name(),
                        term,
                        stat_types: stat_types.to_vec(),
                    })
                });
                reader
                    .existing_terms(&keys.collect::<Vec<_>>(), through)
                    .await
            }
        }
    }
}

/// Deletes an extra document. It may be gone already.
pub(super) async fn delete(client: &Client, physical: &str, id: &str) -> Result<(), Error> {
    let what = format!("deleting the extra document {id} of {physical}");
    let id: String = url::form_urlencoded::byte_serialize(id.as_bytes())
        .collect::<String>()
        .replace('+', "%20");
    client
        .delete(&format!("/{physical}/_doc/{id}"), &what)
        .await
}
