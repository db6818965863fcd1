//! The index behind an alias, and the checkpoint that stands in its mapping.
//!
//! The checkpoint is stored with what it describes: an index that is restored from an old snapshot brings its old
//! checkpoint along and simply catches up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Client, Method};
use crate::failure::Failure;
use crate::ledger::EntryId;

/// What `_meta.daybook` of an index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The ledger that the index is a projection of.
    pub ledger_id: Uuid,
    /// Counts the rebuilds.
    pub generation: u32,
    /// The last entry that the index contains.
    pub applied_through: EntryId,
}

/// The index behind an alias.
#[derive(Clone, Debug)]
pub struct Index {
    /// The name that readers use.
    pub alias: String,
    /// The name of the index itself.
    pub physical: String,
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// The whole of `_meta`: putting it replaces all of it.
    meta: Map<String, Value>,
}

/// The name of the index of a generation.
pub fn physical_name(alias: &str, generation: u32) -> String {
    format!("{alias}-g{generation:06}")
}

/// Looks up the index behind an alias; none if there is neither.
pub async fn find(client: &Client, alias: &str) -> Result<Option<Index>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        mappings: Mappings,
    }
    #[derive(Deserialize)]
    struct Mappings {
        #[serde(rename = "_meta", default)]
        meta: Map<String, Value>,
    }

    let what = format!("looking up the index behind {alias}");
    let answer = client
        .send(Method::Get, &format!("/{alias}/_mapping"), None)
        .await
        .map_err(|error| error.during(&what))?;
    if answer.status == 404 {
        return Ok(None);
    }
    if !answer.is_success() {
        return Err(answer.failure(&what));
    }
    let mut indices = answer.read::<BTreeMap<String, Answer>>(&what)?.into_iter();
    let Some((
        physical,
        Answer {
            mappings: Mappings { meta },
        },
    )) = indices.next()
    else {
        return Ok(None);
    };
    if let Some((second, _)) = indices.next() {
        return Err(Failure::failed(format!(
            "the alias {alias} stands for more than one index: {physical}, {second}"
        ))
        .hint("`daybook rebuild` makes a new one and lets the alias stand for it alone"));
    }
    if physical == alias {
        return Err(Failure::failed(format!("{alias} is an index, where an alias of daybook should be"))
            .hint(format!("keep it and choose another DAYBOOK_INDEX_PREFIX, or move it away (for example clone it to {alias}-old, then delete {alias}) and run the command again")));
    }
    let checkpoint = meta
        .get("daybook")
        .cloned()
        .and_then(|checkpoint| serde_json::from_value(checkpoint).ok());
    let Some(checkpoint) = checkpoint else {
        return Err(Failure::failed(format!("the index {physical} behind {alias} carries no checkpoint of daybook"))
            .hint("it was not made by daybook: choose another DAYBOOK_INDEX_PREFIX, or remove the alias and run the command again"));
    };
    Ok(Some(Index {
        alias: alias.to_owned(),
        physical,
        checkpoint,
        meta,
    }))
}

/// Creates the first generation together with its alias, in one call.
pub async fn create(
    client: &Client,
    alias: &str,
    ledger_id: Uuid,
    mappings: &Value,
    settings: &Value,
) -> Result<Index, Failure> {
    let checkpoint = Checkpoint {
        ledger_id,
        generation: 1,
        applied_through: EntryId::NONE,
    };
    let physical = physical_name(alias, checkpoint.generation);
    let meta = Map::from_iter([("daybook".to_owned(), json!(checkpoint))]);
    let mut mappings = mappings.clone();
    mappings["_meta"] = Value::Object(meta.clone());
    let body = json!({ "settings": settings, "mappings": mappings, "aliases": { alias: {} } });
    let what = format!("creating the index {physical}");
    let answer = client
        .send(Method::Put, &format!("/{physical}"), Some(&body))
        .await
        .map_err(|error| error.during(&what))?;
    if !answer.is_success() {
        let failure = answer.failure(&what);
        return Err(if failure.message().contains("resource_already_exists") {
            failure.hint(format!("it exists without the alias {alias}: give it the alias back, or delete it; the ledger has all that is in it"))
        } else {
            failure
        });
    }
    Ok(Index {
        alias: alias.to_owned(),
        physical,
        checkpoint,
        meta,
    })
}

impl Index {
    /// Refuses an index that belongs to another ledger.
    pub fn check_ledger(&self, ledger_id: Uuid) -> Result<(), Failure> {
        if self.checkpoint.ledger_id == ledger_id {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "the index {} behind {} belongs to ledger {}, this is ledger {ledger_id}",
            self.physical, self.alias, self.checkpoint.ledger_id
        ))
        .hint("check DAYBOOK_LEDGER_URL and DAYBOOK_ELASTICSEARCH_URL, or choose another DAYBOOK_INDEX_PREFIX"))
    }

    /// Makes what was written visible to readers.
    pub async fn refresh(&self, client: &Client) -> Result<(), Failure> {
        let what = format!("refreshing {}", self.physical);
        client
            .request(Method::Post, &format!("/{}/_refresh", self.physical), None, &what)
            .await
            .map(drop)
    }

    /// Records that the index contains every entry up to this one.
    pub async fn record(&mut self, client: &Client, applied_through: EntryId) -> Result<(), Failure> {
        self.checkpoint.applied_through = applied_through;
        self.meta.insert("daybook".to_owned(), json!(self.checkpoint));
        let what = format!(
            "recording in {} that it contains entry {applied_through}",
            self.physical
        );
        let body = json!({ "_meta": self.meta });
        client
            .request(Method::Put, &format!("/{}/_mapping", self.physical), Some(&body), &what)
            .await
            .map(drop)
    }
}
