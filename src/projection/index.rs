//! The index behind an alias: finding, creating and deleting it, its settings and its checkpoint.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::template::{self, Design};
use crate::elastic::{Client, Method};
use crate::error::{Error, ErrorKind};
use crate::failpoint;

/// The index behind an alias.
#[derive(Clone, Debug)]
pub struct Index {
    /// The name that readers use.
    pub alias: String,
    /// The name of the index itself.
    pub physical: String,
    pub checkpoint: Checkpoint,
    /// All of `_meta`: writing it replaces all of it.
    meta: Map<String, Value>,
}

/// The name of the index of a generation.
pub fn physical_name(alias: &str, generation: u32) -> String {
    format!("{alias}-g{generation:06}")
}

/// The generation in the name of an index; `None` if it is not a generation of this alias.
pub fn generation_of(alias: &str, physical: &str) -> Option<u32> {
    let digits = physical.strip_prefix(alias)?.strip_prefix("-g")?;
    (digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[derive(Deserialize)]
struct MappingAnswer {
    #[serde(default)]
    mappings: Map<String, Value>,
}

/// Which indices a pattern matches. Those of daybook are hidden.
const OPEN_AND_HIDDEN: &str = "?expand_wildcards=open,hidden";
const ALL_STATES: &str = "?expand_wildcards=all";

/// The mappings of the indices that a name or pattern matches. `options` is the query string.
async fn mappings(
    client: &Client,
    name: &str,
    options: &str,
    what: &str,
) -> Result<BTreeMap<String, Map<String, Value>>, Error> {
    let answer = client
        .send(Method::Get, &format!("/{name}/_mapping{options}"), None)
        .await
        .map_err(|error| error.during(what))?;
    if answer.status == 404 {
        return Ok(BTreeMap::new());
    }
    if !answer.is_success() {
        return Err(answer.error(what));
    }
    let found = answer.read::<BTreeMap<String, MappingAnswer>>(what)?;
    Ok(found
        .into_iter()
        .map(|(physical, answer)| (physical, answer.mappings))
        .collect())
}

/// The index, if its mapping has a checkpoint.
fn with_checkpoint(alias: &str, physical: &str, mapping: &Map<String, Value>) -> Option<Index> {
    let meta = mapping.get("_meta")?.as_object()?.clone();
    let checkpoint = serde_json::from_value(meta.get("daybook")?.clone()).ok()?;
    Some(Index {
        alias: alias.to_owned(),
        physical: physical.to_owned(),
        checkpoint,
        meta,
    })
}

/// Finds the index behind an alias; `None` if neither exists.
pub async fn find(client: &Client, alias: &str) -> Result<Option<Index>, Error> {
    identify(alias, look_up(client, alias).await?)
}

/// What an alias points to. [`identify`] checks whether it can be used.
#[derive(Debug)]
pub struct Found(BTreeMap<String, Map<String, Value>>);

/// Looks up what an alias points to. Fails only if the request fails.
pub async fn look_up(client: &Client, alias: &str) -> Result<Found, Error> {
    let what = format!("looking up the index behind {alias}");
    mappings(client, alias, "", &what).await.map(Found)
}

/// The index behind an alias; `None` if neither exists. Fails if the alias does not point to exactly one index of
/// daybook.
pub fn identify(alias: &str, found: Found) -> Result<Option<Index>, Error> {
    let mut indices = found.0.into_iter();
    let Some((physical, mapping)) = indices.next() else {
        return Ok(None);
    };
    if let Some((second, _)) = indices.next() {
        return Err(Error::new(
            ErrorKind::AliasAmbiguous,
            format!("the alias {alias} points to more than one index: {physical}, {second}"),
        )
        .hint("`daybook rebuild` makes a new one and switches the alias to it"));
    }
    if physical == alias {
        return Err(Error::new(ErrorKind::IndexInsteadOfAlias, format!("{alias} is an index, where an alias of daybook should be")).hint(format!(
            "keep it and choose another DAYBOOK_INDEX_PREFIX; or move it away (clone it to {alias}-old, say, then delete {alias}) and run the command again"
        )));
    }
    let Some(index) = with_checkpoint(alias, &physical, &mapping) else {
        return Err(Error::new(ErrorKind::IndexForeign, format!("the index {physical} behind {alias} has no daybook checkpoint")).hint(
            "if daybook made it, `daybook rebuild` replaces it; if not, choose another DAYBOOK_INDEX_PREFIX or remove the alias",
        ));
    };
    if !template::keeps_source(&Value::Object(mapping)) {
        return Err(Error::new(
            ErrorKind::IndexAltered,
            format!(
                "the index {physical} behind {alias} does not keep the source of its documents"
            ),
        )
        .hint("an index template caused this: `daybook rebuild` replaces it"));
    }
    Ok(Some(index))
}

/// The names of the indices behind an alias, even if daybook did not make them.
pub async fn behind(client: &Client, alias: &str) -> Result<Vec<String>, Error> {
    let what = format!("looking up what {alias} points to");
    // Asked about all indices, Elasticsearch answers 404 also while an unrelated one is being deleted.
    let path = format!("/{alias}/_alias/{alias}");
    let answer = client
        .send(Method::Get, &path, None)
        .await
        .map_err(|error| error.during(&what))?;
    match answer.status {
        404 => Ok(Vec::new()),
        _ if !answer.is_success() => Err(answer.error(&what)),
        _ => Ok(answer
            .read::<BTreeMap<String, Value>>(&what)?
            .into_keys()
            .collect()),
    }
}

/// All generations of an alias that have a checkpoint, oldest first, whether they serve readers or not.
pub async fn generations(client: &Client, alias: &str) -> Result<Vec<Index>, Error> {
    let what = format!("looking up the generations of {alias}");
    let found = mappings(client, &format!("{alias}-g*"), OPEN_AND_HIDDEN, &what).await?;
    Ok(found
        .into_iter()
        .filter(|(physical, _)| generation_of(alias, physical).is_some())
        .filter_map(|(physical, mapping)| with_checkpoint(alias, &physical, &mapping))
        .collect())
}

/// The generation after the newest one, even if that has no checkpoint.
pub async fn next_generation(client: &Client, alias: &str) -> Result<u32, Error> {
    let what = format!("looking up the generations of {alias}");
    let found = mappings(client, &format!("{alias}-g*"), ALL_STATES, &what).await?;
    let newest = found
        .keys()
        .filter_map(|physical| generation_of(alias, physical))
        .max();
    Ok(newest.unwrap_or(0).saturating_add(1))
}

/// Creates an index. If index templates changed it, deletes it and fails.
pub async fn create(
    client: &Client,
    alias: &str,
    checkpoint: Checkpoint,
    design: &Design,
) -> Result<Index, Error> {
    let index = create_unchecked(client, alias, checkpoint, design).await?;
    match index.read_back(client, design).await {
        Err(error) if error.kind().needs_a_person() => {
            delete(client, &index.physical).await?;
            Err(error)
        }
        read_back => read_back.map(|()| index),
    }
}

async fn create_unchecked(
    client: &Client,
    alias: &str,
    checkpoint: Checkpoint,
    design: &Design,
) -> Result<Index, Error> {
    let physical = physical_name(alias, checkpoint.generation);
    let meta = Map::from_iter([("daybook".to_owned(), json!(checkpoint))]);
    let mut mappings = design.mapping.clone();
    mappings["_meta"] = Value::Object(meta.clone());
    mappings["_source"] = json!({ "enabled": true });
    let aliases = if design.serving {
        json!({ alias: {} })
    } else {
        json!({})
    };
    let body = json!({ "settings": design.settings, "mappings": mappings, "aliases": aliases });
    let what = format!("creating the index {physical}");
    let answer = client
        .send(Method::Put, &format!("/{physical}"), Some(&body))
        .await
        .map_err(|error| error.during(&what))?;
    if answer.is_success() {
        failpoint::reach("index.created");
        return Ok(Index {
            alias: alias.to_owned(),
            physical,
            checkpoint,
            meta,
        });
    }
    let exists = answer.error_type().as_deref() == Some("resource_already_exists_exception");
    // A node may have created it and died before it could answer; then another node was asked.
    if exists && is_as_created(client, alias, &physical, &meta, design.serving).await? {
        return Ok(Index {
            alias: alias.to_owned(),
            physical,
            checkpoint,
            meta,
        });
    }
    let failure = answer.error(&what);
    Err(match answer.status {
        400 if exists => failure.hint(format!(
            "it exists without the alias {alias}: `daybook rebuild` makes the next generation from the ledger"
        )),
        400 => {
            let blamed = template::blame(client, &physical).await;
            failure.hint(format!("{blamed} may be the cause: {}", template::remedy(alias)))
        }
        _ => failure,
    })
}

/// Whether an existing index is what creating it would have made: with this checkpoint and, if it is to serve readers,
/// behind its alias.
async fn is_as_created(
    client: &Client,
    alias: &str,
    physical: &str,
    meta: &Map<String, Value>,
    serving: bool,
) -> Result<bool, Error> {
    let what = format!("checking the index {physical}");
    let name = if serving { alias } else { physical };
    let found = mappings(client, name, "", &what).await?;
    Ok(found
        .get(physical)
        .and_then(|mapping| mapping.get("_meta")?.as_object())
        == Some(meta))
}

pub async fn delete(client: &Client, physical: &str) -> Result<(), Error> {
    let what = format!("deleting the index {physical}");
    client.delete(&format!("/{physical}"), &what).await
}

/// Documents that are stored without their lists.
#[derive(Debug, Default)]
pub struct ListsOmitted {
    pub documents: u64,
    /// The first few ids.
    pub ids: Vec<String>,
}

impl Index {
    /// Finds the documents that are marked as stored without their lists.
    pub async fn lists_omitted(&self, client: &Client) -> Result<ListsOmitted, Error> {
        #[derive(Deserialize)]
        struct Found {
            hits: Hits,
        }
        #[derive(Deserialize)]
        struct Hits {
            total: Total,
            #[serde(default)]
            hits: Vec<Hit>,
        }
        #[derive(Deserialize)]
        struct Total {
            value: u64,
        }
        #[derive(Deserialize)]
        struct Hit {
            #[serde(rename = "_id")]
            id: String,
        }
        if self.checkpoint.lists_omitted_from.is_none() {
            return Ok(ListsOmitted::default());
        }
        let what = format!(
            "looking for documents of {} without their lists",
            self.physical
        );
        let query = json!({
            "query": { "term": { "lists_omitted": true } }, "_source": false, "size": 3, "track_total_hits": true,
            "sort": [{ "day": "desc" }, "recordset_id"],
        });
        let answer = client
            .request(
                Method::Post,
                &format!("/{}/_search", self.physical),
                Some(&query),
                &what,
            )
            .await?;
        let Hits { total, hits } = answer.read::<Found>(&what)?.hits;
        Ok(ListsOmitted {
            documents: total.value,
            ids: hits.into_iter().map(|hit| hit.id).collect(),
        })
    }

    /// Refuses an index that belongs to another ledger.
    pub fn check_ledger(&self, ledger_id: Uuid) -> Result<(), Error> {
        if self.checkpoint.ledger_id == ledger_id {
            return Ok(());
        }
        Err(Error::new(ErrorKind::IndexForeign, format!(
            "the index {} behind {} belongs to ledger {}, this is ledger {ledger_id}",
            self.physical, self.alias, self.checkpoint.ledger_id
        ))
        .hint("check DAYBOOK_LEDGER_URL and DAYBOOK_ELASTICSEARCH_URL, or choose another DAYBOOK_INDEX_PREFIX; `daybook rebuild` replaces it with this ledger's"))
    }

    /// Refuses an empty index that does not match its design: index templates may have changed it.
    pub async fn read_back(&self, client: &Client, design: &Design) -> Result<(), Error> {
        template::read_back(client, &self.alias, &self.physical, design).await
    }

    /// Makes written documents safe from the death of a node, whatever the index promises for each write.
    pub async fn flush(&self, client: &Client) -> Result<(), Error> {
        let what = format!("flushing {}", self.physical);
        let path = format!("/{}/_flush", self.physical);
        client
            .request(Method::Post, &path, None, &what)
            .await
            .map(drop)
    }

    /// Makes written documents visible to readers.
    pub async fn refresh(&self, client: &Client) -> Result<(), Error> {
        let what = format!("refreshing {}", self.physical);
        client
            .request(
                Method::Post,
                &format!("/{}/_refresh", self.physical),
                None,
                &what,
            )
            .await
            .map(drop)
    }

    /// The number of documents that readers see.
    pub async fn count(&self, client: &Client) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        let what = format!("counting the documents of {}", self.physical);
        let answer = client
            .request(
                Method::Get,
                &format!("/{}/_count", self.physical),
                None,
                &what,
            )
            .await?;
        Ok(answer.read::<Count>(&what)?.count)
    }

    pub async fn set(&self, client: &Client, settings: &Value) -> Result<(), Error> {
        let what = format!("changing settings of {}", self.physical);
        client
            .request(
                Method::Put,
                &format!("/{}/_settings", self.physical),
                Some(settings),
                &what,
            )
            .await
            .map(drop)
    }

    /// Stores the checkpoint in `_meta`, and keeps whatever else is there.
    pub async fn record(&mut self, client: &Client) -> Result<(), Error> {
        self.meta
            .insert("daybook".to_owned(), json!(self.checkpoint));
        let what = format!(
            "recording in {} that it contains entry {}",
            self.physical, self.checkpoint.applied_through
        );
        let body = json!({ "_meta": self.meta });
        client
            .request(
                Method::Put,
                &format!("/{}/_mapping", self.physical),
                Some(&body),
                &what,
            )
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_told_from_other_indices() {
        assert_eq!(
            generation_of("stats", &physical_name("stats", 12)),
            Some(12)
        );
        for other in [
            "stats",
            "stats-gold",
            "stats-g12",
            "stats-totals-g000012",
            "stats-g000012-old",
            "other-g000012",
        ] {
            assert_eq!(generation_of("stats", other), None, "{other}");
        }
    }
}
