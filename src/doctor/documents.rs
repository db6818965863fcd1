//! Checks of the indices against the ledger: aliases, checkpoints, blocks.

use super::check::Checks;
use super::subject::Found;
use crate::elastic::Client;
use crate::error::{Error, ErrorKind};
use crate::projection::advance::check_index;
use crate::projection::index;
use crate::projection::{Plan, Projection};
use crate::text::counted;

/// Checks the index of each projection.
pub(super) async fn examine(plan: &Plan, found: &mut Found, client: &Client, checks: &mut Checks) {
    for kind in plan.kinds() {
        let outcome = examine_one(kind, plan, found, client, checks).await;
        if let Err(error) = outcome {
            checks.failed(kind.name(), &error);
            // Wait for an unreachable cluster only once.
            if error.kind().is_transient() {
                return;
            }
        }
    }
}

async fn examine_one(
    kind: Projection,
    plan: &Plan,
    found: &mut Found,
    client: &Client,
    checks: &mut Checks,
) -> Result<(), Error> {
    let (alias, name) = (plan.alias(kind), kind.name());
    let Found {
        ledger,
        reader,
        has_entries,
    } = found;
    let Some(index) = index::find(client, &alias).await? else {
        if *has_entries {
            checks.warning(
                name,
                format!("{alias} has no index yet"),
                "`daybook project` creates it",
            );
        } else {
            checks.ok(
                name,
                format!("{alias} has no index yet; the first run creates it"),
            );
        }
        return Ok(());
    };
    check_index(&index, kind, plan, ledger, reader).await?;
    let blocks = client.blocks(&index.physical).await?;
    if let Some(error) = blocked(&index.physical, &blocks) {
        return Err(error);
    }
    let (through, head) = (index.checkpoint.applied_through, reader.head().await?);
    match head.number() - through.number() {
        0 => checks.ok(name, format!("{alias} is up to date with entry {through}")),
        behind => checks.warning(
            name,
            format!("{alias} lacks {}", counted(behind, "entry", "entries")),
            "`daybook project`",
        ),
    }
    Ok(())
}

fn blocked(physical: &str, blocks: &[String]) -> Option<Error> {
    let full = blocks.iter().any(|block| block == "read_only_allow_delete");
    let names = blocks.join(", ");
    if full {
        let what = format!("{physical} refuses writes ({names}): a disk was nearly full");
        let error = Error::new(ErrorKind::ElasticsearchDiskFull, what);
        return Some(error.hint("free space or add a node; Elasticsearch then removes the block"));
    }
    (!blocks.is_empty()).then(|| {
        Error::new(
            ErrorKind::IndexBlocked,
            format!("somebody has blocked {physical}: {names}"),
        )
        .hint(format!(
            "PUT /{physical}/_settings {{\"index.blocks.{}\": null}}",
            blocks[0]
        ))
    })
}
