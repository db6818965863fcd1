//! Aliases: which generation of a projection serves readers.
//!
//! All aliases are switched in one call, so readers see all of the change or nothing, and read back.

use serde_json::{Value, json};

use super::checkpoint::Checkpoint;
use super::index::{self, Index};
use super::{Plan, Projection};
use crate::elastic::{Client, Method};
use crate::error::{Error, ErrorKind};
use crate::ledger::Ledger;
use crate::ledger::lock::Run;

/// Switches the aliases back to the previous generations, which the next advance brings up to date.
pub async fn roll_back(
    plan: &Plan,
    ledger: &Ledger,
    client: &Client,
    kinds: &[Projection],
    run: &mut Run,
) -> Result<Vec<Index>, Error> {
    run.lock_projections().await?;
    let mut previous = Vec::new();
    for kind in kinds {
        let alias = plan.alias(*kind);
        // If no generation serves, every one that was kept is a previous one.
        let serving = index::find(client, &alias)
            .await?
            .map_or(u32::MAX, |index| index.checkpoint.generation);
        let kept = index::generations(client, &alias)
            .await?
            .into_iter()
            .rev()
            .find(|index| {
                let Checkpoint {
                    ledger_id,
                    generation,
                    ref building,
                    ..
                } = index.checkpoint;
                ledger_id == ledger.ledger_id && generation < serving && building.is_none()
            });
        let kept = kept.ok_or_else(|| {
            Error::new(ErrorKind::NoPreviousIndex, format!("there is no generation of {alias} before the one that serves"))
                .hint("`daybook rebuild` keeps the previous generation of each projection that it rebuilds (see --keep): give the same --only")
        })?;
        // An index of another shape could not be advanced.
        plan.check_shape(*kind, &kept)?;
        previous.push(kept);
    }
    switch(client, &previous).await?;
    run.unlock_projections().await?;
    Ok(previous)
}

/// Points each index's alias to it alone, all in one call: readers see all of the change or nothing.
pub(super) async fn switch(client: &Client, indices: &[Index]) -> Result<(), Error> {
    let what = "switching the aliases";
    let mut actions: Vec<Value> = Vec::new();
    for index in indices {
        for physical in index::behind(client, &index.alias).await? {
            if physical != index.physical {
                // Without must_exist, Elasticsearch could skip the removal of what is gone and do the rest.
                actions.push(json!({ "remove": { "index": physical, "alias": index.alias, "must_exist": true } }));
            }
        }
        actions.push(json!({ "add": { "index": index.physical, "alias": index.alias } }));
    }
    let body = json!({ "actions": actions });
    let answer = client
        .send(Method::Post, "/_aliases", Some(&body))
        .await
        .map_err(|error| error.during(what))?;
    // A node may have switched them and died before it could answer. Then another node was asked, which refuses to
    // remove what is gone: what the aliases point to matters more than the answer.
    let refusal = answer.succeeded(what).err();
    for index in indices {
        let behind = index::behind(client, &index.alias).await?;
        if behind != [index.physical.clone()] {
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            let found = behind.join(", ");
            return Err(Error::new(ErrorKind::IndexEdited, format!(
                "after {what}, {} points to [{found}], not to {}",
                index.alias, index.physical
            ))
            .hint("somebody else is changing the aliases: stop them, then run `daybook rebuild` again"));
        }
    }
    Ok(())
}

/// Deletes this ledger's old generations of an alias, except `keep` of them: first the one that served until now, then
/// the newest.
pub(super) async fn delete_old(
    client: &Client,
    ledger: &Ledger,
    serving: &Index,
    served: &[String],
    keep: usize,
) -> Result<(), Error> {
    let mut others = index::generations(client, &serving.alias).await?;
    others.retain(|index| {
        index.physical != serving.physical && index.checkpoint.ledger_id == ledger.ledger_id
    });
    others.sort_by_key(|index| {
        std::cmp::Reverse((
            served.contains(&index.physical),
            index.checkpoint.generation,
        ))
    });
    for old in others.into_iter().skip(keep) {
        tracing::info!(index = old.physical, "deleting an old generation");
        index::delete(client, &old.physical).await?;
    }
    Ok(())
}

/// A concrete index with the name of the alias cannot be replaced by a switch.
pub(super) async fn refuse_concrete(client: &Client, alias: &str) -> Result<(), Error> {
    match index::find(client, alias).await {
        Err(error)
            if error.kind() == ErrorKind::IndexInsteadOfAlias || error.kind().is_transient() =>
        {
            Err(error)
        }
        // The rebuild repairs whatever else is wrong.
        _ => Ok(()),
    }
}
